"""From a picture to the 28x28 crops of its digits, in reading order. Knows nothing of networks.

    picture, size = open_to_read("digits.jpg")
    for digit in find_digits(picture, size):
        digit.crop, digit.box, digit.line

The same steps run for every picture, each a function below, in this order:

    scale_picture     every picture is brought to one size, so that lengths in pixels mean the same in all of them
    find_ink_scale    dark on light or light on dark, and how thick the strokes may be
    darkness          how much darker than the paper right there: shadows, coloured paper and desks drop out
    find_ink          which pixels are ink: two thresholds, taken from this picture's own noise and ink
    remove_rules      printed lines and squares go, the strokes that cross them stay
    find_glyphs       connected ink, without what is too small, too large, too flat or a frame
    join_strokes      the loose bar of a 5 finds its body
    split_touching    two digits that touch are cut where the bridge is thinnest
    sort_into_lines   lines from top to bottom, each from left to right, also when they slope
    normalise         each digit as MNIST was made: 20 pixels on the longest side, centre of mass in the middle
"""

from typing import NamedTuple

import numpy as np

from photos.grouping import drop_stray_marks, find_glyphs, join_strokes, sort_into_lines, split_touching
from photos.ink import darkness, find_ink_scale, find_sheet, ink_thresholds, keep_strong, scale_picture
from photos.normalise import normalise
from photos.rules import remove_frames, remove_rules


class Digit(NamedTuple):
    """One digit that was found: crop (28, 28) uint8, ink bright; box (x, y, width, height) in pixels of the upright
    picture; line, counted from 0 at the top."""

    crop: np.ndarray
    box: tuple[int, int, int, int]
    line: int


def find_digits(picture, size=None, stages=None):
    """Find the digits of a picture: a list of Digit in reading order, empty where there is none.

    picture: (height, width, 3) uint8 RGB. size: (width, height) of the full picture, in whose pixels the boxes are,
    where `picture` is a smaller copy. stages: a dict that is filled with what each step made, for --debug.
    """
    grey = scale_picture(picture)
    full_size = size or picture.shape[1::-1]
    across, down = (full / working for full, working in zip(full_size, grey.shape[::-1], strict=True))
    light_on_dark, window = find_ink_scale(grey)
    if light_on_dark:
        grey = 255 - grey
    dark, light = darkness(grey, window)
    sheet = find_sheet(grey, window)
    low, high = ink_thresholds(dark, light, sheet)
    ink = (dark > low) & sheet
    clean = keep_strong(remove_rules(remove_frames(ink)), dark > high)
    glyphs, height = find_glyphs(clean, sheet)
    glyphs = drop_stray_marks(join_strokes(glyphs, height), height)
    glyphs = split_touching(glyphs, height)
    digits = []
    for number, line in enumerate(sort_into_lines(glyphs)):
        for glyph in line:
            box = (
                round(glyph.x * across),
                round(glyph.y * down),
                max(1, round(glyph.width * across)),
                max(1, round(glyph.height * down)),
            )
            digits.append(Digit(normalise(glyph.mask * 255), box, number))
    if stages is not None:
        stages["grey"] = grey
        stages["darkness against the paper"] = dark
        stages["all that stands out"] = ink
        stages["ink, without rules and frames"] = clean
    return digits
