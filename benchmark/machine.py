"""The machine that is measured, and the least time that an epoch can take on its GPU: the floor.

Training cannot do without some arithmetic, and without reading the images. The floor is the time of the arithmetic at
the card's peak speed, or that of the reads at its memory bandwidth if this is longer, plus the time of two grid-wide
barriers a step. What a barrier costs is measured, by a kernel that does nothing but wait at barriers.
"""

import datetime
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import numba
from numba import cuda

import kernel_cache  # noqa: F401 (where the compiled functions are kept)
from benchmark.timing import REPEATS, time_calls
from sizes import IMAGE_SIZE, NUM_CLASSES, POOLED_SIZE

# The floor.


def flops_per_image(filters):
    """Floating-point operations that learning one image cannot do without; a multiply-add is two.

    Forward: the convolution takes 9 multiply-adds for each place and filter, then comes the dense layer. Backward: the
    dense layer comes twice, once for its weights and once for its inputs. In the convolution only the places that won
    their pooling window pass on a gradient.
    """
    pooled = POOLED_SIZE * POOLED_SIZE * filters
    convolution = 2 * 9 * (4 * pooled) + 2 * 9 * pooled
    dense = 3 * 2 * pooled * NUM_CLASSES
    return convolution + dense


def floor(card, images, batch_size, filters):
    """The least time that an epoch can take on this card (see `describe_card`), and its parts, in seconds.

    compute: floating-point operations / the card's peak. memory: bytes / its memory bandwidth; the images, the labels
    and the order are read once each, and all the rest fits in the caches. barriers: two grid-wide barriers a
    step. The update must wait until all images have left their gradients; the next step must wait for the new weights.
    total: the larger of compute and memory, plus barriers. Returns None where the card does not tell its speed.
    """
    if None in (card["peak_flops"], card["bandwidth"], card["barrier_seconds"]):
        return None
    compute = images * flops_per_image(filters) / card["peak_flops"]
    memory = images * (IMAGE_SIZE * IMAGE_SIZE + 4 + 4) / card["bandwidth"]
    barriers = 2 * -(-images // batch_size) * card["barrier_seconds"]
    return {"compute": compute, "memory": memory, "barriers": barriers, "total": max(compute, memory) + barriers}


@cuda.jit(cache=True)
def wait_for_all(count):
    """`count` barriers over the whole grid, and nothing else."""
    everybody = cuda.cg.this_grid()
    for _ in range(count):
        everybody.sync()


def barrier_seconds(blocks, threads=256, count=10_000):
    """The price of one grid-wide barrier over so many blocks; None where the card allows none."""
    try:
        seconds = time_calls(lambda: wait_for_all[blocks, threads](count), REPEATS, cuda.synchronize)
    except Exception:  # the driver's refusal, whose class depends on the version of numba-cuda
        return None
    return seconds["median"] / count


# The machine.


def describe_card(images, batch_size, filters):
    """What the card tells of itself, and the floor of an epoch of so many images.

    peak_flops: multiprocessors x float32 lanes x 2 (multiply-add) x clock. bandwidth: bytes/s, bus width x memory clock
    x 2 (double data rate). Lanes of a multiprocessor: CUDA C++ Programming Guide, "Arithmetic Instructions".
    """
    device = cuda.get_current_device()
    capability = tuple(device.compute_capability)
    lanes = 64 if capability in ((6, 0), (7, 0), (7, 2), (7, 5), (8, 0)) else 128
    blocks = min(batch_size, device.MULTIPROCESSOR_COUNT)
    card = {
        "compute_capability": f"{capability[0]}.{capability[1]}",
        "multiprocessors": device.MULTIPROCESSOR_COUNT,
        # Some drivers answer 0 for a clock that they do not tell.
        "peak_flops": device.MULTIPROCESSOR_COUNT * lanes * 2 * device.CLOCK_RATE * 1000 or None,
        "bandwidth": 2 * device.MEMORY_CLOCK_RATE * 1000 * device.GLOBAL_MEMORY_BUS_WIDTH // 8 or None,
        "barrier_seconds": barrier_seconds(blocks),
        "barrier_blocks": blocks,
    }
    return card | {"floor": floor(card, images, batch_size, filters)}


def describe_machine(has_gpu):
    """GPU, driver, CPU, cores and versions: a time without them says nothing."""
    versions = {"python": platform.python_version()}
    for package in ("numpy", "numba", "numba-cuda"):
        versions[package] = metadata.version(package)
    return {
        "date": datetime.date.today().isoformat(),
        "gpu": str(cuda.get_current_device().name) if has_gpu else None,
        "driver": driver_version() if has_gpu else None,
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "threads": numba.get_num_threads(),
        "system": platform.platform(terse=True),
        "versions": versions,
    }


def driver_version():
    """The NVIDIA driver's version, as nvidia-smi tells it; None where it does not."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return None


def cpu_name():
    """The processor's name, from /proc/cpuinfo where there is one."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
