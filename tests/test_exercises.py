"""The exercises of the README are done here, in copies of the files, and give what its answers say.

They run in the simulator, as most readers do them; the last one needs a GPU.
"""

import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from conftest import HAS_GPU, NO_SIMULATOR, ROOT, SIMULATOR
from numba import cuda

from first_kernel import doubled
from gpu_launch import block_sum, grid

README = (ROOT / "README.md").read_text(encoding="utf-8")
GUARD = (
    "    if row >= output.shape[1] or column >= output.shape[2]:"
    "  # whole blocks seldom fit the image: some threads are idle\n        return\n"
)
LAST_BARRIER = """            values[thread] += values[thread + half]
        cuda.syncthreads()
"""
TAPS = """        for a in range(3):
            for b in range(3):
                total += images[n, row + a, column + b] * filters[f, a, b]
        if relu:
"""
OWN_TAPS = """        for tap in range(9):
            total += window[tap] * filters[f, tap // 3, tap % 3]
        if relu:
"""
WINDOW = """    window = cuda.local.array(9, float32)
    for tap in range(9):
        window[tap] = images[n, row + tap // 3, column + tap % 3]
"""
PER_FILTER = "    for f in range(filters.shape[0]):\n        total = float32(0)\n"
POOL_3X3 = [
    ("shape[0] // 2", "shape[0] // 3"), ("shape[1] // 2", "shape[1] // 3"), ("2 * row + 2", "3 * row + 3"),
    ("2 * column + 2", "3 * column + 3"), ("height // 2", "height // 3"), ("width // 2", "width // 3"),
    ("reshape(4", "reshape(9"), ("// 2, 2 * column", "// 3, 3 * column"), ("% 2", "% 3"), ("2 * row", "3 * row"),
    ("2 * column", "3 * column"), ("range(1, 4)", "range(1, 9)"), ("place in range(4)", "place in range(9)"),
    ("row + 1 < height", "row + 2 < height"), ("column + 1 < width", "column + 2 < width"),
    ("(width + 1) // 2", "(width + 2) // 3"), ("(height + 1) // 2", "(height + 2) // 3"),
    ("(work.pooled_size, work.pooled_size)", "(work.convolved_size // 3, work.convolved_size // 3)"),
]  # fmt: skip


@pytest.fixture
def changed(tmp_path):
    """A function that changes a file in a copy of the course, and runs a script there: (stdout, stderr, status)."""

    def run(file, changes, script, **environment):
        for path in [*ROOT.glob("*.py"), *ROOT.glob("*/*.py")]:
            (tmp_path / path.relative_to(ROOT).parent).mkdir(exist_ok=True)
            shutil.copy(path, tmp_path / path.relative_to(ROOT))
        text = (tmp_path / file).read_text(encoding="utf-8")
        code = text.rindex('"""', 0, text.index("import numpy"))  # the docstring shows examples of the same code
        head, text = text[:code], text[code:]
        for old, new in changes:
            assert old in text, f"{file} has no {old!r} any more: the exercise must be written anew"
            text = text.replace(old, new)
        (tmp_path / file).write_text(head + text, encoding="utf-8")
        environment = NO_SIMULATOR | {"NUMBA_CACHE_DIR": str(tmp_path / "cache")} | environment
        command = [sys.executable, *([script] if isinstance(script, str) else script)]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        return done.stdout, done.stderr, done.returncode

    return run


def test_1_the_threads_are_counted():
    for side, block, threads in ((13, 8, 256), (13, 16, 256), (13, 32, 1024), (26, 8, 1024), (26, 32, 1024)):
        assert np.prod(grid(side, side, 1, (block, block))) * block**2 == threads
    assert "256, 256 and 1,024 threads" in README and round(100 * 169 / 1024, 1) == 16.5


def test_2_without_the_guard_the_simulator_stops(changed):
    _, err, status = changed("conv_gpu.py", [(GUARD, "")], "conv_gpu.py", **{SIMULATOR: "1"})
    assert status != 0
    (line,) = re.findall(r"^IndexError: (tid=.*)", err, re.M)[-1:]
    place = r"tid=\[\d, \d, 0\] ctaid=\[\d, \d, 0\]"  # which thread comes first varies
    assert re.fullmatch(place + r": index 8 is out of bounds for axis \d with size 8", line)


def test_3_without_a_barrier_the_sums_are_wrong(changed):
    without = LAST_BARRIER.replace("        cuda.syncthreads()\n", "")
    _, err, status = changed("gpu_launch.py", [(LAST_BARRIER, without)], "conv_gpu.py", **{SIMULATOR: "1"})
    assert status != 0 and "wrong numbers from backward with block 4x4" in err


def test_4_the_window_in_registers_gives_the_same(changed):
    changes = [(TAPS, OWN_TAPS), (PER_FILTER, WINDOW + PER_FILTER)]
    out, err, status = changed("conv_gpu.py", changes, "conv_gpu.py", **{SIMULATOR: "1"})
    assert status == 0, err
    assert re.search(r"block 4x4 +forward 6.6e-08", out)


COUNT = """
from numba import boolean, cuda, float32
from conv_gpu import conv3x3_forward as kernel
three, four = float32[:, :, ::1], float32[:, :, :, ::1]
ptx = cuda.compile_ptx(kernel.py_func, (three, three, float32[::1], boolean, four), cc=(9, 0))[0]
print(sum("f64" in line for line in ptx.splitlines()))
"""


@pytest.mark.parametrize(("start", "lines"), [("float32(0)", 0), ("0.0", 43)])
def test_5_a_literal_of_64_bits_makes_sums_of_64_bits(changed, start, lines):
    old = "        total = float32(0)\n        for a in range(3):\n"
    out, err, _ = changed("conv_gpu.py", [(old, old.replace("float32(0)", start))], ["-c", COUNT])
    assert int(out) == lines, err
    assert f"0 lines with `f64` before, {43} after" in README


def test_6_halving_is_the_better_sum():
    @cuda.jit
    def add_up(values, total):
        result = block_sum(values[cuda.threadIdx.x])
        if cuda.threadIdx.x == 0:
            total[0] = result

    random, worst = np.random.default_rng(0), [0.0, 0.0]
    for _ in range(20):
        values, total, one = random.random(256, np.float32), np.zeros(1, np.float32), np.float32(0)
        add_up[1, 256](values, total)
        for value in values:
            one += value
        exact = values.sum(dtype=np.float64)
        worst = [max(worst[0], abs(one - exact) / exact), max(worst[1], abs(total[0] - exact) / exact)]
    assert [f"{error:.1e}" for error in worst] == ["5.1e-07", "6.8e-08"]
    assert "5.1e-7" in README and "6.8e-8" in README


def test_7_the_last_of_equal_numbers_is_the_wrong_one(changed):
    out, err, status = changed("pool_gpu.py", [("if pixel > pixels[", "if pixel >= pixels[")], "pool_gpu.py",
                               **{SIMULATOR: "1"})  # fmt: skip
    assert status != 0 and "wrong numbers from backward with block 4x4" in err
    assert re.search(r"backward 0.81", out)


def test_7_pooling_3x3(changed):
    out, err, status = changed("pool_gpu.py", POOL_3X3, "pool_gpu.py", **{SIMULATOR: "1"})
    assert status == 0, err
    assert re.search(r"block 4x4 +forward 0 +backward 0", out)


@pytest.mark.skipif(not HAS_GPU, reason="times kernels, which needs a CUDA GPU")
def test_8_neighbours_write_sooner_to_neighbours(changed, imports_first):
    script = """
import numpy as np
from numba import cuda
from benchmark.timing import time_calls
from conv_gpu import conv3x3_forward
from gpu_launch import grid
images, filters = (cuda.to_device(np.ones(shape, np.float32)) for shape in ((10_000, 28, 28), (8, 3, 3)))
biases, output = cuda.to_device(np.zeros(8, np.float32)), cuda.device_array(SHAPE, np.float32)
blocks = grid(26, 26, 10_000, (16, 16))
launch = lambda: conv3x3_forward[blocks, (16, 16)](images, filters, biases, False, output)
print(time_calls(launch, 20, cuda.synchronize)["median"])
"""
    planes = [
        ("row >= output.shape[1] or column >= output.shape[2]", "row >= output.shape[2] or column >= output.shape[3]"),
        ("output[n, row, column, f] = total", "output[n, f, row, column] = total"),
    ]
    seconds = []
    for changes, shape in (([], "(10_000, 26, 26, 8)"), (planes, "(10_000, 8, 26, 26)")):
        command = ["-c", script.replace("SHAPE", shape)]
        out, err, status = changed("conv_gpu.py", changes, command, **imports_first(ROOT))
        assert status == 0, err
        seconds.append(float(out))
    assert seconds[1] < 0.9 * seconds[0]


@pytest.mark.parametrize("count", [1, 4, 10, 33])
def test_the_first_kernel_to_read(count):
    assert (doubled(count) == 2 * np.arange(count)).all()
