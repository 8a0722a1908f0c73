"""Pieces of ink become digits, and digits become lines.

A glyph may be less than a digit (the loose bar of a 5), one digit, more than one (two that touch), or something else.
The argument `height` is always the typical height of a digit of this picture, in pixels: lengths are compared with it.
"""

import cv2
import numpy as np

from photos.glyph import Glyph, connected_parts, is_frame, weighted_median
from photos.lattice import bits

BORDER = 5  # working pixels: what comes nearer to the border of the picture may be cut off by it


def find_glyphs(ink, sheet):
    """(glyphs, height): what may be a digit or a part of one, and the typical height of a digit in pixels.

    ink, sheet: masks (h, w) uint8 0/1. Ink that reaches the border of the picture or the end of the sheet may be a
    digit that is cut off there: it counts if it has the size of the others and does not run along this edge, as a
    desk, a shadow or the edge itself does.
    """
    inside = cv2.erode(sheet, np.ones((5, 5), np.uint8))
    inside[:BORDER] = inside[-BORDER:] = inside[:, :BORDER] = inside[:, -BORDER:] = 0
    glyphs, at_edge = connected_parts(ink, inside)
    glyphs = drop_slabs([glyph for glyph in glyphs if not is_frame(glyph, glyphs)])
    height = typical_height(glyphs or at_edge)
    for glyph in at_edge:
        if 0.5 * height < glyph.height < 1.8 * height and glyph.width < 1.5 * height and not _runs_along(glyph, inside):
            glyphs.append(glyph)
    return [glyph for glyph in glyphs if glyph.height < 3 * height and glyph.width < 5 * height], height


def _runs_along(glyph, inside):
    """Whether a glyph leaves a mask (h, w) uint8 0/1 with more than the ends of some strokes."""
    outside = inside[glyph.y : glyph.bottom, glyph.x : glyph.right] == 0
    rows, columns = np.nonzero(glyph.mask & outside)
    return len(set(rows)) + len(set(columns)) > 0.5 * glyph.size


def typical_height(glyphs):
    """Median height of the glyphs in pixels, weighed by their ink: specks are many, but weigh little. 0 without any.

    An underline has more ink than the digits above it, and its height is that of no digit: flat glyphs do not count.
    """
    glyphs = [glyph for glyph in glyphs if glyph.width <= FLATTEST * glyph.height] or glyphs
    return weighted_median([glyph.height for glyph in glyphs], [glyph.area for glyph in glyphs])


THICKEST_STROKE = 3  # times the width of most strokes; a thicker glyph was not written


def drop_slabs(glyphs):
    """The glyphs that are not far thicker than most strokes: no binding of a notepad, no hole, no finger.

    One pen wrote all digits. Strokes are weighed by their length, because a slab has much ink but little length.
    """
    width = weighted_median([glyph.stroke for glyph in glyphs], [glyph.length for glyph in glyphs])
    return [glyph for glyph in glyphs if glyph.stroke < THICKEST_STROKE * width]


FLATTEST = 3  # a digit is at most so many times wider than high

MAX_TOGETHER = 4  # pieces of one digit: one that is torn into more cannot be read anyway
MAX_NEIGHBOURS = 4  # of a piece; in a crowd of specks there would be more, and no digit among them
NEAR = 0.3  # of the height of a digit: pieces of one digit are not further apart


def unions(pieces, height):
    """What may be one digit: {set of pieces: Glyph}, with each piece alone and all that fit together.

    A set is a whole number, bit i for piece i. Two to MAX_TOGETHER pieces fit together if each lies near another, and
    if all together are no larger than a digit.
    """
    near = _neighbours(pieces, height)
    found = {1 << i: piece for i, piece in enumerate(pieces)}
    newest = found
    for _ in range(MAX_TOGETHER - 1):
        larger = {}
        for members, glyph in newest.items():
            beside = 0
            for i in bits(members):
                beside |= near[i]
            for i in bits(beside & ~members):
                joined = members | 1 << i
                tallest = max(pieces[j].height for j in bits(joined))
                if (
                    joined not in larger
                    and joined not in found
                    and _fit_together(glyph, pieces[i], max(height, tallest))
                ):
                    larger[joined] = union(glyph, pieces[i])
        newest = larger
        found = found | larger
    return found


def _neighbours(pieces, height):
    """For each piece the set of those that are near enough, the nearest ones."""
    boxes = np.array([(piece.x, piece.right, piece.y, piece.bottom) for piece in pieces]).reshape(-1, 4)
    pairs = []
    for i, piece in enumerate(pieces):
        left, right, top, bottom = boxes[i + 1 :].T
        gap = np.maximum.reduce([left - piece.right, piece.x - right, top - piece.bottom, piece.y - bottom])
        for j in np.flatnonzero(gap < NEAR * height) + i + 1:
            if _fit_together(piece, pieces[j], max(height, piece.height, pieces[j].height)):
                pairs.append((distance(piece, pieces[j]), i, int(j)))
    near = [0] * len(pieces)
    for gap, i, j in sorted(pairs):
        if gap < NEAR * height and max(near[i].bit_count(), near[j].bit_count()) < MAX_NEIGHBOURS:
            near[i] |= 1 << j
            near[j] |= 1 << i
    return near


def _fit_together(a, b, height):
    """Whether two glyphs together are hardly taller than one digit of this height, and less wide than two."""
    tall = max(a.bottom, b.bottom) - min(a.y, b.y)
    wide = max(a.right, b.right) - min(a.x, b.x)
    return tall < 1.5 * height and wide < max(1.25 * max(height, tall), 1.1 * max(a.width, b.width))


def distance(a, b):
    """Shortest distance in pixels between the ink of two glyphs."""
    both = union(a, b)
    without_b = np.ones_like(both.mask)
    without_b[b.y - both.y : b.bottom - both.y, b.x - both.x : b.right - both.x] -= b.mask
    far = cv2.distanceTransform(without_b, cv2.DIST_L2, 3)
    return float(far[a.y - both.y : a.bottom - both.y, a.x - both.x : a.right - both.x][a.mask > 0].min())


def union(a, b):
    """Two glyphs as one."""
    x, y = min(a.x, b.x), min(a.y, b.y)
    mask = np.zeros((max(a.bottom, b.bottom) - y, max(a.right, b.right) - x), np.uint8)
    for glyph in (a, b):
        mask[glyph.y - y : glyph.bottom - y, glyph.x - x : glyph.right - x] |= glyph.mask
    return Glyph(x, y, mask)


SAME_LINE = 0.65  # offset, see `_offset`: digits of one line stand beside each other, not below


def sort_into_lines(glyphs):
    """Lists of glyphs, one for each line: from the top line to the bottom line, and each from left to right.

    Take the glyphs from left to right. Each goes to the line one of whose last two lies beside it, or begins a new
    line. So a line may rise or fall, and one digit may hop, as long as neighbours stand side by side.
    """
    lines = []
    for glyph in sorted(glyphs, key=lambda glyph: glyph.centre[0]):
        best = min(lines, key=lambda line: _offset(line, glyph), default=None)
        if best is not None and _offset(best, glyph) < SAME_LINE:
            best.append(glyph)
        else:
            lines.append([glyph])
    return sorted(lines, key=lambda line: float(np.mean([glyph.centre[1] for glyph in line])))


def _offset(line, glyph):
    """How far a glyph is above or below the nearer of the last two of a line, as a share of the taller one's height."""
    return min(abs(last.centre[1] - glyph.centre[1]) / max(last.height, glyph.height) for last in line[-2:])
