"""From a picture to the 28x28 crops of its digits, in reading order. Knows nothing of networks.

    picture, size = open_to_read("digits.jpg")
    for digit in find_digits(picture, size):
        digit.crop, digit.box, digit.line

Every picture goes through the same stages, in this order:

    ink.scale_picture            every picture gets one size, so that lengths in pixels mean the same in all of them
    ink.find_ink_scale           dark on light or light on dark, and how thick the strokes may be
    ink.darkness                 how much darker than the paper around it: shadows and coloured paper drop out
    ink.find_sheet               the surface that is written on, without the desk
    ink.ink_thresholds           two thresholds for ink, from the noise and the ink of this picture
    rules.remove_frames          drawn boxes go
    rules.remove_rules           printed lines and squares go, the strokes that cross them stay
    ink.keep_strong              faint ink stays only where it is connected to dark ink
    grouping.find_glyphs         connected ink, without what is too small, too large, too thick or a frame
    grouping.join_strokes        the loose bar of a 5 is joined with its body
    grouping.drop_stray_marks    specks, dashes and underlines go
    grouping.split_touching      two digits that touch are cut where the bridge is thinnest
    grouping.sort_into_lines     lines from top to bottom, each from left to right, also when they slope
    normalise.normalise          each digit in the form of MNIST
"""

from typing import NamedTuple

import numpy as np

from photos.grouping import drop_stray_marks, find_glyphs, join_strokes, sort_into_lines, split_touching
from photos.ink import darkness, find_ink_scale, find_sheet, ink_thresholds, keep_strong, scale_picture
from photos.normalise import normalise
from photos.rules import remove_frames, remove_rules


class Digit(NamedTuple):
    """One digit that was found."""

    crop: np.ndarray  # (28, 28) uint8, ink bright on dark
    box: tuple[int, int, int, int]  # x, y, width, height in pixels of the whole upright picture
    line: int  # from 0 at the top


def find_digits(picture, size=None, stages=None):
    """Find the digits of a picture: a list of Digit in reading order, empty where there is none.

    picture: (height, width, 3) uint8 RGB. size: (width, height) of the whole picture, for the boxes, if `picture` is a
    smaller copy. stages: a dict, which gets a picture (h, w) of some stages by name, for --debug.
    """
    grey = scale_picture(picture)
    light_on_dark, window = find_ink_scale(grey)
    if light_on_dark:
        grey = 255 - grey
    dark, light = darkness(grey, window)
    sheet = find_sheet(grey, window)
    low, high = ink_thresholds(dark, light, sheet)
    ink = (dark > low) & sheet
    clean = keep_strong(remove_rules(remove_frames(ink)), dark > high)
    glyphs, height = find_glyphs(clean, sheet)
    glyphs = join_strokes(glyphs, height)
    glyphs = drop_stray_marks(glyphs, height)
    glyphs = split_touching(glyphs, height)
    lines = sort_into_lines(glyphs)
    if stages is not None:
        stages["grey"] = grey
        stages["darkness against the paper"] = dark
        stages["all that stands out"] = ink
        stages["ink, without rules and frames"] = clean
    full_width, full_height = size or picture.shape[1::-1]
    scale = full_width / grey.shape[1], full_height / grey.shape[0]
    return [
        Digit(normalise(glyph.mask * 255), _full_size_box(glyph, scale), number)
        for number, line in enumerate(lines)
        for glyph in line
    ]


def _full_size_box(glyph, scale):
    """(x, y, width, height) of a glyph in pixels of the whole picture. scale: (x, y), its pixels per working pixel."""
    across, down = scale
    return (
        round(glyph.x * across),
        round(glyph.y * down),
        max(1, round(glyph.width * across)),
        max(1, round(glyph.height * down)),
    )
