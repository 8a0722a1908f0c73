"""Every image distorted anew in every epoch, so that the network meets each digit as other hands would write it.

    distorted = distort_images(images, draw_distortions(len(images), seed, epoch))

Writers differ in how they slant, stretch, bend and press. So an image is turned, scaled, sheared, shifted and bent
along waves, each by an amount drawn at random, and its greys get darker or lighter.

    key           32 bits that stand for (seed, epoch)
    draws         NUM_DRAWS random values of one image, in the order of RANGES
    coefficients  NUM_COEFFICIENTS values computed from the draws, once for an image: what each of its pixels needs
    pixel         the place in the original that this pixel shows, and the ink there

The functions below run on the CPU and, called from a kernel, on the GPU, where each thread takes a draw, a coefficient
or a pixel. A random value is a hash of the key, the image and the number of the draw, so that no thread waits for
another one's.
"""

import math

import numpy as np
from numba import float32, njit, prange

import kernel_cache  # noqa: F401 (where the compiled functions are kept)
from sizes import IMAGE_SIZE

MIDDLE = np.float32((IMAGE_SIZE - 1) / 2)
PADDED = IMAGE_SIZE + 2  # pixels on each side of an image with a margin of paper
FAR = np.float32(PADDED - 1.001)  # the last place that still has a pixel on its right

# The draws of an image in an epoch, uniform in these ranges. All zeros leave the image as it is. Wider ranges make this
# small network read photos worse: slightly when a quarter wider, clearly when three quarters wider.
RANGES = {
    "angle": (-math.radians(8), math.radians(8)),  # radians, clockwise
    "log_width": (-0.12, 0.12),  # e to the power of these is the scale
    "log_height": (-0.12, 0.12),
    "shear": (-0.16, 0.16),  # columns per row; above 0 the top goes to the right
    "shift_x": (-1.5, 1.5),  # pixels, to the right
    "shift_y": (-1.5, 1.5),  # pixels, downwards
    "uneven_x": (-0.016, 0.016),  # 1/pixel: one side wider than the other
    "uneven_y": (-0.016, 0.016),
    "wave_x": (0, 1.0),  # pixels by which rows move left and right along a wave ...
    "wave_y": (0, 1.0),  # ... and columns up and down
    "frequency_x": (0.15, 0.35),  # radians of that wave per pixel ...
    "frequency_y": (0.15, 0.35),
    "phase_x": (0, 2 * math.pi),  # ... and the angle at which it begins, in radians
    "phase_y": (0, 2 * math.pi),
    "pressure": (-0.3, 0.3),  # above 0: grey edges darken, strokes get wider
}
(
    ANGLE, LOG_WIDTH, LOG_HEIGHT, SHEAR, SHIFT_X, SHIFT_Y, UNEVEN_X, UNEVEN_Y,
    WAVE_X, WAVE_Y, FREQUENCY_X, FREQUENCY_Y, PHASE_X, PHASE_Y, PRESSURE,
) = range(len(RANGES))  # fmt: skip
NUM_DRAWS = len(RANGES)
LOWS = tuple(np.float32(low) for low, _ in RANGES.values())
WIDTHS = tuple(np.float32(high - low) for low, high in RANGES.values())

# The coefficients of an image: how far each row moves to the left, how far each column moves up, and then these.
ROW_MOVES, COLUMN_MOVES = 0, IMAGE_SIZE
U_X, U_Y, V_X, V_Y, SHIFTED_X, SHIFTED_Y, U_UNEVEN, V_UNEVEN, DARKER = range(2 * IMAGE_SIZE, 2 * IMAGE_SIZE + 9)
NUM_COEFFICIENTS = DARKER + 1

STREAM = 2  # keeps these random values apart from the other ones that are drawn from the same seed


def distortion_key(seed, epoch):
    """32 bits, as an int, that decide all distortions of this epoch."""
    return int(np.random.SeedSequence([seed, epoch, STREAM]).generate_state(1)[0])


def draw_distortions(count, seed, epoch):
    """The draws of the first `count` images in this epoch: (count, NUM_DRAWS) float32, in the order of RANGES."""
    return _draw_all(count, distortion_key(seed, epoch))


@njit(cache=True)
def _draw_all(count, key):
    draws = np.empty((count, NUM_DRAWS), np.float32)
    for image in range(count):
        for what in range(NUM_DRAWS):
            draws[image, what] = draw(key, image, what)
    return draws


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
    """A random value, float32, for an image (its place in the set): uniform in range number `what` of RANGES."""
    return LOWS[what] + WIDTHS[what] * (float32(mix(mix(key, image + 1), what + 1) >> 8) * float32(2**-24))


@njit(cache=True)
def coefficient(draws, i):
    """Coefficient i of the NUM_COEFFICIENTS, float32, from the draws (NUM_DRAWS,) of an image."""
    if i < COLUMN_MOVES:
        return draws[WAVE_X] * math.sin(draws[FREQUENCY_X] * (float32(i) - MIDDLE) + draws[PHASE_X])
    if i < U_X:
        return draws[WAVE_Y] * math.sin(draws[FREQUENCY_Y] * (float32(i - COLUMN_MOVES) - MIDDLE) + draws[PHASE_Y])
    if i == SHIFTED_X:
        return draws[SHIFT_X]
    if i == SHIFTED_Y:
        return draws[SHIFT_Y]
    if i == U_UNEVEN:
        return draws[UNEVEN_X]
    if i == V_UNEVEN:
        return draws[UNEVEN_Y]
    if i == DARKER:
        return draws[PRESSURE]
    # Undone in this order: the turn, the scaling, the shear (of u along v).
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
def distorted_pixel(padded, coefficients, row, column):
    """The ink of one pixel of the distorted image: a whole number 0..255, as float32.

    The distortion, undone, leads from this pixel to a place in the image, between its pixels: there the ink is taken.
    padded: the image with a margin of one pixel of paper, flat (PADDED * PADDED,) float32, 0..255. coefficients:
    (NUM_COEFFICIENTS,) float32.
    """
    x, y = float32(column) - MIDDLE - coefficients[SHIFTED_X], float32(row) - MIDDLE - coefficients[SHIFTED_Y]
    u, v = coefficients[U_X] * x + coefficients[U_Y] * y, coefficients[V_X] * x + coefficients[V_Y] * y
    u += coefficients[U_UNEVEN] * u * u + coefficients[ROW_MOVES + row]
    v += coefficients[V_UNEVEN] * v * v + coefficients[COLUMN_MOVES + column]
    ink = sample(padded, u + MIDDLE + float32(1), v + MIDDLE + float32(1)) * float32(1 / 255)
    ink += coefficients[DARKER] * float32(4) * ink * (float32(1) - ink)  # greys move most; paper (0) and ink (1) stay
    return float32(int(min(max(ink, float32(0)), float32(1)) * float32(255) + float32(0.5)))


@njit(cache=True)
def sample(padded, x, y):
    """The ink of a padded image between its pixels, by bilinear interpolation; outside the image there is paper."""
    x, y = min(max(x, float32(0)), FAR), min(max(y, float32(0)), FAR)
    left, top = int(x), int(y)
    across, down = x - float32(left), y - float32(top)
    i = (top * PADDED + left) & 0x7FFFFFFF  # never negative, and after the mask the compiler knows it
    above = padded[i] + across * (padded[i + 1] - padded[i])
    i += PADDED
    below = padded[i] + across * (padded[i + 1] - padded[i])
    return above + down * (below - above)


@njit(parallel=True, cache=True)
def distort_images(images, draws):
    """Each image with its own distortion: (N, 28, 28) uint8 and (N, NUM_DRAWS) float32 -> (N, 28, 28) uint8."""
    distorted = np.empty_like(images)
    for n in prange(len(images)):
        padded, coefficients = np.zeros((PADDED, PADDED), np.float32), np.empty(NUM_COEFFICIENTS, np.float32)
        padded[1:-1, 1:-1] = images[n]
        for i in range(NUM_COEFFICIENTS):
            coefficients[i] = coefficient(draws[n], i)
        flat = padded.reshape(-1)
        for row in range(IMAGE_SIZE):
            for column in range(IMAGE_SIZE):
                distorted[n, row, column] = np.uint8(distorted_pixel(flat, coefficients, row, column))
    return distorted
