"""How well labelled pictures are read: the digits that are wrong, and whether the confidences can be trusted.

rows = read_manifest("samples/manifest.tsv")
scores = score_pictures(rows, readings)
print(report(scores))
"""

import csv
from collections import Counter
from typing import NamedTuple

import numpy as np

from errors import UserError
from photos.reading import Reading

# -- the labels -------------------------------------------------------------------------------------------------------


def read_manifest(path):
    """The rows of a manifest, a list of dicts: a tab-separated file with a header that has at least `file` and `label`.

    Raises UserError when it cannot be read, when it has no rows, or when a label has no digit.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:  # "sig": Excel begins a text with a byte order mark
            rows = list(csv.DictReader(file, delimiter="\t"))
    except (UnicodeDecodeError, csv.Error):  # csv refuses a field of more than 131,072 characters
        raise UserError(f"{path}: not a text file in UTF-8, or no table") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    if not rows or not all(row.get("file") and digits_of(row.get("label") or "") for row in rows):
        raise UserError(f"{path}: not a manifest: tab-separated columns `file` and `label`, digits in every label")
    return rows


def digits_of(label):
    """The digits of a label as one string; whatever stands between its lines is left out."""
    return "".join(character for character in label if character in "0123456789")


# -- the scores -------------------------------------------------------------------------------------------------------


class Score(NamedTuple):
    """How one labelled picture was read."""

    row: dict  # of the manifest
    reading: Reading
    wanted: str  # the digits of the label
    read: str  # the digits that were read
    pairs: list[tuple[str | None, str | None]]  # (wanted, read), see `align`

    @property
    def exact(self):
        """Whether every digit was read, in order, and nothing else."""
        return self.wanted == self.read

    @property
    def wrong(self):
        """The edit distance between wanted and read, but at most the number of digits that were wanted."""
        return min(sum(wanted != read for wanted, read in self.pairs), len(self.wanted))


def score_pictures(rows, readings):
    """A Score for each row of a manifest; a picture that could not be opened counts as one without digits."""
    scores = []
    for row, reading in zip(rows, readings, strict=True):
        if isinstance(reading, UserError):
            reading = Reading(row["file"], [], np.zeros(0, int), np.zeros(0))
        wanted, read = digits_of(row["label"]), "".join(map(str, reading.values))
        scores.append(Score(row, reading, wanted, read, align(wanted, read)))
    return scores


def align(wanted, read):
    """Pair the characters of two strings with the fewest edits (Levenshtein distance): a list of (wanted, read).

    A pair (character, None) is a character that was missed, a pair (None, character) one too many.
    """
    table = np.zeros((len(wanted) + 1, len(read) + 1), int)  # [i, j]: edits from wanted[:i] to read[:j]
    table[:, 0], table[0] = range(len(wanted) + 1), range(len(read) + 1)
    for i, a in enumerate(wanted, 1):
        for j, b in enumerate(read, 1):
            table[i, j] = min(table[i - 1, j] + 1, table[i, j - 1] + 1, table[i - 1, j - 1] + (a != b))
    pairs, i, j = [], len(wanted), len(read)
    while i or j:
        if i and j and table[i, j] == table[i - 1, j - 1] + (wanted[i - 1] != read[j - 1]):
            i, j = i - 1, j - 1
            pairs.append((wanted[i], read[j]))
        elif i and table[i, j] == table[i - 1, j] + 1:
            i -= 1
            pairs.append((wanted[i], None))
        else:
            j -= 1
            pairs.append((None, read[j]))
    return pairs[::-1]


BINS = 10  # of confidence: 0..0.1, 0.1..0.2, ...


def calibration(scores):
    """(bins, error): for each bin of confidence that has digits (count, mean confidence, share right), and the error.

    In each bin there is a difference |mean confidence - share right|. The expected calibration error is the mean of
    these differences, each weighted by the number of digits in its bin.
    """
    right = [wanted == read for score in scores for wanted, read in score.pairs if read is not None]
    confidences = np.concatenate([score.reading.confidences for score in scores])
    right, bin_of = np.array(right, bool), np.minimum((confidences * BINS).astype(int), BINS - 1)
    bins = []
    for i in range(BINS):
        mine = bin_of == i
        if mine.any():
            bins.append((int(mine.sum()), float(confidences[mine].mean()), float(right[mine].mean())))
    total = sum(count for count, _, _ in bins)
    return bins, sum(count * abs(sure - share) for count, sure, share in bins) / total if total else 0.0


# -- the report -------------------------------------------------------------------------------------------------------


def report(scores):
    """The scores of a labelled set as text: accuracy by group, failures, mistakes and calibration."""
    return "\n".join(_accuracy_lines(scores) + _failure_lines(scores) + _calibration_lines(scores))


def _accuracy_lines(scores):
    """A table with a row for all pictures, for each difficulty and for each kind."""
    groups = {("", "all"): scores}
    for column in ("difficulty", "kind"):
        for score in scores:
            if score.row.get(column):
                groups.setdefault((column, score.row[column]), []).append(score)
    lines = [f"{'':12}{'pictures':>9}{'digits':>8}{'digit accuracy':>16}{'exact':>14}"]
    for (_, name), group in groups.items():
        digits = sum(len(score.wanted) for score in group)
        accuracy = 1 - sum(score.wrong for score in group) / digits
        exact = sum(score.exact for score in group)
        share = f"{exact}/{len(group)} = {exact / len(group):.1%}"
        lines.append(f"{name:12}{len(group):9}{digits:8}{accuracy:16.1%}{share:>18}")
    return lines


def _failure_lines(scores):
    """The pictures that were not read exactly, and how often each mistake was made; nothing when all were."""
    failures = [score for score in scores if not score.exact]
    if not failures:
        return []
    mistakes = Counter(pair for score in scores for pair in score.pairs if pair[0] != pair[1])
    return [
        "",
        "not read exactly:",
        *(
            f"  {score.row['file']}: {score.row['label']} read as {'/'.join(score.reading.lines()) or 'nothing'}"
            for score in failures
        ),
        "",
        "mistakes:",
        *(f"  {_describe(*pair)}: {count}" for pair, count in mistakes.most_common()),
    ]


def _describe(wanted, read):
    """A pair of different characters in words."""
    if wanted is None:
        return f"a {read} that is not there"
    return f"{wanted} missed" if read is None else f"{wanted} read as {read}"


def _calibration_lines(scores):
    """The table of `calibration`."""
    bins, error = calibration(scores)
    return [
        "",
        f"{'confidence':>12}{'right':>8}{'digits':>8}",
        *(f"{sure:12.1%}{share:8.1%}{count:8}" for count, sure, share in bins),
        f"expected calibration error {error:.3f}",
    ]
