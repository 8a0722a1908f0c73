"""The convolution: a 3x3 window slides over the image, and every filter turns what the window sees into one number.

    output[row, column, f] = sum over a, b of image[row + a, column + b] * filters[f, a, b]   (+ biases[f], then ReLU)

image (H, W), filters (F, 3, 3), biases (F,) -> output (H - 2, W - 2, F). The window stays inside the image, so the
output is smaller. `Conv3x3` is plain Python: one image at a time, in the dtype of its filters. `Conv3x3GPU` is its twin
in CUDA: N images at a time, in float32. The loop over the places of the window became the grid, and the body of the
loop became the kernel.

| kernel           | one thread is                       | one block is                                      |
|------------------|-------------------------------------|---------------------------------------------------|
| conv3x3_forward  | one place in one image, all filters | neighbouring places                               |
| conv3x3_backward | some of the places in one image     | one filter in one image: it sums over the places  |
| conv3x3_update   | some of the images                  | one value of one filter: it sums over the images  |

By hand, with one filter and without ReLU. The window at row 0, column 0 gives the output 2:

    image      filter       1*1  + 2*0 + 0*-1        output
    1 2 0 1     1  0 -1   + 0*0  + 1*2 + 3*0          2  7
    0 1 3 1     0  2  0   + 2*-1 + 0*0 + 1*1  =  2   -4  3
    2 0 1 0    -1  0  1
    1 1 0 2

Backward, the gradient of the loss at the output comes from the layer above. If a number of the filter grows by 1, each
output grows by the pixel that was multiplied with this number. So the filter's gradient is the sum of all windows, each
times the gradient at its output:

    gradient at       window        window        window         window     gradient of
    the output        at 0, 0       at 0, 1       at 1, 0        at 1, 1    the filter
                      1 2 0         2 0 1         0 1 3          1 3 1       0  1  5
      1  0        1 * 0 1 3  +  0 * 1 3 1  +  2 * 2 0 1  +  -1 * 0 1 0   =   4  0  5
      2 -1            2 0 1         0 1 0         1 1 0          1 0 2       3  2 -1

With ReLU and a bias of 0 the output -4 becomes 0, and the gradient 2 at this place is dropped.

    $ python conv_gpu.py              checks the kernels against Conv3x3, then times them
    64 images of 28x28, 8 filters: kernels against plain Python, largest difference (allowed: 1e-05)
    block 8x8   forward 9.3e-08          backward 1.2e-07         update 1.1e-07
    block 16x16 forward 9.3e-08          backward 1.8e-07         update 1e-07
    block 32x32 forward 9.3e-08          backward 1.8e-07         update 1.5e-07
    NVIDIA H100 80GB HBM3, median of 30 x 100 launches; in brackets: threads with work
    block 8x8   forward 6.7 us (66%)     backward 15.3 us (66%)   update 2.5 us (100%)
    block 16x16 forward 7.0 us (66%)     backward 19.8 us (66%)   update 2.8 us (25%)
    block 32x32 forward 8.4 us (66%)     backward 83.6 us (66%)   update 3.9 us (6%)

Forward, all three shapes have the same share of idle threads. Backward, a block sums ten numbers over its threads: with
1,024 threads each of these sums takes ten rounds, and 32 warps wait for each other after every round.

    $ python conv_gpu.py              without a GPU
    no GPU can be used here (...): checking in the CUDA simulator, timing nothing
    2 images of 8x8, 2 filters: kernels against plain Python, largest difference (allowed: 1e-05)
    block 4x4   forward 6.6e-08          backward 6.1e-08         update 4.7e-08
"""

if __name__ == "__main__":
    import quiet_start  # noqa: F401 (Ctrl-C during the imports below)

import numpy as np
from numba import cuda, float32

import kernel_cache  # noqa: F401 (where the compiled kernels are kept)
from errors import run
from gpu_launch import BLOCK, block_sum, check_block, grid, reusable_arrays
from layer_check import Step, check_and_time, in_float64


class Conv3x3:
    """A 3x3 convolution without padding, in plain Python.

    filters (F, 3, 3) and biases (F,) are changed in place, and all arithmetic has their dtype. activation "relu" adds
    the biases and a ReLU, "none" leaves both out.
    """

    def __init__(self, filters, biases, activation="none"):
        self.filters = filters
        self.biases = biases
        self.relu = activation == "relu"
        self.grad_filters = np.zeros_like(filters)
        self.grad_biases = np.zeros_like(biases)

    @staticmethod
    def windows(image):
        """Each place of the window and what it sees there: (row, column, 3x3 window)."""
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
        """Add the filters' gradient from this image to that of the batch. No layer below needs one at the image."""
        if self.relu:
            grad_output = grad_output * (self.output > 0)
            self.grad_biases += grad_output.sum(axis=(0, 1))
        for row, column, window in self.windows(self.image):
            self.grad_filters += grad_output[row, column, :, None, None] * window

    def update(self, step):
        """Take a step against the batch's gradient and start a new one. step: learning rate / number of images."""
        self.filters -= step * self.grad_filters
        self.biases -= step * self.grad_biases
        self.grad_filters[:] = 0
        self.grad_biases[:] = 0


@cuda.jit(cache=True)
def conv3x3_forward(images, filters, biases, relu, output):
    """images (N, H, W) -> output (N, H - 2, W - 2, F). A thread is one place of the window in one image.

    The threads of a warp (32 neighbours, which run together) take neighbouring columns: with a block of 16x16, of two
    rows. They read neighbouring pixels, which the memory delivers together: mostly coalesced access. What they write
    lies F numbers apart, and is not coalesced.
    """
    column, row, n = cuda.grid(3)
    if row >= output.shape[1] or column >= output.shape[2]:  # whole blocks seldom fit the image: some threads are idle
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
    """The gradient from each image: grad_parts (N, F, 10) gets a filter's nine numbers, then its bias.

    A block is one filter in one image. Its threads go over the places in steps of the block's shape (a block-stride
    loop). Each thread keeps ten sums in registers, and `block_sum` adds those of all threads (a tree reduction in
    shared memory). Registers are few: the more a thread takes, the fewer threads run at once (lower occupancy).
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
    """Sum the gradients of the images and take a step against the sum.

    A block is one value of one filter: one of its nine weights, or its bias (tap 9).

    The images are few, so most threads of a large block have nothing to add. Neighbouring threads read numbers that lie
    10 F apart, which is not coalesced.
    """
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
    """`Conv3x3` on the GPU, for batches of float32 device arrays. Filters and biases stay on the device.

    block: threads in a block as (x, y).
    """

    stream = 0  # where the kernels are launched: the default stream, or one that is recorded

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
        """Find the filters' gradient from every image, for `update`."""
        self.grad_parts = self._grad_parts(len(self.images), len(self.filters), 10)
        blocks = len(self.filters), len(self.images)
        conv3x3_backward[blocks, self.block, self.stream](
            self.images, self.output, self.relu, grad_output, self.grad_parts
        )

    def update(self, step):
        """Take a step against the batch's gradient. step: learning rate / number of images."""
        blocks = len(self.filters), 10
        conv3x3_update[blocks, self.block, self.stream](
            self.grad_parts, np.float32(step), self.relu, self.filters, self.biases
        )


def steps_of(work):
    """Run `Conv3x3` on random images. Returns a function that gives the kernels' steps on the same images."""
    random = np.random.default_rng(1).standard_normal
    images = random((work.images, work.image_size, work.image_size), np.float32)
    filters, biases = random((work.filters, 3, 3), np.float32), random(work.filters, np.float32)
    places = work.convolved_size, work.convolved_size
    above = random((work.images, *places, work.filters), np.float32)  # the gradient at the output

    plain, output, step = Conv3x3(*in_float64(filters, biases), "relu"), [], 1 / work.images
    for image, gradient in zip(*in_float64(images, above), strict=True):
        output.append(plain.forward(image))
        plain.backward(gradient)
    sums = np.column_stack([plain.grad_filters.reshape(-1, 9), plain.grad_biases])
    plain.update(step)
    new = [plain.filters, plain.biases]

    def steps(block):
        layer = Conv3x3GPU(filters, biases, "relu", block)
        inputs, gradient = cuda.to_device(images), cuda.to_device(above)

        def found_sums():  # the kernel keeps the gradients of the images apart, the plain layer sums them
            return [layer.grad_parts.copy_to_host().sum(axis=0)]

        return layer, [
            Step("forward", lambda: layer.forward(inputs), places, [output]),
            Step("backward", lambda: layer.backward(gradient), places, [sums], found_sums),
            Step("update", lambda: layer.update(step), (work.images,), new, lambda: [layer.filters, layer.biases]),
        ]

    return steps


def main(argv=None):
    return check_and_time(steps_of, argv)


if __name__ == "__main__":
    run(main)
