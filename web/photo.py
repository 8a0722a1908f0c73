"""From an uploaded photo to what was read in it, for the page."""

import tempfile
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from errors import UserError
from photos.drawing import annotate
from photos.opening import open_to_read
from photos.reading import Reading, read_page
from photos.stages import stage_panels


class PhotoReading(NamedTuple):
    """What was read in a photo, and pictures of it."""

    reading: Reading
    size: tuple[int, int]  # (width, height) in whose pixels the boxes are
    annotated: Image.Image
    stages: list[tuple[str, Image.Image]]  # what it shows, and the picture


def read_photo(content, name, model):
    """The PhotoReading of an uploaded file.

    content: its bytes. name: how the user calls it, which is only put into the message if it cannot be read: what is
    opened is a temporary file of ours. Raises UserError.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "upload"
        path.write_bytes(content)
        try:
            picture, _ = open_to_read(path)
        except UserError as error:
            raise UserError(f"{name}: {str(error).removeprefix(f'{path}: ')}") from None
    page = read_page(picture, model)
    reading = page.reading(*picture.shape[1::-1])
    annotated = annotate(picture, reading, may_grow=False)  # the page lays its buttons over the boxes
    stages = [(f"{panel.title}: {panel.note}", panel.image) for panel in stage_panels(page)]
    return PhotoReading(reading, picture.shape[1::-1], annotated, stages)
