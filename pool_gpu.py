"""Max-pooling: of every 2x2 window only the largest number goes on, and only it gets the gradient back.

`MaxPool2` is plain Python, one image at a time; `MaxPool2GPU` is the same on CUDA, a batch at a time. An odd last row
or column belongs to no window. Where several numbers of a window are the largest, the FIRST one in row-major order gets
the gradient: on a flat background every window is such a tie, and engines that broke it differently would drift apart.

| kernel            | one thread is                                                                                  |
|-------------------|------------------------------------------------------------------------------------------------|
| maxpool2_forward  | one window of one image, all filters                                                           |
| maxpool2_backward | the same window, searched again for its first maximum; a cut-off window at the edge gets zeros |
"""

import numpy as np
from numba import cuda, float32

import kernel_cache  # noqa: F401 (where the compiled kernels are kept)
from gpu_launch import BLOCK, check_block, grid, reusable_arrays


class MaxPool2:
    """Max-pooling over 2x2 windows, in plain Python."""

    @staticmethod
    def windows(pixels):
        """Each window: (row, column, 2x2xF window), row and column counted in windows."""
        for row in range(pixels.shape[0] // 2):
            for column in range(pixels.shape[1] // 2):
                yield row, column, pixels[2 * row : 2 * row + 2, 2 * column : 2 * column + 2]

    def forward(self, pixels):  # 26x26xF -> 13x13xF
        """The output (H // 2, W // 2, F) for one input (H, W, F)."""
        self.input = pixels
        height, width, filters = pixels.shape
        output = np.empty((height // 2, width // 2, filters), pixels.dtype)
        for row, column, window in self.windows(pixels):
            output[row, column] = np.max(window, axis=(0, 1))
        return output

    def backward(self, grad_output):  # 13x13xF -> 26x26xF
        """The gradient at the input: each window's goes to the first of its largest numbers."""
        grad_input = np.zeros_like(self.input)
        every_filter = np.arange(self.input.shape[2])
        for row, column, window in self.windows(self.input):
            first = np.argmax(window.reshape(4, -1), axis=0)  # argmax gives the first of equals
            grad_input[2 * row + first // 2, 2 * column + first % 2, every_filter] = grad_output[row, column]
        return grad_input


@cuda.jit(cache=True)
def maxpool2_forward(pixels, output):
    """pixels (N, H, W, F) -> output (N, H // 2, W // 2, F). A thread is one window of one image."""
    column, row, n = cuda.grid(3)
    if row >= output.shape[1] or column >= output.shape[2]:
        return
    for f in range(output.shape[3]):
        largest = pixels[n, 2 * row, 2 * column, f]
        for place in range(1, 4):
            largest = max(largest, pixels[n, 2 * row + place // 2, 2 * column + place % 2, f])
        output[n, row, column, f] = largest


@cuda.jit(cache=True)
def maxpool2_backward(pixels, grad_output, grad_input):
    """grad_output (N, H // 2, W // 2, F) -> grad_input (N, H, W, F). A thread is one window, cut-off ones included."""
    column, row, n = cuda.grid(3)
    height, width = pixels.shape[1], pixels.shape[2]
    if 2 * row >= height or 2 * column >= width:
        return
    whole = 2 * row + 1 < height and 2 * column + 1 < width
    for f in range(pixels.shape[3]):
        first = 0
        if whole:
            for place in range(1, 4):
                pixel = pixels[n, 2 * row + place // 2, 2 * column + place % 2, f]
                if pixel > pixels[n, 2 * row + first // 2, 2 * column + first % 2, f]:
                    first = place
        for place in range(4):
            y, x = 2 * row + place // 2, 2 * column + place % 2
            if y < height and x < width:
                if whole and place == first:
                    grad_input[n, y, x, f] = grad_output[n, row, column, f]
                else:
                    grad_input[n, y, x, f] = float32(0)


class MaxPool2GPU:
    """`MaxPool2` on the GPU, for whole batches of float32 device arrays. block: threads in a block as (x, y)."""

    stream = 0  # what the kernels are launched in: the default stream, or one that is recorded

    def __init__(self, block=BLOCK):
        self.block = check_block(block)
        self._output = reusable_arrays()
        self._grad_input = reusable_arrays()

    def forward(self, pixels):  # Nx26x26xF -> Nx13x13xF
        """The output (N, H // 2, W // 2, F) for an input (N, H, W, F), valid until the next call."""
        count, height, width, filters = pixels.shape
        self.input = pixels
        output = self._output(count, height // 2, width // 2, filters)
        maxpool2_forward[grid(width // 2, height // 2, count, self.block), self.block, self.stream](pixels, output)
        return output

    def backward(self, grad_output):  # Nx13x13xF -> Nx26x26xF
        """The gradient at the input (N, H, W, F), valid until the next call."""
        count, height, width, _ = self.input.shape
        grad_input = self._grad_input(*self.input.shape)
        blocks = grid((width + 1) // 2, (height + 1) // 2, count, self.block)
        maxpool2_backward[blocks, self.block, self.stream](self.input, grad_output, grad_input)
        return grad_input
