"""What `python conv_gpu.py`, `python pool_gpu.py` and `python softmax_gpu.py` do: check the kernels, then time them.

A wrong kernel is not worth timing. So the kernels of every block shape are first compared with the plain-Python layer,
which computes in float64 for this. The layer's file brings the steps (`Step`); the comparing, the timing and the tables
are here.

Without a GPU the kernels run in Numba's CUDA simulator. It is thousands of times slower, so there they are checked on
small images, with one small block, and not timed.
"""

import inspect
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numba import cuda

from errors import Parser
from gpu_launch import BLOCK_SHAPES, SIMULATED, Repeated, gpu_problem, graph_problem, grid
from sizes import IMAGE_SIZE

TOLERANCE = 1e-5  # float32 rounds to 6e-8, and the longest sum here, of 64 x 676 numbers, loses some bits more
LAUNCHES = 100  # in one recording: so many that the start of its replay hardly counts
REPLAYS = 30


class Work(NamedTuple):
    """How much the layers are given to do."""

    image_size: int
    filters: int
    images: int
    blocks: tuple

    @property
    def convolved_size(self):
        return self.image_size - 2

    @property
    def pooled_size(self):
        return self.convolved_size // 2


ON_GPU = Work(IMAGE_SIZE, 8, 64, BLOCK_SHAPES)
IN_SIMULATOR = Work(8, 2, 2, ((4, 4),))


class Step(NamedTuple):
    """A step of a layer: forward, backward or update."""

    name: str
    launch: Callable  # () launches the kernels
    elements: tuple  # what the threads share out: (columns, rows), or (count,) where the block's shape does not matter
    wanted: list  # the arrays that the plain layer computed
    found: Callable | None = None  # () -> the arrays that the kernels computed. None: the one that launch returns


def check_and_time(steps_of, argv=None):
    """Check a layer's kernels for every block shape, then time them on the GPU. Returns the exit status.

    steps_of(work) runs the plain layer and returns a function: block -> (layer on the GPU, its steps in order).
    """
    parser = Parser(description="Checks the kernels of this file against its plain-Python layer, then times them.")
    parser.parse_args(argv)
    if SIMULATED:
        # The simulator's threads wait for each other by turns of the interpreter, which last 5 ms each by default.
        sys.setswitchinterval(3e-4)
        return check(steps_of(IN_SIMULATOR), IN_SIMULATOR)
    problem = gpu_problem()
    if problem:
        print(f"no GPU can be used here ({problem}): checking in the CUDA simulator, timing nothing", flush=True)
        return run_in_simulator(inspect.getfile(steps_of))
    steps = steps_of(ON_GPU)
    return check(steps, ON_GPU) or report_times(steps, ON_GPU, cuda.get_current_device().name)


def run_in_simulator(script):
    """Run the script in a process with the simulator switched on: numba reads the switch when it is imported."""
    environment = os.environ | {"NUMBA_ENABLE_CUDASIM": "1"}
    # In a session of its own the process hears no Ctrl-C. This one does: it ends the other, and says so once.
    return subprocess.call([sys.executable, script], env=environment, start_new_session=True)


def check(steps, work):
    """Print the largest difference of each step for each block shape. Returns 0, or 1 if one is above TOLERANCE."""
    print(f"{describe(work)}: kernels against plain Python, largest difference (allowed: {TOLERANCE:.0e})")
    wrong = []
    for block in work.blocks:
        cells = []
        for step in steps(block)[1]:
            returned = step.launch()
            found = step.found() if step.found else [returned]
            off = max(difference(*pair) for pair in zip(found, step.wanted, strict=True))
            cells.append(f"{step.name} {off:.2g}")
            if not off <= TOLERANCE:  # also when it is not a number
                wrong.append(f"{step.name} with block {block[0]}x{block[1]}")
        print_row(block, cells)
    if wrong:
        print(f"{os.path.basename(sys.argv[0])}: error: wrong numbers from {', '.join(wrong)}", file=sys.stderr)
    return 1 if wrong else 0


def difference(found, wanted):
    """The largest difference between two arrays, relative to the largest number in `wanted` or to 1."""
    found = found.copy_to_host() if hasattr(found, "copy_to_host") else found
    wanted = np.asarray(wanted, np.float64)
    if found.shape != wanted.shape:
        raise ValueError(f"the kernels give {found.shape}, the plain layer {wanted.shape}")
    return np.abs(found - wanted).max() / max(1, np.abs(wanted).max())


def report_times(steps, work, card):
    """Print the time and the share of useful threads of each step for each block shape. Returns 0."""
    how = f"median of {REPLAYS} x {LAUNCHES} launches"
    if graph_problem():
        how += f", the work of Python included ({graph_problem()})"
    print(f"{card}, {how}; in brackets: threads with work")
    for block in work.blocks:
        layer, todo = steps(block)
        cells = []
        for step in todo:
            step.launch()  # the next step needs its result
            duration, useful = microseconds(layer, step.launch), useful_share(step.elements, block)
            cells.append(f"{step.name} {duration:.1f} us ({useful:.0%})")
        print_row(block, cells)
    return 0


def microseconds(layer, launch):
    """The median time of one launch of a layer's step, by `recorded_seconds`."""

    def in_stream(stream):
        layer.stream = stream
        launch()
        layer.stream = 0

    return statistics.median(recorded_seconds(in_stream, LAUNCHES, REPLAYS)) * 1e6


def recorded_seconds(launch, launches=LAUNCHES, replays=REPLAYS):
    """Seconds of one launch(stream), measured `replays` times: a list.

    Python needs longer to launch a small kernel than the GPU to run it. So `launches` of them are recorded as a CUDA
    graph, and the replay of the recording is timed.
    """

    def all_launches(stream):
        for _ in range(launches):
            launch(stream)

    repeated = Repeated()
    samples = []
    for _ in range(2 + replays):
        cuda.synchronize()
        start = time.perf_counter()
        repeated(all_launches)
        cuda.synchronize()
        samples.append((time.perf_counter() - start) / launches)
    return samples[2:]  # the first two launch from Python and record


def useful_share(elements, block):
    """The share of the threads that have work, where each element has a thread: the others are past the edge.

    It is the same for one block that goes over the elements in steps of its shape, in all its rounds taken together.
    """
    if len(elements) == 1:
        elements, block = (*elements, 1), (block[0] * block[1], 1)
    x, y, _ = grid(*elements, 1, block)
    return elements[0] * elements[1] / (x * block[0] * y * block[1])


def in_float64(*arrays):
    """Copies for the plain layer."""
    return [array.astype(np.float64) for array in arrays]


def describe(work):
    return f"{work.images} images of {work.image_size}x{work.image_size}, {work.filters} filters"


def print_row(block, cells):
    shape = f"{block[0]}x{block[1]}"
    print(f"block {shape:<5}", *(f"{cell:<24}" for cell in cells[:-1]), cells[-1], flush=True)
