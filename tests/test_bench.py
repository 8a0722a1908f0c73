"""bench.py: what it computes, what it says, and a whole small run of it as a user would start it."""

import copy
import json
import os
import signal
import subprocess
import sys
import time

import matplotlib.pyplot as plt
import numpy as np
import pytest
from conftest import HAS_GPU, NO_SIMULATOR, ROOT
from invented_results import invented_results
from PIL import Image

import bench
from benchmark import agreement, charts, gpu_tables, machine, peers, report, rungs, tables, text, timing
from benchmark.rungs import LADDER, Settings, Trained
from cnn_jit import CNNJit
from errors import UserError
from model_file import Parameters
from network import LEARNING_RATE, Epoch, initial_parameters

# The same run on few images: an epoch of all 60,000 takes seconds on a CPU, and bench.py asks for many.
SMALL = """
import bench, functools
bench.FULL, bench.TESTS, bench.Settings = 300, 200, functools.partial(bench.Settings, repeats=2)
bench.run(bench.main)
"""
CHARTS = {"learning", "ladder", "batch_sizes"} | ({"blocks", "step"} if HAS_GPU else set())
ALL_RUNGS = [rung.name for rung in LADDER]
RESULTS = ROOT / "results" / "bench.json"
LADDER_BLOCK = f"{report.begin('ladder')}\nold\n{report.END}"


@pytest.fixture(scope="module")
def small_run(tmp_path_factory):
    """(folder, stdout, stderr) of one run of bench.py on 30 images, peers and all."""
    folder = tmp_path_factory.mktemp("bench")
    options = ["--epoch", "1", "--images", "30", "--filters", "2", "--batch-size", "16", "--peers", "--output", folder]
    command = [sys.executable, "-c", SMALL, *map(str, options)]
    done = subprocess.run(command, cwd=ROOT, env=NO_SIMULATOR, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder, done.stdout, done.stderr


def test_a_run_writes_whole_results(small_run):
    folder, printed, _ = small_run
    results = json.loads((folder / "bench.json").read_text())
    assert {path.name for path in folder.iterdir()} == {"bench.json"} | {f"{name}.png" for name in CHARTS}
    assert results["settings"]["images"] == 30 and results["settings"]["full_images"] == 300
    assert {"date", "gpu", "driver", "cpu", "cores", "versions"} <= set(results["machine"])
    names = [row["name"] for row in results["ladder"]]
    assert names == [name for name in ALL_RUNGS if name in names]
    assert names[:2] == ["plain Python", "Numba threads"] and (len(names) > 2) == HAS_GPU
    assert set(results["agreement"]["engines"]) == set(names[1:])
    for row in results["ladder"]:
        assert 0 < row["epoch_seconds"]["min"] <= row["epoch_seconds"]["median"] <= row["epoch_seconds"]["max"]
        assert row["images_per_second"] == pytest.approx(300 / row["epoch_seconds"]["median"])
        assert 0 <= row["accuracy_few"] <= 1
    sizes = [row["batch_size"] for row in results["batches"] if row["name"] == "Numba threads"]
    assert sizes == list(bench.BATCH_SIZES)
    first = results["first_steps"]
    assert sum(row["compiled_seconds"] for row in first) > sum(row["cached_seconds"] for row in first)
    assert [row["batch_size"] for row in results["fastest"]["epochs"]] == list(bench.LARGE_BATCHES)
    assert results["seconds"] and all(seconds >= 0 for seconds in results["seconds"].values())
    assert {row["block"] for row in results["blocks"]["kernels"]} == {"8x8", "16x16", "32x32"}
    assert report.all_tables(results) in printed


def test_a_run_says_what_it_left_out(small_run):
    folder, printed, _ = small_run
    left_out = json.loads((folder / "bench.json").read_text())["left_out"]
    assert all(line in printed and "\n" not in line for line in left_out)
    assert any("without a CUDA GPU" in line for line in left_out) == (not HAS_GPU)
    for name in peers.names(HAS_GPU):
        title = peers.PEERS[name].title
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
    assert all(row["registers"] > 0 and 0 < row["occupancy"] <= 1 for row in results["blocks"]["kernels"])
    assert len(results["step"]["kernels"]) == 11 and results["step"]["in_a_row"]["median"] > 0
    assert set(results["wrong_timing"]["wrong"]) == set(gpu_tables.MISTAKES)
    assert not [line for line in results["left_out"] if "block shapes" in line or "a step" in line or "wrong" in line]
    assert results["machine"]["gpu"] and results["card"]["multiprocessors"] > 0
    assert all(0 <= row["share"] <= 1 for row in results["copies"]) and results["copies"]
    assert results["card"]["floor"] is None or all(row["times_floor"] > 0 for row in results["ladder"][2:])


def trained(shift=0.0, loss=1.0, way=0.1):
    """A training that moved every parameter by `way`, and then one weight by `shift` of it too far."""
    moved = Parameters(*(array + np.float32(way) for array in initial_parameters(2, 0)))
    norm = np.linalg.norm(np.full(moved.weights.shape, way))
    moved.weights[5, 3] += np.float32(shift * norm)
    return Trained([Epoch(2.0, 0.5, 1.0), Epoch(loss, 0.9, 1.0)], moved, [1.0], 10)


def problems(other):
    return agreement.check({"plain Python": trained(), "other": other}, Settings(filters=2))[1]


def test_engines_that_agree_pass():
    assert problems(trained()) == []
    assert problems(trained(shift=agreement.TOLERANCE / 2, loss=1 + agreement.TOLERANCE / 2)) == []


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
    assert agreement.difference(start, start, start) == 0
    assert agreement.difference(moved, start, start) == float("inf")


def test_an_engine_that_learns_something_else_ends_the_run(monkeypatch, tmp_path, capsys):
    """main() with a threads engine whose weights are disturbed: one line, status 1, no times and no files."""

    class Disturbed(CNNJit):
        @property
        def parameters(self):
            learned = super().parameters
            learned.weights[:] *= np.float32(1.01)
            return learned

    wrong = LADDER[1]._replace(engine=Disturbed)
    monkeypatch.setattr(bench, "ladder", lambda num_filters: ([LADDER[0], wrong], []))
    monkeypatch.setattr(bench.first_step, "measure_all", lambda *_: [])
    assert bench.main(["--epoch", "1", "--images", "20", "--filters", "2", "--output", str(tmp_path / "out")]) == 1
    printed, errors = capsys.readouterr()
    assert printed == "" and not list((tmp_path / "out").iterdir())
    assert "Numba threads did not learn what plain Python learned" in errors.splitlines()[-1]


# What this machine allows.

GPU_SUBSETS = [(), ("naive",), ("naive", "layers"), ("naive", "layers", "graph"), ("naive", "layers", "epoch")]


@pytest.fixture
def gpu(monkeypatch):
    """A function that makes a GPU of this machine on which only these paths are possible."""

    def allow(*paths):
        monkeypatch.setattr(rungs, "SIMULATED", False)
        monkeypatch.setattr(rungs, "gpu_problem", lambda: None)
        problem = "{} cannot train {} filters here".format
        asked = rungs.cnn_gpu, "path_problem", lambda path, filters: None if path in paths else problem(path, filters)
        monkeypatch.setattr(*asked)

    return allow


def fake_training(monkeypatch):
    """bench.train takes no time: it gives a second an image for plain Python, and half as long with every rung."""

    def train(rung, data, settings, **_):
        count = len(data[0])
        return Trained([], initial_parameters(2, 0), [count / 2 ** LADDER.index(rung)] * settings.repeats, count)

    monkeypatch.setattr(bench, "train", train)


def test_every_rung_is_there_where_the_gpu_allows_all(gpu):
    gpu("naive", "layers", "graph", "epoch")
    assert rungs.ladder(8) == (list(LADDER), [])


@pytest.mark.parametrize("allowed", GPU_SUBSETS)
def test_a_rung_that_is_not_possible_is_left_out_and_told_of(gpu, allowed):
    gpu(*allowed)
    found, left_out = rungs.ladder(48)
    assert [rung.path for rung in found] == [None, None, *allowed]
    missing = [rung for rung in LADDER if rung not in found]
    assert left_out == [f"left out: {rung.name}: {rung.path} cannot train 48 filters here" for rung in missing]
    assert rungs.on_gpu(found) == found[2:]


def test_without_a_gpu_one_line_says_what_is_left_out(gpu, monkeypatch):
    gpu("naive", "layers", "graph", "epoch")
    for name, value, reason in (("gpu_problem", lambda: "no driver", "no driver"), ("SIMULATED", True, "simulator")):
        monkeypatch.setattr(rungs, name, value)
        found, (line,) = rungs.ladder(8)
        assert found == list(LADDER[:2]) and line.startswith("left out without a CUDA GPU") and reason in line


def some_data(count=20):
    images, labels = np.zeros((count, 28, 28), np.uint8), np.zeros(count, np.int32)
    return bench.Data((images, labels), (images, labels))


def test_the_fastest_is_the_one_that_was_measured_to_be_it(monkeypatch):
    fake_training(monkeypatch)
    monkeypatch.setattr(bench, "seconds_to_target", lambda *_: None)
    monkeypatch.setattr(bench, "test_accuracy", lambda *_: 0.9)
    seconds = {"plain Python": 9, "Numba threads": 3, "GPU naive": 1, "GPU layers": 2, "GPU graph": 4, "GPU epoch": 5}
    rows = [{"name": name, "epoch_seconds": {"median": value}} for name, value in seconds.items()]
    for available, fastest in ((LADDER, "GPU layers"), (LADDER[:2], "Numba threads"), (LADDER[:3], "Numba threads")):
        trainings = bench.Trainings(some_data(), Settings())
        found = bench.measure_fastest(available, rows, trainings, some_data(), Settings())
        assert found["name"] == fastest and len(found["epochs"]) == 3 and found["target"] is None


@pytest.mark.parametrize("allowed", GPU_SUBSETS)
def test_copies_and_blocks_are_measured_on_the_rungs_that_are_there(monkeypatch, gpu, allowed):
    fake_training(monkeypatch)
    gpu(*allowed)
    available, _ = rungs.ladder(2)
    rows = [{"name": rung.name, "epoch_seconds": {"median": 1.0}} for rung in available]
    found = bench.measure_copies(available, rows, some_data(), Settings(filters=2))
    cases = [f"{rung.name}: copied once" for rung in available if rung.path not in (None, "naive")]
    cases += ["GPU naive: every call copies"] if "layers" in allowed else []
    assert [row["case"].startswith(case) for row, case in zip(found, cases, strict=True)] == [True] * len(cases)
    assert all(0 <= row["share"] <= 1 for row in found)
    monkeypatch.setattr(bench.kernels, "block_rows", lambda *arguments: ([arguments], []))
    blocks = bench.measure_blocks(available, some_data(), Settings(filters=2), [])
    names = [rung.name for rung in available if rung.path in ("layers", "graph")]
    assert [row["name"] for row in blocks["epochs"]] == [name for name in names for _ in range(3)]
    assert (blocks["kernels"][0][3] is not None) == ("layers" in allowed), "without these kernels nothing is timed"


@pytest.mark.parametrize("allowed", GPU_SUBSETS)
def test_the_test_set_is_read_with_any_gpu_rung(gpu, allowed):
    class Reader:
        def __init__(self, *_, path=None):
            self.predict = self.read = len

    gpu(*allowed)
    available = [rung._replace(engine=Reader) for rung in rungs.ladder(2)[0]]
    names = [row["name"] for row in bench.measure_inference(available, some_data(), Settings())]
    on_gpu = ["GPU, images from the host", "GPU, images on the GPU"]
    assert names == ["plain Python", "Numba threads"] + (on_gpu if allowed else [])


@pytest.fixture(scope="module")
def all_results():
    """Results with every rung and every part in them."""
    return invented_results()


def only(names, results):
    """The results of a machine that allows only the rungs with these names."""
    results = copy.deepcopy(results)
    for part in ("learning", "ladder", "batches", "first_steps"):
        results[part] = [row for row in results[part] if row["name"] in names]
    results["copies"] = [row for row in results["copies"] if row["case"].split(":")[0] in names]
    if not any(name.startswith("GPU") for name in names):
        results["inference"] = [row for row in results["inference"] if not row["name"].startswith("GPU")]
        results["card"] = {"floor": None}
        results["step"] = results["wrong_timing"] = None
    results["blocks"]["epochs"] = [row for row in results["blocks"]["epochs"] if row["name"] in names]
    if results["step"]:
        results["step"]["rungs"] = {name: t for name, t in results["step"]["rungs"].items() if name in names}
        results["step"]["barrier"] = results["step"]["barrier"] if "GPU epoch" in names else None
    if "GPU layers" not in names:
        for row in results["blocks"]["kernels"]:
            row |= dict.fromkeys(("registers", "shared_bytes", "occupancy", "seconds"))
    for held in (results["agreement"]["engines"], *(row["seconds"] for row in results["small"])):
        for name in set(held) - set(names):
            del held[name]
    results["fastest"]["name"] = [name for name in names if name != "GPU naive"][-1]
    return results


@pytest.mark.parametrize("allowed", [*GPU_SUBSETS, ("layers", "epoch")])
def test_tables_and_charts_of_the_rungs_that_are_there(all_results, allowed):
    names = [rung.name for rung in LADDER if rung.path is None or rung.path in allowed]
    results = only(names, all_results)
    printed = report.all_tables(results)
    assert [name for name in ALL_RUNGS if name not in names and name in printed] == []
    assert all(f"| {name} " in printed for name in names) and " 0.00x" not in printed
    for draw in charts.charts_of(results).values():
        plt.close(draw(results))


def test_a_step_down_is_told_as_slower(all_results):
    row = next(line for line in tables.ladder_table(all_results).splitlines() if line.startswith("| GPU naive"))
    assert row.split("|")[3].strip() == "981x slower"
    assert "0.00x" not in report.all_tables(all_results)


@pytest.mark.parametrize(
    "factor, expected",
    [(8, "8.00x faster"), (1, "1.00x faster"), (0.1, "10.0x slower"), (0.00102, "980x slower"), (None, "")],
)
def test_steps_as_text(factor, expected):
    assert text.step_text(factor) == expected


def test_statistics():
    found = timing.summary([3.0, 1.0, 2.0, 10.0, 2.5])
    assert found == {"median": 2.5, "min": 1.0, "max": 10.0, "n": 5, "low": 2.0, "high": 3.0}
    assert timing.scaled(found, 2) == {"median": 5.0, "min": 2.0, "max": 20.0, "n": 5, "low": 4.0, "high": 6.0}


def test_two_times_differ_when_their_middle_halves_do():
    slow, fast = timing.summary([5, 6, 7, 8, 100]), timing.summary([1, 2, 3, 4, 99])
    assert timing.differ(slow, fast) and timing.differ(fast, slow), "a single slow sample does not hide it"
    assert not timing.differ(slow, slow) and not timing.differ(slow, timing.summary([4, 5, 6.5, 7, 8]))


def test_the_waiting_after_a_launch_is_not_timed():
    calls = []
    found = timing.time_launches(lambda: calls.append("launch"), 2, lambda: (calls.append("wait"), time.sleep(0.02)))
    assert found["n"] == 2 and found["max"] < 0.02 and calls == ["wait", "launch"] * 3 + ["wait"]


def test_the_first_call_is_not_timed():
    calls = []
    found = timing.time_calls(lambda: calls.append("call"), 3, lambda: calls.append("wait"))
    assert found["n"] == 3 and calls == ["wait", "call", "wait"] * 4


def test_the_floor_by_hand():
    # One filter: 676 places x 9 + 169 winners x 9 multiply-adds, and three dense products of 169 x 10.
    assert machine.flops_per_image(1) == 2 * (676 * 9 + 169 * 9 + 3 * 169 * 10)
    assert machine.flops_per_image(8) == 8 * machine.flops_per_image(1)
    card = {"peak_flops": 1e12, "bandwidth": 1e9, "barrier_seconds": 1e-6}
    found = machine.floor(card, images=1000, batch_size=64, filters=1)
    assert found["compute"] == pytest.approx(1000 * 25_350 / 1e12)
    assert found["memory"] == pytest.approx(1000 * 792 / 1e9)
    assert found["barriers"] == pytest.approx(2 * 16 * 1e-6)
    assert found["total"] == pytest.approx(found["memory"] + found["barriers"])
    assert machine.floor(card | {"bandwidth": None}, 1000, 64, 1) is None


def test_small_batches_learn_in_small_steps():
    assert rungs.learning_rate(64) == rungs.learning_rate(1024) == LEARNING_RATE
    assert rungs.learning_rate(16) == pytest.approx(LEARNING_RATE / 4)


@pytest.mark.parametrize(
    "seconds, expected",
    [
        (12.345, "12.3 s"),
        (1.0, "1.00 s"),
        (0.00834, "8.34 ms"),
        (1.3e-6, "1.30 µs"),
        (2e-8, "0.02 µs"),
        (1234, "1,234 s"),
    ],
)
def test_times_as_text(seconds, expected):
    assert text.seconds_text(seconds) == expected


def test_labels_are_moved_apart():
    assert charts.apart({"a": 10.0, "b": 9.0, "c": 100.0}, 2) == {"b": 9.0, "a": 18.0, "c": 100.0}


def test_tables_go_between_the_markers(small_run, tmp_path, script):
    """As a process that starts in another folder than that of bench.py."""
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{LADDER_BLOCK}\nbetween\n{report.begin('machine')}{report.END}\nafter\n")
    assert script("bench.py", "--readme", "README.md", "--output", small_run[0], cwd=tmp_path) == ("", "", 0)
    written = readme.read_text()
    assert written.startswith("before\n") and written.endswith("\nafter\n") and "old" not in written
    assert written.index("| plain Python") < written.index("\nbetween\n") < written.index("Measured ")
    assert written.count("<!-- bench:") == 4
    report.update_readme(readme, small_run[0] / "bench.json")
    assert readme.read_text() == written, "twice is the same as once"


def test_the_tables_in_the_readme_are_those_of_the_results():
    if json.loads(RESULTS.read_text())["format"] != report.FORMAT:
        pytest.skip(
            "results/bench.json is of an earlier bench.py: run `python bench.py --epoch 5` where there is a GPU"
        )
    text = (ROOT / "README.md").read_text()
    assert report.filled(text, report.load_results(RESULTS), "README.md") == text


def test_results_of_an_earlier_version_are_one_line(tmp_path, refused, all_results):
    readme = tmp_path / "README.md"
    readme.write_text(LADDER_BLOCK)
    (tmp_path / "bench.json").write_text(json.dumps(all_results | {"format": 1}))
    refused(("--readme", readme, "--output", tmp_path), tmp_path / "bench.json", "make it anew", "bench.py --epoch 5")
    assert readme.read_text() == LADDER_BLOCK


@pytest.mark.parametrize(
    "content, words",
    [
        ("no markers", "no markers"),
        ("<!-- bench:ladders --><!-- bench:end -->", "<!-- bench:ladders --> is unknown"),
        ("<!-- bench:end --><!-- bench:ladder -->", "ends nothing"),
        ("<!-- bench:ladder -->", "has no <!-- bench:end -->"),
        ("<!-- bench:ladder --><!-- bench:floor --><!-- bench:end -->", "before <!-- bench:floor -->"),
    ],
)
def test_wrong_markers_get_one_line_and_the_file_stays_as_it_is(tmp_path, refused, all_results, content, words):
    readme = tmp_path / "README.md"
    readme.write_text(content)
    (tmp_path / "bench.json").write_text(json.dumps(all_results))
    refused(("--readme", readme, "--output", tmp_path), readme, words)
    assert readme.read_text() == content


def test_every_section_can_be_a_block(all_results):
    empty = "\n".join(f"{report.begin(name)}{report.END}" for name in report.SECTIONS)
    text = report.filled(empty, all_results, "a file")
    assert [name for name, *_ in report.blocks_of(text, "a file")] == list(report.SECTIONS)
    assert report.filled(text, all_results, "a file") == text
    for section in report.SECTIONS.values():
        assert section(all_results) and section(all_results) in text


@pytest.fixture
def refused(in_process, one_line):
    """A function that runs bench.py with options that it must refuse in one line, and before it prints anything."""

    def check(options, *words):
        result = in_process("bench.py", *options)
        assert result[0] == ""
        one_line("bench.py", result, *words)

    return check


def test_results_that_cannot_be_read_get_one_line(tmp_path, refused):
    readme, results = tmp_path / "README.md", tmp_path / "bench.json"
    readme.write_text(LADDER_BLOCK)
    refused(("--readme", readme, "--output", tmp_path), results, "No such file")
    for content in ("{", "[]", "{}", json.dumps({"format": report.FORMAT})):
        results.write_text(content)
        with pytest.raises(UserError, match="not a result of bench.py"):
            report.update_readme(readme, results)


@pytest.mark.parametrize(
    "options",
    [
        ("--epoch", "0"), ("--epochs", "many"), ("--images", "0"), ("--images", "60001"), ("--batch-size", "0"),
        ("--filters", "0"), ("--seed", "-1"), ("--block", "8x8"),
    ],
)  # fmt: skip
def test_bad_options_get_one_line(options, refused):
    refused(options, options[0])


def test_an_output_that_is_a_file_is_refused_before_anything_is_measured(tmp_path, refused):
    (tmp_path / "taken").write_text("")
    refused(("--output", tmp_path / "taken"), tmp_path / "taken")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send to other processes")
def test_ctrl_c_ends_in_one_line_and_writes_nothing(tmp_path):
    """As a terminal does it, to every process of the group, here while others compile; none of them goes on.

    What runs in the background would ignore it.
    """
    printed = tmp_path / "stderr.txt"
    command = [sys.executable, str(ROOT / "bench.py"), "--output", str(tmp_path / "out")]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with printed.open("w") as stderr:
        process = subprocess.Popen(command, env=NO_SIMULATOR, stderr=stderr, start_new_session=True)
    try:
        deadline = time.monotonic() + 120
        while "compilation" not in printed.read_text() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(timeout=30) == 130
    finally:
        signal.signal(signal.SIGINT, before)
        process.kill()
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    assert printed.read_text().splitlines()[-1] == "interrupted; nothing was written"
    assert "Traceback" not in printed.read_text() and not list((tmp_path / "out").iterdir())


def test_a_peer_that_is_missing_fails_or_hangs_is_one_line(monkeypatch):
    job = peers.Job(1, 1, 16, 0.1, 2, 0, 50, 20)

    class Missing:
        library = "no_such_library"

    monkeypatch.setitem(peers.PEERS, "torch-cpu", peers.Peer(Missing, "cpu", "title"))
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
    network = CNNJit(3, "none", 5)
    history = network.fit(*(part[:200] for part in data.train), 2, 16, 0.1)
    assert found["loss"] == pytest.approx(history[-1].loss, rel=1e-4)
    assert found["test_accuracy"] == pytest.approx(network.evaluate(*(part[:100] for part in data.test))[1], abs=0.011)
    assert len(found["epoch_seconds"]) == 1 and min(found["epoch_seconds"] + found["reading_seconds"]) > 0
