"""More ways to write a digit than MNIST knows: what `--augment` trains on, so that the network reads real photos.

    (images, labels), test_images = make_sets(train_images, train_labels, test_images, seed)     once
    warped = warp_images(images, draw_warps(len(images), seed, epoch))                           for every epoch

Two things are missing in MNIST. Its writers were American, so ones with a flag, barred sevens and nines on a hook
hardly occur: `make_sets` adds variants of such digits, and digits that `handwriting.py` writes in forms of other
countries and habits. And every writer slants, bends and presses differently: `warp_images` gives each image another
look in every epoch.

Every image goes through `segment.normalise`, as the digits of a photo do, so that the network meets in a photo what it
was trained on.
"""

import contextlib
import hashlib
import math
import zipfile
from pathlib import Path

import cv2
import numpy as np

from files import replacing
from mnist_data import DATA_DIR
from photos.handwriting import draw_line, write_digit
from photos.normalise import normalise
from photos.processes import CHUNK, in_processes
from sizes import IMAGE_SIZE

KEPT = DATA_DIR / "normalised.npz"
VARIANT_STREAM = 1  # keeps these random numbers apart from the others that are drawn from the same seed


# -- once: the sets ---------------------------------------------------------------------------------------------------


def make_sets(train_images, train_labels, test_images, seed, meanwhile=None):
    """The sets as the network is to meet them: normalised, and the training set with normalised variants at its end.

    images (N, 28, 28) uint8 and labels (N,) -> ((M, 28, 28) uint8, (M,)), M about 5/3 N, and test images. Works on all
    cores, with a progress bar. meanwhile() is called once processes are at work, who from four cores on leave it a
    quarter of them; it is not called where the work is not worth a process.
    """
    indices = np.arange(len(train_images))
    train = [(_normal_and_variants, train_images[part], train_labels[part], part, seed) for part in _parts(indices)]
    test = [(normalise_images, part) for part in _parts(test_images)]
    made = in_processes(train + test, meanwhile)
    normal, variants, variant_labels = zip(*made[: len(train)], strict=True)
    labels = np.concatenate((train_labels, *variant_labels))
    return (np.concatenate(normal + variants), labels), np.concatenate(made[len(train) :])


def whole_sets(mnist, seed, meanwhile=None):
    """(images, labels) to train on and test images, by `make_sets` from all of MNIST as `mnist_data.load` gives it.

    Made once and kept in data/, since on a GPU it takes longer than the training; made again when the seed or the code
    has changed.
    """
    version = hashlib.sha256(str(seed).encode())
    for name in ("training_set.py", "handwriting.py", "normalise.py", "glyph.py"):
        version.update((Path(__file__).parent / name).read_bytes())
    try:
        with np.load(KEPT, allow_pickle=False) as kept:
            if str(kept["version"]) == version.hexdigest():
                return (kept["train_images"], kept["train_labels"]), kept["test_images"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        pass  # there is none, or it is damaged
    train_set, test_images = make_sets(mnist.train_images, mnist.train_labels, mnist.test_images, seed, meanwhile)
    images, labels = train_set
    _keep(version=version.hexdigest(), train_images=images, train_labels=labels, test_images=test_images)
    return train_set, test_images


def _keep(**arrays):
    """Write the arrays to KEPT, whole or not at all; a folder that may not be written to only costs the time again."""
    with contextlib.suppress(OSError), replacing(KEPT) as file:
        np.savez(file, **arrays)


def _parts(array):
    return [array[first : first + CHUNK] for first in range(0, len(array), CHUNK)]


def normalise_images(images):
    """(N, 28, 28) uint8 images, each through `segment.normalise`."""
    return np.array([normalise(image) for image in images], np.uint8).reshape(-1, IMAGE_SIZE, IMAGE_SIZE)


def _normal_and_variants(images, labels, indices, seed):
    """Normalised images (n, 28, 28), normalised variants (m, 28, 28) and their labels (m,); indices: in the set."""
    variants = []
    variant_labels = []
    for image, label, index in zip(images, labels, indices, strict=True):
        for variant in draw_variants(image, label, np.random.default_rng([seed, index, VARIANT_STREAM])):
            variants.append(variant)
            variant_labels.append(label)
    return normalise_images(images), normalise_images(variants), np.array(variant_labels, labels.dtype)


# -- variants: other ways to write a digit ----------------------------------------------------------------------------
#
# Each takes a digit as a uint8 image with room around it, and a generator, and returns the digit written differently.
# They keep what is odd in the digits of real writers, and go to extremes. What `handwriting.py` writes from nothing is
# neater, but has all the forms of all digits. Neither replaces the other: on real photos both together read best.

ROOM = 8  # pixels around an MNIST image for what is drawn onto its digit
WRITTEN = 1 / 3  # so many digits are written, for every image of the set


def draw_variants(image, label, random):
    """The variants that fall to an MNIST image (28, 28) uint8 of this label: a list of uint8 images, often empty."""
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
    return variants


def add_flag(image, random):
    """A 1 with a stroke from its top down to the left; a quarter of them also stand on a foot."""
    rows, columns, height = _extent(image)
    top, bottom = rows.min(), rows.max()
    x, y = columns[rows <= top + 1].mean(), top + 0.5
    angle = math.radians(random.uniform(25, 70))  # from straight down
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
    """A 9 whose stem goes on in an arc to the left."""
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


VARIANTS = (  # of which digits, how often, which variant
    ((1,), 0.9, add_flag),
    ((9,), 0.6, add_hook),
    ((1, 4, 7, 9), 0.25, stretch_bottom),
    ((6,), 0.25, stretch_top),
    ((7,), 0.4, add_bar),
)


def _extent(image):
    """The rows and the columns of the ink, one of each for every pixel of it, and the ink's height in pixels."""
    rows, columns = np.nonzero(image > 127)
    return rows, columns, rows.max() - rows.min() + 1


def _draw(image, points, thickness):
    """The image with a smooth line through these points (x, y), so many pixels thick."""
    stroke = np.zeros_like(image)
    draw_line(stroke, np.asarray(points), thickness)
    return np.maximum(image, stroke)


def _cut(image, random):
    """The image above and below a cut near the middle of its ink, and by what factor to stretch one of them."""
    rows, _, height = _extent(image)
    cut = round(rows.min() + (height - 1) * random.uniform(0.4, 0.6))
    return image[:cut], image[cut:], random.uniform(1.2, 2.0)


def _stretch(image, factor):
    return cv2.resize(image, (image.shape[1], int(len(image) * factor)))
