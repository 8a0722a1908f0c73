"""An edit of compiled code takes effect, in whichever file it is: see kernel_cache.py.

A copy of the project is edited and run, a process for each run, and its compiled functions are kept in the copy.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from types import SimpleNamespace

import pytest
from conftest import HAS_GPU, NO_SIMULATOR, ROOT
from numba import config

import kernel_cache

# Prints what a compiled function of cnn_jit.py makes of a constant of sizes.py, and whether it was compiled before.
# Each pixel holds its own number. Tap 3 of a filter (in its second row) at place 2 of the first window (in the second
# row of that) lies over the first pixel of the next row of windows, whose number is POOLED_SIZE, the windows in a row.
ON_THE_CPU = """
import numpy as np
from cnn_jit import pixel_under
columns = np.arange(2 * 4 * 14 * 13, dtype=np.float32).reshape(2, 4, -1)
print(int(pixel_under(columns, 0, 2, 3)), sum(pixel_under.stats.cache_hits.values()))
"""
SMALLER = "sizes.py", "POOLED_SIZE = CONVOLVED_SIZE // 2", "POOLED_SIZE = CONVOLVED_SIZE // 2 - 1"

# Prints a number of a filter after a step of 1 down its gradient, and whether the kernels were compiled before. Two
# images of ones, 4x4, of which a filter sees four places each, with a gradient of one: from 0 down to -8. The sum over
# the places and the sum over the images are both taken by gpu_launch.block_sum.
ON_THE_GPU = """
import numpy as np
from numba import cuda
import conv_gpu
layer = conv_gpu.Conv3x3GPU(np.zeros((1, 3, 3), np.float32), np.zeros(1, np.float32), "none", (8, 8))
layer.forward(cuda.to_device(np.ones((2, 4, 4), np.float32)))
layer.backward(cuda.to_device(np.ones((2, 2, 2, 1), np.float32)))
layer.update(1)
hits = conv_gpu.conv3x3_backward.stats.cache_hits
print(int(layer.filters.copy_to_host()[0, 0, 0]), sum(hits.values()))
"""
DOUBLED = "gpu_launch.py", "total = values[0]", "total = values[0] * float32(2)"  # -8 becomes -8 * 2 * 2


@pytest.fixture
def copy(tmp_path):
    """A copy of the project: its folder, and what edits one of its files and runs a program in it."""
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in [*ROOT.glob("*.py"), *ROOT.glob("photos/*.py"), *ROOT.glob("benchmark/*.py")]:
        target = folder / path.relative_to(ROOT)
        target.parent.mkdir(exist_ok=True)
        shutil.copy(path, target)
    own_cache = {"XDG_CACHE_HOME": str(tmp_path / "home"), "PYTHONDONTWRITEBYTECODE": "1"}
    environment = {name: value for name, value in NO_SIMULATOR.items() if name != "NUMBA_CACHE_DIR"} | own_cache

    def edit(name, before, after):
        text = (folder / name).read_text(encoding="utf-8")
        assert text.count(before) == 1, f"{before!r} must be in {name} once"
        (folder / name).write_text(text.replace(before, after), encoding="utf-8")

    def run(program, **more):
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=folder, env=environment | more, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return [int(number) for number in done.stdout.split()]

    return SimpleNamespace(folder=folder, edit=edit, run=run)


@pytest.fixture
def small(tmp_path, monkeypatch):
    """kernel_cache in a folder of two source files, and Numba as if it had just been imported."""
    monkeypatch.setattr(config, "CACHE_DIR", "")
    monkeypatch.setattr(kernel_cache, "ROOT", tmp_path)
    monkeypatch.setattr(kernel_cache, "PARENT", tmp_path / "__pycache__")
    monkeypatch.setattr(kernel_cache, "SOURCES", ("a.py", "b.py"))
    (tmp_path / "a.py").write_text("A = 1")
    (tmp_path / "b.py").write_text("B = 1")
    return tmp_path


# -- the name of the folder -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", kernel_cache.SOURCES)
def test_an_edit_of_any_listed_file_changes_the_folder(copy, monkeypatch, name):
    monkeypatch.setattr(kernel_cache, "ROOT", copy.folder)
    before = kernel_cache.folder()
    assert kernel_cache.folder() == before
    path = copy.folder / name
    text = path.read_text(encoding="utf-8")
    path.write_text(f"{text}\n# edited\n", encoding="utf-8")
    assert kernel_cache.folder() != before
    path.write_text(text, encoding="utf-8")
    assert kernel_cache.folder() == before


def test_the_new_folder_is_used_and_the_old_one_deleted(small):
    kernel_cache.use_folder()
    first = kernel_cache.folder()
    assert str(first) == config.CACHE_DIR
    first.mkdir(parents=True, exist_ok=True)
    (first / "kernel.nbi").touch()
    (small / "__pycache__" / "a.cpython-311.pyc").touch()
    kernel_cache.use_folder()
    assert (first / "kernel.nbi").exists(), "nothing was edited"
    (small / "b.py").write_text("B = 2")
    kernel_cache.use_folder()
    assert str(kernel_cache.folder()) == config.CACHE_DIR != str(first)
    assert not first.exists()
    assert (small / "__pycache__" / "a.cpython-311.pyc").exists(), "what is Python's own is not ours to delete"


def test_a_disk_that_is_nearly_full_is_no_place(small, monkeypatch):
    monkeypatch.setattr(kernel_cache.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    kernel_cache.use_folder()
    assert os.path.dirname(config.CACHE_DIR) == tempfile.gettempdir()


def test_numba_knows_the_folder():
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    assert config.CACHE_DIR.startswith(chosen or str(kernel_cache.PARENT / kernel_cache.PREFIX))


# -- on the CPU -------------------------------------------------------------------------------------------------------


def test_an_edit_in_another_file_takes_effect(copy):
    assert copy.run(ON_THE_CPU) == [13, 0]
    assert copy.run(ON_THE_CPU) == [13, 1], "without an edit nothing is compiled again"
    copy.edit(*SMALLER)
    assert copy.run(ON_THE_CPU) == [12, 0]
    folders = [path.name for path in (copy.folder / "__pycache__").iterdir()]
    assert len(folders) == 1 and folders[0].startswith(kernel_cache.PREFIX)


def test_a_folder_that_the_user_chose_is_respected_and_its_danger_is_real(copy, tmp_path):
    """There Numba notices no edit of another file: without kernel_cache.py that would be so everywhere."""
    chosen = tmp_path / "chosen"
    (chosen / f"{kernel_cache.PREFIX}mine").mkdir(parents=True)
    assert copy.run(ON_THE_CPU, NUMBA_CACHE_DIR=str(chosen)) == [13, 0]
    copy.edit(*SMALLER)
    assert copy.run(ON_THE_CPU, NUMBA_CACHE_DIR=str(chosen)) == [13, 1]
    assert (chosen / f"{kernel_cache.PREFIX}mine").exists()
    assert not (copy.folder / "__pycache__").exists()


@pytest.mark.parametrize("blocked", ["the folder", "its parent"])
def test_a_place_that_cannot_be_written_only_costs_the_compile_time(copy, monkeypatch, blocked):
    """A file stands where the folder should be: permissions would not stop a test that runs as root.

    Numba then looks for another place by itself, where the old machine code must not be found either.
    """
    monkeypatch.setattr(kernel_cache, "ROOT", copy.folder)
    monkeypatch.setattr(kernel_cache, "PARENT", copy.folder / "__pycache__")

    def block():
        path = kernel_cache.folder() if blocked == "the folder" else kernel_cache.PARENT
        path.parent.mkdir(exist_ok=True)
        path.touch()

    block()
    assert copy.run(ON_THE_CPU)[0] == 13
    assert copy.run(ON_THE_CPU)[0] == 13
    copy.edit(*SMALLER)
    block()
    assert copy.run(ON_THE_CPU)[0] == 12


# -- on the GPU -------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not HAS_GPU, reason="no CUDA GPU here, and the simulator compiles nothing")
def test_an_edited_helper_of_a_kernel_takes_effect(copy, tmp_path):
    assert copy.run(ON_THE_GPU) == [-8, 0]
    assert copy.run(ON_THE_GPU) == [-8, 1], "without an edit nothing is compiled again"
    copy.edit(*DOUBLED)
    assert copy.run(ON_THE_GPU) == [-32, 0]


@pytest.mark.skipif(not HAS_GPU, reason="no CUDA GPU here, and the simulator compiles nothing")
def test_in_a_fixed_folder_an_edited_helper_of_a_kernel_would_not(copy, tmp_path):
    chosen = str(tmp_path / "chosen")
    assert copy.run(ON_THE_GPU, NUMBA_CACHE_DIR=chosen) == [-8, 0]
    copy.edit(*DOUBLED)
    assert copy.run(ON_THE_GPU, NUMBA_CACHE_DIR=chosen) == [-8, 1]
