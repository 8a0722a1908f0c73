"""What all kernels need on the host: is there a GPU, the shapes of block and grid, launches that are recorded.

A kernel of the layers is written for ONE small part of the result, often one element. A thread computes it or, if it is
a long sum, a block does, with `block_sum`. The launch says how many threads a block has and how many blocks the grid
has, so that together they cover the whole result. What is launched again and again can be recorded (`record`).

`from numba import cuda` is numba-cuda, NVIDIA's package, which requirements.txt installs. It brings the CUDA simulator,
in which the tests run these same kernels without a GPU.
"""

import argparse
import contextlib
import os
import sys
from functools import cache

import numpy as np
from numba import config, cuda, float32

import kernel_cache  # noqa: F401 (where the compiled kernels are kept)
from errors import UserError

# Numba warns of every small grid, which leaves most of a GPU idle. Here batches of one image are part of the lesson.
config.CUDA_LOW_OCCUPANCY_WARNINGS = 0

SIMULATED = os.environ.get("NUMBA_ENABLE_CUDASIM", "0") == "1"
BLOCK_SHAPES = ((8, 8), (16, 16), (32, 32))  # threads in a block: the shapes that are compared
BLOCK = (16, 16)  # threads in a block, unless the caller chooses
DEVICES = ("auto", "cuda", "cpu")
MAX_THREADS = 1024  # in a block, on every CUDA GPU


# What the compiler of CUDA 12 and its machine code need (NVIDIA, "CUDA Compatibility").
OLDEST_CAPABILITY = (5, 0)
OLDEST_DRIVER = (12, 0)


def gpu_problem():
    """None when kernels can run here, otherwise the reason in one line."""
    try:
        if cuda.is_available():
            device = cuda.get_current_device()
            if SIMULATED:
                return None
            return too_old(device.compute_capability, cuda.cudadrv.driver.driver.get_version())
        problem = str(getattr(cuda, "cuda_error", lambda: None)() or "no CUDA driver, or no CUDA GPU, was found")
    except Exception as error:  # a broken driver raises errors of many kinds, and the user needs only their text
        problem = str(error) or type(error).__name__
    return " ".join(problem.split())


def too_old(capability, driver):
    """Why a GPU with this compute capability, or a driver for this version of CUDA, cannot be used; None if it can.

    capability, driver: (major, minor).
    """
    if capability < OLDEST_CAPABILITY:
        needed, found = (f"{major}.{minor}" for major, minor in (OLDEST_CAPABILITY, capability))
        return f"the GPU is too old: compute capability {found}, and CUDA 12 needs {needed} or more"
    if driver < OLDEST_DRIVER:
        needed, found = (f"{major}.{minor}" for major, minor in (OLDEST_DRIVER, driver))
        return f"NVIDIA's driver is too old: made for CUDA {found}, and {needed} is needed; install a newer one"
    return None


@contextlib.contextmanager
def gpu_errors_explained(asked):
    """Turn errors of the GPU and its driver that a person can mend into a UserError.

    asked: what the block needs the GPU for, in a few words.
    """
    try:
        yield
    except Exception as error:  # of numba-cuda or cuda-core, whose classes have only the name of the error in common
        name = next((name for name in EXPLAINED if name in str(error)), None)
        if name is None:
            raise
        raise UserError(EXPLAINED[name](asked)) from None


def _memory_full(asked):
    try:
        free, total = cuda.current_context().get_memory_info()
        left = f": {free / 2**30:.1f} of its {total / 2**30:.1f} GiB are free"
    except Exception:  # a GPU in trouble may not even answer this
        left = ""
    return f"the GPU's memory does not hold {asked}{left}; try a smaller batch, fewer filters, or --device cpu"


def _too_many_threads(asked):
    return f"the GPU has too few registers for {asked} with such large blocks; try --block 16x16"


def _driver_misfit(asked):
    try:
        driver = "the installed one is for CUDA {}.{}".format(*cuda.cudadrv.driver.driver.get_version())
    except Exception:
        driver = "the installed one does not answer"
    return (
        f"NVIDIA's driver does not fit the compiler in requirements.txt: {driver}; install a newer one, or --device cpu"
    )


EXPLAINED = {  # by the names of CUDA's errors
    "OUT_OF_MEMORY": _memory_full,
    "LAUNCH_OUT_OF_RESOURCES": _too_many_threads,
    **dict.fromkeys(
        ("UNSUPPORTED_PTX_VERSION", "INVALID_PTX", "NO_BINARY_FOR_GPU", "INSUFFICIENT_DRIVER", "DRIVER_MISMATCH",
         "JIT_COMPILER_NOT_FOUND"), _driver_misfit
    ),
}  # fmt: skip


def use_gpu(device):
    """Whether to run on the GPU: device is "auto" (the GPU if there is one), "cuda" or "cpu".

    When "auto" means the CPU, one line on stderr says why. Raises UserError for "cuda" when there is no GPU.
    """
    problem = gpu_problem() if device != "cpu" else None
    if problem and device == "cuda":
        raise UserError(f"--device cuda: no GPU can be used here: {problem}")
    if problem:
        print(f"using the CPU, since no GPU can be used here: {problem}", file=sys.stderr)
    return device != "cpu" and not problem


def check_block(block):
    """The block (x, y), if a GPU takes it. Raises UserError if not."""
    x, y = block
    if x < 1 or y < 1 or x * y > MAX_THREADS:
        raise UserError(f"a block of {x}x{y} is {x * y} threads, and a CUDA GPU takes 1 to {MAX_THREADS}; try 16x16")
    return x, y


def parse_block(text):
    """An argparse type: "16x16" -> (16, 16)."""
    try:
        x, y = (int(side) for side in text.lower().split("x"))
        return check_block((x, y))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a block such as 16x16") from None
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def grid(columns, rows, images, block):
    """The grid (x, y, z) whose blocks give each of columns x rows x images elements a thread, with one image per z.

    A division that rounds up: 26 columns need two blocks of 16, and the last 6 threads of a row have nothing to do.
    """
    return -(-columns // block[0]), -(-rows // block[1]), images


def reusable_arrays(dtype=np.float32):
    """Returns a function that takes the sides of a shape and gives a device array of this dtype.

    For the same shape it gives the same array again. A layer asks it for the array of its output. So a training
    allocates only twice: for the full batches, and for the last one if that is smaller.
    """
    return cache(lambda *shape: cuda.device_array(shape, dtype))


@cache
def graph_problem():
    """None when launches can be recorded as a CUDA graph here, otherwise the reason in one line."""
    if SIMULATED:
        return "the CUDA simulator has no graphs"
    try:
        from cuda.core.graph import GraphBuilder  # noqa: F401
    except ImportError:
        return "it needs cuda-core 1.0 or newer; install requirements.txt"
    return None


def record(launch):
    """Record the kernels and copies that launch(stream) asks for as a CUDA graph; returns a function that replays them.

    A replay costs the host far less than the launches do. Their arguments stay what they were: the caller must keep the
    arrays, on the device and on the host, as long as the returned function is used. Needs `graph_problem` to be None.
    """
    from cuda.core import Device

    device = Device(cuda.get_current_device().id)
    device.set_current()
    cuda.synchronize()
    recorder = device.create_stream().create_graph_builder().begin_building()
    try:
        launch(recorder.stream)
    finally:
        recorder.end_building()
    graph = recorder.complete()
    return lambda: graph.launch(device.default_stream)


class Repeated:
    """Calls launch(stream), always the same one.

    The first call launches. The second call records the launch and replays the recording, and all later ones replay it.

    Where nothing can be recorded, every call launches.
    """

    def __init__(self):
        self.launched = False
        self.replay = None

    def __call__(self, launch):
        if self.launched and self.replay is None and graph_problem() is None:
            self.replay = record(launch)
        if self.replay:
            self.replay()
        else:
            launch(0)
        self.launched = True


@cuda.jit(device=True)
def block_sum(value):
    """The sum of one float32 from each thread of the block, returned to all of them; every thread must call it.

    A tree reduction in shared memory: the upper half of the values is added to the lower half, again and again, until
    one value is left. The order of the additions depends only on the shape of the block, so the same shape gives the
    same bits every time.
    """
    values = cuda.shared.array(MAX_THREADS, float32)
    thread = cuda.threadIdx.y * cuda.blockDim.x + cuda.threadIdx.x
    count = cuda.blockDim.x * cuda.blockDim.y
    values[thread] = value
    cuda.syncthreads()
    while count > 1:
        half = (count + 1) // 2
        if thread < count - half:
            values[thread] += values[thread + half]
        cuda.syncthreads()
        count = half
    total = values[0]
    cuda.syncthreads()  # no thread may write values of the next sum before all have read this total
    return total
