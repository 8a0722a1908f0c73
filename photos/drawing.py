"""DRAWING."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from errors import UserError
from files import replacing
from photos.opening import open_picture
from photos.segment import find_digits

DRAWN_SIDE = 1600  # pixels: pictures that are drawn for people are made no larger


def shrink(picture, side=DRAWN_SIDE):
    """An RGB picture as a Pillow image with at most so many pixels on the longer side, and the scale."""
    image = Image.fromarray(picture)
    scale = min(1.0, side / max(image.size))
    size = [max(1, round(length * scale)) for length in image.size]
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0), scale


def annotate(picture, reading, min_confidence=0.0):
    """The picture with each digit in a box and, on a tab above it, what it is and how sure the network is."""
    image, scale = shrink(picture)
    draw = ImageDraw.Draw(image, "RGBA")
    heights = [digit.box[3] * scale for digit in reading.digits]
    text_size = float(np.clip(0.3 * np.median(heights), 11, 40)) if heights else 11
    font = ImageFont.load_default(text_size)
    small = ImageFont.load_default(0.6 * text_size)
    for digit, value, confidence in zip(reading.digits, reading.values, reading.confidences, strict=True):
        colour = confidence_colour(confidence)
        x, y, width, height = (side * scale for side in digit.box)
        gap = 0.15 * text_size
        draw.rounded_rectangle(
            (x - gap, y - gap, x + width + gap, y + height + gap),
            radius=2 * gap,
            fill=(*colour, 36),
            outline=(*colour, 255),
            width=max(2, round(text_size / 12)),
        )
        text = str(value) if confidence >= min_confidence else "?"
        percent = f"{100 * confidence:.0f}%"
        tab_width = draw.textlength(text, font) + draw.textlength(percent, small) + 4 * gap
        if tab_width > room_beside(digit, reading.digits) * scale:  # in a crowd the colour must do
            percent, tab_width = "", draw.textlength(text, font) + 2 * gap
        left = float(np.clip(x + width / 2 - tab_width / 2, 0, max(0, image.width - tab_width)))
        top = max(0.0, y - gap - 1.25 * text_size)
        draw.rounded_rectangle(
            (left, top, left + tab_width, top + 1.2 * text_size), radius=2 * gap, fill=(*colour, 235)
        )
        middle = top + 0.6 * text_size
        draw.text((left + gap, middle), text, "white", font, anchor="lm")
        draw.text((left + tab_width - gap, middle), percent, "white", small, anchor="rm")
    return image


def room_beside(digit, digits):
    """Pixels from the middle of a digit to the middle of its nearest neighbour in the line."""
    middles = [other.box[0] + other.box[2] / 2 for other in digits if other.line == digit.line and other is not digit]
    return min((abs(digit.box[0] + digit.box[2] / 2 - middle) for middle in middles), default=float("inf"))


def confidence_colour(confidence):
    """Green when sure, amber when not so sure, red when it is a guess."""
    if confidence >= 0.9:
        return 22, 140, 84
    return (208, 135, 0) if confidence >= 0.6 else (205, 45, 45)


def montage(picture, reading):
    """Every stage of one picture on one sheet, and below it the crops as the network sees them."""
    stages = {}
    find_digits(picture, stages=stages)
    panels = [("the picture", shrink(picture, 480)[0])]
    for name, stage in stages.items():
        if stage.dtype != np.uint8 or stage.max(initial=0) == 1:
            stage = (255 * stage / max(stage.max(initial=0), 1e-6)).astype(np.uint8)
        panels.append((name, shrink(stage, 480)[0]))
    panels.append(("what was read", annotate(np.asarray(shrink(picture, 480)[0]), scaled(reading, picture))))
    sheet = tile(panels, columns=3)
    crops = crop_row(reading, sheet.width)
    both = Image.new("RGB", (sheet.width, sheet.height + crops.height), "white")
    both.paste(sheet, (0, 0))
    both.paste(crops, (0, sheet.height))
    return both


def scaled(reading, picture, side=480):
    """The reading with its boxes in pixels of the picture shrunk to this side."""
    scale = min(1.0, side / max(picture.shape[:2]))
    digits = [digit._replace(box=tuple(scale * length for length in digit.box)) for digit in reading.digits]
    return reading._replace(digits=digits)


def tile(panels, columns):
    """Titled images side by side, in rows of so many."""
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


def crop_row(reading, width, zoom=2):
    """The 28x28 crops, each with what it was read as, in as many rows as they need."""
    cell_width, cell_height = 28 * zoom + 6, 28 * zoom + 22
    columns = max(1, width // cell_width)
    rows = -(-len(reading.digits) // columns)
    sheet = Image.new("RGB", (width, cell_height * rows + 6), "white")
    draw = ImageDraw.Draw(sheet)
    for i, (digit, value, confidence) in enumerate(
        zip(reading.digits, reading.values, reading.confidences, strict=True)
    ):
        x, y = cell_width * (i % columns) + 3, cell_height * (i // columns) + 3
        sheet.paste(Image.fromarray(digit.crop).resize((28 * zoom, 28 * zoom), Image.Resampling.NEAREST), (x, y))
        label = f"{value}  {100 * confidence:.0f}%" if zoom > 1 else str(value)
        draw.text((x + 14 * zoom, y + 28 * zoom + 9), label, confidence_colour(confidence), anchor="mm")
    return sheet


def save_image(image, path):
    """Write an image, whole or not at all, into a folder that is made where it is missing."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            image.save(file, "PNG")
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from None


def failure_sheet(scores, folder):
    """The pictures that were not read exactly, annotated, with their crops; None when there is none."""
    panels = []
    for score in scores:
        if score.wanted != score.read:
            try:
                picture = open_picture(folder / score.row["file"])
            except UserError:
                continue  # it was reported when it was read
            image = annotate(np.asarray(shrink(picture, 480)[0]), scaled(score.reading, picture))
            crops = crop_row(score.reading, 480, zoom=1)
            panel = Image.new("RGB", (480, image.height + crops.height), "white")
            panel.paste(image, (0, 0))
            panel.paste(crops, (0, image.height))
            title = f"{score.row['file'][:18]}: {score.row['label'][:14]} read {'/'.join(score.reading.lines())[:14]}"
            panels.append((title, panel))
    return tile(panels, columns=3) if panels else None
