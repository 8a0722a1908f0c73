"""What is no digit: parts, several digits and marks, in the classes after the digits."""

import cv2
import numpy as np
import pytest

from photos import marks, no_digit
from photos.marks import MARKS, draw_mark, largest_part, like_a_one
from photos.no_digit import CUTS, MARK, PART, SEVERAL, draw_no_digit, draw_part, draw_several
from photos.normalise import normalise
from sizes import NUM_CLASSES, PHOTO_CLASSES


def drawn(mnist, seed, count=150):
    images, labels = mnist.train_images, mnist.train_labels
    return [
        draw_no_digit((images[i], labels[i]), (images[i + 1], labels[i + 1]), np.random.default_rng([seed, i]))
        for i in range(count)
    ]


def mask_of(mnist, i):
    return no_digit.trim((cv2.resize(mnist.train_images[i], None, fx=3, fy=3) > 127).astype(np.uint8))


def test_the_classes_follow_the_digits_and_all_occur(mnist):
    labels = [label for _, label in drawn(mnist, 0)]
    assert set(labels) == {PART, SEVERAL, MARK} == set(range(NUM_CLASSES, PHOTO_CLASSES))
    assert all(0.2 < labels.count(label) / len(labels) < 0.5 for label in (PART, SEVERAL, MARK))


def test_the_generator_alone_decides(mnist):
    for (image, label), (again, again_label) in zip(drawn(mnist, 1, 40), drawn(mnist, 1, 40), strict=True):
        assert label == again_label
        np.testing.assert_array_equal(image, again)
    other = [image for image, _ in drawn(mnist, 2, 40)]
    assert any(a.shape != b.shape or (a != b).any() for (a, _), b in zip(drawn(mnist, 1, 40), other, strict=True))


def test_all_have_ink_that_normalises(mnist):
    for image, _ in drawn(mnist, 3, 100):
        assert image.dtype == np.uint8 and image.max() > 127
        assert normalise(image).any()


def test_an_image_without_ink_is_replaced_by_a_written_digit():
    blank = np.zeros((28, 28), np.uint8)
    for seed in range(30):
        image, label = draw_no_digit((blank, 0), (blank, 1), np.random.default_rng(seed))
        assert image.any() and label in (PART, SEVERAL, MARK)


# -- parts ------------------------------------------------------------------------------------------------------------


def test_a_part_is_one_piece_without_holes_and_far_from_whole(mnist):
    count = 0
    for i in range(200):
        mask, label = mask_of(mnist, i), int(mnist.train_labels[i])
        part = draw_part(mask, label, np.random.default_rng(i))
        if part is None:
            continue
        count += 1
        part = part // 255
        assert cv2.connectedComponents(part)[0] == 2 and no_digit.count_holes(part) == 0
        assert 0.2 < part.sum() / mask.sum() <= CUTS[label][1] + 0.03
        assert not like_a_one(part)
    assert count > 80


def test_what_looks_like_a_digit_when_it_is_cut_is_not_cut(mnist):
    """A 1, and a 7; and of a 9 only the upper part is taken, because the lower one is a 1."""
    for label in (1, 7):
        mask = mask_of(mnist, int(np.flatnonzero(mnist.train_labels == label)[0]))
        assert draw_part(mask, label, np.random.default_rng(0)) is None
    mask = mask_of(mnist, int(np.flatnonzero(mnist.train_labels == 9)[0]))
    heights = [len(part) for seed in range(20) if (part := draw_part(mask, 9, np.random.default_rng(seed))) is not None]
    assert heights and max(heights) < 0.8 * len(mask)


# -- several ----------------------------------------------------------------------------------------------------------


def test_several_digits_have_more_ink_than_one_and_are_wider_or_taller(mnist):
    for i in range(100):
        first, second = ((mask_of(mnist, k), int(mnist.train_labels[k])) for k in (i, i + 1))
        both = draw_several(first, second, np.random.default_rng(i)) // 255
        assert both.sum() > 1.02 * first[0].sum()
        assert both.shape[1] > first[0].shape[1] or both.shape[0] > first[0].shape[0]


@pytest.mark.parametrize("gap", [0.2, 0.0, -0.1])
def test_the_gap_is_where_the_ink_comes_closest(gap):
    square = np.ones((60, 40), np.uint8)
    widths = [no_digit.set_beside(square, square, gap, np.random.default_rng(seed)).shape[1] for seed in range(20)]
    assert all(abs(width - (40 + gap * 60)) < 65 for width in widths)
    assert np.std(widths) > 0  # the second has another size
    parts = {cv2.connectedComponents(no_digit.set_beside(square, square, gap, np.random.default_rng(seed)))[0] - 1
             for seed in range(20)}  # fmt: skip
    assert parts == ({2} if gap > 0 else {1})


# -- marks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", MARKS)
def test_every_kind_of_mark_is_ink_and_no_upright_stroke(kind):
    for seed in range(20):
        image = draw_mark(np.random.default_rng(seed), kind)
        assert image.dtype == np.uint8 and image.shape == (marks.HEIGHT, marks.WIDTH)
        assert (image > 127).any() and not like_a_one((image > 127).astype(np.uint8))


def test_shares_of_the_marks_add_up():
    assert sum(share for share, _ in MARKS.values()) == pytest.approx(1)


def test_upright_strokes_are_like_a_one_and_rings_crosses_and_colons_are_not():
    image = np.zeros((60, 60), np.uint8)
    upright = cv2.line(image.copy(), (25, 5), (35, 55), 1, 5)
    assert like_a_one(upright)
    assert not like_a_one(cv2.line(image.copy(), (5, 30), (55, 25), 1, 5))
    assert not like_a_one(cv2.circle(image.copy(), (30, 30), 20, 1, 4))
    assert not like_a_one(cv2.line(upright.copy(), (5, 30), (55, 30), 1, 5))
    assert not like_a_one(cv2.circle(cv2.circle(image.copy(), (30, 8), 4, 1, -1), (30, 50), 4, 1, -1))


def test_the_largest_part():
    mask = np.zeros((10, 20), np.uint8)
    mask[1:4, 1:4] = mask[2:9, 8:18] = 1
    found = largest_part(mask)
    assert found.sum() == 70 and found[5, 10] == 1 and found[2, 2] == 0
    assert not largest_part(np.zeros((5, 5), np.uint8)).any()
