"""MNIST is loaded whole or not at all: missing, truncated and altered files, against a local server of ours."""

import functools
import gzip
import http.server
import shutil
import threading

import mnist as package
import numpy as np
import pytest

import mnist_data
from errors import UserError

LABELS = "t10k-labels-idx1-ubyte.gz"


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def folder(tmp_path):
    """A copy of data/ to damage."""
    shutil.copytree(mnist_data.DATA_DIR, tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A folder that a local server gives out; mnist_data knows a dead mirror first, then this one."""
    served = tmp_path / "mirror"
    served.mkdir()
    handler = functools.partial(QuietHandler, directory=served)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/"
    monkeypatch.setattr(mnist_data, "MIRRORS", (f"{address}nothing-here/", address))
    monkeypatch.setattr(package, "datasets_url", package.datasets_url)
    yield served
    server.shutdown()
    server.server_close()


def damaged(kind, whole):
    """The bytes of a damaged file."""
    content = bytearray(gzip.decompress(whole))
    if kind == "altered":
        content[1000] ^= 1
        return gzip.compress(bytes(content))
    return {
        "truncated": whole[: len(whole) // 2],
        "shorter": gzip.compress(bytes(content[:-5])),
        "empty": b"",
        "not gzip": b"<html>404</html>",
        "not IDX": gzip.compress(b"hello, this is not IDX"),
        "garbled": whole[:100] + bytes(100) + whole[200:],
    }[kind]


def test_the_set_as_it_is_shipped(mnist):
    assert [array.shape for array in mnist] == [(60000, 28, 28), (60000,), (10000, 28, 28), (10000,)]
    assert all(array.dtype == np.uint8 for array in mnist)
    np.testing.assert_array_equal(mnist.train_labels[:5], [5, 0, 4, 1, 9])
    np.testing.assert_array_equal(mnist.test_labels[:5], [7, 2, 1, 0, 4])
    assert (mnist.train_images.min(), mnist.train_images.max()) == (0, 255)


KINDS = ["truncated", "altered", "shorter", "empty", "not gzip", "not IDX", "garbled"]


@pytest.mark.parametrize("kind", ["missing", *KINDS])
def test_a_bad_file_is_fetched_again(kind, folder, mirror):
    whole = (folder / LABELS).read_bytes()
    (mirror / LABELS).write_bytes(whole)
    (folder / LABELS).unlink()
    if kind != "missing":
        (folder / LABELS).write_bytes(damaged(kind, whole))
    loaded = mnist_data.load(folder)
    np.testing.assert_array_equal(loaded.test_labels[:5], [7, 2, 1, 0, 4])
    assert (folder / LABELS).read_bytes() == whole
    assert not list(folder.glob(".fetch-*"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_mirror_that_sends_rubbish_is_not_believed(kind, folder, mirror):
    whole = (folder / LABELS).read_bytes()
    (mirror / LABELS).write_bytes(damaged(kind, whole))
    (folder / LABELS).unlink()
    with pytest.raises(UserError) as caught:
        mnist_data.load(folder)
    message = str(caught.value)
    assert str(folder / LABELS) in message and "is missing" in message and "by hand" in message
    assert all(address + LABELS in message for address in mnist_data.MIRRORS) and "\n" not in message
    assert not (folder / LABELS).exists() and not list(folder.glob(".fetch-*"))


def test_a_damaged_file_that_cannot_be_fetched_stays_as_it_was(folder, mirror):
    (folder / LABELS).write_bytes(b"damaged")
    with pytest.raises(UserError, match="cannot be read"):
        mnist_data.load(folder)
    assert (folder / LABELS).read_bytes() == b"damaged"
