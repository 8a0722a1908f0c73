"""SCORING."""

import csv
from collections import Counter
from typing import NamedTuple

import numpy as np

from errors import UserError
from photos.reading import Reading

BINS = 10  # of confidence, in the calibration table


class Score(NamedTuple):
    """How one labelled picture was read. pairs: (wanted, read) characters; None stands for missed, or for too many."""

    row: dict
    reading: Reading
    wanted: str
    read: str
    pairs: list[tuple[str | None, str | None]]

    @property
    def wrong(self):
        """Edit distance, at most the number of digits."""
        return min(sum(wanted != read for wanted, read in self.pairs), len(self.wanted))


def align(wanted, read):
    """Pair two strings with the fewest edits (Levenshtein distance): a list of (wanted, read), None for a gap."""
    table = np.zeros((len(wanted) + 1, len(read) + 1), int)
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


def read_manifest(path):
    """The rows of a labelled set: tab-separated with a header that has at least `file` and `label`."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a text file in UTF-8") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    if not rows or not all(row.get("file") and digits_of(row.get("label") or "") for row in rows):
        raise UserError(f"{path}: not a manifest: tab-separated columns `file` and `label`, digits in every label")
    return rows


def digits_of(label):
    """The digits of a label; lines may be separated by anything."""
    return "".join(character for character in label if character in "0123456789")


def score_pictures(rows, readings):
    """A Score for each row of a manifest; a picture that could not be read counts as read empty."""
    scores = []
    for row, reading in zip(rows, readings, strict=True):
        if isinstance(reading, UserError):
            reading = Reading(row["file"], [], np.zeros(0, int), np.zeros(0))
        wanted, read = digits_of(row["label"]), "".join(map(str, reading.values))
        scores.append(Score(row, reading, wanted, read, align(wanted, read)))
    return scores


def calibration(scores):
    """(bins, error): for each bin of confidence (digits, mean confidence, share right), and the expected error.

    The expected calibration error is the difference between confidence and share right, averaged over all digits.
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


def report(scores):
    """The score of a labelled set as text."""
    lines = [f"{'':12}{'pictures':>9}{'digits':>8}{'digit accuracy':>16}{'exact':>14}"]
    groups = {"all": scores}
    for column in ("difficulty", "kind"):
        for score in scores:
            if score.row.get(column):
                groups.setdefault(score.row[column], []).append(score)
    for name, group in groups.items():
        digits = sum(len(score.wanted) for score in group)
        accuracy = 1 - sum(score.wrong for score in group) / digits
        exact = sum(score.wanted == score.read for score in group)
        share = f"{exact}/{len(group)} = {exact / len(group):.1%}"
        lines.append(f"{name:12}{len(group):9}{digits:8}{accuracy:16.1%}{share:>18}")
    failures = [score for score in scores if score.wanted != score.read]
    if failures:
        lines += ["", "not read exactly:"]
        lines += [
            f"  {score.row['file']}: {score.row['label']} read as {'/'.join(score.reading.lines()) or 'nothing'}"
            for score in failures
        ]
        mistakes = Counter(pair for score in scores for pair in score.pairs if pair[0] != pair[1])
        lines += ["", "mistakes:"]
        lines += [f"  {describe(*pair)}: {count}" for pair, count in mistakes.most_common()]
    bins, error = calibration(scores)
    lines += ["", f"{'confidence':>12}{'right':>8}{'digits':>8}"]
    lines += [f"{sure:12.1%}{share:8.1%}{count:8}" for count, sure, share in bins]
    lines.append(f"expected calibration error {error:.3f}")
    return "\n".join(lines)


def describe(wanted, read):
    if wanted is None:
        return f"a {read} that is not there"
    return f"{wanted} missed" if read is None else f"{wanted} read as {read}"
