"""Cut a glyph that may be more than one digit, where little ink connects its sides.

pieces = cut(glyph, height)
"""

import cv2
import numpy as np

from photos.glyph import Glyph

MAX_CUTS = 4
SLANTS = np.linspace(-0.6, 0.6, 13)  # of cuts, in columns per row: digits lean, and so do the gaps between them
FINE = 96  # pixels: a glyph that is larger is looked at in less detail
NARROWEST = 0.15  # of a piece, as a share of the height of a digit
MOST_INK = 2  # that a line may cross, in widths of a stroke
APART = 0.25  # the least distance of two cuts, the same


def cut(glyph, height):
    """A glyph cut along straight lines: the pieces from left to right, or [glyph] where no line is good.

    height: of a digit of this picture, in pixels. A line may lean, and crosses ink only once. All cuts that may
    be right are made: whoever reads the pieces decides which belong together.
    """
    lines = _cut_lines(glyph, height)
    rows, columns = np.indices(glyph.mask.shape, np.float32)
    number = np.zeros(glyph.mask.shape, np.uint8)  # of the piece that each pixel belongs to
    for slant, column in lines:
        number += columns + slant * (rows - glyph.height / 2) >= column
    masks = [glyph.mask * (number == piece) for piece in range(len(lines) + 1)]
    return [_trim(glyph, mask) for mask in masks if mask.any()]


def _cut_lines(glyph, height):
    """At most MAX_CUTS lines (slant, column at half the height), those that cross the least ink first."""
    step = -(-glyph.size // FINE)
    mask = glyph.mask[::step, ::step]
    rows, columns = np.nonzero(mask)
    options = []
    for slant in SLANTS:
        upright = np.round(columns + slant * (rows - mask.shape[0] / 2)).astype(int)
        inside = (upright >= 0) & (upright < mask.shape[1])
        straight = np.zeros_like(mask)  # the glyph with the lines of this slant upright
        straight[rows[inside], upright[inside]] = 1
        crossed = straight.sum(axis=0)  # pixels of ink along the line through each column
        runs = straight[0] + (straight[1:] > straight[:-1]).sum(axis=0)  # how many strokes it crosses
        left = np.cumsum(crossed) / max(1, inside.sum())
        least = cv2.erode(crossed[None].astype(np.float32), np.ones((1, 5), np.uint8))[0]
        good = (
            (crossed == least) & (runs <= 1) & (crossed * step <= MOST_INK * glyph.stroke) & (left > 0.1) & (left < 0.9)
        )
        # Of lines that cross equally much, the upright one is the best.
        options += [(crossed[i] + 0.2 * abs(slant) * glyph.stroke / step, slant, i) for i in np.flatnonzero(good)]
    margin, apart = max(1, NARROWEST * height / step), APART * height / step
    lines = []
    for _, slant, column in sorted(options):
        inside = margin <= column < mask.shape[1] - margin
        if (
            inside
            and len(lines) < MAX_CUTS
            and not any(_meet((slant, column), line, mask.shape[0], apart) for line in lines)
        ):
            lines.append((slant, column))
    return [(slant, column * step) for slant, column in lines]


def _meet(a, b, height, apart):
    """Whether two lines (slant, column at half the height) come closer than this in the middle half, or cross."""
    at_top, at_bottom = (a[1] - b[1] + sign * height / 2 * (a[0] - b[0]) for sign in (1, -1))
    return at_top * at_bottom <= 0 or abs(a[1] - b[1]) < apart


def _trim(glyph, mask):
    """The glyph with another mask of the same size, its box made as small as the ink."""
    x, y, width, height = cv2.boundingRect(mask)
    return Glyph(glyph.x + x, glyph.y + y, mask[y : y + height, x : x + width])
