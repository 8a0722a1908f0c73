"""Other ways to write the digits of MNIST: with a flag, a bar, a hook or a long stem, and in forms of other countries.

    variants = draw_variants(mnist_image, label, np.random.default_rng(0))

There are two kinds. Flags, bars, hooks and long stems are drawn onto digits of MNIST: these variants keep the
peculiarities of real writers, and go to extremes. Other digits are written from nothing by handwriting.py: they are
neater, but all forms of all digits occur. On real photos the two kinds together give a better reader than either alone.
"""

import math

import cv2
import numpy as np

from photos.damage import damage
from photos.handwriting import draw_line, write_digit

ROOM = 8  # pixels of margin around an MNIST image, for what is drawn onto its digit
WRITTEN = 1 / 2  # how many digits are written from nothing, per image of the set
DAMAGED = 1 / 6  # how many are damaged, half of them digits of MNIST, half written; more make marks look like digits


def draw_variants(image, label, random):
    """The variants of an MNIST image (28, 28) uint8 with this label: a list of (h, w) uint8 images, often empty.

    random: a NumPy generator, which decides which variants there are and how they look.
    """
    padded = np.pad(image, ROOM)
    if not (padded > 127).any():
        return []
    variants = [
        draw(padded, random)
        for digits, probability, draw in VARIANTS
        if label in digits and random.random() < probability
    ]
    if random.random() < WRITTEN:
        variants.append(write_digit(label, random))
    if random.random() < DAMAGED:
        variants.append(damage(padded if random.random() < 0.5 else write_digit(label, random), random))
    return variants


# -- drawn onto a digit -----------------------------------------------------------------------------------------------
#
# Each of these takes a digit, (h, w) uint8 with a margin, and a generator, and returns the digit written differently.


def add_flag(image, random):
    """A 1 with a stroke from its top down to the left; a quarter of them also stand on a foot."""
    rows, columns, height = _extent(image)
    top, bottom = rows.min(), rows.max()
    x, y = columns[rows <= top + 1].mean(), top + 0.5
    angle = math.radians(random.uniform(25, 70))  # between the flag and the stem
    length = height * random.uniform(0.25, 0.9)
    thickness = int(random.integers(1, 3))
    image = _draw(image, [(x, y), (x - math.sin(angle) * length, y + math.cos(angle) * length)], thickness)
    if random.random() < 0.25:
        x, half = columns[rows >= bottom - 1].mean(), height * random.uniform(0.15, 0.35)
        image = _draw(image, [(x - half, bottom), (x + half, bottom)], thickness)
    return image


def add_bar(image, random):
    """A 7 with a bar through its stem."""
    rows, columns, height = _extent(image)
    y = rows.min() + height * random.uniform(0.4, 0.65)
    stem = columns[abs(rows - y) <= 1]
    if len(stem) == 0:
        return image
    x, half = stem.mean(), height * random.uniform(0.15, 0.3)
    rise = random.uniform(-0.15, 0.25) * half
    return _draw(image, [(x - half, y + rise), (x + half, y - rise)], int(random.integers(1, 3)))


def add_hook(image, random):
    """A 9 whose stem continues in an arc to the left."""
    rows, columns, height = _extent(image)
    bottom = rows.max()
    x, radius = columns[rows >= bottom - 1].mean(), height * random.uniform(0.12, 0.4)
    angles = np.radians(np.linspace(0, random.uniform(60, 170), 12))
    arc = np.stack([x + radius * (np.cos(angles) - 1), bottom - 0.5 + radius * np.sin(angles)], axis=1)
    return _draw(image, arc, int(random.integers(1, 3)))


def stretch_top(image, random):
    """A 6 with a long neck."""
    above, below, factor = _cut(image, random)
    return np.vstack([_stretch(above, factor), below])


def stretch_bottom(image, random):
    """A digit on a long stem."""
    above, below, factor = _cut(image, random)
    return np.vstack([above, _stretch(below, factor)])


VARIANTS = (  # (of which digits, with what probability, which variant)
    ((1,), 0.9, add_flag),
    ((9,), 0.6, add_hook),
    ((1, 4, 7, 9), 0.25, stretch_bottom),
    ((6,), 0.25, stretch_top),
    ((7,), 0.4, add_bar),
)


def _extent(image):
    """(rows, columns, height): the row and the column of every pixel of ink, and the height of the ink in pixels."""
    rows, columns = np.nonzero(image > 127)
    return rows, columns, rows.max() - rows.min() + 1


def _draw(image, points, thickness):
    """The image with a line from point to point, (x, y) in pixels, so many pixels thick."""
    stroke = np.zeros_like(image)
    draw_line(stroke, np.asarray(points), thickness)
    return np.maximum(image, stroke)


def _cut(image, random):
    """(above, below, factor): the image cut near the middle of its ink, and by how much to stretch one of the parts."""
    rows, _, height = _extent(image)
    cut = round(rows.min() + (height - 1) * random.uniform(0.4, 0.6))
    return image[:cut], image[cut:], random.uniform(1.2, 2.0)


def _stretch(image, factor):
    """The image made taller by this factor."""
    return cv2.resize(image, (image.shape[1], int(len(image) * factor)))
