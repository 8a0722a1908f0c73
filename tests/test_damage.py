"""Damaged digits: small damage, so that they stay what they are."""

import cv2
import numpy as np
import pytest

from photos.damage import DAMAGES, TALL, damage, enlarge
from photos.normalise import normalise

pytest_plugins = ["photo_fixtures"]


@pytest.fixture(scope="module")
def enlarged(mnist):
    """Masks of 40 digits, as the damages take them."""
    return [enlarge(mnist.train_images[i], np.random.default_rng(i)) for i in range(40)]


def test_the_generator_alone_decides(mnist):
    image = mnist.train_images[0]
    first, again, other = (damage(image, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert first.shape != other.shape or (first != other).any()


def test_digits_are_enlarged_turned_and_stretched(mnist):
    shapes = np.array([cv2.boundingRect(enlarge(mnist.train_images[7], np.random.default_rng(i)))[2:]
                       for i in range(100)])  # fmt: skip
    assert shapes.max(axis=1).min() > 0.85 * TALL and shapes.max() < 2.5 * TALL
    aspects = shapes[:, 0] / shapes[:, 1]
    assert aspects.max() > 2 * aspects.min()


@pytest.mark.parametrize("hurt", DAMAGES, ids=lambda hurt: hurt.__name__)
def test_a_damage_changes_little(enlarged, hurt):
    """Most of the ink stays where it was, and the mask that was given is not changed."""
    for i, mask in enumerate(enlarged):
        before = mask.copy()
        damaged = hurt(mask, np.random.default_rng(i))
        np.testing.assert_array_equal(mask, before)
        assert damaged.shape == mask.shape and damaged.dtype == np.uint8 and set(np.unique(damaged)) <= {0, 1}
        assert (damaged & mask).sum() > 0.2 * mask.sum()
        assert damaged.sum() < 3 * mask.sum()


def test_damaged_digits_are_still_read(mnist, shipped):
    images, labels = mnist.test_images[:200], mnist.test_labels[:200]
    crops = [normalise(damage(image, np.random.default_rng(i))) for i, image in enumerate(images)]
    assert (shipped.predict(np.array(crops)).argmax(axis=1) == labels).mean() > 0.88


def test_an_image_without_ink_stays_empty():
    assert not damage(np.zeros((28, 28), np.uint8), np.random.default_rng(0)).any()
