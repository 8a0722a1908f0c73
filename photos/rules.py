"""Remove printed rules and drawn frames from an ink mask; the strokes that cross them stay.

Masks are (h, w) uint8, 0 or 1. A segment is a line (x1, y1, x2, y2) in pixels, x1 < x2.
"""

import cv2
import numpy as np

from photos.glyph import connected_parts, is_frame, weighted_median

SLENDER = 30  # times its thickness: a rule is longer
THICKEST_RULE = 16  # working pixels; thicker lines are strokes


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
    """An ink mask without printed rules and squares, long underlines and the sides of frames.

    A rule is straight, thin, and longer than digits are high. Where a stroke crosses it, the ink is thicker across the
    rule than the rule alone. This ink stays, so that digits are neither cut nor bent.
    """
    return _remove_horizontal_rules(_remove_horizontal_rules(ink).T).T.copy()


def _remove_horizontal_rules(ink):
    """As `remove_rules`, for nearly horizontal ones: those that reach the border, or are longer than 2.5 digits."""
    ink = np.ascontiguousarray(ink)
    width = ink.shape[1]
    segments = [segment for segment in _horizontal_segments(ink) if _is_solid(ink, segment)]
    if not segments:
        return ink
    digits, _ = connected_parts(_erase(ink, segments), np.ones_like(ink))
    digits = [glyph for glyph in digits if glyph.size > 0.03 * width]
    size = weighted_median([glyph.size for glyph in digits], [glyph.area for glyph in digits])
    rules = []
    for segment in segments:
        start, _, end, _ = segment
        reaches_border = start < 0.01 * width or end > 0.99 * width
        if reaches_border or end - start > 2.5 * size > 0:
            rules.append(segment)
    return _erase(ink, rules)


def _horizontal_segments(ink):
    """The thin and nearly horizontal lines of an ink mask, the longest first: a list of segments."""
    thin = ink & ~_thicker_than(ink, THICKEST_RULE)
    half = cv2.dilate(thin, np.ones((2, 2), np.uint8))[::2, ::2]  # half the size is enough, and four times as fast
    width = half.shape[1]
    segments = cv2.HoughLinesP(
        half, 1, np.pi / 360, threshold=max(width // 8, 1), minLineLength=0.3 * width, maxLineGap=0.06 * width
    )
    if segments is None:
        return []
    segments = [tuple(2 * int(end) for end in segment) for segment in segments.reshape(-1, 4)]
    horizontal = [(x1, y1, x2, y2) for x1, y1, x2, y2 in segments if abs(y2 - y1) < 0.45 * (x2 - x1)]
    return sorted(horizontal, key=lambda segment: segment[0] - segment[2])


def _is_solid(ink, segment):
    """Whether a segment lies on ink almost all the way, and is very thin for its length.

    A row of digits is full of gaps. But the stems of digits that stand one below the other may nearly make a line: it
    is as thick as the strokes.
    """
    start, _, end, _ = segment
    if not ink[_along(ink, segment, 2)][:, start:end].any(axis=0).mean() > 0.85:
        return False
    strip = ink[_along(ink, segment, THICKEST_RULE)][:, start:end]
    return end - start > SLENDER * np.median(strip.sum(axis=0))


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


def _erase(ink, segments):
    """Without the thin ink along these segments; the strokes that cross them stay."""
    ink = ink.copy()
    for segment in segments:
        place = _along(ink, segment, THICKEST_RULE)
        strip = ink[place]
        thin = strip & ~_thicker_than(strip, THICKEST_RULE)
        near = slice(THICKEST_RULE // 2, -THICKEST_RULE // 2)
        thickness = int(np.median(thin[near, segment[0] : segment[2]].sum(axis=0)))
        near = slice(THICKEST_RULE - thickness - 1, THICKEST_RULE + thickness + 2)
        strip[near] &= _thicker_than(strip, thickness + thickness // 2 + 1)[near]
        ink[place] = strip
    return ink


def _thicker_than(ink, thickness):
    """The ink that is more than so many pixels thick from top to bottom (a morphological opening)."""
    return cv2.morphologyEx(ink, cv2.MORPH_OPEN, np.ones((thickness + 1, 1), np.uint8))
