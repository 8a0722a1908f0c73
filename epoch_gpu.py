"""A whole epoch of training in ONE kernel launch.

A launch costs more than the arithmetic of a small batch. With the layers (conv_gpu.py, pool_gpu.py, softmax_gpu.py) a
step is ten launches, an epoch at batch 64 ten thousand. Here the blocks stay on the GPU for the whole epoch (a
"persistent kernel") and meet at a barrier twice in each step:

    learn    A block takes an image of the batch: convolution, pooling, logits, softmax, and back to the filters. It
             leaves in memory the image's activations and its gradient at the logits and, after its last image of the
             step, the filters' gradients, summed over its images.
    -------- barrier: now everything that the blocks have left lies in memory --------
    update   A block owns a slice of the dense weights. It sums the batch's gradient for them and takes a step against
             it (gradient descent). The values of the filters are owned in the same way.
    -------- barrier: now every weight is new --------

For the dense layer, blocks exchange only activations and gradients at the logits. The gradient of its weights would be
many times as much for each image. No two blocks ever add to the same number, so the sums need no atomic additions (only
the counter of the barrier does), and the same seed gives the same bits.

The file follows a step, phase by phase. Then come the kernel, which calls the phases in this order, and the host's
side. Which thread and block does what is decided in epoch_plan.py.

    an image arrives                                 fetch_image, store_image
    forward: convolution, pooling, logits            forward, sum_over_threads
    softmax                                          softmax
    backward: gradients of the pooling, the filters  backward
    what a block leaves for the others               leave_activations, leave_filter_gradients
    barrier                                          arrive, wait
    the dense weights that a block owns              epoch_plan.owned_weight, take_owned, update_weights
    the values of the filters that a block owns      epoch_plan.owned_filter_value, take_owned, update_filters

What makes it fast, each under the name by which it can be looked up:
  - Register tiling: a thread has two filters and keeps their numbers in registers, so each pixel that it loads serves
    twice. Pooling, ReLU and the thread's part of the logits follow in registers.
  - Prefetch and double buffering: the next image is on its way from memory during the softmax and the backward pass of
    the present one (`fetch_image`), and shared memory has two image buffers. Images do not depend on the weights, so
    even the first image of the next step can be loaded, and distorted, while the block waits at the barrier.
  - Vector loads: if the number of filters is even, the weights of a thread's two filters lie side by side and come by
    one load (`load_pair`).
  - Instruction-level parallelism: loads that do not depend on each other are started together (`fetch_chunk`), and a
    long sum is taken in four parts (`sum_row`).
  - Shared memory: what many threads need is loaded from memory once (`store_chunk`). Rows of odd length make bank
    conflicts fewer: the numbers that neighbouring threads take then mostly lie in different banks.
  - Registers, not local memory: the array of a thread stays in registers only if the compiler knows every index. So
    loops have constant bounds and are unrolled. Where a thread has many windows (32 filters: 8), that loop is not
    unrolled any more, and `pooled` and `winners` do lie in local memory. Registers that run out are spilled there, too:
    `max_registers` leaves each thread as many as the launch allows.
  - Independent blocks: when a batch has more images than the GPU has multiprocessors, each holds two smaller blocks.
    While one waits at a barrier of its own (`syncthreads`), the other computes. The occupancy, the number of warps on a
    multiprocessor, is the same.
  - From the second epoch on the launch is replayed from a CUDA graph (`Repeated`), which also copies what is new from
    the host's memory. On an H100 that saves 0.4 ms of Python, a fifth of an epoch at batch 1,024.

The launch is cooperative: all blocks must be on the GPU at once, or the barrier would wait for ever. `epoch_problem`
tells whether the driver and the GPU allow it.
"""

import functools
import math
from typing import NamedTuple

import numpy as np
from numba import cuda, float32, float64, int32, int64, uint32

import epoch_plan
import kernel_cache  # noqa: F401 (where the compiled kernels are kept)
from distortion import NUM_COEFFICIENTS, NUM_DRAWS, PADDED, coefficient, distorted_pixel, distortion_key, draw
from epoch_plan import (
    FILTER_VALUES,
    MANY_IMAGES_A_BLOCK,
    MAX_SHARED,
    ONE_IMAGE_A_BLOCK,
    PIXELS,
    SIMULATOR,
    WARP_SIZE,
    WORDS,
    make_plan,
    max_registers,
    memory_sizes,
    shared_bytes,
)
from gpu_instructions import add_release, index, load_acquire, load_pair
from gpu_launch import SIMULATED, Repeated, gpu_problem
from sizes import IMAGE_SIZE, NUM_CLASSES, POOLED_SIZE, WINDOWS

MAX_FILTERS = 2 * SIMULATOR.threads if SIMULATED else epoch_plan.MAX_FILTERS
ROW_WORDS = IMAGE_SIZE // 4
TWO_IMAGES, TWO_FILTERS, PATCH = 2 * PIXELS, 2 * 9, 4 * 4  # sizes of arrays
TWO_FILTERS_VALUES = 2 * FILTER_VALUES


def device(function):
    """A function that kernels call. In the simulator a plain Python function will do, and is called faster."""
    return function if SIMULATED else cuda.jit(device=True)(function)


# Who owns what: the tests check these functions in plain Python.
owned_weight = device(epoch_plan.owned_weight)
owned_filter_value = device(epoch_plan.owned_filter_value)


class Shared(NamedTuple):
    """The shared memory of a block that learns. All arrays are float32 and flat; some are used as (rows, columns)."""

    images: object  # two of them: one is learned, and the next one arrives
    padded: object  # an image with its margin, before it is distorted
    draws: object  # random numbers of that image's distortion
    coefficients: object
    scratch: object  # used for one thing after another, as (rows, columns)
    partial_sums: object  # mostly (rows, WARP_SIZE + 1)
    logits: object  # (C,)
    exponentials: object  # (C,)


class Registers(NamedTuple):
    """What a thread has for itself: arrays that are to lie in registers."""

    words: object  # of the image that arrives
    taps: object  # 2 x 9, its two filters
    biases: object  # 2, theirs
    weights: object  # for each window and class the dense weights of its two filters
    patch: object  # 4 x 4 pixels, all that a filter sees at the four places of a pooling window
    sums: object  # C: parts of the logits, probabilities, their gradient; in the update: of weights


class Learning(NamedTuple):
    """What a thread has for itself besides, to learn."""

    pooled: object  # of each of its windows, both filters'
    winners: object  # where in the image the pooled number comes from, as an offset from the window's corner
    tap_sums: object  # 2 x 10: its part of its two filters' gradient, over the block's images of this step
    owned_weights: object  # the dense weights and biases that only this thread changes
    owned_filter_values: object  # the values of the filters that only this thread changes
    chunk: object  # what this thread loads of a chunk of the batch
    gathered: object  # what this thread loads of the filters' gradients of all blocks


# -- the image arrives ------------------------------------------------------------------------------------------------


@device
def fetch_image(plan, images, n, words):
    """Start to load image n of images (all, 196), words of four pixels: this thread's words to registers (prefetch).

    Neighbouring threads read neighbouring words, which the memory delivers together (coalesced access).
    """
    for i in range(plan.words_per_thread):
        words[i] = images[index(n), index(min(cuda.threadIdx.x + i * plan.threads, WORDS - 1))]


@device
def pixel_of(word, b):
    """Pixel b, 0..3, of a word, 0..255 as float32: little-endian, as every GPU and its host are."""
    pixel = uint32((word >> uint32(8 * b)) & uint32(255))  # Numba has made 64 bits of it: back to 32, to convert those
    return float32(pixel)


@device
def scaled(ink):
    """A pixel, 0..255, as the network takes it."""
    return ink * float32(1 / 255) - float32(0.5)


@device
def store_as_it_is(plan, words, images, start):
    """The words that `fetch_image` has brought, scaled, to images[start : start + 784] in shared memory."""
    for i in range(plan.words_per_thread):
        word = index(cuda.threadIdx.x) + i * plan.threads
        if word < WORDS:
            for b in range(4):
                images[start + 4 * word + b] = scaled(pixel_of(words[i], b))


@device
def clear_padded(plan, padded):
    """Set the padded image to 0, paper. Images only fill its inside, so its margin stays 0. A barrier must follow."""
    for i in range(index(cuda.threadIdx.x), PADDED * PADDED, plan.threads):
        padded[index(i)] = float32(0)


@device
def store_distorted(plan, words, key, n, shared, start):
    """As `store_as_it_is`, but distorted as the key of the epoch says for image n of the set."""
    thread = index(cuda.threadIdx.x)
    for i in range(plan.words_per_thread):
        word = thread + i * plan.threads
        if word < WORDS:
            corner = (word // ROW_WORDS + 1) * PADDED + word % ROW_WORDS * 4 + 1
            for b in range(4):
                shared.padded[corner + b] = pixel_of(words[i], b)
    for i in range(thread, NUM_DRAWS, plan.threads):
        shared.draws[index(i)] = draw(key, n, index(i))
    cuda.syncthreads()
    for i in range(thread, NUM_COEFFICIENTS, plan.threads):
        shared.coefficients[index(i)] = coefficient(shared.draws, index(i))
    cuda.syncthreads()
    for i in range(-(-PIXELS // plan.threads)):
        pixel = thread + i * plan.threads
        if pixel < PIXELS:
            ink = distorted_pixel(shared.padded, shared.coefficients, pixel // IMAGE_SIZE, pixel % IMAGE_SIZE)
            shared.images[start + pixel] = scaled(ink)


@device
def store_image(plan, words, key, n, shared, start):
    """The image that `fetch_image` has brought, to shared.images[start:]; distorted if the plan says so."""
    if plan.distort:
        store_distorted(plan, words, key, n, shared, start)
    else:
        store_as_it_is(plan, words, shared.images, start)


# -- forward ----------------------------------------------------------------------------------------------------------


@device
def pair_and_group(plan):
    """The first filter of this thread's pair, and its group. Groups from plan.groups on have no windows."""
    thread = index(cuda.threadIdx.x)
    return thread % plan.filter_pairs * 2, thread // plan.filter_pairs


@device
def load_two(plan, array, i, j):
    """(array[i], array[j]) where j is i + 1 or, for a pair with only one filter, i."""
    if plan.even:
        return load_pair(array, i)
    return array[i], array[j]


@device
def fetch_weights(plan, weights, window, f, own_weights, first):
    """Start to load the dense weights of filters f and f + 1 at a window, class by class, to own_weights[first:]."""
    k, other = index(window * plan.num_filters + f), index(min(f + 1, plan.num_filters - 1) - f)
    for c in range(plan.num_classes):
        i = k + c * plan.num_inputs
        own_weights[first + 2 * c], own_weights[first + 2 * c + 1] = load_two(plan, weights, i, i + other)


@device
def fetch_parameters(plan, filters, filter_biases, weights, registers):
    """Start to load the thread's two filters, their biases and, if it keeps them, its dense weights to registers."""
    f, group = pair_and_group(plan)
    other_f = min(f + 1, plan.num_filters - 1)
    if plan.even:
        for t in range(0, 18, 2):
            registers.taps[t], registers.taps[t + 1] = load_pair(filters, 9 * f + t)
    else:
        for t in range(9):
            registers.taps[t], registers.taps[9 + t] = filters[9 * f + t], filters[9 * other_f + t]
    registers.biases[0], registers.biases[1] = filter_biases[f], filter_biases[other_f]
    if plan.keep_weights:
        for i in range(plan.windows_per_thread):
            window = min(group + i * plan.groups, WINDOWS - 1)
            fetch_weights(plan, weights, window, f, registers.weights, i * 2 * plan.num_classes)


@device
def corner_of(window):
    """Where in a flat image a 2x2 window of the pooling begins, and with it the 4x4 pixels that filters see there."""
    return window // POOLED_SIZE * 2 * IMAGE_SIZE + window % POOLED_SIZE * 2


@device
def load_patch(image, corner, patch):
    """The 4x4 pixels from this corner on, to registers."""
    for a in range(4):
        for b in range(4):
            patch[4 * a + b] = image[corner + a * IMAGE_SIZE + b]


@device
def convolve(patch, place, taps, first):
    """The filter taps[first : first + 9] at place 0, 1, 4 or 5 of a 4x4 patch, the four corners of a pooling window."""
    total = float32(0)
    for a in range(3):
        for b in range(3):
            total += patch[place + 4 * a + b] * taps[first + 3 * a + b]
    return total


@device
def convolve_and_pool(patch, taps, first):
    """A filter over a pooling window: (its largest number, where in the image the first largest stands)."""
    largest, winner = convolve(patch, 0, taps, first), 0
    right, below, across = (
        convolve(patch, 1, taps, first),
        convolve(patch, 4, taps, first),
        convolve(patch, 5, taps, first),
    )
    if right > largest:
        largest, winner = right, 1
    if below > largest:
        largest, winner = below, IMAGE_SIZE
    if across > largest:
        largest, winner = across, IMAGE_SIZE + 1
    return largest, winner


@device
def activate(plan, registers, f):
    """The patch under filters f and f + 1, pooled, with ReLU: (both numbers, where both winners stand).

    ReLU after the pooling gives the same numbers as before it, for a quarter of the work.
    """
    largest, winner = convolve_and_pool(registers.patch, registers.taps, 0)
    other_largest, other_winner = convolve_and_pool(registers.patch, registers.taps, 9)
    if plan.relu:
        largest = max(largest + registers.biases[0], float32(0))
        other_largest = max(other_largest + registers.biases[1], float32(0))
    if f + 1 == plan.num_filters:  # the last pair of an odd number of filters has only one
        other_largest = float32(0)
    return largest, other_largest, winner, other_winner


@device
def forward(plan, images, start, weights, registers, learning):
    """Convolution, pooling and ReLU for this thread's filters and windows, and its part of the logits.

    The image is images[start : start + 784], in shared memory.
    """
    f, group = pair_and_group(plan)
    for c in range(plan.num_classes):
        registers.sums[c] = float32(0)
    for i in range(plan.windows_per_thread):
        window = group + i * plan.groups
        if group < plan.groups and window < WINDOWS:
            first = i * 2 * plan.num_classes if plan.keep_weights else 0
            if not plan.keep_weights:
                fetch_weights(plan, weights, window, f, registers.weights, 0)
            load_patch(images, index(start + corner_of(window)), registers.patch)
            largest, other_largest, winner, other_winner = activate(plan, registers, f)
            learning.winners[2 * i], learning.winners[2 * i + 1] = winner, other_winner
            learning.pooled[2 * i], learning.pooled[2 * i + 1] = largest, other_largest
            for c in range(plan.num_classes):
                registers.sums[c] += largest * registers.weights[first + 2 * c]
                registers.sums[c] += other_largest * registers.weights[first + 2 * c + 1]


# -- sums over a block ------------------------------------------------------------------------------------------------


@device
def sum_row(values, first, stride, terms):
    """values[first] + values[first + stride] + ..., so many terms, as four independent sums.

    An addition must wait for the one before it. Four sums wait for each other only at the end.
    """
    a = b = c = d = float32(0)
    for i in range(0, terms - 3, 4):
        a += values[first + i * stride]
        b += values[first + (i + 1) * stride]
        c += values[first + (i + 2) * stride]
        d += values[first + (i + 3) * stride]
    for i in range(terms // 4 * 4, terms):
        a += values[first + i * stride]
    return (a + b) + (c + d)


@device
def sum_over_threads(plan, sums, count, columns, terms, scratch, partial_sums):
    """`count` sums of each thread -> partial_sums (count, columns + 1).

    partial_sums[s, j] is sum number s, added over those of the first columns * terms threads that have
    thread % columns == j. A row has one number more than it needs. With 32 columns, threads that read a column then
    meet all banks of shared memory and do not wait for each other (no bank conflict).
    """
    most = TWO_FILTERS_VALUES  # of so many sums at a time, scratch has room for those of all threads
    sum_some(plan, sums, 0, min(count, most), columns, terms, scratch, partial_sums)
    for first in range(most, count, most):
        sum_some(plan, sums, first, min(count - first, most), columns, terms, scratch, partial_sums)


@device
def sum_some(plan, sums, first, count, columns, terms, scratch, partial_sums):
    """The part of `sum_over_threads` for `count` sums from number `first` on."""
    thread = index(cuda.threadIdx.x)
    for s in range(count):
        scratch[s * plan.threads + thread] = sums[first + s]
    cuda.syncthreads()
    for i in range(0, count * columns, plan.threads):
        row, column = (thread + i) // columns, (thread + i) % columns
        if row < count:
            total = sum_row(scratch, row * plan.threads + column, columns, terms)
            partial_sums[(first + row) * (columns + 1) + column] = total
    cuda.syncthreads()


# -- softmax ----------------------------------------------------------------------------------------------------------


@device
def largest_of(plan, logits, first):
    """The largest of logits[first : first + C]."""
    largest = logits[first]
    for c in range(1, plan.num_classes):
        largest = max(largest, logits[first + c])
    return largest


@device
def softmax(plan, shared, bias, has_class, own_class, probabilities):
    """From the block's partial sums to the probabilities, in every thread's registers.

    For each class one thread of one warp (has_class) computes the logit, with the bias of the class, and the
    exponential. An exponential is slow, and all of them in each thread of the block would be slower. Only in that warp
    do threads go different ways (divergence). Returns (largest logit, sum of the exponentials).
    """
    if has_class:
        logit = bias + sum_row(shared.partial_sums, index(own_class) * (WARP_SIZE + 1), 1, WARP_SIZE)
        shared.logits[index(own_class)] = logit
    cuda.syncthreads()
    largest = largest_of(plan, shared.logits, 0)
    if has_class:
        shared.exponentials[index(own_class)] = math.exp(shared.logits[index(own_class)] - largest)
    cuda.syncthreads()
    total = sum_row(shared.exponentials, 0, 1, plan.num_classes)
    scaling = float32(1) / total
    for c in range(plan.num_classes):
        probabilities[c] = shared.exponentials[c] * scaling
    return largest, total


@device
def is_first_largest(plan, logits, label):
    """1 when the label's logit is the first of the largest ones, which makes it the answer; otherwise 0."""
    right = int32(1)
    for c in range(plan.num_classes):
        if logits[c] > logits[label] or (c < label and logits[c] == logits[label]):
            right = int32(0)
    return right


# -- backward: from the logits through the pooling to the filters ------------------------------------------------------


@device
def add_taps(images, corner, gradient, tap_sums, first):
    """Add what one place gives to the gradient of a filter, to tap_sums[first : first + 10]: nine weights, the bias."""
    for a in range(3):
        for b in range(3):
            tap_sums[first + 3 * a + b] += gradient * images[corner + a * IMAGE_SIZE + b]
    tap_sums[first + 9] += gradient


@device
def backward(plan, images, start, weights, registers, learning):
    """From the gradient at the logits of one image (registers.sums) to its part of the thread's filters' gradients.

    Pooling passes the gradient only to the winner of each window.
    """
    f, group = pair_and_group(plan)
    for i in range(plan.windows_per_thread):
        window = group + i * plan.groups
        if group < plan.groups and window < WINDOWS:
            first = i * 2 * plan.num_classes if plan.keep_weights else 0
            if not plan.keep_weights:
                fetch_weights(plan, weights, window, f, registers.weights, 0)
            gradient = other_gradient = float32(0)
            for c in range(plan.num_classes):
                gradient += registers.sums[c] * registers.weights[first + 2 * c]
                other_gradient += registers.sums[c] * registers.weights[first + 2 * c + 1]
            if plan.relu and learning.pooled[2 * i] <= float32(0):
                gradient = float32(0)
            if plan.relu and learning.pooled[2 * i + 1] <= float32(0):
                other_gradient = float32(0)
            # The gradient of the pooling: only the place of the winner gets it.
            corner = index(start + corner_of(window))
            add_taps(images, index(corner + learning.winners[2 * i]), gradient, learning.tap_sums, 0)
            winner = index(corner + learning.winners[2 * i + 1])
            add_taps(images, winner, other_gradient, learning.tap_sums, FILTER_VALUES)


# -- what is left for the other blocks --------------------------------------------------------------------------------


@device
def leave_activations(plan, pooled, n, activations):
    """What this thread has pooled of image n of the batch, to memory."""
    f, group = pair_and_group(plan)
    for i in range(plan.windows_per_thread):
        window = group + i * plan.groups
        if group < plan.groups and window < WINDOWS:
            k = index(n * plan.num_inputs + window * plan.num_filters + f)
            activations[k] = pooled[2 * i]
            if f + 1 < plan.num_filters:
                activations[k + 1] = pooled[2 * i + 1]


@device
def leave_filter_gradients(plan, tap_sums, shared, grad_filters):
    """The block's gradients of all filters, to its row of grad_filters (blocks, 10 * F)."""
    columns = plan.partials_per_pair * plan.filter_pairs
    sum_over_threads(
        plan, tap_sums, 2 * FILTER_VALUES, columns, plan.threads_per_partial, shared.scratch, shared.partial_sums
    )
    for i in range(0, 2 * FILTER_VALUES * plan.filter_pairs, plan.threads):
        slot = index(cuda.threadIdx.x) + i
        row, pair = slot // plan.filter_pairs, slot % plan.filter_pairs
        tap, f = row % FILTER_VALUES, 2 * pair + row // FILTER_VALUES
        if row < 2 * FILTER_VALUES and f < plan.num_filters:
            total = sum_row(shared.partial_sums, row * (columns + 1) + pair, plan.filter_pairs, plan.partials_per_pair)
            value = tap * plan.num_filters + f
            grad_filters[index(cuda.blockIdx.x) * plan.filter_values + value] = total


@device
def clear_missing(plan, count, grad_logits):
    """In a smaller last batch, set the gradients of the missing images to 0. Those of the batch before stand there."""
    if count < plan.batch_size and cuda.threadIdx.x < plan.num_classes:
        for n in range(count + cuda.blockIdx.x, plan.batch_size, plan.blocks):
            grad_logits[index(n) * plan.num_classes + index(cuda.threadIdx.x)] = float32(0)


# -- the barrier of the whole grid ------------------------------------------------------------------------------------
#
# It has two halves. Between them a block may do what depends on no other block.


@device
def arrive(counter):
    """Count this block in. Whoever sees the new count also sees all that the block wrote before ("release")."""
    cuda.syncthreads()
    if cuda.threadIdx.x == 0 and cuda.gridDim.x > 1:
        add_release(counter)


@device
def wait(counter, expected):
    """Wait until the counter has reached `expected`; then all that the blocks wrote before is visible ("acquire")."""
    if cuda.threadIdx.x == 0 and cuda.gridDim.x > 1:
        while int32(load_acquire(counter) - expected) < 0:  # right also after both numbers have overflowed
            pass
    cuda.syncthreads()


# -- the dense weights ------------------------------------------------------------------------------------------------


@device
def take_owned(plan, filters, filter_biases, weights, biases, learning):
    """Load the parameters that this thread owns to registers. From now on only it changes them."""
    thread, block = index(cuda.threadIdx.x), index(cuda.blockIdx.x)
    for tile in range(plan.num_tiles):
        for i in range(plan.weights_per_thread):
            k, c, exists = owned_weight(plan, block, thread, tile, i)
            if exists:
                mine = index(tile * plan.weights_per_thread + i)
                learning.owned_weights[mine] = weights[c * plan.num_inputs + k] if k < plan.num_inputs else biases[c]
    for i in range(plan.filter_values_per_thread):
        _, tap, f, exists = owned_filter_value(plan, block, thread + i * plan.threads)
        if exists:
            learning.owned_filter_values[i] = filters[f * 9 + tap] if tap < 9 else filter_biases[f]


@device
def fetch_chunk(plan, activations, grad_logits, first_image, first_input, chunk):
    """Start to load a chunk of the batch: `tile_inputs` activations and all gradients at the logits of each image.

    All loads of a kind share one condition, so they start together and need not wait for each other. Images after the
    last one of the batch have gradient 0.
    """
    thread = index(cuda.threadIdx.x)
    for i in range(plan.activation_loads + plan.gradient_loads):
        chunk[i] = float32(0)  # otherwise the old number must survive the conditions below
    k, n = thread % plan.tile_inputs, thread // plan.tile_inputs
    if n < plan.images_per_activation_load:
        first = index((first_image + n) * plan.num_inputs + min(first_input + k, plan.num_inputs - 1))
        for i in range(plan.activation_loads):
            chunk[i] = activations[first + i * plan.images_per_activation_load * plan.num_inputs]
    c, n = thread % plan.num_classes, thread // plan.num_classes
    if n < plan.images_per_gradient_load:
        first = index((first_image + n) * plan.num_classes + c)
        for i in range(plan.gradient_loads):
            chunk[plan.activation_loads + i] = grad_logits[first + i * plan.images_per_gradient_load * plan.num_classes]


@device
def store_chunk(plan, chunk, first_input, scratch):
    """The chunk that `fetch_chunk` has brought, into shared memory: a row of images for each input, then each class."""
    thread = index(cuda.threadIdx.x)
    k, n = thread % plan.tile_inputs, thread // plan.tile_inputs
    if n < plan.images_per_activation_load:
        for i in range(plan.activation_loads):  # input number K, which the biases belong to, is always 1
            place = k * plan.chunk_stride + n + i * plan.images_per_activation_load
            scratch[place] = float32(1) if first_input + k == plan.num_inputs else chunk[i]
    c, n = thread % plan.num_classes, thread // plan.num_classes
    if n < plan.images_per_gradient_load:
        for i in range(plan.gradient_loads):
            place = (plan.tile_inputs + c) * plan.chunk_stride + n + i * plan.images_per_gradient_load
            scratch[place] = chunk[plan.activation_loads + i]


@device
def add_chunk(plan, scratch, sums):
    """For this thread's input, add activation times gradient of the stored images to the sums of its weights.

    The `threads_per_input` threads that have the same input share out the images.
    """
    thread = index(cuda.threadIdx.x)
    if thread < plan.tile_inputs * plan.threads_per_input:
        row, part = thread // plan.threads_per_input * plan.chunk_stride, thread % plan.threads_per_input
        for n in range(0, plan.chunk_images, plan.threads_per_input):
            activation = scratch[row + part + n]
            for c in range(plan.num_classes):
                sums[c] += activation * scratch[(plan.tile_inputs + c) * plan.chunk_stride + part + n]


@device
def sum_tile(plan, activations, grad_logits, first_input, registers, learning, shared):
    """The batch's gradient of the weights of a tile of inputs, to shared.scratch: class by class, a row for each input.

    A row has a part of the sum from each of the threads that share the input, and one unused number, which makes bank
    conflicts fewer.
    """
    thread = index(cuda.threadIdx.x)
    for c in range(plan.num_classes):
        registers.sums[c] = float32(0)
    fetch_chunk(plan, activations, grad_logits, 0, first_input, learning.chunk)
    for chunk in range(1, plan.num_chunks + 1):
        store_chunk(plan, learning.chunk, first_input, shared.scratch)
        cuda.syncthreads()
        if chunk < plan.num_chunks:  # arrives while the stored one is added
            fetch_chunk(plan, activations, grad_logits, chunk * plan.chunk_images, first_input, learning.chunk)
        add_chunk(plan, shared.scratch, registers.sums)
        cuda.syncthreads()
    if thread < plan.tile_inputs * plan.threads_per_input:
        row, part = thread // plan.threads_per_input, thread % plan.threads_per_input
        for c in range(plan.num_classes):
            shared.scratch[c * plan.sums_stride + row * (plan.threads_per_input + 1) + part] = registers.sums[c]
    cuda.syncthreads()


@device
def update_weights(plan, activations, grad_logits, step, weights, biases, registers, learning, shared):
    """Take a step against the gradient of the dense weights and biases that the block owns (`owned_weight`)."""
    thread, block = index(cuda.threadIdx.x), index(cuda.blockIdx.x)
    for tile in range(plan.num_tiles):
        first_input = block * plan.owned_inputs + tile * plan.tile_inputs
        sum_tile(plan, activations, grad_logits, first_input, registers, learning, shared)
        for i in range(plan.weights_per_thread):
            k, c, exists = owned_weight(plan, block, thread, tile, i)
            mine = index(tile * plan.weights_per_thread + i)
            if exists:
                row = (thread + i * plan.threads) // plan.num_classes
                first = c * plan.sums_stride + row * (plan.threads_per_input + 1)
                learning.owned_weights[mine] -= step * sum_row(shared.scratch, first, 1, plan.threads_per_input)
                if k < plan.num_inputs:
                    weights[index(c * plan.num_inputs + k)] = learning.owned_weights[mine]
                else:
                    biases[c] = learning.owned_weights[mine]
        if plan.num_tiles > 1:
            cuda.syncthreads()


# -- the filters ------------------------------------------------------------------------------------------------------


@device
def fetch_filter_gradients(plan, grad_filters, gathered):
    """Start to load what all blocks have left for the values of the filters that this block owns: a warp for each.

    Slots count from the last thread down, because the last threads have the least other work.
    """
    for i in range(plan.gather_rounds):
        slot = plan.threads - 1 - index(cuda.threadIdx.x) + i * plan.threads
        value, _, _, _ = owned_filter_value(plan, index(cuda.blockIdx.x), slot // WARP_SIZE)
        value = min(value, plan.filter_values - 1)
        for j in range(plan.gather_loads):
            gathered[i * plan.gather_loads + j] = float32(0)
        if slot < plan.owned_filter_values * WARP_SIZE:
            for j in range(plan.gather_loads):
                learner = min(slot % WARP_SIZE + j * WARP_SIZE, plan.blocks - 1)
                gathered[i * plan.gather_loads + j] = grad_filters[learner * plan.filter_values + value]


@device
def add_filter_gradients(plan, gathered, learners, partial_sums):
    """Add up what was loaded from the blocks that have learned an image: partial_sums (owned_filter_values, 33)."""
    for i in range(plan.gather_rounds):
        slot = plan.threads - 1 - index(cuda.threadIdx.x) + i * plan.threads
        if slot < plan.owned_filter_values * WARP_SIZE:
            total = float32(0)
            for j in range(plan.gather_loads):
                if slot % WARP_SIZE + j * WARP_SIZE < learners:
                    total += gathered[i * plan.gather_loads + j]
            partial_sums[slot // WARP_SIZE * (WARP_SIZE + 1) + slot % WARP_SIZE] = total


@device
def update_filters(plan, step, filters, filter_biases, learning, partial_sums):
    """Take a step against the gradient of the values of the filters that this thread owns (`owned_filter_value`)."""
    thread, block = index(cuda.threadIdx.x), index(cuda.blockIdx.x)
    for i in range(plan.filter_values_per_thread):
        row = thread + i * plan.threads
        _, tap, f, exists = owned_filter_value(plan, block, row)
        if exists:
            learning.owned_filter_values[i] -= step * sum_row(partial_sums, row * (WARP_SIZE + 1), 1, WARP_SIZE)
            if tap < 9:
                filters[f * 9 + tap] = learning.owned_filter_values[i]
            elif plan.relu:
                filter_biases[f] = learning.owned_filter_values[i]


# -- the kernel -------------------------------------------------------------------------------------------------------


@functools.cache
def learning_kernel(plan, shape):
    """learn_epoch, compiled for this Plan and for blocks of this Shape.

    The compiler sees the plan as constants. Only the sizes of arrays must be plain names.
    """
    padded_size = PADDED * PADDED if plan.distort else 1
    classes = plan.num_classes
    scratch_size, partial_sums_size = plan.scratch_size, plan.partial_sums_size
    words_size, weights_size = plan.words_per_thread, plan.kept_windows * 2 * plan.num_classes
    pooled_size, owned_weights_size = 2 * plan.windows_per_thread, plan.num_tiles * plan.weights_per_thread
    owned_filter_values_size, chunk_size = plan.filter_values_per_thread, plan.activation_loads + plan.gradient_loads
    gathered_size = plan.gather_rounds * plan.gather_loads
    options = {} if SIMULATED else {"max_registers": max_registers(shape)}

    @cuda.jit(cache=True, **options)
    def learn_epoch(
        images, labels, order, rate_and_key, filters, filter_biases, weights, biases,
        activations, grad_logits, grad_filters, counter, totals,
    ):  # fmt: skip
        """images (all, 196) uint32, labels (all,) int32, order (N,) int32; the flat parameters are changed.

        rate_and_key (2,) float64: the learning rate, and the key of the epoch's distortions (distortion.py).

        activations (images * K,) and grad_logits (images * C,), with zeros after the batch, and grad_filters
        (blocks * 10 * F,) pass work between the blocks; counter (1,) int32 is the barrier's; totals (2, blocks, C)
        float64 gets each block's summed losses and hits, by label.
        """
        shared = Shared(
            images=cuda.shared.array(TWO_IMAGES, float32),
            padded=cuda.shared.array(padded_size, float32),
            draws=cuda.shared.array(NUM_DRAWS, float32),
            coefficients=cuda.shared.array(NUM_COEFFICIENTS, float32),
            scratch=cuda.shared.array(scratch_size, float32),
            partial_sums=cuda.shared.array(partial_sums_size, float32),
            logits=cuda.shared.array(classes, float32),
            exponentials=cuda.shared.array(classes, float32),
        )
        registers = Registers(
            words=cuda.local.array(words_size, uint32),
            taps=cuda.local.array(TWO_FILTERS, float32),
            biases=cuda.local.array(2, float32),
            weights=cuda.local.array(weights_size, float32),
            patch=cuda.local.array(PATCH, float32),
            sums=cuda.local.array(classes, float32),
        )
        learning = Learning(
            pooled=cuda.local.array(pooled_size, float32),
            winners=cuda.local.array(pooled_size, int32),
            tap_sums=cuda.local.array(TWO_FILTERS_VALUES, float32),
            owned_weights=cuda.local.array(owned_weights_size, float32),
            owned_filter_values=cuda.local.array(owned_filter_values_size, float32),
            chunk=cuda.local.array(chunk_size, float32),
            gathered=cuda.local.array(gathered_size, float32),
        )
        thread, block = index(cuda.threadIdx.x), index(cuda.blockIdx.x)
        own_class = thread - plan.last_warp  # the first threads of the last warp have a class each
        has_class = 0 <= own_class < plan.num_classes

        if plan.distort:
            clear_padded(plan, shared.padded)
            cuda.syncthreads()
        take_owned(plan, filters, filter_biases, weights, biases, learning)
        if thread == 0 and block == 0:
            counter[0] = 0
        # This makes the launch cooperative: it is refused if not all blocks fit at once. And no block counts itself in
        # before the counter is 0.
        cuda.cg.this_grid().sync()

        expected, start = int32(0), 0
        loss, hits = float64(0), int32(0)
        arriving = order[index(min(block, order.shape[0] - 1))]
        fetch_image(plan, images, arriving, registers.words)
        for first in range(0, order.shape[0], plan.batch_size):
            count = min(plan.batch_size, order.shape[0] - first)
            step, key = float32(rate_and_key[0]) / float32(count), int64(rate_and_key[1])

            # learn: every image of the batch that falls to this block
            store_image(plan, registers.words, key, arriving, shared, start)  # instead of only waiting
            wait(counter, expected)
            fetch_parameters(plan, filters, filter_biases, weights, registers)
            bias = biases[index(own_class) % plan.num_classes]
            for s in range(TWO_FILTERS_VALUES):
                learning.tap_sums[s] = float32(0)
            for image_in_batch in range(block, count, plan.blocks):
                n = index(image_in_batch)
                label = labels[index(arriving)]
                # Where in the order this block's next image stands: in this batch, or its first one of the next batch.
                next_place = first + n + plan.blocks if n + plan.blocks < count else first + plan.batch_size + block
                arriving = order[index(min(next_place, order.shape[0] - 1))]
                forward(plan, shared.images, start, weights, registers, learning)
                leave_activations(plan, learning.pooled, n, activations)
                fetch_image(plan, images, arriving, registers.words)
                sum_over_threads(
                    plan, registers.sums, plan.num_classes, WARP_SIZE, plan.threads // WARP_SIZE,
                    shared.scratch, shared.partial_sums,
                )  # fmt: skip
                largest, total = softmax(plan, shared, bias, has_class, own_class, registers.sums)
                for c in range(plan.num_classes):  # from here on registers.sums is the gradient at the logits
                    registers.sums[c] -= float32(c == label)
                if has_class:
                    is_label = float32(own_class == label)
                    probability = shared.exponentials[index(own_class)] * (float32(1) / total)
                    grad_logits[n * plan.num_classes + index(own_class)] = probability - is_label
                    if own_class == label:
                        loss += math.log(total) + largest - shared.logits[index(label)]
                        hits += is_first_largest(plan, shared.logits, index(label))
                backward(plan, shared.images, start, weights, registers, learning)
                if n + plan.blocks < count:
                    start = index(PIXELS - start)
                    store_image(plan, registers.words, key, arriving, shared, start)
                cuda.syncthreads()
            if block < count:
                leave_filter_gradients(plan, learning.tap_sums, shared, grad_filters)
            clear_missing(plan, count, grad_logits)
            arrive(counter)
            expected = int32(expected + plan.blocks)
            wait(counter, expected)

            # update: every parameter that this block owns
            fetch_filter_gradients(plan, grad_filters, learning.gathered)
            update_weights(plan, activations, grad_logits, step, weights, biases, registers, learning, shared)
            add_filter_gradients(plan, learning.gathered, min(count, plan.blocks), shared.partial_sums)
            cuda.syncthreads()
            update_filters(plan, step, filters, filter_biases, learning, shared.partial_sums)
            arrive(counter)
            expected = int32(expected + plan.blocks)

        if has_class:  # the thread of each class has the sums of the images with that label
            totals[0, block, index(own_class)] = loss
            totals[1, block, index(own_class)] = hits

    return learn_epoch


# -- the host's side --------------------------------------------------------------------------------------------------


def as_words(images):
    """uint8 images (N, 28, 28) as uint32 (N, 196), four pixels a word: how the kernels here take them."""
    return np.ascontiguousarray(images).reshape(len(images), PIXELS).view(np.uint32)


def multiprocessors():
    """How many multiprocessors the GPU has; in the simulator one, because its barrier works for one block only."""
    return 1 if SIMULATED else cuda.get_current_device().MULTIPROCESSOR_COUNT


def shapes_to_learn():
    """The Shapes that `learning_plan` chooses from."""
    return (SIMULATOR,) if SIMULATED else (ONE_IMAGE_A_BLOCK, MANY_IMAGES_A_BLOCK)


def learning_plan(num_filters, num_classes, relu, batch_size, distort):
    """(plan, shape) of the kernel that learns here, with shape.blocks_per_sm blocks for every multiprocessor."""
    shape = shapes_to_learn()[0 if batch_size <= multiprocessors() else -1]
    blocks = shape.blocks_per_sm * multiprocessors()
    return make_plan(num_filters, relu, shape, blocks, batch_size, distort, num_classes), shape


def epoch_problem(num_filters, num_classes=NUM_CLASSES):
    """None when a whole epoch can run in one launch here, otherwise the reason in one line."""
    if gpu_problem():
        return gpu_problem()
    if num_filters > MAX_FILTERS:
        return f"it takes at most {MAX_FILTERS} filters, not {num_filters}"
    if SIMULATED:
        return None
    gpu = cuda.get_current_device()
    for shape in shapes_to_learn():
        blocks = shape.blocks_per_sm * multiprocessors()
        needed = shared_bytes(make_plan(num_filters, True, shape, blocks, num_classes=num_classes))
        on_sm = shape.blocks_per_sm * (needed + 1024)  # CUDA takes 1,024 bytes for each block itself
        if needed > MAX_SHARED or on_sm > gpu.MAX_SHARED_MEMORY_PER_MULTIPROCESSOR:
            return f"{num_filters} filters need more shared memory than this GPU has for a block"
    if gpu.compute_capability < (7, 0):
        return "its barrier needs a GPU of compute capability 7.0 (Volta) or newer"
    if not gpu.COOPERATIVE_LAUNCH:
        return "this GPU's driver does not launch blocks together (Windows in WDDM mode does not)"
    return None


class EpochRung:
    """Trains a CNNGPU on a set, every epoch in one launch. See cnn_gpu.py for what all rungs have in common."""

    problem = staticmethod(epoch_problem)

    def __init__(self, network, images, labels):
        self.network = network
        self.images, self.labels = cuda.to_device(as_words(images)), cuda.to_device(labels)
        self.key = None  # of the epoch's distortions, if there are any
        self.run = None

    def distort(self, epoch):
        self.key = distortion_key(self.network.seed, epoch)

    def train_epoch(self, order, batch_size, learning_rate, progress):
        if self.run is None:
            self._prepare(batch_size)
        # The GPU has fetched the order of the epoch before: its `finish` has waited for that.
        self.on_host[0][:] = order
        self.on_host[1][:] = learning_rate, self.key or 0
        self.run(self._launch)
        progress(len(order), None, None)
        return self._finish

    def _prepare(self, batch_size):
        """Compile the kernel and make its arrays, once for all epochs."""
        network = self.network
        plan, shape = learning_plan(
            network.num_filters, network.num_classes, network.activation == "relu", batch_size, self.key is not None
        )
        between = [cuda.to_device(np.zeros(size, np.float32)) for size in memory_sizes(plan)]
        # What is new in every epoch, where the GPU can fetch it: the order of the images, learning rate and key.
        self.on_host = cuda.pinned_array(len(self.images), np.int32), cuda.pinned_array(2, np.float64)
        self.on_device = [cuda.device_array(array.shape, array.dtype) for array in self.on_host]
        self.totals = cuda.device_array((2, plan.blocks, network.num_classes), np.float64)
        self.kernel = learning_kernel(plan, shape)
        self.launch_shape = plan.blocks, plan.threads
        self.arguments = (
            self.images, self.labels, *self.on_device, *network.flat_parameters, *between,
            cuda.device_array(1, np.int32), self.totals,
        )  # fmt: skip
        self.run = Repeated()

    def _launch(self, stream):
        for array, new in zip(self.on_device, self.on_host, strict=True):
            array.copy_to_device(new, stream)
        self.kernel[(*self.launch_shape, stream)](*self.arguments)

    def _finish(self):
        """(summed loss, number read right), once the epoch is done."""
        loss, hits = self.totals.copy_to_host().sum(axis=(1, 2))
        return float(loss), int(hits)
