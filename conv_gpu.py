"""The convolution: a 3x3 window slides over the image, and every filter gives one number for each place it stands.

    output[row, column, f] = sum over a, b of image[row + a, column + b] * filters[f, a, b]   (+ bias, then ReLU)

`Conv3x3` is plain Python, one image at a time. `Conv3x3GPU` is the same on CUDA, a batch at a time: the loop over the
places became the grid, the body of the loop became the kernel.

| kernel                   | one thread is              | what became of the loop                                     |
|--------------------------|----------------------------|-------------------------------------------------------------|
| conv3x3_forward          | one place of one image     | gone: the grid covers the places, its z the images          |
| conv3x3_backward         | a share of one image       | a block per (image, filter) shares out the places and sums  |
| conv3x3_update           | a share of the batch       | a block per number of a filter shares out the images        |
"""

import numpy as np
from numba import cuda, float32

import kernel_cache  # noqa: F401 (where the compiled kernels are kept)
from gpu_launch import BLOCK, block_sum, check_block, grid, reusable_arrays


class Conv3x3:
    """A 3x3 convolution without padding, in plain Python.

    filters (F, 3, 3) and biases (F,) are changed in place; their dtype is that of all the arithmetic. activation "relu"
    adds the biases and a ReLU, "none" leaves both out.
    """

    def __init__(self, filters, biases, activation="none"):
        self.filters = filters
        self.biases = biases
        self.relu = activation == "relu"
        self.grad_filters = np.zeros_like(filters)
        self.grad_biases = np.zeros_like(biases)

    @staticmethod
    def windows(image):
        """Each place of the window with what it sees: (row, column, 3x3 window)."""
        height, width = image.shape
        for row in range(height - 2):
            for column in range(width - 2):
                yield row, column, image[row : row + 3, column : column + 3]

    def forward(self, image):  # 28x28 -> 26x26xF
        """The output (H - 2, W - 2, F) for one image (H, W)."""
        self.image = image
        height, width = image.shape
        output = np.empty((height - 2, width - 2, len(self.filters)), self.filters.dtype)
        for row, column, window in self.windows(image):
            output[row, column] = np.sum(window * self.filters, axis=(1, 2))
        if self.relu:
            output = np.maximum(output + self.biases, 0)
        self.output = output
        return output

    def backward(self, grad_output):  # 26x26xF ->
        """Add this image's gradient to the batch's. Each window saw its part of the image through every filter."""
        if self.relu:
            grad_output = grad_output * (self.output > 0)
            self.grad_biases += grad_output.sum(axis=(0, 1))
        for row, column, window in self.windows(self.image):
            self.grad_filters += grad_output[row, column, :, None, None] * window

    def update(self, step):
        """Step down the summed gradient, and forget it; step is the learning rate over the number of images."""
        self.filters -= step * self.grad_filters
        self.biases -= step * self.grad_biases
        self.grad_filters[:] = 0
        self.grad_biases[:] = 0


@cuda.jit(cache=True)
def conv3x3_forward(images, filters, biases, relu, output):
    """images (N, H, W) -> output (N, H - 2, W - 2, F). A thread is one place of the window in one image."""
    column, row, n = cuda.grid(3)
    if row >= output.shape[1] or column >= output.shape[2]:
        return
    for f in range(filters.shape[0]):
        total = float32(0)
        for a in range(3):
            for b in range(3):
                total += images[n, row + a, column + b] * filters[f, a, b]
        if relu:
            total = max(total + biases[f], float32(0))
        output[n, row, column, f] = total


@cuda.jit(cache=True)
def conv3x3_backward(images, output, relu, grad_output, grad_parts):
    """The gradient of each image: grad_parts (N, F, 10) gets the nine numbers of a filter, then its bias.

    A block is one (image, filter). Its threads share out the places of the window, stepping by the block's shape, each
    keeps ten sums of its own, and the block adds them up.
    """
    f, n = cuda.blockIdx.x, cuda.blockIdx.y
    sums = cuda.local.array(10, float32)
    for tap in range(10):
        sums[tap] = float32(0)
    for row in range(cuda.threadIdx.y, grad_output.shape[1], cuda.blockDim.y):
        for column in range(cuda.threadIdx.x, grad_output.shape[2], cuda.blockDim.x):
            gradient = grad_output[n, row, column, f]
            if relu and output[n, row, column, f] <= float32(0):
                gradient = float32(0)
            for a in range(3):
                for b in range(3):
                    sums[3 * a + b] += gradient * images[n, row + a, column + b]
            sums[9] += gradient
    for tap in range(10):
        total = block_sum(sums[tap])
        if cuda.threadIdx.x == 0 and cuda.threadIdx.y == 0:
            grad_parts[n, f, tap] = total


@cuda.jit(cache=True)
def conv3x3_update(grad_parts, step, relu, filters, biases):
    """Sum the images' gradients and step down them. A block is one number of one filter (tap 9 is the bias)."""
    f, tap = cuda.blockIdx.x, cuda.blockIdx.y
    thread = cuda.threadIdx.y * cuda.blockDim.x + cuda.threadIdx.x
    total = float32(0)
    for n in range(thread, grad_parts.shape[0], cuda.blockDim.x * cuda.blockDim.y):
        total += grad_parts[n, f, tap]
    total = block_sum(total)
    if thread == 0:
        if tap < 9:
            filters[f, tap // 3, tap % 3] -= step * total
        elif relu:
            biases[f] -= step * total


class Conv3x3GPU:
    """`Conv3x3` on the GPU, for whole batches of float32 device arrays; filters and biases stay on the device.

    block: threads in a block as (x, y).
    """

    stream = 0  # what the kernels are launched in: the default stream, or one that is recorded

    def __init__(self, filters, biases, activation="none", block=BLOCK):
        self.filters = cuda.to_device(filters)
        self.biases = cuda.to_device(biases)
        self.relu = activation == "relu"
        self.block = check_block(block)
        self._output = reusable_arrays()
        self._grad_parts = reusable_arrays()

    def forward(self, images):  # Nx28x28 -> Nx26x26xF
        """The output (N, H - 2, W - 2, F) for images (N, H, W), valid until the next call."""
        count, height, width = images.shape
        self.images = images
        self.output = self._output(count, height - 2, width - 2, len(self.filters))
        blocks = grid(width - 2, height - 2, count, self.block)
        conv3x3_forward[blocks, self.block, self.stream](images, self.filters, self.biases, self.relu, self.output)
        return self.output

    def backward(self, grad_output):  # Nx26x26xF ->
        """Find the gradient of every image, for `update`."""
        self.grad_parts = self._grad_parts(len(self.images), len(self.filters), 10)
        blocks = len(self.filters), len(self.images)
        conv3x3_backward[blocks, self.block, self.stream](
            self.images, self.output, self.relu, grad_output, self.grad_parts
        )

    def update(self, step):
        """Step down the summed gradient; step is the learning rate over the number of images."""
        blocks = len(self.filters), 10
        conv3x3_update[blocks, self.block, self.stream](
            self.grad_parts, np.float32(step), self.relu, self.filters, self.biases
        )
