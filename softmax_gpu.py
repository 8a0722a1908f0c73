"""The last layer: a dense layer to a logit for each class, softmax to probabilities, and the cross-entropy loss.

    logits = inputs . weights + biases        probabilities = exp(logits - max) / sum(exp(logits - max))
    loss = log(sum(exp(logits))) - logits[label]        d loss / d logits = probabilities - onehot(label)

inputs (K,), weights (K, C), biases (C,) -> probabilities (C,); C is the number of classes, and most networks have ten.
The largest logit is subtracted, so no exponential overflows. `Softmax` is plain Python: one image at a time, in the
dtype of its weights. `SoftmaxGPU` is its twin in CUDA: N images at a time, in float32.

| kernel                | one thread is             | one block is                                                     |
|-----------------------|---------------------------|------------------------------------------------------------------|
| dense_forward         | some of an image's inputs | one image: it sums over the inputs, for each of the logits       |
| softmax_cross_entropy | one class, or one of six  | up to 16 images: the 16 threads of an image find its maximum and |
|                       | zeros, of one image       | sum; the thread of the label adds its loss                       |
| dense_backward        | one input of one image    | neighbouring inputs; weights are those before the update         |
| dense_update          | one weight or one bias    | neighbouring weights; each thread sums over the images           |

By hand, with four inputs and the label 1. All biases are 0, and so are the weights to the classes 2 to 9:

    inputs            1  2  0  1      weights to class 0: 0 1 0 0      to class 1: 1 0 0 0
    logits            2  1  0  0 ...  since 2*1 = 2, 1*1 = 1
    exp(logit - 2)    1.000  0.368  0.135  0.135 ...     their sum is 2.451
    probabilities     0.408  0.150  0.055  0.055 ...     loss = -log(0.150) = 1.896
    gradient at the
      logits          0.408 -0.850  0.055  0.055 ...     the probabilities, and 1 subtracted at the label
      weights         to class 0: 0.408 0.816 0 0.408    to class 1: -0.850 -1.700 0 -0.850    (inputs x gradient)
      inputs          -0.850  0.408  0  0                each input's weights x gradient, summed over the classes

For the sum of the exponentials one thread alone would need nine additions, one after the other. On the GPU 16 threads
need four rounds, by halving (a tree reduction): each round adds the upper half to the lower half. Six zeros fill the
ten classes up to 16.

    16 values     1.000 0.368 0.135 0.135 0.135 0.135 0.135 0.135 | 0.135 0.135 0 0 0 0 0 0
     8 values     1.135 0.503 0.135 0.135 | 0.135 0.135 0.135 0.135
     4 values     1.271 0.639 | 0.271 0.271
     2 values     1.541 | 0.909
     1 value      2.451

    $ python softmax_gpu.py           checks the kernels against Softmax, then times them
    64 images of 28x28, 8 filters: kernels against plain Python, largest difference (allowed: 1e-05)
    block 8x8   forward 1.1e-07          backward 2.3e-08         update 5.3e-08
    block 16x16 forward 9.1e-08          backward 2e-08           update 5.3e-08
    block 32x32 forward 1.2e-07          backward 2.1e-08         update 5.3e-08
    NVIDIA H100 80GB HBM3, median of 30 x 100 launches; in brackets: threads with work
    block 8x8   forward 16.5 us (96%)    backward 2.3 us (100%)   update 13.2 us (62%)
    block 16x16 forward 14.4 us (88%)    backward 1.9 us (99%)    update 16.3 us (62%)
    block 32x32 forward 24.0 us (66%)    backward 1.9 us (98%)    update 17.2 us (31%)

    $ python softmax_gpu.py           without a GPU
    no GPU can be used here (...): checking in the CUDA simulator, timing nothing
    2 images of 8x8, 2 filters: kernels against plain Python, largest difference (allowed: 1e-05)
    block 4x4   forward 1.1e-07          backward 9.1e-08         update 9.5e-08

In brackets is the share of the dense layer's threads. Of softmax_cross_entropy's 16 threads 10 have a class.
"""

if __name__ == "__main__":
    import quiet_start  # noqa: F401 (Ctrl-C during the imports below)

import functools
import math

import numpy as np
from numba import cuda, float32

import kernel_cache  # noqa: F401 (where the compiled kernels are kept)
from errors import run
from gpu_launch import BLOCK, block_sum, check_block, grid, reusable_arrays
from layer_check import Step, check_and_time, in_float64
from sizes import NUM_CLASSES

IMAGES_PER_BLOCK = 16


class Softmax:
    """Dense layer, softmax and cross-entropy, in plain Python.

    weights (K, C) and biases (C,) are changed in place, and all arithmetic has their dtype.
    """

    def __init__(self, weights, biases):
        self.weights = weights
        self.biases = biases
        self.grad_weights = np.zeros_like(weights)
        self.grad_biases = np.zeros_like(biases)

    def logits(self, inputs):  # 13x13xF -> C
        """The logits of one image, from an input of any shape with K numbers."""
        self.input_shape = inputs.shape
        self.inputs = inputs.reshape(-1)
        return self.inputs @ self.weights + self.biases

    def forward(self, inputs, label):  # 13x13xF -> probabilities (C,), loss
        """The probabilities of the classes, and the loss at this label in nats."""
        logits = self.logits(inputs)
        largest = logits.max()
        exponentials = np.exp(logits - largest)
        total = exponentials.sum()
        self.probabilities = exponentials / total
        self.label = label
        return self.probabilities, np.log(total) - (logits[label] - largest)

    def backward(self):  # -> 13x13xF
        """Add this image's gradient to that of the batch. Returns the gradient at the input."""
        grad_logits = self.probabilities.copy()
        grad_logits[self.label] -= 1
        self.grad_weights += np.outer(self.inputs, grad_logits)
        self.grad_biases += grad_logits
        return (self.weights @ grad_logits).reshape(self.input_shape)

    def update(self, step):
        """Take a step against the batch's gradient and start a new one. step: learning rate / number of images."""
        self.weights -= step * self.grad_weights
        self.biases -= step * self.grad_biases
        self.grad_weights[:] = 0
        self.grad_biases[:] = 0


@functools.cache
def dense_kernels(num_classes):
    """(dense_forward, dense_backward) for so many classes: a constant, so the loops over the classes are unrolled."""

    @cuda.jit(cache=True)
    def dense_forward(inputs, weights, biases, logits):
        """inputs (N, K), weights (C, K) -> logits (N, C). A block is one image.

        Its threads go over the K inputs in steps of the block's size (a block-stride loop). Neighbouring threads read
        neighbouring inputs and weights: coalesced access. Each thread keeps C sums, and `block_sum` adds those of all.
        """
        n = cuda.blockIdx.x
        thread = cuda.threadIdx.y * cuda.blockDim.x + cuda.threadIdx.x
        sums = cuda.local.array(num_classes, float32)
        for c in range(num_classes):
            sums[c] = float32(0)
        for k in range(thread, inputs.shape[1], cuda.blockDim.x * cuda.blockDim.y):
            for c in range(num_classes):
                sums[c] += inputs[n, k] * weights[c, k]
        for c in range(num_classes):
            total = block_sum(sums[c])
            if thread == 0:
                logits[n, c] = total + biases[c]

    @cuda.jit(cache=True)
    def dense_backward(grad_logits, weights, grad_inputs):
        """grad_logits (N, C), weights (C, K) -> grad_inputs (N, K). A thread is one input of one image.

        The classes are few enough for a plain loop. Neighbouring threads read neighbouring weights: coalesced access.
        """
        k, n = cuda.grid(2)
        if n >= grad_inputs.shape[0] or k >= grad_inputs.shape[1]:
            return
        total = float32(0)
        for c in range(num_classes):
            total += weights[c, k] * grad_logits[n, c]
        grad_inputs[n, k] = total

    return dense_forward, dense_backward


def lanes_for(num_classes):
    """Threads for one image's softmax: one for each class, and more up to a power of two, which halving needs."""
    return 1 << (num_classes - 1).bit_length()


@functools.cache
def softmax_kernel(num_classes):
    """softmax_cross_entropy for so many classes: the size of a shared array must be a constant."""
    lanes = lanes_for(num_classes)

    @cuda.jit(cache=True)
    def softmax_cross_entropy(logits, labels, probabilities, grad_logits, losses, hits):
        """logits (N, C) -> probabilities and grad_logits (N, C). Adds to losses (N,) and hits (N,).

        With ten classes an image has 16 threads, one for each class and six more. The six hold -inf, which is never the
        maximum, and exp(-inf) = 0. Halving finds the maximum, and later the sum of the exponentials.

        The values lie in shared memory, which consists of 32 banks. Threads of a warp (32 neighbours, which run
        together) that want different numbers from one bank get them one after the other: a bank conflict. Here a warp
        is two images. Their 32 numbers are neighbours, so each lies in a bank of its own.

        losses and hits have one number for each place in the batch, and grow from batch to batch. No two threads add to
        the same one: no atomic addition is needed, and the sums are the same every time.
        """
        values = cuda.shared.array((IMAGES_PER_BLOCK, lanes), float32)
        lane, image = cuda.threadIdx.x, cuda.threadIdx.y
        n = cuda.blockIdx.x * IMAGES_PER_BLOCK + image
        logit = float32(-np.inf)
        if lane < num_classes:
            # Every thread must meet every barrier. Those past the last image repeat it, and leave after the last one.
            logit = logits[min(n, logits.shape[0] - 1), lane]
        values[image, lane] = logit
        cuda.syncthreads()
        half = lanes // 2
        while half > 0:
            if lane < half:
                values[image, lane] = max(values[image, lane], values[image, lane + half])
            cuda.syncthreads()
            half //= 2
        largest = values[image, 0]
        cuda.syncthreads()  # nobody may write the next values before everybody has read the maximum
        exponential = math.exp(logit - largest)
        values[image, lane] = exponential
        cuda.syncthreads()
        half = lanes // 2
        while half > 0:
            if lane < half:
                values[image, lane] += values[image, lane + half]
            cuda.syncthreads()
            half //= 2
        total = values[image, 0]
        if n >= logits.shape[0] or lane >= num_classes:
            return
        probabilities[n, lane] = exponential / total
        grad_logits[n, lane] = exponential / total
        if lane == labels[n]:
            grad_logits[n, lane] -= float32(1)
            losses[n] += largest + math.log(total) - logit
            hit = True
            for other in range(num_classes):  # among equal logits the first class is the answer
                if logits[n, other] > logit or (other < lane and logits[n, other] == logit):
                    hit = False
            if hit:
                hits[n] += 1

    return softmax_cross_entropy


@cuda.jit(cache=True)
def dense_update(inputs, grad_logits, step, weights, biases):
    """Sum the gradient over the images and take a step against it. A thread is one weight, or for k = K one bias.

    A bias is the weight of an input that is always 1. Neighbouring threads read neighbouring inputs, and their weights
    are neighbours too: coalesced access.
    """
    k, c = cuda.grid(2)
    if k > weights.shape[1] or c >= weights.shape[0]:
        return
    total = float32(0)
    if k < weights.shape[1]:
        for n in range(inputs.shape[0]):
            total += inputs[n, k] * grad_logits[n, c]
        weights[c, k] -= step * total
    else:
        for n in range(inputs.shape[0]):
            total += grad_logits[n, c]
        biases[c] -= step * total


class SoftmaxGPU:
    """`Softmax` on the GPU, for batches of float32 device arrays. Weights and biases stay on the device.

    The device holds the weights (K, C) as (C, K). Neighbouring threads take neighbouring inputs k, so they read
    neighbouring weights, which the memory delivers together (coalesced access).

    block: threads in a block as (x, y). softmax_cross_entropy has a block shape of its own.
    """

    stream = 0  # where the kernels are launched: the default stream, or one that is recorded

    def __init__(self, weights, biases, block=BLOCK):
        self.weights = cuda.to_device(np.ascontiguousarray(weights.T))
        self.biases = cuda.to_device(biases)
        self.block = check_block(block)
        self.num_classes = len(biases)
        self._forward, self._backward = dense_kernels(self.num_classes)
        self._cross_entropy = softmax_kernel(self.num_classes)
        self._logits = reusable_arrays()
        self._probabilities = reusable_arrays()
        self._grad_logits = reusable_arrays()
        self._grad_inputs = reusable_arrays()

    def logits(self, inputs):  # NxK -> NxC
        """The logits (N, C) for inputs (N, K), valid until the next call."""
        count = len(inputs)
        self.inputs = inputs
        logits = self._logits(count, self.num_classes)
        self._forward[count, self.block, self.stream](inputs, self.weights, self.biases, logits)
        return logits

    def forward(self, inputs, labels, losses, hits):  # NxK -> NxC
        """The probabilities (N, C) for inputs (N, K). Adds to losses and hits; finds the gradient at the logits."""
        count = len(inputs)
        logits = self.logits(inputs)
        self.probabilities = self._probabilities(count, self.num_classes)
        self.grad_logits = self._grad_logits(count, self.num_classes)
        blocks, block = -(-count // IMAGES_PER_BLOCK), (lanes_for(self.num_classes), min(count, IMAGES_PER_BLOCK))
        self._cross_entropy[blocks, block, self.stream](
            logits, labels, self.probabilities, self.grad_logits, losses, hits
        )
        return self.probabilities

    def backward(self):  # -> NxK
        """The gradient at the inputs (N, K), valid until the next call."""
        count, inputs = self.inputs.shape
        grad_inputs = self._grad_inputs(count, inputs)
        blocks = grid(inputs, count, 1, self.block)[:2]
        self._backward[blocks, self.block, self.stream](self.grad_logits, self.weights, grad_inputs)
        return grad_inputs

    def update(self, step):
        """Take a step against the batch's gradient. step: learning rate / number of images."""
        blocks = grid(self.weights.shape[1] + 1, self.num_classes, 1, self.block)[:2]
        dense_update[blocks, self.block, self.stream](
            self.inputs, self.grad_logits, np.float32(step), self.weights, self.biases
        )


def steps_of(work):
    """Run `Softmax` on random inputs. Returns a function that gives the kernels' steps on the same inputs."""
    random = np.random.default_rng(1)
    size = work.pooled_size**2 * work.filters
    inputs = random.standard_normal((work.images, size), np.float32)
    weights = random.standard_normal((size, NUM_CLASSES), np.float32) / np.float32(math.sqrt(size))
    biases = random.standard_normal(NUM_CLASSES, np.float32)
    labels = random.integers(0, NUM_CLASSES, work.images).astype(np.int32)

    plain, results, step = Softmax(*in_float64(weights, biases)), [], 1 / work.images
    for image, label in zip(*in_float64(inputs), labels, strict=True):
        probabilities, loss = plain.forward(image, label)
        results.append((probabilities, loss, probabilities.argmax() == label, plain.backward()))
    *output, grad_inputs = map(np.array, zip(*results, strict=True))
    plain.update(step)
    new = [plain.weights.T, plain.biases]  # the kernels keep the weights as (C, K)

    def steps(block):
        layer = SoftmaxGPU(weights, biases, block)
        batch = cuda.to_device(inputs), cuda.to_device(labels)
        losses, hits = cuda.to_device(np.zeros(work.images)), cuda.to_device(np.zeros(work.images, np.int32))
        with_biases = size + 1, NUM_CLASSES

        def found_output():
            return [layer.probabilities, losses, hits]

        return layer, [
            Step("forward", lambda: layer.forward(*batch, losses, hits), (size,), output, found_output),
            Step("backward", layer.backward, (size, work.images), [grad_inputs]),
            Step("update", lambda: layer.update(step), with_biases, new, lambda: [layer.weights, layer.biases]),
        ]

    return steps


def main(argv=None):
    return check_and_time(steps_of, argv)


if __name__ == "__main__":
    run(main)
