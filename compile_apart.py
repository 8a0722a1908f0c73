"""Has the kernel that reads compiled in a process of its own, while this one compiles the kernels that learn.

Numba compiles on one core, seconds for each kernel. Both processes keep what they compile in the same folder (see
kernel_cache.py), so this one only loads what the other has compiled. If the other one fails, nothing is lost: then the
kernel is not in the folder, and is compiled here when it is needed.
"""

import contextlib
import gc
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
from numba import config, cuda

from epoch_gpu import as_words
from gpu_launch import SIMULATED
from reading_gpu import Reader
from sizes import IMAGE_SIZE, WINDOWS

FOLDER = os.path.dirname(os.path.abspath(__file__))
SOON = 3.0  # seconds; kernels that were compiled before are loaded in less, and to compile the others takes longer
KEPT = "*.read_images-*"  # how Numba calls the files that hold this kernel, for whatever networks


@contextlib.contextmanager
def garbage_left():
    """Python's garbage collector waits until the end of the block, in which kernels are compiled.

    Numba makes millions of objects. To look through them again and again takes an eighth of the time.
    """
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


@contextlib.contextmanager
def reader_compiled_apart(num_filters, num_classes, relu):
    """The block compiles other kernels, and meanwhile `read_images` for this network is compiled in a process.

    If the block does not take long, its kernels were compiled before, and so was this one: then no process is started.
    Where nothing was ever compiled, it starts at once. At the end of the block it is waited for; if the block raises,
    Ctrl-C included, it is ended.
    """
    if SIMULATED:  # nothing is compiled
        yield
        return
    started = []
    soon = SOON if any(Path(config.CACHE_DIR).rglob(KEPT)) else 0
    timer = threading.Timer(soon, _start, [started, (num_filters, num_classes, relu)])
    timer.start()
    try:
        yield
        timer.cancel()
        timer.join()
        for process in started:
            process.wait()
    finally:
        timer.cancel()
        timer.join()
        for process in started:
            process.kill()  # if it still runs
            process.wait()


def _start(started, network):
    # The folder as this process calls it: Numba's cache knows a file by its name, also where a link leads to it.
    code = f"import gc, sys; gc.disable(); sys.path.insert(0, {FOLDER!r}); import compile_apart, interrupts; "
    code += f"interrupts.end_with_parent(); compile_apart.compile_reader{network}"
    environment = os.environ | {"NUMBA_CACHE_DIR": config.CACHE_DIR}  # also where that is a temporary folder
    silent = {name: subprocess.DEVNULL for name in ("stdin", "stdout", "stderr")}
    with contextlib.suppress(OSError):  # no more processes, or no memory: it goes on without one
        started.append(subprocess.Popen([sys.executable, "-c", code], env=environment, **silent))


def compile_reader(num_filters, num_classes, relu):
    """Compile `read_images` for a network, or load it: read a blank image with parameters that are all 0."""
    sizes = num_filters * 9, num_filters, num_classes * WINDOWS * num_filters, num_classes
    parameters = [cuda.to_device(np.zeros(size, np.float32)) for size in sizes]
    blank = np.zeros((1, IMAGE_SIZE, IMAGE_SIZE), np.uint8)
    Reader(num_filters, num_classes, relu, parameters).read(cuda.to_device(as_words(blank)))
