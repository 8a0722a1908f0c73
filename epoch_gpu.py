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

Only activations travel between the blocks, 13*13*F numbers for each image, never whole gradients, which are ten times
as many. Nobody adds to a number that another block adds to, so no atomics: the same seed gives the same bits.

What keeps it short:
  - A thread belongs to two filters, so that each pixel it loads serves both, and keeps their numbers in registers;
    pooling, ReLU and the thread's share of the ten logits follow in registers too.
  - The next image is on its way from memory while the present one is learned (`fetch`, `store`): images do not depend
    on the weights, so even the first image of the next step can be.
  - Sums over a block go through shared memory in two wide steps (`sum_columns`) rather than one halving at a time.
  - Loads that do not depend on each other are asked for together, none behind a condition (`sum_batch`).
  - The compiler is told which indices are never negative (`index`), or it checks each one.

A cooperative launch (all blocks at once on the GPU, or the barrier would wait forever) needs a driver that allows it:
`epoch_problem` says whether this one does.
"""

import math
from functools import lru_cache

import numpy as np
from llvmlite import ir
from numba import cuda, float32, float64, int32, uint8, void
from numba.extending import intrinsic

from gpu_launch import SIMULATED, gpu_problem
from network import IMAGE_SIZE, NUM_CLASSES, POOLED_SIZE

PIXELS = IMAGE_SIZE * IMAGE_SIZE
PLACES = POOLED_SIZE * POOLED_SIZE
SUMS = 10  # as many for the logits (one per class) as for a filter's gradient (nine taps and the bias)
LANES = 32
BURST = 24
REGISTERS = 65536  # of a multiprocessor, from compute capability 5.0 on: a block must not need more
SCHEDULERS = 4  # of a multiprocessor; each has a quarter of the registers and of the warps
THREADS = 32 if SIMULATED else 384
READER_THREADS, READERS = 192, 4  # threads in a block that only reads, and how many such blocks a multiprocessor has
MAX_FILTERS = 2 * min(THREADS, READER_THREADS)  # a thread has two


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


@cuda.jit(device=True)
def meet(arrived, meeting):
    """The barrier of the whole grid: nobody leaves before every block is here.

    Each block adds one to `arrived` and waits until all have; `meeting` counts the barriers from 1, over all launches.
    "Release" makes what a block wrote before visible to the others, "acquire" what the others wrote visible to it.
    Returns the number of the next meeting.
    """
    cuda.syncthreads()
    if cuda.threadIdx.x == 0 and cuda.gridDim.x > 1:
        add_release(arrived)
        while load_acquire(arrived) < meeting * cuda.gridDim.x:
            pass
    cuda.syncthreads()
    return meeting + int32(1)


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


@lru_cache
def kernels(num_filters, relu, threads, blocks, together=1):
    """(learn_epoch, read_images), compiled for these constants: loops with known bounds are unrolled.

    threads, blocks: the shape of the launch, (blocks,) of (threads,); together: blocks that share a multiprocessor.
    """
    depth = PLACES * num_filters  # K, inputs of the dense layer
    pairs = -(-num_filters // 2)  # a thread has two filters, f and f + pairs: each pixel it loads serves both
    groups = threads // pairs  # threads that share out the places of each pair of filters
    rounds = -(-PLACES // groups)
    pixels_each = -(-PIXELS // threads)
    # Lanes that share out the columns of a filter, so that its first sums are `filter_terms` long: see sum_columns.
    shares = max(n for n in range(1, max(1, LANES // pairs) + 1) if groups % n == 0)
    filter_lanes, filter_terms = shares * pairs, groups // shares
    slice_size = -(-(depth + 1) // blocks)  # inputs whose weights a block owns; input K is 1, its weights the biases
    owned = slice_size * NUM_CLASSES
    owned_each = -(-owned // threads)
    splits = max(1, threads // owned)  # threads that share out the images for one owned weight
    numbers = SUMS * num_filters  # of the filters: tap by tap, each for all filters, and last the biases
    numbers_each = -(-numbers // blocks)  # that a block owns
    last_warp = threads - LANES  # it has the least to convolve, and does what one warp can do for the block

    # Sizes of arrays, which must be plain names.
    both_taps, both_sums, both_columns, both_rounds = 2 * 9, 2 * SUMS, 2 * NUM_CLASSES, 2 * rounds
    # With few filters a thread has registers enough for all of its weights: loaded once a step, used both ways.
    keep = rounds <= 2 and together == 1
    columns_size = both_columns * (rounds if keep else 1)
    scratch_size = both_sums * threads
    parts_size = max(both_sums, numbers_each) * (max(LANES, filter_lanes) + 1)

    @cuda.jit(device=True)
    def fetch(images, image, pixels):
        """Begin to bring an image: this thread's share of its bytes to registers."""
        for i in range(pixels_each):
            pixel = index(cuda.threadIdx.x) + i * threads
            if pixel < PIXELS:
                pixels[i] = images[index(image), pixel]

    @cuda.jit(device=True)
    def store(pixels, image):
        """What `fetch` brought, scaled to x/255 - 0.5, into shared memory."""
        for i in range(pixels_each):
            pixel = index(cuda.threadIdx.x) + i * threads
            if pixel < PIXELS:
                image[pixel] = float32(pixels[i]) * float32(1 / 255) - float32(0.5)

    @cuda.jit(device=True)
    def fetch_columns(weights, place, f, other_f, columns, first):
        """Begin to bring the ten weights of each of the thread's two filters at a place to columns[first:]."""
        if place < PLACES:
            for c in range(NUM_CLASSES):
                columns[first + c] = weights[c, place * num_filters + f]
                columns[first + NUM_CLASSES + c] = weights[c, place * num_filters + other_f]

    @cuda.jit(device=True)
    def fetch_parameters(filters, filter_biases, weights, taps, own_biases, columns):
        """Begin to bring the thread's two filters and biases, and its weights if it keeps them, to registers."""
        thread = index(cuda.threadIdx.x)
        f, other_f = thread % pairs, min(thread % pairs + pairs, num_filters - 1)
        for t in range(9):
            taps[t], taps[9 + t] = filters[f, t // 3, t % 3], filters[other_f, t // 3, t % 3]
        own_biases[0], own_biases[1] = filter_biases[f], filter_biases[other_f]
        if keep:
            for i in range(rounds):
                fetch_columns(weights, thread // pairs + i * groups, f, other_f, columns, i * both_columns)

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
        for i in range(thread, rows * lanes, threads):
            row, lane = index(i) // lanes, index(i) % lanes
            parts[row * (lanes + 1) + lane] = sum_row(scratch, row * threads + lane, lanes, terms)
        cuda.syncthreads()

    @cuda.jit(device=True)
    def forward(image, taps, filter_biases, weights, pooled, winners, columns, patch, sums):
        """This thread's part of convolution, pooling and ReLU of one image, and what it adds to the ten logits."""
        thread = index(cuda.threadIdx.x)
        f, group = thread % pairs, thread // pairs
        other_f = min(f + pairs, num_filters - 1)
        for c in range(NUM_CLASSES):
            sums[c] = float32(0)
        for i in range(rounds):
            place = group + i * groups
            if group < groups and place < PLACES:
                first = i * both_columns if keep else 0
                if not keep:
                    fetch_columns(weights, place, f, other_f, columns, 0)
                load_patch(image, place // POOLED_SIZE * 2 * IMAGE_SIZE + place % POOLED_SIZE * 2, patch)
                largest, winners[2 * i] = convolve_and_pool(patch, taps, 0)
                other_largest, winners[2 * i + 1] = convolve_and_pool(patch, taps, 9)
                if relu:
                    largest = max(largest + filter_biases[0], float32(0))
                    other_largest = max(other_largest + filter_biases[1], float32(0))
                if f + pairs >= num_filters:  # of an odd number of filters, the last has no other
                    other_largest = float32(0)
                pooled[2 * i], pooled[2 * i + 1] = largest, other_largest
                for c in range(NUM_CLASSES):
                    sums[c] += largest * columns[first + c] + other_largest * columns[first + NUM_CLASSES + c]

    @cuda.jit(device=True)
    def leave_activations(pooled, n, activations):
        """What this thread has pooled of image n of the batch, to memory."""
        thread = index(cuda.threadIdx.x)
        f, group = thread % pairs, thread // pairs
        for i in range(rounds):
            place = group + i * groups
            if group < groups and place < PLACES:
                activations[(n * PLACES + place) * num_filters + f] = pooled[2 * i]
                if f + pairs < num_filters:
                    activations[(n * PLACES + place) * num_filters + f + pairs] = pooled[2 * i + 1]

    @cuda.jit(device=True)
    def softmax(parts, bias, answers, answer, logits, exponentials, sums):
        """From `sum_columns` to the ten probabilities in sums, of every thread; returns (largest logit, their sum).

        Ten threads take a logit each: that one exponential is dear, ten for each of the block's threads were dearer.
        """
        if answers:
            logits[index(answer)] = bias + sum_row(parts, index(answer) * (LANES + 1), 1, LANES)
        cuda.syncthreads()
        largest = logits[0]
        for c in range(1, NUM_CLASSES):
            largest = max(largest, logits[c])
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
    def backward(image, weights, pooled, winners, columns, sums, tap_sums):
        """From the gradient at the logits of one image to its part of this thread's two filters' gradients."""
        thread = index(cuda.threadIdx.x)
        f, group = thread % pairs, thread // pairs
        other_f = min(f + pairs, num_filters - 1)
        for i in range(rounds):
            place = group + i * groups
            if group < groups and place < PLACES:
                first = i * both_columns if keep else 0
                if not keep:
                    fetch_columns(weights, place, f, other_f, columns, 0)
                gradient = other_gradient = float32(0)
                for c in range(NUM_CLASSES):
                    gradient += sums[c] * columns[first + c]
                    other_gradient += sums[c] * columns[first + NUM_CLASSES + c]
                if relu and pooled[2 * i] <= float32(0):
                    gradient = float32(0)
                if relu and pooled[2 * i + 1] <= float32(0):
                    other_gradient = float32(0)
                corner = place // POOLED_SIZE * 2 * IMAGE_SIZE + place % POOLED_SIZE * 2
                add_taps(image, index(corner + winners[2 * i]), gradient, tap_sums, 0)
                add_taps(image, index(corner + winners[2 * i + 1]), other_gradient, tap_sums, SUMS)

    @cuda.jit(device=True)
    def leave_filter_gradients(tap_sums, scratch, parts, grad_filters):
        """The block's sums of the filters' gradients, in row `block` of grad_filters."""
        sum_columns(tap_sums, both_sums, scratch, parts, filter_lanes, filter_terms)
        for i in range(cuda.threadIdx.x, both_sums * pairs, threads):
            row, f = index(i) // pairs, index(i) % pairs
            tap, filter_ = row % SUMS, row // SUMS * pairs + f
            if filter_ < num_filters:
                total = sum_row(parts, row * (filter_lanes + 1) + f, pairs, shares)
                grad_filters[index(cuda.blockIdx.x), tap * num_filters + filter_] = total

    @cuda.jit(device=True)
    def sum_batch(activations, grad_logits, k, c, first, count):
        """The gradient of weight (c, k), summed over images first, first + splits ...; input K is always 1.

        A burst of images is asked for at a time, none behind a condition, so that the memory's answers come together
        and not one after the other. The rows past the batch, which a last burst may read, have gradient 0.
        """
        total = float32(0)
        start = index(first * depth + min(k, depth - 1))
        for n in range(first, count, BURST * splits):
            for i in range(BURST):
                activation = activations[start + i * splits * depth]
                if k == depth:
                    activation = float32(1)
                total += activation * grad_logits[index(n + i * splits) * NUM_CLASSES + c]
            start = index(start + BURST * splits * depth)
        return total

    @cuda.jit(device=True)
    def update_weights(activations, grad_logits, count, step, own_weights, weights, biases, scratch):
        """Step down the gradient of the block's own slice of the weights. Only the owner keeps and writes a weight."""
        thread = index(cuda.threadIdx.x)
        for i in range(owned_each):
            slot = thread + i * threads
            split, owned_weight = slot // owned, slot % owned
            k, c = index(cuda.blockIdx.x) * slice_size + owned_weight // NUM_CLASSES, owned_weight % NUM_CLASSES
            total = float32(0)
            if split < splits and k <= depth:
                total = sum_batch(activations, grad_logits, k, c, split, count)
            if splits > 1:
                scratch[thread] = total
                cuda.syncthreads()
                if split == 0:
                    for other in range(1, splits):
                        total += scratch[thread + other * owned]
            if split == 0 and k <= depth:
                own_weights[i] -= step * total
                if k < depth:
                    weights[c, k] = own_weights[i]
                else:
                    biases[c] = own_weights[i]

    @cuda.jit(device=True)
    def sum_filters(grad_filters, learners, parts):
        """The last warp adds up what the learning blocks left for the block's own numbers: parts (numbers, 33)."""
        lane, block = cuda.threadIdx.x - last_warp, index(cuda.blockIdx.x)
        if lane >= 0:
            for i in range(numbers_each):
                total = float32(0)
                if block + i * blocks < numbers:
                    for learner in range(lane, learners, LANES):
                        total += grad_filters[index(learner), block + i * blocks]
                parts[i * (LANES + 1) + index(lane)] = total

    @cuda.jit(cache=True, **limit(threads * together))
    def learn_epoch(
        images, labels, order, batch_size, learning_rate, filters, filter_biases, weights, biases,
        activations, grad_logits, grad_filters, arrived, meeting, totals,
    ):  # fmt: skip
        """images (all, 784) uint8, labels (all,), order (N,) int32; the parameters, weights as (10, K), are changed.

        activations (rows * K,) and grad_logits (rows * 10,), with `batch_rows` rows of zeros, and grad_filters
        (blocks, 10 * F) pass work between the blocks; arrived (1,) and meeting are the barrier's (see `meet`); totals
        (2, blocks, 10) gets each block's summed losses and hits, by label.
        """
        cuda.cg.this_grid().sync()  # makes the launch cooperative: refused where the blocks would not fit all at once
        thread, block = index(cuda.threadIdx.x), index(cuda.blockIdx.x)
        image = cuda.shared.array(PIXELS, float32)
        scratch = cuda.shared.array(scratch_size, float32)
        parts = cuda.shared.array(parts_size, float32)
        logits = cuda.shared.array(NUM_CLASSES, float32)
        exponentials = cuda.shared.array(NUM_CLASSES, float32)
        pixels = cuda.local.array(pixels_each, uint8)
        taps = cuda.local.array(both_taps, float32)
        own_biases = cuda.local.array(2, float32)
        patch = cuda.local.array(16, float32)
        columns = cuda.local.array(columns_size, float32)
        sums = cuda.local.array(SUMS, float32)
        tap_sums = cuda.local.array(both_sums, float32)
        pooled = cuda.local.array(both_rounds, float32)
        winners = cuda.local.array(both_rounds, int32)
        own_weights = cuda.local.array(owned_each, float32)

        # What of the parameters is this thread's own to keep and to change.
        for i in range(owned_each):
            owned_weight = (thread + i * threads) % owned
            k, c = block * slice_size + owned_weight // NUM_CLASSES, owned_weight % NUM_CLASSES
            if k <= depth:
                own_weights[i] = weights[c, k] if k < depth else biases[c]
        number = block + thread * blocks
        tap, own_filter = number // num_filters, number % num_filters
        own_number = float32(0)
        if thread < numbers_each and number < numbers:
            own_number = filters[own_filter, tap // 3, tap % 3] if tap < 9 else filter_biases[own_filter]
        answer = thread - last_warp  # the last warp's first ten threads have a logit each
        answers = 0 <= answer < NUM_CLASSES

        loss, hit = float64(0), int32(0)
        coming = order[index(min(block, order.shape[0] - 1))]
        fetch(images, coming, pixels)
        for first in range(0, order.shape[0], batch_size):
            count = min(batch_size, order.shape[0] - first)

            # learn
            fetch_parameters(filters, filter_biases, weights, taps, own_biases, columns)
            bias = biases[index(answer) % NUM_CLASSES]
            for s in range(both_sums):
                tap_sums[s] = float32(0)
            for image_in_batch in range(block, count, blocks):
                n = index(image_in_batch)
                label = labels[index(coming)]
                store(pixels, image)
                following = first + n + blocks if n + blocks < count else first + batch_size + block
                coming = order[index(min(following, order.shape[0] - 1))]
                cuda.syncthreads()
                forward(image, taps, own_biases, weights, pooled, winners, columns, patch, sums)
                leave_activations(pooled, n, activations)
                fetch(images, coming, pixels)
                sum_columns(sums, SUMS, scratch, parts, LANES, threads // LANES)
                largest, total = softmax(parts, bias, answers, answer, logits, exponentials, sums)
                for c in range(NUM_CLASSES):  # from here on sums is the gradient at the logits
                    if c == label:
                        sums[c] -= float32(1)
                    if c == answer:
                        grad_logits[n * NUM_CLASSES + c] = sums[c]
                if answers and answer == label:
                    loss += math.log(total) + largest - logits[index(label)]
                    hit += read_right(logits, index(label))
                backward(image, weights, pooled, winners, columns, sums, tap_sums)
                cuda.syncthreads()
            if block < count:
                leave_filter_gradients(tap_sums, scratch, parts, grad_filters)
            if thread < NUM_CLASSES:
                for n in range(count + block, batch_size, blocks):  # a smaller last batch leaves rows of the one before
                    grad_logits[index(n) * NUM_CLASSES + thread] = float32(0)
            meeting = meet(arrived, meeting)

            # update
            step = learning_rate / float32(count)
            sum_filters(grad_filters, min(count, blocks), parts)
            update_weights(activations, grad_logits, count, step, own_weights, weights, biases, scratch)
            cuda.syncthreads()
            if thread < numbers_each and number < numbers:
                own_number -= step * sum_row(parts, thread * (LANES + 1), 1, LANES)
                if tap < 9:
                    filters[own_filter, tap // 3, tap % 3] = own_number
                elif relu:
                    filter_biases[own_filter] = own_number
            meeting = meet(arrived, meeting)

        if answers:  # each label's thread has kept the sums of its images
            totals[0, block, index(answer)] = loss
            totals[1, block, index(answer)] = hit

    @cuda.jit(cache=True, **limit(threads * together))
    def read_images(images, filters, filter_biases, weights, biases, logits, probabilities):
        """images (N, 784) uint8 -> logits (N, 10) and probabilities (N, 10); any number of blocks."""
        thread, block = index(cuda.threadIdx.x), index(cuda.blockIdx.x)
        image = cuda.shared.array(PIXELS, float32)
        scratch = cuda.shared.array(scratch_size, float32)
        parts = cuda.shared.array(parts_size, float32)
        own_logits = cuda.shared.array(NUM_CLASSES, float32)
        exponentials = cuda.shared.array(NUM_CLASSES, float32)
        pixels = cuda.local.array(pixels_each, uint8)
        taps = cuda.local.array(both_taps, float32)
        own_biases = cuda.local.array(2, float32)
        patch = cuda.local.array(16, float32)
        columns = cuda.local.array(columns_size, float32)
        sums = cuda.local.array(SUMS, float32)
        pooled = cuda.local.array(both_rounds, float32)
        winners = cuda.local.array(both_rounds, int32)
        answer = thread - last_warp  # the last warp's first ten threads have a logit each
        answers = 0 <= answer < NUM_CLASSES
        bias = biases[index(answer) % NUM_CLASSES]

        fetch_parameters(filters, filter_biases, weights, taps, own_biases, columns)
        fetch(images, min(block, images.shape[0] - 1), pixels)
        for n in range(block, images.shape[0], cuda.gridDim.x):
            store(pixels, image)
            cuda.syncthreads()
            fetch(images, min(n + cuda.gridDim.x, images.shape[0] - 1), pixels)
            forward(image, taps, own_biases, weights, pooled, winners, columns, patch, sums)
            sum_columns(sums, SUMS, scratch, parts, LANES, threads // LANES)
            softmax(parts, bias, answers, answer, own_logits, exponentials, sums)
            for c in range(NUM_CLASSES):
                if c == answer:
                    logits[index(n), c] = own_logits[c]
                    probabilities[index(n), c] = sums[c]

    return learn_epoch, read_images


def batch_rows(num_filters, threads, blocks, batch_size):
    """Rows that the activations of a batch need: as many as the bursts of `sum_batch` read."""
    owned = -(-(PLACES * num_filters + 1) // blocks) * NUM_CLASSES
    burst = BURST * max(1, threads // owned)
    return -(-batch_size // burst) * burst


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
    if not SIMULATED and cuda.get_current_device().compute_capability < (7, 0):
        return "its barrier needs a GPU of compute capability 7.0 (Volta) or newer"
    if not SIMULATED and not cuda.get_current_device().COOPERATIVE_LAUNCH:
        return "this GPU's driver does not launch blocks together (Windows in WDDM mode does not)"
    return None


class EpochTrainer:
    """Trains whole epochs, each in one launch, on parameters that stay on the device.

    num_filters, relu: of the network; threads, blocks: the shape of the launch, by default a block on each
    multiprocessor, so that all blocks are on the GPU at once.
    """

    def __init__(self, num_filters, relu, threads=THREADS, blocks=None):
        self.num_filters = num_filters
        self.threads, self.blocks = threads, blocks or default_blocks()
        self.launch = kernels(num_filters, relu, threads, self.blocks)[0][self.blocks, threads]
        self.grad_filters = cuda.device_array((self.blocks, SUMS * num_filters), np.float32)
        self.totals = cuda.device_array((2, self.blocks, NUM_CLASSES), np.float64)
        self.arrived = cuda.to_device(np.zeros(1, np.int32))
        self.meetings = 0  # so far, of all blocks
        self._between = lru_cache(maxsize=4)(self._make_between)

    def _make_between(self, batch_size):
        """The activations and gradients at the logits that pass between the blocks, all zero."""
        rows = batch_rows(self.num_filters, self.threads, self.blocks, batch_size)
        widths = PLACES * self.num_filters, NUM_CLASSES
        return [cuda.to_device(np.zeros(rows * width, np.float32)) for width in widths]

    def start(self, images, labels, order, batch_size, learning_rate, parameters):
        """Begin to learn every image once in this order, and return at once; `finish` waits.

        images (N, 784) uint8, labels and order (N,) int32, parameters (filters, filter biases, weights (10, K),
        biases): all on the device.
        """
        meetings = 2 * -(-order.shape[0] // batch_size)
        if (self.meetings + meetings) * self.blocks >= 2**31:  # what an int32 can count
            self.arrived.copy_to_device(np.zeros(1, np.int32))
            self.meetings = 0
        self.launch(
            images, labels, order, np.int32(batch_size), np.float32(learning_rate), *parameters,
            *self._between(batch_size), self.grad_filters, self.arrived, np.int32(self.meetings + 1), self.totals,
        )  # fmt: skip
        self.meetings += meetings

    def finish(self):
        """(summed loss, number read right) of the epoch that was started last, once it is done."""
        loss, hits = self.totals.copy_to_host().sum(axis=(1, 2))
        return float(loss), int(hits)


class Reader:
    """Reads any number of images in one launch: convolution, pooling, dense layer and softmax in one kernel."""

    def __init__(self, num_filters, relu):
        # Nothing here waits for another block, so several small ones a multiprocessor fill each other's pauses.
        threads = THREADS if SIMULATED else READER_THREADS
        blocks = READERS * default_blocks()
        self.launch = kernels(num_filters, relu, threads, blocks, READERS)[1][blocks, threads]
        self._results = lru_cache(maxsize=1)(
            lambda count: [cuda.device_array((count, NUM_CLASSES), np.float32) for _ in range(2)]
        )

    def read(self, images, parameters):
        """(logits, probabilities), both (N, 10) float32 and valid until the next call, of images (N, 784) uint8.

        parameters as in `EpochTrainer.start`; all on the device.
        """
        logits, probabilities = self._results(images.shape[0])
        self.launch(images, *parameters, logits, probabilities)
        return logits, probabilities


def default_blocks():
    """A block on each multiprocessor; in the simulator one, since its barrier holds only one block."""
    return 1 if SIMULATED else cuda.get_current_device().MULTIPROCESSOR_COUNT
