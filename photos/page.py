"""A page that digits of MNIST are written on, and the photo that a camera would take of it.

    page = Page(1200, 420, CREAM, seed=1, digits=digits)
    boxes = page.write("31415926", 70, 130, height=140)
    page.light(0.55)
    photo = page.expose()

make_samples.py makes the sample pictures with it, and the tests make pictures in which every digit is known.
"""

import cv2
import numpy as np

# Colours: RGB, 0..255.
WHITE = (236, 236, 238)
CREAM = (238, 230, 212)
YELLOW = (240, 214, 92)
GREY = (178, 180, 182)
BOARD = (44, 66, 56)
DESK = (58, 46, 38)
BLACK_INK = (32, 32, 36)
BLUE_INK = (34, 52, 140)
RED_INK = (170, 40, 44)
GRAPHITE = (128, 128, 130)
CHALK = (232, 232, 222)


class Page:
    """A sheet that is written on and then photographed. Colours are RGB, 0..255; lengths and places are in pixels.

    paper: its colour. seed: of every random choice, also that of the digits. digits: for each digit 0..9, its images
    (N, 28, 28) uint8, ink bright on dark.
    """

    def __init__(self, width, height, paper, seed, digits):
        self.picture = np.empty((height, width, 3), np.float32)
        self.picture[:] = paper
        self.random = np.random.default_rng(seed)
        self.digits = digits

    # What is on the paper.

    def write(self, text, x, y, height, ink=BLACK_INK, stroke=None, spacing=0.35, slope=0.0, slant=0.0, opacity=0.92):
        """Write a row of digits and return their boxes, a list of (x, y, width, height).

        text: the digits. (x, y): the top left corner of the first one. height: of a digit. stroke: width of the
        strokes. spacing: between digits, as a share of the height. slope: pixels by which the row rises per pixel to
        the right. slant: of each digit, columns per row. opacity: of the ink, 0..1.
        """
        boxes, start = [], x
        for character in text:
            choice = self.random.integers(len(self.digits[int(character)]))
            mask = pen_strokes(self.digits[int(character)][choice], height, stroke or height / 11, slant)
            top = round(y - slope * (x - start) + self.random.normal(0, 0.03 * height))
            self.stain(mask, round(x), top, ink, opacity)
            boxes.append((round(x), top, mask.shape[1], mask.shape[0]))
            x += mask.shape[1] + spacing * height * self.random.uniform(0.7, 1.3)
        return boxes

    def stain(self, mask, x, y, ink, opacity=1.0):
        """Put ink on the paper where a mask (h, w), 0..1, has it; (x, y): its top left corner, also off the page."""
        height, width = mask.shape
        rows, columns = slice(max(y, 0), max(y + height, 0)), slice(max(x, 0), max(x + width, 0))
        area = self.picture[rows, columns]
        part = mask[max(-y, 0) :, max(-x, 0) :][: area.shape[0], : area.shape[1]]
        area += (opacity * part)[:, :, None] * (np.array(ink, np.float32) - area)

    def line(self, start, end, ink, thickness=2, opacity=1.0):
        """Draw a straight line from start to end, both (x, y)."""
        mask = np.zeros(self.picture.shape[:2], np.uint8)
        cv2.line(mask, tuple(map(round, start)), tuple(map(round, end)), 255, thickness, cv2.LINE_AA)
        self.stain(mask.astype(np.float32) / 255, 0, 0, ink, opacity)

    def rules(self, spacing, ink=(150, 165, 200), squared=False, first=0, thickness=2, opacity=0.8, tilt=0.0):
        """Print horizontal rules, `spacing` apart, from row `first` on; tilt: pixels down per pixel to the right."""
        height, width = self.picture.shape[:2]
        for y in range(first or spacing, height, spacing):
            self.line((0, y), (width, y + tilt * width), ink, thickness, opacity)
        if squared:
            for x in range(spacing // 2, width, spacing):
                self.line((x, 0), (x - tilt * height, height), ink, thickness, opacity)

    def specks(self, count, ink=BLACK_INK, largest=3):
        """Drop specks of ink at random places, each with a radius of at most `largest`."""
        height, width = self.picture.shape[:2]
        for _ in range(count):
            centre = int(self.random.integers(width)), int(self.random.integers(height))
            cv2.circle(self.picture, centre, int(self.random.integers(1, largest + 1)), ink, -1, cv2.LINE_AA)

    # How it is photographed.

    def lie_on_desk(self, width, height, angle=4.0, desk=DESK, scale=0.75):
        """Put the sheet on a desk with a little wood grain. width, height: of the new picture; angle in degrees."""
        sheet_height, sheet_width = self.picture.shape[:2]
        grain = cv2.GaussianBlur(self.random.normal(0, 40, (height, width)).astype(np.float32), (0, 0), 12, sigmaY=1.5)
        picture = np.array(desk, np.float32) + grain[:, :, None]
        turn = cv2.getRotationMatrix2D((sheet_width / 2, sheet_height / 2), angle, scale)
        turn[:, 2] += (width - sheet_width) / 2, (height - sheet_height) / 2
        sheet = cv2.warpAffine(self.picture, turn, (width, height), flags=cv2.INTER_AREA)
        covered = cv2.warpAffine(np.ones((sheet_height, sheet_width), np.float32), turn, (width, height))
        self.picture = (picture + covered[:, :, None] * (sheet - picture)).astype(np.float32)

    def light(self, dark_corner=0.6, direction=(1.0, 0.7), colour=(1.0, 0.98, 0.94)):
        """Light fades in a direction (x, y), down to the share dark_corner in the far corner; colour: RGB, 0..1."""
        height, width = self.picture.shape[:2]
        y, x = np.mgrid[0 : 1 : complex(height), 0 : 1 : complex(width)].astype(np.float32)
        distance = (x * direction[0] + y * direction[1]) / sum(direction)
        self.picture *= (1 - (1 - dark_corner) * distance**1.5)[:, :, None] * np.array(colour, np.float32)

    def shadow(self, strength=0.35, start=(0.5, 0.0), end=(0.8, 1.0), softness=0.02):
        """The shadow of a hand or a phone, to the right of the line from start to end (shares of width and height).

        strength: the share of the light that is lost. softness: of the edge, as a share of the width.
        """
        height, width = self.picture.shape[:2]
        corners = [
            (start[0] * width, start[1] * height),
            (width, 0),
            (width, height),
            (end[0] * width, end[1] * height),
        ]
        mask = np.zeros((height, width), np.float32)
        cv2.fillPoly(mask, [np.array(corners).round().astype(np.int32)], 1.0)
        self.picture *= 1 - strength * cv2.GaussianBlur(mask, (0, 0), max(softness * width, 1))[:, :, None]

    def expose(self, noise=4.0, blur=0.8):
        """What lens and sensor do: the photo, (height, width, 3) uint8. noise: in grey levels; blur: in pixels."""
        picture = cv2.GaussianBlur(self.picture, (0, 0), blur) if blur else self.picture
        picture = picture + self.random.normal(0, noise, picture.shape[:2])[:, :, None]
        return np.clip(np.round(picture), 0, 255).astype(np.uint8)


def pen_strokes(digit, height, stroke, slant=0.0):
    """An MNIST digit (28, 28) uint8, written large: a mask (h, w), 0..1, as large as its ink.

    height: of the digit, about; stroke: width of its strokes, both in pixels. slant: columns per row.
    """
    scale = height / 20
    large = cv2.resize(digit, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    large = cv2.GaussianBlur(large, (0, 0), 0.35 * scale)
    ink = (large > 110).astype(np.uint8)
    inside, outside = (cv2.distanceTransform(side, cv2.DIST_L2, 5) for side in (ink, 1 - ink))
    width = 4 * inside[ink > 0].mean()
    shift = max((stroke - width) / 2, -0.25 * width)  # strokes that get much thinner would break
    mask = np.clip(inside - outside + shift + 0.5, 0, 1)
    lean = np.array([[1, -slant, slant * mask.shape[0] / 2], [0, 1, 0]], np.float32)
    mask = cv2.warpAffine(mask, lean, mask.shape[::-1])
    x, y, width, height = cv2.boundingRect((mask > 0.1).astype(np.uint8))
    return mask[y : y + height, x : x + width]
