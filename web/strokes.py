"""From the strokes of a drawing, as the page sends them, to ink."""

import cv2
import numpy as np

from errors import UserError

MAX_SIDE = 2000  # pixels of a drawing
MAX_POINTS = 50_000  # of all its strokes
MAX_PEN = 100  # pixels


def draw_ink(drawing):
    """The ink of a drawing: a mask (height, width) uint8, 1 where a stroke is.

    drawing: a dict with `size`, [width, height]; `pen`, the width of the strokes; and `strokes`, each a list of whole
    numbers [x, y, x, y, ...], all in pixels. Raises UserError when it is no such dict.
    """
    try:
        width, height = (int(side) for side in drawing["size"])
        pen = int(drawing["pen"])
        strokes = [np.asarray(stroke, np.float64).reshape(-1, 2) for stroke in drawing["strokes"]]
    except (KeyError, TypeError, ValueError, OverflowError):
        raise UserError("this is no drawing: size, pen and strokes are needed") from None
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE and 0 < pen <= MAX_PEN):
        raise UserError(f"a drawing has at most {MAX_SIDE}x{MAX_SIDE} pixels, and a pen of at most {MAX_PEN}")
    if sum(map(len, strokes)) > MAX_POINTS:
        raise UserError(f"the drawing has more than {MAX_POINTS:,} points: clear it")
    ink = np.zeros((height, width), np.uint8)
    for stroke in strokes:
        points = np.clip(np.nan_to_num(stroke), -MAX_SIDE, 2 * MAX_SIDE).round().astype(np.int32)
        if len(points):  # a single point, too, is a line: from itself to itself, with round ends
            cv2.polylines(ink, [np.vstack([points, points[-1:]])], False, 1, pen)
    return ink
