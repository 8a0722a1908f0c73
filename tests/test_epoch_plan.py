"""The plan of the one-launch kernel, in plain Python: also for many blocks, which the simulator cannot run.

Everything here is held against what it means, for every number of multiprocessors and filters that hypothesis tries.
"""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import epoch_plan
from epoch_plan import (
    FILTER_VALUES,
    MANY_IMAGES_A_BLOCK,
    MAX_FILTERS,
    MAX_SHARED,
    ONE_IMAGE_A_BLOCK,
    SIMULATOR,
    WARP_SIZE,
    make_plan,
    max_registers,
    memory_sizes,
    owned_filter_value,
    owned_weight,
    shared_bytes,
)
from network import MAX_BATCH
from sizes import WINDOWS

LARGEST_INDEX = 2**31 - 1
CLASSES = (10, 11, 13, 32)


@st.composite
def plans(draw):
    """(plan, shape) for 1 to 144 multiprocessors, 1 to 192 filters, any batch, and 10 classes or more."""
    shape = draw(st.sampled_from((ONE_IMAGE_A_BLOCK, MANY_IMAGES_A_BLOCK)))
    multiprocessors = draw(st.integers(1, 144))
    filters = draw(st.integers(1, MAX_FILTERS))
    batch_size = draw(st.one_of(st.integers(1, 1100), st.integers(1, MAX_BATCH)))
    classes = draw(st.sampled_from(CLASSES))
    blocks = shape.blocks_per_sm * multiprocessors
    return make_plan(filters, draw(st.booleans()), shape, blocks, batch_size, True, classes), shape


def planned(filters, shape, multiprocessors, batch_size, classes=10):
    return make_plan(filters, True, shape, shape.blocks_per_sm * multiprocessors, batch_size, True, classes), shape


many = settings(max_examples=150, deadline=None)


def counted(rows, columns, count_rows, count_columns):
    """How often each place of a (rows, columns) table is named."""
    return np.bincount(rows * count_columns + columns, minlength=count_rows * count_columns)


@many
@given(plans())
@example(planned(1, ONE_IMAGE_A_BLOCK, 1, 1))
@example(planned(192, MANY_IMAGES_A_BLOCK, 144, 1024))
@example(planned(192, ONE_IMAGE_A_BLOCK, 1, 64))
def test_every_dense_weight_and_bias_is_owned_exactly_once(made):
    plan, _ = made
    axes = (np.arange(n) for n in (plan.blocks, plan.threads, plan.num_tiles, plan.weights_per_thread))
    block, thread, tile, i = np.meshgrid(*axes, indexing="ij", sparse=True)
    k, c, exists = np.broadcast_arrays(*owned_weight(plan, block, thread, tile, i))
    times = counted(k[exists], c[exists], plan.num_inputs + 1, plan.num_classes)  # input number K: the biases
    assert (times == 1).all()


@many
@given(plans())
def test_every_value_of_the_filters_is_owned_exactly_once(made):
    plan, _ = made
    axes = (np.arange(n) for n in (plan.blocks, plan.threads, plan.filter_values_per_thread))
    block, thread, i = np.meshgrid(*axes, indexing="ij", sparse=True)
    row = thread + i * plan.threads
    value, tap, f, exists = np.broadcast_arrays(*owned_filter_value(plan, block, row))
    assert (value == tap * plan.num_filters + f).all(), "the place in grad_filters"
    times = counted(tap[exists], f[exists], FILTER_VALUES, plan.num_filters)
    assert (times == 1).all()
    # What the block's warps add up lies in a row for each value: see update_filters.
    rows = row[np.broadcast_to(exists.any(axis=0), (1, *exists.shape[1:]))]
    assert rows.max(initial=0) < plan.owned_filter_values


@many
@given(plans())
def test_every_window_of_every_filter_is_learned_by_exactly_one_thread(made):
    plan, _ = made
    thread = np.arange(plan.threads)[:, None]
    pair, group = thread % plan.filter_pairs, thread // plan.filter_pairs
    window = group + np.arange(plan.windows_per_thread) * plan.groups
    exists = (group < plan.groups) & (window < WINDOWS)
    times = counted(np.broadcast_to(pair, window.shape)[exists], window[exists], plan.filter_pairs, WINDOWS)
    assert (times == 1).all()
    assert 2 * plan.filter_pairs - plan.num_filters == (0 if plan.even else 1)


@many
@given(plans())
@example(planned(192, MANY_IMAGES_A_BLOCK, 1, MAX_BATCH))
@example(planned(1, ONE_IMAGE_A_BLOCK, 144, 1000, 32))
@example(planned(1, MANY_IMAGES_A_BLOCK, 144, 1000, 32))
@example(planned(192, ONE_IMAGE_A_BLOCK, 1, 1000, 32))
def test_what_a_block_needs_fits_into_its_scratch_memory(made):
    plan, _ = made
    rows = plan.tile_inputs + plan.num_classes
    assert rows * plan.chunk_stride <= plan.scratch_size, "a chunk of the batch"
    assert plan.num_classes * plan.sums_stride <= plan.scratch_size, "the sums of a tile"
    assert 2 * FILTER_VALUES * plan.threads <= plan.scratch_size, "the gradients of all threads' filters"
    columns = plan.partials_per_pair * plan.filter_pairs
    assert 2 * FILTER_VALUES * (columns + 1) <= plan.partial_sums_size, "the filters' partial sums"
    assert plan.partial_sums_size >= plan.num_classes * (WARP_SIZE + 1), "the logits' partial sums"
    assert plan.owned_filter_values * (WARP_SIZE + 1) <= plan.partial_sums_size, "what all blocks left for the filters"


@many
@given(plans())
def test_a_chunk_is_loaded_whole_and_its_images_are_shared_out_evenly(made):
    plan, _ = made
    assert plan.num_chunks * plan.chunk_images >= plan.batch_size > (plan.num_chunks - 1) * plan.chunk_images
    assert plan.chunk_images % plan.threads_per_input == 0
    assert 1 <= plan.threads_per_input <= WARP_SIZE
    assert plan.tile_inputs * plan.threads_per_input <= plan.threads
    assert plan.chunk_stride % 2 == 1, "an odd row spreads over the banks"
    for loads, images in (
        (plan.activation_loads, plan.images_per_activation_load),
        (plan.gradient_loads, plan.images_per_gradient_load),
    ):
        assert images >= 1 and plan.chunk_images <= loads * images <= plan.chunk_stride


@many
@given(plans())
def test_loads_reach_no_further_than_the_memory_between_the_blocks(made):
    plan, _ = made
    activations, gradients, filters = memory_sizes(plan)
    last_chunk = (plan.num_chunks - 1) * plan.chunk_images
    reached = last_chunk + plan.activation_loads * plan.images_per_activation_load
    assert reached * plan.num_inputs <= activations
    reached = last_chunk + plan.gradient_loads * plan.images_per_gradient_load
    assert reached * plan.num_classes <= gradients
    assert filters == plan.blocks * FILTER_VALUES * plan.num_filters
    assert plan.gather_loads * WARP_SIZE >= plan.blocks
    assert plan.gather_rounds * plan.threads >= plan.owned_filter_values * WARP_SIZE


def test_the_largest_index_of_any_plan_fits_into_31_bits():
    for shape in (ONE_IMAGE_A_BLOCK, MANY_IMAGES_A_BLOCK):
        for multiprocessors in (1, 16, 80, 132, 144):
            for classes in CLASSES:
                plan, _ = planned(MAX_FILTERS, shape, multiprocessors, MAX_BATCH, classes)
                assert max(memory_sizes(plan)) <= LARGEST_INDEX


@many
@given(plans())
def test_the_first_sums_over_a_block_take_every_thread_once(made):
    """Threads with equal (thread % columns) are added; all of them must have the same pair of filters."""
    plan, _ = made
    columns = plan.partials_per_pair * plan.filter_pairs
    assert plan.threads_per_partial * columns == plan.groups * plan.filter_pairs
    assert plan.filter_pairs * plan.groups <= plan.threads
    assert (np.arange(plan.threads) % columns % plan.filter_pairs == np.arange(plan.threads) % plan.filter_pairs).all()


@pytest.mark.parametrize("shape", [ONE_IMAGE_A_BLOCK, MANY_IMAGES_A_BLOCK])
def test_the_registers_of_all_blocks_fit_on_a_multiprocessor(shape):
    assert max_registers(shape) * shape.threads * shape.blocks_per_sm <= epoch_plan.REGISTERS
    assert max_registers(shape) >= 96, "with fewer registers the kernel spills"


@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize("filters", [1, 8, 32, 64])
def test_the_networks_of_the_readme_fit_into_a_block(filters, classes):
    for shape in (ONE_IMAGE_A_BLOCK, MANY_IMAGES_A_BLOCK):
        plan, _ = planned(filters, shape, 132, 1024, classes)
        assert shared_bytes(plan) <= MAX_SHARED


@many
@given(plans())
def test_every_class_has_a_thread_of_its_own(made):
    plan, _ = made
    assert plan.num_classes <= WARP_SIZE and plan.threads - plan.last_warp == WARP_SIZE


def test_an_example_by_hand():
    """8 filters on 132 multiprocessors at batch 64: the network of the articles on an H100."""
    plan, _ = planned(8, ONE_IMAGE_A_BLOCK, 132, 64)
    assert plan.filter_pairs == 4 and plan.groups == 384 // 4
    assert plan.windows_per_thread == 2 and plan.keep_weights  # 169 windows over 96 groups
    assert plan.num_inputs == 1352 and plan.owned_inputs == 11  # 1,353 inputs with the biases' one, over 132 blocks
    assert plan.tile_inputs == 11 and plan.num_tiles == 1
    assert plan.threads_per_input == 32 and plan.chunk_images == 64 and plan.num_chunks == 1
    assert plan.owned_filter_values == 1  # 80 values: 80 of the blocks have one each


def test_the_simulator_takes_every_number_of_filters_that_it_promises():
    for filters in range(1, 2 * SIMULATOR.threads + 1):
        plan = make_plan(filters, True, SIMULATOR, SIMULATOR.blocks_per_sm)
        assert plan.groups >= 1 and plan.filter_pairs <= plan.threads
