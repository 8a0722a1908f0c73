"""A glyph is a connected piece of ink; here are its measures, and the search for all glyphs of an ink mask.

Later stages decide what a glyph is: a digit, a part of a digit, or something else.
"""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

GREY_LEVEL = 1 / 255  # of darkness: even paper without noise is not known better


@dataclass(eq=False)
class Glyph:
    """A connected piece of ink. Lengths and places are in pixels of the working picture, areas in square pixels."""

    x: int  # the top left corner of its box
    y: int
    mask: np.ndarray  # (height, width) uint8, 1 where there is ink

    @property
    def width(self):
        return self.mask.shape[1]

    @property
    def height(self):
        return self.mask.shape[0]

    @property
    def right(self):
        """The first column to the right of the box."""
        return self.x + self.width

    @property
    def bottom(self):
        """The first row below the box."""
        return self.y + self.height

    @property
    def centre(self):
        """(x, y) of the middle of the box."""
        return self.x + self.width / 2, self.y + self.height / 2

    @property
    def area(self):
        """How many pixels are ink."""
        return int(np.count_nonzero(self.mask))

    @property
    def size(self):
        """The longer side of the box."""
        return max(self.width, self.height)

    @cached_property
    def stroke(self):
        """Mean width of its strokes."""
        return stroke_width(self.mask)

    @property
    def length(self):
        """Length of all its strokes together."""
        return self.area / self.stroke


def connected_parts(ink, inside, smallest=8):
    """The connected parts of a mask as glyphs: ([those that lie wholly inside another mask], [the others]).

    ink, inside: (h, w) uint8 0/1. smallest: in pixels; a part is left out if the longer side of its box is shorter
    than this.
    """
    # Of OpenCV's algorithms, all with the same result, this one (block-based decision tables) is three times as fast as
    # the default on one core, and as fast on several.
    count, labels, stats, _ = cv2.connectedComponentsWithStatsWithAlgorithm(ink, 8, cv2.CV_32S, cv2.CCL_BBDT)
    outside = np.bincount(labels[inside == 0], minlength=count) > 0
    glyphs = [], []
    large = stats[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]].max(axis=1) >= smallest
    for label in np.flatnonzero(large[1:]) + 1:  # label 0 is the paper
        x, y, width, height = map(int, stats[label, :4])
        mask = (labels[y : y + height, x : x + width] == label).astype(np.uint8)
        glyphs[int(outside[label])].append(Glyph(x, y, mask))
    return glyphs


def stroke_width(mask):
    """Mean width in pixels of the strokes of a mask (h, w) uint8 0/1; at least 1.

    Across a stroke of width w the distance to its edge rises from 0 to w/2 and falls again: w/4 on average.
    """
    padded = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, 3)
    return max(4 * float(distance[padded > 0].mean()) - 1, 1.0)  # OpenCV measures to the first pixel outside: - 1


def contrast(glyph, dark):
    """How far the ink of a glyph stands out of the paper around it: in standard deviations of that paper's darkness.

    dark: (h, w) float32, see ink.darkness. The paper is what lies within two strokes of the glyph's box, but not at its
    edge, which is blurred. The median absolute deviation estimates the standard deviation, see ink.ink_thresholds.
    """
    reach, edge = max(3, round(2 * glyph.stroke)), max(1, round(glyph.stroke / 3))
    left, top = max(0, glyph.x - reach), max(0, glyph.y - reach)
    around = dark[top : glyph.bottom + reach, left : glyph.right + reach]
    ink = np.zeros(around.shape, np.uint8)
    ink[glyph.y - top : glyph.bottom - top, glyph.x - left : glyph.right - left] = glyph.mask
    paper = around[cv2.dilate(ink, np.ones((2 * edge + 1, 2 * edge + 1), np.uint8)) == 0]
    if paper.size == 0:
        return np.inf
    level = float(np.median(paper))
    noise = 1.4826 * float(np.median(np.abs(paper - level))) + GREY_LEVEL
    return (float(np.median(around[ink > 0])) - level) / noise


def weighted_median(values, weights):
    """The value below which half of the weight lies; 0 without values."""
    if len(values) == 0:
        return 0.0
    order = np.argsort(values)
    weight = np.cumsum(np.asarray(weights)[order])
    return float(np.asarray(values)[order][np.searchsorted(weight, weight[-1] / 2)])


def is_frame(glyph, glyphs, share=0.15):
    """Whether a glyph is hollow, and inside its box is another glyph that is taller than this share of its height."""
    if glyph.area > 0.2 * glyph.width * glyph.height:
        return False
    return any(
        other.height > share * glyph.height
        and glyph.x < other.x
        and glyph.y < other.y
        and other.right < glyph.right
        and other.bottom < glyph.bottom
        for other in glyphs
    )
