"""Digits written by a pen from a description of their strokes: forms that hardly occur in MNIST.

    image = write_digit(4, np.random.default_rng(0))      a 4, open or closed, (80, 104) uint8, ink bright on dark

A form is a list of strokes. A stroke is a list of points (x, y) in a box from (0, 0), top left, to (1, 1), bottom
right. The pen goes from point to point and cuts the corners; a point that is listed twice gives a sharp corner. Each
digit has forms from the schools and the habits of different countries. What differs from writer to writer is drawn at
random: proportions, how far loops close, where strokes begin, end and cross. Then every point moves a little, because
no hand is steady.
"""

import math

import cv2
import numpy as np

HEIGHT, WIDTH = 80, 104  # pixels of the image: larger than in MNIST, so that thin strokes have a shape
HEIGHTS = (30, 40)  # of a digit, in pixels; this range and the next two are drawn from uniformly
ASPECTS = (0.45, 0.85)  # width of its box, as a share of its height
SLANTS = (-0.3, 0.3)  # columns per row
THICKNESSES = (2, 6)  # of the pen, in whole pixels
UNSTEADY = 0.045  # by how much a point moves: standard deviation, as a share of the box
BUNDLED = 0.2  # how many digits have strokes of several thin lines: drawn again, or by a rough brush
RETRACED = 0.012  # by how much a point moves from one of these lines to the next, likewise
ROUNDINGS = 3  # how often all corners are cut


def write_digit(digit, random):
    """A digit, 0..9, in one of its forms, with a pen of some thickness: (HEIGHT, WIDTH) uint8, ink bright on dark.

    random: a NumPy generator, which alone decides what comes out.
    """
    return write_strokes(FORMS[digit](random), random)


def write_strokes(strokes, random, aspects=ASPECTS):
    """Strokes, lists of points in the box of a form, as a pen of some thickness writes them: (HEIGHT, WIDTH) uint8.

    aspects: the range of the width of the box, as a share of its height.
    """
    height = random.uniform(*HEIGHTS)
    width = height * random.uniform(*aspects)
    slant = random.uniform(*SLANTS)
    thickness = int(random.integers(THICKNESSES[0], THICKNESSES[1] + 1))
    lines = 1 if random.random() >= BUNDLED else int(random.integers(2, 5))
    image = np.zeros((HEIGHT, WIDTH), np.uint8)
    for stroke in strokes:
        points = np.array(stroke) + random.normal(0, UNSTEADY, (len(stroke), 2))
        for _ in range(lines):
            x, y = ((points - 0.5) * (width, height)).T
            path = round_corners(np.stack([x - slant * y + WIDTH / 2, y + HEIGHT / 2], axis=1))
            if lines > 1:
                path += random.normal(0, 0.35 * thickness, 2)
                points = points + random.normal(0, RETRACED, points.shape)
            draw_line(image, path, thickness if lines == 1 else max(1, thickness // 2))
    return image


def draw_line(image, points, thickness):
    """Draw a line from point to point, (n, 2) of x and y in pixels, into a uint8 image, so many pixels thick."""
    sixteenths = np.round(points * 16).astype(np.int32)  # OpenCV takes whole numbers; its unit is 2**-shift pixels
    cv2.polylines(image, [sixteenths], False, 255, thickness, cv2.LINE_AA, shift=4)


def round_corners(points):
    """A smooth path along these points, (n, 2) -> (m, 2), by Chaikin's corner cutting; the two ends stay.

    Each round replaces every corner by two points, at a quarter of the way to both neighbours.
    """
    for _ in range(ROUNDINGS):
        before, after = points[:-1], points[1:]
        cut = np.stack([0.75 * before + 0.25 * after, 0.25 * before + 0.75 * after], axis=1).reshape(-1, 2)
        points = np.concatenate([points[:1], cut, points[-1:]])
    return points


def _ring(middle, radii, first, sweep, count=14):
    """Points around an ellipse, counter-clockwise: from the angle `first` (90 is the bottom), `sweep` degrees far."""
    angles = np.radians(np.linspace(first, first - sweep, count))
    return list(zip(middle[0] + radii[0] * np.cos(angles), middle[1] + radii[1] * np.sin(angles), strict=True))


# -- the forms of each digit: a generator -> strokes ------------------------------------------------------------------
#
# In all of them draw(low, high) is a random number between the two.


def zero(random):
    """It begins near the top, and may stay open or run past its beginning."""
    return [_ring((0.5, 0.5), (0.5, 0.5), random.uniform(-150, -30), random.uniform(325, 400))]


def one(random):
    """A stem, mostly with a flag. The flag is straight or curved, and may be as long as the stem. Some have a foot.

    The flag goes over into the stem in a corner, or in an arc.
    """
    draw = random.uniform
    x = 0.55  # of the stem; the box is as wide as for other digits, but only the flag needs the width
    stem = [(x, 0), (x + draw(-0.05, 0.05), 0.5), (x + draw(-0.04, 0.04), 1)]
    strokes = [stem]
    if random.random() < 0.9:
        length, angle, bend = draw(0.2, 0.95), math.radians(draw(20, 68)), draw(-0.1, 0.1)  # angle: to the stem
        tip = x - length * math.sin(angle), length * math.cos(angle)
        middle = (x + tip[0]) / 2 + bend * math.cos(angle), tip[1] / 2 + bend * math.sin(angle)
        if random.random() < 0.3:
            strokes = [[tip, middle] + stem]
        else:
            strokes.append([tip, middle, (x, draw(-0.02, 0.02))])
    if random.random() < 0.3:
        half = draw(0.15, 0.5)
        strokes.append([(x - half, 1 + draw(-0.03, 0.03)), (x + half, 1)])
    return strokes


def two(random):
    """With a corner at the bottom left, sharp or round, or with a loop there."""
    draw = random.uniform
    head = [(0.05, draw(0.12, 0.35)), (0.2, 0.03), (0.65, 0), (0.9, 0.25), (0.6, 0.6)]
    if random.random() < 0.5:
        corner = [(0.05, 0.97)] * (1 if random.random() < 0.3 else 2)
        return [head + corner + [(0.5, draw(0.91, 1)), (draw(0.9, 1.3), draw(0.85, 1.05))]]
    return [head + [(0.15, 0.97), (0, 0.85), (0.2, draw(0.7, 0.8)), (0.5, 0.93), (1, draw(0.87, 1.02))]]


def three(random):
    """With a round top, or with a flat top and a corner; the waist goes far to the left or not."""
    draw = random.uniform
    waist = draw(0.25, 0.55)
    belly = [(0.8, 0.52), (0.95, 0.78), (0.5, 1.05), (0.02, draw(0.8, 0.95))]
    if random.random() < 0.5:
        return [[(0.05, draw(0.05, 0.2)), (0.4, -0.04), (0.9, 0.15), (0.7, 0.42)] + [(waist, 0.46)] * 2 + belly]
    return [[(0.05, draw(-0.02, 0.1))] + [(0.88, 0)] * 2 + [(waist, draw(0.36, 0.45))] * 2 + belly]


def four(random):
    """Open, with a short or a long stem, or closed at the top; the corner on the left is sharp or round.

    Some are one stroke like a flash of lightning, and some have a stem that does not touch the rest.
    """
    draw = random.uniform
    bar = draw(0.5, 0.75)
    corner = [(0.02, bar)] * random.integers(1, 3)
    across = [(0.5, bar + draw(-0.04, 0.04)), (1, bar + draw(-0.12, 0.06))]
    form = random.random()
    if form < 0.12:
        turn = [(1, draw(0.4, 0.6))] * random.integers(1, 3)
        return [[(draw(0.5, 0.95), 0), (0.4, 0.35)] + corner + turn + [(draw(0.3, 0.75), 1)]]
    if form < 0.65:
        x = draw(0.6, 0.85)
        if random.random() < 0.25:
            x, across = x + draw(0.1, 0.35), [(draw(0.55, 0.8), bar + draw(-0.1, 0.04))]
        return [
            [(draw(0.1, 0.45), 0), (draw(0.05, 0.2), 0.6 * bar)] + corner + across,
            [(x + draw(-0.05, 0.12), draw(0, 0.55)), (x, 0.65), (x - draw(-0.02, 0.15), 1)],
        ]
    x = draw(0.55, 0.8)
    return [[(x, 0)] + corner + across, [(x, draw(-0.02, 0.1)), (x - draw(-0.05, 0.1), 1)]]


def five(random):
    """The bar is a stroke of its own, and need not touch the rest."""
    draw = random.uniform
    x, gap = draw(0.1, 0.3), draw(-0.06, 0.22)
    neck = [(x, draw(-0.02, 0.06))] + [(x - draw(0, 0.1), draw(0.38, 0.48))] * 2
    belly = [(0.5, draw(0.32, 0.42)), (0.93, 0.65), (0.7, 0.98), (0.3, 1.02), (0, draw(0.85, 0.98))]
    return [neck + belly, [(x + gap, draw(-0.06, 0.06)), (draw(0.75, 1.05), draw(-0.12, 0.06))]]


def six(random):
    """With a short or a long neck; the loop need not close, or ends outside itself."""
    draw = random.uniform
    loop = draw(0.32, 0.62)  # its height
    top = 1 - loop
    neck = [(draw(0.45, 0.9), 0), (draw(0.2, 0.45), 0.5 * top)]
    round_the_loop = [(0.05, top + 0.4 * loop), (0.25, 1.02), (0.75, 1.02), (0.9, top + 0.45 * loop), (0.5, top - 0.02)]
    if random.random() < 0.3:  # it closes past its beginning
        return [neck + round_the_loop + [(0.2, top + 0.1 * loop), (draw(-0.15, 0.1), top + loop * draw(0.3, 0.7))]]
    return [neck + round_the_loop + [(draw(0.08, 0.3), top + loop * draw(0.25, 0.5))]]


def seven(random):
    """Some begin with a serif, some have no corner; about half have a bar through the stem."""
    draw = random.uniform
    top, foot = draw(-0.05, 0.12), draw(0.25, 0.6)
    serif = [(0.02, draw(0.1, 0.25)), (0.06, top)] if random.random() < 0.4 else [(0.02, top)]
    stem = [(foot + draw(0, 0.3), 0.45), (foot, 1)]
    strokes = [serif + [(0.5, top + draw(-0.06, 0.05))] + [(0.92, 0)] * (1 if random.random() < 0.25 else 2) + stem]
    if random.random() < 0.55:
        x, y, half, rise = (0.92 + foot) / 2 + draw(-0.08, 0.04), draw(0.4, 0.62), draw(0.15, 0.38), draw(-0.1, 0.08)
        strokes.append([(x - half, y + rise), (x + half, y - rise)])
    return strokes


def eight(random):
    """One stroke from the top right, which need not come back to its beginning, or two rings, or a crossed loop."""
    draw = random.uniform
    form = random.random()
    if form < 0.2:  # from the waist round the lower loop, and up to a narrow top
        top, waist = draw(0.15, 0.35), draw(0.4, 0.55)
        lower = [(0.95, 0.7), (0.6, 1.04), (0.1, 0.95), (0.05, 0.65), (0.45, waist), (0.5 + top, 0.25)]
        return [[(0.5 - top, 0.25), (0.55, waist)] + lower + [(0.5, draw(-0.1, 0.05)), (0.5 - top, 0.25)]]
    if form < 0.75:
        down = [(0.78, draw(0.09, 0.22)), (0.5, -0.03), (0.12, 0.12), (0.22, 0.4), (0.72, 0.58), (0.95, 0.82)]
        gap = draw(-0.15, 0.25)
        up = [(0.5, 1.06), (0.05, 0.85), (0.28, 0.56), (0.75, 0.36), (0.85 - 0.3 * gap, 0.14 + gap)]
        return [down + up]
    waist = draw(0.4, 0.5)
    upper = _ring((0.5, waist / 2), (0.38, waist / 2), draw(-150, -30), draw(330, 390))
    lower = (0.5 + draw(-0.06, 0.06), (1 + waist) / 2), (0.5, (1 - waist) / 2)
    return [upper, _ring(*lower, draw(-120, -60), draw(330, 390))]


def nine(random):
    """With a straight stem, a curved one or a hook; the loop is small or large, and need not close."""
    draw = random.uniform
    loop, x = draw(0.25, 0.6), 0.88
    around = [(x, loop * draw(0.15, 0.5)), (0.5, -0.03), (0.08, 0.4 * loop), (0.3, loop), (0.7, 0.95 * loop)]
    stems = (
        [(x + draw(-0.1, 0.05), 0.5), (x + draw(-0.35, 0.05), 1)],
        [(x + draw(-0.05, 0.05), 0.6), (x - draw(0.2, 0.6), 1)],
        [(x, 0.75), (x - draw(0.15, 0.4), 1.02), (x - draw(0.45, 0.85), draw(0.78, 0.98))],
    )
    return [around + [(x, loop * draw(0.2, 0.6))], [(x, 0.1 * loop)] + stems[random.integers(len(stems))]]


FORMS = (zero, one, two, three, four, five, six, seven, eight, nine)
