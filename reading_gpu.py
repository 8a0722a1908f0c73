"""Reading any number of images in ONE kernel launch: convolution, pooling, dense layer and softmax.

A block is one warp: 32 threads, which run together. It reads two images at a time, and waits for no other warp. Its
threads share out the pooling windows and the filters. What a thread does for a window and its filters stays in
registers, from the 4x4 pixels that a filter sees at the four places of the window to the part of each logit:

    two images arrive                       store_images
    forward: for each window of a thread
        convolution, pooling, ReLU          pool
        dense layer                         load_weights, add_to_logits
    sums over the threads: the logits       store_logits
    softmax                                 softmax

What makes it fast:
  - Register tiling: a thread has four filters, so each pixel that it loads serves four times, and each dense weight
    serves two images.
  - Vector loads: if the number of filters is a multiple of four, the dense weights of a thread's filters come by one
    load (`load_four`). In shared memory the compiler finds such loads and stores itself, because it knows how the
    images lie there (ALIGNMENT).
  - Independent warps: while one waits for memory, the others on its multiprocessor compute.
  - Sums by way of shared memory: each thread writes its parts of the logits as a column, then it adds up a row. Rows of
    odd length put the numbers that neighbouring threads take into different banks (no bank conflict).

Learning takes another division of the work, see epoch_gpu.py: there a step waits for its slowest block, so all threads
of a block share one image.
"""

import functools
import math
from typing import NamedTuple

import numpy as np
from numba import cuda, float32

import kernel_cache  # noqa: F401 (where the compiled kernels are kept)
from epoch_gpu import (
    PATCH,
    convolve,
    corner_of,
    device,
    largest_of,
    load_patch,
    multiprocessors,
    pixel_of,
    scaled,
    sum_row,
)
from epoch_plan import PIXELS, WARP_SIZE, WORDS, Shape, ceil_div, max_registers
from gpu_instructions import index, load_four
from gpu_launch import SIMULATED, Repeated
from sizes import WINDOWS

IMAGES = 2  # that a warp reads at a time
FILTERS = 4  # that a thread has at a time, at most
SHAPE = Shape(WARP_SIZE, 1 if SIMULATED else 16)  # a block is one warp
ROW = WARP_SIZE + 1  # numbers from one row of sums in shared memory to the next
ALIGNMENT = None if SIMULATED else 16  # bytes; in shared memory the images start at a multiple of it
MAX_FILTERS_READ = 256  # up to here the tests hold the plan against what it means


class ReadingPlan(NamedTuple):
    """How a warp shares out its work. All values are known before the kernel is compiled, see epoch_plan.py."""

    num_filters: int
    num_classes: int
    relu: bool
    own_filters: int  # of a thread at a time, side by side
    filter_groups: int  # threads side by side that have different filters, and the same windows
    rounds: int  # until all filters have had their turn
    window_groups: int  # group g of the threads takes the windows g, g + window_groups, ...
    words_per_thread: int  # of an image, that a thread brings from memory
    own_logits: int  # of a thread, at most


def reading_plan(num_filters, num_classes, relu):
    """The ReadingPlan for a network. No thread is left without work, because the groups of filters divide the warp."""
    own_filters = min(FILTERS, num_filters)
    groups = ceil_div(num_filters, own_filters)
    filter_groups = math.gcd(groups, WARP_SIZE)
    return ReadingPlan(
        num_filters=num_filters,
        num_classes=num_classes,
        relu=relu,
        own_filters=own_filters,
        filter_groups=filter_groups,
        rounds=groups // filter_groups,
        window_groups=WARP_SIZE // filter_groups,
        words_per_thread=ceil_div(WORDS, WARP_SIZE),
        own_logits=ceil_div(IMAGES * num_classes, WARP_SIZE),
    )


class Registers(NamedTuple):
    """What a thread has for itself: arrays that are to lie in registers."""

    taps: object  # 9 of each of its filters
    biases: object  # theirs
    patch: object  # 4 x 4 pixels, all that a filter sees at the four places of a pooling window
    pooled: object  # of each image, then of each filter
    weights: object  # dense weights of its filters, for one window and class
    sums: object  # parts of the logits: of each image, then of each class


class Shared(NamedTuple):
    """The shared memory of a warp."""

    scratch: object  # the images, and later the sums (IMAGES * C, ROW)
    logits: object  # of each image, then of each class
    exponentials: object  # the same


@device
def store_images(plan, images, first, pixels):
    """Images number `first` and the next ones, scaled, to pixels in shared memory. After the last one it comes again.

    images (N, 196) uint32, words of four pixels. Neighbouring threads read neighbouring words (coalesced access).
    """
    for image in range(IMAGES):
        n = index(min(first + image, images.shape[0] - 1))
        for i in range(plan.words_per_thread):
            word = index(cuda.threadIdx.x) + i * WARP_SIZE
            if word < WORDS:
                four, place = images[n, word], index(image * PIXELS + 4 * word)
                for b in range(4):
                    pixels[place + b] = scaled(pixel_of(four, b))


@device
def load_filters(plan, filters, filter_biases, f, registers):
    """The filters of a thread, f and the next ones, and their biases. For one after the last, the last comes again."""
    for k in range(plan.own_filters):
        own = min(f + k, plan.num_filters - 1)
        for t in range(9):
            registers.taps[9 * k + t] = filters[9 * own + t]
        registers.biases[k] = filter_biases[own]


@device
def pool(plan, registers, k):
    """A pooling window, whose 4x4 pixels are in registers.patch, under filter k of the thread: its largest number.

    ReLU after the pooling gives the same numbers as before it, for a quarter of the work.
    """
    patch, taps, first = registers.patch, registers.taps, 9 * k
    upper = max(convolve(patch, 0, taps, first), convolve(patch, 1, taps, first))
    lower = max(convolve(patch, 4, taps, first), convolve(patch, 5, taps, first))
    largest = max(upper, lower)
    return max(largest + registers.biases[k], float32(0)) if plan.relu else largest


@device
def load_weights(plan, weights, window, c, f, own_weights):
    """The dense weights of filters f and the next ones, for a window and class c; 0 for filters after the last."""
    first = (c * WINDOWS + window) * plan.num_filters + f
    if plan.num_filters % FILTERS == 0:
        own_weights[0], own_weights[1], own_weights[2], own_weights[3] = load_four(weights, first)
    else:
        for k in range(plan.own_filters):
            own_weights[k] = weights[index(first + k)] if f + k < plan.num_filters else float32(0)


@device
def add_to_logits(plan, weights, window, f, registers):
    """Add what the pooled numbers of a window give to the thread's part of the logits of all images."""
    own = plan.own_filters
    for c in range(plan.num_classes):
        load_weights(plan, weights, window, c, f, registers.weights)
        for image in range(IMAGES):
            for k in range(own):
                activation = registers.pooled[image * own + k]
                registers.sums[image * plan.num_classes + c] += activation * registers.weights[k]


@device
def forward(plan, filters, filter_biases, weights, pixels, registers):
    """Convolution, pooling and the thread's part of the logits, for the images in pixels."""
    thread = index(cuda.threadIdx.x)
    for s in range(IMAGES * plan.num_classes):
        registers.sums[s] = float32(0)
    for turn in range(plan.rounds):
        f = (turn * plan.filter_groups + thread % plan.filter_groups) * plan.own_filters
        load_filters(plan, filters, filter_biases, f, registers)
        for i in range(thread // plan.filter_groups, WINDOWS, plan.window_groups):
            window = index(i)
            for image in range(IMAGES):
                load_patch(pixels, index(image * PIXELS + corner_of(window)), registers.patch)
                for k in range(plan.own_filters):
                    registers.pooled[image * plan.own_filters + k] = pool(plan, registers, k)
            add_to_logits(plan, weights, window, f, registers)


@device
def store_logits(plan, biases, registers, shared):
    """Sum up the parts of the logits that the threads have, and add the bias: shared.logits."""
    thread = index(cuda.threadIdx.x)
    for s in range(IMAGES * plan.num_classes):
        shared.scratch[s * ROW + thread] = registers.sums[s]
    cuda.syncthreads()
    for i in range(plan.own_logits):
        s = thread + i * WARP_SIZE
        if s < IMAGES * plan.num_classes:
            shared.logits[s] = biases[s % plan.num_classes] + sum_row(shared.scratch, s * ROW, 1, WARP_SIZE)


@device
def softmax(plan, shared, first, logits, probabilities):
    """From shared.logits to the results of images first, first + 1, ..."""
    thread = index(cuda.threadIdx.x)
    for i in range(plan.own_logits):
        s = thread + i * WARP_SIZE
        if s < IMAGES * plan.num_classes:
            largest = largest_of(plan, shared.logits, s - s % plan.num_classes)
            shared.exponentials[s] = math.exp(shared.logits[s] - largest)
    cuda.syncthreads()
    for i in range(plan.own_logits):
        s = thread + i * WARP_SIZE
        n, c = first + s // plan.num_classes, s % plan.num_classes
        if s < IMAGES * plan.num_classes and n < logits.shape[0]:
            logits[n, c] = shared.logits[s]
            probabilities[n, c] = shared.exponentials[s] / sum_row(shared.exponentials, s - c, 1, plan.num_classes)


@functools.cache
def reading_kernel(plan):
    """read_images, compiled for this ReadingPlan."""
    own_filters, taps_size = plan.own_filters, 9 * plan.own_filters
    pooled_size, sums_size = IMAGES * plan.own_filters, IMAGES * plan.num_classes
    scratch_size = max(IMAGES * PIXELS, sums_size * ROW)
    options = {} if SIMULATED else {"max_registers": max_registers(SHAPE)}

    @cuda.jit(cache=True, **options)
    def read_images(images, filters, filter_biases, weights, biases, logits, probabilities):
        """images (N, 196) uint32 -> logits (N, C) and probabilities (N, C); any number of blocks.

        A grid-stride loop over pairs of images.
        """
        shared = Shared(
            scratch=cuda.shared.array(scratch_size, float32, ALIGNMENT),
            logits=cuda.shared.array(sums_size, float32),
            exponentials=cuda.shared.array(sums_size, float32),
        )
        registers = Registers(
            taps=cuda.local.array(taps_size, float32),
            biases=cuda.local.array(own_filters, float32),
            patch=cuda.local.array(PATCH, float32),
            pooled=cuda.local.array(pooled_size, float32),
            weights=cuda.local.array(FILTERS, float32),
            sums=cuda.local.array(sums_size, float32),
        )
        for i in range(IMAGES * cuda.blockIdx.x, images.shape[0], IMAGES * cuda.gridDim.x):
            first = index(i)
            store_images(plan, images, first, shared.scratch)
            cuda.syncthreads()
            forward(plan, filters, filter_biases, weights, shared.scratch, registers)
            cuda.syncthreads()
            store_logits(plan, biases, registers, shared)
            cuda.syncthreads()
            softmax(plan, shared, first, logits, probabilities)

    return read_images


class Reader:
    """Reads any number of images in one launch: convolution, pooling, dense layer and softmax in one kernel.

    num_filters, num_classes, relu: of the network; parameters: flat device arrays of filters, filter biases, weights by
    class and biases, whose content may change.
    """

    def __init__(self, num_filters, num_classes, relu, parameters):
        self.num_classes = num_classes
        self.kernel = reading_kernel(reading_plan(num_filters, num_classes, relu))
        self.launch_shape = SHAPE.blocks_per_sm * multiprocessors(), SHAPE.threads
        self.parameters = parameters
        self.images = None

    def read(self, images):
        """(logits, probabilities), both (N, C) float32 and valid until the next call, of images (N, 196) uint32.

        All on the device. The same array again costs the host a tenth of the time, see `Repeated`.
        """
        if images is not self.images:
            self.images, self.run = images, Repeated()
            self.results = [cuda.device_array((images.shape[0], self.num_classes), np.float32) for _ in range(2)]
        self.run(self._launch)
        return self.results

    def _launch(self, stream):
        self.kernel[(*self.launch_shape, stream)](self.images, *self.parameters, *self.results)
