"""What the tests share: where the kernels run, who runs the tests, and how a script is run.

Where there is no GPU, the kernels run in Numba's CUDA simulator: its switch must be set before numba is imported. The
tests' own process is then in that mode. So a script that may use a GPU, or that must notice that there is none, runs in
a process of its own (`script`); one that asks for no GPU runs faster in the tests' process (`in_process`).
"""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = ROOT / "samples"
PHOTOS = ROOT.parent / "shared" / "photos"  # those of the development, which are not part of the repository
MAX_WORKERS = 4  # each imports everything and, on a GPU, holds a context of its own

SIMULATOR = "NUMBA_ENABLE_CUDASIM"
NO_SIMULATOR = {name: value for name, value in os.environ.items() if name != SIMULATOR}  # the environment of processes


def found_gpu():
    """Whether kernels run here. The first process of the tests asks, and its workers inherit the answer."""
    known = "TESTS_FOUND_GPU"
    if known not in os.environ:
        probe = "import sys; from gpu_launch import gpu_problem; sys.exit(gpu_problem() is not None)"
        done = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, env=NO_SIMULATOR, check=False)
        os.environ[known] = str(int(done.returncode == 0))
    return os.environ[known] == "1"


HAS_GPU = found_gpu()
if HAS_GPU:
    os.environ.pop(SIMULATOR, None)
else:
    os.environ[SIMULATOR] = "1"
    # While the threads of a simulated block work, the simulator's main thread keeps asking whether they are done, and
    # Python makes it give way only once in a switch interval: so each cuda.syncthreads() takes one. The standard 5 ms
    # made the kernels' tests three times slower; below 0.3 ms nothing more is gained.
    sys.setswitchinterval(3e-4)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
    """The whole suite, `python -m pytest`, is shared out over the cores; what is asked for by name is not.

    `-n 0` runs the suite in one process, and so does a pytest without pytest-xdist: that is why this is no option in
    pyproject.toml. "worksteal" gives each worker whole files in a row, so that what the tests of a file share is made
    once, and lets the one that is done first take over what the other has not begun.
    """
    whole_suite = config.args_source == config.ArgsSource.TESTPATHS and not hasattr(config, "workerinput")
    if whole_suite and getattr(config.option, "numprocesses", 0) is None and config.option.dist == "no":
        config.option.numprocesses = "auto"
        config.option.dist = "worksteal"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers():
    return min(MAX_WORKERS, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())


def pytest_report_header():
    return f"CUDA kernels run {'on the GPU' if HAS_GPU else 'in the simulator: no CUDA GPU here'}"


@pytest.fixture(scope="session")
def mnist():
    import mnist_data

    return mnist_data.load()


# -- running a script -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def imports_first():
    """A function: the variable with which Python imports from a folder first, then from where it did before."""
    return lambda folder: {"PYTHONPATH": os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])}


@pytest.fixture(scope="session")
def script():
    """A function that runs one of the scripts as a user would, without the simulator: (stdout, stderr, status)."""

    def run(name, *options, cwd=ROOT, **more):
        command = [sys.executable, str(ROOT / name), *map(str, options)]
        done = subprocess.run(
            command, cwd=cwd, env=NO_SIMULATOR | more, capture_output=True, text=True, timeout=300, check=False
        )
        return done.stdout, done.stderr, done.returncode

    return run


@pytest.fixture
def in_process(monkeypatch, capsys):
    """As `script`, but in the tests' own process, which saves the start of Python and the imports: a second or two.

    The script must not ask for a GPU: it would be given the simulator.
    """
    from errors import run as run_main

    def run(name, *options, cwd=None):
        main = importlib.import_module(name.removesuffix(".py").replace("/", ".")).main
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", [str(ROOT / name), *map(str, options)])
            if cwd is not None:
                patch.chdir(cwd)
            capsys.readouterr()  # what was printed before is not the script's
            with pytest.raises(SystemExit) as left:
                run_main(main)
        return *capsys.readouterr(), left.value.code

    return run


@pytest.fixture(scope="session")
def one_line():
    """A function that checks that a script refused, with status 2 and one line on stderr, and returns that line.

    result: (stdout, stderr, status) of the script; words: what the line must hold.
    """

    def check(name, result, *words):
        out, err, status = result
        assert status == 2, out + err
        (line,) = err.splitlines()
        assert line.startswith(f"{name}: error: ")
        assert [word for word in words if str(word) not in line] == [], line
        return line

    return check


@pytest.fixture(scope="session")
def model_file(tmp_path_factory):
    """A small new network for photos in a file: what is tested with it does not depend on what it reads."""
    from cnn_jit import CNNJit
    from sizes import PHOTO_CLASSES

    path = tmp_path_factory.mktemp("model") / "new.npz"
    CNNJit(num_filters=2, activation="relu", seed=3, num_classes=PHOTO_CLASSES).save(path)
    return path
