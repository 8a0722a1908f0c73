"""Pieces of ink become digits, and digits become lines.

A glyph may be less than a digit (the loose bar of a 5), one digit, more than one (two that touch), or something else.
The argument `height` is always the typical height of a digit of this picture, in pixels: lengths are compared with it.
"""

import cv2
import numpy as np

from photos.glyph import Glyph, connected_parts, is_frame, weighted_median


def find_glyphs(ink, sheet):
    """(glyphs, height): what may be a digit or a part of one, and the typical height of a digit in pixels.

    ink, sheet: masks (h, w) uint8 0/1. Ink that reaches the end of the sheet is desk, shadow or the edge of the sheet,
    and is left out. Ink that reaches the border of the picture may be a digit that is cut off: it counts if it has the
    size of the others and does not run along the border.
    """
    glyphs, _ = connected_parts(ink, cv2.erode(sheet, np.ones((5, 5), np.uint8)))
    at_border = [glyph for glyph in glyphs if _border_distance(glyph.x, glyph.y, glyph.right, glyph.bottom, ink) < 5]
    glyphs = [glyph for glyph in glyphs if glyph not in at_border]
    glyphs = drop_slabs([glyph for glyph in glyphs if not is_frame(glyph, glyphs)])
    height = typical_height(glyphs or at_border)
    for glyph in at_border:
        centre_distance = _border_distance(*glyph.centre, *glyph.centre, ink)
        if 0.6 * height < glyph.height < 1.4 * height > glyph.width and centre_distance > 0.2 * height:
            glyphs.append(glyph)
    return [glyph for glyph in glyphs if glyph.height < 3 * height and glyph.width < 5 * height], height


def _border_distance(left, top, right, bottom, image):
    """How far a box is from the nearest border of an image, in pixels."""
    return min(left, top, image.shape[1] - right, image.shape[0] - bottom)


def typical_height(glyphs):
    """Median height of the glyphs in pixels, weighed by their ink: specks are many, but weigh little. 0 without any."""
    return weighted_median([glyph.height for glyph in glyphs], [glyph.area for glyph in glyphs])


THICKEST_STROKE = 3  # times the width of most strokes; a thicker glyph was not written


def drop_slabs(glyphs):
    """The glyphs that are not far thicker than most strokes: no binding of a notepad, no hole, no finger.

    One pen wrote all digits. Strokes are weighed by their length, because a slab has much ink but little length.
    """
    width = weighted_median([glyph.stroke for glyph in glyphs], [glyph.length for glyph in glyphs])
    return [glyph for glyph in glyphs if glyph.stroke < THICKEST_STROKE * width]


def join_strokes(glyphs, height):
    """Join loose strokes with the digit that they belong to: a list of glyphs, each of them a digit or more.

    A part that is shorter than a digit belongs to the glyph that it lies above, below or inside (the bar of a 5), or
    that it nearly touches (the hook of a 4). Taller parts are joined only if one lies above the other and the two
    together are hardly taller than one digit.
    """
    glyphs = sorted(glyphs, key=lambda glyph: glyph.area)
    joined = []
    while glyphs:
        part = glyphs.pop(0)  # the smallest first: a body is always larger than its part
        bodies = [(gap, i) for i, body in enumerate(glyphs) if (gap := _belongs(part, body, height)) is not None]
        if not bodies:
            joined.append(part)
        else:
            body = min(bodies)[1]
            glyphs[body] = _union(part, glyphs[body])
    return joined


def _belongs(part, body, height):
    """The distance in pixels between the ink of a part and of a body; None if the part cannot belong to this body."""
    if part.size < 0.15 * height:
        return None
    together = max(part.bottom, body.bottom) - min(part.y, body.y)
    is_half = part.height > 0.6 * height  # of a broken digit: two whole digits would be taller together
    if together > (1.25 * height if is_half else 1.5 * max(height, body.height)):
        return None
    overlap = min(part.right, body.right) - max(part.x, body.x)
    above = max(part.y, body.y) - min(part.bottom, body.bottom)
    if -overlap > 0.25 * height or above > 0.25 * height:
        return None
    gap = _distance(part, body)
    if is_half:
        return gap if overlap > 0.5 * min(part.width, body.width) and gap < 0.25 * height else None
    stacked = overlap > 0.3 * part.width and gap < 0.25 * height
    return gap if stacked or gap < body.stroke else None


def _distance(a, b):
    """Shortest distance in pixels between the ink of two glyphs."""
    both = _union(a, b)
    without_b = np.ones_like(both.mask)
    without_b[b.y - both.y : b.bottom - both.y, b.x - both.x : b.right - both.x] -= b.mask
    distance = cv2.distanceTransform(without_b, cv2.DIST_L2, 3)
    return float(distance[a.y - both.y : a.bottom - both.y, a.x - both.x : a.right - both.x][a.mask > 0].min())


def _union(a, b):
    """Two glyphs as one."""
    x, y = min(a.x, b.x), min(a.y, b.y)
    mask = np.zeros((max(a.bottom, b.bottom) - y, max(a.right, b.right) - x), np.uint8)
    for glyph in (a, b):
        mask[glyph.y - y : glyph.bottom - y, glyph.x - x : glyph.right - x] |= glyph.mask
    return Glyph(x, y, mask)


def drop_stray_marks(glyphs, height):
    """The glyphs without specks, dashes and underlines: without those far shorter than a digit, or wide and flat."""
    return [glyph for glyph in glyphs if glyph.height > 0.35 * height and glyph.width <= 3 * glyph.height]


def split_touching(glyphs, height):
    """Cut each glyph that is too wide for one digit, where the bridge between two digits is thinnest."""
    result = []
    for glyph in glyphs:
        cut = None
        if glyph.width > 1.3 * max(glyph.height, 0.8 * height) and glyph.height > 0.6 * height:
            cut = _best_cut(glyph)
        result += split_touching(cut, height) if cut else [glyph]
    return result


def _best_cut(glyph):
    """The two halves of a glyph, cut along the straight line that crosses the least ink; None without a good cut.

    The line may lean, as digits do. It must not cross ink twice: such a line cuts through a digit, not between two.
    """
    height, width = glyph.mask.shape  # of this glyph, which may differ from the typical height
    rows = np.arange(height)[:, None] - height / 2  # (height, 1), from the middle
    columns = np.arange(width)
    margin = int(0.25 * min(width, height))
    best = 1.5 * glyph.stroke, None  # pixels of ink that are cut, halves
    for slant in np.linspace(-0.5, 0.5, 11):  # columns per row
        upright = np.round(columns + slant * rows).astype(int)  # the column that each pixel moves to
        crossed = np.bincount(upright.clip(0, width - 1)[glyph.mask > 0], minlength=width)
        for cut in np.argsort(crossed[margin : width - margin])[:5] + margin:
            if crossed[cut] < best[0] and _count_runs(glyph.mask[upright == cut]) <= 1:
                left = upright < cut
                halves = [_trim(glyph, glyph.mask & left), _trim(glyph, glyph.mask & ~left)]
                if all(half.height > 0.6 * height and half.width > 0.1 * height for half in halves):
                    best = crossed[cut], halves
    return best[1]


def _count_runs(line):
    """How many separate runs of ink there are along a line of a mask (n,)."""
    return int(np.count_nonzero(np.diff(np.r_[0, line].astype(np.int8)) == 1))


def _trim(glyph, mask):
    """The glyph with another mask of the same size, its box made as small as the ink."""
    x, y, width, height = cv2.boundingRect(mask)
    return Glyph(glyph.x + x, glyph.y + y, mask[y : y + height, x : x + width])


def sort_into_lines(glyphs):
    """Lists of glyphs, one for each line: from the top line to the bottom line, and each from left to right.

    Take the glyphs from left to right. Each goes to the line whose last glyph lies beside it, or begins a new line. So
    a line may rise or fall, as long as neighbours stand side by side.
    """
    lines = []
    for glyph in sorted(glyphs, key=lambda glyph: glyph.centre[0]):
        best = min(lines, key=lambda line: _offset(line, glyph), default=None)
        if best is not None and _offset(best, glyph) < 0.5:
            best.append(glyph)
        else:
            lines.append([glyph])
    return sorted(lines, key=lambda line: float(np.mean([glyph.centre[1] for glyph in line])))


def _offset(line, glyph):
    """How far a glyph is above or below the last one of a line, as a share of the height of the taller one."""
    last = line[-1]
    return abs(last.centre[1] - glyph.centre[1]) / max(last.height, glyph.height)
