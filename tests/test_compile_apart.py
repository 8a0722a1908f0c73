"""A kernel that another process compiles: it is found in the cache, and no process is started or left for nothing."""

import subprocess
import sys
import time

import pytest
from conftest import HAS_GPU, NO_SIMULATOR, ROOT

import compile_apart
from compile_apart import reader_compiled_apart

WORK = 3, 13, True  # filters, classes, ReLU

COMPILE = "import compile_apart; compile_apart.compile_reader({}, {}, {})"
# Prints how often read_images was loaded from the cache, and how often it was compiled, when a network reads.
READ = """
import numpy as np
from cnn_gpu import CNNGPU
network = CNNGPU(3, "relu", num_classes=13)
network.predict(np.zeros((5, 28, 28), np.uint8))
stats = network._reader.kernel.stats
print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))
"""


@pytest.fixture
def processes(monkeypatch, tmp_path):
    """The processes that are started, which sleep instead; and kernels that are compiled, though it be a simulator."""
    started = []

    def sleep(command, **options):
        assert command[1] == "-c" and command[2].endswith("compile_reader(3, 13, True)")
        assert options["env"]["NUMBA_CACHE_DIR"] == compile_apart.config.CACHE_DIR
        started.append(before([sys.executable, "-c", "import time; time.sleep(0.5)"], **options))
        return started[-1]

    before = subprocess.Popen
    monkeypatch.setattr(compile_apart, "SIMULATED", False)
    monkeypatch.setattr(compile_apart, "SOON", 0.1)
    monkeypatch.setattr(compile_apart.config, "CACHE_DIR", str(tmp_path))
    (tmp_path / "some_network").mkdir()
    (tmp_path / "some_network" / "reading_gpu.reading_kernel.locals.read_images-801.py311.nbi").touch()
    monkeypatch.setattr(subprocess, "Popen", sleep)
    return started


def test_what_is_loaded_starts_no_process(processes):
    with reader_compiled_apart(*WORK):
        pass
    time.sleep(0.2)
    assert processes == []


def test_where_nothing_was_compiled_the_process_starts_at_once(processes, monkeypatch, tmp_path):
    monkeypatch.setattr(compile_apart, "SOON", 1000)
    for path in (tmp_path / "some_network").iterdir():
        path.unlink()
    with reader_compiled_apart(*WORK):
        time.sleep(0.1)
    assert [process.poll() for process in processes] == [0]


def test_the_process_is_waited_for(processes):
    with reader_compiled_apart(*WORK):
        time.sleep(0.3)
    assert [process.poll() for process in processes] == [0]


def test_ctrl_c_leaves_no_process(processes):
    with pytest.raises(KeyboardInterrupt), reader_compiled_apart(*WORK):
        time.sleep(0.3)
        raise KeyboardInterrupt
    assert len(processes) == 1 and processes[0].poll() not in (None, 0)


def test_where_no_process_can_be_started_all_goes_on(processes, monkeypatch):
    def refuse(*_, **__):
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    with reader_compiled_apart(*WORK):
        time.sleep(0.3)


def test_the_process_does_its_work(monkeypatch, tmp_path):
    """From any folder. In the simulator, too, where it reads an image and compiles nothing."""
    monkeypatch.setattr(compile_apart, "SIMULATED", False)
    monkeypatch.setattr(compile_apart, "SOON", 0)
    monkeypatch.chdir(tmp_path)
    started, popen = [], subprocess.Popen

    def remember(*command, **options):
        started.append(popen(*command, **options))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", remember)
    with reader_compiled_apart(1, 10, False):
        time.sleep(0.1)
    assert [process.wait() for process in started] == [0]


@pytest.mark.skipif(not HAS_GPU, reason="no CUDA GPU here, and the simulator compiles nothing; it runs on a GPU")
def test_the_network_finds_what_was_compiled_apart(tmp_path):
    environment = NO_SIMULATOR | {"NUMBA_CACHE_DIR": str(tmp_path)}
    assert list(tmp_path.iterdir()) == []
    subprocess.run([sys.executable, "-c", COMPILE.format(3, 13, True)], cwd=ROOT, env=environment, check=True)
    assert list(tmp_path.rglob(compile_apart.KEPT)) != []
    done = subprocess.check_output([sys.executable, "-c", READ], cwd=ROOT, env=environment, text=True)
    assert done.split() == ["1", "0"]
