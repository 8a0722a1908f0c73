"""MNIST from the folder data/, unpacked by the `mnist` package.

    data = mnist_data.load()
    data.train_images, data.train_labels, data.test_images, data.test_labels

Every file is checked against the SHA-256 of its decompressed content. A missing or damaged file is fetched from a
mirror and, once it is whole, written to data/.
"""

import hashlib
import http.client
import io
import queue
import threading
import urllib.request
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import mnist
import numpy as np
from tqdm import tqdm

from errors import UserError
from files import replacing

DATA_DIR = Path(__file__).resolve().parent / "data"

# The address in the package, yann.lecun.com, has not served the files for years.
MIRRORS = (
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
)
PATIENCE = 5  # seconds without a byte until the next mirror is tried
LONGEST = 16 + 60_000 * 28 * 28  # bytes that a file may unpack to: those of the training images

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
    return MNIST(*(load_file(Path(folder), name) for name in SHA256))


_begun = {}  # path -> Future of what `read_checked` gives


def begin_to_load(folder=DATA_DIR):
    """Read the files that are there, for the next `load`, in threads: meanwhile the caller has something else to do."""
    threads = ThreadPoolExecutor(len(SHA256))
    for name in SHA256:
        _begun[folder / name] = threads.submit(read_checked, folder / name, name)
    threads.shutdown(wait=False)


def load_file(folder, name):
    """The array of one file of the set, by its name in SHA256; see `load`. folder: a Path."""
    problem = "is missing"
    if (folder / name).is_file():
        begun = _begun.pop(folder / name, None)
        array, problem = begun.result() if begun else read_checked(folder / name, name)
        if problem is None:
            return array
    return _fetch(folder, name, problem)


def read_checked(file, name):
    """(array, None) for a whole file with the right content, otherwise (None, what is wrong with it).

    file: a path, or a binary file. name: which file of the set it should be.
    """
    try:
        content = _unpack(file.read() if hasattr(file, "read") else Path(file).read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        return None, f"cannot be read ({error})"
    if hashlib.sha256(content).hexdigest() != SHA256[name]:
        return None, "has been altered (its SHA-256 is not that of MNIST)"
    return mnist.parse_idx(io.BytesIO(content)), None


def _unpack(packed):
    """What is in the bytes of a gzip file; of a forged file, which may unpack to very much, only the beginning."""
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)  # 16: gzip's header. The gzip module reads in small pieces, ...
    content = unpacker.decompress(packed, LONGEST + 1)  # ... and one call leaves Python to the other threads meanwhile
    if len(content) <= LONGEST and not unpacker.eof:
        raise EOFError("it ends too early")
    return content


# -- fetching ---------------------------------------------------------------------------------------------------------


def _fetch(folder, name, problem):
    """Fetch a file from the first mirror that has it whole, put it into the folder and return its array."""
    tried = []
    for mirror in MIRRORS:
        try:
            content = _download(mirror, name)
        except (OSError, http.client.HTTPException) as error:
            tried.append(f"{mirror}{name}: {getattr(error, 'reason', None) or error}")
            continue
        array, wrong = read_checked(io.BytesIO(content), name)
        if wrong is None:
            folder.mkdir(parents=True, exist_ok=True)
            with replacing(folder / name) as file:
                file.write(content)
            return array
        tried.append(f"{mirror}{name}: what it sent {wrong}")
    raise UserError(
        f"{folder / name} {problem}, and fetching it failed ({'; '.join(tried)}). "
        f"Put {name} into {folder} by hand, from any copy of MNIST."
    )


def _download(mirror, name):
    """The bytes of a file on a mirror, with a progress bar. Raises OSError when none comes for PATIENCE seconds.

    A thread of its own receives them: a time limit of a socket holds for each of the mirror's addresses anew, and not
    for looking them up. A thread that nobody waits for any more ends with the program.
    """
    received = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(mirror + name, received), daemon=True).start()
    content = bytearray()
    with tqdm(desc=f"fetching {name} from {mirror}", unit="B", unit_scale=True, dynamic_ncols=True) as bar:
        while len(content) <= LONGEST:
            try:
                part = received.get(timeout=PATIENCE)
            except queue.Empty:
                raise TimeoutError(f"nothing came for {PATIENCE} seconds") from None
            if isinstance(part, Exception):
                raise part
            if isinstance(part, int):
                bar.total = part
                continue
            if not part:
                break
            content += part
            bar.update(len(part))
    return bytes(content)


def _receive(url, received):
    """Put what is at a URL into the queue: its length if that is known, parts of it, at the end b"", or the error."""
    try:
        with urllib.request.urlopen(url, timeout=10 * PATIENCE) as answer:  # by then, nobody waits for it any more
            if answer.headers.get("Content-Length", "").isdigit():
                received.put(int(answer.headers["Content-Length"]))
            while part := answer.read(2**16):
                received.put(part)
        received.put(b"")
    except Exception as error:  # it is raised where the parts are waited for
        received.put(error)
