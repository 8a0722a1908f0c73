"""The last layer: a dense layer to ten logits, softmax to probabilities, and the cross-entropy loss on top.

    logits = inputs . weights + biases        probabilities = exp(logits - max) / sum(exp(logits - max))
    loss = log(sum(exp(logits))) - logits[label]        d loss / d logits = probabilities - onehot(label)

The largest logit is subtracted before the exponentials, so that none overflows. `Softmax` is plain Python, one image at
a time; `SoftmaxGPU` is the same on CUDA, a batch at a time.

| kernel         | one thread is              | what it does                                                          |
|----------------|----------------------------|-----------------------------------------------------------------------|
| dense_forward  | a share of one image       | a block per image; ten sums over the inputs, added up by the block    |
| softmax_cross_ | one class of one image     | maximum, exponentials and sum side by side, in four halving steps;    |
|   entropy      |                            | then the gradient at the logits; the label's thread keeps loss and hit |
| dense_backward | one input of one image     | gradient at the inputs, from the weights before their update          |
| dense_update   | one weight                 | sums the batch and steps down its gradient                            |
"""

import math

import numpy as np
from numba import cuda, float32

import kernel_cache  # noqa: F401 (where the compiled kernels are kept)
from gpu_launch import BLOCK, block_sum, check_block, grid, reusable_arrays

CLASSES = 10
LANES = 16  # threads that share one image's softmax: the ten classes, and six idle ones to make the halving even
IMAGES_PER_BLOCK = 16


class Softmax:
    """Dense layer, softmax and cross-entropy, in plain Python.

    weights (K, 10) and biases (10,) are changed in place; their dtype is that of all the arithmetic.
    """

    def __init__(self, weights, biases):
        self.weights = weights
        self.biases = biases
        self.grad_weights = np.zeros_like(weights)
        self.grad_biases = np.zeros_like(biases)

    def logits(self, inputs):  # 13x13xF -> 10
        """The ten logits of one image, from an input of any shape with K numbers."""
        self.input_shape = inputs.shape
        self.inputs = inputs.reshape(-1)
        return self.inputs @ self.weights + self.biases

    def forward(self, inputs, label):  # 13x13xF -> probabilities (10,), loss
        """The probabilities of the ten classes, and the loss at this label in nats."""
        logits = self.logits(inputs)
        shifted = logits - logits.max()
        exponentials = np.exp(shifted)
        total = exponentials.sum()
        self.probabilities = exponentials / total
        self.label = label
        return self.probabilities, np.log(total) - shifted[label]

    def backward(self):  # -> 13x13xF
        """Add this image's gradient to the batch's, and return the gradient at the input."""
        grad_logits = self.probabilities.copy()
        grad_logits[self.label] -= 1
        self.grad_weights += np.outer(self.inputs, grad_logits)
        self.grad_biases += grad_logits
        return (self.weights @ grad_logits).reshape(self.input_shape)

    def update(self, step):
        """Step down the summed gradient, and forget it; step is the learning rate over the number of images."""
        self.weights -= step * self.grad_weights
        self.biases -= step * self.grad_biases
        self.grad_weights[:] = 0
        self.grad_biases[:] = 0


@cuda.jit(cache=True)
def dense_forward(inputs, weights, biases, logits):
    """inputs (N, K), weights (10, K) -> logits (N, 10). A block is one image; its threads share out the K inputs."""
    n = cuda.blockIdx.x
    thread = cuda.threadIdx.y * cuda.blockDim.x + cuda.threadIdx.x
    sums = cuda.local.array(CLASSES, float32)
    for c in range(CLASSES):
        sums[c] = float32(0)
    for k in range(thread, inputs.shape[1], cuda.blockDim.x * cuda.blockDim.y):
        for c in range(CLASSES):
            sums[c] += inputs[n, k] * weights[c, k]
    for c in range(CLASSES):
        total = block_sum(sums[c])
        if thread == 0:
            logits[n, c] = total + biases[c]


@cuda.jit(cache=True)
def softmax_cross_entropy(logits, labels, probabilities, grad_logits, losses, hits):
    """logits (N, 10) -> probabilities and grad_logits (N, 10), and what the batch adds to losses (N,) and hits (N,).

    A row of 16 threads is one image, a thread is one class. First the maximum, then the sum of the exponentials is
    found by halving: 8 threads take in what the other 8 hold, then 4, 2, 1. The idle lanes hold -inf: exp(-inf) = 0.

    losses and hits belong to the image's PLACE in the batch and grow from batch to batch: no two threads ever add to
    the same number, so the sums need no atomics and come out the same every time.
    """
    values = cuda.shared.array((IMAGES_PER_BLOCK, LANES), float32)
    lane, image = cuda.threadIdx.x, cuda.threadIdx.y
    n = cuda.blockIdx.x * IMAGES_PER_BLOCK + image
    logit = float32(-np.inf)
    if lane < CLASSES:
        logit = logits[min(n, logits.shape[0] - 1), lane]  # rows past the last image go along with it

    values[image, lane] = logit
    cuda.syncthreads()
    half = LANES // 2
    while half > 0:
        if lane < half:
            values[image, lane] = max(values[image, lane], values[image, lane + half])
        cuda.syncthreads()
        half //= 2
    largest = values[image, 0]
    cuda.syncthreads()

    exponential = math.exp(logit - largest)
    values[image, lane] = exponential
    cuda.syncthreads()
    half = LANES // 2
    while half > 0:
        if lane < half:
            values[image, lane] += values[image, lane + half]
        cuda.syncthreads()
        half //= 2
    total = values[image, 0]

    if n >= logits.shape[0] or lane >= CLASSES:
        return
    probabilities[n, lane] = exponential / total
    grad_logits[n, lane] = exponential / total
    if lane == labels[n]:
        grad_logits[n, lane] -= float32(1)
        losses[n] += largest + math.log(total) - logit
        hit = True
        for other in range(CLASSES):  # the answer is the first of the largest logits
            if logits[n, other] > logit or (other < lane and logits[n, other] == logit):
                hit = False
        if hit:
            hits[n] += 1


@cuda.jit(cache=True)
def dense_backward(grad_logits, weights, grad_inputs):
    """grad_logits (N, 10), weights (10, K) -> grad_inputs (N, K). A thread is one input of one image."""
    k, n = cuda.grid(2)
    if n >= grad_inputs.shape[0] or k >= grad_inputs.shape[1]:
        return
    total = float32(0)
    for c in range(CLASSES):
        total += weights[c, k] * grad_logits[n, c]
    grad_inputs[n, k] = total


@cuda.jit(cache=True)
def dense_update(inputs, grad_logits, step, weights, biases):
    """Sum the batch's gradient and step down it. A thread is one weight; k = K is the biases (input 1)."""
    k, c = cuda.grid(2)
    if k > weights.shape[1] or c >= CLASSES:
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
    """`Softmax` on the GPU, for whole batches of float32 device arrays; weights and biases stay on the device.

    weights (K, 10) are held there as (10, K): neighbouring threads take neighbouring inputs k, and so read neighbouring
    numbers, which the memory delivers together.

    block: threads in a block as (x, y). The softmax itself always takes 16 threads for each of 16 images.
    """

    stream = 0  # what the kernels are launched in: the default stream, or one that is recorded

    def __init__(self, weights, biases, block=BLOCK):
        self.weights = cuda.to_device(np.ascontiguousarray(weights.T))
        self.biases = cuda.to_device(biases)
        self.block = check_block(block)
        self._logits = reusable_arrays()
        self._probabilities = reusable_arrays()
        self._grad_logits = reusable_arrays()
        self._grad_inputs = reusable_arrays()

    def logits(self, inputs):  # NxK -> Nx10
        """The logits (N, 10) for inputs (N, K), valid until the next call."""
        count = len(inputs)
        self.inputs = inputs
        logits = self._logits(count, CLASSES)
        dense_forward[count, self.block, self.stream](inputs, self.weights, self.biases, logits)
        return logits

    def forward(self, inputs, labels, losses, hits):  # NxK -> Nx10
        """The probabilities (N, 10) for inputs (N, K); adds to losses and hits, finds the gradient at the logits."""
        count = len(inputs)
        logits = self.logits(inputs)
        probabilities, self.grad_logits = self._probabilities(count, CLASSES), self._grad_logits(count, CLASSES)
        blocks, block = -(-count // IMAGES_PER_BLOCK), (LANES, IMAGES_PER_BLOCK)
        softmax_cross_entropy[blocks, block, self.stream](logits, labels, probabilities, self.grad_logits, losses, hits)
        return probabilities

    def backward(self):  # -> NxK
        """The gradient at the inputs (N, K), valid until the next call."""
        count, inputs = self.inputs.shape
        grad_inputs = self._grad_inputs(count, inputs)
        blocks = grid(inputs, count, 1, self.block)[:2]
        dense_backward[blocks, self.block, self.stream](self.grad_logits, self.weights, grad_inputs)
        return grad_inputs

    def update(self, step):
        """Step down the summed gradient; step is the learning rate over the number of images."""
        blocks = grid(self.weights.shape[1] + 1, CLASSES, 1, self.block)[:2]
        dense_update[blocks, self.block, self.stream](
            self.inputs, self.grad_logits, np.float32(step), self.weights, self.biases
        )
