"""Make the sample pictures: digits of MNIST's test set set down as ink on paper, with light, rules and noise.

    python -m photos.make_samples               writes samples/*.jpg, samples/*.png and samples/manifest.tsv

Every picture has its own seed, so the same pictures come out each time. They are for testing the reader: no network
has seen these digits while it was trained.
"""

import csv
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from errors import Parser, run
from mnist_data import load

FOLDER = Path(__file__).resolve().parent.parent / "samples"

WHITE, CREAM, YELLOW, GREY = (236, 236, 238), (238, 230, 212), (240, 214, 92), (178, 180, 182)
BLACK_INK, BLUE_INK, RED_INK, GRAPHITE, CHALK = (
    (32, 32, 36),
    (34, 52, 140),
    (170, 40, 44),
    (128, 128, 130),
    (232, 232, 222),
)
BOARD, DESK = (44, 66, 56), (58, 46, 38)


class Page:
    """A sheet that is written on and then photographed. Colours are RGB, 0..255; lengths are pixels."""

    def __init__(self, width, height, paper, seed, digits):
        self.picture = np.empty((height, width, 3), np.float32)
        self.picture[:] = paper
        self.random = np.random.default_rng(seed)
        self.digits = digits  # for each digit 0..9, its MNIST images (N, 28, 28)

    # What is on the paper.

    def write(self, text, x, y, height, ink=BLACK_INK, stroke=None, spacing=0.35, slope=0.0, slant=0.0, opacity=0.92):
        """Write a row of digits and return their boxes (x, y, width, height).

        (x, y) is the top left corner of the first digit; the row rises by `slope` per pixel to the right.
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
        """Lay ink on the paper where a mask, 0..1, says so; parts off the page are cut off."""
        height, width = mask.shape
        rows, columns = slice(max(y, 0), max(y + height, 0)), slice(max(x, 0), max(x + width, 0))
        area = self.picture[rows, columns]
        part = mask[max(-y, 0) :, max(-x, 0) :][: area.shape[0], : area.shape[1]]
        area += (opacity * part)[:, :, None] * (np.array(ink, np.float32) - area)

    def line(self, start, end, ink, thickness=2, opacity=1.0):
        mask = np.zeros(self.picture.shape[:2], np.uint8)
        cv2.line(mask, tuple(map(round, start)), tuple(map(round, end)), 255, thickness, cv2.LINE_AA)
        self.stain(mask.astype(np.float32) / 255, 0, 0, ink, opacity)

    def rules(self, spacing, ink=(150, 165, 200), squared=False, first=0, thickness=2, opacity=0.8, tilt=0.0):
        height, width = self.picture.shape[:2]
        for y in range(first or spacing, height, spacing):
            self.line((0, y), (width, y + tilt * width), ink, thickness, opacity)
        if squared:
            for x in range(spacing // 2, width, spacing):
                self.line((x, 0), (x - tilt * height, height), ink, thickness, opacity)

    def specks(self, count, ink=BLACK_INK, largest=3):
        height, width = self.picture.shape[:2]
        for _ in range(count):
            centre = int(self.random.integers(width)), int(self.random.integers(height))
            cv2.circle(self.picture, centre, int(self.random.integers(1, largest + 1)), ink, -1, cv2.LINE_AA)

    # How it is photographed.

    def lie_on_desk(self, width, height, angle=4.0, desk=DESK, scale=0.75):
        """Put the sheet down on a darker desk with a little wood grain, turned by some degrees."""
        sheet_height, sheet_width = self.picture.shape[:2]
        grain = cv2.GaussianBlur(self.random.normal(0, 40, (height, width)).astype(np.float32), (0, 0), 12, sigmaY=1.5)
        picture = np.array(desk, np.float32) + grain[:, :, None]
        turn = cv2.getRotationMatrix2D((sheet_width / 2, sheet_height / 2), angle, scale)
        turn[:, 2] += (width - sheet_width) / 2, (height - sheet_height) / 2
        sheet = cv2.warpAffine(self.picture, turn, (width, height), flags=cv2.INTER_AREA)
        covered = cv2.warpAffine(np.ones((sheet_height, sheet_width), np.float32), turn, (width, height))
        self.picture = (picture + covered[:, :, None] * (sheet - picture)).astype(np.float32)

    def light(self, dark_corner=0.6, direction=(1.0, 0.7), colour=(1.0, 0.98, 0.94)):
        """Light falls off towards one corner, where this share of it is left."""
        height, width = self.picture.shape[:2]
        y, x = np.mgrid[0 : 1 : complex(height), 0 : 1 : complex(width)].astype(np.float32)
        distance = (x * direction[0] + y * direction[1]) / sum(direction)
        self.picture *= (1 - (1 - dark_corner) * distance**1.5)[:, :, None] * np.array(colour, np.float32)

    def shadow(self, strength=0.35, start=(0.5, 0.0), end=(0.8, 1.0), softness=0.02):
        """The hard shadow of a hand or a phone, to the right of a line across the page (shares of width and height)."""
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
        """What lens and sensor do. Returns the photo, (height, width, 3) uint8."""
        picture = cv2.GaussianBlur(self.picture, (0, 0), blur) if blur else self.picture
        picture = picture + self.random.normal(0, noise, picture.shape[:2])[:, :, None]
        return np.clip(np.round(picture), 0, 255).astype(np.uint8)


def pen_strokes(digit, height, stroke, slant=0.0):
    """An MNIST digit (28, 28) as a mask 0..1 of this height, with strokes of this width; slant in x per y."""
    scale = height / 20
    large = cv2.resize(digit, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    large = cv2.GaussianBlur(large, (0, 0), 0.35 * scale)
    ink = (large > 110).astype(np.uint8)
    inside, outside = (cv2.distanceTransform(side, cv2.DIST_L2, 5) for side in (ink, 1 - ink))
    width = 4 * inside[ink > 0].mean()
    shift = max((stroke - width) / 2, -0.25 * width)  # thinner, and strokes would break
    mask = np.clip(inside - outside + shift + 0.5, 0, 1)
    lean = np.array([[1, -slant, slant * mask.shape[0] / 2], [0, 1, 0]], np.float32)
    mask = cv2.warpAffine(mask, lean, mask.shape[::-1])
    x, y, width, height = cv2.boundingRect((mask > 0.1).astype(np.uint8))
    return mask[y : y + height, x : x + width]


# -- the pictures -----------------------------------------------------------------------------------------------------


class Sample(NamedTuple):
    file: str
    label: str
    kind: str
    difficulty: str
    notes: str
    picture: np.ndarray  # (height, width, 3) uint8 RGB


def paper_row(digits):
    page = Page(1200, 420, CREAM, 1, digits)
    page.write("31415926", 70, 130, 140, BLUE_INK, spacing=0.25)
    page.light(0.55, colour=(1.0, 0.97, 0.9))
    return Sample("digits.jpg", "31415926", "photo", "easy", "ballpoint on paper, uneven light", page.expose())


def blackboard(digits):
    page = Page(1000, 640, BOARD, 2, digits)
    page.write("2718", 90, 90, 170, CHALK, opacity=0.85)
    page.write("9045", 150, 370, 170, CHALK, opacity=0.85)
    page.light(0.6, (0.4, 1.0))
    return Sample("blackboard.jpg", "2718/9045", "photo", "medium", "light on dark, two lines", page.expose(6))


def several_lines(digits):
    page = Page(900, 1000, WHITE, 403, digits)
    for row, text in enumerate(("16180", "339887", "4989", "484820", "45868")):
        page.write(text, 70 + 20 * (row % 3), 60 + 180 * row, 100, BLACK_INK, spacing=0.3)
    page.light(0.7)
    label = "16180/339887/4989/484820/45868"
    return Sample("lines.jpg", label, "photo", "easy", "five lines", page.expose())


def ruled_paper(digits):
    page = Page(1100, 520, WHITE, 4, digits)
    page.rules(96, first=60, tilt=0.012)
    page.write("57721", 90, 76, 90, BLUE_INK, spacing=0.5)
    page.write("56649", 120, 268, 90, BLUE_INK, spacing=0.5)
    page.light(0.7)
    return Sample("ruled.jpg", "57721/56649", "photo", "hard", "ruled paper, digits touch the rules", page.expose())


def squared_paper(digits):
    page = Page(1000, 460, WHITE, 5, digits)
    page.rules(46, squared=True, ink=(160, 190, 205), opacity=0.7)
    page.write("69314", 80, 150, 130, BLACK_INK, spacing=0.3)
    page.light(0.65, (1.0, 0.2))
    return Sample("squared.jpg", "69314", "scan", "medium", "squared paper", page.expose(1.5))


def pencil(digits):
    page = Page(1000, 700, WHITE, 106, digits)
    page.write("0123", 120, 90, 150, GRAPHITE, stroke=9, opacity=0.55)
    page.write("4567", 90, 400, 150, GRAPHITE, stroke=9, opacity=0.5)
    page.light(0.6, (0.2, 1.0), (0.95, 0.95, 1.0))
    return Sample("pencil.jpg", "0123/4567", "photo", "hard", "pencil, low contrast", page.expose(5))


def one_big_digit(digits):
    page = Page(240, 260, (255, 255, 255), 7, digits)
    page.write("5", 50, 25, 205, (20, 20, 20), stroke=26)
    return Sample("big.png", "5", "paint", "easy", "one digit fills the picture", page.expose(0, 0))


def sloping_lines(digits):
    page = Page(1200, 760, CREAM, 208, digits)
    page.write("86420", 80, 300, 110, RED_INK, slope=0.16, slant=0.2)
    page.write("97531", 80, 560, 110, RED_INK, slope=0.16, slant=0.2)
    page.light(0.7)
    return Sample("sloping.jpg", "86420/97531", "photo", "medium", "lines climb, digits lean", page.expose())


def hard_shadow(digits):
    page = Page(1100, 600, WHITE, 9, digits)
    page.write("140913", 60, 210, 150, BLUE_INK, stroke=10, spacing=0.2)
    page.shadow(0.4)
    return Sample("shadow.jpg", "140913", "photo", "medium", "a hard shadow across the digits", page.expose())


def sheet_on_desk(digits):
    page = Page(1000, 640, WHITE, 110, digits)
    page.write("7320", 130, 100, 170, BLACK_INK)
    page.write("508", 220, 380, 170, BLACK_INK)
    page.lie_on_desk(1200, 900, -5)
    page.light(0.7)
    return Sample("desk.jpg", "7320/508", "photo", "medium", "a white sheet on a dark desk", page.expose())


def touching_digits(digits):
    page = Page(900, 360, WHITE, 523, digits)
    page.write("604", 60, 110, 130, BLACK_INK, spacing=-0.04)
    page.write("82", 520, 110, 130, BLACK_INK, spacing=-0.06)
    return Sample("touching.png", "60482", "scan", "hard", "digits touch each other", page.expose(0))


def noisy(digits):
    page = Page(640, 480, GREY, 212, digits)
    page.write("9876", 70, 170, 110, BLACK_INK, opacity=0.75)
    page.light(0.4, (1.0, 1.0), (0.8, 0.75, 0.6))
    return Sample("noisy.jpg", "9876", "photo", "hard", "dim, noisy, soft", page.expose(9, 1.5))


def twelve_megapixels(digits):
    page = Page(4000, 3000, WHITE, 113, digits)
    page.write("2236", 900, 1100, 260, BLUE_INK, stroke=16)
    page.write("0679", 1000, 1700, 260, BLUE_INK, stroke=16)
    page.light(0.75)
    return Sample("large.jpg", "2236/0679", "photo", "medium", "12 megapixels, thin pen", page.expose(0, 2))


def tiny(digits):
    page = Page(150, 24, (255, 255, 255), 114, digits)
    page.write("20251", 6, 3, 17, (0, 0, 0), stroke=2, spacing=0.45)
    return Sample("tiny.png", "20251", "paint", "medium", "a strip 24 pixels high", page.expose(0, 0))


def frame_and_specks(digits):
    page = Page(1000, 640, WHITE, 15, digits)
    page.write("4190", 170, 200, 190, BLACK_INK, stroke=12, spacing=0.25)
    cv2.rectangle(page.picture, (70, 90), (930, 520), BLUE_INK, 5, cv2.LINE_AA)
    page.line((160, 450), (860, 440), RED_INK, 6)
    page.specks(25)
    page.light(0.75)
    return Sample("frame.jpg", "4190", "whiteboard", "hard", "a frame, an underline and specks", page.expose())


def coloured_note(digits):
    page = Page(700, 700, YELLOW, 16, digits)
    page.write("0800", 80, 110, 120, BLUE_INK)
    page.write("4633", 80, 300, 120, BLUE_INK)
    page.write("669", 80, 490, 120, BLUE_INK)
    page.lie_on_desk(1000, 1000, 6, desk=(30, 30, 34), scale=0.7)
    page.light(0.7)
    return Sample("note.jpg", "0800/4633/669", "photo", "medium", "yellow note on a black desk", page.expose())


SAMPLES = (
    paper_row,
    blackboard,
    several_lines,
    ruled_paper,
    squared_paper,
    pencil,
    one_big_digit,
    sloping_lines,
    hard_shadow,
    sheet_on_desk,
    touching_digits,
    noisy,
    twelve_megapixels,
    tiny,
    frame_and_specks,
    coloured_note,
)


def main(argv=None):
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=FOLDER, metavar="DIR", help="where to (default: samples)")
    folder = parser.parse_args(argv).output
    folder.mkdir(parents=True, exist_ok=True)
    data = load()
    digits = [data.test_images[data.test_labels == digit] for digit in range(10)]
    with open(folder / "manifest.tsv", "w", encoding="utf-8", newline="") as file:
        manifest = csv.writer(file, delimiter="\t", lineterminator="\n")
        manifest.writerow(("file", "label", "lines", "kind", "difficulty", "notes"))
        for make in SAMPLES:
            sample = make(digits)
            options = (
                [cv2.IMWRITE_JPEG_QUALITY, 82] if sample.file.endswith(".jpg") else [cv2.IMWRITE_PNG_COMPRESSION, 9]
            )
            cv2.imwrite(str(folder / sample.file), sample.picture[:, :, ::-1], options)
            lines = sample.label.count("/") + 1
            manifest.writerow((sample.file, sample.label, lines, sample.kind, sample.difficulty, sample.notes))
    print(f"{len(SAMPLES)} pictures in {folder}")
    return 0


if __name__ == "__main__":
    run(main)
