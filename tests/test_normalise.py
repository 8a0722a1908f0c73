"""Digits in the form of MNIST: their size, place, slant and stroke width, whatever pen and picture they come from."""

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from photos.normalise import STROKE_WIDTH, normalise


def centre_of_mass(crop):
    total = crop.sum(dtype=float)
    return (crop.sum(axis=1) @ np.arange(28)) / total, (crop.sum(axis=0) @ np.arange(28)) / total


def stroke_image(points, thickness, side=120):
    image = np.zeros((side, side), np.uint8)
    cv2.polylines(image, [np.array(points, np.int32)], False, 255, thickness, cv2.LINE_AA)
    return image


POINTS = st.lists(st.tuples(st.integers(15, 105), st.integers(15, 105)), min_size=2, max_size=6).filter(
    lambda points: max(max(side) - min(side) for side in zip(*points, strict=True)) > 40
)


@settings(max_examples=60, deadline=None)
@given(POINTS, st.integers(3, 14))
@example([(15, 15), (51, 59), (16, 36), (54, 36), (67, 93)], 14)  # half of it is filled: the rest becomes faint
def test_normalised_digits_are_20_pixels_long_and_centred(points, thickness):
    crop = normalise(stroke_image(points, thickness))
    assert crop.shape == (28, 28)
    assert crop.dtype == np.uint8
    _, _, width, height = cv2.boundingRect((crop > 25).astype(np.uint8))
    assert 18 <= max(width, height) <= 20
    _, _, width, height = box = cv2.boundingRect((crop > 0).astype(np.uint8))
    for middle, start, side in zip(centre_of_mass(crop), (box[1], box[0]), (height, width), strict=True):
        at_edge = start == 0 or start + side == 28  # very lopsided: moved no further than the edge
        assert at_edge or abs(middle - 13.5) <= 0.75


@pytest.mark.parametrize("factor", (2, 5))
def test_normalise_does_not_see_the_size(mnist, factor):
    changes = []
    for image in mnist.test_images[:50]:
        large = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
        changes.append(np.abs(normalise(image).astype(int) - normalise(large)).mean())
    assert np.mean(changes) < 6
    other = [
        np.abs(normalise(a).astype(int) - normalise(b)).mean()
        for a, b in zip(mnist.test_images[:50], mnist.test_images[1:51], strict=True)
    ]
    assert np.mean(other) > 25  # that is how much two digits differ


def test_normalise_keeps_the_aspect():
    image = np.zeros((100, 100), np.uint8)
    cv2.rectangle(image, (10, 30), (90, 70), 255, 6)
    _, _, width, height = cv2.boundingRect((normalise(image) > 100).astype(np.uint8))
    assert width / height == pytest.approx(86 / 46, rel=0.15)


@pytest.mark.parametrize("thickness", (4, 8, 16))
def test_normalise_brings_strokes_to_one_width(thickness):
    image = np.zeros((160, 160), np.uint8)
    cv2.circle(image, (80, 80), 60, 255, thickness)
    widths = (normalise(image).astype(float) / 255).sum(axis=1)[13:15].mean() / 2  # a row crosses the ring twice
    assert widths == pytest.approx(STROKE_WIDTH, abs=0.4)


def test_normalise_straightens():
    upright, slanted = (np.zeros((120, 120), np.uint8) for _ in range(2))
    cv2.line(upright, (60, 15), (60, 105), 255, 8)
    cv2.line(slanted, (80, 15), (40, 105), 255, 8)
    for image in (upright, slanted):
        _, _, width, height = cv2.boundingRect((normalise(image) > 100).astype(np.uint8))
        assert height == 20
        assert width <= 4


def test_normalise_changes_little_the_second_time(mnist):
    once = [normalise(image) for image in mnist.test_images[:200]]
    changes = [np.abs(normalise(image).astype(int) - image).mean() for image in once]
    assert np.mean(changes) < 10
    assert np.mean([np.abs(normalise(image).astype(int) - image).mean() for image in mnist.test_images[:200]]) > 10


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (28, 28), (300, 5)])
def test_normalise_takes_any_shape(shape):
    assert not normalise(np.zeros(shape, np.uint8)).any()
    assert normalise(np.full(shape, 255, np.uint8)).any()
