"""analyze.py as a user runs it: what it prints, what it draws and what it refuses.

Most tests run it in the tests' own process, which saves the start of Python; some, with `script`, in one of its own.
"""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from conftest import HAS_GPU, ROOT, SAMPLES
from PIL import Image


@pytest.fixture
def run_analyze(in_process):
    """A function that runs analyze.py with the shipped model on the CPU: (stdout, stderr, status)."""

    def run(*options):
        return in_process("analyze.py", "--device", "cpu", *options)

    return run


@pytest.fixture
def blank(tmp_path):
    path = tmp_path / "blank.png"
    Image.new("RGB", (300, 200), "white").save(path)
    return path


# -- what is printed --------------------------------------------------------------------------------------------------


def test_reads_the_picture_of_the_readme(script):
    out, err, status = script("analyze.py", SAMPLES / "digits.jpg")
    assert (out, status) == ("31415926\n", 0), err


def test_lines_of_the_picture_are_lines_of_the_output(run_analyze):
    out, _, status = run_analyze(SAMPLES / "lines.jpg")
    assert status == 0
    assert out.split() == ["16180", "339887", "4989", "484820", "45868"]


def test_several_pictures_are_named(run_analyze, blank):
    out, err, status = run_analyze(SAMPLES / "big.png", blank)
    lines = out.splitlines()
    assert status == 0, err
    assert lines[0] == f"{SAMPLES / 'big.png'}:"
    assert lines[1].strip() == "5"
    assert lines[2:] == [f"{blank}:", "  no digits found"]


def test_no_digits_is_a_result(run_analyze, blank):
    assert run_analyze(blank) == ("no digits found\n", "", 0)


def test_json(run_analyze, blank, tmp_path):
    out, _, status = run_analyze("--json", SAMPLES / "blackboard.jpg", blank, tmp_path / "missing.png")
    read, empty, missing = map(json.loads, out.splitlines())
    assert status == 2
    assert read.keys() == {"file", "lines", "digits"}
    assert read["lines"] == ["2718", "9045"]
    assert "".join(read["lines"]) == "".join(str(digit["digit"]) for digit in read["digits"])
    with Image.open(SAMPLES / "blackboard.jpg") as picture:
        for digit in read["digits"]:
            assert digit.keys() == {"digit", "confidence", "box", "line"}
            assert digit["digit"] in range(10)
            assert 0.1 <= digit["confidence"] <= 1
            x, y, width, height = digit["box"]
            assert 0 <= x < x + width <= picture.width
            assert 0 <= y < y + height <= picture.height
    assert [digit["line"] for digit in read["digits"]] == [0] * 4 + [1] * 4
    assert empty == {"file": str(blank), "lines": [], "digits": []}
    assert missing.keys() == {"file", "error"}
    assert "missing.png" in missing["error"]


def test_min_confidence_prints_question_marks(run_analyze):
    sure, _, _ = run_analyze(SAMPLES / "big.png")
    unsure, _, _ = run_analyze(SAMPLES / "big.png", "--min-confidence", "1")
    assert sure == "5\n"
    assert unsure == "?\n"


# -- mistakes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ("missing", "folder", "empty", "text", "cut"))
def test_a_bad_picture_is_one_line_and_the_others_are_read(run_analyze, one_line, blank, tmp_path, kind):
    bad = tmp_path / f"{kind}.jpg"
    if kind == "folder":
        bad.mkdir()
    elif kind == "empty":
        bad.touch()
    elif kind == "text":
        bad.write_text("not a picture")
    elif kind == "cut":
        bad.write_bytes((SAMPLES / "digits.jpg").read_bytes()[:20000])
    result = run_analyze(bad, blank)
    one_line("analyze.py", result, bad)
    assert "no digits found" in result[0]


def test_a_bad_picture_among_good_ones_in_a_process_of_its_own(script, one_line, tmp_path):
    result = script("analyze.py", tmp_path / "missing.jpg", SAMPLES / "big.png", "--device", "cpu")
    one_line("analyze.py", result, "missing.jpg")
    assert result[0] == f"{SAMPLES / 'big.png'}:\n  5\n"


def test_a_picture_with_an_odd_name(run_analyze, tmp_path):
    path = tmp_path / "drei Ziffern – №1.png"
    shutil.copy(SAMPLES / "big.png", path)
    out, err, status = run_analyze(path, "--output", tmp_path / "out")
    assert (status, err) == (0, f"{tmp_path / 'out' / path.name}: drawn\n")
    assert (tmp_path / "out" / path.name).exists()


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("a.jpg", "--evaluate", "b.tsv"),
        ("a.jpg", "--min-confidence", "2"),
        ("--evaluate", "set.tsv", "--json"),
        ("--evaluate", "set.tsv", "--debug", "stages"),
        ("--evaluate", "set.tsv", "--min-confidence", "0.5"),
        ("a.jpg", "--min-confidence", "nan"),
        ("a.jpg", "--device", "abacus"),
        ("a.jpg", "--frobnicate"),
    ],
)
def test_bad_options_are_one_line(run_analyze, one_line, options):
    result = run_analyze(*options)
    one_line("analyze.py", result, "--help")
    assert result[0] == ""


def test_a_bad_option_in_a_process_of_its_own(script, one_line):
    result = script("analyze.py", "a.jpg", "--min-confidence", "2")
    one_line("analyze.py", result, "--min-confidence", "'2'")
    assert result[0] == ""


@pytest.mark.parametrize("content", (None, b"", b"not a model", b"PK\x03\x04 cut"))
def test_a_bad_model_is_one_line(in_process, one_line, blank, tmp_path, content):
    path = tmp_path / "bad.npz"
    if content is not None:
        path.write_bytes(content)
    result = in_process("analyze.py", blank, "--model", path, "--device", "cpu")
    one_line("analyze.py", result, path)
    assert result[0] == ""


def test_cuda_without_a_gpu_is_refused(script, one_line, model_file, blank):
    result = script("analyze.py", blank, "--model", model_file, "--device", "cuda")
    if HAS_GPU:
        assert result[2] == 0
    else:
        one_line("analyze.py", result, "cuda")
        assert result[0] == ""


def test_a_closed_pipe_is_no_error(model_file, blank):
    command = [sys.executable, ROOT / "analyze.py", "--model", model_file, "--device", "cpu", blank]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""


# -- pictures that are written ----------------------------------------------------------------------------------------


def test_output_draws_on_a_copy(run_analyze, tmp_path):
    _, _, status = run_analyze(SAMPLES / "note.jpg", "--output", tmp_path / "new" / "folder")
    assert status == 0
    (written,) = (tmp_path / "new" / "folder").iterdir()
    with Image.open(written) as drawn, Image.open(SAMPLES / "note.jpg") as original:
        assert drawn.size == original.size
        assert np.abs(np.asarray(drawn.convert("RGB")).astype(int) - np.asarray(original)).mean() > 1


def test_debug_shows_the_stages(run_analyze, tmp_path, blank):
    _, err, status = run_analyze(SAMPLES / "ruled.jpg", blank, "--debug", tmp_path / "stages")
    names = "ruled-stages.png", "blank-stages.png"
    assert (status, err) == (0, "".join(f"{tmp_path / 'stages' / name}: drawn\n" for name in names))
    with Image.open(tmp_path / "stages" / "ruled-stages.png") as sheet:
        assert min(sheet.size) > 300
    assert (tmp_path / "stages" / "blank-stages.png").exists()


def test_pictures_of_the_same_name_do_not_overwrite_each_other(run_analyze, tmp_path):
    copies = [tmp_path / "a" / "big.png", tmp_path / "b" / "big.png"]
    for copy in copies:
        copy.parent.mkdir()
        shutil.copy(SAMPLES / "big.png", copy)
    run_analyze(*copies, "--output", tmp_path / "out")
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_output_beside_the_picture_leaves_it_alone(run_analyze, tmp_path):
    """Also when the names that would come next are taken by pictures, too."""
    names = ["big.png", "big-2.png", "big.jpg"]
    for name in names:
        with Image.open(SAMPLES / "big.png") as picture:
            picture.convert("RGB").save(tmp_path / name)
    before = {name: (tmp_path / name).read_bytes() for name in names}
    _, err, status = run_analyze(*(tmp_path / name for name in names), "--output", tmp_path)
    assert status == 0 and err.count(": drawn\n") == 3
    assert {name: (tmp_path / name).read_bytes() for name in names} == before
    assert len(list(tmp_path.iterdir())) == 6


def test_what_was_drawn_is_named_on_stderr_and_what_was_not_is_not(run_analyze, tmp_path):
    options = "--output", tmp_path / "out", "--debug", tmp_path / "stages"
    out, err, status = run_analyze(tmp_path / "missing.jpg", SAMPLES / "big.png", *options)
    assert status == 2 and out == f"{SAMPLES / 'big.png'}:\n  5\n"
    assert [line for line in err.splitlines() if line.endswith(": drawn")] == [
        f"{tmp_path / 'out' / 'big.png'}: drawn",
        f"{tmp_path / 'stages' / 'big-stages.png'}: drawn",
    ]


def test_output_that_cannot_be_written(run_analyze, one_line, tmp_path):
    (tmp_path / "file").touch()
    one_line("analyze.py", run_analyze(SAMPLES / "big.png", "--output", tmp_path / "file"), tmp_path / "file")


# -- labelled pictures -------------------------------------------------------------------------------------------------


def test_evaluate_agrees_with_what_is_read(run_analyze, one_line, tmp_path):
    """A manifest whose labels are partly what is read, partly not: the report is known in advance."""
    out, _, _ = run_analyze(SAMPLES / "shadow.jpg")
    read = out.strip()
    wrong = ("1" if read[0] != "1" else "2") + read[1:]
    for name in ("right.jpg", "wrong.jpg"):
        shutil.copy(SAMPLES / "shadow.jpg", tmp_path / name)
    with open(tmp_path / "set.tsv", "w", encoding="utf-8") as file:
        file.write(f"file\tlabel\tkind\nright.jpg\t{read}\tphoto\nwrong.jpg\t{wrong}\tscan\ngone.jpg\t123\tscan\n")
    result = run_analyze("--evaluate", tmp_path / "set.tsv", "--output", tmp_path / "sheet")
    one_line("analyze.py", result, "gone.jpg")
    out = result[0]
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line.strip()}
    digits = 2 * len(read) + 3
    assert rows["all"] == ["3", str(digits), f"{1 - 4 / digits:.1%}", "1/3", "=", "33.3%"]
    assert rows["photo"][-1] == "100.0%"
    assert f"{wrong[0]} read as {read[0]}: 1" in out
    assert "calibration error" in out
    assert (tmp_path / "sheet" / "failures.png").exists()


@pytest.mark.parametrize(
    "content",
    (
        "", "file\tlabel\n", "file\tlabel\na.png\tnothing\n", "name\tdigits\na.png\t12\n",
        f"file\tlabel\na.png\t{'1' * 200_000}\n",
    ),
    ids=("empty", "no rows", "no digits", "other columns", "a huge field"),
)  # fmt: skip
def test_bad_manifests_are_one_line(run_analyze, one_line, tmp_path, content):
    (tmp_path / "set.tsv").write_text(content)
    result = run_analyze("--evaluate", tmp_path / "set.tsv")
    one_line("analyze.py", result, "set.tsv")
    assert result[0] == ""
