"""The plan of the one-launch kernel: how its work is shared out over blocks and threads, in plain Python.

    plan = make_plan(num_filters=8, relu=False, shape=ONE_IMAGE_A_BLOCK, blocks=132, batch_size=64, distort=False)

epoch_gpu.py computes, and this file decides who computes what. All values of a `Plan` are known before the kernel is
compiled, so the compiler sees them as constants: it unrolls loops, and can then keep small arrays in registers.

    forward, backward   a thread has one pair of filters (2p and 2p + 1) and some of the 169 windows of the pooling
    dense layer         a block owns the weights of some inputs; it alone keeps and changes them (`owned_weight`)
    filters             a block owns some of the filters' values; it alone keeps and changes them (`owned_filter_value`)

Nothing here imports CUDA. The functions that say who owns what are compiled for the GPU in epoch_gpu.py, so that the
tests check the same lines that the kernel runs.
"""

from typing import NamedTuple

from distortion import NUM_COEFFICIENTS, NUM_DRAWS, PADDED
from sizes import IMAGE_SIZE, NUM_CLASSES, WINDOWS

PIXELS = IMAGE_SIZE * IMAGE_SIZE
WORDS = PIXELS // 4  # an image in words of 32 bits, four pixels each: a quarter of the loads
FILTER_VALUES = 9 + 1  # what a filter learns: nine weights and a bias
WARP_SIZE = 32  # threads that run together
MAX_SHARED = 48 * 1024  # bytes of shared memory that a block can have without asking the driver for more
REGISTERS = 65536  # of a multiprocessor, from compute capability 5.0 on
SCHEDULERS = 4  # of a multiprocessor; each has a quarter of its registers and of its warps (from 7.0 on)


class Shape(NamedTuple):
    """How many threads a block has, and how many blocks share a multiprocessor (SM)."""

    threads: int
    blocks_per_sm: int


# With at most one image for each block, one large block on each multiprocessor is the fastest. With more images, of two
# smaller blocks one computes while the other waits.
ONE_IMAGE_A_BLOCK = Shape(384, 1)
MANY_IMAGES_A_BLOCK = Shape(192, 2)
SIMULATOR = Shape(WARP_SIZE, 1)  # the CUDA simulator needs about a millisecond for a thread

# The largest even number of filters for which every index stays below 2**31 up to network.MAX_BATCH images.
MAX_FILTERS = 192


def ceil_div(a, b):
    """a / b, rounded up: how many groups of b hold a things."""
    return -(-a // b)


class Plan(NamedTuple):
    """What `make_plan` decides. Sizes of arrays count numbers of 32 bits, not bytes."""

    # The network and the training.
    num_filters: int
    num_classes: int
    relu: bool
    batch_size: int
    distort: bool  # whether every image is distorted (distortion.py)

    # The launch.
    threads: int  # in a block
    blocks: int  # in the grid
    last_warp: int  # the first thread of the last warp, which has the least to convolve: it does what needs few threads

    # The image arrives.
    words_per_thread: int  # words of an image that a thread brings from memory

    # Forward and backward. Thread t has the pair of filters t % filter_pairs and belongs to group t // filter_pairs.
    num_inputs: int  # K, inputs of the dense layer: an activation for each window and filter
    filter_pairs: int
    even: bool  # every pair has two filters; otherwise the last pair has one
    groups: int  # groups of threads; group g takes the windows g, g + groups, ... for all filters
    windows_per_thread: int
    keep_weights: bool  # the thread keeps its dense weights in registers, from forward to backward
    kept_windows: int  # windows whose dense weights it has in registers at a time

    # Sums over a block of the filters' gradients, in two steps: the first leaves some partial sums for each pair.
    partials_per_pair: int
    threads_per_partial: int

    # The dense update. The block takes its inputs in tiles, and the batch in chunks that fit into shared memory.
    owned_inputs: int  # at most, of a block, which owns all weights of each; input number K is 1: its are the biases
    tile_inputs: int
    num_tiles: int
    weights_per_thread: int  # weights of one tile that one thread owns
    threads_per_input: int  # neighbouring threads with the same input; each takes a part of the images of a chunk
    chunk_images: int
    num_chunks: int
    chunk_stride: int  # from one row of images in shared memory to the next
    sums_stride: int  # from the sums of one class in shared memory to those of the next
    images_per_activation_load: int  # images whose activations are loaded when every thread loads one
    activation_loads: int  # of a thread for a chunk
    images_per_gradient_load: int  # the same for the gradients at the logits
    gradient_loads: int

    # The update of the filters. A warp adds up what the blocks have left for one value.
    filter_values: int  # of all filters: tap by tap, each for all filters, and last the biases
    owned_filter_values: int  # at most, of a block
    filter_values_per_thread: int
    gather_rounds: int  # values for which one thread loads, at most
    gather_loads: int  # loads of a thread for one value

    # Shared memory.
    scratch_size: int  # used for one thing after another: all threads' sums, or a chunk of the batch
    partial_sums_size: int  # the second step of sums over a block


def make_plan(num_filters, relu, shape, blocks, batch_size=1, distort=False, num_classes=NUM_CLASSES):
    """The Plan for a network (num_filters, num_classes, relu), a launch of `blocks` of this Shape, and an epoch."""
    threads = shape.threads
    num_inputs = WINDOWS * num_filters
    scratch_size = scratch_numbers(threads)
    forward = share_forward(num_filters, num_classes, shape)
    dense = share_dense(num_inputs, num_classes, threads, blocks, batch_size, scratch_size)
    filters = share_filters(num_filters, threads, blocks)
    first_sums = forward["partials_per_pair"] * forward["filter_pairs"]
    return Plan(
        num_filters=num_filters,
        num_classes=num_classes,
        relu=relu,
        batch_size=batch_size,
        distort=distort,
        threads=threads,
        blocks=blocks,
        last_warp=threads - WARP_SIZE,
        words_per_thread=ceil_div(WORDS, threads),
        num_inputs=num_inputs,
        **forward,
        **dense,
        **filters,
        scratch_size=scratch_size,
        partial_sums_size=max(
            2 * FILTER_VALUES * (first_sums + 1),
            max(2 * FILTER_VALUES, num_classes, filters["owned_filter_values"]) * (WARP_SIZE + 1),
        ),
    )


# -- what make_plan computes, part by part ----------------------------------------------------------------------------


def share_forward(num_filters, num_classes, shape):
    """The part of the Plan for forward and backward, and for the sums of the filters' gradients over a block."""
    filter_pairs = ceil_div(num_filters, 2)
    groups = shape.threads // filter_pairs
    windows_per_thread = ceil_div(WINDOWS, groups)
    # With few filters a thread has enough registers for all of its weights: it loads them once and uses them twice.
    # They are at most 60: with ten classes, those of three windows.
    keep_weights = windows_per_thread * num_classes <= 30 and shape.blocks_per_sm == 1
    # The largest number of partial sums that divides the groups evenly and gives at most a warp of columns.
    fill_a_warp = range(1, max(1, WARP_SIZE // filter_pairs) + 1)
    partials_per_pair = max(n for n in fill_a_warp if groups % n == 0)
    return {
        "filter_pairs": filter_pairs,
        "even": num_filters % 2 == 0,
        "groups": groups,
        "windows_per_thread": windows_per_thread,
        "keep_weights": keep_weights,
        "kept_windows": windows_per_thread if keep_weights else 1,
        "partials_per_pair": partials_per_pair,
        "threads_per_partial": groups // partials_per_pair,
    }


def share_dense(num_inputs, num_classes, threads, blocks, batch_size, scratch_size):
    """The part of the Plan for the dense update."""
    owned_inputs = ceil_div(num_inputs + 1, blocks)
    # At most so many inputs at a time that a chunk of threads // num_classes images fits into the scratch memory, and
    # so do their sums.
    fitting = scratch_size // (threads // num_classes | 1) - num_classes
    tile_inputs = min(owned_inputs, threads, fitting, scratch_size // (2 * num_classes))
    threads_per_input = 1  # the largest power of two for which threads and scratch memory suffice, and a warp at most
    while (
        2 * threads_per_input * tile_inputs <= threads
        and num_classes * tile_inputs * (2 * threads_per_input + 1) <= scratch_size
        and threads_per_input < WARP_SIZE
    ):
        threads_per_input *= 2
    rows = tile_inputs + num_classes
    loads = min(threads // tile_inputs, scratch_size // rows - 1), threads // num_classes
    chunk_images = chunk_size(batch_size, loads, threads_per_input, scratch_size // rows)
    images_per_activation_load, images_per_gradient_load = loads
    return {
        "owned_inputs": owned_inputs,
        "tile_inputs": tile_inputs,
        "num_tiles": ceil_div(owned_inputs, tile_inputs),
        "weights_per_thread": ceil_div(tile_inputs * num_classes, threads),
        "threads_per_input": threads_per_input,
        "chunk_images": chunk_images,
        "num_chunks": ceil_div(batch_size, chunk_images),
        "chunk_stride": chunk_row(chunk_images, loads),
        "sums_stride": tile_inputs * (threads_per_input + 1),
        "images_per_activation_load": images_per_activation_load,
        "activation_loads": ceil_div(chunk_images, images_per_activation_load),
        "images_per_gradient_load": images_per_gradient_load,
        "gradient_loads": ceil_div(chunk_images, images_per_gradient_load),
    }


def share_filters(num_filters, threads, blocks):
    """The part of the Plan for the update of the filters."""
    filter_values = FILTER_VALUES * num_filters
    owned_filter_values = ceil_div(filter_values, blocks)
    return {
        "filter_values": filter_values,
        "owned_filter_values": owned_filter_values,
        "filter_values_per_thread": ceil_div(owned_filter_values, threads),
        "gather_rounds": ceil_div(owned_filter_values * WARP_SIZE, threads),
        "gather_loads": ceil_div(blocks, WARP_SIZE),
    }


def scratch_numbers(threads):
    """Numbers of the scratch memory: two filters' values, and one more, of every thread; 2,048 at least."""
    return max((2 * FILTER_VALUES + 1) * threads, 2048)


def chunk_size(batch_size, loads, threads_per_input, longest_row):
    """Images of the batch at a time: all, halved until their row fits; a multiple of threads_per_input."""
    images = ceil_div(batch_size, threads_per_input) * threads_per_input
    while chunk_row(images, loads) > longest_row:
        images = ceil_div(ceil_div(images, 2), threads_per_input) * threads_per_input
    return images


def chunk_row(images, loads):
    """Numbers from one row of a chunk in shared memory to the next; a row has one input's or class's number per image.

    Loads bring whole groups of images (loads: of activations, of gradients), which may be more than the chunk has. An
    odd row puts the same image of neighbouring rows into different banks of shared memory, so that threads which read
    them do not wait (no bank conflict).
    """
    return max(ceil_div(images, load) * load for load in loads) | 1


# -- who owns what; the kernel runs these functions too ---------------------------------------------------------------


def owned_weight(plan, block, thread, tile, i):
    """The i-th dense weight that a thread owns in a tile of its block: (input, class, whether it exists).

    Input number K stands for the biases.
    """
    slot = thread + i * plan.threads
    in_block, c = tile * plan.tile_inputs + slot // plan.num_classes, slot % plan.num_classes
    k = block * plan.owned_inputs + in_block
    exists = (slot < plan.tile_inputs * plan.num_classes) & (in_block < plan.owned_inputs) & (k <= plan.num_inputs)
    return k, c, exists


def owned_filter_value(plan, block, row):
    """Value number `row` of those of the filters that a block owns: (its number, tap, filter, whether it exists).

    Tap 9 is the bias. Thread t keeps the rows t, t + threads, ...
    """
    value = block + row * plan.blocks
    return value, value // plan.num_filters, value % plan.num_filters, value < plan.filter_values


# -- what the plan needs ----------------------------------------------------------------------------------------------


def shared_bytes(plan):
    """Bytes of shared memory of a block that learns and distorts images."""
    images, distortion = 2 * PIXELS, PADDED * PADDED + NUM_DRAWS + NUM_COEFFICIENTS
    return 4 * (images + distortion + 2 * plan.num_classes + plan.scratch_size + plan.partial_sums_size)


def memory_sizes(plan):
    """Numbers of the arrays that pass work between the blocks: activations, gradients at the logits, of the filters.

    The first two have room for as many images as loads reach, which is more than the batch.
    """
    images = plan.num_chunks * plan.chunk_images + plan.chunk_stride
    return images * plan.num_inputs, images * plan.num_classes, plan.blocks * plan.filter_values


def max_registers(shape):
    """Registers that a thread may use so that all blocks of this Shape fit on a multiprocessor at once."""
    warps = ceil_div(shape.threads * shape.blocks_per_sm, WARP_SIZE * SCHEDULERS)  # that share a scheduler's registers
    return min(255, REGISTERS // SCHEDULERS // (warps * WARP_SIZE) // 8 * 8)
