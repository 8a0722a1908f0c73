"""What `--augment` trains on, made once: MNIST in the form of a photo's digits, digits written otherwise, no-digits.

    (images, labels), test_images = make_sets(train_images, train_labels, test_images, seed)

Four things are missing in MNIST. Its writers were Americans, so ones with a flag, barred sevens and nines with a hook
hardly occur: variants.py draws them, and handwriting.py writes digits in the forms of other countries. Its digits are
whole and clean: damage.py breaks and soils some. All its images are digits: no_digit.py makes what a photo also holds,
parts of digits, several at once, and marks. And every writer slants, bends and presses differently: distortion.py gives
each image another look in every epoch.

Every image goes through `normalise`, as the digits of a photo do. Ctrl-C meanwhile ends the processes and the program
(see interrupts.py): nothing is kept, and no model is saved.
"""

import sys
from pathlib import Path

import numpy as np

from files import replacing, source_hash
from mnist_data import DATA_DIR
from photos.no_digit import draw_no_digit
from photos.normalise import normalise
from photos.processes import CHUNK, in_processes
from photos.variants import draw_variants
from sizes import IMAGE_SIZE

# -- make the sets ----------------------------------------------------------------------------------------------------


def make_sets(train_images, train_labels, test_images, seed, meanwhile=None):
    """The sets for training and testing, normalised; normalised variants and no-digits follow in the training set.

    train_images (N, 28, 28) uint8, train_labels (N,) and test_images (T, 28, 28) uint8 -> ((images (M, 28, 28) uint8,
    labels (M,)), test images (T, 28, 28) uint8), M about 2.3 N. The labels of no-digits are those of no_digit.py. The
    seed decides what is drawn. Works on all cores, with a progress bar; meanwhile: see `in_processes`.
    """
    indices = np.arange(len(train_images))
    before = indices - 1  # for each image, the one that a digit beside it may come from
    train = [
        (_normal_and_drawn, train_images[part], train_labels[part], train_images[before[part]],
         train_labels[before[part]], part, seed)
        for part in _parts(indices)
    ]  # fmt: skip
    test = [(normalise_images, part) for part in _parts(test_images)]
    made = in_processes(train + test, meanwhile)
    normal, drawn, drawn_labels = zip(*made[: len(train)], strict=True)
    labels = np.concatenate((train_labels, *drawn_labels))
    return (np.concatenate(normal + drawn), labels), np.concatenate(made[len(train) :])


def _parts(array):
    return [array[first : first + CHUNK] for first in range(0, len(array), CHUNK)]


def normalise_images(images):
    """Each image through `normalise`: (N, 28, 28) uint8 or a list of N (h, w) uint8 -> (N, 28, 28) uint8."""
    return np.array([normalise(image) for image in images], np.uint8).reshape(-1, IMAGE_SIZE, IMAGE_SIZE)


VARIANT_STREAM, NO_DIGIT_STREAM = 1, 3  # keep these random numbers apart from the others drawn from the same seed
NO_DIGITS = 0.35  # how many images that are no digits, per image of the set


def _normal_and_drawn(images, labels, neighbours, neighbour_labels, indices, seed):
    """Normalised images (n, 28, 28), normalised variants and no-digits (m, 28, 28) and the labels of these (m,).

    neighbours, neighbour_labels: for each image another one, which may be set beside it. indices: the places (n,) of
    the images in the whole set. The random numbers of an image depend on its place and the seed only, not on the
    process that works on it.
    """
    drawn = []
    drawn_labels = []
    for n, index in enumerate(indices):
        for variant in draw_variants(images[n], labels[n], np.random.default_rng([seed, index, VARIANT_STREAM])):
            drawn.append(variant)
            drawn_labels.append(labels[n])
        random = np.random.default_rng([seed, index, NO_DIGIT_STREAM])
        if random.random() < NO_DIGITS:
            digit, neighbour = (images[n], labels[n]), (neighbours[n], neighbour_labels[n])
            image, label = draw_no_digit(digit, neighbour, random)
            drawn.append(image)
            drawn_labels.append(label)
    return normalise_images(images), normalise_images(drawn), np.array(drawn_labels, labels.dtype)


# -- keep them --------------------------------------------------------------------------------------------------------

KEPT = DATA_DIR / "normalised.npz"
ROOT = Path(__file__).resolve().parent.parent
SOURCES = (  # the files that decide what is in the sets
    "photos/training_set.py", "photos/variants.py", "photos/handwriting.py", "photos/no_digit.py", "photos/marks.py",
    "photos/damage.py", "photos/normalise.py", "photos/glyph.py", "sizes.py",
)  # fmt: skip


def whole_sets(mnist, seed, meanwhile=None):
    """What `make_sets` makes of all of MNIST, an `mnist_data.MNIST`, kept in data/ for the next time.

    It is kept because on a GPU it takes longer to make than the training takes. It is made again when it is missing or
    damaged, or when the seed or the code has changed.
    """
    version = f"{seed} {source_hash(ROOT, SOURCES)}"
    sets = _kept(version)
    if sets is None:
        sets = make_sets(mnist.train_images, mnist.train_labels, mnist.test_images, seed, meanwhile)
        (images, labels), test_images = sets
        _keep(version=version, train_images=images, train_labels=labels, test_images=test_images)
    return sets


def _kept(version):
    """What `make_sets` gave, as it was kept; None if there is nothing of this version, or it is damaged."""
    try:
        with np.load(KEPT, allow_pickle=False) as kept:
            if str(kept["version"]) != version:
                return None
            images, labels, test_images = (kept[name] for name in ("train_images", "train_labels", "test_images"))
    except Exception:  # zipfile and NumPy raise errors of all kinds on a damaged file
        return None
    arrays = images, labels, test_images
    shapes = (len(labels), IMAGE_SIZE, IMAGE_SIZE), (len(labels),), (len(test_images), IMAGE_SIZE, IMAGE_SIZE)
    if any(array.dtype != np.uint8 or array.shape != shape for array, shape in zip(arrays, shapes, strict=True)):
        return None
    return (images, labels), test_images


def _keep(**arrays):
    """Write the arrays to KEPT, whole or not at all. Where that is not possible, a line says so, and all goes on."""
    try:
        with replacing(KEPT) as file:
            np.savez(file, **arrays)
    except OSError as error:
        print(f"{KEPT}: not kept for the next time: {error.strerror}", file=sys.stderr)
