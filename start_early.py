"""What `cnn_gpu.py` begins in threads while it imports its modules: the GPU is opened, and MNIST is unpacked.

Each of the three takes a part of a second, and only the imports keep Python busy. CUDA opens a GPU once for a process:
later Numba finds it open. Where there is no driver or no GPU, nothing happens here, and `gpu_launch.gpu_problem` says
why.
"""

import contextlib
import ctypes
import os
import sys
import threading

import mnist_data


def open_gpu():
    """Have CUDA make its primary context of the first GPU, the one that Numba takes."""
    with contextlib.suppress(OSError):  # there is no such library
        driver = ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
        if driver.cuInit(0) == 0:
            driver.cuDevicePrimaryCtxRetain(ctypes.byref(ctypes.c_void_p()), 0)


mnist_data.begin_to_load()
if os.environ.get("NUMBA_ENABLE_CUDASIM", "0") != "1" and not any(word.endswith("cpu") for word in sys.argv):
    threading.Thread(target=open_gpu).start()
