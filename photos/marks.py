"""Marks that are no digits, drawn by a pen or torn from a picture: signs, letters, scribbles, rules, blobs, texture.

    image = draw_mark("sign", np.random.default_rng(0))      a +, a bracket, an arrow ..., (80, 104) uint8

What a reader would take for a digit is not drawn: no upright line (a 1), no O, l, I, S, Z, b, g or q, no closed frame
(a 0), no corner at the top right (a 7). A network that learned these as marks would doubt true digits.
"""

import math

import cv2
import numpy as np

from photos.glyph import stroke_width
from photos.handwriting import HEIGHT, WIDTH, draw_line, round_corners, write_digit, write_strokes

MIDDLE = np.array([WIDTH / 2, HEIGHT / 2])

# -- signs and letters ------------------------------------------------------------------------------------------------
#
# As in handwriting.py: strokes of points (x, y) from (0, 0), top left, to (1, 1), bottom right; a point that is listed
# twice gives a sharp corner. (A dot is a stroke that hardly moves.)


def _dot(x, y):
    return [(x, y), (x + 0.02, y + 0.03)]


SIGNS = {
    "+": [[(0, 0.5), (1, 0.5)], [(0.5, 0), (0.5, 1)]],
    "x": [[(0, 0), (1, 1)], [(1, 0), (0, 1)]],
    "=": [[(0, 0.3), (1, 0.3)], [(0, 0.7), (1, 0.7)]],
    "(": [[(0.8, 0), (0.1, 0.25), (0.1, 0.75), (0.8, 1)]],
    ")": [[(0.2, 0), (0.9, 0.25), (0.9, 0.75), (0.2, 1)]],
    "[": [[(0.8, 0), (0.2, 0), (0.2, 0), (0.2, 1), (0.2, 1), (0.8, 1)]],
    ":": [_dot(0.5, 0.1), _dot(0.5, 0.9)],
    "%": [
        [(0.9, 0), (0.1, 1)],
        [(0.1, 0.1), (0.3, 0.05), (0.3, 0.3), (0.1, 0.3), (0.1, 0.1)],
        [(0.7, 0.7), (0.95, 0.7), (0.9, 0.95), (0.7, 0.9), (0.7, 0.7)],
    ],
    "division": [[(0, 0.5), (1, 0.5)], _dot(0.5, 0.15), _dot(0.5, 0.85)],
    "<": [[(1, 0.1), (0, 0.5), (0, 0.5), (1, 0.9)]],
    ">": [[(0, 0.1), (1, 0.5), (1, 0.5), (0, 0.9)]],
    "~": [[(0, 0.55), (0.25, 0.35), (0.5, 0.5), (0.75, 0.65), (1, 0.45)]],
    "*": [[(0.5, 0), (0.5, 1)], [(0.05, 0.25), (0.95, 0.75)], [(0.05, 0.75), (0.95, 0.25)]],
    "#": [[(0.35, 0), (0.25, 1)], [(0.75, 0), (0.65, 1)], [(0, 0.35), (1, 0.3)], [(0, 0.7), (1, 0.65)]],
    "tick": [[(0, 0.6), (0.3, 1), (0.3, 1), (1, 0)]],
    "caret": [[(0, 0.8), (0.5, 0.2), (0.5, 0.2), (1, 0.8)]],
    "right arrow": [[(0, 0.5), (1, 0.5)], [(0.65, 0.2), (1, 0.5), (1, 0.5), (0.65, 0.8)]],
    "left arrow": [[(0, 0.5), (1, 0.5)], [(0.35, 0.2), (0, 0.5), (0, 0.5), (0.35, 0.8)]],
    "down arrow": [[(0.5, 0), (0.5, 1)], [(0.15, 0.65), (0.5, 1), (0.5, 1), (0.85, 0.65)]],
    "root": [[(0, 0.6), (0.15, 0.55), (0.35, 1), (0.35, 1), (0.55, 0), (0.55, 0), (1, 0)]],
}
LETTERS = {
    "C": [[(0.95, 0.2), (0.55, -0.05), (0, 0.3), (0.05, 0.8), (0.55, 1.05), (1, 0.8)]],
    "E": [[(0.9, 0), (0.1, 0), (0.1, 0), (0.1, 1), (0.1, 1), (0.95, 1)], [(0.1, 0.5), (0.8, 0.5)]],
    "F": [[(0.9, 0), (0.1, 0), (0.1, 0), (0.1, 1)], [(0.1, 0.5), (0.75, 0.5)]],
    "H": [[(0.1, 0), (0.1, 1)], [(0.9, 0), (0.9, 1)], [(0.1, 0.5), (0.9, 0.5)]],
    "K": [[(0.1, 0), (0.1, 1)], [(0.9, 0), (0.15, 0.55), (0.15, 0.55), (0.95, 1)]],
    "M": [[(0, 1), (0.1, 0), (0.1, 0), (0.5, 0.7), (0.5, 0.7), (0.9, 0), (0.9, 0), (1, 1)]],
    "N": [[(0.05, 1), (0.05, 0), (0.05, 0), (0.95, 1), (0.95, 1), (0.95, 0)]],
    "R": [[(0.1, 1), (0.1, 0), (0.1, 0), (0.9, 0), (0.9, 0.5), (0.15, 0.55), (0.15, 0.55), (0.95, 1)]],
    "V": [[(0, 0), (0.5, 1), (0.5, 1), (1, 0)]],
    "W": [[(0, 0), (0.2, 1), (0.2, 1), (0.5, 0.3), (0.5, 0.3), (0.8, 1), (0.8, 1), (1, 0)]],
    "h": [[(0.1, 0), (0.1, 1)], [(0.1, 0.65), (0.5, 0.4), (0.85, 0.6), (0.9, 1)]],
    "k": [[(0.1, 0), (0.1, 1)], [(0.8, 0.4), (0.15, 0.7), (0.15, 0.7), (0.85, 1)]],
    "m": [
        [(0, 0.3), (0.03, 1)],
        [(0.03, 0.6), (0.25, 0.25), (0.45, 0.4), (0.48, 1)],
        [(0.48, 0.6), (0.75, 0.25), (0.95, 0.4), (1, 1)],
    ],
    "n": [[(0.05, 0.2), (0.08, 1)], [(0.08, 0.6), (0.45, 0.15), (0.85, 0.3), (0.95, 1)]],
    "r": [[(0.2, 0.2), (0.2, 1)], [(0.2, 0.6), (0.5, 0.2), (0.9, 0.25)]],
    "u": [[(0, 0.1), (0.05, 0.8), (0.45, 1.05), (0.85, 0.7)], [(0.9, 0.1), (0.9, 0.8), (1.05, 1)]],
    "w": [[(0, 0.2), (0.15, 1), (0.45, 0.8), (0.5, 0.3)], [(0.5, 0.3), (0.55, 0.9), (0.85, 0.95), (1, 0.2)]],
    "x": [[(0, 0), (0.3, 0.1), (0.7, 0.95), (1, 0.9)], [(1, 0.05), (0.6, 0.3), (0.4, 0.7), (0, 1)]],
}


def sign(random):
    """A sign of arithmetic, a bracket, an arrow, a tick."""
    return write_strokes(_one_of(SIGNS, random), random, (0.6, 1.3))


def letter(random):
    """A letter that does not look like a digit."""
    return write_strokes(_one_of(LETTERS, random), random, (0.6, 1.2))


def _one_of(drawings, random):
    return list(drawings.values())[random.integers(len(drawings))]


# -- scribbles --------------------------------------------------------------------------------------------------------


def scribble(random):
    """A pen that goes to and fro, or round and round, with no aim."""
    count = int(random.integers(7, 18))
    points = random.uniform(0, 1, (count, 2))
    if random.random() < 0.5:  # to and fro, from one side to the other
        points[:, 0] = np.linspace(0, 1, count) + random.normal(0, 0.05, count)
        points[:, 1] = np.arange(count) % 2 + random.normal(0, 0.15, count)
        if random.random() < 0.5:
            points = points[:, ::-1]
        points = np.repeat(points, 1 + (random.random() < 0.5), axis=0)
    return write_strokes([points], random, (0.5, 1.8))


def struck_out(random):
    """A digit that its writer has crossed out, by three lines or more or by going to and fro. (One is a bar.)"""
    strokes = []
    if random.random() < 0.5:
        for _ in range(random.integers(3, 6)):
            rise = random.uniform(-0.5, 0.5)
            y = random.uniform(0.25, 0.75)
            strokes.append([(-0.3, y + rise), (1.3, y - rise)])
    else:
        count = int(random.integers(5, 12))
        x = np.linspace(-0.15, 1.15, count)
        y = 0.5 + random.uniform(0.3, 0.8) * (np.arange(count) % 2 - 0.5)
        strokes.append(np.repeat(np.stack([x, y], axis=1), 2, axis=0))
    digit = write_digit(int(random.integers(10)), random)
    return np.maximum(digit, write_strokes(strokes, random, (0.7, 1)))


# -- rules, and what is left of them ----------------------------------------------------------------------------------

CORNERS = {  # of rules and boxes. A corner at the top right alone would be a 7
    "bottom left": [[(0, 0), (0, 1), (0, 1), (1, 1)]],
    "bottom right": [[(1, 0), (1, 1), (1, 1), (0, 1)]],
    "top left": [[(0, 1), (0, 0), (0, 0), (1, 0)]],
    "crossing": [[(0, 0.5), (1, 0.5)], [(0.5, 0), (0.5, 1)]],
    "from the left": [[(0, 0.5), (0.9, 0.5)], [(0.9, 0), (0.9, 1)]],
    "from the right": [[(0.1, 0.5), (1, 0.5)], [(0.1, 0), (0.1, 1)]],
    "from above": [[(0, 0.9), (1, 0.9)], [(0.5, 0), (0.5, 0.9)]],
    "from below": [[(0, 0.1), (1, 0.1)], [(0.5, 0.1), (0.5, 1)]],
    "two crossings": [[(0, 0.5), (1, 0.5)], [(0.25, 0), (0.25, 1)], [(0.75, 0), (0.75, 1)]],
    "four crossings": [[(0, 0.3), (1, 0.3)], [(0, 0.7), (1, 0.7)], [(0.3, 0), (0.3, 1)], [(0.7, 0), (0.7, 1)]],
    "open box": [[(0, 0), (0, 1), (0, 1), (1, 1), (1, 1), (1, 0)]],
    "window": [
        [(0, 0), (1, 0), (1, 0), (1, 1), (1, 1), (0, 1), (0, 1), (0, 0)],
        [(0, 0.5), (1, 0.5)],
        [(0.5, 0), (0.5, 1)],
    ],
}
LEVEL = 35  # degrees: a line that rises more than this may be the stem of a 1


def line(random):
    """One or two level lines, short or long, straight or slightly bent."""
    angle = math.radians(random.uniform(-LEVEL, LEVEL))
    direction, across = np.array([math.cos(angle), math.sin(angle)]), np.array([-math.sin(angle), math.cos(angle)])
    image = np.zeros((HEIGHT, WIDTH), np.uint8)
    half, bend, thickness = random.uniform(8, 36), random.uniform(-0.15, 0.15), int(random.integers(2, 8))
    for offset in (-8, 8) if random.random() < 0.2 else (0,):
        middle = MIDDLE + across * offset
        ends = middle - direction * half, middle + across * bend * half, middle + direction * half
        draw_line(image, round_corners(np.array(ends)), thickness)
    return image


def corner(random):
    """What a rule, a grid or a box leaves: a corner, a crossing, a part of a frame."""
    return write_strokes(_one_of(CORNERS, random), random, (0.6, 1.8))


# -- blobs and texture ------------------------------------------------------------------------------------------------


def blob(random):
    """A speck or a blob with an uneven outline."""
    angles = np.linspace(0, 2 * math.pi, 24, endpoint=False)
    radius = 14 * np.ones(24)
    for waves in range(2, 6):
        radius += random.normal(0, 3.5 / waves) * np.cos(waves * angles + random.uniform(0, 2 * math.pi))
    stretch = math.exp(random.uniform(-0.3, 0.6))
    points = MIDDLE + radius[:, None] * np.stack([np.cos(angles) * stretch, np.sin(angles) / stretch], axis=1)
    image = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.fillPoly(image, [np.round(points * 16).astype(np.int32)], 255, cv2.LINE_AA, shift=4)
    return image


def texture(random):
    """A connected patch of what a threshold makes of an uneven surface."""
    size = random.uniform(1.2, 4), random.uniform(1.2, 4)
    noise = cv2.GaussianBlur(random.normal(0, 1, (HEIGHT, WIDTH)), None, sigmaX=size[0], sigmaY=size[1])
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    far = np.hypot((x - MIDDLE[0]) / random.uniform(10, 30), (y - MIDDLE[1]) / random.uniform(10, 30))
    mask = (noise > np.quantile(noise, random.uniform(0.4, 0.65))) & (far < 1)
    return 255 * largest_part(mask.astype(np.uint8))


# -- all of them ------------------------------------------------------------------------------------------------------

MARKS = {  # kind: (how many of all marks, function of a generator)
    "sign": (0.2, sign),
    "letter": (0.2, letter),
    "line": (0.1, line),
    "corner": (0.12, corner),
    "scribble": (0.12, scribble),
    "struck out": (0.1, struck_out),
    "blob": (0.08, blob),
    "texture": (0.08, texture),
}


def draw_mark(random, kind=None):
    """A mark of this kind, a key of MARKS, or else of any: (HEIGHT, WIDTH) uint8, ink bright on dark.

    random: a NumPy generator, which alone decides what comes out.
    """
    if kind is None:
        kind = list(MARKS)[random.choice(len(MARKS), p=[share for share, _ in MARKS.values()])]
    while True:
        image = MARKS[kind][1](random)
        mask = (image > 127).astype(np.uint8)
        if mask.any() and not like_a_one(mask):
            return image


NARROW = 0.36  # without the width of the pen, as a share of the height
BROKEN = 0.6  # share of the rows that have ink: with fewer it is a colon


def like_a_one(mask):
    """Whether a mask (h, w) uint8 0/1 is an upright stroke, without its slant hardly wider than its pen: a 1."""
    moments = cv2.moments(mask, binaryImage=True)
    slant = moments["mu11"] / moments["mu02"] if moments["mu02"] > 0 else 0.0
    rows, columns = np.nonzero(mask)
    width = np.ptp(columns - min(max(slant, -0.7), 0.7) * rows)
    stroke = stroke_width(mask)
    if len(set(rows)) < BROKEN * np.ptp(rows):
        return False
    return width - stroke < NARROW * (np.ptp(rows) - stroke)


def largest_part(mask):
    """The largest connected part of a mask (h, w) uint8 0/1, as a mask."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask)
    if count < 2:
        return mask
    return (labels == 1 + stats[1:, cv2.CC_STAT_AREA].argmax()).astype(np.uint8)
