"""From picture files to the digits that a network reads in them.

readings = read_pictures(["a.jpg", "b.png"], model)      a Reading, or a UserError, for each file
"""

from typing import NamedTuple

import numpy as np

from errors import UserError
from photos.opening import open_to_read
from photos.segment import Digit, find_digits
from sizes import IMAGE_SIZE


class Reading(NamedTuple):
    """What was read in one picture: the N digits that were found, which digits they are, and how sure that is."""

    file: str
    digits: list[Digit]
    values: np.ndarray  # (N,) int, 0..9
    confidences: np.ndarray  # (N,) float, 0..1: the probability that the network gives to this value

    def lines(self, min_confidence=0.0):
        """The digits as text, one string for each line of the picture; `?` where the confidence is lower than this."""
        lines = {}
        for digit, value, confidence in zip(self.digits, self.values, self.confidences, strict=True):
            lines.setdefault(digit.line, []).append(str(value) if confidence >= min_confidence else "?")
        return ["".join(line) for _, line in sorted(lines.items())]


def read_pictures(files, model):
    """Read pictures; the network gets the digits of all of them in one batch.

    files: paths. model: any engine of the network. Returns a list with one entry for each file: its Reading, or the
    UserError if the file cannot be opened as a picture.
    """
    found = []
    for file in files:
        try:
            found.append(find_digits(*open_to_read(file)))
        except UserError as error:
            found.append(error)
    crops = [digit.crop for digits in found if isinstance(digits, list) for digit in digits]
    values, confidences = classify(model, crops)
    readings, start = [], 0
    for file, digits in zip(files, found, strict=True):
        if isinstance(digits, UserError):
            readings.append(digits)
            continue
        mine = slice(start, start + len(digits))
        readings.append(Reading(str(file), digits, values[mine], confidences[mine]))
        start = mine.stop
    return readings


# Each crop gets a margin of one pixel and is read five times. These are the (x, y) of the top left corner of the 28x28
# pixels that are read: in the middle, and one pixel to each side.
CORNERS = ((1, 1), (0, 1), (2, 1), (1, 0), (1, 2))


def classify(model, crops):
    """Read crops: a list of N (28, 28) uint8 -> digits (N,) int and confidences (N,) float, in one batch.

    Each crop is read five times: as it is, and moved by one pixel to each side. The 2x2 windows of the pooling then
    fall differently on its strokes. The mean of the five probabilities is right more often than a single one, and its
    confidence is nearer to the share of digits that are right.
    """
    if not crops:
        return np.zeros(0, int), np.zeros(0)
    padded = np.pad(np.stack(crops), ((0, 0), (1, 1), (1, 1)))
    moved = [padded[:, y : y + IMAGE_SIZE, x : x + IMAGE_SIZE] for x, y in CORNERS]
    probabilities = model.predict(np.concatenate(moved)).reshape(len(CORNERS), len(crops), -1).mean(axis=0)
    return probabilities.argmax(axis=1), probabilities.max(axis=1)
