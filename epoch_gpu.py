"""A whole epoch of training in ONE kernel launch, and reading any number of images in one.

A launch costs more than the arithmetic of a small batch: a step of the layers (conv_gpu.py, pool_gpu.py and
softmax_gpu.py) is ten launches, an epoch at batch 64 ten thousand. Here the blocks stay on the GPU for the whole
epoch and meet at a barrier twice a step:

    learn    a block takes an image of the batch: convolve, pool, logits, softmax, and back to the filters.
             It leaves the image's activations and gradient at the logits, and its sum of the filters' gradients.
    -------- barrier: now every image's share lies in memory --------
    update   a block owns a slice of the dense weights, sums the batch's gradient for it and steps down; the filters'
             numbers are shared out in the same way.
    -------- barrier: now every weight is new --------

Of the dense layer only activations travel between the blocks, 13*13*F numbers for each image, and ten gradients at the
logits, never the gradient of its weights, which would be ten times as many numbers for each image. Nobody adds to a
number that another block adds to, so no atomics: the same seed gives the same bits.

What keeps it short:
  - A thread belongs to two filters, so that each pixel it loads serves both, and keeps their numbers in registers;
    pooling, ReLU and the thread's share of the ten logits follow in registers too. The two filters' weights lie side
    by side, and come by one load (`load_pair`).
  - The next image is on its way from memory while the present one is learned (`fetch`, `store`): images do not depend
    on the weights, so even the first image of the next step can be.
  - A block stores a step's first image, and warps it where training augments (augment.py), while it waits at the
    barrier; a further one, right after the one before.
  - Sums over a block go through shared memory in two wide steps (`sum_columns`) rather than one halving at a time.
  - Loads that do not depend on each other are asked for together (`fetch_part`); what many threads need of them comes
    once for all, through shared memory (`store_part`).
  - The compiler is told which indices are never negative (`index`), or it checks each one; and no array of a thread is
    indexed by a number that it does not know, or the array would lie in memory and not in registers.
  - When a batch has more images than the GPU has multiprocessors, two smaller blocks on each fill each other's pauses.
  - From the second epoch on, the launch is replayed from a recording (`Repeated`), which fetches what is new from the
    host's memory by itself: 0.4 ms of Python less, a fifth of an epoch at batch 1,024.

A cooperative launch (all blocks at once on the GPU, or the barrier would wait forever) needs a driver that allows it:
`epoch_problem` says whether this one does.
"""

import functools
import math

import numpy as np
from llvmlite import ir
from numba import cuda, float32, float64, int32, int64, uint32, void
from numba.core.types import UniTuple
from numba.extending import intrinsic

import kernel_cache  # noqa: F401
from distortion import NUM_COEFFICIENTS, NUM_DRAWS, PADDED, coefficient, distorted_pixel, draw, mix, sample
from gpu_launch import SIMULATED, Repeated, gpu_problem
from sizes import IMAGE_SIZE, NUM_CLASSES, POOLED_SIZE

PIXELS = IMAGE_SIZE * IMAGE_SIZE
WORDS = PIXELS // 4  # of 32 bits, four pixels each: fewer loads
ROW_WORDS = IMAGE_SIZE // 4
PLACES = POOLED_SIZE * POOLED_SIZE
SUMS = 10  # as many for the logits (one per class) as for a filter's gradient (nine taps and the bias)
LANES = 32
REGISTERS = 65536  # of a multiprocessor, from compute capability 5.0 on: a block must not need more
SCHEDULERS = 4  # of a multiprocessor; each has a quarter of the registers and of the warps
THREADS = 32 if SIMULATED else 384
MANY_THREADS, MANY = 192, 2  # threads in a block and blocks on a multiprocessor, for larger batches
READER_THREADS, READERS = 128, 4  # threads in a block that only reads, and how many such blocks a multiprocessor has
SHAPES = (THREADS, 1), (MANY_THREADS, MANY)
MAX_FILTERS = 2 * min(THREADS, MANY_THREADS, READER_THREADS, 96)  # a thread has two; indices stay below 2**31
MAX_READ = 2 * (THREADS if SIMULATED else READER_THREADS)  # filters of a network that `Reader` can read with
MAX_SHARED = 48 * 1024  # bytes, of a block


@cuda.jit(device=True)
def index(i):
    """i, which is not negative, said so that the compiler knows it.

    An index below zero counts from the end, in Numba as in NumPy, and the check for it costs more than the access
    itself: in this kernel it took four instructions in five. After the mask the compiler sees that it never applies.
    """
    return i & 0x7FFFFFFF


@intrinsic
def add_release(typing_context, array):
    """array[0] += 1 in memory, atomically, after everything that was written before it; a PTX instruction."""

    def generate(context, builder, signature, arguments):
        address = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        function = ir.FunctionType(ir.VoidType(), [address.type])
        add = ir.InlineAsm(function, "red.release.gpu.add.s32 [$0], 1;", "l,~{memory}", side_effect=True)
        builder.call(add, [address])
        return context.get_dummy_value()

    return void(array), generate


@intrinsic
def load_acquire(typing_context, array):
    """array[0], read from memory (no cache, no register) before anything that is read after it; a PTX instruction."""

    def generate(context, builder, signature, arguments):
        address = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        function = ir.FunctionType(ir.IntType(32), [address.type])
        load = ir.InlineAsm(function, "ld.acquire.gpu.b32 $0, [$1];", "=r,l,~{memory}", side_effect=True)
        return builder.call(load, [address])

    return int32(array), generate


if SIMULATED:

    def load_pair(array, i):
        """(array[i], array[i + 1])"""
        return array[i], array[i + 1]

else:

    @intrinsic
    def load_pair(typing_context, array, i):
        """(array[i], array[i + 1]) of a float32 array by one load of eight bytes; i must be even."""

        def generate(context, builder, signature, arguments):
            data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
            address = builder.gep(data, [arguments[1]])
            pair = builder.load(builder.bitcast(address, ir.VectorType(ir.FloatType(), 2).as_pointer()))
            pair.align = 8
            numbers = [builder.extract_element(pair, ir.Constant(ir.IntType(32), n)) for n in range(2)]
            return context.make_tuple(builder, signature.return_type, numbers)

        return UniTuple(float32, 2)(array, i), generate

    load_pair._set_uuid("epoch_gpu.load_pair")

# Numba finds a kernel in its cache on the disk by what the kernel's function holds on to. To functions for the CPU, and
# to intrinsics, it gives another name in every process, and would never find a kernel that calls one: so they get a
# lasting name. (A private function of Numba; a test tells when it no longer does this.)
for function in (mix, draw, coefficient, distorted_pixel, sample):
    function._set_uuid(f"augment.{function.__name__}")


@cuda.jit(device=True)
def arrive(arrived):
    """Say that this block is here: what it wrote before is visible to whoever sees that ("release")."""
    cuda.syncthreads()
    if cuda.threadIdx.x == 0 and cuda.gridDim.x > 1:
        add_release(arrived)


@cuda.jit(device=True)
def wait(arrived, arrivals):
    """Wait until there were so many arrivals, and see what those blocks wrote before them ("acquire").

    Together, `arrive` and `wait` are the barrier of the whole grid; in between a block may do what needs no other.
    """
    if cuda.threadIdx.x == 0 and cuda.gridDim.x > 1:
        while int32(load_acquire(arrived) - arrivals) < 0:  # also after both have overflowed
            pass
    cuda.syncthreads()


@cuda.jit(device=True)
def sum_row(parts, first, stride, terms):
    """parts[first] + parts[first + stride] ..., in four strands, since each addition has to wait for the one before."""
    a = b = c = d = float32(0)
    for i in range(0, terms - 3, 4):
        a += parts[first + i * stride]
        b += parts[first + (i + 1) * stride]
        c += parts[first + (i + 2) * stride]
        d += parts[first + (i + 3) * stride]
    for i in range(terms // 4 * 4, terms):
        a += parts[first + i * stride]
    return (a + b) + (c + d)


@cuda.jit(device=True)
def largest_of(logits, first):
    """The largest of logits[first : first + 10]."""
    largest = logits[first]
    for c in range(1, NUM_CLASSES):
        largest = max(largest, logits[first + c])
    return largest


@cuda.jit(device=True)
def scaled(ink):
    """A pixel, 0..255, as the network takes it."""
    return ink * float32(1 / 255) - float32(0.5)


@cuda.jit(device=True)
def pixel_of(word, b):
    """Pixel b, 0..3, of a word, 0..255 as float32: little-endian, as every GPU and its host are."""
    return float32((word >> uint32(8 * b)) & uint32(255))


@cuda.jit(device=True)
def corner_of(place):
    """Where in a flat image the 2x2 window of a place, and so its 4x4 pixels, begin."""
    return place // POOLED_SIZE * 2 * IMAGE_SIZE + place % POOLED_SIZE * 2


@cuda.jit(device=True)
def load_patch(image, corner, patch):
    """The 4x4 pixels that a filter sees from a 2x2 window of places, to registers."""
    for a in range(4):
        for b in range(4):
            patch[4 * a + b] = image[corner + a * IMAGE_SIZE + b]


@cuda.jit(device=True)
def convolve(patch, corner, taps, first):
    """The filter taps[first : first + 9] at one corner, 0, 1, 4 or 5, of a 4x4 patch."""
    total = float32(0)
    for a in range(3):
        for b in range(3):
            total += patch[corner + 4 * a + b] * taps[first + 3 * a + b]
    return total


@cuda.jit(device=True)
def convolve_and_pool(patch, taps, first):
    """A filter over a 2x2 window of places: (its largest number, where in the image the first largest stands)."""
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


@cuda.jit(device=True)
def add_taps(image, corner, gradient, tap_sums, first):
    """The gradient at one place of a filter, to tap_sums[first : first + 10] for its nine taps and its bias."""
    for a in range(3):
        for b in range(3):
            tap_sums[first + 3 * a + b] += gradient * image[corner + a * IMAGE_SIZE + b]
    tap_sums[first + 9] += gradient


@functools.cache
def kernels(num_filters, relu, threads, blocks, together=1, batch_size=64, augment=False):
    """(learn_epoch, read_images), compiled for these constants: loops with known bounds are unrolled.

    threads, blocks: the shape of the launch, (blocks,) of (threads,); together: blocks that share a multiprocessor;
    batch_size: of the epochs that learn_epoch runs; augment: whether it warps every image (augment.py).
    """
    depth = PLACES * num_filters  # K, inputs of the dense layer
    pairs = -(-num_filters // 2)  # a thread has two filters, 2p and 2p + 1: each pixel it loads serves both
    even = num_filters % 2 == 0  # or the last pair has one filter only
    groups = threads // pairs  # threads that share out the places of each pair of filters
    rounds = -(-PLACES // groups)
    words_each = -(-WORDS // threads)
    # Lanes that share out the columns of a filter, so that its first sums are `filter_terms` long: see sum_columns.
    shares = filter_shares(num_filters, threads)
    filter_lanes, filter_terms = shares * pairs, groups // shares
    inputs, tile, splits, rows = update_plan(num_filters, threads, blocks, batch_size)
    parts_of_batch, tiles, owned = -(-batch_size // rows), -(-inputs // tile), tile * NUM_CLASSES
    owned_each = -(-owned // threads)
    act_rows, grad_rows = threads // tile, threads // NUM_CLASSES  # images whose numbers a load of each thread brings
    act_steps, grad_steps = -(-rows // act_rows), -(-rows // grad_rows)
    stride, sums_stride = staged_stride(threads, tile, rows), tile * (splits + 1)
    numbers = SUMS * num_filters  # of the filters: tap by tap, each for all filters, and last the biases
    numbers_each = -(-numbers // blocks)  # that a block owns
    own_numbers_each = -(-numbers_each // threads)
    share_rounds, share_steps = -(-numbers_each * LANES // threads), -(-blocks // LANES)
    last_warp = threads - LANES  # it has the least to convolve, and does what one warp can do for the block

    # Sizes of arrays, which must be plain names.
    both_images, both_logits, padded_size = 2 * PIXELS, 2 * NUM_CLASSES, PADDED * PADDED if augment else 1
    both_taps, both_sums, both_columns, both_rounds = 2 * 9, 2 * SUMS, 2 * NUM_CLASSES, 2 * rounds
    # With few filters a thread has registers enough for all of its weights: loaded once a step, used both ways.
    keep = rounds <= 3 and together == 1
    columns_size = both_columns * (rounds if keep else 1)
    scratch_size = scratch_floats(threads)
    parts_size = parts_floats(num_filters, threads, blocks)
    staged_size, own_size, share_size = act_steps + grad_steps, tiles * owned_each, share_rounds * share_steps

    @cuda.jit(device=True)
    def fetch(images, image, words):
        """Begin to bring an image, four pixels a word: this thread's share of it to registers."""
        for i in range(words_each):
            words[i] = images[index(image), index(min(cuda.threadIdx.x + i * threads, WORDS - 1))]

    @cuda.jit(device=True)
    def store(words, image, first):
        """What `fetch` brought, scaled to x/255 - 0.5, into shared memory: image[first : first + 784]."""
        for i in range(words_each):
            word = index(cuda.threadIdx.x) + i * threads
            if word < WORDS:
                for b in range(4):
                    image[first + 4 * word + b] = scaled(pixel_of(words[i], b))

    @cuda.jit(device=True)
    def store_warped(words, key, number, padded, draws, warp, image, first):
        """As `store`, but under the warp that image `number` of the set has in this epoch."""
        thread = index(cuda.threadIdx.x)
        for i in range(words_each):
            word = thread + i * threads
            if word < WORDS:
                corner = (word // ROW_WORDS + 1) * PADDED + word % ROW_WORDS * 4 + 1
                for b in range(4):
                    padded[corner + b] = pixel_of(words[i], b)
        for i in range(thread, NUM_DRAWS, threads):
            draws[index(i)] = draw(key, number, index(i))
        cuda.syncthreads()
        for i in range(thread, NUM_COEFFICIENTS, threads):
            warp[index(i)] = coefficient(draws, index(i))
        cuda.syncthreads()
        for i in range(-(-PIXELS // threads)):
            pixel = thread + i * threads
            if pixel < PIXELS:
                ink = distorted_pixel(padded, warp, pixel // IMAGE_SIZE, pixel % IMAGE_SIZE)
                image[first + pixel] = scaled(ink)

    @cuda.jit(device=True)
    def store_coming(words, key, number, padded, draws, warp, image, first):
        """As `store`, or `store_warped` where training augments."""
        if augment:
            store_warped(words, key, number, padded, draws, warp, image, first)
        else:
            store(words, image, first)

    @cuda.jit(device=True)
    def load_two(array, i, j):
        """(array[i], array[j]) where j is i + 1, or, for a pair with one filter only, i."""
        if even:
            return load_pair(array, i)
        return array[i], array[j]

    @cuda.jit(device=True)
    def fetch_columns(weights, place, f, columns, first):
        """Begin to bring the ten weights of filters f and f + 1 at a place, two by two, to columns[first:]."""
        k, other = index(place * num_filters + f), index(min(f + 1, num_filters - 1) - f)
        for c in range(NUM_CLASSES):
            row = k + c * depth
            columns[first + 2 * c], columns[first + 2 * c + 1] = load_two(weights, row, row + other)

    @cuda.jit(device=True)
    def fetch_parameters(filters, filter_biases, weights, taps, own_biases, columns):
        """Begin to bring the thread's two filters and biases, and its weights if it keeps them, to registers."""
        thread = index(cuda.threadIdx.x)
        f = thread % pairs * 2
        other_f = min(f + 1, num_filters - 1)
        if even:
            for t in range(0, both_taps, 2):
                taps[t], taps[t + 1] = load_pair(filters, 9 * f + t)
        else:
            for t in range(9):
                taps[t], taps[9 + t] = filters[9 * f + t], filters[9 * other_f + t]
        own_biases[0], own_biases[1] = filter_biases[f], filter_biases[other_f]
        if keep:
            for i in range(rounds):
                fetch_columns(weights, min(thread // pairs + i * groups, PLACES - 1), f, columns, i * both_columns)

    @cuda.jit(device=True)
    def sum_columns(sums, rows, scratch, parts, lanes, terms):
        """`rows` sums of each thread -> parts (rows, lanes + 1): added over the columns with the same (column % lanes).

        A thread's sums are a column of scratch (rows, threads), of which lanes * terms count. A row of parts is one
        longer than it need be, so that a column of it meets all the banks of shared memory.
        """
        thread = index(cuda.threadIdx.x)
        for s in range(rows):
            scratch[s * threads + thread] = sums[s]
        cuda.syncthreads()
        for i in range(0, rows * lanes, threads):
            row, lane = (thread + i) // lanes, (thread + i) % lanes
            if row < rows:
                parts[row * (lanes + 1) + lane] = sum_row(scratch, row * threads + lane, lanes, terms)
        cuda.syncthreads()

    @cuda.jit(device=True)
    def activate(patch, taps, filter_biases, f):
        """A window under filters f and f + 1, pooled, with ReLU: (both numbers, where both winners stand)."""
        largest, winner = convolve_and_pool(patch, taps, 0)
        other_largest, other_winner = convolve_and_pool(patch, taps, 9)
        if relu:
            largest = max(largest + filter_biases[0], float32(0))
            other_largest = max(other_largest + filter_biases[1], float32(0))
        if f + 1 == num_filters:  # of an odd number of filters, the last has no other
            other_largest = float32(0)
        return largest, other_largest, winner, other_winner

    @cuda.jit(device=True)
    def forward(images, at, taps, filter_biases, weights, pooled, winners, columns, patch, sums):
        """Convolution, pooling and ReLU of the image at images[at:], and what this thread adds to the ten logits."""
        thread = index(cuda.threadIdx.x)
        f, group = thread % pairs * 2, thread // pairs
        for c in range(NUM_CLASSES):
            sums[c] = float32(0)
        for i in range(rounds):
            place = group + i * groups
            if group < groups and place < PLACES:
                first = i * both_columns if keep else 0
                if not keep:
                    fetch_columns(weights, place, f, columns, 0)
                corner = index(at + corner_of(place))
                load_patch(images, corner, patch)
                largest, other_largest, winners[2 * i], winners[2 * i + 1] = activate(patch, taps, filter_biases, f)
                pooled[2 * i], pooled[2 * i + 1] = largest, other_largest
                for c in range(NUM_CLASSES):
                    sums[c] += largest * columns[first + 2 * c]
                    sums[c] += other_largest * columns[first + 2 * c + 1]

    @cuda.jit(device=True)
    def read_two(both, taps, filter_biases, weights, columns, patch, sums):
        """What this thread adds to the ten logits of one image and, from sums[10] on, of another. Nothing is kept."""
        thread = index(cuda.threadIdx.x)
        f, group = thread % pairs * 2, thread // pairs
        for c in range(both_sums):
            sums[c] = float32(0)
        for i in range(rounds):
            place = min(group + i * groups, PLACES - 1)
            if not keep:
                fetch_columns(weights, place, f, columns, 0)
            for image in range(2):
                load_patch(both, image * PIXELS + corner_of(place), patch)
                largest, other_largest, _, _ = activate(patch, taps, filter_biases, f)
                if group >= groups or group + i * groups >= PLACES:
                    largest = other_largest = float32(0)
                for c in range(NUM_CLASSES):
                    column = 2 * c + (i * both_columns if keep else 0)
                    sums[image * NUM_CLASSES + c] += largest * columns[column]
                    sums[image * NUM_CLASSES + c] += other_largest * columns[column + 1]

    @cuda.jit(device=True)
    def leave_activations(pooled, n, activations):
        """What this thread has pooled of image n of the batch, to memory."""
        thread = index(cuda.threadIdx.x)
        f, group = thread % pairs * 2, thread // pairs
        for i in range(rounds):
            place = group + i * groups
            if group < groups and place < PLACES:
                k = index(n * depth + place * num_filters + f)
                activations[k] = pooled[2 * i]
                if f + 1 < num_filters:
                    activations[k + 1] = pooled[2 * i + 1]

    @cuda.jit(device=True)
    def softmax(parts, bias, answers, answer, logits, exponentials, sums):
        """From `sum_columns` to the ten probabilities in sums, of every thread; returns (largest logit, their sum).

        Ten threads take a logit each: that one exponential is dear, ten for each of the block's threads were dearer.
        """
        if answers:
            logits[index(answer)] = bias + sum_row(parts, index(answer) * (LANES + 1), 1, LANES)
        cuda.syncthreads()
        largest = largest_of(logits, 0)
        if answers:
            exponentials[index(answer)] = math.exp(logits[index(answer)] - largest)
        cuda.syncthreads()
        total = sum_row(exponentials, 0, 1, NUM_CLASSES)
        scaling = float32(1) / total
        for c in range(NUM_CLASSES):
            sums[c] = exponentials[c] * scaling
        return largest, total

    @cuda.jit(device=True)
    def read_right(logits, label):
        """1 when the label's logit is the first of the largest, else 0."""
        right = int32(1)
        for c in range(NUM_CLASSES):
            if logits[c] > logits[label] or (c < label and logits[c] == logits[label]):
                right = int32(0)
        return right

    @cuda.jit(device=True)
    def backward(images, at, weights, pooled, winners, columns, sums, tap_sums):
        """From the gradient at the logits of one image to its part of this thread's two filters' gradients."""
        thread = index(cuda.threadIdx.x)
        f, group = thread % pairs * 2, thread // pairs
        for i in range(rounds):
            place = group + i * groups
            if group < groups and place < PLACES:
                first = i * both_columns if keep else 0
                if not keep:
                    fetch_columns(weights, place, f, columns, 0)
                gradient = other_gradient = float32(0)
                for c in range(NUM_CLASSES):
                    gradient += sums[c] * columns[first + 2 * c]
                    other_gradient += sums[c] * columns[first + 2 * c + 1]
                if relu and pooled[2 * i] <= float32(0):
                    gradient = float32(0)
                if relu and pooled[2 * i + 1] <= float32(0):
                    other_gradient = float32(0)
                corner = index(at + corner_of(place))
                add_taps(images, index(corner + winners[2 * i]), gradient, tap_sums, 0)
                add_taps(images, index(corner + winners[2 * i + 1]), other_gradient, tap_sums, SUMS)

    @cuda.jit(device=True)
    def leave_filter_gradients(tap_sums, scratch, parts, grad_filters):
        """The block's sums of the filters' gradients, in row `block` of grad_filters."""
        sum_columns(tap_sums, both_sums, scratch, parts, filter_lanes, filter_terms)
        for i in range(0, both_sums * pairs, threads):
            row, pair = (index(cuda.threadIdx.x) + i) // pairs, (index(cuda.threadIdx.x) + i) % pairs
            tap, f = row % SUMS, 2 * pair + row // SUMS
            if row < both_sums and f < num_filters:
                total = sum_row(parts, row * (filter_lanes + 1) + pair, pairs, shares)
                grad_filters[index(cuda.blockIdx.x) * numbers + tap * num_filters + f] = total

    @cuda.jit(device=True)
    def fetch_part(activations, grad_logits, start, first_input, staged):
        """Begin to bring images start, start + 1 ... of the batch: `tile` activations each and the logits' gradients.

        All loads are asked for together, none behind a condition of its own, so that the memory's answers come
        together and not one after the other. Rows past the batch have gradient 0.
        """
        thread = index(cuda.threadIdx.x)
        for i in range(act_steps + grad_steps):
            staged[i] = float32(0)  # or the compiler keeps what a condition may leave unchanged
        k, n = thread % tile, thread // tile
        if n < act_rows:
            first = index((start + n) * depth + min(first_input + k, depth - 1))
            for i in range(act_steps):
                staged[i] = activations[first + i * act_rows * depth]
        c, n = thread % NUM_CLASSES, thread // NUM_CLASSES
        if n < grad_rows:
            first = index((start + n) * NUM_CLASSES + c)
            for i in range(grad_steps):
                staged[act_steps + i] = grad_logits[first + i * grad_rows * NUM_CLASSES]

    @cuda.jit(device=True)
    def store_part(staged, first_input, scratch):
        """What `fetch_part` brought, into shared memory: a row of images for each input, then one for each class."""
        thread = index(cuda.threadIdx.x)
        k, n = thread % tile, thread // tile
        if n < act_rows:
            for i in range(act_steps):  # input K, of the biases, is always 1
                scratch[k * stride + n + i * act_rows] = float32(1) if first_input + k == depth else staged[i]
        c, n = thread % NUM_CLASSES, thread // NUM_CLASSES
        if n < grad_rows:
            for i in range(grad_steps):
                scratch[(tile + c) * stride + n + i * grad_rows] = staged[act_steps + i]

    @cuda.jit(device=True)
    def add_part(scratch, sums):
        """The stored images' gradients of the ten weights of the thread's input, added to sums.

        Of the threads of a tile, `splits` side by side have the same input and share out the images.
        """
        thread = index(cuda.threadIdx.x)
        if thread < tile * splits:
            own, split = thread // splits * stride, thread % splits
            for n in range(0, rows, splits):
                activation = scratch[own + split + n]
                for c in range(NUM_CLASSES):
                    sums[c] += activation * scratch[(tile + c) * stride + split + n]

    @cuda.jit(device=True)
    def update_weights(
        activations, grad_logits, step, own_weights, weights, biases, staged, sums, scratch
    ):  # fmt: skip
        """Step down the gradient of the block's own slice of the weights. Only the owner keeps and writes a weight."""
        thread = index(cuda.threadIdx.x)
        for t in range(tiles):
            first_input = index(cuda.blockIdx.x) * inputs + t * tile
            for c in range(NUM_CLASSES):
                sums[c] = float32(0)
            fetch_part(activations, grad_logits, 0, first_input, staged)
            for part in range(1, parts_of_batch + 1):
                store_part(staged, first_input, scratch)
                cuda.syncthreads()
                if part < parts_of_batch:  # comes while this one is added
                    fetch_part(activations, grad_logits, part * rows, first_input, staged)
                add_part(scratch, sums)
                cuda.syncthreads()
            if thread < tile * splits:
                for c in range(NUM_CLASSES):
                    scratch[c * sums_stride + thread // splits * (splits + 1) + thread % splits] = sums[c]
            cuda.syncthreads()
            for i in range(owned_each):
                slot = thread + i * threads
                k, c = slot // NUM_CLASSES, slot % NUM_CLASSES
                own = index(t * owned_each + i)
                if slot < owned and first_input + k <= depth and t * tile + k < inputs:
                    own_weights[own] -= step * sum_row(scratch, c * sums_stride + k * (splits + 1), 1, splits)
                    if first_input + k < depth:
                        weights[index(c * depth + first_input + k)] = own_weights[own]
                    else:
                        biases[c] = own_weights[own]
            if tiles > 1:
                cuda.syncthreads()

    @cuda.jit(device=True)
    def fetch_shares(grad_filters, share):
        """Begin to bring what the blocks left for the block's own numbers of the filters, shared out by a warp each.

        The last threads do it, which have the least else to do.
        """
        for i in range(share_rounds):
            slot = threads - 1 - index(cuda.threadIdx.x) + i * threads
            number = min(index(cuda.blockIdx.x) + slot // LANES * blocks, numbers - 1)
            for j in range(share_steps):
                share[i * share_steps + j] = float32(0)
            if slot < numbers_each * LANES:
                for j in range(share_steps):
                    learner = min(slot % LANES + j * LANES, blocks - 1)
                    share[i * share_steps + j] = grad_filters[learner * numbers + number]

    @cuda.jit(device=True)
    def sum_shares(share, learners, parts):
        """Of the shares those of blocks that have learned something, added up: parts (numbers_each, 33)."""
        for i in range(share_rounds):
            slot = threads - 1 - index(cuda.threadIdx.x) + i * threads
            if slot < numbers_each * LANES:
                total = float32(0)
                for j in range(share_steps):
                    if slot % LANES + j * LANES < learners:
                        total += share[i * share_steps + j]
                parts[slot // LANES * (LANES + 1) + slot % LANES] = total

    @cuda.jit(cache=True, **limit(threads * together))
    def learn_epoch(
        images, labels, order, rate_and_key, batch_size, filters, filter_biases, weights, biases,
        activations, grad_logits, grad_filters, arrived, totals,
    ):  # fmt: skip
        """images (all, 196) uint32, labels (all,), order (N,) int32; the flat parameters are changed.

        rate_and_key (2,) float64: the learning rate, and the key from which the epoch's warps are drawn (augment.py).

        activations (rows * K,) and grad_logits (rows * 10,), with rows of zeros after the batch, and grad_filters
        (blocks * 10 * F,) pass work between the blocks; arrived (1,) is the barrier's; totals (2, blocks, 10) gets each
        block's summed losses and hits, by label.
        """
        thread, block = index(cuda.threadIdx.x), index(cuda.blockIdx.x)
        both = cuda.shared.array(both_images, float32)  # the image that is learned, and the one that comes after it
        padded = cuda.shared.array(padded_size, float32)
        draws = cuda.shared.array(NUM_DRAWS, float32)
        warp = cuda.shared.array(NUM_COEFFICIENTS, float32)
        scratch = cuda.shared.array(scratch_size, float32)
        parts = cuda.shared.array(parts_size, float32)
        logits = cuda.shared.array(NUM_CLASSES, float32)
        exponentials = cuda.shared.array(NUM_CLASSES, float32)
        words = cuda.local.array(words_each, uint32)
        taps = cuda.local.array(both_taps, float32)
        own_biases = cuda.local.array(2, float32)
        patch = cuda.local.array(16, float32)
        columns = cuda.local.array(columns_size, float32)
        sums = cuda.local.array(SUMS, float32)
        tap_sums = cuda.local.array(both_sums, float32)
        pooled = cuda.local.array(both_rounds, float32)
        winners = cuda.local.array(both_rounds, int32)
        own_weights = cuda.local.array(own_size, float32)
        own_numbers = cuda.local.array(own_numbers_each, float32)
        staged = cuda.local.array(staged_size, float32)
        share = cuda.local.array(share_size, float32)

        if augment:
            for i in range(thread, padded_size, threads):
                padded[index(i)] = float32(0)

        # What of the parameters is this thread's own to keep and to change.
        for t in range(tiles):
            for i in range(owned_each):
                slot = thread + i * threads
                k, c = t * tile + slot // NUM_CLASSES, slot % NUM_CLASSES
                if slot < owned and k < inputs and block * inputs + k <= depth:
                    k += block * inputs
                    own_weights[index(t * owned_each + i)] = weights[c * depth + k] if k < depth else biases[c]
        for i in range(own_numbers_each):
            number = block + (thread + i * threads) * blocks
            tap, f = number // num_filters, number % num_filters
            if number < numbers:
                own_numbers[i] = filters[f * 9 + tap] if tap < 9 else filter_biases[f]
        answer = thread - last_warp  # the last warp's first ten threads have a logit each
        answers = 0 <= answer < NUM_CLASSES
        if thread == 0 and block == 0:
            arrived[0] = 0
        # Makes the launch cooperative: refused where the blocks would not fit all at once. Nobody counts before here.
        cuda.cg.this_grid().sync()

        arrivals, at = int32(0), 0
        loss, hit = float64(0), int32(0)
        coming = order[index(min(block, order.shape[0] - 1))]
        fetch(images, coming, words)
        for first in range(0, order.shape[0], batch_size):
            count = min(batch_size, order.shape[0] - first)
            step, key = float32(rate_and_key[0]) / float32(count), int64(rate_and_key[1])

            # learn
            # The coming image is stored, and warped, in the time that the wait takes anyway.
            store_coming(words, key, coming, padded, draws, warp, both, at)
            wait(arrived, arrivals)
            fetch_parameters(filters, filter_biases, weights, taps, own_biases, columns)
            bias = biases[index(answer) % NUM_CLASSES]
            for s in range(both_sums):
                tap_sums[s] = float32(0)
            for image_in_batch in range(block, count, blocks):
                n = index(image_in_batch)
                label = labels[index(coming)]
                following = first + n + blocks if n + blocks < count else first + batch_size + block
                coming = order[index(min(following, order.shape[0] - 1))]
                forward(both, at, taps, own_biases, weights, pooled, winners, columns, patch, sums)
                leave_activations(pooled, n, activations)
                fetch(images, coming, words)
                sum_columns(sums, SUMS, scratch, parts, LANES, threads // LANES)
                largest, total = softmax(parts, bias, answers, answer, logits, exponentials, sums)
                for c in range(NUM_CLASSES):  # from here on sums is the gradient at the logits
                    sums[c] -= float32(c == label)
                if answers:
                    right = float32(answer == label)
                    grad_logits[n * NUM_CLASSES + index(answer)] = (
                        exponentials[index(answer)] * (float32(1) / total) - right
                    )
                    if answer == label:
                        loss += math.log(total) + largest - logits[index(label)]
                        hit += read_right(logits, index(label))
                backward(both, at, weights, pooled, winners, columns, sums, tap_sums)
                if n + blocks < count:
                    at = index(PIXELS - at)
                    store_coming(words, key, coming, padded, draws, warp, both, at)
                cuda.syncthreads()
            if block < count:
                leave_filter_gradients(tap_sums, scratch, parts, grad_filters)
            if count < batch_size and thread < NUM_CLASSES:
                for n in range(count + block, batch_size, blocks):  # a smaller last batch leaves rows of the one before
                    grad_logits[index(n) * NUM_CLASSES + thread] = float32(0)
            arrive(arrived)
            arrivals = int32(arrivals + blocks)
            wait(arrived, arrivals)

            # update
            fetch_shares(grad_filters, share)
            update_weights(
                activations, grad_logits, step, own_weights, weights, biases, staged, sums, scratch
            )  # fmt: skip
            sum_shares(share, min(count, blocks), parts)
            cuda.syncthreads()
            for i in range(own_numbers_each):
                slot = thread + i * threads
                number = block + slot * blocks
                tap, f = number // num_filters, number % num_filters
                if number < numbers:
                    own_numbers[i] -= step * sum_row(parts, slot * (LANES + 1), 1, LANES)
                    if tap < 9:
                        filters[f * 9 + tap] = own_numbers[i]
                    elif relu:
                        filter_biases[f] = own_numbers[i]
            arrive(arrived)
            arrivals = int32(arrivals + blocks)

        if answers:  # each label's thread has kept the sums of its images
            totals[0, block, index(answer)] = loss
            totals[1, block, index(answer)] = hit

    @cuda.jit(cache=True, **limit(threads * together))
    def read_images(images, filters, filter_biases, weights, biases, logits, probabilities):
        """images (N, 196) uint32 -> logits (N, 10) and probabilities (N, 10); any number of blocks.

        A block reads two images at a time: each weight that it loads serves both.
        """
        thread, block, last = index(cuda.threadIdx.x), index(cuda.blockIdx.x), images.shape[0] - 1
        both = cuda.shared.array(both_images, float32)
        scratch = cuda.shared.array(scratch_size, float32)
        parts = cuda.shared.array(parts_size, float32)
        own_logits = cuda.shared.array(both_logits, float32)
        exponentials = cuda.shared.array(both_logits, float32)
        words = cuda.local.array(words_each, uint32)
        other_words = cuda.local.array(words_each, uint32)
        taps = cuda.local.array(both_taps, float32)
        own_biases = cuda.local.array(2, float32)
        patch = cuda.local.array(16, float32)
        columns = cuda.local.array(columns_size, float32)
        sums = cuda.local.array(both_sums, float32)
        answer = index(thread - last_warp)  # the last warp's first twenty threads have a logit each
        answers = thread - last_warp >= 0 and answer < 2 * NUM_CLASSES
        c = answer % NUM_CLASSES
        bias = biases[c]

        fetch_parameters(filters, filter_biases, weights, taps, own_biases, columns)
        fetch(images, min(2 * block, last), words)
        fetch(images, min(2 * block + 1, last), other_words)
        for first in range(2 * block, images.shape[0], 2 * cuda.gridDim.x):
            store(words, both, 0)
            store(other_words, both, PIXELS)
            cuda.syncthreads()
            fetch(images, min(first + 2 * cuda.gridDim.x, last), words)
            fetch(images, min(first + 2 * cuda.gridDim.x + 1, last), other_words)
            read_two(both, taps, own_biases, weights, columns, patch, sums)
            sum_columns(sums, both_sums, scratch, parts, LANES, threads // LANES)
            if answers:
                own_logits[answer] = bias + sum_row(parts, answer * (LANES + 1), 1, LANES)
            cuda.syncthreads()
            if answers:
                exponentials[answer] = math.exp(own_logits[answer] - largest_of(own_logits, answer - c))
            cuda.syncthreads()
            n = index(first) + answer // NUM_CLASSES
            if answers and n <= last:
                logits[n, c] = own_logits[answer]
                probabilities[n, c] = exponentials[answer] / sum_row(exponentials, answer - c, 1, NUM_CLASSES)

    return learn_epoch, read_images


def scratch_floats(threads):
    """Shared memory that a block uses for one thing after another: all threads' sums, or what the update needs."""
    return max((2 * SUMS + 1) * threads, 2048)


def filter_shares(num_filters, threads):
    """Into how many sums the threads of a pair of filters go first: as many as divide them evenly and fill a warp."""
    pairs = -(-num_filters // 2)
    return max(n for n in range(1, max(1, LANES // pairs) + 1) if threads // pairs % n == 0)


def parts_floats(num_filters, threads, blocks):
    """Shared memory for the second step of sums over a block; rows of it are one longer than they need be."""
    lanes = filter_shares(num_filters, threads) * -(-num_filters // 2)
    return max(2 * SUMS * (max(LANES, lanes) + 1), -(-SUMS * num_filters // blocks) * (LANES + 1))


def shared_bytes(num_filters, threads, blocks):
    """Shared memory of a block that learns and warps, at most."""
    numbers = scratch_floats(threads) + parts_floats(num_filters, threads, blocks)
    return 4 * (2 * PIXELS + PADDED * PADDED + NUM_DRAWS + NUM_COEFFICIENTS + 2 * NUM_CLASSES + numbers)


def update_plan(num_filters, threads, blocks, batch_size):
    """How a block updates its weights: (inputs that it owns, inputs at a time, threads for each, images at a time).

    Input K is always 1, and its weights are the biases. The images at a time fit in the block's scratch memory.
    """
    inputs = -(-(PLACES * num_filters + 1) // blocks)
    tile = min(inputs, threads, scratch_floats(threads) // (threads // NUM_CLASSES | 1) - NUM_CLASSES)
    splits = 1
    while 2 * splits * tile <= threads and splits < LANES:
        splits *= 2
    rows = -(-batch_size // splits) * splits
    while (tile + NUM_CLASSES) * staged_stride(threads, tile, rows) > scratch_floats(threads):
        rows = -(-rows // 2 // splits) * splits
    return inputs, tile, splits, rows


def staged_stride(threads, tile, rows):
    """Room for so many images' numbers of one kind: loads bring them in steps, and an odd number spreads the banks."""
    steps = threads // tile, threads // NUM_CLASSES
    return max(-(-rows // step) * step for step in steps) | 1


def learning_shape(batch_size):
    """(threads in a block that learns, blocks on each multiprocessor): all blocks are on the GPU at once.

    With a block for every image of a batch, one large block learns its image the soonest. With more images than that,
    smaller blocks side by side fill each other's pauses.
    """
    return (THREADS, 1) if SIMULATED or batch_size <= default_blocks() else (MANY_THREADS, MANY)


def limit(threads):
    """The option of cuda.jit that lets a block of so many threads fit on a multiprocessor, whatever it computes."""
    warps = -(-threads // (LANES * SCHEDULERS))  # that share the registers of a scheduler
    return {} if SIMULATED else {"max_registers": min(255, REGISTERS // SCHEDULERS // (warps * LANES) // 8 * 8)}


def epoch_problem(num_filters):
    """None when a whole epoch can run in one launch here, otherwise the reason in one line."""
    if gpu_problem():
        return gpu_problem()
    if num_filters > MAX_FILTERS:
        return f"it takes at most {MAX_FILTERS} filters, not {num_filters}"
    for threads, together in () if SIMULATED else SHAPES:
        shared = shared_bytes(num_filters, threads, together * default_blocks())
        if (
            shared > MAX_SHARED
            or together * (shared + 1024) > cuda.get_current_device().MAX_SHARED_MEMORY_PER_MULTIPROCESSOR
        ):
            return f"{num_filters} filters need more shared memory than this GPU has for a block"
    if not SIMULATED and cuda.get_current_device().compute_capability < (7, 0):
        return "its barrier needs a GPU of compute capability 7.0 (Volta) or newer"
    if not SIMULATED and not cuda.get_current_device().COOPERATIVE_LAUNCH:
        return "this GPU's driver does not launch blocks together (Windows in WDDM mode does not)"
    return None


class EpochTrainer:
    """Trains whole epochs, each in one launch, on a set and on parameters that stay on the device.

    num_filters, relu: of the network; batch_size: of the epochs; augment: whether every image is warped; images
    (N, 196) uint32, four pixels a word, and labels (N,) int32; parameters (filters, filter biases, weights by class,
    biases), flat, which are changed.
    """

    def __init__(self, num_filters, relu, batch_size, augment, images, labels, parameters):
        threads, together = learning_shape(batch_size)
        blocks = together * default_blocks()
        _, tile, _, rows = update_plan(num_filters, threads, blocks, batch_size)
        in_parts = -(-batch_size // rows) * rows + staged_stride(threads, tile, rows)  # as far as loads reach
        # What passes between the blocks: activations, gradients at the logits, gradients of the filters.
        shapes = in_parts * PLACES * num_filters, in_parts * NUM_CLASSES, blocks * SUMS * num_filters
        between = [cuda.to_device(np.zeros(shape, np.float32)) for shape in shapes]
        # What is new in every epoch, where the GPU can fetch it: the order of the images, learning rate and key.
        self.on_host = cuda.pinned_array(len(images), np.int32), cuda.pinned_array(2, np.float64)
        self.on_device = [cuda.device_array(array.shape, array.dtype) for array in self.on_host]
        self.totals = cuda.device_array((2, blocks, NUM_CLASSES), np.float64)
        self.kernel = kernels(num_filters, relu, threads, blocks, together, batch_size, augment)[0]
        self.shape = blocks, threads
        self.arguments = (
            images, labels, *self.on_device, np.int32(batch_size), *parameters,
            *between, cuda.device_array(1, np.int32), self.totals,
        )  # fmt: skip
        self.run = Repeated()

    def start(self, order, learning_rate, key=0):
        """Begin to learn every image once in this order, (N,) int32, and return at once; `finish` waits.

        Only after the `finish` of the epoch before, whose order the GPU may still have to fetch. key: of the epoch's
        warps, see `augment.warp_key`.
        """
        self.on_host[0][:] = order
        self.on_host[1][:] = learning_rate, key
        self.run(self._launch)

    def _launch(self, stream):
        for array, new in zip(self.on_device, self.on_host, strict=True):
            array.copy_to_device(new, stream)
        self.kernel[(*self.shape, stream)](*self.arguments)

    def finish(self):
        """(summed loss, number read right) of the epoch that was started last, once it is done."""
        loss, hits = self.totals.copy_to_host().sum(axis=(1, 2))
        return float(loss), int(hits)


class Reader:
    """Reads any number of images in one launch: convolution, pooling, dense layer and softmax in one kernel.

    num_filters, relu: of the network; parameters: as in `EpochTrainer`; what they hold may change.
    """

    def __init__(self, num_filters, relu, parameters):
        # Nothing here waits for another block, so several small ones a multiprocessor fill each other's pauses.
        threads = THREADS if SIMULATED else READER_THREADS
        self.shape = READERS * default_blocks(), threads
        self.kernel = kernels(num_filters, relu, threads, self.shape[0], READERS)[1]
        self.parameters = parameters
        self.images = None

    def read(self, images):
        """(logits, probabilities), both (N, 10) float32 and valid until the next call, of images (N, 196) uint32.

        All on the device. The same array again costs the host a tenth of the time, see `Repeated`.
        """
        if images is not self.images:
            self.images, self.run = images, Repeated()
            self.results = [cuda.device_array((images.shape[0], NUM_CLASSES), np.float32) for _ in range(2)]
        self.run(self._launch)
        return self.results

    def _launch(self, stream):
        self.kernel[(*self.shape, stream)](self.images, *self.parameters, *self.results)


def as_words(images):
    """uint8 images (N, 28, 28) as uint32 (N, 196), four pixels a word: how the kernels here take them."""
    return np.ascontiguousarray(images).reshape(len(images), PIXELS).view(np.uint32)


def default_blocks():
    """A block on each multiprocessor; in the simulator one, since its barrier holds only one block."""
    return 1 if SIMULATED else cuda.get_current_device().MULTIPROCESSOR_COUNT
