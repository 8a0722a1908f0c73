"""Pictures for people: what was read drawn into a photo, the stages of one photo, and those not read exactly.

    annotate(picture, reading)              the photo with a box around each digit, and what it was read as
    stage_sheet(picture, reading, stages)   --debug: what some stages made of it, and the crops as the network sees them
    failure_sheet(scores, folder)           --evaluate: the pictures that were not read exactly

All of them return a Pillow image, which `save_image` writes.
"""

import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from errors import UserError
from files import make_folder, replacing
from photos.opening import open_to_read
from sizes import IMAGE_SIZE

DRAWN_SIDE = 1600  # pixels: the longer side of a drawn picture is not made longer than this ...
PANEL_SIDE = 480  # ... and that of a picture on a sheet of several not longer than this


def shrink(picture, side=DRAWN_SIDE):
    """An RGB picture as a Pillow image, at most `side` pixels on the longer side."""
    image = Image.fromarray(picture)
    scale = min(1.0, side / max(image.size))
    size = [max(1, round(length * scale)) for length in image.size]
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)


def confidence_colour(confidence):
    """RGB, 0..255: green when sure, amber when not so sure, red for a guess."""
    if confidence >= 0.9:
        return 22, 140, 84
    return (208, 135, 0) if confidence >= 0.6 else (205, 45, 45)


# -- one picture ------------------------------------------------------------------------------------------------------


def annotate(picture, reading, size=None, min_confidence=0.0, side=DRAWN_SIDE):
    """The picture with a box around each digit and, on a label above it, what it was read as and how sure that is.

    picture: (height, width, 3) uint8 RGB. size: (width, height) of the whole picture, in whose pixels the boxes of the
    reading are, if `picture` is a smaller copy. A digit that is less sure than min_confidence is drawn as `?`. side:
    pixels on the longer side of the result, at most.
    """
    image = shrink(picture, side)
    scale = max(image.size) / max(size or picture.shape[:2])
    boxes = [tuple(length * scale for length in digit.box) for digit in reading.digits]
    marker = _Marker(image, boxes)
    rooms = [_room_beside(digit, reading.digits) * scale for digit in reading.digits]
    for box, room, value, confidence in zip(boxes, rooms, reading.values, reading.confidences, strict=True):
        colour = confidence_colour(confidence)
        marker.draw_box(box, colour)
        marker.draw_label(box, str(value) if confidence >= min_confidence else "?", confidence, colour, room)
    return image


def _room_beside(digit, digits):
    """Pixels from the middle of a digit to the middle of its nearest neighbour in the line; infinite without one."""
    middles = [other.box[0] + other.box[2] / 2 for other in digits if other.line == digit.line and other is not digit]
    return min((abs(digit.box[0] + digit.box[2] / 2 - middle) for middle in middles), default=float("inf"))


class _Marker:
    """Draws boxes and labels into an image, at a size that fits the digits in these boxes."""

    def __init__(self, image, boxes):
        self.draw = ImageDraw.Draw(image, "RGBA")
        self.image_width = image.width
        self.text_size = float(np.clip(0.3 * np.median([box[3] for box in boxes]), 11, 40)) if boxes else 11
        self.gap = 0.15 * self.text_size
        self.font = ImageFont.load_default(self.text_size)
        self.small_font = ImageFont.load_default(0.6 * self.text_size)

    def draw_box(self, box, colour):
        x, y, width, height = box
        left, top, right, bottom = x - self.gap, y - self.gap, x + width + self.gap, y + height + self.gap
        corner = 2 * self.gap if min(right - left, bottom - top) > 4 * self.gap + 2 else 0  # Pillow fails on a tiny box
        self.draw.rounded_rectangle(
            (left, top, right, bottom),
            radius=corner,
            fill=(*colour, 36),
            outline=(*colour, 255),
            width=max(2, round(self.text_size / 12)),
        )

    def draw_label(self, box, text, confidence, colour, room):
        """A label above the box; without its percentage, when it would be wider than the room. The colour remains."""
        x, y, width, _ = box
        draw, gap = self.draw, self.gap
        percent = f"{100 * confidence:.0f}%"
        label_width = draw.textlength(text, self.font) + draw.textlength(percent, self.small_font) + 4 * gap
        if label_width > room:
            percent, label_width = "", draw.textlength(text, self.font) + 2 * gap
        left = float(np.clip(x + width / 2 - label_width / 2, 0, max(0, self.image_width - label_width)))
        top = max(0.0, y - gap - 1.25 * self.text_size)
        right, bottom = left + label_width, top + 1.2 * self.text_size
        draw.rounded_rectangle((left, top, right, bottom), radius=2 * gap, fill=(*colour, 235))
        middle = top + 0.6 * self.text_size
        draw.text((left + gap, middle), text, "white", self.font, anchor="lm")
        draw.text((right - gap, middle), percent, "white", self.small_font, anchor="rm")


# -- sheets of several pictures ---------------------------------------------------------------------------------------


def stage_sheet(picture, reading, stages, size=None):
    """What some stages made of one picture, on one sheet, and below it the crops as the network sees them.

    picture, size: as for `annotate`. stages: a dict, as `read_picture` has filled it.
    """
    panels = [
        ("the picture", shrink(picture, PANEL_SIDE)),
        *stage_panels(stages),
        ("what was read", annotate(picture, reading, size, side=PANEL_SIDE)),
    ]
    sheet = _tile(panels, columns=3)
    return _one_above_the_other(sheet, _crop_rows(reading, sheet.width))


def stage_panels(stages):
    """The stages that `read_picture` has left in a dict, as a list of (title, Pillow image in grey)."""
    panels = []
    for name, stage in stages.items():
        if stage.dtype != np.uint8 or stage.max(initial=0) == 1:
            stage = (255 * stage / max(stage.max(initial=0), 1e-6)).astype(np.uint8)
        panels.append((name, shrink(stage, PANEL_SIDE)))
    return panels


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
        panel = _one_above_the_other(image, _crop_rows(score.reading, PANEL_SIDE, zoom=1))
        title = f"{score.row['file'][:18]}: {score.row['label'][:14]} read {'/'.join(score.reading.lines())[:14]}"
        panels.append((title, panel))
    return _tile(panels, columns=3) if panels else None


def _tile(panels, columns):
    """Images with titles, a list of (title, image), side by side in rows of so many."""
    cell_width = max(image.width for _, image in panels) + 12
    cell_height = max(image.height for _, image in panels) + 34
    rows = -(-len(panels) // columns)
    sheet = Image.new("RGB", (cell_width * min(columns, len(panels)), cell_height * rows), "white")
    draw = ImageDraw.Draw(sheet)
    for i, (title, image) in enumerate(panels):
        x, y = cell_width * (i % columns) + 6, cell_height * (i // columns) + 28
        draw.text((x, y - 22), title, "black", ImageFont.load_default(16))
        sheet.paste(image, (x, y))
    return sheet


def _crop_rows(reading, width, zoom=2):
    """The 28x28 crops, `zoom` times larger, each with what it was read as, in rows of this width in pixels."""
    side = IMAGE_SIZE * zoom
    cell_width, cell_height = side + 6, side + 22
    columns = max(1, width // cell_width)
    rows = -(-len(reading.digits) // columns)
    sheet = Image.new("RGB", (width, cell_height * rows + 6), "white")
    draw = ImageDraw.Draw(sheet)
    for i, (digit, value, confidence) in enumerate(
        zip(reading.digits, reading.values, reading.confidences, strict=True)
    ):
        x, y = cell_width * (i % columns) + 3, cell_height * (i // columns) + 3
        sheet.paste(Image.fromarray(digit.crop).resize((side, side), Image.Resampling.NEAREST), (x, y))
        label = f"{value}  {100 * confidence:.0f}%" if zoom > 1 else str(value)
        draw.text((x + side // 2, y + side + 9), label, confidence_colour(confidence), anchor="mm")
    return sheet


def _one_above_the_other(above, below):
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
