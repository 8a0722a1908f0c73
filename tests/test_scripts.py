"""cnn_cpu.py, cnn_jit.py and cnn_gpu.py as a user runs them, on a few images.

What depends on the process or on the GPU runs in a process of its own, the rest in that of the tests.
"""

import contextlib
import gc
import os
import re
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import HAS_GPU, NO_SIMULATOR, ROOT

import mnist_data
import training
from cnn_jit import CNNJit
from errors import run
from model_file import read_model
from photos import training_set

SCRIPTS = ["cnn_cpu.py", "cnn_jit.py", "cnn_gpu.py"]
IMAGES, BATCH_SIZE = 40, 16
FEW = ("--images", IMAGES, "--batch-size", BATCH_SIZE)
NETWORK = ("--filters", 2, "--activation", "relu", "--no-augment", "--seed", 3)
EPOCH_LINE = r"^epoch (\d+): loss \d\.\d{4}, accuracy \d+\.\d\d%, \d+\.\d{3} s, [\d,]+ images/s$"
TEST_LINE = r"^test: loss \d+\.\d{4}, accuracy (\d+\.\d\d)% on ([\d,]+) images$"
needs_gpu = pytest.mark.skipif(not HAS_GPU, reason="no CUDA GPU here")
needs_no_gpu = pytest.mark.skipif(HAS_GPU, reason="here is a CUDA GPU, so nothing falls back")


@pytest.fixture(scope="module", params=SCRIPTS)
def trained(request, script, tmp_path_factory):
    """One epoch with each of the scripts: its name, the model file, and what it printed."""
    model = tmp_path_factory.mktemp("trained") / "model.npz"
    out, err, status = script(request.param, "--epoch", 1, *FEW, *NETWORK, "--save", model)
    assert status == 0, err
    return SimpleNamespace(script=request.param, model=model, out=out, err=err)


@pytest.fixture
def little_mnist(mnist, monkeypatch, tmp_path_factory):
    """For scripts that run in this process: MNIST with 1,000 training and 100 test images.

    Reading all of the test set takes plain Python half a minute, and normalising it takes seconds.
    """
    few = mnist._replace(
        train_images=mnist.train_images[:1000], train_labels=mnist.train_labels[:1000],
        test_images=mnist.test_images[:100], test_labels=mnist.test_labels[:100],
    )  # fmt: skip
    monkeypatch.setattr(mnist_data, "load", lambda: few)
    # Should these be taken for the whole of MNIST, they must not be kept in data/ as such.
    monkeypatch.setattr(training_set, "KEPT", tmp_path_factory.mktemp("kept") / "normalised.npz")


@pytest.fixture
def run_on_few(in_process, script, little_mnist):
    """A function that runs a script on `little_mnist`; cnn_gpu.py as a process, with all of MNIST."""

    def run_script(name, *options, **more):
        return (script if name == "cnn_gpu.py" else in_process)(name, *options, **more)

    return run_script


@pytest.fixture
def refused(in_process, one_line):
    """A function that runs a script which must refuse before it trains, and returns its one line."""

    def run_refused(name, *options):
        result = in_process(name, *options)
        assert not re.search(EPOCH_LINE, result[0], re.M), "it trained before it complained"
        return one_line(name, result)

    return run_refused


def check_model(path, epochs, mnist):
    """The model file must hold what `epochs` epochs teach a network, whichever script trained it. Returns its meta."""
    parameters, meta = read_model(path)
    assert (meta["epochs_trained"], meta["activation"], meta["seed"]) == (epochs, "relu", 3)
    wanted = CNNJit(2, "relu", 3)
    wanted.fit(mnist.train_images[:IMAGES], mnist.train_labels[:IMAGES], epochs, BATCH_SIZE)
    for found, array in zip(parameters, wanted.parameters, strict=True):
        np.testing.assert_allclose(found, array, rtol=1e-4, atol=1e-5)
    return meta


# -- training ---------------------------------------------------------------------------------------------------------


def test_prints_a_line_for_the_epoch_and_the_test(trained):
    assert re.findall(EPOCH_LINE, trained.out, re.M) == ["1"]
    ((accuracy, count),) = re.findall(TEST_LINE, trained.out, re.M)
    assert count == ("1,000" if trained.script == "cnn_cpu.py" else "10,000")
    assert f"{100 * read_model(trained.model)[1]['test_accuracy']:.2f}" == accuracy
    assert trained.out.splitlines()[-1] == f"{trained.model}: saved what was learned"


def test_the_bars_are_on_stderr_alone(trained):
    for name in ("training", "testing"):
        assert re.search(rf"^{name}: 100%\|.*images/s", trained.err, re.M)
        assert f"{name}: " not in trained.out
    assert re.search(r"^training: 100%.* loss \d\.\d{4}, accuracy \d+\.\d\d%", trained.err, re.M)


def test_the_model_is_what_an_epoch_teaches(trained, mnist):
    meta = check_model(trained.model, 1, mnist)
    recipe = meta["recipe"]
    assert (recipe["epochs"], recipe["images"], recipe["batch_size"]) == (1, IMAGES, BATCH_SIZE)


def test_load_goes_on_where_the_model_stopped(trained, run_on_few, mnist, tmp_path):
    """Also: --epochs is --epoch, and what --load says of the network may be said again."""
    model = tmp_path / "further.npz"
    options = "--epochs", 1, *FEW, *NETWORK, "--load", trained.model, "--save", model
    out, err, status = run_on_few(trained.script, *options)
    assert status == 0, err
    assert re.findall(EPOCH_LINE, out, re.M) == ["2"]
    check_model(model, 2, mnist)


def test_epoch_0_tests_and_saves_the_start(run_on_few, mnist, tmp_path):
    out, err, status = run_on_few("cnn_jit.py", "--epoch", 0, *NETWORK, "--save", tmp_path / "model.npz")
    assert status == 0, err
    assert not re.search(EPOCH_LINE, out, re.M) and re.search(TEST_LINE, out, re.M)
    check_model(tmp_path / "model.npz", 0, mnist)


@pytest.mark.parametrize(("target", "wanted"), [(1, 0), (99, 1)])
def test_target_accuracy_is_the_exit_status(run_on_few, model_file, tmp_path, target, wanted):
    """With the recipe for photos, which a "relu" network takes unless told otherwise."""
    options = "--epoch", 1, *FEW, "--load", model_file, "--save", tmp_path / "model.npz", "--target-accuracy", target
    _, err, status = run_on_few("cnn_jit.py", *options)
    assert status == wanted
    assert ("misses the target of 99 %" in err.splitlines()[-1]) == (wanted == 1)
    assert read_model(tmp_path / "model.npz")[1]["recipe"]["augment"] is True


def test_the_recipe_for_photos_takes_the_whole_test_set(script, model_file, tmp_path):
    """In a process of its own, which starts further ones where there are cores for them; the status reaches a shell."""
    options = "--epoch", 1, *FEW, "--load", model_file, "--save", tmp_path / "model.npz", "--target-accuracy", 99
    out, err, status = script("cnn_jit.py", *options)
    assert status == 1, err
    assert [count for _, count in re.findall(TEST_LINE, out, re.M)] == ["10,000"]
    assert re.search(r"^normalising: 100%", err, re.M)


def test_saves_model_npz_where_it_is_run(run_on_few, tmp_path):
    _, err, status = run_on_few("cnn_jit.py", "--activation", "none", "--epoch", 0, cwd=tmp_path)
    assert status == 0, err
    assert [path.name for path in tmp_path.iterdir()] == ["model.npz"]


def test_a_model_that_will_be_replaced_is_named_before_the_training(run_on_few, tmp_path):
    """Not the one that --load gave: that it is trained further was asked for."""
    model = tmp_path / "model.npz"
    options = "--epoch", 1, *FEW, *NETWORK, "--save", model
    outs = [run_on_few("cnn_jit.py", *options, *more)[0] for more in ((), (), ("--load", model))]
    line = f"{model}: will be replaced; --save chooses another name"
    assert [line in out for out in outs] == [False, True, False]
    assert outs[1].index(line) < outs[1].index("epoch 1:")


def test_compiling_is_said_before_the_bar_begins_to_count(run_on_few, monkeypatch, tmp_path):
    """As with an empty cache. What it takes is none of the first epoch's seconds."""
    compile_network = CNNJit.compile

    def slowly(*options):
        time.sleep(1)
        compile_network(*options)

    monkeypatch.setattr(training, "SILENCE", 0.1)
    monkeypatch.setattr(CNNJit, "compile", slowly)
    out, err, _ = run_on_few("cnn_jit.py", "--epoch", 1, *FEW, *NETWORK, "--save", tmp_path / "model.npz")
    assert err.startswith("compiling the kernels (about 10 s, once)\n") and "training:" in err
    assert float(re.search(r"([\d.]+) s,", out)[1]) < 1


# -- which device -----------------------------------------------------------------------------------------------------


def test_device_cpu_never_asks_for_a_gpu(script, mnist, tmp_path):
    options = "--device", "cpu", "--epoch", 1, *FEW, *NETWORK, "--save", tmp_path / "model.npz"
    _, err, status = script("cnn_gpu.py", *options)
    assert status == 0 and "GPU" not in err, err
    check_model(tmp_path / "model.npz", 1, mnist)


@needs_no_gpu
def test_device_auto_without_a_gpu_says_so_in_one_line_and_trains_on_the_cpu(trained):
    lines = [line for line in trained.err.splitlines() if "GPU" in line]
    if trained.script != "cnn_gpu.py":
        assert lines == []
        return
    (line,) = lines
    assert line.startswith("using the CPU, since no GPU can be used here: ") and len(line) > 60


@needs_no_gpu
def test_device_cuda_without_a_gpu_is_refused_with_the_reason(script, one_line):
    """In a process of its own: in this one, the simulator counts as a GPU."""
    out, *_ = result = script("cnn_gpu.py", "--device", "cuda")
    assert re.search(r"--device cuda: no GPU can be used here: \w{4}", one_line("cnn_gpu.py", result))
    assert out == ""


@needs_gpu
@pytest.mark.parametrize("path", ["naive", "layers", "graph", "epoch"])
def test_device_cuda_trains_on_the_gpu(script, mnist, tmp_path, path):
    options = "--device", "cuda", "--path", path, "--epoch", 1, *FEW, *NETWORK, "--save", tmp_path / "model.npz"
    _, err, status = script("cnn_gpu.py", *options)
    assert status == 0 and "using the CPU" not in err, err
    check_model(tmp_path / "model.npz", 1, mnist)


# -- mistakes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("cnn_cpu.py", ["--images", "0"], "'0' is not a whole number from 1"),
        ("cnn_cpu.py", ["--batch-size", "0"], "'0' is not a whole number from 1"),
        ("cnn_gpu.py", ["--batch-size", "65536"], "'65536' is not a whole number from 1 to 65535"),
        ("cnn_cpu.py", ["--epoch", "-1"], "'-1' is not a whole number from 0"),
        ("cnn_cpu.py", ["--epoch"], "--epoch"),
        ("cnn_cpu.py", ["--filters", "0"], "'0' is not a whole number from 1 to 1024"),
        ("cnn_cpu.py", ["--learning-rate", "nan"], "'nan' is not a number from 0"),
        ("cnn_cpu.py", ["--learning-rate", "-1"], "'-1' is not a number from 0"),
        ("cnn_cpu.py", ["--learning-rate", "inf"], "'inf' is not a number from 0"),
        ("cnn_cpu.py", ["--target-accuracy", "101"], "'101' is not a percentage"),
        ("cnn_cpu.py", ["--activation", "tanh"], "'tanh'"),
        ("cnn_jit.py", ["--device", "cuda"], "--device"),  # only cnn_gpu.py has the choice
        ("cnn_jit.py", ["digits.jpg"], "digits.jpg"),
        ("cnn_gpu.py", ["--block", "64x64"], "4096 threads"),
        ("cnn_gpu.py", ["--block", "0x3"], "0x3"),
        ("cnn_gpu.py", ["--block", "foo"], "'foo' is not a block such as 16x16"),
        ("cnn_gpu.py", ["--device", "tpu"], "'tpu'"),
        ("cnn_gpu.py", ["--path", "shortest"], "'shortest'"),
    ],
)
def test_an_option_out_of_place_is_one_line(refused, name, options, reason):
    line = refused(name, *options)
    assert reason in line and (len(options) == 1 or options[0] in line) and "--help" in line


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_refusal_reaches_the_shell(script, one_line, name):
    out, *_ = result = script(name, "--images", 0)
    assert "'0' is not a whole number from 1 to 60000" in one_line(name, result)
    assert out == ""


@pytest.mark.parametrize(
    ("option", "path", "reason"),
    [
        ("--load", "text.npz", "not a model file"),
        ("--load", "missing.npz", "No such file"),
        ("--load", ".", "cannot be read"),
        ("--save", "missing/model.npz", "its folder is missing"),
        ("--save", ".", "it is a folder"),
    ],
)
def test_a_file_that_will_not_do_is_one_line_that_names_it(refused, tmp_path, option, path, reason):
    (tmp_path / "text.npz").write_text("hello")
    line = refused("cnn_jit.py", option, tmp_path / path)
    assert str(tmp_path / path) in line and reason in line


@pytest.mark.parametrize(
    ("option", "asked", "has"), [("--filters", 3, 2), ("--activation", "none", "relu"), ("--seed", 4, 3)]
)
def test_an_option_that_the_loaded_model_contradicts_is_one_line(refused, model_file, option, asked, has):
    line = refused("cnn_jit.py", "--load", model_file, option, asked)
    assert f"{option} {has}, not {asked}" in line and str(model_file) in line


def test_a_network_for_photos_may_have_more_classes_than_the_digits(run_on_few, refused, mnist, monkeypatch, tmp_path):
    """The test set has only digits, so the accuracy is the share of those that are the likeliest of the ten."""
    tests = mnist.test_images[:100]

    def make_sets(images, labels, *_):
        return (images, np.where(np.arange(len(labels)) % 2, 12, labels)), tests

    monkeypatch.setattr(training, "make_sets", make_sets)
    model = tmp_path / "model.npz"
    options = "--epoch", 1, *FEW, "--activation", "relu", "--filters", 2, "--augment", "--learning-rate", 0.1
    out, err, status = run_on_few("cnn_jit.py", *options, "--save", model)
    assert status == 0, err
    network = CNNJit.load(model)
    assert network.num_classes == 13
    logits = network.logits(tests)
    accuracy = (logits[:, :10].argmax(axis=1) == mnist.test_labels[:100]).mean()
    assert accuracy > (logits.argmax(axis=1) == mnist.test_labels[:100]).mean()
    assert f"accuracy {accuracy:.2%} on 100 images" in out

    CNNJit(2, "relu").save(model)
    assert "10 classes, and training for photos needs 13" in refused("cnn_jit.py", "--load", model)


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("batch_size", [8, IMAGES], ids=["many steps", "one step"])
def test_a_learning_rate_that_diverges_is_one_line_and_saves_nothing(run_on_few, tmp_path, name, batch_size):
    """After one step only the weights are broken, not yet the loss: that must not be saved either."""
    model = tmp_path / "model.npz"
    model.write_text("what was here before")
    options = "--epoch", 1, "--images", IMAGES, "--batch-size", batch_size, "--learning-rate", "1e38"
    options += "--no-augment", "--save", model
    _, err, status = run_on_few(name, *options)
    assert status == 2, err
    passing = "training:", "testing:", "compiling"  # it says that it compiles only if that takes long
    lines = [line for line in err.splitlines() if line.strip() and not line.startswith(passing)]
    assert len(lines) == 1 + ("using the CPU" in err), err
    assert lines[-1].startswith(f"{name}: error: ") and "learning rate" in lines[-1] and "try" in lines[-1]
    assert model.read_text() == "what was here before"
    assert [path.name for path in tmp_path.iterdir()] == ["model.npz"]


# -- what else may end a training -------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="Windows says it in another way")
def test_what_was_learned_is_saved_when_nobody_reads_the_output_any_more(tmp_path):
    """As with `| head -1`, which has enough after the line of the first epoch."""
    model, printed = tmp_path / "model.npz", tmp_path / "stderr.txt"
    options = ROOT / "cnn_cpu.py", "--epoch", 10**6, *FEW, *NETWORK, "--save", model
    with started(options, printed) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(timeout=60) == 0, printed.read_text()
    assert "Traceback" not in printed.read_text()
    assert read_model(model)[1]["epochs_trained"] >= 1


def test_a_training_that_has_not_begun_saves_nothing(in_process, little_mnist, monkeypatch, tmp_path):
    """As where the disk is full when the kernels are compiled and kept."""

    def fail(*_):
        raise OSError(28, "No space left on device")

    model = tmp_path / "model.npz"
    model.write_text("what was here before")
    monkeypatch.setattr(CNNJit, "compile", fail)
    _, err, status = in_process("cnn_jit.py", "--epoch", 1, *FEW, *NETWORK, "--save", model)
    assert (status, err) == (2, "cnn_jit.py: error: [Errno 28] No space left on device\n")
    assert model.read_text() == "what was here before"


def test_too_little_memory_is_one_line_with_what_was_asked_for(in_process, little_mnist, monkeypatch, tmp_path):
    def fail(*_):
        raise MemoryError("Unable to allocate 38.7 GiB for an array")

    monkeypatch.setattr(CNNJit, "_train_epoch", fail)
    options = "--batch-size", 60_000, "--filters", 1024, "--no-augment", "--save", tmp_path / "model.npz"
    _, err, status = in_process("cnn_jit.py", *options)
    line = err.splitlines()[-1]
    wanted = "there is not enough memory for --batch-size 60000 with 1024 filters: Unable to allocate 38.7 GiB"
    assert status == 2 and wanted in line and line.startswith("cnn_jit.py: error: ")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_when_the_model_is_saved_is_one_line(in_process, little_mnist, tmp_path, capsys):
    """A limit on the size of files fails at the same place. Nothing more is printed, as when zipfile tidies up."""
    resource = pytest.importorskip("resource")
    model = tmp_path / "model.npz"
    model.write_text("what was here before")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, before[1]))
    try:
        _, err, status = in_process("cnn_jit.py", "--epoch", 1, *FEW, *NETWORK, "--save", model)
        gc.collect()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    lines = [line for line in err.splitlines() if line.strip() and not line.startswith(("training:", "testing:"))]
    assert status == 2 and lines == [f"cnn_jit.py: error: {model}: the model cannot be saved there: File too large"]
    assert capsys.readouterr().err == ""
    assert model.read_text() == "what was here before" and [path.name for path in tmp_path.iterdir()] == ["model.npz"]


# -- Ctrl-C -----------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def not_in_the_background():
    """A shell lets what it starts in the background ignore Ctrl-C, and the tests' own processes would inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def started(options, printed, **more):
    """A script in a process of its own, without the simulator, whose stderr goes into the file `printed`."""
    with (
        printed.open("w") as stderr,
        subprocess.Popen(
            [sys.executable, *map(str, options)],
            stdout=subprocess.PIPE, stderr=stderr, text=True, env=NO_SIMULATOR, **more,
        ) as process,
    ):  # fmt: skip
        yield process


def wait_until(condition, process):
    """Until condition() is true, the process has ended, or two minutes are over."""
    deadline = time.monotonic() + 120
    while not condition() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send to another process")
@pytest.mark.parametrize("name", SCRIPTS)
def test_ctrl_c_saves_what_was_learned(name, tmp_path):
    """Pressed once the bar has moved five times: by then at least one batch of four images is learned."""
    model, printed = tmp_path / "model.npz", tmp_path / "stderr.txt"
    options = ROOT / name, "--epoch", 10**6, *FEW, "--batch-size", 4, *NETWORK, "--save", model
    with started(options, printed) as process:
        try:
            wait_until(lambda: printed.read_text().count("loss") >= 5, process)
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate(timeout=30)
        finally:
            process.kill()
    err = printed.read_text()
    assert process.returncode == 130, err
    assert "Traceback" not in err and err.splitlines()[-1] == "interrupted"
    assert out.splitlines()[-1] == f"{model}: saved what was learned"
    parameters, meta = read_model(model)
    assert meta["test_accuracy"] is None
    assert np.abs(parameters.weights - CNNJit(2, "relu", 3).parameters.weights).max() > 1e-4, "nothing was learned"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send to other processes")
@pytest.mark.parametrize("name", ["cnn_jit.py", "cnn_gpu.py"])
@pytest.mark.parametrize("when", ["normalising", "k/50.0k"], ids=["at once", "at work"])
def test_ctrl_c_while_the_sets_are_made_ends_all_processes(name, when, tmp_path):
    """As a terminal does it: the signal goes to every process of the group, some of which have yet to start."""
    model, printed = tmp_path / "model.npz", tmp_path / "stderr.txt"
    options = ROOT / name, "--images", 40_000, "--epoch", 1, "--save", model
    with started(options, printed, start_new_session=True) as process:
        try:
            wait_until(lambda: when in printed.read_text(), process)
            os.killpg(process.pid, signal.SIGINT)
            process.communicate(timeout=30)  # comes back when nobody is left who could print
        finally:
            with contextlib.suppress(ProcessLookupError):  # nobody is left, as it should be
                os.killpg(process.pid, signal.SIGKILL)
    err = printed.read_text()
    assert process.returncode == 130, err
    assert "Traceback" not in err and err.splitlines()[-1] == "interrupted"
    assert not model.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals to kill another process with")
@pytest.mark.parametrize("kill", ["SIGTERM", "SIGKILL"])
def test_a_killed_script_leaves_no_process_at_work(kill, tmp_path):
    """Only the script itself is killed; its processes must notice."""
    options = ROOT / "cnn_jit.py", "--images", 40_000, "--epoch", 1, "--save", tmp_path / "model.npz"
    printed = tmp_path / "stderr.txt"
    with started(options, printed, start_new_session=True) as process:
        try:
            wait_until(lambda: "k/50.0k" in printed.read_text(), process)
            process.send_signal(signal.Signals[kill])
            process.communicate(timeout=30)  # comes back when nobody is left who could print
        finally:
            with contextlib.suppress(ProcessLookupError):  # nobody is left, as it should be
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.Signals[kill]
    assert [path.name for path in tmp_path.iterdir()] == ["stderr.txt"]


def test_ctrl_c_before_training_leaves_without_a_traceback(capsys):
    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(BaseException) as left:  # a KeyboardInterrupt that got away would end all the tests
        run(interrupted)
    assert getattr(left.value, "code", None) == 130
    assert len(capsys.readouterr().err.splitlines()) == 1
