"""Where Numba keeps compiled functions: a folder named after a hash of the present source. So every edit takes effect.

Numba's cache on the disk notes when the file of a compiled function has changed, but not when its helpers and constants
in other files have. After an edit there, the old machine code would stay in use: a student's change would do nothing.
So the name of the folder is a hash of all files that matter (SOURCES). After an edit there is a new folder, and the old
one is deleted.

Every module with a `cache=True` imports this one, because Numba must know the folder before the first function with
`cache=True` is declared.
A folder that the user has chosen, by the environment variable NUMBA_CACHE_DIR, is left alone. Where nothing can be
written, or the disk is nearly full, a temporary folder serves until the program ends.
"""

import atexit
import errno
import os
import shutil
import tempfile
from pathlib import Path

from numba import config

from files import source_hash

ROOT = Path(__file__).resolve().parent
PARENT = ROOT / "__pycache__"
PREFIX = "kernels-"
ROOM = 2**26  # bytes; all kernels together need a tenth of it
SOURCES = (  # all files with functions that Numba compiles and keeps, and with constants of theirs
    "benchmark/machine.py", "cnn_jit.py", "conv_gpu.py", "distortion.py", "epoch_gpu.py", "epoch_plan.py",
    "first_kernel.py", "gpu_instructions.py", "gpu_launch.py", "layers_gpu.py", "pool_gpu.py", "reading_gpu.py",
    "sizes.py", "softmax_gpu.py",
)  # fmt: skip


def folder():
    """The folder for the source as it is now."""
    return PARENT / f"{PREFIX}{source_hash(ROOT, SOURCES)[:16]}"


def use_folder():
    """Tell Numba about the folder, and delete those of earlier source."""
    current = folder()
    try:
        current.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=current).close()
        if shutil.disk_usage(current).free < ROOM:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError:
        # Numba would look for another place by itself, and might find machine code of earlier source there.
        current = Path(tempfile.mkdtemp(prefix=PREFIX))
        atexit.register(shutil.rmtree, current, ignore_errors=True)
    config.CACHE_DIR = str(current)
    for old in PARENT.glob(f"{PREFIX}*"):
        if old != current:
            shutil.rmtree(old, ignore_errors=True)


if not config.CACHE_DIR:
    use_folder()
