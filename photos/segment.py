"""From a picture to the connected parts of its ink. Knows nothing of networks.

    grey = scale_picture(picture)
    for scale in ink_scales(grey):
        found = find_parts(grey, scale)  # found.parts, found.height ...

Every picture goes through the same stages, in this order. Their names, on the left, are those on the sheet that
`analyze.py --debug` draws. reading.py tells how it goes on after the parts.

    grey            ink.scale_picture          every picture gets one size, so lengths in pixels mean the same in all
    darkness        ink.ink_scales             dark on light or light on dark, and how thick the strokes may be
                    ink.darkness               how much darker than the paper around it: shadows and colours drop out
    threshold       ink.find_sheet             the surface that is written on, without the desk
                    ink.ink_thresholds         two thresholds for ink, from the noise and the ink of this picture
    rules removed   rules.remove_frames        drawn boxes go
                    rules.remove_rules         printed lines and squares go, the strokes that cross them stay
                    ink.keep_strong            faint ink stays only where it is connected to dark ink
    parts           grouping.find_glyphs       connected ink, without what is too large, too thick or a frame
                    glyph.contrast             what hardly stands out of the texture around it goes
    candidates      cutting.cut                where a part may be several digits, it is cut
                    grouping.unions            pieces that may be one digit together
    crop            normalise.straighten       each piece and each union without its slant ...
                    normalise.even_strokes     ... with strokes of one width ...
                    normalise.centre           ... and as large as MNIST's digits, in the middle of 28x28 pixels
    views           reading.shifted_views      the crop in five places, a pixel apart
    probabilities   reading.classify           the network reads all views; the mean of its probabilities counts
    lines           reading.is_text            nothing is read in what the network finds doubtful again and again
                    weighing.digit_weights     how likely each candidate is a digit by its size, its ink and its place
                    weighing.mark_weights      ... and how likely it is none
                    lattice.best_cover         the likeliest way to explain all pieces, as digits and as marks
                    grouping.sort_into_lines   lines from top to bottom, each from left to right, also when they slope
"""

from typing import NamedTuple

import numpy as np

from photos.glyph import Glyph, contrast
from photos.grouping import find_glyphs
from photos.ink import darkness, find_sheet, ink_thresholds, keep_strong
from photos.rules import remove_frames, remove_rules

SPECK = 0.15  # of the height of a digit: what is not longer is never a digit, nor a part that it needs
LEAST_CONTRAST = 3  # standard deviations; almost no paper goes so far by chance


class Parts(NamedTuple):
    """The ink of a picture, in pixels of the working picture."""

    parts: list[Glyph]  # the connected parts
    height: float  # the typical height of a digit
    dark: np.ndarray  # (h, w) float32, see ink.darkness
    stages: dict[str, np.ndarray]  # a picture (h, w) of each stage before the parts, by its name


def drawn_parts(ink):
    """The Parts of ink that is known, such as strokes on a screen: (h, w) uint8 0/1. No light, no paper, no rules."""
    parts, height = find_glyphs(ink, np.ones_like(ink))
    parts = [part for part in parts if part.size > SPECK * height]
    return Parts(parts, height, ink.astype(np.float32), {})


def find_parts(grey, scale):
    """The Parts of a working picture (h, w) uint8. scale: one of ink_scales(grey)."""
    light_on_dark, window = scale
    if light_on_dark:
        grey = 255 - grey
    dark, light = darkness(grey, window)
    sheet = find_sheet(grey, window)
    low, high = ink_thresholds(dark, light, sheet)
    ink = (dark > low) & sheet
    clean = keep_strong(remove_rules(remove_frames(ink)), dark > high)
    parts, height = find_glyphs(clean, sheet)
    parts = [part for part in parts if part.size > SPECK * height and contrast(part, dark) > LEAST_CONTRAST]
    stages = {
        "grey": grey,
        "darkness": dark,
        "threshold": ink,
        "rules removed": clean,
    }
    return Parts(parts, height, dark, stages)
