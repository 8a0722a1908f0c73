"""How work is laid over the GPU: is there one, which blocks and grid does it take, what is replayed, a block's sum.

The layers write a kernel for ONE element of the result, which one thread computes or, where it is a long sum, one
block, and launch it over a grid that covers them all. What is launched again and again can be recorded (`record`).
`from numba import cuda` gives numba-cuda, NVIDIA's package, where it is installed (requirements.txt does); with it
comes the CUDA simulator, in which the tests run these same kernels without a GPU.
"""

import argparse
import os
import sys
from functools import cache

import numpy as np
from numba import config, cuda, float32

import kernel_cache  # noqa: F401 (where the compiled kernels are kept)
from errors import UserError

# A small grid leaves a large GPU idle, and Numba warns of each one. Here batches of one image are part of the lesson.
config.CUDA_LOW_OCCUPANCY_WARNINGS = 0

SIMULATED = os.environ.get("NUMBA_ENABLE_CUDASIM", "0") == "1"
BLOCK = (16, 16)  # threads in a block, unless the caller chooses
DEVICES = ("auto", "cuda", "cpu")
MAX_THREADS = 1024  # in a block, on every CUDA GPU


def gpu_problem():
    """None when kernels can run here, otherwise the reason in one line."""
    try:
        if cuda.is_available():
            cuda.get_current_device()
            return None
        problem = str(getattr(cuda, "cuda_error", lambda: None)() or "no CUDA driver, or no CUDA GPU, was found")
    except Exception as error:  # a broken driver can answer with nearly anything, and none of it is for the user
        problem = str(error) or type(error).__name__
    return " ".join(problem.split())


def use_gpu(device):
    """Whether to run on the GPU, for a --device of "auto" (where there is one), "cuda" or "cpu".

    Says in one line on stderr why "auto" means the CPU. Raises UserError when "cuda" is asked for and there is none.
    """
    problem = gpu_problem() if device != "cpu" else None
    if problem and device == "cuda":
        raise UserError(f"--device cuda: no GPU can be used here: {problem}")
    if problem:
        print(f"using the CPU, since no GPU can be used here: {problem}", file=sys.stderr)
    return device != "cpu" and not problem


def check_block(block):
    """The block as (x, y) when the GPU takes it. Raises UserError when not."""
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


def grid(columns, rows, layers, block):
    """Blocks needed to give each of columns x rows x layers elements a thread: (x, y, z) with one layer per z."""
    return -(-columns // block[0]), -(-rows // block[1]), layers


def reusable_arrays(dtype=np.float32):
    """A function (*shape) -> device array of this dtype that hands out the same array each time it sees the same shape.

    A layer asks it for its output: a training run then allocates twice, for the full batches and for the last one.
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
    """A CUDA graph of the kernels and copies that launch(stream) asks for, as a function that replays them.

    It costs the host far less than the launches do. Their arguments are frozen: the caller keeps the arrays, on the
    device and on the host, for as long as the function. Needs `graph_problem` to be None.
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
    """Calls launch(stream), always the same; records it when it comes again, and replays the recording from then on.

    Where nothing can be recorded it launches every time.
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

    A tree in shared memory: the upper half of the values is added to the lower half until one is left. The order of
    the additions depends on the block's shape alone, so the same block gives the same bits every time.
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
    cuda.syncthreads()  # nobody may write the next sum's values before everybody has read this one
    return total
