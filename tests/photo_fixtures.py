"""Fixtures of the photo reader's tests; a test file gets them by `pytest_plugins = ["photo_fixtures"]`."""

import pytest


@pytest.fixture(scope="session")
def digits(mnist):
    """For each digit 0..9, its images in MNIST's test set: what `Page` writes with."""
    return [mnist.test_images[mnist.test_labels == digit] for digit in range(10)]


@pytest.fixture(scope="session")
def shipped():
    """The model in weights/, on the CPU."""
    from volume.work import DEFAULT_MODEL, load_model

    return load_model(DEFAULT_MODEL, "cpu")


@pytest.fixture(scope="session")
def find_digits(shipped):
    """A function: picture (h, w, 3) uint8 -> the digits that the shipped model finds in it, in reading order.

    size: (width, height) of the whole picture, if this is a smaller copy.
    """
    from photos.reading import read_picture

    return lambda picture, size=None: read_picture(picture, shipped, size).digits
