"""The first batch of a network in a new process: what compiling costs, and what Numba's cache on the disk saves.

python -m benchmark.first_step "Numba threads"     prints the seconds, in this process and with the present cache
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmark.rungs import LADDER, Settings, train
from errors import UserError
from interrupts import end_with_parent

ROOT = Path(__file__).resolve().parent.parent


def measure(name):
    """Seconds from making a network to the end of its first batch, of 64 images, in this process."""
    rung = next(rung for rung in LADDER if rung.name == name)
    images, labels = np.zeros((64, 28, 28), np.uint8), np.zeros(64, np.int32)
    start = time.perf_counter()
    train(rung, (images, labels), Settings(), epochs=1, warm_up=False)
    return time.perf_counter() - start


def measure_apart(name):
    """`measure` in two new processes: the first has an empty cache, the second has the one that the first has filled.

    Returns {"name", "compiled_seconds", "cached_seconds"}. Raises UserError when a process fails.
    """
    with tempfile.TemporaryDirectory() as cache:
        compiled, cached = (_in_new_process(name, cache) for _ in range(2))
    return {"name": name, "compiled_seconds": compiled, "cached_seconds": cached}


def _in_new_process(name, cache):
    command = [sys.executable, "-m", "benchmark.first_step", name]
    environment = os.environ | {"NUMBA_CACHE_DIR": cache}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise UserError(f"the first step of {name} failed in a new process: {reason}")
    return float(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    end_with_parent()  # or it would go on measuring when bench.py is killed
    print(measure(sys.argv[1]))
