"""Remove printed rules and drawn frames from an ink mask; the strokes that cross them stay.

Masks are (h, w) uint8, 0 or 1. A segment is a line (x1, y1, x2, y2) in pixels, x1 < x2.
"""

import cv2
import numpy as np

from photos.glyph import connected_parts, is_frame, stroke_width, weighted_median

THICKEST_RULE = 16  # working pixels: what is thicker is a stroke ...
THICKEST_LINE = 1.5  # times the mean width of all strokes: ... unless a small picture was enlarged, rules and all
STEEPEST = 0.5  # rows per column: a table may be photographed askew, by up to 26 degrees
SMOOTH = 41  # columns: a line does not bend within so few
SMALLEST_DIGIT = 0.03  # of the longer side of the picture
SHORTEST = 8  # times its greatest thickness: the shortest line


def remove_frames(ink):
    """An ink mask without the boxes drawn around digits: hollow glyphs whose ink lies along the sides of their box."""
    glyphs, _ = connected_parts(ink, np.ones_like(ink))
    for frame in (glyph for glyph in glyphs if is_frame(glyph, glyphs, 0.0)):
        hollow = frame.mask.copy()
        rows, columns = (round(0.1 * side) for side in hollow.shape)
        hollow[rows:-rows, columns:-columns] = 0
        if hollow.sum() > 0.9 * frame.mask.sum():
            ink = ink.copy()
            ink[frame.y : frame.bottom, frame.x : frame.right] &= ~frame.mask
    return ink


def remove_rules(ink):
    """An ink mask without printed rules and squares, tables drawn by hand, long underlines and the sides of frames.

    A rule is straight, thin, and longer than digits are high. Where a stroke crosses it, the ink is thicker across the
    rule than the rule alone. This ink stays, so that digits are neither cut nor bent.
    """
    if not ink.any():
        return ink
    thickest = max(THICKEST_RULE, round(THICKEST_LINE * stroke_width(ink)))
    across = _horizontal_lines(ink, thickest)
    rest = _erase(ink, across, thickest)
    down = _horizontal_lines(rest.T, thickest)
    if not across and not down:
        return ink
    size = _digit_size(_erase(rest.T, down, thickest))  # in what is left once all lines are gone
    ink = _erase(ink, _rules(across, size, ink.shape[1]), thickest)
    return _erase(ink.T, _rules(down, size, ink.shape[0]), thickest).T.copy()


def _digit_size(ink):
    """Median size in pixels of the glyphs of a mask, weighed by their ink; 0 where there are only specks."""
    half = _half(ink)
    glyphs, _ = connected_parts(half, np.ones_like(half))
    glyphs = [glyph for glyph in glyphs if glyph.size > SMALLEST_DIGIT * max(half.shape)]
    return 2 * weighted_median([glyph.size for glyph in glyphs], [glyph.area for glyph in glyphs])


def _half(ink):
    """A mask of half the size, without losing thin lines: enough to measure lengths, and four times as fast."""
    return np.ascontiguousarray(cv2.dilate(ink, np.ones((2, 2), np.uint8))[::2, ::2])


def _rules(segments, size, width):
    """The segments longer than 2.5 digits, or 1.2 where they reach the border of a picture with this width."""
    rules = []
    for segment in segments:
        start, _, end, _ = segment
        reaches_border = start < 0.01 * width or end > 0.99 * width
        if (reaches_border and end - start > 1.2 * size) or end - start > 2.5 * size > 0:
            rules.append(segment)
    return rules


def _horizontal_lines(ink, thickest):
    """The rather horizontal, thin and solid lines of an ink mask, the longest first: a list of segments.

    thickest: pixels; what is thicker is no line.
    """
    half = _half(ink & ~_thicker_than(ink, thickest))
    width = half.shape[1]
    shortest = max(0.3 * width, SHORTEST * thickest / 2)
    segments = cv2.HoughLinesP(
        half, 1, np.pi / 360, threshold=max(width // 8, 1), minLineLength=shortest, maxLineGap=0.06 * width
    )
    if segments is None:
        return []
    segments = [tuple(2 * int(end) for end in segment) for segment in segments.reshape(-1, 4)]
    lines = [(x1, y1, x2, y2) for x1, y1, x2, y2 in segments if abs(y2 - y1) < STEEPEST * (x2 - x1)]
    return sorted((line for line in lines if _is_solid(ink, line)), key=lambda line: line[0] - line[2])


def _is_solid(ink, segment):
    """Whether a segment lies on ink almost all the way. A row of digits is full of gaps."""
    strip = ink[_along(ink, segment, 2)]
    return strip[:, segment[0] : segment[2]].any(axis=0).mean() > 0.85


def _along(ink, segment, reach):
    """(rows, columns): indices that pick the strip along a segment, so many rows above and below it.

    The segment is made longer, to the width of the picture. In the strip, (2 * reach + 1, width), the rule runs
    horizontally through the middle.
    """
    x1, y1, x2, y2 = segment
    columns = np.arange(ink.shape[1])
    middle = np.round(y1 + (columns - x1) * (y2 - y1) / (x2 - x1)).astype(int)
    rows = middle + np.arange(-reach, reach + 1)[:, None]
    return rows.clip(0, ink.shape[0] - 1), np.broadcast_to(columns, rows.shape)


def _erase(ink, segments, thickest):
    """Without the thin ink along these segments; the strokes that cross them stay."""
    ink = ink.copy()
    for segment in segments:
        rows, columns = _along(ink, segment, thickest)
        strip = ink[rows, columns]
        near = (strip & ~_thicker_than(strip, thickest))[thickest // 2 : -thickest // 2]
        thickness = int(np.median(near[:, segment[0] : segment[2]].sum(axis=0)))
        if thickness == 0:  # another segment along the same line has erased it
            continue
        place = (rows + _bend(near)).clip(0, ink.shape[0] - 1), columns
        strip = ink[place]
        near = slice(thickest - thickness - 1, thickest + thickness + 2)
        strip[near] &= _thicker_than(strip, thickness + thickness // 2 + 1)[near]
        ink[place] = strip
    return ink


def _bend(strip):
    """How far the ink of a strip lies below its middle, (width,) whole rows: a hand draws no straight line."""
    rows = np.arange(len(strip), dtype=np.float32) - len(strip) // 2
    sums = np.stack([rows @ strip, strip.sum(axis=0)]).astype(np.float32)
    below, ink = cv2.blur(sums, (SMOOTH, 1))
    return np.round(below / np.maximum(ink, 1e-6)).astype(int)


def _thicker_than(ink, thickness):
    """The ink that is more than so many pixels thick from top to bottom (a morphological opening)."""
    return cv2.morphologyEx(ink, cv2.MORPH_OPEN, np.ones((thickness + 1, 1), np.uint8))
