"""Which pixels of a picture are ink: the light is divided out, then two thresholds separate ink from paper.

Pictures are grey, (h, w) uint8, unless a function says otherwise. The working picture has at most 1600 pixels on its
longer side, and only one that would be enlarged too much has fewer. So lengths in pixels mean the same in nearly every
picture. A mask is (h, w) uint8, 0 or 1.
"""

import cv2
import numpy as np

from photos.glyph import connected_parts, stroke_width, weighted_median
from photos.opening import WORKING_SIDE

# -- the working picture ----------------------------------------------------------------------------------------------

MAX_ENLARGEMENT = 8  # of a small picture: a digit of a few pixels cannot be read, however large it is made
COARSE = 4  # a coarse picture, for what needs no detail, is this many times smaller than the working picture


def scale_picture(picture):
    """The working picture: (height, width, 3) uint8 RGB -> grey (h, w) uint8, WORKING_SIDE pixels on the longer side.

    A picture that would have to grow more than MAX_ENLARGEMENT times stays smaller. A blur removes the noise. One
    grain of noise is one pixel of the picture, so the blur grows with the enlargement.
    """
    scale = min(WORKING_SIDE / max(picture.shape[:2]), MAX_ENLARGEMENT)
    size = [max(1, round(side * scale)) for side in picture.shape[1::-1]]
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    grey = cv2.cvtColor(cv2.resize(picture, size, interpolation=interpolation), cv2.COLOR_RGB2GRAY)
    return cv2.GaussianBlur(grey, (0, 0), max(1.0, 0.5 * scale))


def coarse_picture(grey):
    """A working picture made COARSE times smaller, with at least one pixel."""
    size = [max(1, side // COARSE) for side in grey.shape[::-1]]
    return cv2.resize(grey, size, interpolation=cv2.INTER_AREA)


# -- light and darkness -----------------------------------------------------------------------------------------------

BLACK_POINT = 40  # grey levels (of 255), added to the light, so that noise in dark places does not count as ink


def paper_level(grey, window):
    """The light of the paper at each pixel, as if there were no strokes on it: (h, w) uint8 -> (h, w) uint8.

    A morphological closing with a square window (its side in pixels) fills every dark place that is narrower than the
    window. It changes nothing else: the edge of a shadow or of the paper stays sharp. A blur would smear it.
    """
    margin = window // 2  # beyond the border of the picture, the pixels of the border are repeated
    padded = cv2.copyMakeBorder(grey, margin, margin, margin, margin, cv2.BORDER_REPLICATE)
    paper = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, np.ones((window, window), np.uint8))
    return paper[margin : margin + grey.shape[0], margin : margin + grey.shape[1]]


def darkness(grey, window):
    """(dark, light), both float32 (h, w): how dark each pixel is against the paper around it, and the light there.

    light is the grey level of the paper + BLACK_POINT. dark is the loss of light / light, from 0 (paper) to below 1.
    Because of this division, ink in a shadow is nearly as dark as ink beside it.
    """
    paper = paper_level(grey, window)
    light = paper.astype(np.float32) + BLACK_POINT
    return cv2.subtract(paper, grey) / light, light


# -- which side is the ink, and how wide are its strokes --------------------------------------------------------------

WINDOWS = (9, 17, 33, 65, 129)  # sides in coarse pixels, each about twice the one before


def find_ink_scale(grey):
    """(light_on_dark, window): whether the ink is lighter than the paper, and a window wider than the strokes (pixels).

    The method: widen the window step by step, and measure the ink that stands out. While the window is narrower than
    the strokes, every step finds more ink. Once it is wider, the amount stays the same. It becomes steady only on the
    side (dark or light) that is the ink: the spaces between strokes have no common width. Ink at the border of the
    picture is left out, because a desk there grows with every window.
    """
    coarse = cv2.medianBlur(coarse_picture(grey), 3)
    sides = coarse, 255 - coarse
    amounts = np.array([[float(np.square(_inner_ink(side, window)).sum()) for window in WINDOWS] for side in sides])
    growth = np.abs(np.diff(np.log(amounts + 0.1), axis=1))  # (2 sides, 4 steps)
    growth[amounts[:, :-1] < 0.1] = np.inf  # amounts near 0 do not grow either, but that does not make them steady
    steady = growth < 0.3
    first = int(np.argmax(steady.any(axis=0))) if steady.any() else int(np.argmin(growth.min(axis=0)))
    side = int(growth[1, first] < growth[0, first])
    # Small marks become steady before thick strokes do: go on to the step that has most of the ink.
    ink = amounts[side, :-1] * steady[side]
    step = int(np.argmax(ink > 0.5 * ink.max())) if ink.any() else first
    strokes = _inner_ink(sides[side], WINDOWS[step]) > 0
    parts = connected_parts(strokes.astype(np.uint8), np.ones_like(coarse), smallest=3)[0]
    width = weighted_median([stroke_width(part.mask) for part in parts], [part.area for part in parts])
    window = min(max(12 * width, WINDOWS[0]), WINDOWS[step + 1])
    return side == 1, int(window * COARSE) | 1


def _inner_ink(grey, window):
    """The darkness of what stands out clearly and does not run along the picture's border; 0 elsewhere.

    A stroke that the border cuts off touches it with its width only. A desk or a shadow touches it with a whole side.
    """
    dark, _ = darkness(grey, window)
    count, labels = cv2.connectedComponents((dark > 0.12).astype(np.uint8))
    area = np.bincount(labels.ravel(), minlength=count)
    border = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    inner = 8 * np.bincount(border, minlength=count) ** 2 < area
    inner[0] = False
    dark[~inner[labels]] = 0
    return dark


# -- the sheet --------------------------------------------------------------------------------------------------------

NEARBY = 31  # coarse pixels: within half of this distance ...
SHADOW = 0.5  # ... the light on one surface does not fall below this share, not even at the edge of a shadow
EDGE = 5  # coarse pixels: the width of the edge between two surfaces, with its blur


def find_sheet(grey, window):
    """Mask (h, w) uint8 0/1 of the surface that is written on, without the much darker desk around it.

    A closing fills the strokes and keeps the edges between surfaces sharp. Light fades slowly across a sheet, so that
    its far corner may be as dark as a desk. Another surface begins only where much of the light is lost within a short
    distance. A bright surface that is small beside the sheet (print on the desk) does not count.
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
    sheet = cv2.erode(sheet.astype(np.uint8), np.ones((EDGE, EDGE), np.uint8))  # the edge belongs to neither surface
    return cv2.resize(sheet, grey.shape[::-1], interpolation=cv2.INTER_NEAREST)


# -- thresholds -------------------------------------------------------------------------------------------------------

FAINTEST_INK = 0.04  # darkness; what is less dark is never ink


def ink_thresholds(dark, light, sheet):
    """(low, high), float32 (h, w): a pixel may be ink above low, and a stroke must be above high in some place.

    Strokes fade, and a low threshold follows them to their end. But the texture of the paper also passes a low
    threshold, so the high one decides which connected parts are ink at all. Otsu's method finds the high threshold,
    among the pixels that stand out of the noise. The noise is measured on the paper, which is most of any picture, by
    the median absolute deviation (times 1.4826 it is the standard deviation of a normal distribution). The noise of a
    sensor has the same grey levels everywhere. In the dark they are a large share of the light, hence the division.
    """
    dots = slice(None, None, 3), slice(None, None, 3)  # every third pixel of every third row is enough
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
    """The connected parts of a mask that meet another mask somewhere (hysteresis): (h, w) uint8 0/1."""
    count, labels = cv2.connectedComponents(ink)
    kept = np.bincount(labels[strong > 0], minlength=count) > 0
    kept[0] = False
    return kept[labels].astype(np.uint8)
