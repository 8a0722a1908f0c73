"""Open picture files of every kind: upright, in RGB, with 8 bits for each colour.

picture = open_picture("digits.jpg")         the whole picture
picture, size = open_to_read("digits.jpg")   the same; a large JPEG at a smaller size, enough to find digits
"""

import warnings

import numpy as np
from PIL import ExifTags, Image, ImageOps

from errors import UserError

WORKING_SIDE = 1600  # pixels on the longer side of the working picture, in which the digits are searched for
MAX_PIXELS = 200_000_000  # a larger picture is refused: it is more likely an attack on the memory than a photo


def open_picture(path):
    """Read any picture that Pillow can read: (height, width, 3) uint8 RGB, turned upright as its EXIF data says.

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
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns about odd metadata; only the picture matters here
            with Image.open(path) as image:
                size = image.size
                if image.width * image.height > MAX_PIXELS:
                    raise UserError(f"{path}: {image.width}x{image.height} pixels are too many (at most {MAX_PIXELS})")
                if enough:
                    shrink = max(1, max(size) / enough)
                    image.draft(None, [max(1, int(side / shrink)) for side in size])
                image.load()
                lies_on_side = image.getexif().get(ExifTags.Base.Orientation, 1) >= 5
                return _to_rgb(ImageOps.exif_transpose(image)), size[::-1] if lies_on_side else size
    except UserError:
        raise
    except Image.UnidentifiedImageError:
        empty = _is_empty(path)
        raise UserError(f"{path}: {'an empty file' if empty else 'not a picture that can be read'}") from None
    except Image.DecompressionBombError:
        raise UserError(f"{path}: too many pixels (at most {MAX_PIXELS})") from None
    except OSError as error:
        # Pillow reports damage as an OSError without `strerror`; an error of the operating system has one.
        reason = error.strerror or f"damaged picture ({error})"
        raise UserError(f"{path}: {reason}") from None
    except (SyntaxError, ValueError, EOFError, MemoryError) as error:
        raise UserError(f"{path}: damaged picture ({error})") from None


def _is_empty(path):
    with open(path, "rb") as file:
        return not file.read(1)


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
