"""Open picture files of every kind: upright, in RGB, with 8 bits for each colour.

picture = open_picture("digits.jpg")         the whole picture
picture, size = open_to_read("digits.jpg")   the same; a large picture at a smaller size, enough to find digits
"""

import contextlib
import os
import sys
import warnings

import numpy as np
import pillow_heif
from PIL import ExifTags, Image

from errors import UserError

# The formats that cameras, phones, scanners and drawing programs write. Others that Pillow knows are left out: they
# hold no photos, and some run other programs on the file (EPS runs Ghostscript). Pillow tries them in this order. At
# the first one that it has not imported yet it imports all that it knows, which takes longer than to decode a photo:
# so those of most pictures come first.
FORMATS = (
    "JPEG", "PNG", "HEIF", "WEBP", "TIFF", "AVIF", "BMP", "DIB", "GIF", "ICO", "JPEG2000", "PCX", "PPM", "QOI", "TGA",
)  # fmt: skip
SURELY_KNOWN = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")  # of these, a file without a name that tells its kind
pillow_heif.register_heif_opener(thumbnails=False)  # the photos of iPhones; a thumbnail may show something else

WORKING_SIDE = 1600  # pixels on the longer side of the working picture, in which the digits are searched for
MAX_PIXELS = 200_000_000  # a larger picture is refused: it is more likely an attack on the memory than a photo
MAX_PIXELS_OF = {"AVIF": 140_000_000, "JPEG2000": 60_000_000, "WEBP": 75_000_000}  # their decoders take more memory
MAX_PIXELS_SLOWLY = 8_000_000  # for these decoders of Pillow, which are written in Python: a second for each million
SLOW_DECODERS = {"bmp_rle", "ppm_plain", "qoi"}
Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit is lower; these are checked before a picture is decoded

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
    """(picture, size) for `read_picture`: as `open_picture`, but a large picture is made smaller while it is opened.

    The picture that is returned has at least WORKING_SIDE pixels on its longer side if the file has so many. A JPEG is
    decoded at the smaller size: it stores frequencies, and a decoder that leaves out the high ones gets the picture at
    1/2, 1/4 or 1/8 of its size, in half the time. size: (width, height) of the whole upright picture. Raises UserError
    as `open_picture` does.
    """
    return _decode(path, WORKING_SIDE)


def looks_like_picture(path):
    """Whether a file is a picture of one of FORMATS by its name or, if its name tells nothing, by its first bytes."""
    suffix = os.path.splitext(path)[1].lower()
    known = Image.registered_extensions()
    if suffix in known:
        return known[suffix] in FORMATS
    try:
        with open(path, "rb") as file:
            start = file.read(64)
    except OSError:
        return False
    return any(Image.OPEN[name][1](start) is True for name in SURELY_KNOWN)


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
    most = _max_pixels(image)
    if image.width * image.height > most:
        kind = "" if most == MAX_PIXELS else f" in this kind of {image.format}"
        raise UserError(f"{path}: {image.width}x{image.height} pixels are too many (at most {most:,}{kind})")
    if enough:
        shrink = max(1, max(size) / enough)
        image.draft(None, [max(1, int(side / shrink)) for side in size])
    image.load()
    shrink = max(1, max(image.size) // enough) if enough else 1
    picture = _to_rgb(image, shrink)
    turn = TURNS.get(_orientation(image))
    if turn is None:
        return picture, size
    picture = np.asarray(Image.fromarray(picture).transpose(turn))
    return picture, size[::-1] if turn in LIES_ON_SIDE else size


def _max_pixels(image):
    """How many pixels an image may have, so that to decode it takes at most 1.5 GiB and 10 s."""
    if any(tile[0] in SLOW_DECODERS for tile in image.tile):
        return MAX_PIXELS_SLOWLY
    return MAX_PIXELS_OF.get(image.format, MAX_PIXELS)


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


STRIP = 4_000_000  # pixels that are converted at a time: a copy of a whole picture may not fit the memory


def _to_rgb(image, shrink):
    """A decoded Pillow image of any mode as (height, width, 3) uint8, so many times smaller on each side."""
    white = _full_scale(image) if _is_deep(image) else None
    return np.concatenate([_strip_to_rgb(strip, shrink, white) for strip in _strips(image, shrink)])


def _strips(image, shrink=1):
    """The image in strips of whole rows, from the top; their height is a multiple of shrink."""
    rows = max(1, STRIP // (image.width * shrink)) * shrink
    for top in range(0, image.height, rows):
        yield image.crop((0, top, image.width, min(top + rows, image.height)))


def _strip_to_rgb(strip, shrink, white):
    """`_to_rgb` for a strip. white: the value of white in an image with more than 8 bits, None in others."""
    if white is not None:
        values = np.nan_to_num(np.asarray(strip, np.float32)) * (255 / white)
        strip = Image.fromarray(values.clip(0, 255).astype(np.uint8))
    if strip.has_transparency_data:
        strip = strip.convert("RGBA").reduce(shrink)
        strip = Image.alpha_composite(Image.new("RGBA", strip.size, "white"), strip)
    else:
        strip = (strip if strip.mode == "L" else strip.convert("RGB")).reduce(shrink)
    return np.asarray(strip.convert("RGB"))


def _is_deep(image):
    """Whether its greys have more than 8 bits."""
    return image.mode.startswith("I") or image.mode == "F"


def _full_scale(image):
    """The value that stands for white in an image of deep greys, from its lightest pixel: 1, 255 or 65535."""
    lightest = max(float(np.nan_to_num(np.asarray(strip, np.float32)).max()) for strip in _strips(image))
    if image.mode == "F" and lightest <= 1:
        return 1
    return 65535 if lightest > 255 else 255
