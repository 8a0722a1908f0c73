"""Open picture files of every kind: upright, in RGB, with 8 bits for each colour.

picture = open_picture("digits.jpg")         the whole picture
picture, size = open_to_read("digits.jpg")   the same; a large JPEG at a smaller size, enough to find digits
"""

import contextlib
import os
import sys
import warnings

import numpy as np
from PIL import ExifTags, Image

from errors import UserError

# The formats that cameras, phones, scanners and drawing programs write. Others that Pillow knows are left out: they
# hold no photos, and some run other programs on the file (EPS runs Ghostscript).
FORMATS = (
    "AVIF", "BMP", "DIB", "GIF", "ICO", "JPEG", "JPEG2000", "PCX", "PNG", "PPM", "QOI", "TGA", "TIFF", "WEBP",
)  # fmt: skip

WORKING_SIDE = 1600  # pixels on the longer side of the working picture, in which the digits are searched for
MAX_PIXELS = 200_000_000  # a larger picture is refused: it is more likely an attack on the memory than a photo
Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit is lower; MAX_PIXELS is checked before a picture is decoded

# How to turn a picture upright, by its EXIF orientation (Exif 2.3, tag 274). 1 is upright; others mean nothing.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
LIES_ON_SIDE = [TURNS[orientation] for orientation in (5, 6, 7, 8)]  # width and height change places
STDERR = 2  # the file descriptor


def open_picture(path):
    """Read a picture of one of FORMATS: (height, width, 3) uint8 RGB, turned upright as its EXIF data says.

    Transparent parts become white paper. 16-bit greys are scaled to 8 bits. Raises UserError, with the file and the
    cause, when the file is missing, damaged, too large or not a picture.
    """
    return _decode(path)[0]


def open_to_read(path):
    """(picture, size) for `find_digits`: as `open_picture`, but a large JPEG is decoded at a smaller size.

    This takes half the time. JPEG stores frequencies, and a decoder that leaves out the high ones gets the picture at
    1/2, 1/4 or 1/8 of its size. The picture that is returned has at least WORKING_SIDE pixels on its longer side if the
    file has so many. size: (width, height) of the whole upright picture. Raises UserError as `open_picture` does.
    """
    return _decode(path, WORKING_SIDE)


def _decode(path, enough=None):
    """(picture, full size). enough: so many pixels on the longer side will do; None for all of them."""
    try:
        with warnings.catch_warnings(), _silent_libraries():
            warnings.simplefilter("ignore")  # Pillow warns about odd metadata; only the picture matters here
            with Image.open(path, formats=FORMATS) as image:
                return _load(path, image, enough)
    except UserError:
        raise
    except Image.UnidentifiedImageError:
        raise UserError(f"{path}: {_what_else(path)}") from None
    except Exception as error:
        # Decoders raise errors of every kind on a damaged file. Only those of the operating system have `strerror`.
        said = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path}: {getattr(error, 'strerror', None) or f'damaged picture ({said})'}") from None


def _load(path, image, enough):
    """`_decode` for an image that Pillow has opened, but not decoded yet."""
    size = image.size
    if image.width * image.height > MAX_PIXELS:
        raise UserError(f"{path}: {image.width}x{image.height} pixels are too many (at most {MAX_PIXELS})")
    if enough:
        shrink = max(1, max(size) / enough)
        image.draft(None, [max(1, int(side / shrink)) for side in size])
    image.load()
    turn = TURNS.get(_orientation(image))
    lies_on_side = turn in LIES_ON_SIDE
    return _to_rgb(image if turn is None else image.transpose(turn)), size[::-1] if lies_on_side else size


def _orientation(image):
    """The number in the EXIF data that says how the camera was held; None if the data cannot be read."""
    try:
        return image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # as for decoders; a picture with broken metadata is still a picture
        return None


def _what_else(path):
    """What a file is that Pillow cannot open as one of FORMATS, in a few words. No decoder runs."""
    with open(path, "rb") as file:
        start = file.read(64)
    if not start:
        return "an empty file"
    Image.init()
    for name, (_, accept) in Image.OPEN.items():
        if name not in FORMATS and accept and accept(start) is True:
            return f"{name} is no format of photos; save the picture as JPEG or PNG"
    return "not a picture that can be read"


@contextlib.contextmanager
def _silent_libraries():
    """Drop what libraries in C print on stderr by themselves, such as libtiff about a damaged file."""
    if sys.stderr is None:  # closed by whoever started the program
        yield
        return
    sys.stderr.flush()
    saved = os.dup(STDERR)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), STDERR)
        yield
    finally:
        os.dup2(saved, STDERR)
        os.close(saved)


def _to_rgb(image):
    """A Pillow image of any mode as (height, width, 3) uint8."""
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, np.float32)
        full_scale = 65535 if values.max(initial=0) > 255 else 255
        return np.repeat((values * (255 / full_scale)).clip(0, 255).astype(np.uint8)[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(paper, image)
    return np.asarray(image.convert("RGB"))
