"""A few hundred of the damaged files of fuzz.py, and whether it would notice what must not be."""

import os
import sys
import time

import fuzz
import pytest

from errors import UserError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows does not say how much memory was needed")


@pytest.mark.parametrize(("kind", "count"), [("pictures", 300), ("models", 150), ("idx", 50)])
def test_a_damaged_file_is_read_or_refused_in_one_line(kind, count, tmp_path):
    before = fuzz.memory()
    results = list(fuzz.run_cases(kind, range(count), tmp_path))
    assert [f"{result.name}: {result.problem}" for result in results if result.problem] == []
    refused = sum(result.refused for result in results)
    assert len(results) == count and refused > count / 4 and count - refused > count / 20
    assert fuzz.memory() - before < fuzz.MEMORY


def fails(path, _):
    raise ZeroDivisionError


def prints(path, _):
    os.write(2, b"TIFFReadDirectory: Warning")


def names_no_file(path, _):
    raise UserError("damaged")


def says_too_much(path, _):
    raise UserError(f"{path}:\ndamaged")


def takes_long(path, _):
    time.sleep(0.2)


@pytest.mark.parametrize(
    ("read", "problem"),
    [
        (fails, "ZeroDivisionError"),
        (prints, "printed: b'TIFFReadDirectory"),
        (names_no_file, "no line that names the file"),
        (says_too_much, "no line that names the file"),
        (takes_long, "took 0.2 s"),
    ],
)
def test_what_must_not_be_is_noticed(read, problem, monkeypatch, capfd):
    monkeypatch.setattr(fuzz, "SECONDS", 0.1)
    assert problem in fuzz.attempt(read, "file", None)[1]
    assert capfd.readouterr() == ("", "")


def test_a_case_is_the_same_whenever_it_is_tried():
    for kind in fuzz.KINDS:
        whole = fuzz.KINDS[kind].whole()
        cases = [fuzz.case(kind, whole, seed, 7) for seed in (1, 1, 2)]
        assert cases[0] == cases[1] != cases[2]
