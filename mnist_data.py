"""MNIST from the folder data/, read by the `mnist` package.

    data = mnist_data.load()
    data.train_images, data.train_labels, data.test_images, data.test_labels

Every file is checked against the SHA-256 of its decompressed content. A missing or damaged file is fetched from a
mirror, into a temporary folder. It is moved to data/ once it is whole.
"""

import contextlib
import gzip
import hashlib
import http.client
import os
import socket
import struct
import tempfile
import zlib
from pathlib import Path
from typing import NamedTuple

import mnist
import numpy as np

from errors import UserError

DATA_DIR = Path(__file__).resolve().parent / "data"

# The address in the package, yann.lecun.com, has not served the files for years.
MIRRORS = (
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
)
TIMEOUT = 30  # seconds without an answer until the next mirror is tried

SHA256 = {  # of the decompressed content
    "train-images-idx3-ubyte.gz": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte.gz": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte.gz": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte.gz": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


class MNIST(NamedTuple):
    """The whole set as uint8 arrays: images (N, 28, 28), ink 255 on 0, and labels (N,), 0 to 9."""

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


def load(folder=DATA_DIR):
    """Read the four files from a folder and return them as MNIST; fetch those that are missing or damaged.

    Raises UserError when a missing or damaged file cannot be fetched.
    """
    mnist.temporary_dir = lambda: str(folder)  # for other calls of the package in this process too
    return MNIST(*(_load_file(Path(folder), name) for name in SHA256))


def _load_file(folder, name):
    """The array of one file of the set; the file is fetched first if it is missing or damaged."""
    if (folder / name).is_file():
        array, problem = _read_checked(folder, name)
        if problem is None:
            return array
    else:
        problem = "is missing"
    return _fetch(folder, name, problem)


def _read_checked(folder, name):
    """(array, None) for a whole file with the right content, otherwise (None, what is wrong with it)."""
    try:
        array = mnist.download_and_parse_mnist_file(name, target_dir=str(folder))
    except (OSError, EOFError, zlib.error, gzip.BadGzipFile, mnist.IdxDecodeError, struct.error) as error:
        return None, f"cannot be read ({error})"
    if _sha256(array) != SHA256[name]:
        return None, "has been altered (its SHA-256 is not that of MNIST)"
    return array, None


def _sha256(array):
    """SHA-256 of the IDX file that holds this uint8 array: its header (type 8, axes, sizes), then its bytes."""
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    digest = hashlib.sha256(header)
    digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()


def _fetch(folder, name, problem):
    """Fetch a file from the first mirror that has it whole, put it into the folder and return its array."""
    tried = []
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as scratch, _network_timeout(TIMEOUT):
        for mirror in MIRRORS:
            mnist.datasets_url = mirror
            try:
                mnist.download_file(name, target_dir=scratch, force=True)
            except (OSError, http.client.HTTPException) as error:
                tried.append(f"{mirror}{name}: {error}")
                continue
            array, wrong = _read_checked(Path(scratch), name)
            if wrong is None:
                os.replace(Path(scratch) / name, folder / name)
                return array
            tried.append(f"{mirror}{name}: what it sent {wrong}")
    raise UserError(
        f"{folder / name} {problem}, and fetching it failed ({'; '.join(tried)}). "
        f"Put {name} into {folder} by hand, from any copy of MNIST."
    )


@contextlib.contextmanager
def _network_timeout(seconds):
    """A timeout for all new sockets: urlretrieve, which the mnist package uses, has no option for one."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
