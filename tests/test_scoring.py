"""Scores of labelled pictures: edits, calibration, manifests and the report."""

import numpy as np
import pytest

from errors import UserError
from photos.reading import Digit, Reading
from photos.scoring import Score, align, calibration, digits_of, read_manifest, report, score_pictures


def distance(a, b):
    """Edit distance by its recursive definition."""
    if not a or not b:
        return len(a) + len(b)
    return min(distance(a[1:], b) + 1, distance(a, b[1:]) + 1, distance(a[1:], b[1:]) + (a[0] != b[0]))


@pytest.mark.parametrize(
    ("wanted", "read"),
    [("", ""), ("12", ""), ("", "7"), ("123", "123"), ("1234", "234"), ("1234", "1954"), ("55", "5565")],
)
def test_align_makes_the_fewest_edits(wanted, read):
    pairs = align(wanted, read)
    assert "".join(a for a, _ in pairs if a) == wanted
    assert "".join(b for _, b in pairs if b) == read
    assert sum(a != b for a, b in pairs) == distance(wanted, read)


def score_of(wanted, read, confidences=None):
    values = np.array([int(digit) for digit in read], int)
    confidences = np.ones(len(read)) if confidences is None else np.array(confidences)
    digits = [Digit(np.zeros((28, 28), np.uint8), (0, 0, 1, 1), 0)] * len(read)
    reading = Reading("x.png", digits, values, confidences)
    return Score({"file": "x.png", "label": wanted}, reading, wanted, read, align(wanted, read))


def test_errors_are_not_more_than_digits():
    assert score_of("12", "34567").wrong == 2


def test_calibration_error():
    scores = [score_of("1111", "1112", [0.75] * 4)]  # three of four right at 75 %
    bins, error = calibration(scores)
    assert bins == [(4, 0.75, 0.75)]
    assert error == pytest.approx(0)
    _, error = calibration([score_of("11", "22", [0.95, 0.95])])
    assert error == pytest.approx(0.95)


# -- the report -------------------------------------------------------------------------------------------------------


def test_a_picture_that_cannot_be_opened_counts_as_one_without_digits():
    (score,) = score_pictures([{"file": "gone.png", "label": "12/3"}], [UserError("gone.png: missing")])
    assert (score.wanted, score.read, score.wrong, score.exact) == ("123", "", 3, False)
    assert "gone.png: 12/3 read as nothing" in report([score])


def test_the_report_counts_pictures_digits_and_mistakes():
    lines = report([score_of("1234", "1934"), score_of("56", "56"), score_of("7", "78")]).splitlines()
    assert lines[1].split() == ["all", "3", "7", "71.4%", "1/3", "=", "33.3%"]
    assert "  2 read as 9: 1" in lines and "  a 8 that is not there: 1" in lines
    assert lines[-1].startswith("expected calibration error 0.")


def test_groups_that_bear_the_name_of_the_first_row_are_rows_of_their_own():
    """Also two of the same name, in two columns."""
    rows = [{"kind": "all", "difficulty": "photo"}, {"kind": "photo", "difficulty": "all"}, {"kind": "all"}]
    scores = [score_of("12", "12"), score_of("345", "3"), score_of("6", "6")]
    scores = [score._replace(row=score.row | row) for score, row in zip(scores, rows, strict=True)]
    table = [line.split()[:3] for line in report(scores).splitlines()[1:6]]
    assert table == [
        ["all", "3", "6"], ["photo", "1", "2"], ["all", "1", "3"], ["all", "2", "3"], ["photo", "1", "3"],
    ]  # fmt: skip


def test_a_set_without_a_failure_has_no_list_of_failures():
    assert "not read exactly" not in report([score_of("12", "12")])


# -- manifests --------------------------------------------------------------------------------------------------------


def test_digits_of_a_label():
    assert digits_of("31/41 59\n26") == "31415926"


@pytest.mark.parametrize("content", (None, b"", b"file\tlabel\n", b"name\tdigits\na.png\t12\n", b"\xff\xfe\x00"))
def test_what_is_no_manifest_is_named(tmp_path, content):
    path = tmp_path / "set.tsv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match="set.tsv: "):
        read_manifest(path)


def test_a_manifest_from_excel_is_read(tmp_path):
    """It begins with a byte order mark and ends its lines with two characters."""
    (tmp_path / "set.tsv").write_bytes("file\tlabel\r\na.png\t12\r\n".encode("utf-8-sig"))
    assert read_manifest(tmp_path / "set.tsv") == [{"file": "a.png", "label": "12"}]
