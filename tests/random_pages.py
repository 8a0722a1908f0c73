"""Pages of handwritten digits as people photograph them, and pictures without a digit: each made from one seed.

    page = digit_page(7, plain=True)            page.picture, page.lines, page.light_on_dark, page.kind
    picture, kind = no_digit_picture(7)

    python -m tests.random_pages --plain 1000   how many plain pages the photo reader reads exactly
    python -m tests.random_pages --all 300      ... of pages with rules, shadows and paper of every kind
    python -m tests.random_pages --none 100     how many digits it invents where there are none

Sizes, papers, pens, light, rules and spacing are drawn at random, but a person can read every digit: it is at least
SMALLEST pixels high, stands clearly out of the noise, and touches nothing but printed rules. The digits are images of
MNIST's test set and those of photos/handwriting.py, written with a pen of the wanted width. The pages test whether
digits are found, not whether the network knows them. So each digit is drawn anew until the shipped network reads it
from the clean strokes, with a confidence above SURE.
"""

import functools
import math
from collections import defaultdict
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

import mnist_data
from errors import Parser, number, run
from photos.handwriting import draw_line, round_corners, write_digit
from photos.normalise import normalise
from photos.reading import classify, read_picture
from photos.scoring import align
from sizes import NUM_CLASSES
from volume.work import DEFAULT_MODEL, load_model

# -- digits: a value -> a shape -> a mask of ink ----------------------------------------------------------------------

SMALLEST = 14  # pixels: the height of the smallest digits
SURE = 0.97  # confidence of the network in each digit, read from its clean strokes
GRID = 150  # pixels: the height of a digit while its strokes are found
MARGIN = 40  # pixels around it


class Shape(NamedTuple):
    """A digit without a pen: where its strokes run."""

    distance: np.ndarray  # (h, w) float32: of each pixel from the middle of the nearest stroke, in pixels of GRID
    value: int


@functools.cache
def shipped_model():
    """The model in weights/, on the CPU."""
    return load_model(DEFAULT_MODEL, "cpu")


@functools.cache
def mnist_digits():
    """For each value 0..9 its images (n, 28, 28) in MNIST's test set."""
    mnist = mnist_data.load()
    return [mnist.test_images[mnist.test_labels == value] for value in range(10)]


def draw_shapes(values, source, pen_width, random):
    """A clear Shape for each value: one that the network reads right as it was drawn, and in the strokes of a pen.

    source: "MNIST" or "written". pen_width: of the pen, as a share of the digit's height.
    """
    shapes, missing = [None] * len(values), list(range(len(values)))
    while missing:
        images = [draw_digit(values[i], source, random) for i in missing]
        distances = [stroke_distance(image) for image in images]
        strokes = [(distance < pen_width * GRID / 2).astype(np.uint8) * 255 for distance in distances]
        read, confidences = read_digits(images + strokes)
        sure = (read == np.tile([values[i] for i in missing], 2)) & (confidences > SURE)
        for i, distance, clear in zip(missing, distances, sure.reshape(2, -1).all(axis=0), strict=True):
            shapes[i] = Shape(distance, values[i]) if clear else None
        missing = [i for i in missing if shapes[i] is None]
    return shapes


def read_digits(images):
    """(values, confidences), (n,) each: which digits the shipped network reads in images (h, w) uint8, and how surely.

    What it takes for no digit is one that it is not sure of.
    """
    digits = classify(shipped_model(), [normalise(image) for image in images])[:, :NUM_CLASSES]
    return digits.argmax(axis=1), digits.max(axis=1)


def draw_digit(value, source, random):
    """An image (h, w) uint8 of a digit, ink bright on dark."""
    if source == "written":
        return write_digit(value, random)
    image = mnist_digits()[value][random.integers(len(mnist_digits()[value]))]
    _, labels, stats, _ = cv2.connectedComponentsWithStats((image > 60).astype(np.uint8))
    areas = stats[:, cv2.CC_STAT_AREA]
    areas[0] = 0  # the paper
    return np.where((areas > 0.12 * areas.max())[labels], image, 0).astype(np.uint8)  # without specks


def stroke_distance(image):
    """The distance from the middle of the strokes of an image (h, w) uint8: (GRID + 2 MARGIN, w') float32."""
    x, y, width, height = cv2.boundingRect((image > 100).astype(np.uint8))
    scale = GRID / height
    ink = np.pad(image[y : y + height, x : x + width], 2)
    size = round((width + 4) * scale), round((height + 4) * scale)
    ink = cv2.GaussianBlur(cv2.resize(ink, size, interpolation=cv2.INTER_CUBIC), (0, 0), 0.3 * scale)
    middle = np.pad(thin(ink > 110), MARGIN)
    distance = cv2.distanceTransform((~middle).astype(np.uint8), cv2.DIST_L2, 5)
    return cv2.GaussianBlur(distance, (0, 0), 1.5)


# The eight neighbours of a pixel as the bits of a number: clockwise from the north, which is bit 0.
NEIGHBOURS = np.array([[128, 1, 2], [64, 0, 4], [32, 16, 8]], np.float32)


def thin(ink):
    """The middle lines of a mask (h, w) bool, one pixel wide, by the method of Zhang and Suen (1984).

    A pixel goes if it lies on the border of the ink and the ink around it stays connected without it: the borders in
    the south and the east, then those in the north and the west, again and again until none goes.
    """
    ink = np.pad(ink, 1).astype(np.uint8)
    while True:
        before = ink.copy()
        for goes in removable():
            ink &= 1 - cv2.LUT(cv2.filter2D(ink, -1, NEIGHBOURS), goes)
        if (ink == before).all():
            return ink[1:-1, 1:-1].astype(bool)


@functools.cache
def removable():
    """Two tables (256,) uint8: for each number of NEIGHBOURS, 1 if the pixel between them goes in the first round."""
    around = (np.arange(256)[:, None] >> np.arange(8)) & 1  # (256, 8)
    count, begins = around.sum(axis=1), ((around == 0) & (np.roll(around, -1, axis=1) == 1)).sum(axis=1)
    inside = (count >= 2) & (count <= 6) & (begins == 1)
    north, east, south, west = around[:, ::2].T
    first = inside & (north * east * south == 0) & (east * south * west == 0)
    second = inside & (north * east * west == 0) & (north * south * west == 0)
    return first.astype(np.uint8), second.astype(np.uint8)


def pen_mask(shape, height, stroke, slant, angle, random):
    """The ink of a Shape: (h, w) float32 0..1, as large as its ink.

    height, stroke: of the digit and of its strokes, in pixels. slant: columns per row. angle: clockwise, in radians.
    The pressure of the hand varies along the strokes.
    """
    scale = height / GRID
    rows, columns = shape.distance.shape
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    turn = turn @ np.array([[scale, -scale * slant], [0, scale]])
    size = np.ceil(np.abs(turn) @ (columns, rows)).astype(int) + 4
    move = (size - 1) / 2 - turn @ ((columns - 1) / 2, (rows - 1) / 2)
    distance = cv2.warpAffine(
        shape.distance, np.column_stack([turn, move]), size.tolist(), flags=cv2.INTER_LINEAR, borderValue=1000
    )
    pressure = 1 + 0.12 * noise(distance.shape, 0.3 * height, random)
    mask = np.clip(0.5 * stroke * pressure - scale * distance + 0.5, 0, 1)
    x, y, width, height = cv2.boundingRect((mask > 0.1).astype(np.uint8))
    return mask[y : y + height, x : x + width]


# -- surfaces: textures (h, w) float32 with a standard deviation of about 1 -------------------------------------------


def noise(shape, grain, random, stretch=1.0):
    """Smooth noise. grain: size of its patches in pixels. stretch: how many times longer they are than high."""
    rows, columns = (max(3, round(side / size)) for side, size in zip(shape, (grain, grain * stretch), strict=True))
    coarse = random.standard_normal((min(rows, shape[0]), min(columns, shape[1])), np.float32)
    return cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC)


def fibres(shape, random):
    """Paper with fibres: short thin lines, some darker and some lighter than the paper."""
    side = max(shape)
    sheets = np.zeros((2, *shape), np.uint8)
    for i in range(300):
        path = random.uniform(0, 1, 2) * shape[::-1] + np.cumsum(random.normal(0, 0.004 * side, (4, 2)), axis=0)
        draw_line(sheets[i % 2], round_corners(path), max(1, side // 1500))
    dark, light = sheets.astype(np.float32) * np.float32(2 / 255)
    return light - dark + 0.6 * noise(shape, max(2, side / 700), random)


def weave(shape, random):
    """Cloth or canvas: threads across and along."""
    period = max(3.0, max(shape) * random.uniform(0.003, 0.012))
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32) * np.float32(2 * math.pi / period)
    bend = 0.5 * noise(shape, 12 * period, random)
    return np.sin(x + bend) + np.sin(y - bend) + 0.5 * noise(shape, period / 2, random)


def grain(shape, random):
    """Rough paper or stone: patches of several sizes."""
    side = max(shape)
    return sum(share * noise(shape, max(1.5, size * side), random) for share, size in ((0.7, 0.002), (0.6, 0.012)))


def wiped(shape, random):
    """A board that has been wiped: broad pale smears."""
    side = max(shape)
    smears = noise(shape, 0.05 * side, random, stretch=6) + 0.7 * noise(shape, 0.25 * side, random)
    return smears + 0.3 * noise(shape, max(1.5, 0.002 * side), random)


def wood(shape, random):
    """Planed wood: long grain along the picture, with rings."""
    side = max(shape)
    rings = np.sin(3 * noise(shape, 0.12 * side, random, stretch=7) * 2.5)
    return 0.8 * rings + 0.7 * noise(shape, max(2, 0.005 * side), random, stretch=25)


# -- light, rules and the camera --------------------------------------------------------------------------------------


def gradient(shape, darkest, random):
    """Light that fades in one direction, down to the share `darkest`: (h, w) float32."""
    angle = random.uniform(0, 2 * math.pi)
    y, x = np.mgrid[-1 : 1 : complex(shape[0]), -1 : 1 : complex(shape[1])].astype(np.float32)
    along = (x * math.cos(angle) + y * math.sin(angle)) / (abs(math.cos(angle)) + abs(math.sin(angle)))
    return 1 - (1 - darkest) * np.clip(0.5 + 0.5 * along, 0, 1) ** 1.4


def vignette(shape, darkest, random):
    """Light that fades to the corners."""
    y, x = np.mgrid[-1 : 1 : complex(shape[0]), -1 : 1 : complex(shape[1])].astype(np.float32)
    x, y = x - random.uniform(-0.3, 0.3), y - random.uniform(-0.3, 0.3)
    return 1 - (1 - darkest) * np.minimum((x**2 + y**2) / 2, 1)


def shadow(shape, darkest, random, softness=0.004):
    """The shadow of a hand or a phone, with a straight edge. softness: of the edge, as a share of the picture."""
    angle, offset = random.uniform(0, 2 * math.pi), random.uniform(-0.3, 0.3)
    y, x = np.mgrid[-0.5 : 0.5 : complex(shape[0]), -0.5 : 0.5 : complex(shape[1])].astype(np.float32)
    across = (x * math.cos(angle) + y * math.sin(angle) + offset) / softness
    return 1 - (1 - darkest) / (1 + np.exp(-np.clip(across, -30, 30)))


def soft_shadow(shape, darkest, random):
    return shadow(shape, darkest, random, random.uniform(0.03, 0.12))


def shine(canvas, light):
    """Multiply a picture (h, w, 3) by light of a smaller shape, in place."""
    canvas *= cv2.resize(light, canvas.shape[1::-1], interpolation=cv2.INTER_LINEAR)[:, :, None]


def light_shape(canvas):
    """A smaller shape, enough for light."""
    scale = min(1, 900 / max(canvas.shape[:2]))
    return tuple(max(2, round(side * scale)) for side in canvas.shape[:2])


def stain(canvas, mask, x, y, colour, opacity):
    """Put ink of a colour on a picture, in place, where a mask (h, w) has it; (x, y): its top left corner, inside."""
    area = canvas[y : y + mask.shape[0], x : x + mask.shape[1]]
    area += (opacity * mask)[:, :, None] * (np.array(colour, np.float32) - area)


def print_rules(canvas, kind, step, first, thickness, angle, colour, opacity):
    """Print "ruled", "squared" or "dotted" paper, turned by an angle (radians) around the picture's middle.

    step: between lines. first: the row of one of them at the middle of the picture. thickness: all in pixels.
    """
    height, width = canvas.shape[:2]
    mask = np.zeros((height, width), np.uint8)
    along, across = np.array([math.cos(angle), math.sin(angle)]), np.array([-math.sin(angle), math.cos(angle)])
    middle = np.array([width / 2, first])
    count, reach = int((width + height) / step) + 2, width + height
    points = [middle + i * step * across for i in range(-count, count)]
    if kind == "dotted":
        for point in points:
            for i in range(-count, count):
                x, y = point + i * step * along
                if -9 < x < width + 9 and -9 < y < height + 9:
                    place = round(16 * x), round(16 * y)
                    cv2.circle(mask, place, round(16 * max(0.7, thickness)), 255, -1, cv2.LINE_AA, shift=4)
    else:
        lines = [(point, along) for point in points]
        if kind == "squared":
            lines += [(middle + i * step * along, across) for i in range(-count, count)]
        for point, direction in lines:
            ends = [np.round(point + side * reach * direction).astype(int).tolist() for side in (-1, 1)]
            cv2.line(mask, *ends, 255, max(1, round(thickness)), cv2.LINE_AA)
    stain(canvas, mask.astype(np.float32) / 255, 0, 0, colour, opacity)


def photograph(canvas, random, blur, grain_size, quality):
    """The photo of a canvas (h, w, 3) float32, uint8 RGB. grain_size: noise in grey levels. quality: JPEG, or None."""
    picture = cv2.GaussianBlur(canvas, (0, 0), blur) if blur else canvas
    if grain_size:
        picture = picture + grain_size * random.standard_normal(picture.shape[:2], np.float32)[:, :, None]
    picture = np.clip(np.round(picture), 0, 255).astype(np.uint8)
    if quality:
        coded = cv2.imencode(".jpg", picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        picture = np.ascontiguousarray(cv2.imdecode(coded, cv2.IMREAD_COLOR)[:, :, ::-1])
    return picture


# -- a page: seed -> what is written, on what, with what, in what light -----------------------------------------------


class Pen(NamedTuple):
    widths: tuple[float, float]  # of its strokes, as a share of the height of a digit
    opacities: tuple[float, float]
    roughness: float  # how much of its ink is missing in places, 0..1
    inks: tuple


DARK_INKS = (28, 28, 34), (30, 44, 130), (150, 34, 40), (24, 90, 60), (70, 40, 110)
LIGHT_INKS = (240, 240, 236), (232, 226, 160), (235, 190, 205), (180, 220, 240)
PENS = {
    False: {  # dark on light
        "ballpoint": Pen((0.04, 0.075), (0.75, 0.95), 0.1, DARK_INKS),
        "pencil": Pen((0.05, 0.09), (0.5, 0.8), 0.45, ((70, 70, 74), (90, 88, 88))),
        "felt pen": Pen((0.07, 0.11), (0.8, 1.0), 0.0, DARK_INKS),
        "marker": Pen((0.1, 0.15), (0.85, 1.0), 0.0, DARK_INKS),
    },
    True: {  # light on dark
        "chalk": Pen((0.07, 0.13), (0.65, 0.95), 0.5, LIGHT_INKS),
        "gel pen": Pen((0.045, 0.08), (0.8, 1.0), 0.0, LIGHT_INKS),
        "paint": Pen((0.09, 0.15), (0.9, 1.0), 0.0, LIGHT_INKS),
    },
}
PAPERS = {
    False: {
        "white": ((238, 238, 240), None),
        "pure white": ((255, 255, 255), None),
        "cream": ((240, 232, 212), grain),
        "grey": ((180, 182, 184), grain),
        "yellow": ((240, 214, 100), None),
        "pink": ((236, 190, 200), None),
        "blue": ((176, 204, 232), fibres),
        "kraft": ((188, 152, 110), fibres),
        "recycled": ((214, 210, 200), fibres),
    },
    True: {
        "green board": ((44, 70, 58), wiped),
        "slate": ((58, 60, 64), wiped),
        "black canvas": ((24, 24, 26), weave),
        "black": ((8, 8, 8), None),
        "dark blue": ((26, 36, 84), grain),
        "dark red": ((96, 24, 34), None),
    },
}
LIGHTS = {"gradient": gradient, "vignette": vignette, "sharp shadow": shadow, "soft shadow": soft_shadow}
RULES = ("none", "none", "ruled", "squared", "dotted", "underline")
SPACINGS = ("wide", "narrow", "groups")


class Page(NamedTuple):
    """A picture, and what is written in it."""

    picture: np.ndarray  # (height, width, 3) uint8 RGB
    lines: list[str]  # the digits, from the top line to the bottom line
    light_on_dark: bool
    traits: dict[str, str]  # what it is made of: paper, pen, light, rules, spacing, source, size, ...

    @property
    def kind(self):
        """In words, for a person who looks for the cause of a failure."""
        return ", ".join(f"{name} {value}" for name, value in self.traits.items())


# -- the plan of a page -----------------------------------------------------------------------------------------------


def digit_page(seed, plain=False, longest=6000):
    """The Page of a seed. plain: even paper, light that is nearly even, no rules. longest: most pixels of a side."""
    random = np.random.default_rng([seed, int(plain)])
    light_on_dark = bool(random.random() < (0.5 if plain else 0.35))
    shape = draw_shape_of_picture(longest, random)
    traits = {
        "polarity": "light on dark" if light_on_dark else "dark on light",
        "size": size_band(max(shape)),
        "source": str(random.choice(["MNIST", "written"])),
        "paper": str(random.choice(list(PAPERS[light_on_dark]))),
        "pen": str(random.choice(list(PENS[light_on_dark]))),
        "light": "mild" if plain else str(random.choice(list(LIGHTS))),
        "rules": "none" if plain else str(random.choice(RULES)),
        "spacing": str(random.choice(SPACINGS)),
    }
    pen = PENS[light_on_dark][traits["pen"]]
    writing = write(shape, traits, random.uniform(*pen.widths), random)
    picture = expose(shape, writing, pen, traits, plain, random)
    return Page(picture, writing.lines, light_on_dark, traits)


SIZES = (300, 800, 2000, 6000)  # pixels of the longer side: the ends of the bands


def size_band(side):
    """The band of SIZES that a longer side belongs to, in words."""
    end = next(end for end in SIZES if side <= end)
    return f"up to {end}"


def draw_shape_of_picture(longest, random):
    """(height, width) in pixels. Large pictures are rare, because each takes seconds."""
    low, high = (100, min(2000, longest)) if random.random() < 0.95 or longest <= 2000 else (2000, longest)
    side = math.exp(random.uniform(math.log(low), math.log(high)))
    aspect = random.uniform(2, 4) if random.random() < 0.15 else random.uniform(1, 1.8)
    sides = round(max(side / aspect, 2.5 * SMALLEST)), round(side)
    return sides if random.random() < 0.65 else sides[::-1]


def draw_height(shape, random):
    """The height of the digits in pixels: from small writing on a large sheet to digits that fill the picture."""
    low = max(SMALLEST, 0.014 * max(shape))
    high = max(low, 0.6 * min(shape))
    return low, math.exp(random.triangular(math.log(low), 0.5 * math.log(low * high), math.log(high)))


# -- writing: where each digit stands ---------------------------------------------------------------------------------


class Writing(NamedTuple):
    """Lines of digits that have their places in the picture. Lengths are in pixels."""

    lines: list[str]
    masks: list[np.ndarray]  # the ink of each digit, (h, w) float32 0..1
    corners: list[tuple[int, int]]  # the top left corner of each, (x, y)
    height: float  # of a digit
    stroke: float
    pitch: float  # from line to line
    foot: float  # the row on which the last line stands, in the middle of the picture
    angle: float  # of the lines, clockwise, in radians
    blur: float  # of the lens: standard deviation


class Hand(NamedTuple):
    """How somebody writes: what does not change if the same digits are written smaller."""

    angle: float
    slant: float
    pitch: float  # as a share of the height of a digit, as all that follows
    indents: np.ndarray  # (4,)
    gaps: np.ndarray  # (4, 12) before each digit
    heights: np.ndarray  # (4, 12)
    drops: np.ndarray  # (4, 12) below its line


def draw_hand(spacing, random):
    """A Hand. spacing: one of SPACINGS."""
    steep = random.random() < 0.4
    gaps = np.full((4, 12), random.uniform(0.4, 0.9) if spacing == "wide" else random.uniform(0.14, 0.26))
    gaps *= random.uniform(0.8, 1.2, gaps.shape)
    if spacing == "groups":
        gaps[:, :: int(random.integers(2, 5))] += random.uniform(0.6, 1.2)
    return Hand(
        angle=math.radians(random.uniform(-4, 4) if steep else random.uniform(-0.7, 0.7)),
        slant=random.uniform(-0.15, 0.3),
        pitch=random.uniform(1.6, 2.4),
        indents=random.uniform(0, 0.8, 4),
        gaps=gaps,
        heights=random.uniform(0.92, 1.08, gaps.shape),
        drops=random.normal(0, 0.03, gaps.shape),
    )


def write(shape, traits, pen_width, random):
    """The Writing of a page of this (height, width): as many of the digits that were thought of as there is room for.

    pen_width: as a share of the height of a digit. Digits that are no longer clear, as small and as blurred as they
    are in the picture, are replaced.
    """
    smallest, height = draw_height(shape, random)
    hand = draw_hand(traits["spacing"], random)
    room = [max(1, int(side / height)) for side in shape]
    count = min(int(random.choice([1, 2, 3, 4], p=[0.5, 0.25, 0.15, 0.1])), room[0])
    lengths = [min(int(random.integers(1, 13)), room[1]) for _ in range(count)]
    shapes = iter(draw_shapes(random.integers(0, 10, sum(lengths)), traits["source"], pen_width, random))
    drawn = [list(islice(shapes, length)) for length in lengths]
    blur = random.uniform(0, 1.1) * (1 + max(shape) / 3000)
    while True:
        height, masks, corners, free = fit(drawn, hand, shape, height, smallest, pen_width, random)
        stroke = stroke_at(height, pen_width)
        values = [one.value for line in drawn for one in line]
        unclear = [i for i, clear in enumerate(are_clear(masks, values, min(blur, 0.45 * stroke))) if not clear]
        if not unclear:
            break
        news = iter(draw_shapes([values[i] for i in unclear], traits["source"], pen_width, random))
        places = iter(range(len(values)))
        drawn = [[next(news) if next(places) in unclear else one for one in line] for line in drawn]
    move = np.round(margin_at(height) + free * random.uniform(0, 1, 2) - np.min(corners, axis=0)).astype(int)
    pitch, middle = hand.pitch * height, shape[1] / 2
    foot = move[1] + pitch * (len(drawn) - 1) + height / 2 + (middle - move[0]) * math.tan(hand.angle)
    return Writing(
        lines=["".join(str(one.value) for one in line) for line in drawn],
        masks=masks,
        corners=[tuple(int(value) for value in corner + move) for corner in corners],
        **{"height": height, "stroke": stroke, "pitch": pitch, "foot": foot, "angle": hand.angle},
        blur=min(blur, 0.45 * stroke),
    )


def stroke_at(height, pen_width):
    """The width in pixels of the strokes of digits of this height; thinner ones would hardly be seen."""
    return max(pen_width * height, 1.8)


def margin_at(height):
    """The free paper around the digits, in pixels."""
    return max(5, 0.35 * height)


def fit(drawn, hand, shape, height, smallest, pen_width, random):
    """(height, masks, corners, free): the digits as `place` puts them, small enough or few enough for the picture.

    drawn: a list of Shapes for each line; it loses digits if they have no room even at the smallest height.
    free: how far they can be moved, (x, y) in pixels.
    """
    while True:
        masks, corners = place(drawn, hand, height, stroke_at(height, pen_width), random)
        ends = [(x + mask.shape[1], y + mask.shape[0]) for mask, (x, y) in zip(masks, corners, strict=True)]
        extent = np.max(ends, axis=0) - np.min(corners, axis=0)
        free = np.array(shape[::-1]) - extent - 2 * margin_at(height)
        if (free >= 0).all():
            return height, masks, corners, free
        if height * 0.9 >= smallest:
            height *= 0.9
        elif len(drawn) > 1 and free[1] < 0:
            drawn.pop()
        else:
            max(drawn, key=len).pop()


def are_clear(masks, values, blur):
    """Whether the network reads each mask (h, w), 0..1, as this value and surely, when it is blurred: (n,) bool."""
    padded = [np.pad(mask * 255, 3 + math.ceil(3 * blur)) for mask in masks]
    soft = [cv2.GaussianBlur(mask, (0, 0), blur) if blur > 0.1 else mask for mask in padded]
    read, confidences = read_digits([mask.astype(np.uint8) for mask in soft])
    return (read == values) & (confidences > SURE)


def place(drawn, hand, height, stroke, random):
    """(masks, corners) of the digits, their corners counted from the beginning of the first line.

    drawn: a list of Shapes for each line. There are at least 3 pixels of paper between two digits.
    """
    masks, corners = [], []
    for row, line in enumerate(drawn):
        x = hand.indents[row] * height
        for column, shape in enumerate(line):
            size = hand.heights[row, column] * height
            mask = pen_mask(shape, size, stroke, hand.slant, hand.angle, random)
            x += max(hand.gaps[row, column] * height, 3) if column else 0
            middle = (row * hand.pitch + hand.drops[row, column]) * height + x * math.tan(hand.angle)
            masks.append(mask)
            corners.append(np.array([round(x), round(middle - mask.shape[0] / 2)]))
            x += mask.shape[1]
    return masks, corners


# -- the picture: paper, rules, ink, light, camera --------------------------------------------------------------------


def expose(shape, writing, pen, traits, plain, random):
    """The picture, (h, w, 3) uint8, of a Writing on a sheet of this (height, width).

    The ink is at least LEAST grey levels from the paper, also where the light is weakest and the lens blurs the
    strokes. Noise and texture are much weaker than that.
    """
    colour, texture = PAPERS[traits["polarity"] == "light on dark"][traits["paper"]]
    colour = np.clip(np.array(colour) + random.normal(0, 4, 3), 0, 255)
    blur = writing.blur
    darkest = random.uniform(0.8, 1) if plain else random.uniform(0.45, 0.85)
    seen = math.erf(writing.stroke / (2.83 * blur)) if blur > 0.1 else 1.0  # share of the contrast that blur leaves
    seen *= darkest * (1 - 0.5 * pen.roughness)
    ink, opacity, contrast = choose_ink(colour, pen, seen, random)
    canvas = np.empty((*shape, 3), np.float32)
    canvas[:] = colour
    if texture and not plain:
        canvas += (min(random.uniform(1, 7), contrast / 9) * texture(shape, random))[:, :, None]
    if traits["rules"] != "none":
        rule_page(canvas, writing, colour, ink, opacity * (1 - 0.5 * pen.roughness), traits["rules"], random)
    for mask, (x, y) in zip(writing.masks, writing.corners, strict=True):
        rough = 0.5 + 0.5 * noise(mask.shape, max(1.5, 0.2 * writing.stroke), random)
        stain(canvas, mask * (1 - pen.roughness * np.clip(rough, 0, 1)), x, y, ink, opacity)
    kinds = [gradient, vignette] if plain else [LIGHTS[traits["light"]]]
    shine(canvas, kinds[random.integers(len(kinds))](light_shape(canvas), darkest, random))
    noisy = random.random() < 0.7
    sensor = min(random.uniform(1, 10), contrast / 7) if noisy else 0
    quality = int(random.integers(60, 96)) if noisy or random.random() < 0.3 else None
    return photograph(canvas, random, blur if noisy or blur > 0.5 else 0, sensor, quality)


LEAST = 32  # grey levels between ink and paper


def choose_ink(paper, pen, seen, random):
    """(colour, opacity, contrast) of ink on a paper of this colour; seen: the share of the contrast that remains."""
    light_on_dark = pen.inks is LIGHT_INKS
    ink, opacity = pen.inks[random.integers(len(pen.inks))], random.uniform(*pen.opacities)
    for choice, strength in ((ink, opacity), (ink, 1.0), ((245, 245, 245) if light_on_dark else (15, 15, 18), 1.0)):
        contrast = abs(luminance(paper) - luminance(choice)) * strength * seen
        if contrast >= LEAST:
            break
    return choice, strength, contrast


def luminance(colour):
    """The grey level of a colour (RGB), by ITU-R BT.601."""
    return float(np.dot(colour, (0.299, 0.587, 0.114)))


def rule_page(canvas, writing, paper, ink, strength, kind, random):
    """Print the rules under the digits, paler and thinner than the pen, or draw a line under the last ones.

    strength: the share of the paper that the pen covers, 0..1.
    """
    height, stroke = writing.height, writing.stroke
    if kind == "underline":
        x = [corner[0] for corner in writing.corners[-len(writing.lines[-1]) :]]
        y = [y + mask.shape[0] for mask, (_, y) in zip(writing.masks, writing.corners, strict=True)]
        y = max(y[-len(writing.lines[-1]) :]) + random.uniform(0.12, 0.3) * height + stroke
        start = np.array([max(2, x[0] - random.uniform(0, 0.4) * height), y])
        end = np.array([min(canvas.shape[1] - 3, x[-1] + random.uniform(0.6, 1) * height), y])
        mask = np.zeros(canvas.shape[:2], np.uint8)
        middle = (start + end) / 2 + (0, random.normal(0, 0.02 * height))
        draw_line(mask, round_corners(np.array([start, middle, end])), max(1, round(stroke)))
        stain(canvas, mask.astype(np.float32) / 255, 0, 0, ink, strength)
        return
    if kind == "ruled":
        step, first = writing.pitch, writing.foot + random.uniform(-0.1, 0.3) * height
    else:
        step, first = height * random.uniform(0.45, 1.1), writing.foot + random.uniform(-0.5, 0.5) * height
    step, thickness = max(step, 10), stroke * random.uniform(0.2, 0.5)
    colour = np.array(paper) + random.uniform(0.2, 0.5) * strength * min(1, thickness) * (np.array(ink) - paper)
    colour = 0.6 * colour + 0.4 * luminance(colour) * np.array([0.85, 0.97, 1.15])  # printed rules are bluish
    angle = writing.angle + math.radians(random.uniform(-0.4, 0.4))
    print_rules(canvas, kind, step, first, thickness, angle, colour, 0.9)


# -- pictures without a digit: (h, w), generator -> canvas (h, w, 3) float32 ------------------------------------------

SURFACES = {"wood": wood, "cloth": weave, "stone": grain, "fibres": fibres, "board": wiped}
COLOURS = (
    *((236, 236, 238), (240, 232, 212), (180, 182, 184), (188, 152, 110)),
    *((120, 84, 56), (70, 92, 120), (44, 66, 56)),
)


def surface(shape, random, texture=None, strength=None):
    """Paper or something else of one colour, with a texture or nearly none."""
    canvas = np.empty((*shape, 3), np.float32)
    canvas[:] = COLOURS[random.integers(len(COLOURS))]
    texture = texture or (fibres, grain)[random.integers(2)]
    canvas += ((strength or random.uniform(0.5, 3)) * texture(shape, random))[:, :, None]
    return canvas


def sheet(shape, random):
    """White or coloured paper, and ink that can be seen on it."""
    canvas = surface(shape, random)
    ink = DARK_INKS[random.integers(len(DARK_INKS))] if canvas.mean() > 110 else (235, 235, 230)
    return canvas, ink


def textured(texture):
    """A picture of nothing but a texture."""
    return lambda shape, random: surface(shape, random, texture, random.uniform(4, 14))


def blank(shape, random):
    """Empty paper; a shadow comes with the light."""
    return surface(shape, random)


def folds(shape, random):
    """Cloth that lies in folds: ridges of light and shade, no edges."""
    side = max(shape)
    canvas = surface(shape, random, weave, random.uniform(0, 3))
    field = noise(shape, random.uniform(0.06, 0.2) * side, random, stretch=random.uniform(1.5, 6))
    ridges = np.abs(field) + 0.5 * noise(shape, 0.3 * side, random)
    canvas *= np.clip(0.55 + 0.3 * ridges, 0.2, 1.2)[:, :, None]
    return cv2.rotate(canvas, int(random.integers(3))) if shape[0] == shape[1] else canvas


def empty_rules(kind):
    """Paper with printed rules and nothing on it."""

    def draw(shape, random):
        canvas, ink = sheet(shape, random)
        step = max(12, max(shape) * random.uniform(0.02, 0.08))
        angle = math.radians(random.uniform(-4, 4))
        thickness = max(1, step * random.uniform(0.02, 0.07))
        print_rules(canvas, kind, step, shape[0] / 2, thickness, angle, ink, random.uniform(0.2, 0.6))
        return canvas

    return draw


def desk_edge(shape, random):
    """A sheet that covers a part of a desk."""
    canvas = surface(shape, random, wood, random.uniform(3, 8)) * random.uniform(0.3, 0.8)
    paper = surface(shape, random)
    corner = np.array(shape[::-1]) * random.uniform(0.2, 0.8, 2)
    turn, reach = math.radians(random.uniform(-12, 12)) + random.integers(4) * math.pi / 2, 3 * max(shape)
    along, across = np.array([math.cos(turn), math.sin(turn)]), np.array([-math.sin(turn), math.cos(turn)])
    points = [corner, corner + reach * along, corner + reach * (along + across), corner + reach * across]
    mask = np.zeros(shape, np.uint8)
    cv2.fillConvexPoly(mask, np.round(points).astype(np.int32), 255, cv2.LINE_AA)
    return canvas + (mask.astype(np.float32) / 255)[:, :, None] * (paper - canvas)


def pen_on_paper(shape, random):
    """A pen that lies on a sheet, with its shadow."""
    canvas, _ = sheet(shape, random)
    side, turn = min(shape), random.uniform(0, 2 * math.pi)
    length, half = random.uniform(0.5, 0.9) * side, random.uniform(0.015, 0.035) * side
    along, across = np.array([math.cos(turn), math.sin(turn)]), np.array([-math.sin(turn), math.cos(turn)])
    start = np.array(shape[::-1]) / 2 - length / 2 * along
    barrel = [start - half * across, start + (length - 4 * half) * along - half * across]
    tip = start + length * along
    barrel += [tip - 0.15 * half * across, tip + 0.15 * half * across]
    barrel += [start + (length - 4 * half) * along + half * across, start + half * across]
    colour = random.uniform(20, 220, 3)
    for shift, ink, soft in ((half * random.uniform(0.5, 1.5), (30, 30, 30), 0.4 * half), (0, colour, 0.6)):
        mask = np.zeros(shape, np.uint8)
        cv2.fillConvexPoly(mask, np.round(np.array(barrel) + shift).astype(np.int32), 255, cv2.LINE_AA)
        mask = cv2.GaussianBlur(mask, (0, 0), max(0.6, soft)).astype(np.float32) / 255
        stain(canvas, mask, 0, 0, ink, 0.45 if shift else 1.0)
    return canvas


def shapes(shape, random):
    """Drawn triangles, squares, stars, crosses and arrows."""
    canvas, ink = sheet(shape, random)
    mask = np.zeros(shape, np.uint8)
    rows, columns = int(random.integers(1, 4)), int(random.integers(1, 5))
    cell = min(shape[0] / rows, shape[1] / columns)
    thickness = max(2, round(cell * random.uniform(0.02, 0.06)))
    for place in np.ndindex(rows, columns):
        middle = (np.array(place)[::-1] + 0.5) * (shape[1] / columns, shape[0] / rows)
        radius = cell * random.uniform(0.25, 0.38)
        kind, turn = random.integers(4), random.uniform(0, 2 * math.pi)
        corners = (3, 4, 10, 2)[kind]
        angles = turn + np.arange(corners + 1) * 2 * math.pi / corners
        reach = radius * (np.where(np.arange(corners + 1) % 2, 0.4, 1) if corners == 10 else np.ones(corners + 1))
        points = middle + reach[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        if corners == 2:
            start, end = (tuple(np.round(point).astype(int).tolist()) for point in points[:2])
            cv2.arrowedLine(mask, start, end, 255, thickness, cv2.LINE_AA, tipLength=0.35)
        else:
            draw_line(mask, points, thickness)
    stain(canvas, mask.astype(np.float32) / 255, 0, 0, ink, 0.9)
    return canvas


SAFE_LETTERS = "ACEFHKMNPRUWXadehkmnruwx"
DIGIT_LIKE_LETTERS = "OlISZBGgqoizsbtTLyY"
FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX, cv2.FONT_HERSHEY_TRIPLEX)


def printed(letters):
    """Lines of printed words of these letters."""

    def draw(shape, random):
        canvas, ink = sheet(shape, random)
        mask = np.zeros(shape, np.uint8)
        font, height = FONTS[random.integers(len(FONTS))], max(14, shape[0] * random.uniform(0.03, 0.15))
        scale, thickness = height / 22, max(1, round(height * random.uniform(0.06, 0.12)))
        y = 2 * height
        while y < shape[0] - height:
            text = ""
            while cv2.getTextSize(text + "xxxxxxxxx", font, scale, thickness)[0][0] < shape[1] - 2 * height:
                text += "".join(random.choice(list(letters), int(random.integers(3, 9)))) + " "
            cv2.putText(mask, text.strip(), (round(height), round(y)), font, scale, 255, thickness, cv2.LINE_AA)
            y += height * 1.9
        stain(canvas, mask.astype(np.float32) / 255, 0, 0, ink, 0.9)
        return canvas

    return draw


LETTERS = {  # strokes in a box from (0, 0), top left, to (1, 1): as in photos/handwriting.py
    "A": [[(0, 1), (0.5, 0), (0.5, 0), (1, 1)], [(0.2, 0.62), (0.8, 0.6)]],
    "E": [[(0.9, 0), (0, 0), (0, 0), (0, 1), (0, 1), (0.95, 1)], [(0, 0.5), (0.7, 0.48)]],
    "H": [[(0, 0), (0, 1)], [(0.9, 0), (0.95, 1)], [(0, 0.5), (0.93, 0.5)]],
    "K": [[(0, 0), (0, 1)], [(0.9, 0), (0, 0.55), (0, 0.55), (0.95, 1)]],
    "M": [[(0, 1), (0.1, 0), (0.1, 0), (0.5, 0.7), (0.5, 0.7), (0.9, 0), (0.9, 0), (1, 1)]],
    "N": [[(0, 1), (0, 0), (0, 0), (0.9, 1), (0.9, 1), (0.9, 0)]],
    "R": [[(0, 1), (0, 0), (0, 0), (0.9, 0.05), (0.8, 0.5), (0, 0.52), (0, 0.52), (0.95, 1)]],
    "W": [[(0, 0), (0.25, 1), (0.25, 1), (0.5, 0.3), (0.5, 0.3), (0.75, 1), (0.75, 1), (1, 0)]],
    "X": [[(0, 0), (0.95, 1)], [(0.95, 0), (0, 1)]],
    "m": [[(0, 0.4), (0.05, 1), (0.05, 1), (0.25, 0.3), (0.45, 1), (0.45, 1), (0.7, 0.3), (0.95, 1)]],
}


def hand_letters(shape, random):
    """Capital letters that somebody has written, none of which looks like a digit."""
    canvas, ink = sheet(shape, random)
    mask = np.zeros(shape, np.uint8)
    height = min(shape) * random.uniform(0.1, 0.3)
    thickness = max(2, round(height * random.uniform(0.05, 0.11)))
    for y in np.arange(0.4 * height, shape[0] - 1.3 * height, 1.7 * height):
        x = 0.4 * height
        while x < shape[1] - 1.2 * height:
            for stroke in LETTERS[str(random.choice(list(LETTERS)))]:
                points = np.array(stroke) + random.normal(0, 0.03, (len(stroke), 2))
                draw_line(mask, round_corners(points * (0.7 * height, height) + (x, y)), thickness)
            x += height * (2.2 if random.random() < 0.2 else 1.1)
    stain(canvas, mask.astype(np.float32) / 255, 0, 0, ink, 0.9)
    return canvas


def scribbles(shape, random):
    """Lines of loops and waves, as a child or a doctor writes, and things crossed out."""
    canvas, ink = sheet(shape, random)
    mask = np.zeros(shape, np.uint8)
    height = min(shape) * random.uniform(0.06, 0.2)
    thickness = max(2, round(height * random.uniform(0.06, 0.12)))
    for y in np.arange(height, shape[0] - height, 2 * height):
        x, end = height, shape[1] - height
        while x < end - 3 * height:
            until = min(end, x + height * random.uniform(4, 10))
            time = np.arange(0, (until - x) / height, 0.08)
            turns = 2 * math.pi * time * random.uniform(0.8, 2) + 0.8 * np.sin(time)
            swing = height * 0.5 * (0.7 + 0.4 * np.sin(1.3 * time + random.uniform(0, 6)))
            loop = random.uniform(0, 0.5)
            points = np.stack([x + time * height + loop * swing * np.cos(turns), y + swing * np.sin(turns)], axis=1)
            draw_line(mask, points, thickness)
            x = until + height
    stain(canvas, mask.astype(np.float32) / 255, 0, 0, ink, 0.9)
    return canvas


NO_DIGITS = {
    **{name: textured(texture) for name, texture in SURFACES.items()},
    "blank": blank,
    "folds": folds,
    "desk edge": desk_edge,
    "pen on paper": pen_on_paper,
    **{f"empty {kind}": empty_rules(kind) for kind in ("ruled", "squared", "dotted")},
    "shapes": shapes,
    "print": printed(SAFE_LETTERS),
    "print like digits": printed(DIGIT_LIKE_LETTERS),
    "letters by hand": hand_letters,
    "scribbles": scribbles,
}


def no_digit_picture(seed, longest=2400):
    """(picture, kind) of a seed: (h, w, 3) uint8 without any digit, and a key of NO_DIGITS; the kinds take turns.

    longest: most pixels of a side. In "print like digits" are letters such as O, l and S: a reader of digits may well
    read some of them.
    """
    random = np.random.default_rng([seed, 2])
    kind = list(NO_DIGITS)[seed % len(NO_DIGITS)]
    side = math.exp(random.uniform(math.log(min(250, 0.7 * longest)), math.log(longest)))
    sides = round(side / random.uniform(1, 1.8)), round(side)
    canvas = NO_DIGITS[kind](sides if random.random() < 0.65 else sides[::-1], random)
    light = list(LIGHTS.values())[random.integers(len(LIGHTS))]
    shine(canvas, light(light_shape(canvas), random.uniform(0.5, 1), random))
    quality = int(random.integers(60, 96)) if random.random() < 0.8 else None
    return photograph(canvas, random, random.uniform(0.4, 1.2), random.uniform(0, 7), quality), kind


# -- the command ------------------------------------------------------------------------------------------------------


def read_array(picture, model):
    """The lines of digits that the photo reader reads in a picture (h, w, 3) uint8: a list of strings."""
    return read_picture(picture, model).lines()


class Result(NamedTuple):
    """How the page of a seed was read."""

    seed: int
    wanted: list[str]  # lines
    read: list[str]
    traits: dict[str, str]

    @property
    def exact(self):
        return self.wanted == self.read

    @property
    def mistakes(self):
        """How many digits are wrong, missed or too many, but at most as many as were wanted."""
        wanted, read = "".join(self.wanted), "".join(self.read)
        return min(sum(a != b for a, b in align(wanted, read)), len(wanted))

    def __str__(self):
        kind = ", ".join(self.traits.values())
        return f"  {self.seed}: {'/'.join(self.wanted)} read as {'/'.join(self.read) or 'nothing'} ({kind})"


def read_pages(seeds, plain, model, folder=None, longest=6000):
    """A Result for each seed. folder: where the pictures that were not read exactly are saved, if anywhere."""
    results = []
    for seed in seeds:
        page = digit_page(seed, plain, longest)
        result = Result(seed, page.lines, read_array(page.picture, model), page.traits)
        results.append(result)
        if folder and not result.exact:
            names = "_".join(result.wanted), "_".join(result.read) or "nothing"
            save(folder, f"{'plain' if plain else 'all'}-{seed}-{names[0]}-read-{names[1]}", page.picture)
    return results


def save(folder, name, picture):
    """Write a picture as PNG; what was read may be long, so the name is cut."""
    folder.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(folder / f"{name[:120]}.png"), picture[:, :, ::-1])


def page_report(results):
    """Lines of text: the share of pages that are exact and the accuracy of their digits, by trait; the failures."""
    groups = {"all": results}
    for name in ("polarity", "size", "source", "rules", "light", "paper", "pen", "spacing"):
        for value in sorted({result.traits[name] for result in results}):
            groups[f"{name} {value}"] = [result for result in results if result.traits[name] == value]
    lines = [f"{'':24}{'pages':>7}{'exact':>16}{'digit accuracy':>16}"]
    for name, group in groups.items():
        exact = sum(result.exact for result in group)
        digits = sum(len("".join(result.wanted)) for result in group)
        accuracy = 1 - sum(result.mistakes for result in group) / digits
        lines.append(f"{name:24}{len(group):7}{f'{exact} = {exact / len(group):.1%}':>16}{accuracy:16.2%}")
    return lines + ["", "not read exactly:", *(str(result) for result in results if not result.exact)]


def read_none(seeds, model, folder=None, longest=2400):
    """{kind: how many digits were read in each picture of this kind}, and {seed: what was read} where it was not 0."""
    counts, invented = defaultdict(list), {}
    for seed in seeds:
        picture, kind = no_digit_picture(seed, longest)
        read = read_array(picture, model)
        counts[kind].append(len("".join(read)))
        if read:
            invented[seed] = read
            if folder:
                save(folder, f"none-{seed}-{kind.replace(' ', '-')}-read-{'_'.join(read)}", picture)
    return counts, invented


def none_report(counts, invented):
    """Lines of text: how many digits were invented, by kind of picture."""
    lines = [f"{'':24}{'pictures':>9}{'with digits':>12}{'digits per picture':>20}"]
    everything = [count for group in counts.values() for count in group]
    for name, group in {"all": everything, **counts}.items():
        lines.append(f"{name:24}{len(group):9}{sum(map(bool, group)):12}{sum(group) / len(group):20.2f}")
    return lines + ["", "digits were read in:", *(f"  {seed}: {'/'.join(read)}" for seed, read in invented.items())]


def main(argv=None):
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--plain", type=number(int, 1, "a number of pages"), metavar="N", help="read N plain pages")
    parser.add_argument(
        "--all", type=number(int, 1, "a number of pages"), metavar="N", help="read N pages of all kinds"
    )
    parser.add_argument("--none", type=number(int, 1, "a number of pictures"), metavar="N", help="... without digits")
    parser.add_argument("--first", type=number(int, 0, "a seed"), default=0, metavar="SEED", help="the first seed")
    parser.add_argument("--save", type=Path, metavar="DIR", help="save the pictures that are read wrongly there")
    args = parser.parse_args(argv)
    for count, plain in ((args.plain, True), (args.all, False)):
        if count:
            results = read_pages(range(args.first, args.first + count), plain, shipped_model(), args.save)
            print("\n".join([f"{'plain pages' if plain else 'pages of all kinds'}:", *page_report(results), ""]))
    if args.none:
        report = none_report(*read_none(range(args.first, args.first + args.none), shipped_model(), args.save))
        print("\n".join(["pictures without digits:", *report]))


if __name__ == "__main__":
    run(main)
