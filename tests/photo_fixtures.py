"""Fixtures of the photo reader's tests; a test file gets them by `pytest_plugins = ["photo_fixtures"]`."""

import pytest


@pytest.fixture(scope="session")
def digits(mnist):
    """For each digit 0..9, its images in MNIST's test set: what `Page` writes with."""
    return [mnist.test_images[mnist.test_labels == digit] for digit in range(10)]


@pytest.fixture(scope="session")
def shipped():
    """The model in weights/, on the CPU."""
    from analyze import DEFAULT_MODEL, load_model

    return load_model(DEFAULT_MODEL, "cpu")
