"""bench.py: what it computes, what it says, and a whole small run of it as a user would start it."""

import json
import os
import subprocess
import sys

import bench_report
import numpy as np
import peers
import pytest
from conftest import HAS_GPU, ROOT
from PIL import Image

import bench
from errors import UserError
from network import Epoch, Parameters, initial_parameters

# The same run on few images: an epoch of all 60,000 takes seconds on a CPU, and bench.py asks for many.
SMALL = "import bench; bench.FULL, bench.TESTS, bench.REPEATS = 300, 200, 2; bench.run(bench.main)"
CHARTS = {"epoch_time", "learning", "ladder", "batch_sizes"} | ({"blocks"} if HAS_GPU else set())


@pytest.fixture(scope="module")
def small_run(tmp_path_factory):
    """(folder, stdout, stderr) of one run of bench.py on 30 images, peers and all."""
    folder = tmp_path_factory.mktemp("bench")
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_ENABLE_CUDASIM"}
    options = ["--epoch", "1", "--images", "30", "--filters", "2", "--batch-size", "16", "--peers", "--output", folder]
    command = [sys.executable, "-c", SMALL, *map(str, options)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder, done.stdout, done.stderr


def test_a_run_writes_whole_results(small_run):
    folder, printed, _ = small_run
    results = json.loads((folder / "bench.json").read_text())
    assert {path.name for path in folder.iterdir()} == {"bench.json"} | {f"{name}.png" for name in CHARTS}
    assert results["settings"]["images"] == 30 and results["settings"]["full_images"] == 300
    assert {"date", "gpu", "driver", "cpu", "cores", "versions"} <= set(results["machine"])
    rungs = [row["name"] for row in results["ladder"]]
    assert rungs == [rung.name for rung in bench.LADDER if rung.name in rungs]
    assert rungs[:2] == ["plain Python", "Numba threads"] and (len(rungs) > 2) == HAS_GPU
    assert set(results["agreement"]["engines"]) == set(rungs[1:])
    for row in results["ladder"]:
        assert 0 < row["epoch_seconds"]["min"] <= row["epoch_seconds"]["median"] <= row["epoch_seconds"]["max"]
        assert row["images_per_second"] == pytest.approx(300 / row["epoch_seconds"]["median"])
        assert 0 <= row["accuracy_few"] <= 1
    sizes = [row["batch_size"] for row in results["batches"] if row["name"] == "Numba threads"]
    assert sizes == list(bench.BATCH_SIZES)
    first = results["first_steps"]
    assert sum(row["compiled_seconds"] for row in first) > sum(row["cached_seconds"] for row in first)
    assert [row["batch_size"] for row in results["fastest"]["epochs"]] == list(bench.LARGE_BATCHES)
    assert bench_report.tables(results) in printed


def test_a_run_says_what_it_left_out(small_run):
    folder, printed, _ = small_run
    left_out = json.loads((folder / "bench.json").read_text())["left_out"]
    assert all(line in printed and "\n" not in line for line in left_out)
    assert any("without a CUDA GPU" in line for line in left_out) == (not HAS_GPU)
    for name in peers.names(HAS_GPU):
        title = peers.PEERS[name][2]
        assert title in printed, "a peer is in the tables, or in a line that says why not"


def test_a_run_shows_progress_and_no_traceback(small_run):
    errors = small_run[2]
    assert "plain Python" in errors and "100%" in errors and "Traceback" not in errors


@pytest.mark.parametrize("name", sorted(CHARTS))
def test_every_chart_is_a_picture_with_something_on_it(small_run, name):
    with Image.open(small_run[0] / f"{name}.png") as opened:
        picture = opened.convert("RGB")
    pixels = np.asarray(picture)
    assert pixels.shape[0] > 500 and pixels.shape[1] > 1000
    assert 0.01 < (pixels != 255).any(axis=2).mean() < 0.9
    assert len(picture.getcolors(pixels.size)) > 20
    # Nothing is cut off: the picture's edge is white.
    edges = pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]
    assert all((edge == 255).all() for edge in edges)


@pytest.mark.skipif(not HAS_GPU, reason="needs a CUDA GPU")
def test_a_run_on_a_gpu_measures_the_gpu(small_run):
    results = json.loads((small_run[0] / "bench.json").read_text())
    assert [row["block"] for row in results["blocks"]] == ["8x8", "16x16", "32x32"]
    assert results["machine"]["gpu"] and results["card"]["multiprocessors"] > 0
    assert all(0 <= row["share"] <= 1 for row in results["copies"]) and results["copies"]
    assert results["card"]["floor"] is None or all(row["times_floor"] > 0 for row in results["ladder"][2:])


def trained(shift=0.0, loss=1.0, way=0.1):
    """A training that moved every parameter by `way`, and then one weight by `shift` of it too far."""
    moved = Parameters(*(array + np.float32(way) for array in initial_parameters(2, 0)))
    norm = np.linalg.norm(np.full(moved.weights.shape, way))
    moved.weights[5, 3] += np.float32(shift * norm)
    return bench.Trained([Epoch(2.0, 0.5, 1.0), Epoch(loss, 0.9, 1.0)], moved, [1.0], 10)


def problems(other):
    rungs = {"plain Python": trained(), "other": other}
    return bench.check(rungs, bench.Settings(filters=2))[1]


def test_engines_that_agree_pass():
    assert problems(trained()) == []
    assert problems(trained(shift=bench.TOLERANCE / 2, loss=1 + bench.TOLERANCE / 2)) == []


@pytest.mark.parametrize("shift, loss", [(2e-3, 1.0), (0.0, 1.002), (float("nan"), 1.0), (0.0, float("nan"))])
def test_engines_that_disagree_do_not_pass(shift, loss):
    (line,) = problems(trained(shift, loss))
    assert line.startswith("other did not learn what plain Python learned") and "\n" not in line


def test_a_filter_that_is_wrong_is_not_hidden_by_thousands_of_weights():
    wrong = trained()
    wrong.parameters.filters[1, 2, 2] += np.float32(0.01)
    assert problems(wrong)


def test_a_parameter_that_should_not_move_must_not():
    start = initial_parameters(2, 0)
    moved = Parameters(start.filters, start.filter_biases + np.float32(1e-3), start.weights, start.biases)
    assert bench.difference(start, start, start) == 0
    assert bench.difference(moved, start, start) == float("inf")


def test_an_engine_that_learns_something_else_ends_the_run(monkeypatch, tmp_path, capsys):
    """main() with a threads engine whose weights are disturbed: one line, status 1, no times and no files."""

    class Disturbed(bench.CNNJit):
        @property
        def parameters(self):
            learned = super().parameters
            learned.weights[:] *= np.float32(1.01)
            return learned

    wrong = bench.LADDER[1]._replace(engine=Disturbed)
    monkeypatch.setattr(bench, "ladder", lambda: ([bench.LADDER[0], wrong], []))
    assert bench.main(["--epoch", "1", "--images", "20", "--filters", "2", "--output", str(tmp_path / "out")]) == 1
    printed, errors = capsys.readouterr()
    assert printed == "" and not list((tmp_path / "out").iterdir())
    assert "Numba threads did not learn what plain Python learned" in errors.splitlines()[-1]


def test_statistics():
    found = bench.summary([3.0, 1.0, 2.0, 10.0, 2.5])
    assert found == {"median": 2.5, "min": 1.0, "max": 10.0, "n": 5}
    assert bench.scaled(found, 2) == {"median": 5.0, "min": 2.0, "max": 20.0, "n": 5}


def test_the_first_call_is_not_timed():
    calls = []
    found = bench.time_calls(lambda: calls.append("call"), 3, lambda: calls.append("wait"))
    assert found["n"] == 3 and calls == ["wait", "call", "wait"] * 4


def test_the_floor_by_hand():
    # One filter: 676 places x 9 + 169 winners x 9 multiply-adds, and three dense products of 169 x 10.
    assert bench.flops_per_image(1) == 2 * (676 * 9 + 169 * 9 + 3 * 169 * 10)
    assert bench.flops_per_image(8) == 8 * bench.flops_per_image(1)
    card = {"peak_flops": 1e12, "bandwidth": 1e9, "barrier_seconds": 1e-6}
    found = bench.floor(card, images=1000, batch_size=64, filters=1)
    assert found["compute"] == pytest.approx(1000 * 25_350 / 1e12)
    assert found["memory"] == pytest.approx(1000 * 792 / 1e9)
    assert found["barriers"] == pytest.approx(2 * 16 * 1e-6)
    assert found["total"] == pytest.approx(found["memory"] + found["barriers"])
    assert bench.floor(card | {"bandwidth": None}, 1000, 64, 1) is None


def test_small_batches_learn_in_small_steps():
    assert bench.learning_rate(64) == bench.learning_rate(1024) == bench.LEARNING_RATE
    assert bench.learning_rate(16) == pytest.approx(bench.LEARNING_RATE / 4)


@pytest.mark.parametrize(
    "seconds, text",
    [
        (12.345, "12.3 s"),
        (1.0, "1.00 s"),
        (0.00834, "8.34 ms"),
        (1.3e-6, "1.30 µs"),
        (2e-8, "0.02 µs"),
        (1234, "1,234 s"),
    ],
)
def test_times_as_text(seconds, text):
    assert bench_report.seconds_text(seconds) == text


def test_labels_are_moved_apart():
    assert bench_report.apart({"a": 10.0, "b": 9.0, "c": 100.0}, 2) == {"b": 9.0, "a": 18.0, "c": 100.0}


def test_tables_go_between_the_markers(small_run, tmp_path, script):
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{bench_report.BEGIN}\nold\n{bench_report.END}\nafter\n")
    for _ in range(2):  # twice is the same as once
        assert script("bench.py", "--readme", readme, "--output", small_run[0])[1:] == ("", 0)
    text = readme.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text
    assert "| plain Python" in text and text.count(bench_report.BEGIN) == text.count(bench_report.END) == 1


def test_the_tables_in_the_readme_are_those_of_the_results():
    readme, results = ROOT / "README.md", ROOT / "results" / "bench.json"
    if not readme.exists() or not results.exists() or bench_report.BEGIN not in readme.read_text():
        pytest.skip("the README holds no tables")
    assert bench_report.tables(json.loads(results.read_text())) in readme.read_text()


def one_line(found, status, *parts):
    printed, errors, code = found
    assert code == status and printed == "" and errors.count("\n") == 1
    assert all(part in errors for part in parts), errors


def test_a_readme_without_markers_gets_one_line_and_stays_as_it_is(small_run, tmp_path, script):
    readme = tmp_path / "README.md"
    readme.write_text("no markers")
    one_line(script("bench.py", "--readme", readme, "--output", small_run[0]), 2, str(readme), "markers")
    assert readme.read_text() == "no markers"
    readme.write_text(f"{bench_report.END} {bench_report.BEGIN}")
    with pytest.raises(UserError, match="markers"):
        bench_report.update_readme(readme, small_run[0] / "bench.json")


def test_results_that_cannot_be_read_get_one_line(tmp_path, script):
    readme, results = tmp_path / "README.md", tmp_path / "bench.json"
    readme.write_text(f"{bench_report.BEGIN}{bench_report.END}")
    one_line(script("bench.py", "--readme", readme, "--output", tmp_path), 2, str(results), "No such file")
    for content in ("{", "[]", "{}"):
        results.write_text(content)
        with pytest.raises(UserError, match="not a result of bench.py"):
            bench_report.update_readme(readme, results)


@pytest.mark.parametrize(
    "options",
    [
        ("--epoch", "0"), ("--epochs", "many"), ("--images", "0"), ("--images", "60001"), ("--batch-size", "0"),
        ("--filters", "0"), ("--seed", "-1"), ("--block", "8x8"),
    ],
)  # fmt: skip
def test_bad_options_get_one_line(options, capsys):
    with pytest.raises(SystemExit) as left:
        bench.parse(options)
    one_line((*capsys.readouterr(), left.value.code), 2, "error", options[0])


def test_an_output_that_is_a_file_is_refused_before_anything_is_measured(tmp_path, script):
    (tmp_path / "taken").write_text("")
    one_line(script("bench.py", "--output", tmp_path / "taken"), 2, str(tmp_path / "taken"))


def test_a_peer_that_is_missing_fails_or_hangs_is_one_line(monkeypatch):
    job = peers.Job(1, 1, 16, 0.1, 2, 0, 50, 20)

    class Missing:
        library = "no_such_library"

    monkeypatch.setitem(peers.PEERS, "torch-cpu", (Missing, "cpu", "title"))
    found = {"stderr": "ModuleNotFoundError: No module named 'no_such_library'", "stdout": "", "returncode": 1}
    monkeypatch.setattr(peers.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], **found))
    assert peers.measure_apart("torch-cpu", job) == {"problem": "no_such_library is not installed"}
    found |= {"stderr": "Traceback\nRuntimeError: out of memory", "returncode": 1}
    assert peers.measure_apart("torch-cpu", job) == {"problem": "RuntimeError: out of memory"}
    found |= {"stderr": "", "returncode": -11}
    assert peers.measure_apart("torch-cpu", job) == {"problem": "ended with status -11"}

    def hang(*_, **__):
        raise subprocess.TimeoutExpired("peer", peers.TIMEOUT)

    monkeypatch.setattr(peers.subprocess, "run", hang)
    assert "more than" in peers.measure_apart("torch-cpu", job)["problem"]


@pytest.mark.parametrize("name, library", [("torch-cpu", "torch"), ("jax-cpu", "jax")])
def test_a_peer_learns_what_the_engines_learn(name, library):
    pytest.importorskip(library)
    job = peers.Job(
        epochs=2, repeats=1, batch_size=16, learning_rate=0.1, filters=3, seed=5, images=200, test_images=100
    )
    found = peers.measure_apart(name, job)
    data = bench.load_data()
    network = bench.CNNJit(3, "none", 5)
    history = network.fit(*(part[:200] for part in data.train), 2, 16, 0.1)
    assert found["loss"] == pytest.approx(history[-1].loss, rel=1e-4)
    assert found["test_accuracy"] == pytest.approx(network.evaluate(*(part[:100] for part in data.test))[1], abs=0.011)
    assert len(found["epoch_seconds"]) == 1 and min(found["epoch_seconds"] + found["reading_seconds"]) > 0
