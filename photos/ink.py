"""INK."""

import cv2
import numpy as np

from photos.glyph import connected_parts, stroke_width, weighted_median
from photos.opening import WORKING_SIDE

COARSE = 4  # the search for the ink's scale works on a picture this many times smaller
BLACK_POINT = 40  # grey levels (of 255): below this much light, differences are noise and not ink
EDGE = 5  # coarse pixels; so wide, with its blur, is the edge between two surfaces
NEARBY = 31  # coarse pixels; within half of that, light on one surface does not fall below ...
SHADOW = 0.5  # ... this share, not even into a shadow
FAINTEST_INK = 0.04  # darkness; below, nothing is ink
MAX_ENLARGEMENT = 8  # of a small picture: a few pixels make no digit, however large


def scale_picture(picture):
    """(height, width, 3) uint8 -> grey (h, w) uint8 with WORKING_SIDE pixels on the longer side.

    The blur takes out the noise, whose grain is one pixel of the picture, however much that was enlarged.
    """
    scale = min(WORKING_SIDE / max(picture.shape[:2]), MAX_ENLARGEMENT)
    size = [max(1, round(side * scale)) for side in picture.shape[1::-1]]
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    grey = cv2.cvtColor(cv2.resize(picture, size, interpolation=interpolation), cv2.COLOR_RGB2GRAY)
    return cv2.GaussianBlur(grey, (0, 0), max(1.0, 0.5 * scale))


def coarse_picture(grey):
    """A working picture COARSE times smaller, but never without pixels."""
    size = [max(1, side // COARSE) for side in grey.shape[::-1]]
    return cv2.resize(grey, size, interpolation=cv2.INTER_AREA)


def paper_level(grey, window):
    """The light of the paper at each pixel, as if there were no strokes on it; uint8, of a (h, w) uint8 picture.

    A closing with a square window fills whatever dark is narrower than the window, and nothing else: shadows and the
    edge between paper and desk stay where they are, as in a blurred background they would not.
    """
    margin = window // 2  # the desk goes on beyond the border of the picture
    padded = cv2.copyMakeBorder(grey, margin, margin, margin, margin, cv2.BORDER_REPLICATE)
    paper = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, np.ones((window, window), np.uint8))
    return paper[margin : margin + grey.shape[0], margin : margin + grey.shape[1]]


def darkness(grey, window):
    """(dark, light): how dark each pixel is against the paper around it, 0 (paper) to 1, and its light.

    Both are float32 (h, w). Dividing by the light takes it out, so that ink is as dark in a shadow as beside it.
    """
    paper = paper_level(grey, window)
    light = paper.astype(np.float32) + BLACK_POINT
    return cv2.subtract(paper, grey) / light, light


def find_ink_scale(grey):
    """(light_on_dark, window): which way round the picture is, and a window that the strokes are narrower than.

    Widen the window step by step and watch how much ink there is. Below the width of the strokes it grows with every
    step; above, it stays as it is. Only on the right side, dark or light, does it come to rest: what lies between
    strokes has no width of its own. What touches the border is left out, for the desk grows with every window.
    """
    coarse = cv2.medianBlur(coarse_picture(grey), 3)
    sides = coarse, 255 - coarse
    windows = [9, 17, 33, 65, 129]
    amounts = np.array([[float(np.square(_inner_ink(side, window)).sum()) for window in windows] for side in sides])
    growth = np.abs(np.diff(np.log(amounts + 0.1), axis=1))  # (2 sides, 4 steps)
    growth[amounts[:, :-1] < 0.1] = np.inf  # no ink at all does not grow either, but that tells nothing
    at_rest = growth < 0.3
    first = int(np.argmax(at_rest.any(axis=0))) if at_rest.any() else int(np.argmin(growth.min(axis=0)))
    side = int(growth[1, first] < growth[0, first])
    # Small marks come to rest before thick strokes do: go on to where most of the ink is in.
    ink = amounts[side, :-1] * at_rest[side]
    step = int(np.argmax(ink > 0.5 * ink.max())) if ink.any() else first
    strokes = _inner_ink(sides[side], windows[step]) > 0
    parts = connected_parts(strokes.astype(np.uint8), np.ones_like(coarse), smallest=3)[0]
    width = weighted_median([stroke_width(part.mask) for part in parts], [part.area for part in parts])
    window = min(max(12 * width, windows[0]), windows[step + 1])
    return side == 1, int(window * COARSE) | 1


def _inner_ink(grey, window):
    """The darkness of what stands out clearly and does not run along the picture's border, 0 elsewhere.

    A stroke that is cut off touches the border with its width, but desks and shadows with their whole side.
    """
    dark, _ = darkness(grey, window)
    count, labels = cv2.connectedComponents((dark > 0.12).astype(np.uint8))
    area = np.bincount(labels.ravel(), minlength=count)
    border = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    inner = 8 * np.bincount(border, minlength=count) ** 2 < area
    inner[0] = False
    dark[~inner[labels]] = 0
    return dark


def find_sheet(grey, window):
    """Mask (h, w) uint8 0/1 of the surface that is written on: all but what is far darker, such as the desk around it.

    A closing fills the strokes and keeps the edges between surfaces sharp. Dark ink is written on the bright surface.
    Light fades slowly, so a sheet may end up as dark as a desk in its far corner; only where much of the light is lost
    within a short way does another surface begin. What is bright but small beside the sheet (print on the desk) is no
    sheet.
    """
    window = window // COARSE
    surface = paper_level(coarse_picture(grey), window)
    nearby = cv2.dilate(surface, np.ones((NEARBY, NEARBY), np.uint8))
    even = (surface >= SHADOW * nearby).astype(np.uint8)
    sheet = keep_strong(even, surface >= SHADOW * np.percentile(surface, 98))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(sheet)
    areas = stats[:, cv2.CC_STAT_AREA]
    areas[0] = 0  # the desk
    sheet = (areas >= 0.1 * areas.max())[labels] & (sheet > 0)
    sheet = cv2.erode(sheet.astype(np.uint8), np.ones((EDGE, EDGE), np.uint8))  # the edge itself is neither
    return cv2.resize(sheet, grey.shape[::-1], interpolation=cv2.INTER_NEAREST)


def ink_thresholds(dark, light, sheet):
    """(low, high): above low a pixel may be ink, and a stroke must somewhere be above high; float32 (h, w).

    Strokes fade, so a low threshold is needed to follow them; so does the paper's texture begin, and a high one tells
    which of the connected parts are ink at all. Otsu's method finds the high one among the pixels that stand out of
    the noise; noise is measured on the paper, which is most of any picture (median absolute deviation). The sensor's
    noise is the same everywhere in grey levels: where there is little light, it is much of the darkness.
    """
    dots = slice(None, None, 3), slice(None, None, 3)
    on_sheet = sheet[dots] > 0
    sample, light_there = dark[dots][on_sheet], light[dots][on_sheet]
    if sample.size == 0:
        return np.ones_like(dark), np.ones_like(dark)
    paper = float(np.median(sample))
    noise = 1.4826 * float(np.median(np.abs(sample - paper) * light_there))  # grey levels
    floor = np.maximum(paper + 4 * noise / light, FAINTEST_INK)
    levels = (sample[sample > floor[dots][on_sheet]] * 255).astype(np.uint8)
    high = cv2.threshold(levels, 0, 255, cv2.THRESH_OTSU)[0] / 255 if levels.size else 0.0
    return np.maximum(floor, np.float32(0.5 * high)), np.maximum(floor, np.float32(high))


def keep_strong(ink, strong):
    """The connected parts of an ink mask that are somewhere strong (another mask); both (h, w) uint8 0/1."""
    count, labels = cv2.connectedComponents(ink)
    kept = np.bincount(labels[strong > 0], minlength=count) > 0
    kept[0] = False
    return kept[labels].astype(np.uint8)
