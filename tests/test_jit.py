"""What is the CPU threads' own: how they lay out an image, which maximum wins, and any number of filters and images.

That they learn what the other engines learn is in test_networks.py.
"""

import numpy as np
import pytest
import reference
from numpy.lib.stride_tricks import sliding_window_view

from cnn_jit import CNNJit, convolve_and_pool, pixel_under, split_columns
from network import epoch_order, initial_parameters, scale
from sizes import WINDOWS


def split(image):
    columns = np.full((2, 4, 14 * 13), np.nan, np.float32)
    split_columns(image, columns)
    return columns


def test_every_filter_finds_the_pixels_under_it(mnist):
    image = mnist.train_images[0]
    columns = split(image)
    patches = sliding_window_view(scale(image), (3, 3))  # (26, 26, 3, 3)
    for window in range(WINDOWS):
        for place in range(4):
            wanted = patches[2 * (window // 13) + place // 2, 2 * (window % 13) + place % 2].ravel()
            found = [pixel_under(columns, window, place, tap) for tap in range(9)]
            np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_of_equal_places_the_first_wins(mnist):
    """Places that see the same 3x3 pixels are equal to the last bit, with any filter."""
    taps = initial_parameters(16, 3).filters.reshape(16, 9)
    pooled, winners = np.empty((16, WINDOWS), np.float32), np.empty((16, WINDOWS), np.int32)
    for image in mnist.train_images[:20]:
        convolve_and_pool(split(image), taps, np.zeros(16, np.float32), False, pooled, winners)
        patches = sliding_window_view(image, (3, 3)).reshape(13, 2, 13, 2, 9).swapaxes(1, 2).reshape(WINDOWS, 4, 9)
        same = (patches[:, :, None] == patches[:, None]).all(axis=3)  # (169, 4, 4)
        first = same.argmax(axis=2)  # of each place, the first place that sees the same
        assert (first != np.arange(4)).sum() > 100, "an image without ties tests nothing"
        np.testing.assert_array_equal(first[np.arange(WINDOWS), winners], winners)


@pytest.mark.parametrize("activation", ["none", "relu"])
@pytest.mark.parametrize("filters, count, batch_size", [(1, 3, 1), (5, 70, 64), (8, 9, 8), (17, 40, 40)])
def test_any_number_of_filters_and_images(filters, count, batch_size, activation, mnist):
    """Neither need fill a vector unit, nor the threads."""
    images, labels = mnist.train_images[:count], mnist.train_labels[:count]
    network = CNNJit(filters, activation, seed=7)
    start = network.parameters
    network.fit(images, labels, 1, batch_size, learning_rate=0.1)
    wanted, _ = reference.train(
        start, images, labels, [epoch_order(7, 0, count)], batch_size, 0.1, activation == "relu"
    )
    for found, array in zip(network.parameters, wanted, strict=True):
        np.testing.assert_allclose(found, array, rtol=2e-5, atol=2e-6)
