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
import multiprocessing
import signal
import zipfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import resource_tracker
from pathlib import Path

import cv2
import numba
import numpy as np
from numba import float32, njit, prange
from tqdm import tqdm

from files import replacing
from handwriting import draw_line, write_digit
from mnist_data import DATA_DIR
from segment import IMAGE_SIZE, normalise

MIDDLE = np.float32((IMAGE_SIZE - 1) / 2)
PADDED = IMAGE_SIZE + 2  # an image with a margin of paper
FAR = np.float32(PADDED - 1.001)  # the last place between two pixels
CHUNK = 500  # images that a process normalises at a time
KEPT = DATA_DIR / "normalised.npz"

# What is drawn for an image in an epoch: uniformly from these ranges. All zeros leave the image as it is. Wider ranges
# make this small network read photos worse: slightly when a quarter wider, clearly when three quarters wider.
WARP_RANGES = {
    "angle": (-math.radians(8), math.radians(8)),  # radians, clockwise
    "log_width": (-0.12, 0.12),  # e to the power of these is the scale
    "log_height": (-0.12, 0.12),
    "shear": (-0.16, 0.16),  # columns per row
    "shift_x": (-1.5, 1.5),  # pixels, to the right
    "shift_y": (-1.5, 1.5),  # pixels, downwards
    "uneven_x": (-0.016, 0.016),  # 1/pixel: one side wider than the other
    "uneven_y": (-0.016, 0.016),
    "wave_x": (0, 1.0),  # pixels to which rows move to and fro along a wave ...
    "wave_y": (0, 1.0),  # ... and columns up and down
    "frequency_x": (0.15, 0.35),  # of so many radians per pixel ...
    "frequency_y": (0.15, 0.35),
    "phase_x": (0, 2 * math.pi),  # ... that begins here, in radians
    "phase_y": (0, 2 * math.pi),
    "pressure": (-0.3, 0.3),  # above 0: grey edges darken, strokes get wider
}
(
    ANGLE, LOG_WIDTH, LOG_HEIGHT, SHEAR, SHIFT_X, SHIFT_Y, UNEVEN_X, UNEVEN_Y,
    WAVE_X, WAVE_Y, FREQUENCY_X, FREQUENCY_Y, PHASE_X, PHASE_Y, PRESSURE,
) = range(len(WARP_RANGES))  # fmt: skip
LOWS = tuple(np.float32(low) for low, _ in WARP_RANGES.values())
WIDTHS = tuple(np.float32(high - low) for low, high in WARP_RANGES.values())

DRAWS = len(WARP_RANGES)

# The numbers of a warp: how far each row moves, how far each column, and then these.
ROW_MOVES, COLUMN_MOVES = 0, IMAGE_SIZE
U_X, U_Y, V_X, V_Y, LEFT_BY, UP_BY, U_UNEVEN, V_UNEVEN, DARKER = range(2 * IMAGE_SIZE, 2 * IMAGE_SIZE + 9)
WARP_SIZE = DARKER + 1

# Random streams of one seed, apart from each other and from `network.epoch_order`.
VARIANT_STREAM, WARP_STREAM = 1, 2


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
    made = _in_processes(train + test, meanwhile)
    normal, variants, variant_labels = zip(*made[: len(train)], strict=True)
    labels = np.concatenate((train_labels, *variant_labels))
    return (np.concatenate(normal + variants), labels), np.concatenate(made[len(train) :])


def whole_sets(mnist, seed, meanwhile=None):
    """(images, labels) to train on and test images, by `make_sets` from all of MNIST as `mnist_data.load` gives it.

    Made once and kept in data/, since on a GPU it takes longer than the training; made again when the seed or the code
    has changed.
    """
    version = hashlib.sha256(str(seed).encode())
    for name in ("augment.py", "handwriting.py", "segment.py"):
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


def _in_processes(jobs, meanwhile):
    """The results of function(images, ...), for each of the jobs (function, images, ...), with a bar of images."""
    counts = [len(images) for _, images, *_ in jobs]
    cores = numba.get_num_threads()
    processes = min(cores - cores // 4 if meanwhile else cores, sum(counts) // CHUNK)
    with contextlib.ExitStack() as stack:
        bar = stack.enter_context(
            tqdm(desc="normalising", total=sum(counts), unit=" images", unit_scale=True, dynamic_ncols=True)
        )
        if processes < 2:  # so little is done before a process has started
            return [_call(job, count, bar) for job, count in zip(jobs, counts, strict=True)]
        spawn = multiprocessing.get_context("spawn")  # a fork of a process with threads or CUDA may hang
        pool = ProcessPoolExecutor(processes, spawn, _start_process)
        stack.callback(pool.shutdown, cancel_futures=True)
        stack.push(_hold_interrupts)
        with _interrupts_afterwards():
            futures = [pool.submit(*job) for job in jobs]  # starts the processes
        for future, count in zip(futures, counts, strict=True):
            future.add_done_callback(lambda done, count=count: done.cancelled() or bar.update(count))
        if meanwhile:
            meanwhile()
        return [future.result() for future in futures]


def _call(job, count, bar):
    function, *arguments = job
    result = function(*arguments)
    bar.update(count)
    return result


def _hold_interrupts(kind, *_):
    """After one Ctrl-C, let the processes end undisturbed, within a second: another would leave them hanging."""
    if kind is KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextlib.contextmanager
def _interrupts_afterwards():
    """Hold Ctrl-C back: from this process until the end, and for good from those that it starts in here.

    In the main thread only, as all that has to do with signals in Python.
    """
    pressed = []
    handler = signal.signal(signal.SIGINT, lambda *_: pressed.append(True))
    blocked = None
    try:
        if hasattr(signal, "pthread_sigmask"):  # Windows lacks it; elsewhere a process inherits what its parent blocks
            resource_tracker.ensure_running()  # or the first process starts it, which unblocks
            blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        yield
    finally:
        if blocked is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        signal.signal(signal.SIGINT, handler)
    if pressed:
        signal.raise_signal(signal.SIGINT)


def _start_process():
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which sends nothing more
    cv2.setNumThreads(1)  # there is a process for every core


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


# -- every epoch: the warp --------------------------------------------------------------------------------------------
#
# These functions run on the CPU and, called from a kernel, on the GPU. Every number is drawn by hashing what it is for,
# so that no thread needs another's.


def warp_key(seed, epoch):
    """The number, of 32 bits, from which all warps of this epoch are drawn."""
    return int(np.random.SeedSequence([seed, epoch, WARP_STREAM]).generate_state(1)[0])


@njit(cache=True)
def mix(key, number):
    """A hash of 32 bits of two numbers of 32 bits.

    Its constants are those that https://github.com/skeeto/hash-prospector lists as nearly free of bias.
    """
    key = (key ^ number) & 0xFFFFFFFF
    key = ((key ^ (key >> 16)) * 0x21F0AAAD) & 0xFFFFFFFF
    key = ((key ^ (key >> 15)) * 0x735A2D97) & 0xFFFFFFFF
    return key ^ (key >> 15)


@njit(cache=True)
def draw(key, image, what):
    """A number for an image (its place in the set), drawn uniformly from the range of one of WARP_RANGES: float32."""
    return LOWS[what] + WIDTHS[what] * (float32(mix(mix(key, image + 1), what + 1) >> 8) * float32(2**-24))


def draw_warps(count, seed, epoch):
    """What is drawn for the first `count` images in this epoch: (count, DRAWS) float32, in the order of WARP_RANGES."""
    return _draw_all(count, warp_key(seed, epoch))


@njit(cache=True)
def _draw_all(count, key):
    draws = np.empty((count, DRAWS), np.float32)
    for image in range(count):
        for what in range(DRAWS):
            draws[image, what] = draw(key, image, what)
    return draws


@njit(cache=True)
def warp_number(draws, i):
    """Number i of the WARP_SIZE that make up the warp of an image, from its draws (DRAWS,): float32."""
    if i < COLUMN_MOVES:
        return draws[WAVE_X] * math.sin(draws[FREQUENCY_X] * (float32(i) - MIDDLE) + draws[PHASE_X])
    if i < U_X:
        return draws[WAVE_Y] * math.sin(draws[FREQUENCY_Y] * (float32(i - COLUMN_MOVES) - MIDDLE) + draws[PHASE_Y])
    if i == LEFT_BY:
        return draws[SHIFT_X]
    if i == UP_BY:
        return draws[SHIFT_Y]
    if i == U_UNEVEN:
        return draws[UNEVEN_X]
    if i == V_UNEVEN:
        return draws[UNEVEN_Y]
    if i == DARKER:
        return draws[PRESSURE]
    # Turned back, then scaled back; u sheared along v.
    cosine, sine = math.cos(draws[ANGLE]), math.sin(draws[ANGLE])
    width, height = math.exp(-draws[LOG_WIDTH]), math.exp(-draws[LOG_HEIGHT])
    if i == V_X:
        return -sine * height
    if i == V_Y:
        return cosine * height
    if i == U_X:
        return cosine * width - draws[SHEAR] * sine * height
    return sine * width + draws[SHEAR] * cosine * height


@njit(cache=True)
def warp_pixel(padded, warp, row, column):
    """The ink, a whole number 0..255 as float32, that a warp brings to one pixel of an image.

    It comes from where the warp, undone, leads to. padded: the image with a margin of one pixel of paper, flat
    (PADDED * PADDED,) float32, 0..255.
    """
    x, y = float32(column) - MIDDLE - warp[LEFT_BY], float32(row) - MIDDLE - warp[UP_BY]
    u, v = warp[U_X] * x + warp[U_Y] * y, warp[V_X] * x + warp[V_Y] * y
    u += warp[U_UNEVEN] * u * u + warp[ROW_MOVES + row]
    v += warp[V_UNEVEN] * v * v + warp[COLUMN_MOVES + column]
    ink = sample(padded, u + MIDDLE + float32(1), v + MIDDLE + float32(1)) * float32(1 / 255)
    ink += warp[DARKER] * float32(4) * ink * (float32(1) - ink)  # moves greys most; paper and ink stay
    return float32(int(min(max(ink, float32(0)), float32(1)) * float32(255) + float32(0.5)))


@njit(cache=True)
def sample(padded, x, y):
    """A padded image between its pixels, by bilinear interpolation; beyond its margin paper."""
    x, y = min(max(x, float32(0)), FAR), min(max(y, float32(0)), FAR)
    left, top = int(x), int(y)
    across, down = x - float32(left), y - float32(top)
    i = (top * PADDED + left) & 0x7FFFFFFF  # never negative, and so the compiler knows it
    above = padded[i] + across * (padded[i + 1] - padded[i])
    i += PADDED
    below = padded[i] + across * (padded[i + 1] - padded[i])
    return above + down * (below - above)


@njit(parallel=True, cache=True)
def warp_images(images, draws):
    """Each image under its own warp: (N, 28, 28) uint8 and (N, DRAWS) float32 -> (N, 28, 28) uint8."""
    warped = np.empty_like(images)
    for n in prange(len(images)):
        padded, warp = np.zeros((PADDED, PADDED), np.float32), np.empty(WARP_SIZE, np.float32)
        padded[1:-1, 1:-1] = images[n]
        for i in range(WARP_SIZE):
            warp[i] = warp_number(draws[n], i)
        flat = padded.reshape(-1)
        for row in range(IMAGE_SIZE):
            for column in range(IMAGE_SIZE):
                warped[n, row, column] = np.uint8(warp_pixel(flat, warp, row, column))
    return warped
