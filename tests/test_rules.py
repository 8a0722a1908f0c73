"""Rules, tables and underlines go from an ink mask, and the strokes that cross them stay."""

import math

import cv2
import numpy as np
import pytest

from photos.rules import remove_rules


def strokes():
    """A mask (900, 1200) of strokes as digits have them: hooks and bowls, 60 pixels wide and 90 high."""
    mask = np.zeros((900, 1200), np.uint8)
    for y in range(150, 800, 160):
        for x in range(150, 1100, 130):
            cv2.ellipse(mask, (x, y), (30, 25), 0, -160, 100, 1, 9)
            cv2.line(mask, (x + 8, y + 20), (x - 20, y + 65), 1, 9)
    return mask


def table(angle, thickness, curve):
    """A mask of a table as large as `strokes`, turned by so many degrees. curve: pixels that its lines bend by."""
    mask = np.zeros((900, 1200), np.uint8)
    along = np.linspace(-500, 500, 21)
    across = curve * np.sin(along / 160)
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    for offset in range(-300, 301, 150):
        for x, y in ((along, offset + across), (offset + across, 0.6 * along)):
            points = np.stack([600 + cosine * x - sine * y, 450 + sine * x + cosine * y], axis=1)
            cv2.polylines(mask, [np.round(points).astype(np.int32)], False, 1, thickness)
    return mask


@pytest.mark.parametrize("curve", (0, 6))
@pytest.mark.parametrize("thickness", (4, 8))
@pytest.mark.parametrize("angle", (0, 3, -15, 22))
def test_a_table_goes_at_any_slant(angle, thickness, curve):
    digits, lines = strokes(), table(angle, thickness, curve)
    clean = remove_rules(digits | lines)
    only_lines = lines & ~cv2.dilate(digits, np.ones((25, 25), np.uint8))
    assert (clean & only_lines).sum() < 0.05 * only_lines.sum()
    assert (clean & digits).sum() > 0.9 * digits.sum()


def test_an_underline_as_thick_as_the_strokes_goes():
    digits = cv2.resize(strokes()[60:270, :400], None, fx=3, fy=3, interpolation=cv2.INTER_NEAREST)
    page = np.vstack([digits, np.zeros((200, digits.shape[1]), np.uint8)])
    underlined = cv2.line(page.copy(), (60, 700), (1140, 705), 1, 30)
    assert remove_rules(underlined)[660:].sum() == 0


@pytest.mark.parametrize("axes", [(180, 480), (480, 180)])
def test_the_long_sides_of_one_large_digit_stay(axes):
    zero = cv2.ellipse(np.zeros((1200, 1200), np.uint8), (600, 600), axes, 0, 0, 360, 1, 60)
    assert np.array_equal(remove_rules(zero), zero)


def test_a_mask_without_ink_stays_empty():
    assert remove_rules(np.zeros((300, 400), np.uint8)).sum() == 0
