"""Every kernel is compiled to PTX for three generations of GPU. The simulator checks no types; the compiler does.

It needs no driver, but numba without the simulator: so it runs in a process of its own, which is this same file.
"""

import subprocess
import sys
from pathlib import Path

import pytest

ARCHITECTURES = (7, 5), (8, 6), (9, 0)  # T4, RTX 30, H100
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def without_simulator():
    """The environment of a process in which numba compiles; conftest.py would turn on the simulator in it."""
    from conftest import NO_SIMULATOR

    return NO_SIMULATOR


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids="sm_{0[0]}{0[1]}".format)
def test_every_kernel_compiles(architecture, without_simulator, imports_first):
    environment = without_simulator | imports_first(ROOT)
    command = [sys.executable, __file__, *map(str, architecture)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_kernel_has_the_same_name_in_the_cache_of_every_process(without_simulator):
    """Otherwise it would be compiled again in each, and the cache would grow without end."""
    names = """
import hashlib
from numba.cuda.serialize import dumps
from epoch_gpu import learning_kernel
from epoch_plan import ONE_IMAGE_A_BLOCK, make_plan
from reading_gpu import reading_kernel, reading_plan
plans = [make_plan(8, True, ONE_IMAGE_A_BLOCK, 132, 64, distort) for distort in (False, True)]
learning = [learning_kernel(plan, ONE_IMAGE_A_BLOCK) for plan in plans]
for kernel in (*learning, reading_kernel(reading_plan(8, 10, True))):
    print(hashlib.sha256(dumps([cell.cell_contents for cell in kernel.py_func.__closure__])).hexdigest())
"""
    command = [sys.executable, "-c", names]
    first, second = (subprocess.check_output(command, cwd=ROOT, env=without_simulator, text=True) for _ in range(2))
    assert first == second
    assert len(set(first.split())) > 1, "and another one for another kernel"


def signatures():
    """{module: {kernel: argument types}}, which names every kernel that is made when its module is imported."""
    from numba import boolean, float32, int32, int64, uint8

    one, two, three, four = (float32[::1], float32[:, ::1], float32[:, :, ::1], float32[:, :, :, ::1])
    return {
        "conv_gpu": {
            "conv3x3_forward": (three, three, one, boolean, four),
            "conv3x3_backward": (three, four, boolean, four, three),
            "conv3x3_update": (three, float32, boolean, three, one),
        },
        "pool_gpu": {"maxpool2_forward": (four, four), "maxpool2_backward": (four, four, four)},
        "softmax_gpu": {
            "dense_update": (two, two, float32, two, one),
        },
        "layers_gpu": {
            "gather_batch": (uint8[:, :, ::1], int32[::1], int32[::1], int32, int32[::1], three, int32[::1]),
            "advance": (int32[::1], int64),
            "distort_set": (uint8[:, :, ::1], int64, uint8[:, :, ::1]),
        },
    }


def softmax_signatures():
    """Argument types of the kernels that softmax_gpu makes for a number of classes."""
    from numba import float32, float64, int32

    one, two = float32[::1], float32[:, ::1]
    return (two, two, one, two), (two, two, two), (two, int32[::1], two, two, float64[::1], int32[::1])


def epoch_signatures():
    """Argument types of the kernels that epoch_gpu.learning_kernel and reading_gpu.reading_kernel make."""
    from numba import float32, float64, int32, uint32

    images, one, two, counts = uint32[:, ::1], float32[::1], float32[:, ::1], int32[::1]
    learn = images, counts, counts, float64[::1], *[one] * 4, *[one] * 3, counts, float64[:, :, ::1]
    return learn, (images, *[one] * 4, two, two)


# Sums over a whole epoch are kept in float64, and CUDA's own sine takes it for angles of thousands of turns; everything
# else is float32, and a stray literal would show as .f64.
USES_FLOAT64 = {"softmax_cross_entropy", "learn_epoch", "distort_set"}


def compile_all(architecture):
    import importlib

    from numba.cuda import dispatcher

    listed = signatures()
    for name, kernels in listed.items():
        module = importlib.import_module(name)
        found = {
            key
            for key, value in vars(module).items()
            if isinstance(value, dispatcher.CUDADispatcher) and value.__module__ == name
        }
        found -= {key for key in found if vars(module)[key].targetoptions.get("device")}
        assert found == set(kernels), f"{name}: {found ^ set(kernels)} must be listed in {__file__}"
        for kernel, types in kernels.items():
            check(kernel, ptx_of(vars(module)[kernel], types, architecture))

    from softmax_gpu import dense_kernels, softmax_kernel

    for classes in (10, 13):
        made = *dense_kernels(classes), softmax_kernel(classes)
        for kernel, types in zip(made, softmax_signatures(), strict=True):
            check(kernel.py_func.__name__, ptx_of(kernel, types, architecture))

    # The kernels of an epoch are made for the network and the GPU; an odd number of filters is their hardest case.
    from epoch_gpu import learning_kernel
    from epoch_plan import MANY_IMAGES_A_BLOCK, ONE_IMAGE_A_BLOCK, make_plan
    from reading_gpu import reading_kernel, reading_plan

    for filters, classes, distort, shape, blocks, batch_size in (
        (8, 10, False, ONE_IMAGE_A_BLOCK, 132, 64),
        (13, 10, True, MANY_IMAGES_A_BLOCK, 80, 1000),
        (32, 13, True, ONE_IMAGE_A_BLOCK, 132, 64),
    ):
        plan = make_plan(filters, distort, shape, blocks, batch_size, distort, classes)
        made = learning_kernel(plan, shape), reading_kernel(reading_plan(filters, classes, distort))
        for kernel, types in zip(made, epoch_signatures(), strict=True):
            check(kernel.py_func.__name__, ptx_of(kernel, types, architecture))


def ptx_of(kernel, types, architecture):
    """The PTX of a kernel for these argument types and this compute capability."""
    from types import SimpleNamespace
    from unittest import mock

    from numba import cuda
    from numba.cuda import dispatcher

    # A kernel that calls a device function asks which GPU is current.
    device = SimpleNamespace(compute_capability=architecture)
    with mock.patch.object(dispatcher, "get_current_device", lambda: device):
        return cuda.compile_ptx(kernel.py_func, types, cc=architecture)[0]


def check(name, ptx):
    """float64 only where it is meant: see USES_FLOAT64."""
    body = ptx[ptx.index(".entry") :]
    assert (".f64" in body) == (name in USES_FLOAT64), f"{name}: float64 arithmetic in its PTX"


if __name__ == "__main__":
    compile_all(tuple(map(int, sys.argv[1:])))
