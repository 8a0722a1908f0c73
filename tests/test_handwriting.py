"""Digits written from strokes: whole, in their image, each label its own, and the same for the same generator."""

import cv2
import numpy as np
import pytest

from photos import glyph, handwriting
from photos.handwriting import FORMS, HEIGHT, HEIGHTS, WIDTH, round_corners, write_digit, write_strokes
from photos.normalise import normalise

pytest_plugins = ["photo_fixtures"]

WRITERS = 60


@pytest.fixture(scope="module")
def written():
    """(10, WRITERS, HEIGHT, WIDTH): each digit by many writers."""
    return np.array([[write_digit(d, np.random.default_rng([w, d])) for w in range(WRITERS)] for d in range(10)])


def holes(image):
    """How many parts the paper within and around the ink has, less the one around it."""
    return cv2.connectedComponents(np.pad(image < 128, 1, constant_values=True).astype(np.uint8), connectivity=4)[0] - 2


def test_a_digit_is_ink_with_paper_all_around(written):
    assert written.shape == (10, WRITERS, HEIGHT, WIDTH) and written.dtype == np.uint8
    assert (written.max(axis=(2, 3)) > 200).all()  # a thin line between two pixels darkens none of them wholly
    border = np.ones((HEIGHT, WIDTH), bool)
    border[1:-1, 1:-1] = False
    assert not written[:, :, border].any()


def test_digits_have_their_height(written):
    for image in written.reshape(-1, HEIGHT, WIDTH):
        rows = np.flatnonzero(image.max(axis=1) > 127)
        assert 0.7 * HEIGHTS[0] < np.ptp(rows) + 1 < 1.5 * HEIGHTS[1]


def test_the_generator_alone_decides():
    for digit in range(10):
        first, again, other = (write_digit(digit, np.random.default_rng(seed)) for seed in (1, 1, 2))
        np.testing.assert_array_equal(first, again)
        assert (first != other).any()


def test_writers_differ_in_what_they_close(written):
    """Most close their zeros and eights, and not all; bundles of lines apart, a 2, 3, 5 or 7 has two holes at most."""
    count = np.array([[holes(image) for image in images] for images in written])
    assert 0.5 < (count[0] >= 1).mean() < 1
    assert 0.3 < (count[8] >= 2).mean() < 1
    assert 0.1 < (count[4] == 0).mean() < 0.9
    assert (count[[2, 3, 5, 7]] <= 2).mean() > 1 - handwriting.BUNDLED


def test_some_strokes_are_bundles_of_thin_lines(monkeypatch):
    """The same stroke in several lines is ink in more places, or thinner, and all in all nearly where one line is."""
    stroke = [[(0.5, 0), (0.5, 0.5), (0.5, 1)]]
    images = {}
    for share in (0, 1):
        monkeypatch.setattr(handwriting, "BUNDLED", share)
        images[share] = [write_strokes(stroke, np.random.default_rng(seed)) for seed in range(40)]
    parts = {
        share: np.array([cv2.connectedComponents((image > 127).astype(np.uint8))[0] - 1 for image in drawn])
        for share, drawn in images.items()
    }
    assert (parts[0] == 1).all() and (parts[1] <= 4).all()
    thickness = {share: np.mean([glyph.stroke_width((image > 127).astype(np.uint8)) for image in drawn])
                 for share, drawn in images.items()}  # fmt: skip
    assert thickness[1] < thickness[0]


def test_fours_have_three_forms():
    """One stroke like lightning, or two that cross, or two that stay apart."""
    strokes = [len(FORMS[4](np.random.default_rng(seed))) for seed in range(200)]
    assert 5 < strokes.count(1) < 60 and strokes.count(1) + strokes.count(2) == 200


def test_a_path_begins_and_ends_at_its_ends_and_cuts_corners():
    points = np.array([(0, 0), (10, 0), (10, 10)], float)
    path = round_corners(points)
    np.testing.assert_array_equal(path[[0, -1]], points[[0, -1]])
    distance = np.linalg.norm(path - (10, 0), axis=1).min()
    assert 0.5 < distance < 3
    sharp = round_corners(points[[0, 1, 1, 2]])
    assert np.linalg.norm(sharp - (10, 0), axis=1).min() < 0.5


def test_what_is_written_reads_as_what_it_is(written, shipped):
    """The shipped network reads nearly all: they are digits, with the right labels."""
    crops = np.array([normalise(image) for image in written.reshape(-1, HEIGHT, WIDTH)])
    right = shipped.predict(crops).argmax(axis=1).reshape(10, WRITERS) == np.arange(10)[:, None]
    assert right.mean() > 0.9, right.mean(axis=1)
    assert right.mean(axis=1).min() > 0.7, right.mean(axis=1)
