"""Make the sample pictures: digits of MNIST's test set, written as ink on paper, with light, rules and noise.

    python -m photos.make_samples               writes samples/*.jpg, samples/*.png and samples/manifest.tsv

Every picture has its own seed, so that the same pictures come out each time. They are for testing the reader: no
network has been trained on these digits.
"""

if __name__ == "__main__":
    import quiet_start  # noqa: F401 (Ctrl-C during the imports below)

import csv
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from errors import Parser, UserError, run
from mnist_data import load
from photos.page import BLACK_INK, BLUE_INK, BOARD, CHALK, CREAM, GRAPHITE, GREY, RED_INK, WHITE, YELLOW, Page

FOLDER = Path(__file__).resolve().parent.parent / "samples"


class Sample(NamedTuple):
    """A picture, and what the manifest says of it."""

    file: str
    label: str  # the digits, lines separated by /
    kind: str  # photo, scan, paint or whiteboard
    difficulty: str  # easy, medium or hard
    notes: str
    picture: np.ndarray  # (height, width, 3) uint8 RGB


# -- the pictures: digits of MNIST -> Sample --------------------------------------------------------------------------


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


# -- the command ------------------------------------------------------------------------------------------------------


def write_picture(path, picture):
    """Write (height, width, 3) uint8 RGB as JPEG or PNG, as the file's name says. Raises UserError when it cannot."""
    jpeg = path.suffix == ".jpg"
    options = [cv2.IMWRITE_JPEG_QUALITY, 82] if jpeg else [cv2.IMWRITE_PNG_COMPRESSION, 9]
    if not cv2.imwrite(str(path), picture[:, :, ::-1], options):  # OpenCV takes blue first
        raise UserError(f"{path}: the picture cannot be written there")


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
            write_picture(folder / sample.file, sample.picture)
            lines = sample.label.count("/") + 1
            manifest.writerow((sample.file, sample.label, lines, sample.kind, sample.difficulty, sample.notes))
    print(f"{len(SAMPLES)} pictures in {folder}")
    return 0


if __name__ == "__main__":
    run(main)
