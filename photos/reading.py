"""READING."""

from typing import NamedTuple

import numpy as np

from errors import UserError
from photos.opening import open_to_read
from photos.segment import Digit, find_digits
from sizes import IMAGE_SIZE

MOVES = ((1, 1), (0, 1), (2, 1), (1, 0), (1, 2))  # where in a crop with a margin of one pixel a reading begins


class Reading(NamedTuple):
    """What was read in one picture: the digits that were found, which each is, and how sure the network is (0..1)."""

    file: str
    digits: list[Digit]
    values: np.ndarray  # (N,) int
    confidences: np.ndarray  # (N,) float

    def lines(self, min_confidence=0.0):
        """The digits as text, a string for each line of the picture; `?` where the confidence is too low."""
        lines = {}
        for digit, value, confidence in zip(self.digits, self.values, self.confidences, strict=True):
            lines.setdefault(digit.line, []).append(str(value) if confidence >= min_confidence else "?")
        return ["".join(line) for _, line in sorted(lines.items())]


def read_pictures(files, model):
    """Read pictures in one batch. Returns a list with a Reading, or the UserError, for each file."""
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


def classify(model, crops):
    """Crops (28, 28) uint8 -> digits (N,) int and confidences (N,) float, all in one batch.

    Each is read five times: as it is, and moved by a pixel to each side, so that the 2x2 windows of the pooling fall
    differently on its strokes. The mean of the five is right more often than the one, and knows better how sure it is.
    """
    if not crops:
        return np.zeros(0, int), np.zeros(0)
    padded = np.pad(np.stack(crops), ((0, 0), (1, 1), (1, 1)))
    moved = [padded[:, y : y + IMAGE_SIZE, x : x + IMAGE_SIZE] for x, y in MOVES]
    probabilities = model.predict(np.concatenate(moved)).reshape(len(MOVES), len(crops), -1).mean(axis=0)
    return probabilities.argmax(axis=1), probabilities.max(axis=1)
