"""Max-pooling: of every 2x2 window only the largest number goes on, and only its place gets the gradient back.

    output[row, column, f] = max over a, b in {0, 1} of input[2 * row + a, 2 * column + b, f]

input (H, W, F) -> output (H // 2, W // 2, F): an odd last row or column belongs to no window. `MaxPool2` is plain
Python: one image at a time, in the dtype of its input. `MaxPool2GPU` is its twin in CUDA: N images at a time, in
float32. The loop over the windows became the grid, and the body of the loop became the kernel.

| kernel            | one thread is                                                                                |
|-------------------|----------------------------------------------------------------------------------------------|
| maxpool2_forward  | one window in one image, all filters                                                         |
| maxpool2_backward | the same; it finds the maximum again. At an odd edge a part of a window, which gets zeros    |

By hand, with one filter. Backward, the gradient at the output comes from the layer above:

    input       output      gradient at      gradient at
    1 3 0 2      4 2        the output       the input
    4 2 2 1      0 6         1 2              0 0 0 2
    0 0 5 1                  3 4              1 0 0 0
    0 0 6 6                                   3 0 0 0
                                              0 0 4 0

Three of these windows hold a tie: 2 and 2, four zeros, 6 and 6. The FIRST of the equal numbers gets the gradient (the
upper row first, and in a row the left one). In a flat background every window is a tie, and two engines with different
rules would drift apart.

    $ python pool_gpu.py              checks the kernels against MaxPool2, then times them
    64 images of 28x28, 8 filters: kernels against plain Python, largest difference (allowed: 1e-05)
    block 8x8   forward 0                backward 0
    block 16x16 forward 0                backward 0
    block 32x32 forward 0                backward 0
    NVIDIA H100 80GB HBM3, median of 30 x 100 launches; in brackets: threads with work
    block 8x8   forward 2.8 us (66%)     backward 8.5 us (66%)
    block 16x16 forward 3.4 us (66%)     backward 9.2 us (66%)
    block 32x32 forward 3.6 us (17%)     backward 9.4 us (17%)

    $ python pool_gpu.py              without a GPU
    no GPU can be used here (...): checking in the CUDA simulator, timing nothing
    2 images of 8x8, 2 filters: kernels against plain Python, largest difference (allowed: 1e-05)
    block 4x4   forward 0                backward 0
"""

if __name__ == "__main__":
    import quiet_start  # noqa: F401 (Ctrl-C during the imports below)

import numpy as np
from numba import cuda, float32

import kernel_cache  # noqa: F401 (where the compiled kernels are kept)
from errors import run
from gpu_launch import BLOCK, check_block, grid, reusable_arrays
from layer_check import Step, check_and_time


class MaxPool2:
    """Max-pooling over 2x2 windows, in plain Python."""

    @staticmethod
    def windows(pixels):
        """Each window: (row, column, 2x2xF numbers). Row and column count windows."""
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
        """The gradient at the input. In each window the first of the largest numbers gets all of it."""
        grad_input = np.zeros_like(self.input)
        every_filter = np.arange(self.input.shape[2])
        for row, column, window in self.windows(self.input):
            first = np.argmax(window.reshape(4, -1), axis=0)  # argmax gives the first of equals
            grad_input[2 * row + first // 2, 2 * column + first % 2, every_filter] = grad_output[row, column]
        return grad_input


@cuda.jit(cache=True)
def maxpool2_forward(pixels, output):
    """pixels (N, H, W, F) -> output (N, H // 2, W // 2, F). A thread is one window in one image.

    The windows are few: 13x13 in a block of 32x32 threads leave five of six threads idle.
    """
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
    """grad_output (N, H // 2, W // 2, F) -> grad_input (N, H, W, F). A thread is one window in one image.

    At an odd edge it is a part of a window. Every number of grad_input is written, because it may still hold an earlier
    gradient. The threads of a warp (32 neighbours, which run together) find their maxima at different places. Where
    they take different branches, the warp runs one branch after the other: divergence. These branches are short.
    """
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
    """`MaxPool2` on the GPU, for batches of float32 device arrays. block: threads in a block as (x, y)."""

    stream = 0  # where the kernels are launched: the default stream, or one that is recorded

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


def steps_of(work):
    """Run `MaxPool2` on random numbers. Returns a function that gives the kernels' steps on the same numbers."""
    random = np.random.default_rng(1)
    size, windows = work.convolved_size, (work.pooled_size, work.pooled_size)
    pixels = random.integers(-2, 3, (work.images, size, size, work.filters))  # few values: most windows hold a tie
    pixels = pixels.astype(np.float32)
    above = random.standard_normal((work.images, *windows, work.filters), np.float32)  # the gradient at the output

    plain, output, grad_input = MaxPool2(), [], []
    for image, gradient in zip(pixels, above, strict=True):
        output.append(plain.forward(image))
        grad_input.append(plain.backward(gradient))

    def steps(block):
        layer, inputs, gradient = MaxPool2GPU(block), cuda.to_device(pixels), cuda.to_device(above)
        return layer, [
            Step("forward", lambda: layer.forward(inputs), windows, [output]),
            Step("backward", lambda: layer.backward(gradient), windows, [grad_input]),
        ]

    return steps


def main(argv=None):
    return check_and_time(steps_of, argv)


if __name__ == "__main__":
    run(main)
