"""What is no digit: a part of one, several together, or a mark. The reader's network learns to say so.

    image, label = draw_no_digit(digit, neighbour, np.random.default_rng(0))

A reader that knows only ten digits must call every piece of ink one of them. With these three classes more it can be
asked whether a glyph is one digit, half a digit or two, and whoever cuts the ink into glyphs can choose the cut that
reads best.

What still looks like a digit is not made: an upright stroke (a 1), a ring (a 0, also when it is half an 8), a part that
is nearly the whole digit. The network would learn to doubt true digits.
"""

import math

import cv2
import numpy as np

from photos.handwriting import FORMS, write_digit, write_strokes
from photos.marks import draw_mark, largest_part, like_a_one
from sizes import MARK, PART, SEVERAL

SCALE = 3  # an image of MNIST is made so many times larger before it is cut or joined, so that its edges stay smooth
TRIES = 8  # to make a part of a digit that cannot be taken for a digit
UNEVEN_CUT = 0.25  # radians by which a cut is not level or upright: standard deviation
WITHOUT_STEM = 0.08  # how many parts are a 4 whose stem is missing, because it is often a stroke of its own
SHARES = {PART: 1 / 3, SEVERAL: 1 / 3, MARK: 1 / 3}


def draw_no_digit(digit, neighbour, random):
    """An image that is no digit, and its class: ((h, w) uint8, PART, SEVERAL or MARK), ink bright on dark.

    digit, neighbour: (image (28, 28) uint8 of MNIST, its label) each; parts are cut from the first, and both are set
    side by side. random: a NumPy generator.
    """
    label = int(random.choice(list(SHARES), p=list(SHARES.values())))
    if label == MARK:
        return draw_mark(random), MARK
    if label == SEVERAL:
        return draw_several(_some_digit(digit, random), _some_digit(neighbour, random), random), SEVERAL
    if random.random() < WITHOUT_STEM:
        return draw_four_without_stem(random), PART
    part = None
    while part is None:  # a 1, say, has no parts: another digit is written in its place
        part = draw_part(*_some_digit(digit, random), random)
    return part, PART


WRITTEN = 0.4  # how many of the digits that are cut or joined are written from nothing


def _some_digit(digit, random):
    """(mask, label): the digit of MNIST, or another one that is written, as a mask (h, w) uint8 0/1 without margin."""
    image, label = digit
    if random.random() < WRITTEN or not (image > 127).any():
        label = int(random.integers(10))
        image, scale = write_digit(label, random), SCALE / 2
    else:
        scale = SCALE
    large = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    return trim((large > 127).astype(np.uint8)), label


def trim(mask):
    """A mask without the empty rows and columns around its ink."""
    x, y, width, height = cv2.boundingRect(mask)
    return mask[y : y + height, x : x + width]


# -- parts of a digit -------------------------------------------------------------------------------------------------

RIGHT, BOTTOM, LEFT, TOP = range(4)  # the side that is cut away, in quarter turns from the x axis; y points down
# digit: (sides that may be cut away, how much of the ink may be left). Cuts that are missing here leave what looks like
# a digit: the right half of an 8 is a 3, the upper part of a 3 a 7, and what is left of a 1 is a 1.
CUTS = {
    0: ((RIGHT, BOTTOM, LEFT, TOP), 0.6),
    2: ((RIGHT, TOP), 0.65),
    3: ((TOP,), 0.65),
    4: ((RIGHT, BOTTOM, LEFT), 0.5),
    5: ((RIGHT, BOTTOM, TOP), 0.6),
    6: ((RIGHT, LEFT, TOP), 0.5),
    8: ((RIGHT, BOTTOM, TOP), 0.6),
    9: ((BOTTOM,), 0.5),
}


def draw_part(mask, label, random):
    """A digit cut in two by a straight line, one side of it: (h, w) uint8, or None if no cut gives a part.

    mask: (h, w) uint8 0/1, the digit.
    """
    if label not in CUTS:
        return None
    sides, most = CUTS[label]
    rows, columns = np.nonzero(mask)
    for _ in range(TRIES):
        angle = sides[random.integers(len(sides))] * math.pi / 2 + random.normal(0, UNEVEN_CUT)
        along = columns * math.cos(angle) + rows * math.sin(angle)
        kept = along <= np.quantile(along, random.uniform(0.25, most))
        half = np.zeros_like(mask)
        half[rows[kept], columns[kept]] = 1
        half = largest_part(half)
        if half.sum() > 0.2 * mask.sum() and not count_holes(half) and not like_a_one(half):
            return 255 * trim(half)
    return None


def draw_four_without_stem(random):
    """The first of the two strokes of a written 4: (h, w) uint8."""
    while True:
        strokes = FORMS[4](random)
        if len(strokes) == 2:
            return write_strokes(strokes[:1], random)


def count_holes(mask):
    """How many holes the ink has."""
    paper = np.pad(mask == 0, 1, constant_values=True).astype(np.uint8)
    return cv2.connectedComponents(paper, connectivity=4)[0] - 2


# -- several digits ---------------------------------------------------------------------------------------------------


WITH_PIECE, STACKED, THREE = 0.25, 0.1, 0.15  # how many; the others are two digits side by side


def draw_several(first, second, random):
    """Two digits or three that touch, overlap or stand close, or a digit with a piece of its neighbour: (h, w) uint8.

    first, second: (mask (h, w) uint8 0/1, label) each.
    """
    (left, left_label), (right, right_label) = first, second
    how = random.random()
    if how < WITH_PIECE and left_label != 1:  # a 1 with a piece of another digit may look like a digit
        piece = _piece(right, random)
        if piece.sum() > 0.12 * left.sum():
            return 255 * set_beside(left, piece, random.uniform(-0.04, 0.1), random)
    elif how < WITH_PIECE + STACKED and not {0, 1} & {left_label, right_label}:  # a 0 on a 0 is an 8, on a 1 a 9
        both = set_beside(left.T, right.T, random.uniform(-0.06, 0.1), random)
        return 255 * np.ascontiguousarray(both.T)
    closest = 0.03 if 1 in (left_label, right_label) else -0.12  # a 1 that touches another digit may make a third one
    both = set_beside(left, right, random.uniform(closest, 0.2), random)
    if how > 1 - THREE:
        both = set_beside(both, right if random.random() < 0.5 else left, random.uniform(0, 0.2), random)
    return 255 * both


def _piece(mask, random):
    """The left or the right part of a digit: the largest connected piece of it, with the paper above and below."""
    width = max(2, round(mask.shape[1] * random.uniform(0.25, 0.7)))
    piece = largest_part(mask[:, :width] if random.random() < 0.5 else mask[:, -width:])
    return piece[:, piece.any(axis=0)]


def set_beside(left, right, gap, random):
    """Two masks side by side as one: their ink is so far apart where it comes closest, as a share of the height.

    With a gap below 0 the second is moved on from where the two touch, so that they overlap.
    """
    scale = left.shape[0] / right.shape[0] * math.exp(random.uniform(-0.3, 0.3))
    right = cv2.resize(right, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)
    drop = round(left.shape[0] * random.uniform(-0.25, 0.25) + (left.shape[0] - right.shape[0]) / 2)
    top = max(0, -drop)
    height = max(top + left.shape[0], top + drop + right.shape[0])
    left = np.pad(left, ((top, height - top - left.shape[0]), (0, 0)))
    right = np.pad(right, ((top + drop, height - top - drop - right.shape[0]), (0, 0)))
    # In each row, how far the second can move to the left until it touches the first
    ends = np.where(left.any(axis=1), left.shape[1] - left[:, ::-1].argmax(axis=1), 0)
    starts = np.where(right.any(axis=1), right.argmax(axis=1), right.shape[1])
    shared = left.any(axis=1) & right.any(axis=1)
    touching = (ends - starts)[shared].max(initial=0) if shared.any() else left.shape[1]
    x = max(0, int(touching) + round(gap * height))
    both = np.zeros((height, max(left.shape[1], x + right.shape[1])), np.uint8)
    both[:, : left.shape[1]] = left
    both[:, x : x + right.shape[1]] |= right
    return both
