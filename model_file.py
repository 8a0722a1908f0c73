"""The model file: one .npz that means the same to every engine.

It holds the four arrays of `Parameters` and `meta`, a JSON string: format, activation, seed, epochs trained, versions,
and the recipe of the training. It is read without pickle, which could run code, and checked before it is used.
"""

import errno
import json
import os
import platform
import reprlib
import stat
import warnings
import zipfile
from typing import NamedTuple

import numpy as np

from errors import UserError
from files import replacing
from sizes import MAX_CLASSES, NUM_CLASSES, POOLED_SIZE

FORMAT = 1
MAX_BYTES = 2**25  # that a file may unpack to; a network of 1,024 filters and 32 classes has 22 million
NUMPY_WRITES = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}  # of other kinds, zipfile unpacks more than was asked for
MAX_LOGIT = 1e30  # float32 ends at 3e38
ACTIVATIONS = ("none", "relu")


class Parameters(NamedTuple):
    """What the network learns, all float32."""

    filters: np.ndarray  # (F, 3, 3)
    filter_biases: np.ndarray  # (F,), used with activation "relu" only
    weights: np.ndarray  # (13*13*F, C), rows in (row, column, filter) order
    biases: np.ndarray  # (C,)


def write_model(path, parameters, meta):
    """Write a model file, whole or not at all; meta is completed with the format and the versions.

    Raises UserError when parameters or meta do not fit this network, or when the file cannot be written.
    """
    from importlib.metadata import version  # it takes time to import, and who only reads a model does without

    versions = {name: version(name) for name in ("numpy", "numba", "numba-cuda")}
    meta = {**meta, "format": FORMAT, "versions": {"python": platform.python_version(), **versions}}
    problem = model_problem(parameters, meta)
    if problem:
        raise UserError(f"{path}: this model is not saved: {problem}")
    try:
        with replacing(path) as file:
            np.savez(file, **parameters._asdict(), meta=json.dumps(meta))
    except OSError as error:
        raise UserError(f"{path}: the model cannot be saved there: {error.strerror}") from None


def read_model(path):
    """(Parameters, meta) from a model file. Raises UserError when it is not a model of this network."""
    try:
        parameters, meta = _unpack(path)
    except UserError:
        raise
    except Exception as error:
        # zipfile, NumPy and json raise errors of all kinds on a text, a picture, a forged archive. OSError is one of
        # them: the system says "invalid argument" of a place before the file's beginning.
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise UserError(f"{path}: the model cannot be read: {error.strerror or error}") from None
        writers = "cnn_gpu.py, cnn_jit.py and cnn_cpu.py write one"
        raise UserError(f"{path}: not a model file of this project; {writers}") from None
    problem = model_problem(parameters, meta)
    if problem:
        raise UserError(f"{path}: the model does not fit this network: {problem}")
    return Parameters(*map(np.ascontiguousarray, parameters)), meta


def _unpack(path):
    """(Parameters, meta) as they are in the file, after a look at how much there is to unpack."""
    status = os.stat(path)
    if stat.S_ISCHR(status.st_mode) or stat.S_ISFIFO(status.st_mode):
        raise UserError(f"{path}: the model cannot be read: it is no ordinary file")  # it might have no end
    unpacked = status.st_size
    if unpacked <= MAX_BYTES:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
            if not {member.compress_type for member in archive.infolist()} <= NUMPY_WRITES:
                raise ValueError("compressed otherwise")
    if unpacked > MAX_BYTES:
        raise UserError(f"{path}: not a model file of this project: it unpacks to {unpacked:,} bytes")
    with warnings.catch_warnings(), np.load(path, allow_pickle=False) as archive:
        warnings.simplefilter(
            "error"
        )  # NumPy warns of arrays that it reads all the same; no model file of ours is such
        parameters = Parameters(*(archive[name] for name in Parameters._fields))
        if not all(isinstance(array, np.ndarray) for array in parameters):  # NumPy gives the bytes of what is no array
            raise ValueError("no array")
        return parameters, json.loads(str(archive["meta"]))


def model_problem(parameters, meta):
    """What keeps these Parameters and this meta from being a model of this network, in a few words; None if nothing."""
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        return f"its format is not version {FORMAT}"
    if meta.get("activation") not in ACTIVATIONS:
        return f"its activation is {reprlib.repr(meta.get('activation'))}, not one of {', '.join(ACTIVATIONS)}"
    for name in ("seed", "epochs_trained"):
        if not isinstance(meta.get(name, 0), int) or meta.get(name, 0) < 0:
            return f"its {name} is {reprlib.repr(meta[name])}, not a whole number from 0"
    count = len(parameters.filters) if parameters.filters.ndim else 0
    num_classes = len(parameters.biases) if parameters.biases.ndim else 0
    shapes = Parameters((count, 3, 3), (count,), (POOLED_SIZE**2 * count, num_classes), (num_classes,))
    for name, array, shape in zip(Parameters._fields, parameters, shapes, strict=True):
        if array.shape != shape or count == 0:
            return f"{name} has the shape {array.shape}"
        if array.dtype != np.float32:
            return f"{name} holds {array.dtype}, not float32"
        if not np.isfinite(array).all():
            return f"{name} holds a value that is not finite"
    if not NUM_CLASSES <= num_classes <= MAX_CLASSES:
        return f"it has {num_classes} classes, not {NUM_CLASSES} to {MAX_CLASSES}"
    if largest_logit(parameters) > MAX_LOGIT:
        return "its numbers are so large that reading an image would overflow"
    return None


def largest_logit(parameters):
    """A bound that no logit of any image exceeds, in float64: every pixel is at most 0.5 from 0."""
    filters, filter_biases, weights, biases = (np.abs(array.astype(np.float64)) for array in parameters)
    pooled = 0.5 * filters.sum(axis=(1, 2)) + filter_biases  # (F,)
    with np.errstate(invalid="ignore"):  # of what is not finite, the bound is not finite either
        return (np.tile(pooled, POOLED_SIZE**2) @ weights + biases).max()
