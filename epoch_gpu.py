"""A whole epoch of training in ONE kernel launch, and reading any number of images in one.

A launch costs more than the arithmetic of a small batch: a step of the layers (conv_gpu.py, pool_gpu.py, softmax_gpu.py)
is eleven launches, an epoch at batch 64 ten thousand. Here the blocks stay on the GPU for the whole epoch and meet at a
barrier twice a step:

    learn    a block takes an image of the batch: convolve, pool, logits, softmax, and back to the filters.
             It leaves the image's activations and gradient at the logits, and its sum of the filters' gradients.
    -------- barrier: now every image's share lies in memory --------
    update   a block owns a slice of the dense weights, sums the batch's gradient for it and steps down; the filters'
             numbers are shared out in the same way.
    -------- barrier: now every weight is new --------

Only activations travel between the blocks, 13*13*F numbers for each image, never whole gradients, which are ten times
as many. Nobody adds to a number that another block adds to, so no atomics: the same seed gives the same bits.

What keeps it short:
  - A thread belongs to one filter and keeps its nine numbers in registers; pooling, ReLU and the thread's share of the
    ten logits follow in registers too.
  - The next image is on its way from memory while the present one is learned (`fetch`, `store`): images do not depend
    on the weights, so even the first image of the next step can be.
  - Sums over a block go through shared memory in two wide steps (`sum_columns`) rather than one halving at a time.

A cooperative launch (all blocks at once on the GPU, or the barrier would wait forever) needs a driver that allows it:
`epoch_problem` says whether this one does.
"""

import math
from functools import lru_cache

import numpy as np
from llvmlite import ir
from numba import cuda, float32, float64, int32, uint8
from numba.extending import intrinsic

from gpu_launch import SIMULATED, gpu_problem, reusable_arrays
from network import IMAGE_SIZE, NUM_CLASSES, POOLED_SIZE

PIXELS = IMAGE_SIZE * IMAGE_SIZE
PLACES = POOLED_SIZE * POOLED_SIZE
SUMS = 10  # as many for the logits (one per class) as for a filter's gradient (nine taps and the bias)
LANES = 32
BURST = 8
REGISTERS = 65536  # of a multiprocessor, from compute capability 5.0 to 9.0: a block must not need more
THREADS = 32 if SIMULATED else 512


@cuda.jit(device=True)
def index(i):
    """i, which is not negative, said so that the compiler knows it.

    An index below zero counts from the end, in Numba as in NumPy, and the check for it costs more than the access
    itself: in this kernel it took four instructions in five. After the mask the compiler sees that it never applies.
    """
    return i & 0x7FFFFFFF


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
    """The barrier of the whole grid: nobody leaves before every block is here. Returns the number of the next meeting.

    Each block adds one to `arrived` and waits until it has grown by the number of blocks. The fences make what a block
    wrote before visible to the others, and what the others wrote visible to it.
    """
    cuda.syncthreads()
    if cuda.threadIdx.x == 0:
        cuda.threadfence()
        cuda.atomic.add(arrived, 0, 1)
        while cuda.gridDim.x > 1 and load_acquire(arrived) < meeting * cuda.gridDim.x:
            pass
        cuda.threadfence()
    cuda.syncthreads()
    return meeting + int32(1)


@cuda.jit(device=True)
def fetch(images, image, pixels):
    """Begin to bring an image: this thread's share of its bytes to registers."""
    for i in range(pixels.shape[0]):
        pixel = index(cuda.threadIdx.x + i * cuda.blockDim.x)
        if pixel < PIXELS:
            pixels[i] = images[index(image), pixel]


@cuda.jit(device=True)
def store(pixels, image):
    """What `fetch` brought, scaled to x/255 - 0.5, into shared memory."""
    for i in range(pixels.shape[0]):
        pixel = index(cuda.threadIdx.x + i * cuda.blockDim.x)
        if pixel < PIXELS:
            image[pixel] = float32(pixels[i]) / float32(255) - float32(0.5)


@cuda.jit(device=True)
def convolve(image, corner, taps):
    """One filter at one place: corner is the place's upper left pixel in the image."""
    total = float32(0)
    for a in range(3):
        for b in range(3):
            total += image[corner + a * IMAGE_SIZE + b] * taps[3 * a + b]
    return total


@cuda.jit(device=True)
def convolve_and_pool(image, corner, taps):
    """One filter over a 2x2 window of places: (the largest of its four numbers, the corner of the first largest)."""
    largest, winner = convolve(image, corner, taps), corner
    right = convolve(image, corner + 1, taps)
    below = convolve(image, corner + IMAGE_SIZE, taps)
    across = convolve(image, corner + IMAGE_SIZE + 1, taps)
    if right > largest:
        largest, winner = right, corner + 1
    if below > largest:
        largest, winner = below, corner + IMAGE_SIZE
    if across > largest:
        largest, winner = across, corner + IMAGE_SIZE + 1
    return largest, winner


@cuda.jit(device=True)
def sum_batch(activations, grad_logits, k, c, first, stride, count):
    """The gradient of one weight, summed over images first, first + stride ... below count; input K is always 1.

    A burst of images is asked for at a time, none behind a condition, so that the memory's answers come together and not one after the other.
    """
    total = float32(0)
    column = min(k, activations.shape[1] - 1)
    for n in range(first, count, BURST * stride):
        for i in range(BURST):
            image = index(min(n + i * stride, count - 1))
            product = grad_logits[image, c]
            activation = activations[image, column]
            if k < activations.shape[1]:
                product *= activation
            if n + i * stride < count:
                total += product
    return total


@lru_cache
def learn_kernel(num_filters, relu, threads, blocks):
    """The kernel that trains one epoch, compiled for these constants: loops with known bounds are unrolled.

    threads, blocks: the shape of the launch, (blocks,) of (threads,).
    """
    depth = PLACES * num_filters  # K, inputs of the dense layer
    groups = threads // num_filters  # threads that share out the places of each filter
    rounds = -(-PLACES // groups)
    pixels_each = -(-PIXELS // threads)
    # Lanes that share out the columns of a filter, so that a first sum is `filter_terms` long: see sum_columns.
    shares = max(n for n in range(1, max(1, LANES // num_filters) + 1) if groups % n == 0)
    filter_lanes, filter_terms = shares * num_filters, groups // shares
    slice_size = -(-(depth + 1) // blocks)  # inputs whose weights a block owns; input K is 1, its weights the biases
    owned = slice_size * NUM_CLASSES
    owned_each = -(-owned // threads)
    splits = max(1, threads // owned)  # threads that share out the images for one owned weight
    numbers_each = -(-SUMS * num_filters // blocks)  # numbers of the filters that a block owns
    scratch_size = SUMS * threads
    parts_size = max(SUMS, numbers_each) * (max(LANES, filter_lanes) + 1)
    limit = {} if SIMULATED else {"max_registers": min(255, REGISTERS // threads // 8 * 8)}

    @cuda.jit(device=True)
    def sum_columns(sums, scratch, parts, lanes, terms):
        """Ten sums of each thread -> parts (10, lanes + 1): the sums over all columns with the same (column % lanes).

        A thread's sums are a column of scratch (10, threads), of which lanes * terms count. A row of parts is one
        longer than it need be, so that a column of it meets all the banks of shared memory.
        """
        thread = index(cuda.threadIdx.x)
        for s in range(SUMS):
            scratch[s * threads + thread] = sums[s]
        cuda.syncthreads()
        for i in range(thread, SUMS * lanes, threads):
            row, lane = index(i) // lanes, index(i) % lanes
            total = float32(0)
            for term in range(terms):
                total += scratch[row * threads + lane + term * lanes]
            parts[row * (lanes + 1) + lane] = total
        cuda.syncthreads()

    @cuda.jit(cache=True, **limit)
    def learn_epoch(
        images, labels, order, batch_size, learning_rate, filters, filter_biases, weights, biases,
        activations, grad_logits, grad_filters, arrived, losses, hits,
    ):  # fmt: skip
        """images (all, 784) uint8, labels (all,), order (N,) int32; the parameters, weights as (10, K), are changed.

        activations (batch, K), grad_logits (batch, 10) and grad_filters (blocks, 10 * F) pass work between the blocks;
        arrived (1,) starts at 0; losses and hits (blocks, 10) get each block's sums over the epoch, by label.
        """
        cuda.cg.this_grid().sync()  # makes the launch cooperative: refused where the blocks would not fit all at once
        thread, block = index(cuda.threadIdx.x), index(cuda.blockIdx.x)
        image = cuda.shared.array(PIXELS, float32)
        scratch = cuda.shared.array(scratch_size, float32)
        parts = cuda.shared.array(parts_size, float32)
        logits = cuda.shared.array(NUM_CLASSES, float32)
        exponentials = cuda.shared.array(NUM_CLASSES, float32)
        pixels = cuda.local.array(pixels_each, uint8)
        taps = cuda.local.array(9, float32)
        column = cuda.local.array(NUM_CLASSES, float32)
        sums = cuda.local.array(SUMS, float32)
        tap_sums = cuda.local.array(SUMS, float32)
        pooled = cuda.local.array(rounds, float32)
        winners = cuda.local.array(rounds, int32)
        own_weights = cuda.local.array(owned_each, float32)

        # Which filter and places are this thread's, and which of the block's own weights.
        f, group = thread % num_filters, thread // num_filters
        start = block * slice_size
        for i in range(owned_each):
            owned_weight = (thread + i * threads) % owned
            k, c = start + owned_weight // NUM_CLASSES, owned_weight % NUM_CLASSES
            if k <= depth:
                own_weights[i] = weights[c, k] if k < depth else biases[c]
        own_number = block + thread * blocks  # of the filters: tap by tap, each for all filters; the biases come last
        own_tap, own_filter = own_number // num_filters, own_number % num_filters
        own_value = float32(0)
        if thread < numbers_each and own_number < SUMS * num_filters:
            if own_tap < 9:
                own_value = filters[own_filter, own_tap // 3, own_tap % 3]
            else:
                own_value = filter_biases[own_filter]

        loss, hit = float64(0), int32(0)
        meeting = int32(1)
        coming = order[min(block, order.shape[0] - 1)]
        fetch(images, coming, pixels)
        for first in range(0, order.shape[0], batch_size):
            count = min(batch_size, order.shape[0] - first)

            # learn
            for tap in range(9):
                taps[tap] = filters[f, tap // 3, tap % 3]
                tap_sums[tap] = float32(0)
            tap_sums[9] = float32(0)
            filter_bias = filter_biases[f]
            bias = biases[thread % NUM_CLASSES]
            for image_in_batch in range(block, count, blocks):
                n = index(image_in_batch)
                label = labels[index(coming)]
                store(pixels, image)
                following = first + n + blocks if n + blocks < count else first + batch_size + block
                coming = order[index(min(following, order.shape[0] - 1))]
                cuda.syncthreads()

                for c in range(NUM_CLASSES):
                    sums[c] = float32(0)
                for i in range(rounds):
                    place = group + i * groups
                    if group < groups and place < PLACES:
                        k = place * num_filters + f
                        for c in range(NUM_CLASSES):
                            column[c] = weights[c, k]  # asked for now, needed after the convolution
                        corner = place // POOLED_SIZE * 2 * IMAGE_SIZE + place % POOLED_SIZE * 2
                        largest, winners[i] = convolve_and_pool(image, corner, taps)
                        if relu:
                            largest = max(largest + filter_bias, float32(0))
                        pooled[i] = largest
                        activations[n, k] = largest
                        for c in range(NUM_CLASSES):
                            sums[c] += largest * column[c]
                fetch(images, coming, pixels)
                sum_columns(sums, scratch, parts, LANES, threads // LANES)

                if thread < NUM_CLASSES:
                    logit = bias
                    for lane in range(LANES):
                        logit += parts[thread * (LANES + 1) + lane]
                    logits[thread] = logit
                cuda.syncthreads()
                largest_logit = logits[0]
                for c in range(1, NUM_CLASSES):
                    largest_logit = max(largest_logit, logits[c])
                if thread < NUM_CLASSES:
                    exponentials[thread] = math.exp(logits[thread] - largest_logit)
                cuda.syncthreads()
                total = float32(0)
                for c in range(NUM_CLASSES):
                    total += exponentials[c]
                scaling = float32(1) / total
                for c in range(NUM_CLASSES):
                    sums[c] = exponentials[c] * scaling  # from here on: the gradient at the logits
                    if c == label:
                        sums[c] -= float32(1)
                if thread < NUM_CLASSES:
                    gradient = exponentials[thread] * scaling
                    if thread == label:
                        gradient -= float32(1)
                        loss += math.log(total) + largest_logit - logits[thread]
                        right = int32(1)
                        for c in range(NUM_CLASSES):
                            if logits[c] > logits[thread] or (c < thread and logits[c] == logits[thread]):
                                right = int32(0)
                        hit += right
                    grad_logits[n, thread] = gradient

                for i in range(rounds):
                    place = group + i * groups
                    if group < groups and place < PLACES:
                        k = place * num_filters + f
                        gradient = float32(0)
                        for c in range(NUM_CLASSES):
                            gradient += sums[c] * weights[c, k]
                        if relu and pooled[i] <= float32(0):
                            gradient = float32(0)
                        corner = index(winners[i])
                        for a in range(3):
                            for b in range(3):
                                tap_sums[3 * a + b] += gradient * image[corner + a * IMAGE_SIZE + b]
                        tap_sums[9] += gradient
                cuda.syncthreads()
            if block < count:
                sum_columns(tap_sums, scratch, parts, filter_lanes, filter_terms)
                for i in range(thread, SUMS * num_filters, threads):
                    tap, key = index(i) // num_filters, index(i) % num_filters
                    total = float32(0)
                    for share in range(shares):
                        total += parts[tap * (filter_lanes + 1) + key + share * num_filters]
                    grad_filters[block, index(i)] = total
            meeting = meet(arrived, meeting)

            # update
            step = learning_rate / float32(count)
            lane = thread - (threads - LANES)  # the last warp, the least busy one, sums up the filters
            if lane >= 0:
                for i in range(numbers_each):
                    total = float32(0)
                    if block + i * blocks < SUMS * num_filters:
                        for learner in range(lane, min(count, blocks), LANES):
                            total += grad_filters[index(learner), block + i * blocks]
                    parts[i * (LANES + 1) + index(lane)] = total
            for i in range(owned_each):
                slot = thread + i * threads
                split, owned_weight = slot // owned, slot % owned
                k, c = start + owned_weight // NUM_CLASSES, owned_weight % NUM_CLASSES
                total = float32(0)
                if split < splits and k <= depth:
                    total = sum_batch(activations, grad_logits, k, c, split, splits, count)
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
            cuda.syncthreads()
            if thread < numbers_each and own_number < SUMS * num_filters:
                total = float32(0)
                for lane in range(LANES):
                    total += parts[thread * (LANES + 1) + lane]
                own_value -= step * total
                if own_tap < 9:
                    filters[own_filter, own_tap // 3, own_tap % 3] = own_value
                elif relu:
                    filter_biases[own_filter] = own_value
            meeting = meet(arrived, meeting)

        if thread < NUM_CLASSES:  # each class's thread has kept the sums of its label
            losses[block, thread] = loss
            hits[block, thread] = hit

    return learn_epoch


def epoch_problem(num_filters):
    """None when a whole epoch can run in one launch here, otherwise the reason in one line."""
    if SIMULATED:
        return None
    if gpu_problem():
        return gpu_problem()
    if num_filters > THREADS:
        return f"a block has {THREADS} threads, too few for {num_filters} filters"
    if not cuda.get_current_device().COOPERATIVE_LAUNCH:
        return "this GPU's driver does not launch blocks together (Windows in WDDM mode does not)"
    return None


class EpochTrainer:
    """Trains whole epochs, each in one launch, on parameters that stay on the device.

    num_filters, relu: of the network; threads, blocks: the shape of the launch, by default a block on each
    multiprocessor, so that all blocks are on the GPU at once.
    """

    def __init__(self, num_filters, relu, threads=THREADS, blocks=None):
        self.num_filters = num_filters
        self.threads = threads
        self.blocks = blocks or (1 if SIMULATED else cuda.get_current_device().MULTIPROCESSOR_COUNT)
        self.kernel = learn_kernel(num_filters, relu, threads, self.blocks)
        self.grad_filters = cuda.device_array((self.blocks, SUMS * num_filters), np.float32)
        self.losses = cuda.device_array((self.blocks, NUM_CLASSES), np.float64)
        self.hits = cuda.device_array((self.blocks, NUM_CLASSES), np.int32)
        self.arrived = cuda.device_array(1, np.int32)
        self._activations = reusable_arrays()
        self._grad_logits = reusable_arrays()

    def train(self, images, labels, order, batch_size, learning_rate, parameters):
        """Learn every image once in this order; returns the summed loss and how many were read right.

        images (N, 28, 28) uint8, labels and order (N,) int32, parameters (filters, filter biases, weights (10, K),
        biases): all on the device.
        """
        self.arrived.copy_to_device(np.zeros(1, np.int32))
        self.kernel[self.blocks, self.threads](
            images.reshape(images.shape[0], PIXELS), labels, order, np.int32(batch_size), np.float32(learning_rate),
            *parameters, self._activations(batch_size, PLACES * self.num_filters),
            self._grad_logits(batch_size, NUM_CLASSES), self.grad_filters, self.arrived, self.losses, self.hits,
        )  # fmt: skip
        return float(self.losses.copy_to_host().sum()), int(self.hits.copy_to_host().sum())
