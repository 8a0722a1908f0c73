"""The first batch of a network in a new process: what compiling costs, and what Numba's cache on the disk saves.

python -m benchmark.first_step "Numba threads"         prints the seconds, in this process and with the present cache
python -m benchmark.first_step "GPU epoch" 256 8       compiles for batches of 256 and 8 filters, and keeps the kernels

A training that is timed needs its kernels compiled, for `epoch` for every batch size anew. One after the other that
takes a third of a run of bench.py. Here other processes do it side by side, before anything is timed.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from benchmark.rungs import EPOCH, LADDER, SLOW, Settings, train
from errors import UserError
from interrupts import end_with_parent

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT = 120  # seconds to compile the kernels of a rung


def measure(name):
    """Seconds from making a network to the end of its first batch, of 64 images, in this process."""
    start = time.perf_counter()
    train(rung_named(name), blank(64), Settings(), epochs=1, warm_up=False)
    return time.perf_counter() - start


def compile_kernels(name, batch_size, filters):
    """Compile what a rung needs to learn such batches, and to read; Numba keeps it on the disk."""
    rung, settings, data = rung_named(name), Settings(filters=filters), blank(batch_size)
    train(rung, data, settings, epochs=1, batch_size=batch_size, warm_up=False)
    rung.network(settings).predict(data[0][:1])


def rung_named(name):
    return next(rung for rung in LADDER if rung.name == name)


def blank(count):
    """So many blank images, and their labels."""
    return np.zeros((count, 28, 28), np.uint8), np.zeros(count, np.int32)


def measure_all(rungs, batch_sizes, settings):
    """`measure_apart` for each of these rungs, while the kernels that the run needs are compiled beside it.

    No more processes than half the cores, because two logical cores are often one. batch_sizes: those that the rung
    `epoch` will learn. Without a GPU nothing is compiled ahead: there is one engine, which does that for itself.
    """
    ahead = []
    if any(rung.path for rung in rungs):
        sizes = {EPOCH: batch_sizes}
        ahead = [(rung.name, size) for rung in rungs[1:] for size in sizes.get(rung, [settings.batch_size])]
    pool = ThreadPoolExecutor(max(1, (os.cpu_count() or 2) // 2))  # a thread waits for its processes
    try:
        timed = [pool.submit(measure_apart, rung.name) for rung in rungs if rung not in SLOW]
        kept = [pool.submit(compile_apart, *job, settings.filters) for job in ahead]
        with tqdm(total=len(timed) + len(kept), desc="compilation") as bar:
            for future in timed + kept:
                future.result()
                bar.update()
    finally:
        pool.shutdown(cancel_futures=True)  # after Ctrl-C none of them may begin
    return [future.result() for future in timed]


def compile_apart(name, batch_size, filters):
    """`compile_kernels` in a new process. Should it fail, then the training that needs the kernels will say why."""
    command = [sys.executable, "-m", "benchmark.first_step", name, str(batch_size), str(filters)]
    with contextlib.suppress(subprocess.TimeoutExpired):
        subprocess.run(command, cwd=ROOT, capture_output=True, timeout=TIMEOUT, check=False)


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
    if sys.argv[2:]:
        compile_kernels(sys.argv[1], *map(int, sys.argv[2:]))
    else:
        print(measure(sys.argv[1]))
