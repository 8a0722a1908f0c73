"""The way of one photo through the reader, from its pixels to its digits, as a sheet of panels: analyze.py --debug.

    page = read_page(picture, model)
    stage_sheet(picture, page, size)        all panels on one sheet, and below them every crop that was read
    stage_panels(page)                      the panels alone

The panels have the names of the stages that photos/segment.py lists, in their order. Those of a single crop show the
digit that the network is least sure of.
"""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from photos.drawing import PANEL_SIDE, Panel, annotate, crop_rows, fit, one_above_the_other, tile
from photos.normalise import even_strokes, straighten
from photos.reading import shifted_views
from sizes import NUM_CLASSES

# By Okabe and Ito: also colour-blind people tell these apart.
COLOURS = (0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (230, 159, 0), (86, 180, 233)
BARS_WIDTH = 330  # pixels: in less the names of the bars would overlap
INK, MARK = (40, 40, 40), (205, 205, 205)


def stage_sheet(picture, page, size=None):
    """All stages of a picture, (height, width, 3) uint8 RGB, on one sheet, and below them the crops of all digits.

    page: of `reading.read_page`. size: as for `annotate`.
    """
    reading = page.reading(*(size or picture.shape[1::-1]))
    panels = [
        Panel("the photo", f"{reading_size(picture, size)} pixels", fit(picture, PANEL_SIDE)),
        *stage_panels(page),
        Panel(
            "what was read", " / ".join(reading.lines()) or "no digits", annotate(picture, reading, size, 0, PANEL_SIDE)
        ),
    ]
    sheet = tile(panels)
    return one_above_the_other(sheet, crop_rows(reading, sheet.width))


def reading_size(picture, size):
    """The size of a whole picture as text."""
    width, height = size or picture.shape[1::-1]
    return f"{width:,} x {height:,}"


def stage_panels(page):
    """A Panel for each stage of a `reading.Page`; those of a crop are missing where no digit was found."""
    panels = [
        Panel(name, NOTES[name].format(*stage.shape[::-1]), fit(_as_grey(stage), PANEL_SIDE))
        for name, stage in page.found.stages.items()
    ]
    panels += [_parts_panel(page), _candidates_panel(page)]
    if page.lines:
        panels += _crop_panels(page, panels[0].image.size)
    return [*panels, _lines_panel(page)]


NOTES = {  # of the stages that are pictures
    "grey": "brought to {:,} x {:,} pixels",
    "darkness": "the light is divided out",
    "threshold": "what stands out of the paper",
    "rules removed": "no lines, no frames, no faint specks",
}


def _as_grey(stage):
    """A picture (h, w) of any numbers from 0 as uint8, its greatest number white."""
    if stage.dtype == np.uint8 and stage.max(initial=0) > 1:
        return stage
    return (255 * stage / max(stage.max(initial=0), 1e-6)).astype(np.uint8)


# -- ink --------------------------------------------------------------------------------------------------------------


def _paint(page, coloured):
    """Glyphs on white paper of the size of a page: (h, w, 3) uint8. coloured: a list of (glyph, RGB)."""
    canvas = np.full((*page.found.dark.shape, 3), 255, np.uint8)
    for glyph, colour in coloured:
        canvas[glyph.y : glyph.bottom, glyph.x : glyph.right][glyph.mask > 0] = colour
    return canvas


def _in_turn(glyphs):
    """The glyphs from left to right, each with a colour: neighbours get different ones."""
    ordered = sorted(glyphs, key=lambda glyph: glyph.x)
    return [(glyph, COLOURS[i % len(COLOURS)]) for i, glyph in enumerate(ordered)]


def _outlined(canvas, glyphs, colour):
    """A canvas as a Pillow image of a panel's size, with a thin box around these glyphs."""
    image = fit(canvas, PANEL_SIDE)
    draw, scale = ImageDraw.Draw(image), image.width / canvas.shape[1]
    for glyph in glyphs:
        box = np.array([glyph.x, glyph.y, glyph.right, glyph.bottom]) * scale
        draw.rectangle([*(box[:2] - 2), *(box[2:] + 1)], outline=colour)
    return image


def many(count, word):
    """ "1 piece", "2 pieces"."""
    return f"{count} {word}{'' if count == 1 else 's'}"


def _parts_panel(page):
    parts = page.found.parts
    image = _outlined(_paint(page, _in_turn(parts)), parts, "#888888")
    return Panel("parts", f"{many(len(parts), 'connected piece')} of ink", image)


def _candidates_panel(page):
    """The pieces after the cuts in colours, and a box around each union of several of them."""
    several = [candidate.glyph for candidate in page.candidates if candidate.members.bit_count() > 1]
    image = _outlined(_paint(page, _in_turn(page.pieces)), several, "#d55e00")
    note = f"{many(len(page.pieces), 'piece')}; {len(page.candidates)} may be a digit"
    return Panel("candidates", note, image)


def _lines_panel(page):
    """The candidates that were chosen as digits, joined in reading order; other ink is pale."""
    chosen = [(glyph, INK) for line in page.lines for glyph in line]
    canvas = _paint(page, [(part, MARK) for part in page.found.parts] + chosen)
    image = fit(canvas, PANEL_SIDE)
    draw, scale = ImageDraw.Draw(image, "RGBA"), image.width / canvas.shape[1]
    for i, line in enumerate(page.lines):
        colour = COLOURS[i % len(COLOURS)]
        middles = [tuple(length * scale for length in glyph.centre) for glyph in line]
        draw.line(middles, (*colour, 170), 3)
        for x, y in middles:
            draw.ellipse((x - 5, y - 5, x + 5, y + 5), (*colour, 255))
    note = f"{many(len(chosen), 'digit')} chosen, in {many(len(page.lines), 'line')}"
    return Panel("lines", note, image)


# -- one crop ---------------------------------------------------------------------------------------------------------


def _crop_panels(page, size):
    """The panels of the digit that the network is least sure of: crop, views and probabilities, of this size."""
    glyphs = [glyph for line in page.lines for glyph in line]
    doubtful = int(page.probabilities.max(axis=1).argmin())
    glyph = glyphs[doubtful]
    crop = page.crops[glyph]
    straight = straighten(glyph.mask * 255)
    steps = [255 * glyph.mask, 255 * straight, (255 * even_strokes(straight)).astype(np.uint8), crop]
    return [
        Panel("crop", "as written, straight, even strokes, centred", _squares(steps, size)),
        Panel(
            "views",
            "the crop, and moved a pixel to each side",
            _squares([view[0] for view in shifted_views([crop])], size),
        ),
        Panel(
            "probabilities",
            f"digit {doubtful + 1}, the least sure: the mean of its views",
            _bars(page.probabilities[doubtful], (max(size[0], BARS_WIDTH), size[1])),
        ),
    ]


def _squares(pictures, size):
    """Pictures (h, w) uint8 in squares as large as fit, side by side or in rows, into an image of this size."""
    width, height = size
    gap = 8
    side, columns = max(
        ((min((width + gap) // columns, (height + gap) // -(-len(pictures) // columns)) - gap, columns)
         for columns in range(1, len(pictures) + 1)),
        key=lambda layout: (layout[0], -layout[1]),
    )  # fmt: skip
    side = max(1, side)
    sheet = Image.new("RGB", size, "white")
    for i, picture in enumerate(pictures):
        square = Image.new("L", (side, side))
        scale = side / max(picture.shape)
        image = Image.fromarray(picture).resize(
            [max(1, round(length * scale)) for length in picture.shape[::-1]],
            Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BOX,
        )
        square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
        sheet.paste(square, ((side + gap) * (i % columns), (side + gap) * (i // columns)))
    return sheet


def _bars(digits, size):
    """The probabilities of the ten digits (10,), and of no digit, as bars in an image of this size."""
    shares = [*digits, max(0.0, 1 - digits.sum())]
    names = [*map(str, range(NUM_CLASSES)), "none"]
    width, height = size
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    font, small_font = ImageFont.load_default(20), ImageFont.load_default(16)
    step, foot, head = width / (len(shares) + 0.5), height - 28, 24
    for i, (share, name) in enumerate(zip(shares, names, strict=True)):
        x, y = step * (i + 0.6), foot - share * max(1, foot - head)
        colour = COLOURS[1] if i == digits.argmax() else COLOURS[0]
        draw.rectangle((x - 0.35 * step, min(y, foot - 1), x + 0.35 * step, foot), colour)
        draw.text((x, foot + 3), name, INK, font if len(name) == 1 else small_font, anchor="ma")
        if share >= 0.01:
            draw.text((x, y - 3), f"{100 * share:.0f}%", INK, small_font, anchor="ms")
    return sheet
