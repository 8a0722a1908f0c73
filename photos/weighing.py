"""How likely a piece of ink is one digit, or a mark that is none, by its size, its ink and its place.

The network judges the shape alone: it sees every crop at the same size, and one at a time. What is here is what a page
tells besides. One hand wrote its digits with one pen: they have nearly the same height, width of stroke and darkness.

Every weight is the logarithm of a probability, up to a constant. The numbers were chosen by hand, by what they do for
the photos that the reader was developed with.
"""

from typing import NamedTuple

import numpy as np

from photos.glyph import Glyph, weighted_median
from photos.grouping import FLATTEST, distance
from photos.lattice import bits
from sizes import SEVERAL


class Candidate(NamedTuple):
    """A set of pieces of ink that may be one digit."""

    members: int  # bit i is set when piece i belongs to it
    glyph: Glyph
    is_part: bool  # a connected part of the ink, whole, as it was before cuts


class Writing(NamedTuple):
    """What most digits of a page have in common."""

    height: float  # of a digit, in pixels
    stroke: float  # width of a stroke, in pixels
    darkness: float  # of the ink, see ink.darkness


SMALL, LARGE = 0.25, 0.5  # of the height of a digit: what is not longer is a speck; what is longer is none


def as_large(glyphs, height):
    """From 0, a speck, to 1, as large as a digit, for each of N glyphs: (N,). height: of a digit in pixels."""
    return np.interp([glyph.size / height for glyph in glyphs], [SMALL, LARGE], [0.0, 1.0])


def writing_of(parts, height, dark):
    """The Writing of a page, from its connected parts of ink (at least one) and its darkness (h, w)."""
    parts = [part for part in parts if part.size > LARGE * height] or parts
    lengths = [part.length for part in parts]
    strokes = [part.stroke for part in parts]
    return Writing(height, weighted_median(strokes, lengths), weighted_median(darknesses(parts, dark), lengths))


def darknesses(glyphs, dark):
    """How dark each glyph is, where its ink is not faint: a quarter of it is darker than this."""
    return [
        float(np.percentile(dark[glyph.y : glyph.bottom, glyph.x : glyph.right][glyph.mask > 0], 75))
        for glyph in glyphs
    ]


# -- as one thing -----------------------------------------------------------------------------------------------------


def one_weights(probabilities):
    """How likely each candidate is one thing by its shape, as a logarithm: probabilities (N, C) -> (N,).

    What looks like several digits is neither a digit nor a mark, but the digits that it can be cut into.
    """
    several = probabilities[:, SEVERAL] if probabilities.shape[1] > SEVERAL else np.zeros(len(probabilities))
    return np.log(np.maximum(1 - several, 1e-3))


# -- as a digit -------------------------------------------------------------------------------------------------------

DIGIT = -0.25  # each digit more must be worth it: of two readings that are equally good, the one with fewer is right
HEIGHTS, STROKES, DARKNESSES = 0.5, 0.25, 0.2  # how much digits of a page differ: standard deviation of the logarithm
UNUSUAL = -5.0  # nothing unusual makes a digit less likely than this: there are exceptions
SMALLEST = 0.25  # a digit is at least so high, as a share of the usual height
WIDEST, WIDTHS = 1.2, 0.2  # a digit is seldom wider than so many usual heights, but one with its underline is
IMPOSSIBLE = -10.0
GAP = -5.0  # for a gap between the pieces of a digit that is as wide as a digit is high
CUT, CUT_NARROW = -0.5, -4.0  # for a cut; and besides, if what is cut is narrow (so much if it had no width at all)


def digit_weights(candidates, pieces, writing, dark):
    """The weight of each candidate as a digit: (N,). pieces: the glyphs that bits stand for."""
    part_of = {piece: candidate for candidate in candidates if candidate.is_part for piece in bits(candidate.members)}
    darkness = darknesses([candidate.glyph for candidate in candidates], dark)
    weights = []
    for candidate, ink in zip(candidates, darkness, strict=True):
        glyph, members = candidate.glyph, list(bits(candidate.members))
        parts = list({part_of[i].members: part_of[i] for i in members}.values())
        usual_ink = _usual(glyph.stroke / writing.stroke, STROKES) + _usual(ink / writing.darkness, DARKNESSES)
        gaps = 0.0 if candidate.is_part else _gaps([pieces[i] for i in members])
        weights.append(
            DIGIT
            + _size_weight(glyph, writing.height)
            + _count_large(parts, writing.height) * usual_ink
            + GAP * gaps / writing.height
            + _cut_weight(candidate, parts, writing.height)
        )
    return np.array(weights)


def _count_large(parts, height):
    """How many of these parts are as large as a digit, at least 1.

    Neighbours are written alike. If the ink of two large parts is unusual, it is so for one digit as for two: counted
    once for each digit, it would speak for taking both parts as one.
    """
    return max(1.0, float(sum(as_large([part.glyph for part in parts], height))))


def _usual(ratio, spread):
    """How usual a ratio is: 0 for 1, and less the more it differs (the exponent of a normal distribution)."""
    return max(-0.5 * (np.log(max(ratio, 1e-3)) / spread) ** 2, UNUSUAL)


def _size_weight(glyph, height):
    """By the height, where that of a digit which lies flat is taken as half its width; and by the width, if large."""
    if glyph.width > FLATTEST * glyph.height or glyph.height < SMALLEST * height:
        return IMPOSSIBLE
    too_wide = max(1.0, glyph.width / (WIDEST * height))
    return _usual(max(glyph.height, 0.5 * glyph.width) / height, HEIGHTS) + _usual(too_wide, WIDTHS)


def _gaps(pieces):
    """The sum of the gaps in pixels that must be jumped to get from one piece to all others."""
    reached, others, total = pieces[:1], pieces[1:], 0.0
    while others:
        gap, i = min((distance(a, b), i) for i, b in enumerate(others) for a in reached)
        total += gap
        reached.append(others.pop(i))
    return total


def _cut_weight(candidate, parts, height):
    """For the cuts through the parts that the candidate has pieces of; what is beyond a cut bears the other half."""
    weight = 0.0
    for part in parts:
        if part.members & ~candidate.members:
            narrow = max(0.0, 1 - part.glyph.width / max(height, part.glyph.height))
            weight += 0.5 * (CUT + CUT_NARROW * narrow)
    return weight


# -- as a mark --------------------------------------------------------------------------------------------------------

SUREST = 0.007  # the least probability of a mark that is believed: the network is too sure of strange shapes


def mark_weights(candidates, rejected, height, share):
    """The weight of each candidate as a mark: (N,).

    rejected: (N,) the network's probability that it is no digit, which means nothing for specks. share: of all large
    things on the page, how many are marks.
    """
    large = as_large([candidate.glyph for candidate in candidates], height)
    return large * np.log(share) + np.log(np.maximum(1 - (1 - rejected) * large, SUREST))
