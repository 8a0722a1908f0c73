"""The network on the GPU, layer by layer: the kernels of conv_gpu.py, pool_gpu.py and softmax_gpu.py, batch by batch.

    python cnn_gpu.py --epoch 3          trains on all of MNIST and saves model.npz

Images and labels are copied to the GPU once, the weights stay there, and loss and accuracy are summed there and read
back once an epoch: between the first copy and the last nothing but kernel launches passes from host to device.
"""

import numpy as np
from numba import cuda, float32

from cnn_jit import CNNJit
from conv_gpu import Conv3x3GPU
from errors import run
from gpu_launch import BLOCK, DEVICES, grid, parse_block, reusable_arrays, use_gpu
from network import Network, Parameters
from pool_gpu import MaxPool2GPU
from softmax_gpu import SoftmaxGPU
from training import train_script, training_parser


@cuda.jit(cache=True)
def gather_batch(images, labels, order, first, batch_images, batch_labels):
    """Take the batch's images, order[first], order[first + 1] ..., from the set, and scale them to x/255 - 0.5.

    images (all, H, W) uint8 -> batch_images (N, H, W) float32. A thread is one pixel of one image.
    """
    column, row, n = cuda.grid(3)
    if row >= images.shape[1] or column >= images.shape[2]:
        return
    chosen = order[first + n]
    batch_images[n, row, column] = float32(images[chosen, row, column]) / float32(255) - float32(0.5)
    if row == 0 and column == 0:
        batch_labels[n] = labels[chosen]


class CNNGPU(Network):
    """Conv3x3 -> MaxPool2 -> Softmax on the GPU. See `Network` for what it takes and gives.

    block: threads in a block as (x, y), for every kernel of the layers.
    """

    def __init__(self, *network, block=BLOCK, **options):
        self.block = block
        self._batch_images = reusable_arrays()
        self._batch_labels = reusable_arrays(np.int32)
        super().__init__(*network, **options)

    def _set_parameters(self, parameters):
        filters, filter_biases, weights, biases = parameters
        self.conv = Conv3x3GPU(filters, filter_biases, self.activation, self.block)  # Nx28x28 -> Nx26x26xF
        self.pool = MaxPool2GPU(self.block)  # Nx26x26xF -> Nx13x13xF
        self.softmax = SoftmaxGPU(weights, biases, self.block)  # Nx13x13xF -> Nx10

    @property
    def parameters(self):
        parts = self.conv.filters, self.conv.biases, self.softmax.weights, self.softmax.biases
        filters, filter_biases, weights, biases = (array.copy_to_host() for array in parts)
        return Parameters(filters, filter_biases, np.ascontiguousarray(weights.T), biases)

    def _place(self, images, labels):
        return cuda.to_device(images), cuda.to_device(labels)

    def _train_epoch(self, data, order, batch_size, learning_rate, progress):
        device_order = cuda.to_device(order)
        losses = cuda.to_device(np.zeros(batch_size, np.float64))  # by place in the batch, over all batches
        hits = cuda.to_device(np.zeros(batch_size, np.int32))
        for first in range(0, len(order), batch_size):
            count = min(batch_size, len(order) - first)
            images, labels = self._gather(*data, device_order, first, count)
            self._learn(images, labels, learning_rate / count, losses, hits)
            progress(count, None, None)
        return float(losses.copy_to_host().sum()), int(hits.copy_to_host().sum())

    def _gather(self, images, labels, order, first, count):
        """The batch of `count` images from order[first], scaled, and its labels."""
        _, height, width = images.shape
        batch = self._batch_images(count, height, width), self._batch_labels(count)
        gather_batch[grid(width, height, count, self.block), self.block](images, labels, order, np.int32(first), *batch)
        return batch

    def _learn(self, images, labels, step, losses, hits):
        """One step of SGD on one batch: forward, backward, and only then the updates."""
        pooled = self.pool.forward(self.conv.forward(images))
        self.softmax.forward(flatten(pooled), labels, losses, hits)
        grad_pooled = self.softmax.backward()
        self.conv.backward(self.pool.backward(grad_pooled.reshape(pooled.shape)))
        self.conv.update(step)
        self.softmax.update(step)

    def _logits(self, images):
        order, labels = np.arange(len(images), dtype=np.int32), np.zeros(len(images), np.int32)
        batch, _ = self._gather(*self._place(images, labels), cuda.to_device(order), 0, len(images))
        return self.softmax.logits(flatten(self.pool.forward(self.conv.forward(batch)))).copy_to_host()


def flatten(pooled):  # Nx13x13xF -> Nx(13*13*F)
    """The same device array with one row of numbers per image."""
    return pooled.reshape(pooled.shape[0], pooled.size // pooled.shape[0])


def main(argv=None):
    parser = training_parser(__doc__)
    parser.add_argument("--block", type=parse_block, default=BLOCK, metavar="16x16", help="threads in a block")
    parser.add_argument(
        "--device", choices=("auto", "cuda", "cpu"), default="auto", help="auto: the GPU if there is one"
    )
    args = parser.parse_args(argv)
    if use_gpu(args.device):
        return train_script(CNNGPU, args, block=args.block)
    return train_script(CNNJit, args)


if __name__ == "__main__":
    run(main)
