"""Digits as rough tools and photos leave them: squashed, turned, broken, bitten, with rests of rules and specks.

    image = damage(digit, np.random.default_rng(0))

The damage stays small: every digit keeps its label. What is torn further is no digit (no_digit.py).
"""

import math

import cv2
import numpy as np

from photos.glyph import stroke_width

TALL = 64  # pixels: a digit gets this size before it is damaged, so that small damage has a shape
MARGIN = 20  # pixels of paper around it


def damage(image, random):
    """A digit (h, w) uint8, ink bright on dark, damaged in one way or two: (h', w') uint8, 0 or 255.

    An image without ink stays empty. random: a NumPy generator, which alone decides how.
    """
    mask = enlarge(image, random)
    if not mask.any():
        return mask
    for which in random.permutation(len(DAMAGES))[: random.integers(1, 3)]:
        damaged = DAMAGES[which](mask, random)
        if damaged.any():
            mask = damaged
    return 255 * mask


def enlarge(image, random):
    """The digit as a mask TALL pixels high or wide with a margin, stretched or squashed, and turned a little."""
    x, y, width, height = cv2.boundingRect((image > 127).astype(np.uint8))
    scale = TALL / max(width, height, 1)
    wider = math.exp(random.uniform(*LOG_WIDTHS)) if random.random() < SQUASHED else 1.0
    angle = math.radians(random.uniform(-MOST_TURN, MOST_TURN)) if random.random() < TURNED else 0.0
    cosine, sine = math.cos(angle), math.sin(angle)
    matrix = np.array([[scale * wider * cosine, -scale * sine, 0], [scale * wider * sine, scale * cosine, 0]])
    reach = np.abs(matrix[:, :2]) @ (width, height)  # columns and rows of the digit
    size = np.ceil(reach).astype(int) + 2 * MARGIN
    matrix[:, 2] = size / 2 - matrix[:, :2] @ (x + width / 2, y + height / 2)
    return (cv2.warpAffine(image, matrix, size, flags=cv2.INTER_CUBIC) > 127).astype(np.uint8)


SQUASHED, TURNED = 0.4, 0.4  # how many
LOG_WIDTHS = (-0.6, 0.7)  # e to the power of these is the factor of the width
MOST_TURN = 20  # degrees


# -- the damages ------------------------------------------------------------------------------------------------------
#
# Each of these takes the mask of a digit, (h, w) uint8 0/1 with a margin, and a generator, and returns such a mask.


def break_strokes(mask, random):
    """One gap or two, no wider than the pen."""
    mask = mask.copy()
    pen = stroke_width(mask)
    for _ in range(random.integers(1, 3)):
        angle, middle = random.uniform(0, math.pi), _place_in_ink(mask, random)
        reach = pen * np.array([math.cos(angle), math.sin(angle)])
        ends = (middle - reach, middle + reach)
        _line(mask, ends, max(1, round(pen * random.uniform(0.2, 0.9))), 0)
    return mask


def bite(mask, random):
    """A rule that crossed the digit is gone, and took with it some of the ink that it crossed."""
    mask = mask.copy()
    row = int(_place_in_ink(mask, random)[1])
    thickness = int(random.integers(1, 6))
    gone = np.repeat(random.random(mask.shape[1] // 8 + 1) < random.uniform(0.3, 0.9), 8)[: mask.shape[1]]
    if random.random() < 0.3:
        gone = np.repeat(random.random(mask.shape[0] // 8 + 1) < 0.6, 8)[: mask.shape[0]]
        column = int(_place_in_ink(mask, random)[0])
        mask[gone, column : column + thickness] = 0
    else:
        mask[row : row + thickness, gone] = 0
    return mask


def leave_rule(mask, random):
    """A short rest of a rule at the foot of the digit."""
    mask = mask.copy()
    _, y, _, height = cv2.boundingRect(mask)
    row = y + int(height * random.uniform(0.8, 1.0)) - 1
    columns = np.flatnonzero(mask[row])
    if len(columns):
        left, right = (random.uniform(0, 0.25) * height for _ in range(2))
        ends = (columns[0] - left, row + random.uniform(-1, 1)), (columns[-1] + right, row + random.uniform(-1, 1))
        _line(mask, np.array(ends), int(random.integers(1, 5)), 1)
    return mask


def add_speck(mask, random):
    """A speck beside the digit."""
    mask = mask.copy()
    x, y, width, height = cv2.boundingRect(mask)
    angle = random.uniform(0, 2 * math.pi)
    away = 0.5 * np.array([width, height]) + random.uniform(0, 8)
    middle = np.array([x + width / 2, y + height / 2]) + away * (math.cos(angle), math.sin(angle))
    axes = tuple(int(a) for a in random.integers(1, 5, 2))
    cv2.ellipse(mask, tuple(int(v) for v in middle), axes, random.uniform(0, 180), 0, 360, 1, -1)
    return mask


def roughen(mask, random):
    """An uneven outline, as noise in a photo makes it."""
    noise = cv2.GaussianBlur(random.normal(0, 1, mask.shape).astype(np.float32), None, random.uniform(0.7, 2.5))
    noise *= random.uniform(0.1, 0.35) / max(float(noise.std()), 1e-6)
    return (cv2.GaussianBlur(mask.astype(np.float32), None, 1.5) + noise * _near_ink(mask) > 0.5).astype(np.uint8)


def thicken(mask, random):
    """A pen so thick that small holes nearly close, or close."""
    side = 2 * int(random.integers(1, 4)) + 1
    return cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))


def thin(mask, random):
    """Strokes worn thin, and broken where they were thin before."""
    radius = 0.5 * stroke_width(mask) * random.uniform(0.2, 0.75)
    return (cv2.distanceTransform(mask, cv2.DIST_L2, 3) > radius).astype(np.uint8)


DAMAGES = (break_strokes, bite, leave_rule, add_speck, roughen, thicken, thin)


def _place_in_ink(mask, random):
    """(x, y) of a random pixel of ink."""
    rows, columns = np.nonzero(mask)
    chosen = random.integers(len(rows))
    return np.array([columns[chosen], rows[chosen]], float)


def _near_ink(mask):
    """1 near the ink and 0 away from it: noise makes no specks on the paper."""
    return cv2.dilate(mask, np.ones((5, 5), np.uint8))


def _line(mask, ends, thickness, value):
    """Draw a line between two places (x, y)."""
    first, second = (tuple(int(round(v)) for v in end) for end in ends)
    cv2.line(mask, first, second, value, thickness)
