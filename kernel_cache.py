"""Where Numba keeps compiled functions: in a folder of the present source, so that every edit takes effect.

Numba's cache on the disk notes when the file of a compiled function has changed, but not when its helpers and constants
in other files have. After an edit there, the old machine code would stay in use: a student's change would do nothing.
So the name of the folder is a hash of all files that matter (SOURCES). After an edit there is a new folder, and the old
one is deleted.

Every module with a `cache=True` imports this one, because Numba must know the folder before it meets the first of them.
A folder that the user has chosen, by the environment variable NUMBA_CACHE_DIR, is left alone.
"""

import hashlib
import shutil
from pathlib import Path

from numba import config

ROOT = Path(__file__).resolve().parent
PARENT = ROOT / "__pycache__"
PREFIX = "kernels-"
SOURCES = (  # all files with functions that Numba compiles and keeps, and with constants of theirs
    "benchmark/machine.py", "cnn_jit.py", "conv_gpu.py", "distortion.py", "epoch_gpu.py", "epoch_plan.py",
    "gpu_instructions.py", "gpu_launch.py", "layers_gpu.py", "pool_gpu.py", "sizes.py", "softmax_gpu.py",
)  # fmt: skip


def folder():
    """The folder for the source as it is now."""
    source = hashlib.sha256()
    for name in SOURCES:
        source.update((ROOT / name).read_bytes())
    return PARENT / f"{PREFIX}{source.hexdigest()[:16]}"


def use_folder():
    """Tell Numba about the folder, and delete those of earlier source."""
    current = folder()
    config.CACHE_DIR = str(current)
    for old in PARENT.glob(f"{PREFIX}*"):
        if old != current:
            shutil.rmtree(old, ignore_errors=True)


if not config.CACHE_DIR:
    use_folder()
