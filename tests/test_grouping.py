"""Pieces of ink that may be one digit: which are put together, and how many."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from photos.glyph import Glyph
from photos.grouping import (
    MAX_NEIGHBOURS,
    MAX_TOGETHER,
    NEAR,
    distance,
    find_glyphs,
    sort_into_lines,
    union,
    unions,
)
from photos.lattice import bits

HEIGHT = 100


def box(x, y, width, height):
    return Glyph(x, y, np.ones((height, width), np.uint8))


def sets_of(pieces):
    return {frozenset(bits(members)) for members in unions(pieces, HEIGHT)}


def is_connected(members, pieces):
    """Whether one gets from each piece to all others in steps of less than NEAR heights."""
    reached, ahead = set(), [members[0]]
    while ahead:
        piece = ahead.pop()
        reached.add(piece)
        ahead += [i for i in members if i not in reached and distance(pieces[piece], pieces[i]) < NEAR * HEIGHT]
    return reached == set(members)


BOXES = st.builds(box, st.integers(0, 300), st.integers(0, 150), st.integers(4, 90), st.integers(4, 110))


@settings(max_examples=60, deadline=None)
@given(st.lists(BOXES, min_size=1, max_size=9))
def test_unions_are_near_each_other_and_few(pieces):
    found = unions(pieces, HEIGHT)
    assert {1 << i for i in range(len(pieces))} <= set(found)
    for members, glyph in found.items():
        members = list(bits(members))
        mine = [pieces[i] for i in members]
        assert 1 <= len(members) <= MAX_TOGETHER and is_connected(members, pieces)
        assert (glyph.x, glyph.y) == (min(one.x for one in mine), min(one.y for one in mine))
        assert (glyph.right, glyph.bottom) == (max(one.right for one in mine), max(one.bottom for one in mine))
        canvas = np.zeros_like(glyph.mask)
        for one in mine:
            canvas[one.y - glyph.y : one.bottom - glyph.y, one.x - glyph.x : one.right - glyph.x] |= one.mask
        np.testing.assert_array_equal(glyph.mask, canvas)
        assert len(mine) == 1 or glyph.height < 1.5 * max(HEIGHT, *(one.height for one in mine)), "two digits high"
        if len(mine) == 2:
            assert glyph.width < max(1.25 * max(HEIGHT, glyph.height), 1.1 * max(one.width for one in mine))


@pytest.mark.parametrize(
    ("second", "together"),
    [
        (box(30, 0, 20, 20), True),  # the bar of a 5
        (box(20 + 40, 30, 20, 70), False),  # too far away
        (box(30, 105, 20, 70), False),  # too high together: digits of two lines
        (box(22, 30, 120, 70), False),  # too wide together: two digits
        (box(25, 20, 40, 80), True),
    ],
    ids=("bar", "far", "high", "wide", "beside"),
)
def test_what_may_be_one_digit(second, together):
    assert (frozenset({0, 1}) in sets_of([box(0, 20, 20, 80), second])) == together


def test_a_digit_torn_into_four_pieces_is_found_whole_and_one_of_five_is_not():
    """And its pieces may be put together in any way in which each lies near another."""
    steps = [box(0, 20 * i, 30, 12) for i in range(5)]
    found = sets_of(steps[:4])
    assert frozenset(range(4)) in found and frozenset({0, 1, 2}) in found
    found = sets_of(steps)
    assert max(map(len, found)) == MAX_TOGETHER
    distant = [box(0, 0, 20, 20), box(0, 45, 20, 20), box(0, 90, 20, 20)]
    assert frozenset({0, 2}) not in sets_of(distant) and frozenset({0, 1, 2}) in sets_of(distant)


def test_pieces_of_two_lines_are_not_put_together_one_by_one():
    """Any two of them that are neighbours would fit into one digit."""
    column = [box(0, 0, 30, 100), box(0, 105, 30, 40), box(0, 150, 30, 60)]
    assert sets_of(column) == {*map(frozenset, ({0}, {1}, {2}, {0, 1}, {1, 2}))}


def test_a_crowd_of_specks_gives_few_unions():
    random = np.random.default_rng(1)
    specks = [box(int(x), int(y), 9, 9) for x, y in random.integers(0, 200, (80, 2))]
    found = unions(specks, HEIGHT)
    assert len(found) < 80 * (1 + MAX_NEIGHBOURS + 2 * MAX_NEIGHBOURS**2 + 6 * MAX_NEIGHBOURS**3)
    pairs = [members for members in found if members.bit_count() == 2]
    for i in range(len(specks)):
        assert sum(members >> i & 1 for members in pairs) <= MAX_NEIGHBOURS
    assert unions([], HEIGHT) == {}


def test_distance_and_union():
    assert distance(box(0, 0, 10, 10), box(15, 3, 10, 10)) == pytest.approx(6, abs=0.5)  # 5 pixels of paper between
    both = union(box(0, 0, 10, 10), box(15, 3, 10, 10))
    assert (both.x, both.y, both.width, both.height, both.area) == (0, 0, 25, 13, 200)


def test_lines_are_sorted_from_the_top_and_each_from_the_left():
    rows = [[box(60 * i + 9 * row, 200 * row + 5 * i, 40, 90) for i in range(4)] for row in range(3)]
    shuffled = [rows[row][i] for row, i in ((2, 3), (0, 1), (1, 2), (0, 0), (2, 0), (1, 0), (0, 3), (1, 1), (2, 2),
                                            (2, 1), (0, 2), (1, 3))]  # fmt: skip
    assert sort_into_lines(shuffled) == rows


def test_a_digit_that_hops_does_not_end_its_line():
    """The third stands too low for the fourth to be beside it, but not for the line."""
    line = [box(0, 100, 40, 90), box(60, 100, 40, 90), box(120, 150, 40, 90), box(180, 90, 40, 90)]
    below = [box(30, 260, 40, 90), box(150, 260, 40, 90)]
    assert sort_into_lines(line + below) == [line, below]


# -- what may be a digit ----------------------------------------------------------------------------------------------


def boxes_found(ink, sheet):
    return {(glyph.x, glyph.y, glyph.width, glyph.height) for glyph in find_glyphs(ink, sheet)[0]}


@pytest.mark.parametrize("edge", ("border of the picture", "end of the sheet"))
def test_a_digit_that_an_edge_cuts_off_counts_and_what_runs_along_it_does_not(edge):
    sheet = np.ones((400, 600), np.uint8)
    bottom = 400
    if edge == "end of the sheet":
        bottom = 360
        sheet[bottom:] = 0
    ink = np.zeros_like(sheet)
    ink[100:200, 100:115] = ink[100:200, 300:315] = 1  # two ones in the middle
    ink[bottom - 90 : bottom, 200:215] = 1  # one that leaves the sheet by its foot
    ink[bottom - 60 : bottom, 400:480] = 1  # a shadow that lies on its edge
    cv2.circle(ink, (440, bottom - 60), 20, 1, -1)
    assert boxes_found(ink, sheet) == {(100, 100, 15, 100), (300, 100, 15, 100), (200, bottom - 90, 15, 90)}
