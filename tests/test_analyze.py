"""analyze.py as a user runs it, and its scores."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import analyze
from cnn_cpu import CNN

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = ROOT / "samples"
PHOTOS = ROOT / ".." / "shared" / "photos"


@pytest.fixture(scope="session")
def model_file(tmp_path_factory):
    """A small untrained model: what is tested with it does not depend on what is read."""
    path = tmp_path_factory.mktemp("model") / "model.npz"
    CNN(num_filters=2, activation="relu", seed=1).save(path)
    return path


@pytest.fixture
def run_analyze(script, model_file):
    def run(*options, **more):
        return script("analyze.py", "--model", model_file, "--device", "cpu", *options, **more)

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


def test_lines_of_the_picture_are_lines_of_the_output(script):
    out, _, status = script("analyze.py", SAMPLES / "lines.jpg")
    assert status == 0
    assert out.split() == ["16180", "339887", "4989", "484820", "45868"]


def test_several_pictures_are_named(run_analyze, blank):
    out, err, status = run_analyze(SAMPLES / "big.png", blank)
    lines = out.splitlines()
    assert status == 0, err
    assert lines[0] == f"{SAMPLES / 'big.png'}:"
    assert lines[1].strip().isdigit()
    assert lines[2:] == [f"{blank}:", "  no digits found"]


def test_no_digits_is_a_result(run_analyze, blank):
    assert run_analyze(blank) == ("no digits found\n", "", 0)


def test_json(run_analyze, blank, tmp_path):
    out, _, status = run_analyze("--json", SAMPLES / "blackboard.jpg", blank, tmp_path / "missing.png")
    read, empty, missing = map(json.loads, out.splitlines())
    assert status == 2
    assert read.keys() == {"file", "lines", "digits"}
    assert [len(line) for line in read["lines"]] == [4, 4]
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
    assert sure.strip().isdigit()
    assert unsure == "?\n"


# -- mistakes ---------------------------------------------------------------------------------------------------------


def one_line(err, *words):
    assert len(err.splitlines()) == 1, err
    assert err.startswith("analyze.py: error: ")
    assert all(str(word) in err for word in words), err
    return True


@pytest.mark.parametrize("kind", ("missing", "folder", "empty", "text", "cut"))
def test_a_bad_picture_is_one_line_and_the_others_are_read(run_analyze, blank, tmp_path, kind):
    bad = tmp_path / f"{kind}.jpg"
    if kind == "folder":
        bad.mkdir()
    elif kind == "empty":
        bad.touch()
    elif kind == "text":
        bad.write_text("not a picture")
    elif kind == "cut":
        bad.write_bytes((SAMPLES / "digits.jpg").read_bytes()[:20000])
    out, err, status = run_analyze(bad, blank)
    assert status == 2
    assert one_line(err, bad)
    assert "no digits found" in out


def test_a_picture_with_an_odd_name(run_analyze, tmp_path):
    path = tmp_path / "drei Ziffern – №1.png"
    shutil.copy(SAMPLES / "big.png", path)
    out, err, status = run_analyze(path, "--output", tmp_path / "out")
    assert (status, err) == (0, "")
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
def test_bad_options_are_one_line(run_analyze, options):
    out, err, status = run_analyze(*options)
    assert (out, status) == ("", 2)
    assert one_line(err)


@pytest.mark.parametrize("content", (None, b"", b"not a model", b"PK\x03\x04 cut"))
def test_a_bad_model_is_one_line(script, blank, tmp_path, content):
    path = tmp_path / "bad.npz"
    if content is not None:
        path.write_bytes(content)
    out, err, status = script("analyze.py", blank, "--model", path, "--device", "cpu")
    assert (out, status) == ("", 2)
    assert one_line(err, path)


def test_cuda_without_a_gpu_is_refused(run_analyze, script, model_file, blank):
    from conftest import HAS_GPU

    out, err, status = script("analyze.py", blank, "--model", model_file, "--device", "cuda")
    if HAS_GPU:
        assert status == 0
    else:
        assert (out, status) == ("", 2)
        assert one_line(err, "cuda")


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
    assert (status, err) == (0, "")
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


def test_output_that_cannot_be_written(run_analyze, tmp_path):
    (tmp_path / "file").touch()
    _, err, status = run_analyze(SAMPLES / "big.png", "--output", tmp_path / "file")
    assert status == 2
    assert one_line(err, tmp_path / "file")


# -- scores -----------------------------------------------------------------------------------------------------------


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
    pairs = analyze.align(wanted, read)
    assert "".join(a for a, _ in pairs if a) == wanted
    assert "".join(b for _, b in pairs if b) == read
    assert sum(a != b for a, b in pairs) == distance(wanted, read)


def score_of(wanted, read, confidences=None):
    values = np.array([int(digit) for digit in read], int)
    confidences = np.ones(len(read)) if confidences is None else np.array(confidences)
    reading = analyze.Reading("x.png", [], values, confidences)
    return analyze.Score({"file": "x.png", "label": wanted}, reading, wanted, read, analyze.align(wanted, read))


def test_errors_are_not_more_than_digits():
    assert score_of("12", "34567").wrong == 2


def test_calibration_error():
    scores = [score_of("1111", "1112", [0.75] * 4)]  # three of four right at 75 %
    bins, error = analyze.calibration(scores)
    assert bins == [(4, 0.75, 0.75)]
    assert error == pytest.approx(0)
    _, error = analyze.calibration([score_of("11", "22", [0.95, 0.95])])
    assert error == pytest.approx(0.95)


def test_a_digit_is_read_in_five_places(mnist):
    """An ink that fills the crop, whose moves must bring in paper, and not the other side's ink."""
    model = CNN(num_filters=2, activation="relu", seed=3)
    crop = np.arange(1, 28 * 28 + 1).reshape(28, 28).astype(np.uint8)
    wanted = model.predict(crop[None])[0]
    for axis, by in ((0, 1), (0, -1), (1, 1), (1, -1)):
        moved = np.roll(crop, by, axis)
        edge = 0 if by > 0 else -1
        moved[(edge, slice(None)) if axis == 0 else (slice(None), edge)] = 0
        wanted = wanted + model.predict(moved[None])[0]
    for crops in ([crop], [mnist.test_images[0], crop]):
        values, confidences = analyze.classify(model, crops)
        assert values[-1] == wanted.argmax()
        assert confidences[-1] == pytest.approx(wanted.max() / 5, rel=1e-5)
    assert [len(part) for part in analyze.classify(model, [])] == [0, 0]


def test_evaluate_agrees_with_what_is_read(run_analyze, tmp_path):
    """A manifest whose labels are partly what is read, partly not: the report is known in advance."""
    out, _, _ = run_analyze(SAMPLES / "shadow.jpg")
    read = out.strip()
    wrong = ("1" if read[0] != "1" else "2") + read[1:]
    for name in ("right.jpg", "wrong.jpg"):
        shutil.copy(SAMPLES / "shadow.jpg", tmp_path / name)
    with open(tmp_path / "set.tsv", "w", encoding="utf-8") as file:
        file.write(f"file\tlabel\tkind\nright.jpg\t{read}\tphoto\nwrong.jpg\t{wrong}\tscan\ngone.jpg\t123\tscan\n")
    out, err, status = run_analyze("--evaluate", tmp_path / "set.tsv", "--output", tmp_path / "sheet")
    assert status == 2
    assert one_line(err, "gone.jpg")
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line.strip()}
    digits = 2 * len(read) + 3
    assert rows["all"] == ["3", str(digits), f"{1 - 4 / digits:.1%}", "1/3", "=", "33.3%"]
    assert rows["photo"][-1] == "100.0%"
    assert f"{wrong[0]} read as {read[0]}: 1" in out
    assert "calibration error" in out
    assert (tmp_path / "sheet" / "failures.png").exists()


@pytest.mark.parametrize("content", ("", "file\tlabel\n", "file\tlabel\na.png\tnothing\n", "name\tdigits\na.png\t12\n"))
def test_bad_manifests_are_one_line(run_analyze, tmp_path, content):
    (tmp_path / "set.tsv").write_text(content)
    out, err, status = run_analyze("--evaluate", tmp_path / "set.tsv")
    assert (out, status) == ("", 2)
    assert one_line(err, "set.tsv")


# -- the shipped model ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def shipped():
    return analyze.load_model(analyze.DEFAULT_MODEL, "cpu")


def scored(manifest, model):
    rows = analyze.read_manifest(manifest)
    readings = analyze.read_pictures([manifest.parent / row["file"] for row in rows], model)
    return analyze.score_pictures(rows, readings)


def accuracy(scores):
    digits = sum(len(score.wanted) for score in scores)
    exact = sum(score.wanted == score.read for score in scores) / len(scores)
    return 1 - sum(score.wrong for score in scores) / digits, exact


def test_samples_are_read_without_an_error(shipped):
    scores = scored(SAMPLES / "manifest.tsv", shipped)
    assert len(scores) >= 10
    assert [(score.row["file"], score.read) for score in scores if score.wanted != score.read] == []
    for score in scores:
        assert "/".join(score.reading.lines()) == score.row["label"]


@pytest.mark.parametrize("held", ("upright", "turned"))
def test_a_large_jpeg_is_read_the_same_from_fewer_pixels(shipped, tmp_path, held):
    with Image.open(SAMPLES / "large.jpg") as picture:
        exif = Image.Exif()
        if held == "turned":
            exif[0x0112] = 6  # the camera lay on its side
            picture = picture.rotate(90, expand=True)
        picture.save(tmp_path / "large.jpg", exif=exif, quality=85)
    assert analyze.open_to_read(tmp_path / "large.jpg")[0].nbytes < 0.3 * 4000 * 3000 * 3
    (reading,) = analyze.read_pictures([tmp_path / "large.jpg"], shipped)
    assert reading.lines() == ["2236", "0679"]
    assert all(700 < digit.box[0] < 2600 and 200 < digit.box[3] < 320 for digit in reading.digits)


def test_samples_are_what_make_samples_makes(tmp_path):
    import make_samples

    make_samples.main(["--output", str(tmp_path)])
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in SAMPLES.iterdir()}
    assert (tmp_path / "manifest.tsv").read_bytes() == (SAMPLES / "manifest.tsv").read_bytes()
    for path in tmp_path.glob("*.[jp][pn]g"):
        with Image.open(path) as made, Image.open(SAMPLES / path.name) as kept:
            assert np.abs(np.asarray(made).astype(int) - np.asarray(kept)).mean() < 1


@pytest.mark.skipif(not PHOTOS.exists(), reason="the development photos are not here")
def test_photos(shipped, tmp_path):
    scores = scored(PHOTOS / "manifest.tsv", shipped)
    digit_accuracy, exact = accuracy(scores)
    assert digit_accuracy >= 0.96
    assert exact >= 0.84
    assert analyze.calibration(scores)[1] <= 0.05
    readings = tmp_path / "readings.tsv"
    with open(readings, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter="\t").writerows((score.row["file"], score.read) for score in scores)
    command = [sys.executable, PHOTOS / "score.py", PHOTOS / "manifest.tsv", readings]
    official = subprocess.run(command, capture_output=True, text=True, check=True, env=dict(os.environ)).stdout
    assert f"digit accuracy {100 * digit_accuracy:5.1f}%" in official.splitlines()[0]
    assert f"exact {round(exact * len(scores))}/{len(scores)}" in official.splitlines()[0]
