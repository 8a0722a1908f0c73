"""Which pixels of a picture are ink: the light is divided out, then two thresholds separate ink from paper.

Pictures are grey, (h, w) uint8, unless a function says otherwise. The working picture has at most 1600 pixels on its
longer side, and only one that would be enlarged too much has fewer. So lengths in pixels mean the same in nearly every
picture. A mask is (h, w) uint8, 0 or 1.
"""

from typing import NamedTuple

import cv2
import numpy as np

from photos.glyph import weighted_median
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


class InkScale(NamedTuple):
    """What may be ink in a picture."""

    light_on_dark: bool  # whether the ink is lighter than the paper
    window: int  # pixels, odd: the side of a square that no stroke fills, however it turns and bends


REACHES = (17, 33, 65, 129, 255)  # coarse pixels: sides of windows, each about twice the one before
FAINTEST_STROKE = 6  # grey levels of difference from the paper
DOUBTFUL = 0.25  # a side with more than this share of the writing may be the ink, if not the likelier one
MIN_WINDOW = 9  # coarse pixels


def ink_scales(grey):
    """What may be ink, a list of InkScale: the likelier side (dark or light) first, the other only where it may be.

    The median of a window is the level of the paper, for strokes fill less than half of it. What is darker or lighter
    may be ink. But only ink makes strokes: clear, and long beside their width. The gaps between strokes are broad and
    hardly differ from the median. Every window votes with the share of each side in the writing that it sees. Narrow
    ones also see the outlines of thick strokes, wide ones see sheets and shadows; ink is seen by most of them. Nothing
    depends on which side is light: the negative of a picture gets the opposite answer.
    """
    coarse = cv2.medianBlur(coarse_picture(grey), 3)
    sides = list(zip(*(_dark_and_light(coarse, reach) for reach in REACHES), strict=True))
    writing = np.array([[strokes.writing for strokes in side] for side in sides])  # (2 sides, 5 reaches)
    writing += 0.01 * writing.max() + 1e-9  # a window that sees next to nothing has no opinion
    shares = (writing / writing.sum(axis=0)).mean(axis=1)
    likelier = int(shares[1] > shares[0])
    scales = [_ink_scale(likelier, sides[likelier])]
    if shares.min() > DOUBTFUL:
        scales.append(_ink_scale(1 - likelier, sides[1 - likelier]))
    return scales


def _ink_scale(side, strokes):
    """The InkScale of a side (0: dark, 1: light), from the _Strokes that each window sees."""
    # Narrow windows see thick strokes in part, wide ones see shadows too: the first that sees most of the ink.
    ink = np.array([seen.ink for seen in strokes])
    width = strokes[int(np.argmax(ink > 0.5 * ink.max()))].width
    window = min(max(9 * (width - 1), MIN_WINDOW), REACHES[-1] // 2)  # - 1: the soft edges have been counted
    return InkScale(side == 1, int(window * COARSE) | 1)


class _Strokes(NamedTuple):
    """All strokes of one side: sums over them, each counted with the square of its contrast."""

    ink: float  # their length
    writing: float  # the same beside the width at their widest place: how much they look like strokes, small or large
    width: float  # coarse pixels, of most of them


def _dark_and_light(coarse, reach):
    """The _Strokes that are darker and those that are lighter than the median of a window with this side."""
    difference = coarse.astype(np.float32) - _median(coarse, reach)
    noise = 1.4826 * float(np.median(np.abs(difference[::3, ::3])))  # see `ink_thresholds`
    threshold = max(4 * noise, FAINTEST_STROKE)
    return _measure_strokes(-difference, threshold), _measure_strokes(difference, threshold)


def _median(coarse, reach):
    """The median of a square window with this side around each pixel. A wide one sees half the pixels, to be fast."""
    if reach <= 33:
        return cv2.medianBlur(coarse, reach)
    half = cv2.resize(coarse, [max(1, side // 2) for side in coarse.shape[::-1]], interpolation=cv2.INTER_AREA)
    return cv2.resize(cv2.medianBlur(half, reach // 2 | 1), coarse.shape[::-1], interpolation=cv2.INTER_LINEAR)


def _measure_strokes(contrast, threshold):
    """The _Strokes of a picture of contrasts, (h, w) float32 grey levels: the long parts above a threshold.

    A stroke that the border cuts off touches it with its width only. A desk or a shadow touches it with a whole side,
    and is left out. So is a speck, which is as wide as it is long.
    """
    mask = (contrast > threshold).astype(np.uint8)
    count, labels = cv2.connectedComponents(mask)
    framed = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    distance = cv2.distanceTransform(framed, cv2.DIST_L2, 3)[1:-1, 1:-1]
    place = np.nonzero(mask)
    part = labels[place]
    area = np.bincount(part, minlength=count)
    width = 4 * np.bincount(part, distance[place], count) / np.maximum(area, 1) - 1  # as in `stroke_width`
    width = np.maximum(width, 1)
    widest = np.zeros(count)
    np.maximum.at(widest, part, distance[place])
    widest = np.maximum(2 * widest - 1, width)
    strokes = (area > 3 * width**2) & (8 * _touch(labels, count) ** 2 < area)
    energy = np.bincount(part, np.square(contrast[place]), count)[strokes]
    width, widest = width[strokes], widest[strokes]
    ink = energy / width
    return _Strokes(float(ink.sum()), float((energy / widest**2).sum()), weighted_median(width, ink))


def _touch(labels, count):
    """How long each of the labelled parts touches the border of the picture, (count,): the mean of all its touches."""
    border = np.concatenate([labels[0], labels[:, -1], labels[-1, ::-1], labels[::-1, 0]])  # once around
    touches = np.bincount(border[border != np.roll(border, 1)], minlength=count)
    return np.bincount(border, minlength=count) / np.maximum(touches, 1)


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
    return np.take(kept.astype(np.uint8), labels)  # twice as fast as an index
