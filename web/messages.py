"""What page and server say to each other: checks what the page sends, and puts answers into JSON.

Crops are sent as Base64. The many arrays of an explanation follow its JSON as they are: the page gets them some thirty
times a second while somebody draws.
"""

import base64
import binascii
import json
import math
import struct
from io import BytesIO

import numpy as np

from errors import UserError
from model_file import ACTIVATIONS
from sizes import IMAGE_SIZE, MARK, NUM_CLASSES, PART, SEVERAL
from web.corrections import KINDS
from web.trainer import Recipe

MAX_FILTERS = 1024
MAX_EPOCHS = 1000
NO_DIGITS = {PART: "part", SEVERAL: "several", MARK: "mark"}

# -- from the page ----------------------------------------------------------------------------------------------------


async def parse(request):
    """The JSON object in a request. Raises UserError when there is none."""
    try:
        message = json.loads(await request.body())
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict):
        raise UserError("the page sent no JSON object")
    return message


def crop(message):
    """The crop (28, 28) uint8 of a message."""
    try:
        pixels = base64.b64decode(message["crop"], validate=True)
        return np.frombuffer(pixels, np.uint8).reshape(IMAGE_SIZE, IMAGE_SIZE)
    except (KeyError, TypeError, ValueError, binascii.Error):
        raise UserError("a crop has 28x28 bytes, in Base64") from None


def label(message, num_classes):
    """The class that the page asks about, or None for the one that wins."""
    value = message.get("label")
    return value if type(value) is int and 0 <= value < num_classes else None


def epochs(message):
    """How many epochs to train; None: until stopped."""
    value = message.get("epochs")
    if value is None or type(value) is int and 1 <= value <= MAX_EPOCHS:
        return value
    raise UserError(f"the number of epochs is a whole number from 1 to {MAX_EPOCHS}")


def recipe(message):
    """The trainer's Recipe, from a dict."""
    filters, activation, rate = (
        message.get(name) if isinstance(message, dict) else None for name in ("filters", "activation", "learning_rate")
    )
    if type(filters) is not int or not 1 <= filters <= MAX_FILTERS:
        raise UserError(f"the number of filters is a whole number from 1 to {MAX_FILTERS}")
    if activation not in ACTIVATIONS:
        raise UserError(f"the activation is one of: {', '.join(ACTIVATIONS)}")
    if type(rate) not in (int, float) or not 0 < rate < math.inf:
        raise UserError("the learning rate is a number above 0")
    return Recipe(filters, activation, float(rate))


def correction(message):
    """(crop, label, read, kind) as `keep_correction` takes them."""
    wanted, read, kind = (str(message.get(name)) for name in ("label", "read", "kind"))
    if not all(len(digit) == 1 and digit in "0123456789" for digit in (wanted, read)) or kind not in KINDS:
        raise UserError("a correction needs a digit, what it was read as, and drawing or photo")
    return crop(message), wanted, read, kind


def file_name(name):
    """A file's name as a message may show it."""
    return "".join(character for character in name if character.isprintable())[:80] or "the picture"


# -- to the page ------------------------------------------------------------------------------------------------------


def event(name, data):
    """One event of an event stream."""
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"


def network(engine):
    """What the page says of the network that it shows."""
    names = [str(c) if c < NUM_CLASSES else NO_DIGITS.get(c, f"class {c}") for c in range(engine.num_classes)]
    return {
        "filters": engine.num_filters,
        "activation": engine.activation,
        "classes": names,
        "epochs": engine.epochs_trained,
    }


def training(report, engine):
    """A Report of the trainer. engine: the network that the page now reads with."""
    points = [point._asdict() for point in report.points]
    return {
        "state": report.state,
        "points": points,
        "share": report.share,
        "error": report.error,
        "network": network(engine),
    }


def digits(reading):
    """The digits of a Reading, in its order; boxes [x, y, width, height] in its pixels."""
    return [
        {
            "value": int(value),
            "confidence": float(confidence),
            "box": list(digit.box),
            "crop": base64.b64encode(digit.crop).decode(),
        }
        for digit, value, confidence in zip(reading.digits, reading.values, reading.confidences, strict=True)
    ]


def nearest(reading, at):
    """The index of the digit whose box is nearest to a place [x, y]; the last digit without a place, None without one.

    The one that is drawn, or that was chosen by a click: digits come and go, but the place stays.
    """
    if not reading.digits:
        return None
    try:
        x, y = (float(length) for length in at)
    except (TypeError, ValueError):
        return len(reading.digits) - 1

    def distance(index):
        left, top, width, height = reading.digits[index].box
        beside, above = max(left - x, x - left - width, 0), max(top - y, y - top - height, 0)
        return math.hypot(beside, above), math.hypot(left + width / 2 - x, top + height / 2 - y)

    return min(range(len(reading.digits)), key=distance)


def explanation(found, message):
    """The bytes of a message, a dict, that is completed with an Explanation; with None the message alone.

    The length of the JSON as 4 bytes, the JSON, and the arrays that it lists in `arrays`: [name, dtype, how many
    numbers], float32 little-endian before uint8, so that each begins where its numbers may begin. Those of the layers
    are in the order (filter, row, column).
    """
    arrays = {}
    if found is not None:
        arrays = {name: value for name, value in found._asdict().items() if isinstance(value, np.ndarray)}
        arrays |= {name: np.moveaxis(arrays[name], 2, 0) for name in ("convolved", "kept", "pooled")}
        message = message | {"label": found.label, "bias": found.bias, "pixel_rest": found.pixel_rest}
    ordered = sorted(arrays.items(), key=lambda entry: entry[1].dtype == np.uint8)
    listed = [[name, array.dtype.name, array.size] for name, array in ordered]
    text = json.dumps(message | {"arrays": listed}).encode()
    text += b" " * (-len(text) % 4)
    numbers = (array.astype(array.dtype.newbyteorder("<")).tobytes() for _, array in ordered)
    return b"".join([struct.pack("<I", len(text)), text, *numbers])


def picture_url(image, form):
    """A Pillow image as a data: address, form "JPEG" or "PNG"."""
    file = BytesIO()
    image.save(file, form, quality=88)
    return f"data:image/{form.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"


def photo(found):
    """A PhotoReading."""
    return {
        "lines": found.reading.lines(),
        "digits": digits(found.reading),
        "size": list(found.size),
        "annotated": picture_url(found.annotated, "JPEG"),
        "stages": [{"title": title, "picture": picture_url(image, "PNG")} for title, image in found.stages],
    }
