"""Three ways to time a GPU wrong, each with the number that it gives here beside the right one.

All of them time the same kernel on the same images: the convolution, forward. The right way: the kernel is compiled,
the arrays are on the GPU, and the clock stops when the GPU is done.
"""

import time

import numpy as np
from numba import cuda

from benchmark.timing import REPEATS, summary, time_calls, time_launches
from conv_gpu import conv3x3_forward
from gpu_launch import BLOCK, grid
from network import initial_parameters, scale
from sizes import CONVOLVED_SIZE

NOT_WAITED, COPIED, COMPILED = "not waited", "copied", "compiled"


def measure(images, filters, seed=0):
    """The right seconds, and the wrong ones by the name of the mistake: {"images", "right", "wrong": {name: summary}}.

    images: uint8 (N, 28, 28), so many that the kernel outlasts its launch.
    """
    start, count = initial_parameters(filters, seed), len(images)
    on_host = (
        scale(images), start.filters, start.filter_biases, False,
        np.empty((count, CONVOLVED_SIZE, CONVOLVED_SIZE, filters), np.float32),
    )  # fmt: skip
    on_gpu = tuple(cuda.to_device(part) if isinstance(part, np.ndarray) else part for part in on_host)
    blocks = grid(CONVOLVED_SIZE, CONVOLVED_SIZE, count, BLOCK)

    def launch(arguments=on_gpu, kernel=conv3x3_forward):
        kernel[blocks, BLOCK](*arguments)

    return {
        "images": count,
        "right": time_calls(launch, synchronize=cuda.synchronize),
        "wrong": {
            NOT_WAITED: time_launches(launch, synchronize=cuda.synchronize),
            COPIED: time_calls(lambda: launch(on_host), REPEATS, cuda.synchronize),
            COMPILED: first_call(lambda kernel: launch(kernel=kernel)),
        },
    }


def first_call(launch):
    """The clock holds the compiler's work. A new kernel of the same source, which is not kept on the disk."""
    kernel = cuda.jit(conv3x3_forward.py_func)
    cuda.synchronize()
    start = time.perf_counter()
    launch(kernel)
    cuda.synchronize()
    return summary([time.perf_counter() - start])
