"""What was read as text, JSON and CSV; and the file of results, which survives whatever ended the run that wrote it."""

import csv
import json
import os

import numpy as np
import pytest

from errors import UserError
from photos.reading import Digit, Reading
from volume.results import CSV_HEADER, ResultFile, as_csv, as_json, as_text

CROP = np.zeros((28, 28), np.uint8)
READING = Reading(
    "/far/a.png",
    [Digit(CROP, (1, 2, 3, 4), 0), Digit(CROP, (5, 2, 3, 4), 0), Digit(CROP, (1, 9, 3, 4), 1)],
    np.array([4, 2, 0]),
    np.array([0.9, 0.5, 0.99999]),
)
NOTHING = Reading("", [], np.zeros(0, int), np.zeros(0))
ERROR = UserError("a.png: an empty file")


def test_text():
    assert as_text("a.png", READING, 0.6, headed=False) == "4?\n0"
    assert as_text("a.png", READING, 0.0, headed=True) == "a.png:\n  42\n  0"
    assert as_text("a.png", NOTHING, 0.0, headed=False) == "no digits found"
    assert as_text("a.png", ERROR, 0.0, headed=True) is None


def test_json_is_one_line():
    name = "a\n\udce4.png"  # a name may hold a line break, and bytes that are no UTF-8
    line = as_json(name, READING, 0.6)
    assert "\n" not in line and line.isascii()
    assert json.loads(line) == {
        "file": name,
        "lines": ["4?", "0"],
        "digits": [
            {"digit": 4, "confidence": 0.9, "box": [1, 2, 3, 4], "line": 0},
            {"digit": 2, "confidence": 0.5, "box": [5, 2, 3, 4], "line": 0},
            {"digit": 0, "confidence": 1.0, "box": [1, 9, 3, 4], "line": 1},
        ],
    }
    assert json.loads(as_json("b", ERROR, 0.0)) == {"file": "b", "error": "a.png: an empty file"}


def test_csv_has_a_row_for_each_picture():
    rows = [as_csv('a, "b".png', READING, 0.6), as_csv("c", NOTHING, 0.0), as_csv("a.png", ERROR, 0.0)]
    assert list(csv.DictReader([CSV_HEADER, *rows])) == [
        {"file": 'a, "b".png', "lines": "4?/0", "confidence": "0.5000", "error": ""},
        {"file": "c", "lines": "", "confidence": "", "error": ""},
        {"file": "a.png", "lines": "", "confidence": "", "error": "a.png: an empty file"},
    ]


# -- the file of results ----------------------------------------------------------------------------------------------

LINES = [as_json(name, result, 0.0) for name, result in (("a", READING), ("b\n", ERROR), ("c", NOTHING))]


def test_results_are_there_as_soon_as_they_are_added(tmp_path):
    with ResultFile(tmp_path / "new.jsonl") as kept:
        assert kept.done == set()
        for number, line in enumerate(LINES, 1):
            kept.add(line)
            assert (tmp_path / "new.jsonl").read_text().splitlines() == LINES[:number]
    with ResultFile(tmp_path / "new.jsonl") as kept:
        assert kept.done == {"a", "b\n", "c"}
    assert (tmp_path / "new.jsonl").read_text().splitlines() == LINES


@pytest.mark.parametrize("half", (*range(1, 12), 40, len(LINES[2])))
def test_half_a_line_is_cut_off(tmp_path, half):
    """Wherever it ends; also right before its line break."""
    path = tmp_path / "half.jsonl"
    path.write_text("\n".join(LINES[:2]) + "\n" + LINES[2][:half])
    with ResultFile(path) as kept:
        assert kept.done == {"a", "b\n"}
        kept.add(LINES[2])
    assert path.read_text() == "\n".join(LINES) + "\n"


@pytest.mark.parametrize(
    "content",
    [
        b"my notes", b"my notes\n", b"\x89PNG\r\n\x1a\n\x00", b"{}\n", b'["file"]\n', b'{"file": 3}\n', b"\n",
        b'{"file": "a"\n', LINES[0].encode() + b"\nmy notes", b'{"file"= ', b"[" * 100_000 + b"\n",
    ],
    ids=lambda content: str(content[:10]),
)  # fmt: skip
def test_another_file_is_left_alone(tmp_path, content):
    path = tmp_path / "other"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"other: line \d is no result of analyze.py"):
        ResultFile(path)
    assert path.read_bytes() == content


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(UserError, match="not a file"):
        ResultFile(tmp_path)
    if os.path.exists("/dev/zero"):
        with pytest.raises(UserError, match="not a file"):
            ResultFile("/dev/zero")  # it has no end
