"""The kernel that reads: who has what in its plan, and what it reads, whatever the number of filters and classes."""

import numpy as np
import pytest
from numba import cuda

from cnn_numpy import CNNNumpy
from epoch_gpu import as_words
from epoch_plan import PIXELS, WARP_SIZE
from model_file import Parameters
from network import initial_parameters
from reading_gpu import FILTERS, MAX_FILTERS_READ, Reader, reading_plan
from sizes import WINDOWS


def test_every_window_of_every_filter_is_read_by_exactly_one_thread():
    for filters in range(1, MAX_FILTERS_READ + 1):
        plan = reading_plan(filters, 10, False)
        times = np.zeros((filters, WINDOWS), int)
        for thread in range(WARP_SIZE):
            for turn in range(plan.rounds):
                f = (turn * plan.filter_groups + thread % plan.filter_groups) * plan.own_filters
                times[f : f + plan.own_filters, thread // plan.filter_groups :: plan.window_groups] += 1
        assert (times == 1).all()
        assert plan.own_filters == FILTERS or filters < FILTERS, "four weights come by one load"
        assert plan.words_per_thread * WARP_SIZE * 4 >= PIXELS


@pytest.mark.parametrize(
    ("filters", "classes", "relu"),
    [(8, 10, False), (3, 10, True), (6, 13, True), (12, 11, False), (1, 32, True), (34, 10, True)],
)
@pytest.mark.parametrize("count", [1, 3])
def test_what_it_reads_is_what_numpy_reads(filters, classes, relu, count):
    random = np.random.default_rng(filters)
    start = initial_parameters(filters, 5, classes)
    biases = [random.standard_normal(n).astype(np.float32) for n in (filters, classes)]
    parameters = Parameters(start.filters, biases[0] if relu else start.filter_biases, start.weights, biases[1])
    images = random.integers(0, 256, (count, 28, 28), np.uint8)
    wanted = CNNNumpy(filters, "relu" if relu else "none", 5, classes, parameters)
    flat = parameters.filters, parameters.filter_biases, np.ascontiguousarray(parameters.weights.T), parameters.biases
    reader = Reader(filters, classes, relu, [cuda.to_device(array.reshape(array.size)) for array in flat])
    logits, probabilities = (array.copy_to_host() for array in reader.read(cuda.to_device(as_words(images))))
    np.testing.assert_allclose(logits, wanted.logits(images), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(probabilities, wanted.predict(images), rtol=1e-5, atol=1e-6)
