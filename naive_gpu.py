"""The rung `naive`: the port that everybody writes first. It works, and the CPU's threads are far faster.

The kernels are those of the layers, but every array is a NumPy array. Forward and backward are image by image; only the
update takes the whole batch. When a kernel is given a NumPy array, Numba copies it to the GPU, runs the kernel, and
copies it back, at every call. So filters, weights and gradients travel there and back for each image, and meanwhile the
GPU waits.
"""

import numpy as np
from numba import config

from conv_gpu import conv3x3_backward, conv3x3_forward, conv3x3_update
from distortion import distort_images, draw_distortions
from gpu_launch import grid
from network import scale
from pool_gpu import maxpool2_backward, maxpool2_forward
from sizes import CONVOLVED_SIZE, POOLED_SIZE
from softmax_gpu import dense_kernels, dense_update, lanes_for, softmax_kernel

config.CUDA_WARN_ON_IMPLICIT_COPY = 0  # Numba would warn about these copies, which this file is meant to show


class NaiveRung:
    """Trains a CNNGPU on a set, with copies at every call. See cnn_gpu.py for what all rungs have in common."""

    def __init__(self, network, images, labels):
        self.network = network
        self.original = self.images = images
        self.labels = labels
        self.relu = network.activation == "relu"
        self.block = network.block
        self.num_classes = network.num_classes
        self.dense_forward, self.dense_backward = dense_kernels(self.num_classes)
        self.softmax_cross_entropy = softmax_kernel(self.num_classes)

    @staticmethod
    def problem(num_filters, num_classes):
        return None

    def distort(self, epoch):
        self.images = distort_images(self.original, draw_distortions(len(self.original), self.network.seed, epoch))

    def train_epoch(self, order, batch_size, learning_rate, progress):
        on_gpu = self.network.device_parameters
        on_host = [array.copy_to_host() for array in on_gpu]
        self.filters, self.filter_biases, self.weights, self.biases = on_host
        total_loss = total_correct = 0
        for first in range(0, len(order), batch_size):
            batch = order[first : first + batch_size]
            loss, correct = self._learn(self.images[batch], self.labels[batch], learning_rate)
            total_loss, total_correct = total_loss + loss, total_correct + correct
            progress(len(batch), loss, correct)
        for array, trained in zip(on_gpu, on_host, strict=True):
            array.copy_to_device(trained)
        return lambda: (float(total_loss), int(total_correct))

    def _learn(self, images, labels, learning_rate):
        """One step of SGD on a batch of uint8 images; returns (summed loss, number read right)."""
        count, filters = len(images), len(self.filters)
        pooled = np.empty((count, POOLED_SIZE, POOLED_SIZE, filters), np.float32)
        grad_logits = np.empty((count, self.num_classes), np.float32)
        grad_parts = np.empty((count, filters, 10), np.float32)
        losses, hits = np.zeros(count), np.zeros(count, np.int32)
        for n in range(count):
            one = slice(n, n + 1)
            self._learn_image(
                scale(images[one]), labels[one], pooled[one], grad_logits[one], grad_parts[one], losses[one], hits[one]
            )
        step = np.float32(learning_rate / count)
        conv3x3_update[(filters, 10), self.block](grad_parts, step, self.relu, self.filters, self.filter_biases)
        blocks = grid(self.weights.shape[1] + 1, self.num_classes, 1, self.block)[:2]
        dense_update[blocks, self.block](pooled.reshape(count, -1), grad_logits, step, self.weights, self.biases)
        return losses.sum(), hits.sum()

    def _learn_image(self, image, label, pooled, grad_logits, grad_parts, loss, hit):
        """Forward and backward with one image (1, 28, 28): fills its rows of the batch's arrays."""
        filters, block = len(self.filters), self.block
        convolved = np.empty((1, CONVOLVED_SIZE, CONVOLVED_SIZE, filters), np.float32)
        logits, probabilities = np.empty((2, 1, self.num_classes), np.float32)
        over_convolved = grid(CONVOLVED_SIZE, CONVOLVED_SIZE, 1, block)
        over_pooled = grid(POOLED_SIZE, POOLED_SIZE, 1, block)
        flat = pooled.reshape(1, -1)

        conv3x3_forward[over_convolved, block](image, self.filters, self.filter_biases, self.relu, convolved)
        maxpool2_forward[over_pooled, block](convolved, pooled)
        self.dense_forward[1, block](flat, self.weights, self.biases, logits)
        lanes = lanes_for(self.num_classes)
        self.softmax_cross_entropy[1, (lanes, 1)](logits, label, probabilities, grad_logits, loss, hit)

        grad_flat, grad_convolved = np.empty_like(flat), np.empty_like(convolved)
        self.dense_backward[grid(flat.size, 1, 1, block)[:2], block](grad_logits, self.weights, grad_flat)
        maxpool2_backward[over_pooled, block](convolved, grad_flat.reshape(pooled.shape), grad_convolved)
        conv3x3_backward[(filters, 1), block](image, convolved, self.relu, grad_convolved, grad_parts)
