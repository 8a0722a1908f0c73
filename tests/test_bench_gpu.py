"""What bench.py says about the GPU itself: kernels one by one, block shapes, parts of a step, wrong ways to time."""

import copy
import subprocess
import sys

import numpy as np
import pytest
from conftest import HAS_GPU, NO_SIMULATOR, ROOT
from invented_results import invented_results, times

import bench
import layer_check
from benchmark import block_shapes, first_step, gpu_tables, kernels, report, tables, wrong_timing
from benchmark.chart_style import COLOURS
from benchmark.charts import charts_of
from benchmark.rungs import LADDER, Settings
from cnn_jit import CNNJit
from figure_style import plt
from gpu_launch import BLOCK_SHAPES


@pytest.fixture
def few_launches(monkeypatch):
    """In the simulator a launch takes a second, so each is made once or twice."""
    if not HAS_GPU:
        for module, name in ((layer_check, "LAUNCHES"), (layer_check, "REPLAYS"), (kernels, "STEPS")):
            monkeypatch.setattr(module, name, 1)
        monkeypatch.setattr(kernels, "recorded_seconds", lambda launch, *_: layer_check.recorded_seconds(launch, 1, 1))


# -- the kernels ------------------------------------------------------------------------------------------------------


def test_the_step_is_the_step_that_trains(mnist):
    """All kernels one after the other change the weights as an epoch of one step does."""
    images, labels = mnist.train_images[:2], mnist.train_labels[:2]
    step = kernels.Step(images, labels, 2, filters=1, seed=4, block=(8, 8), learning_rate=0.2)
    step()
    wanted = CNNJit(1, "none", 4)
    wanted.fit(images, labels, 1, 2, 0.2)
    np.testing.assert_allclose(step.filters.copy_to_host(), wanted.parameters.filters, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(step.weights.copy_to_host().T, wanted.parameters.weights, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(step.biases.copy_to_host(), wanted.parameters.biases, rtol=1e-4, atol=1e-6)


def test_the_step_has_the_kernels_of_the_rung(monkeypatch, mnist):
    """In its order, with its grids and blocks: what the layers launch is listened to, and not run."""
    import conv_gpu
    import layers_gpu
    import pool_gpu
    from cnn_gpu import CNNGPU

    heard = []

    class Heard:
        def __init__(self, name):
            self.name = name

        def __getitem__(self, shape):
            return lambda *_: heard.append((self.name, shape[0], shape[1]))

    network = CNNGPU(3, block=(32, 32), path="layers")
    for module, names in (
        (conv_gpu, ("conv3x3_forward", "conv3x3_backward", "conv3x3_update")),
        (pool_gpu, ("maxpool2_forward", "maxpool2_backward")),
        (layers_gpu, ("gather_batch",)),
    ):
        for name in names:
            monkeypatch.setattr(module, name, Heard(name))
    import softmax_gpu

    monkeypatch.setattr(softmax_gpu, "dense_update", Heard("dense_update"))
    network.softmax._forward, network.softmax._backward = Heard("dense_forward"), Heard("dense_backward")
    network.softmax._cross_entropy = Heard("softmax_cross_entropy")
    rung = layers_gpu.LayersRung(network, mnist.train_images[:40], mnist.train_labels[:40])
    rung.train_epoch(np.arange(40, dtype=np.int32), 40, 0.1, lambda *_: None)

    def padded(shape):
        shape = shape if isinstance(shape, tuple) else (shape,)
        return (*shape, 1, 1)[:3]

    forms = list(kernels.forms_of_step(40, 3, (32, 32)).values())
    assert forms.pop().kernel == "advance", "which only the recording of a step needs"
    wanted = [(form.kernel, padded(form.grid), form.block) for form in forms]
    assert [(name, padded(blocks), block) for name, blocks, block in heard] == wanted


def test_threads_and_their_useful_share():
    rows = {(row["kernel"], row["block"]): row for row in kernels.block_rows(BLOCK_SHAPES, 64, 8)[0]}
    for shape in ("8x8", "16x16", "32x32"):
        row = rows["conv3x3_forward", shape]
        assert (row["threads"], row["for"]) == (1024, "image") and row["useful"] == pytest.approx(676 / 1024)
    assert rows["maxpool2_forward", "16x16"]["threads"] == 256
    assert rows["maxpool2_forward", "32x32"]["threads"] == 1024
    assert rows["maxpool2_forward", "32x32"]["useful"] == pytest.approx(0.165, abs=5e-4)
    assert (rows["conv3x3_update", "8x8"]["threads"], rows["conv3x3_update", "8x8"]["for"]) == (80 * 64, "step")
    assert {row["seconds"] for row in rows.values()} == {None}, "without a GPU nothing is timed"


def test_occupancy_is_what_fits_of_the_most(monkeypatch):
    """A multiprocessor that holds 2,048 threads, and a kernel of which three blocks of 16x16 fit on one."""

    class Compiled:
        regs_per_thread, shared_mem_per_block = 80, 4096

        @staticmethod
        def max_cooperative_grid_blocks(block):
            assert block == (16, 16)
            return 3 * 132

    class Device:
        MULTIPROCESSOR_COUNT, MAX_THREADS_PER_MULTIPROCESSOR = 132, 2048

    class Kernel:
        overloads = {("other",): None, ("int",): Compiled}

        @staticmethod
        def typeof_pyval(value):
            return type(value).__name__

    monkeypatch.setattr(kernels.cuda, "get_current_device", Device)
    launch = kernels.Launch(kernels.forms_of_step(64, 8)["conv3x3_forward"], Kernel, (1,))
    assert kernels.needs(launch) == {"registers": 80, "shared_bytes": 4096, "occupancy": 3 * 8 / 64}


def test_kernels_are_timed(monkeypatch, few_launches, mnist):
    monkeypatch.setattr(kernels, "FREE", ("maxpool2_forward", "conv3x3_update"))
    if not HAS_GPU:  # the simulator has no compiler to ask
        monkeypatch.setattr(kernels, "needs", lambda _: {"registers": 1, "shared_bytes": 0, "occupancy": 1})
    data = mnist.train_images[:1], mnist.train_labels[:1]
    rows, problems = kernels.block_rows([(8, 8)], 1, 1, data)
    assert [row["kernel"] for row in rows] == ["maxpool2_forward", "conv3x3_update"] and not problems
    assert all(row["seconds"]["median"] > 0 and row["registers"] > 0 for row in rows)

    def silent(_):
        raise AttributeError("no such thing")

    monkeypatch.setattr(kernels, "needs", silent)
    rows, problems = kernels.block_rows([(8, 8)], 1, 1, data)
    assert problems == ["left out: registers and occupancy: AttributeError: no such thing"]
    assert all(row["seconds"]["median"] > 0 and row["registers"] is None for row in rows), "the times are there"


# -- block shapes -----------------------------------------------------------------------------------------------------


def rows_of(**kernels_seconds):
    """Rows of kernels, each with the times of 8x8, 16x16 and 32x32."""
    return [
        {"kernel": name, "block": block, "threads": 1, "useful": 1, "seconds": times(seconds, spread=0.02)}
        for name, all_seconds in kernels_seconds.items()
        for block, seconds in zip(("8x8", "16x16", "32x32"), all_seconds, strict=True)
    ]


def test_every_pair_of_shapes_is_compared():
    rows = rows_of(one=(1, 1.001, 2), other=(3, 2, 1))
    pairs, compared = block_shapes.compare(rows, "kernel")
    assert compared == 6
    assert {(p.what, p.fast, p.slow) for p in pairs} == {
        ("one", "8x8", "32x32"), ("one", "16x16", "32x32"),
        ("other", "16x16", "8x8"), ("other", "32x32", "8x8"), ("other", "32x32", "16x16"),
    }  # fmt: skip
    assert block_shapes.winners(rows) == {"one": None, "other": "32x32"}


def test_a_title_never_says_that_shapes_do_not_matter_when_two_differ():
    """The fastest two are as fast, and the third is not: that is a difference."""
    assert "32x32" in block_shapes.title({"kernels": rows_of(one=(1, 1.001, 2))})
    assert "no clear difference" in block_shapes.title({"kernels": rows_of(one=(1, 1.001, 1.002))})


def test_a_difference_that_matters_to_nobody_is_none():
    """However exactly it was measured."""
    rows = rows_of(one=(1, 1.02, 1.03 * 1.02))
    for row in rows:
        row["seconds"] |= dict.fromkeys(("low", "high", "min", "max"), row["seconds"]["median"])
    pairs, compared = block_shapes.compare(rows, "kernel")
    assert compared == 3 and {(p.fast, p.slow) for p in pairs} == {("8x8", "32x32"), ("16x16", "32x32")}


def test_what_the_conclusion_says(monkeypatch):
    blocks = copy.deepcopy(invented_results()["blocks"])
    said = block_shapes.conclusion(blocks)
    assert "conv3x3_forward launches 1,024 threads an image with every shape, of which 66 % have work." in said
    assert "1,024 with 32x32 (16.5 %)" in said
    assert "The shape of a block matters most in conv3x3_backward: 32x32 takes 5.46 times as long as 8x8." in said
    assert "For an epoch of GPU layers no two shapes differ clearly." in said
    assert "An epoch of GPU graph with 8x8 is 1.95x as fast as with 32x32." in said
    for row in blocks["kernels"]:
        row["seconds"] = None
    assert "differ" not in block_shapes.conclusion(blocks | {"epochs": []}), "nothing was timed"


def test_a_table_has_the_times_where_the_driver_tells_no_registers():
    blocks = invented_results()["blocks"]
    for row in blocks["kernels"]:
        row |= dict.fromkeys(("registers", "shared_bytes", "occupancy"))
    table = gpu_tables.blocks_table({"blocks": blocks})
    assert "|         - |         - | 6.70 µs" in table and "None" not in table


def test_a_table_without_a_gpu_has_what_can_be_computed():
    blocks = {"batch_size": 64, "kernels": kernels.block_rows(BLOCK_SHAPES, 64, 8)[0], "epoch_images": 1, "epochs": []}
    table = gpu_tables.blocks_table({"blocks": blocks})
    assert "1,024 an image |      66 % |         - |" in table
    assert "they need a GPU" in table and "None" not in table
    assert "blocks" not in charts_of(invented_results() | {"blocks": blocks})


# -- a step -----------------------------------------------------------------------------------------------------------


def test_a_step_is_measured(monkeypatch, few_launches, mnist):
    class OneKernel(kernels.Step):
        def __init__(self, *arguments):
            super().__init__(*arguments, block=(8, 8))
            self.launches = {"maxpool2_forward": self.launches["maxpool2_forward"]}

    monkeypatch.setattr(bench.kernels, "Step", OneKernel)
    monkeypatch.setattr(bench, "recorded_seconds", kernels.recorded_seconds)
    monkeypatch.setattr(bench, "time_launches", lambda launch, **_: launch() and times(1))
    monkeypatch.setattr(bench.machine, "barrier_seconds", lambda blocks, threads: blocks * 1e-6)
    data = bench.Data((mnist.train_images[:1], mnist.train_labels[:1]), None)
    results = {key: invented_results()[key] for key in ("ladder", "copies", "card")}
    step = bench.measure_step(list(LADDER), results, data, Settings(batch_size=1, filters=1))
    assert [row["name"] for row in step["kernels"]] == ["maxpool2_forward"] and step["in_a_row"]["median"] > 0
    assert step["rungs"]["GPU epoch"] == pytest.approx(0.00583 / bench.FULL) and "plain Python" not in step["rungs"]
    assert step["barrier"]["seconds"] == pytest.approx(step["barrier"]["blocks"] * 1e-6)
    assert step["floor"]["total"] == pytest.approx(2.54e-3 / bench.FULL) and step["copies"] == 0.816


def test_what_the_table_of_a_step_says():
    table = gpu_tables.step_table(invented_results())
    assert "two barriers over 132 blocks 2.70 µs (timed alone), learn and update 3.52 µs" in table
    assert "GPU layers saves 99.6 % of the time of GPU naive; GPU graph saves 79 %" in table
    assert "GPU epoch takes 2.30 times the floor." in table
    assert "conv3x3_backward and dense_update take 46 % of the sum." in table


def test_a_rung_that_saves_nothing_is_told_of():
    results = invented_results()
    results["step"]["rungs"] = {"GPU layers": 1e-3, "GPU graph": 2e-3}
    assert "GPU graph saves nothing against GPU layers." in gpu_tables.step_table(results)
    for draw in charts_of(results).values():
        plt.close(draw(results))


# -- wrong ways to time -----------------------------------------------------------------------------------------------


def test_three_wrong_times_and_the_right_one(monkeypatch, mnist):
    if not HAS_GPU:  # the simulator compiles nothing
        monkeypatch.setattr(wrong_timing, "first_call", lambda launch: times(1))
        monkeypatch.setattr(wrong_timing, "time_calls", lambda call, *_, **__: call() or times(1))
        monkeypatch.setattr(wrong_timing, "time_launches", lambda call, **_: call() or times(1))
    found = wrong_timing.measure(mnist.train_images[: 500 if HAS_GPU else 1], 1)
    assert set(found["wrong"]) == set(gpu_tables.MISTAKES)
    if HAS_GPU:
        assert found["wrong"]["copied"]["median"] > found["right"]["median"]
        assert found["wrong"]["compiled"]["median"] > 10 * found["right"]["median"]


def test_the_table_says_in_which_direction_a_time_is_wrong():
    table = gpu_tables.wrong_timing_table(invented_results())
    assert "19.7x too short" in table and "184x too long" in table
    assert "Furthest off, by 738 times: the first call is timed." in table


# -- the run ----------------------------------------------------------------------------------------------------------


def test_a_measurement_that_fails_costs_itself_and_one_line():
    run = bench.Run([])

    def fail():
        raise RuntimeError("the driver\nsays no")

    assert run.attempt("a step", fail) is None and run.attempt("one", lambda: 1) == 1
    assert run.left_out == ["left out: a step: RuntimeError: the driver says no"]
    assert list(run.seconds) == ["one"]
    with pytest.raises(RuntimeError):
        run.take("ladder", fail)


@pytest.mark.parametrize("missing", ["blocks", "step", "wrong_timing"])
def test_tables_and_charts_do_without_what_failed(missing):
    results = invented_results() | {missing: None}
    assert bench.all_tables(results)
    for draw in charts_of(results).values():
        plt.close(draw(results))


def test_what_is_trained_once_serves_every_table(monkeypatch):
    trained = []
    monkeypatch.setattr(bench, "train", lambda rung, data, *_, **options: trained.append((rung, len(data[0]), options)))
    images = np.zeros((20, 28, 28), np.uint8), np.zeros(20, np.int32)
    trainings = bench.Trainings(bench.Data(images, images), Settings(epochs=7))
    for _ in range(2):
        trainings.get(LADDER[3])
        trainings.get(LADDER[3], 64, 1000)  # more images than there are: all of them, as above
        trainings.get(LADDER[3], 16)
        trainings.get(LADDER[3], 4, images=5)
        trainings.get(LADDER[3], images=5)  # served by that of all images
    assert [(count, one["epochs"], one["batch_size"]) for _, count, one in trained] == [
        (20, 7, 64), (20, 7, 16), (5, 1, 4)
    ]  # fmt: skip


def test_kernels_are_compiled_before_they_are_timed(monkeypatch):
    """Every rung's, and for `epoch` those of every batch size; without a GPU there is nothing to compile ahead."""
    compiled = []
    monkeypatch.setattr(first_step, "measure_apart", lambda name: {"name": name})
    monkeypatch.setattr(first_step, "compile_apart", lambda *job: compiled.append(job))
    timed = first_step.measure_all(LADDER, [1, 256], Settings(filters=3))
    assert [row["name"] for row in timed] == ["Numba threads", "GPU layers", "GPU graph", "GPU epoch"]
    assert sorted(compiled) == [
        ("GPU epoch", 1, 3), ("GPU epoch", 256, 3), ("GPU graph", 64, 3), ("GPU layers", 64, 3), ("GPU naive", 64, 3),
        ("Numba threads", 64, 3),
    ]  # fmt: skip
    compiled.clear()
    assert first_step.measure_all(LADDER[:2], [1], Settings()) == [{"name": "Numba threads"}] and not compiled


def test_kernels_that_are_compiled_ahead_are_kept(tmp_path):
    """The process that does it, as a run of bench.py starts it."""
    command = [sys.executable, "-m", "benchmark.first_step", "Numba threads", "4", "2"]
    environment = NO_SIMULATOR | {"NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert list(tmp_path.rglob("*.nbc"))


# -- what is said -----------------------------------------------------------------------------------------------------


def test_the_headline_names_the_threads_first():
    results = invented_results()
    said = tables.headline(results)
    assert said.index("18.2x as fast as compiled code on 16 threads") < said.index("as fast as a loop in plain Python")
    results["ladder"][1]["epoch_seconds"] = times(0.002)
    assert "slower than compiled code on 16 threads" in tables.headline(results)
    results["ladder"] = results["ladder"][:2]
    assert tables.headline(results).startswith("Compiled, on 16 threads of the CPU, an epoch of 60,000 images takes")


def test_from_which_batch_size_on_the_gpu_wins():
    results = invented_results()
    assert "GPU layers is faster than Numba threads from batch size 1,024 on." in tables.batches_said(results)
    for row in results["batches"]:
        if row["name"] == "GPU graph":
            row["image_seconds"] = times(1e-9 if row["batch_size"] in (4, 64) else 1)
        elif row["name"] == "GPU epoch":
            row["image_seconds"] = times(1)
    said = tables.batches_said(results)
    assert "GPU graph is faster than Numba threads at batch size 4 and 64." in said
    assert "GPU epoch is slower than Numba threads at every batch size." in said


def test_the_conclusion_is_made_of_sentences_of_the_tables():
    results = invented_results()
    facts = report.conclusion(results).splitlines()
    assert len(facts) == 7 and all(fact.startswith("- ") and fact.endswith(".") for fact in facts)
    everything = bench.all_tables(results | {"left_out": []})
    assert all(everything.count(fact[2:]) >= 2 for fact in facts), "each stands under its table too"


# -- colours ----------------------------------------------------------------------------------------------------------


def test_colours_differ_for_those_who_do_not_see_red_or_green():
    """Vienot, Brettel, Mollon 1999: both see one colour in place of red and green, and blue as it is."""

    def seen(colour, mix):
        red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
        linear = np.array([red, green, blue]) ** 2.2
        yellow = mix * linear[0] + (1 - mix) * linear[1]
        return np.array([yellow, linear[2]]) ** (1 / 2.2)

    for mix in (0.11, 0.29):  # without the red, without the green cones
        eyes = [seen(colour, mix) for colour in COLOURS.values()]
        apart = [np.abs(one - other).max() for i, one in enumerate(eyes) for other in eyes[:i]]
        assert min(apart) > 0.12
