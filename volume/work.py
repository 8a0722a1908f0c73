"""One picture, read and drawn: what each process does, on this machine or another.

result = work(task)      a Reading, or the UserError if the picture cannot be read
"""

import functools
import hashlib
import threading
from pathlib import Path
from typing import NamedTuple

from cnn_numpy import CNNNumpy
from errors import UserError
from photos.drawing import annotate, save_image
from photos.opening import open_to_read
from photos.reading import read_page
from photos.stages import stage_sheet

DEFAULT_MODEL = Path(__file__).resolve().parent.parent / "weights" / "digits.npz"


class Task(NamedTuple):
    """What to do with one picture. Only text and numbers: it travels to other processes and machines."""

    path: str  # of the picture
    drawn: str | None  # where to write it with boxes and digits; None: nowhere
    sheet: str | None  # where to write the sheet of its stages; None: nowhere
    model: str | None  # path of the model file; None: DEFAULT_MODEL, wherever the repository lies on that machine
    model_hash: str  # see `model_hash`
    device: str  # see `load_model`
    min_confidence: float  # of a digit that is not drawn as `?`


def model_hash(path):
    """A hash, as a string, of what is in a model file. Raises UserError when it cannot be read."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None


def load_model(path, device):
    """The network from a model file, to read with: on the GPU for "cuda", otherwise on the CPU.

    A picture has a hundred crops or so. For them, NumPy needs a few milliseconds, while a GPU, or the engine that is
    compiled for the CPU, takes a second and more until it is ready. Raises UserError when the file is no model, or when
    "cuda" is asked for and there is no GPU.
    """
    if device != "cuda":
        return CNNNumpy.load(path)
    from gpu_launch import use_gpu  # slow to import, as is the next one

    use_gpu(device)
    from cnn_gpu import CNNGPU

    return CNNGPU.load(path)


@functools.lru_cache(maxsize=1)
def cached_model(path, expected_hash, device):
    """The model of a Task, loaded only once in each process. Raises UserError as `load_model` does."""
    path = path or str(DEFAULT_MODEL)
    if model_hash(path) != expected_hash:
        raise UserError(f"{path}: not the model that the others read with; it has changed, or differs on this machine")
    return load_model(path, device)


_one_at_a_time = threading.Lock()  # a Dask worker may call from several threads, but here a process has one core


def work(task):
    """Do a Task: the Reading of its picture, or the UserError if it cannot be read.

    Raises UserError when the model does not fit, or when a drawing cannot be written: the next picture would fare no
    better.
    """
    with _one_at_a_time:
        model = cached_model(task.model, task.model_hash, task.device)
        try:
            picture, size = open_to_read(task.path)
            page = read_page(picture, model)
            reading = page.reading(*size, task.path)
        except UserError as error:
            return error
        except Exception as error:  # a fault of the reader costs this picture, not the million others
            return UserError(f"{task.path}: the reader failed on it ({type(error).__name__}: {error})")
        if task.drawn:
            save_image(annotate(picture, reading, size, task.min_confidence), task.drawn)
        if task.sheet:
            save_image(stage_sheet(picture, page, size), task.sheet)
        return reading
