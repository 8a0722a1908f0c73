"""Pictures for people: what was read drawn into a photo, and sheets of several pictures.

    annotate(picture, reading)       the photo with a box around each digit, and what it was read as
    failure_sheet(scores, folder)    --evaluate: the pictures that were not read exactly
    tile(panels, columns)            several pictures with titles on one sheet

All of them return a Pillow image, which `save_image` writes. The sheet of --debug is in photos/stages.py.
"""

import itertools
import os
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps, PngImagePlugin

from errors import UserError
from files import make_folder, replacing
from photos.opening import open_to_read
from sizes import IMAGE_SIZE

DRAWN_SIDE = 1600  # pixels: the longer side of a drawn picture is not made longer than this ...
LEAST_SIDE = 800  # ... and a small picture is enlarged, to have room for labels, but not beyond this
PANEL_SIDE = 420  # the longer side of a picture on a sheet of several, at most


def fit(picture, side=DRAWN_SIDE):
    """A picture (h, w, 3) or (h, w) uint8 as a Pillow image: at most `side` pixels long, a small one enlarged."""
    image = Image.fromarray(picture)
    longest = max(image.size)
    scale = max(1, min(side, LEAST_SIDE) // longest) if longest <= side else side / longest
    size = [max(1, round(length * scale)) for length in image.size]
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)


def confidence_colour(confidence):
    """RGB, 0..255: green when sure, amber when not so sure, red for a guess."""
    if confidence >= 0.9:
        return 22, 140, 84
    return (208, 135, 0) if confidence >= 0.6 else (205, 45, 45)


# -- one picture ------------------------------------------------------------------------------------------------------


def annotate(picture, reading, size=None, min_confidence=0.0, side=DRAWN_SIDE, may_grow=True):
    """The picture with a box around each digit and, on a label beside it, what it was read as and how sure that is.

    picture: (height, width, 3) uint8 RGB. size: (width, height) of the whole picture, in whose pixels the boxes of the
    reading are, if `picture` is a smaller copy. A digit that is less sure than min_confidence is drawn as `?`. side:
    pixels on the longer side of the result, at most. may_grow: whether the result gets a white margin above or below
    where the labels would not have room in the picture.
    """
    image = fit(picture, side)
    scale = max(image.size) / max(size or picture.shape[:2])
    boxes = np.array([digit.box for digit in reading.digits], float).reshape(-1, 4) * scale
    texts = [str(value) if sure >= min_confidence else "?" for value, sure in zip(*reading[2:], strict=True)]
    percents = [f"{100 * confidence:.0f}%" for confidence in reading.confidences]
    labels = place_labels(boxes, texts, percents, image.size, may_grow)
    above = max(0, -min((label.top for label in labels), default=0))
    below = max(0, max((label.bottom for label in labels), default=0) - image.height)
    if may_grow and (above or below):
        image = ImageOps.expand(image, (0, int(np.ceil(above)), 0, int(np.ceil(below))), "white")
    draw = ImageDraw.Draw(image, "RGBA")
    down = int(np.ceil(above)) if may_grow else 0
    for box, label, confidence in zip(boxes, labels, reading.confidences, strict=True):
        _draw_box(draw, box + (0, down, 0, 0), label.size, confidence_colour(confidence))
        _draw_label(draw, label, down, confidence_colour(confidence))
    return image


class Label(NamedTuple):
    """A label of one digit. Lengths and places are in pixels of the drawn picture."""

    left: float
    top: float
    right: float
    bottom: float
    text: str
    percent: str  # empty if there is no room for it
    size: float  # of the text

    def overlap(self, rectangles):
        """The areas in square pixels that it shares with rectangles (N, 4): left, top, right, bottom."""
        low, high = np.maximum(rectangles[:, :2], self[:2]), np.minimum(rectangles[:, 2:], self[2:4])
        return np.clip(high - low, 0, None).prod(axis=1).sum()


LARGEST_TEXT, SMALLEST_TEXT = 40, 14  # pixels
TEXT = 0.3  # of the height of a digit, if there is room


def place_labels(boxes, texts, percents, size, may_grow):
    """A Label for each digit, all of one text size: as large as is possible without covering a digit or a label.

    boxes: (N, 4) x, y, width, height. size: of the picture (width, height). Labels stand above their digits, or some of
    them below, where that is the only room. Where even small labels have none, all go without their percentage; the
    colours remain. A label that has room nowhere covers as little as possible.
    """
    if not len(boxes):
        return []
    largest = float(np.clip(TEXT * np.median(boxes[:, 3]), SMALLEST_TEXT, LARGEST_TEXT))
    sizes = [*(largest * 0.9**i for i in range(12) if largest * 0.9**i > SMALLEST_TEXT), SMALLEST_TEXT]
    digits = np.column_stack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]])
    for words, may_be_below, text_size in itertools.product((percents, [""] * len(texts)), (False, True), sizes):
        labels, covered = _try_labels(digits, texts, words, text_size, size, may_be_below, may_grow)
        if not covered:
            return labels
    return labels


def _try_labels(digits, texts, percents, text_size, size, may_be_below, may_grow):
    """(labels, covered): a Label of this size for each digit, and how many square pixels of others they cover.

    digits: (N, 4) left, top, right, bottom of each.
    """
    font, small_font = _fonts(text_size)
    gap = 0.15 * text_size
    height = 1.2 * text_size
    taken, labels, covered = digits, [], 0.0
    for (left, top, right, bottom), text, percent in zip(digits, texts, percents, strict=True):
        width = font.getlength(text) + 2 * gap + (small_font.getlength(percent) + 2 * gap if percent else 0)
        middle = np.clip((left + right) / 2 - width / 2, 0, max(0, size[0] - width))
        options = []
        for y in (top - 1.5 * gap - height, bottom + 1.5 * gap)[: 1 + may_be_below]:
            y = y if may_grow else float(np.clip(y, 0, max(0, size[1] - height)))
            option = Label(middle, y, middle + width, y + height, text, percent, text_size)
            options.append((option.overlap(taken), option))
        area, label = min(options, key=lambda option: option[0])
        covered += area
        labels.append(label)
        taken = np.vstack([taken, label[:4]])
    return labels, covered


def _fonts(text_size):
    """The fonts of the digit and of its percentage."""
    return ImageFont.load_default(text_size), ImageFont.load_default(max(0.6 * text_size, 0.75 * SMALLEST_TEXT))


def _draw_box(draw, box, text_size, colour):
    x, y, width, height = box
    gap = 0.15 * text_size
    left, top, right, bottom = x - gap, y - gap, x + width + gap, y + height + gap
    corner = 2 * gap if min(right - left, bottom - top) > 4 * gap + 2 else 0  # Pillow fails on a tiny box
    line = max(2, round(text_size / 12))
    draw.rounded_rectangle((left, top, right, bottom), corner, fill=(*colour, 36), outline=(*colour, 255), width=line)


def _draw_label(draw, label, down, colour):
    """Draw a Label, so many pixels further down than it was placed."""
    font, small_font = _fonts(label.size)
    gap = 0.15 * label.size
    top, bottom = label.top + down, label.bottom + down
    draw.rounded_rectangle((label.left, top, label.right, bottom), 2 * gap, fill=(*colour, 235))
    middle = (top + bottom) / 2
    draw.text((label.left + gap, middle), label.text, "white", font, anchor="lm")
    draw.text((label.right - gap, middle), label.percent, "white", small_font, anchor="rm")


# -- sheets of several pictures ---------------------------------------------------------------------------------------


class Panel(NamedTuple):
    """A picture on a sheet of several."""

    title: str
    note: str  # a line in small letters under the title
    image: Image.Image


TITLE, NOTE = 24, 19  # pixels: sizes of text that can be read when a sheet of three columns fills the width of a page


def tile(panels, columns=3):
    """Panels side by side in rows of so many. A title or a note that is too long for its column is cut."""
    width = max(PANEL_SIDE, *(panel.image.width for panel in panels)) + 12
    rows = [panels[first : first + columns] for first in range(0, len(panels), columns)]
    heights = [max(panel.image.height for panel in row) + TITLE + NOTE + 24 for row in rows]
    sheet = Image.new("RGB", (width * min(columns, len(panels)), sum(heights)), "white")
    draw = ImageDraw.Draw(sheet)
    for i, row in enumerate(rows):
        for j, panel in enumerate(row):
            x, y = width * j + 6, sum(heights[:i]) + 4
            for text, size, colour in ((panel.title, TITLE, "black"), (panel.note, NOTE, "#666666")):
                font = ImageFont.load_default(size)
                draw.text((x, y), cut_to_width(text, font, width - 12), colour, font)
                y += size + 5
            sheet.paste(panel.image, (x, y))
    return sheet


def cut_to_width(text, font, width):
    """A text that is at most so many pixels wide: what is too much is replaced by an ellipsis."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"


def failure_sheet(scores, folder):
    """The pictures that were not read exactly, annotated, with their crops; None when there is none.

    scores: of `scoring.score_pictures`. folder: a Path, where the files of the manifest are.
    """
    panels = []
    for score in scores:
        if score.exact:
            continue
        try:
            picture, size = open_to_read(folder / score.row["file"])
        except UserError:
            continue  # it was reported when it was read
        image = annotate(picture, score.reading, size, side=PANEL_SIDE)
        panel = one_above_the_other(image, crop_rows(score.reading, PANEL_SIDE, zoom=1))
        read = "/".join(score.reading.lines()) or "nothing"
        panels.append(Panel(score.row["file"], f"{score.row['label']} read as {read}", panel))
    return tile(panels) if panels else None


def crop_rows(reading, width, zoom=2):
    """The 28x28 crops, `zoom` times larger, each with what it was read as, in rows of this width in pixels."""
    side = IMAGE_SIZE * zoom
    font = ImageFont.load_default(8 * zoom)
    cell_width, cell_height = side + 3 * zoom, side + 12 * zoom
    columns = max(1, width // cell_width)
    rows = -(-len(reading.digits) // columns)
    sheet = Image.new("RGB", (width, cell_height * rows + 6), "white")
    draw = ImageDraw.Draw(sheet)
    for i, (digit, value, confidence) in enumerate(
        zip(reading.digits, reading.values, reading.confidences, strict=True)
    ):
        x, y = cell_width * (i % columns) + 6, cell_height * (i // columns) + 3
        sheet.paste(Image.fromarray(digit.crop).resize((side, side), Image.Resampling.NEAREST), (x, y))
        label = f"{value} {100 * confidence:.0f}%" if zoom > 1 else str(value)
        draw.text((x + side // 2, y + side + 5 * zoom), label, confidence_colour(confidence), font, anchor="mm")
    return sheet


def one_above_the_other(above, below):
    """Two images as one; below decides the width unless above is wider."""
    both = Image.new("RGB", (max(above.width, below.width), above.height + below.height), "white")
    both.paste(above, (0, 0))
    both.paste(below, (0, above.height))
    return both


# -- files ------------------------------------------------------------------------------------------------------------

MARK = PngImagePlugin.PngInfo()  # in every file that is written here, so that it may be replaced the next time
MARK.add_text("Software", "analyze.py")


def save_image(image, path):
    """Write an image as PNG, whole or not at all, into a folder that is made if it is missing.

    Raises UserError when it cannot be written there.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            image.save(file, "PNG", pnginfo=MARK)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from None


class Said:
    """Names the files that were written, each in a line on stderr; of very many only the first ones, and a number.

        with Said() as said:
            said(["read/a.png"])

    write: prints such a line, beside a progress bar. The number comes at the end of the `with`.
    """

    MOST = 100

    def __init__(self, write=print):
        self.count, self._write = 0, write

    def __call__(self, paths):
        """These files were written."""
        for path in paths:
            self.count += 1
            if self.count <= self.MOST:
                self._write(f"{path}: drawn", file=sys.stderr)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.count > self.MOST:
            self._write(f"... and {self.count - self.MOST:,} more pictures drawn beside them", file=sys.stderr)


class OutputNames:
    """A PNG file in a folder for each picture: two never get the same, and only what was drawn here is replaced.

    folder: made if it is missing. ending: of the names, before ".png". Raises UserError when files cannot be written in
    the folder: that is better said before a million pictures are read than after the first.
    """

    def __init__(self, folder, ending=""):
        self._folder, self._ending = Path(folder), ending
        self._taken = {}  # name, with the number that the last one like it got; a file system may not know A from a
        try:
            make_folder(self._folder)
        except OSError as error:
            raise UserError(f"{folder}: cannot be written: {error.strerror}") from None

    def of(self, file):
        """The path to write what is drawn of this picture to."""
        name = first = f"{Path(file).stem}{self._ending}"
        number = self._taken.get(first.casefold(), 1)
        while name.casefold() in self._taken or not self._may_replace(self._folder / f"{name}.png", file):
            number += 1
            name = f"{first}-{number}"
        self._taken[first.casefold()] = number
        self._taken.setdefault(name.casefold(), 1)
        return self._folder / f"{name}.png"

    @staticmethod
    def _may_replace(path, file):
        """Whether there is no such file, or one that was drawn here and is not the picture itself."""
        if not os.path.lexists(path):
            return True
        if os.path.exists(file) and os.path.samefile(path, file):
            return False
        try:
            with Image.open(path, formats=["PNG"]) as image:
                return image.info.get("Software") == "analyze.py"
        except Exception:  # a decoder may raise anything: it is no file of ours
            return False
