"""Glyphs are cut where that may be right, and all their ink stays."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from photos.cutting import MAX_CUTS, MOST_INK, cut
from photos.glyph import Glyph

HEIGHT = 100  # of a digit, in pixels


def drawn(*strokes, thickness=10, x=7, y=11):
    """A Glyph of strokes, each a list of points in a picture of 400x200 pixels."""
    ink = np.zeros((200, 400), np.uint8)
    for points in strokes:
        cv2.polylines(ink, [np.array(points, np.int32)], False, 1, thickness)
    left, top, width, height = cv2.boundingRect(ink)
    return Glyph(x, y, ink[top : top + height, left : left + width])


def ring(x, y, across, down):
    return cv2.ellipse2Poly((x, y), (across, down), 0, 0, 360, 5)


ZERO = ring(60, 100, 32, 50)
EIGHT = ring(60, 75, 25, 25), ring(60, 125, 28, 25)
THREE = [(130, 50), (185, 50), (150, 90), (190, 115), (170, 150), (130, 148)]
SEVEN = [(85, 52), (150, 50), (118, 150)]


def check_pieces(glyph, pieces):
    """The pieces hold each pixel of ink once and nothing else; their boxes are as small as their ink."""
    counted = np.zeros_like(glyph.mask)
    for piece in pieces:
        left, top = piece.x - glyph.x, piece.y - glyph.y
        assert left >= 0 and top >= 0
        counted[top : top + piece.height, left : left + piece.width] += piece.mask
        assert all(side.any() for side in (piece.mask[0], piece.mask[-1], piece.mask[:, 0], piece.mask[:, -1]))
    np.testing.assert_array_equal(counted, glyph.mask)
    assert len(pieces) <= MAX_CUTS + 1


def lean_over(points, lean):
    """The points, moved to the right by so many pixels for each pixel that they are higher."""
    points = np.array(points, float)
    return np.stack([points[:, 0] - lean * (points[:, 1] - 100), points[:, 1]], axis=1).round().astype(np.int32)


def share_of(piece, glyph, other):
    """How much of a piece of a glyph lies on the ink of another glyph with the same box."""
    left, top = piece.x - glyph.x, piece.y - glyph.y
    return (other[top : top + piece.height, left : left + piece.width] & piece.mask).sum() / piece.area


@pytest.mark.parametrize("lean", (-0.3, 0.0, 0.3))
def test_two_digits_that_touch_are_cut_where_they_touch(lean):
    """Each of two rings is one of the pieces, but for the short stroke that joins them."""
    rings = [lean_over(ring(x, 100, 30, 48), lean) for x in (100, 176)]
    glyph = drawn(*rings, lean_over([(125, 100), (151, 100)], lean))
    pieces = cut(glyph, HEIGHT)
    check_pieces(glyph, pieces)
    assert len(pieces) == 2
    corner = np.min(np.concatenate(rings), axis=0) - 5
    for piece, points in zip(pieces, rings, strict=True):
        alone = np.zeros_like(glyph.mask)
        cv2.polylines(alone, [points - corner], False, 1, 10)
        assert share_of(piece, glyph, alone) > 0.95 and abs(piece.area - alone.sum()) < 0.05 * alone.sum()


def test_two_digits_joined_by_a_stroke_are_cut_between_them():
    glyph = drawn(ZERO, [(90, 100), (135, 148)], THREE)
    pieces = cut(glyph, HEIGHT)
    check_pieces(glyph, pieces)
    assert len(pieces) >= 2
    first = glyph.x + 60 + 32 + 10 - 28  # the first digit ends here, in pixels of the picture
    assert any(abs(piece.right - first) < 25 for piece in pieces)


@pytest.mark.parametrize("strokes", [(ZERO,), EIGHT, ([(60, 50), (60, 150)],)], ids=("zero", "eight", "one"))
def test_a_loop_is_not_cut_through(strokes):
    """A line through it would cross two strokes. Nor is a 1 cut."""
    glyph = drawn(*strokes)
    pieces = cut(glyph, HEIGHT)
    check_pieces(glyph, pieces)
    assert len(pieces) == 1 and pieces[0].area == glyph.area


def test_what_is_joined_broadly_is_not_cut():
    """The line would run through more ink than some strokes are wide."""
    rings = ring(100, 100, 30, 60), ring(176, 100, 30, 60)
    bridges = [[(133, y), (143, y)] for y in range(40, 161, 5)]
    narrow, broad = drawn(*rings, bridges[12]), drawn(*rings, *bridges)
    assert len(cut(narrow, HEIGHT)) == 2
    assert MOST_INK * broad.stroke < 120 and len(cut(broad, HEIGHT)) == 1


def test_cuts_are_few_and_apart():
    """Along a wave that could be cut anywhere."""
    x = np.arange(20, 380, 3)
    glyph = drawn(np.stack([x, 100 + 40 * np.sin(x / 20)], axis=1).astype(int))
    pieces = cut(glyph, HEIGHT)
    check_pieces(glyph, pieces)
    assert len(pieces) == MAX_CUTS + 1
    assert all(piece.width > 0.15 * HEIGHT for piece in pieces)


def test_a_large_glyph_is_cut_in_the_same_places():
    """It is looked at in less detail."""
    glyph = drawn(SEVEN, THREE)
    large = Glyph(0, 0, cv2.resize(glyph.mask, None, fx=5, fy=5, interpolation=cv2.INTER_NEAREST))
    pieces, large_pieces = cut(glyph, HEIGHT), cut(large, 5 * HEIGHT)
    check_pieces(large, large_pieces)
    assert len(pieces) == len(large_pieces) > 1
    for piece, other in zip(pieces, large_pieces, strict=True):
        assert abs(5 * (piece.x - glyph.x) - other.x) < HEIGHT and abs(5 * piece.width - other.width) < HEIGHT


POINTS = st.lists(st.tuples(st.integers(10, 390), st.integers(10, 190)), min_size=2, max_size=8)


@settings(max_examples=80, deadline=None)
@given(POINTS, st.integers(1, 20), st.integers(10, 300))
def test_pieces_hold_all_ink_exactly_once(points, thickness, height):
    glyph = drawn(points, thickness=thickness)
    check_pieces(glyph, cut(glyph, height))
