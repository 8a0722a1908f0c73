"""How likely a piece of ink is a digit or a mark: what makes it less likely, one thing at a time."""

import cv2
import numpy as np
import pytest

from photos import weighing
from photos.glyph import Glyph
from photos.grouping import union
from photos.weighing import LARGE, SMALL, Candidate, Writing, digit_weights, mark_weights, one_weights, writing_of
from sizes import MARK, NUM_CLASSES, PART, PHOTO_CLASSES, SEVERAL

HEIGHT, STROKE, DARKNESS = 100, 10, 0.6
WRITING = Writing(HEIGHT, STROKE, DARKNESS)


def digit_at(x, y, height=HEIGHT, width=None, stroke=STROKE):
    """A glyph like a 4 without its stem."""
    width = width or round(0.6 * height)
    ink = np.zeros((height, width), np.uint8)
    points = [(stroke // 2, stroke // 2), (stroke // 2, height // 2), (width - stroke // 2 - 1, height // 2)]
    cv2.polylines(ink, [np.array([*points, (width - stroke // 2 - 1, height - 1)], np.int32)], False, 1, stroke)
    return Glyph(x, y, ink)


def darkness_of(glyphs, values):
    dark = np.zeros((400, 900), np.float32)
    for glyph, value in zip(glyphs, values, strict=True):
        dark[glyph.y : glyph.bottom, glyph.x : glyph.right] = value * glyph.mask
    return dark


def weight(glyph, darkness=DARKNESS, writing=WRITING):
    """Of one connected part as a digit."""
    dark = darkness_of([glyph], [darkness])
    (result,) = digit_weights([Candidate(1, glyph, True)], [glyph], writing, dark)
    return result


def falls(values):
    return all(a > b for a, b in zip(values, values[1:], strict=False))


# -- as one thing -----------------------------------------------------------------------------------------------------


def test_what_looks_like_several_digits_is_less_likely_one():
    """A network of ten classes cannot tell."""
    probabilities = np.zeros((3, PHOTO_CLASSES))
    probabilities[:, 4] = 0.4
    probabilities[0, PART], probabilities[1, MARK], probabilities[2, SEVERAL] = 0.6, 0.6, 0.6
    assert one_weights(probabilities) == pytest.approx([0, 0, np.log(0.4)])
    assert (one_weights(probabilities[:, :NUM_CLASSES]) == 0).all()


# -- as a digit -------------------------------------------------------------------------------------------------------


def test_unusual_heights_are_less_likely():
    for heights in ((100, 80, 60, 40, 30), (100, 130, 170, 220)):
        strokes = Writing(HEIGHT, digit_at(9, 9).stroke, DARKNESS)
        same_pen = [weight(digit_at(9, 9, height), writing=strokes) for height in heights]
        assert falls(same_pen)
    assert weight(digit_at(9, 9, round(weighing.SMALLEST * HEIGHT) - 1)) <= weighing.IMPOSSIBLE
    assert weight(digit_at(9, 9, 40, width=130)) <= weighing.IMPOSSIBLE < weight(digit_at(9, 9, 50, width=130))


def test_a_digit_that_is_wider_than_the_digits_are_high_is_less_likely():
    strokes = Writing(HEIGHT, digit_at(9, 9).stroke, DARKNESS)
    usual, *wide = (weight(digit_at(9, 9, 100, width), writing=strokes) for width in (100, 130, 160, 180))
    assert usual == pytest.approx(weight(digit_at(9, 9, 100, 110), writing=strokes), abs=0.02)
    assert falls([usual, *wide]) and wide[-1] < usual - 1


@pytest.mark.parametrize("strokes", [(10, 14, 18), (10, 7, 5)])
def test_unusual_strokes_are_less_likely_and_never_impossible(strokes):
    writing = WRITING._replace(stroke=digit_at(9, 9).stroke)
    weights = [weight(digit_at(9, 9, stroke=stroke), writing=writing) for stroke in strokes]
    assert falls(weights)
    assert weight(digit_at(9, 9, stroke=2), writing=writing) >= weights[0] + weighing.UNUSUAL - 1e-6


@pytest.mark.parametrize("darknesses", [(0.6, 0.5, 0.4, 0.35), (0.6, 0.7, 0.8)])
def test_ink_of_unusual_darkness_is_less_likely(darknesses):
    glyph = digit_at(9, 9)
    assert falls([weight(glyph, darkness) for darkness in darknesses])
    assert weight(glyph, 0.01) == pytest.approx(weight(glyph, DARKNESS) + weighing.UNUSUAL)


def test_faint_places_do_not_make_a_stroke_faint():
    """A quarter of the ink decides."""
    glyph = digit_at(9, 9)
    dark = darkness_of([glyph], [DARKNESS])
    faint = dark.copy()
    faint[: glyph.y + HEIGHT // 2] *= 0.3
    one, other = (digit_weights([Candidate(1, glyph, True)], [glyph], WRITING, picture) for picture in (dark, faint))
    assert one == pytest.approx(other)


def test_larger_gaps_are_less_likely():
    weights = []
    for gap in (2, 10, 20, 30):
        pieces = [digit_at(9, 9, width=30), digit_at(39 + gap, 9, width=30)]
        mask = np.zeros((HEIGHT, 60 + gap), np.uint8)
        mask[:, :30], mask[:, 30 + gap :] = pieces[0].mask, pieces[1].mask
        candidates = [Candidate(1, pieces[0], True), Candidate(2, pieces[1], True)]
        joined = Candidate(3, Glyph(9, 9, mask), False)
        dark = darkness_of(pieces, [DARKNESS, DARKNESS])
        weights.append(digit_weights([*candidates, joined], pieces, WRITING, dark)[2])
    assert falls(weights)
    assert weights[0] - weights[3] == pytest.approx(5 * 28 / HEIGHT, rel=0.06)


def cut_weights(width):
    """(whole, one half) of a part of this width that was cut in its middle, as digits."""
    part = Glyph(9, 9, np.ones((HEIGHT, width), np.uint8))
    halves = [Glyph(9 + i * (width // 2), 9, part.mask[:, : width // 2]) for i in range(2)]
    candidates = [Candidate(3, part, True), Candidate(1, halves[0], False), Candidate(2, halves[1], False)]
    writing = Writing(HEIGHT, halves[0].stroke, DARKNESS)
    return digit_weights(candidates, halves, writing, darkness_of([part], [DARKNESS]))


def test_a_cut_has_its_price_and_a_narrow_part_is_cut_least():
    """Both sides of a cut bear half of it. The whole pays nothing: it is a part of the ink, however wide."""
    wide, narrow = cut_weights(120), cut_weights(50)
    assert wide[1] == pytest.approx(wide[2]) and narrow[1] == pytest.approx(narrow[2])
    assert narrow[1] < wide[1] < weight(digit_at(9, 9), writing=Writing(HEIGHT, digit_at(9, 9).stroke, DARKNESS))


@pytest.mark.parametrize("stroke, darkness", [(5, DARKNESS), (STROKE, 0.35)])
def test_unusual_ink_does_not_join_two_digits(stroke, darkness):
    """A thin or a faint pen wrote both: that is no reason to take them for one digit. A speck beside one is none."""
    first, second = (digit_at(x, 9, width=40, stroke=stroke) for x in (9, 59))
    writing = WRITING._replace(stroke=digit_at(9, 9, width=40).stroke)

    def joined_and_alone(other):
        both = union(first, other)
        candidates = [Candidate(1, first, True), Candidate(2, other, True), Candidate(3, both, False)]
        dark = darkness_of([both], [darkness])
        alone, _, joined = digit_weights(candidates, [first, other], writing, dark)
        return joined, alone

    joined, alone = joined_and_alone(second)
    assert alone < -0.5 and joined < 2 * alone
    joined, alone = joined_and_alone(digit_at(52, 80, 20, stroke=stroke))
    assert joined > 1.5 * alone


# -- as a mark --------------------------------------------------------------------------------------------------------


def mark(size, rejected, share=0.02):
    glyph = Glyph(0, 0, np.ones((size, max(1, size // 3)), np.uint8))
    return mark_weights([Candidate(1, glyph, True)], np.array([rejected]), HEIGHT, share)[0]


@pytest.mark.parametrize("rejected", (0.0, 0.5, 1.0))
def test_specks_are_marks_at_no_price(rejected):
    """Whatever the network says of them."""
    for size in (1, 5, int(SMALL * HEIGHT)):
        assert mark(size, rejected) == mark(size, rejected, share=0.4) == 0
    assert falls([mark(size, rejected) for size in (25, 30, 40, 50)])


def test_what_the_network_rejects_is_more_likely_a_mark():
    weights = [mark(80, rejected) for rejected in (1.0, 0.7, 0.3, 0.1)]
    assert falls(weights)
    assert mark(80, 0.0) == mark(80, weighing.SUREST / 2)  # the network is too sure of strange shapes
    assert mark(60, 0.5) == pytest.approx(mark(200, 0.5)), "what is large is large"
    assert LARGE * HEIGHT < 60


def test_among_many_marks_one_more_is_likely():
    assert falls([mark(80, 0.3, share) for share in (0.5, 0.2, 0.05, 0.02)])
    assert mark(80, 1.0, 0.5) == pytest.approx(np.log(0.5))


# -- what digits of a page have in common -----------------------------------------------------------------------------


def test_the_writing_is_that_of_most_large_parts():
    parts = [digit_at(80 * i + 5, 9) for i in range(5)] + [digit_at(500, 9, stroke=30)]
    specks = [Glyph(12 * i, 300, np.ones((4, 4), np.uint8)) for i in range(60)]
    dark = darkness_of(parts + specks, [0.5] * 5 + [0.9] + [0.2] * 60)
    writing = writing_of(parts + specks, HEIGHT, dark)
    assert writing.height == HEIGHT
    assert writing.stroke == pytest.approx(parts[0].stroke) and writing.darkness == pytest.approx(0.5)
    assert writing_of(specks, HEIGHT, dark).darkness == pytest.approx(0.2), "where there is nothing else"
