"""MNIST is loaded whole or not at all: missing, truncated and altered files, against a local server of ours."""

import functools
import gzip
import http.server
import shutil
import socket
import threading
import time
import tracemalloc

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


def test_what_was_begun_is_not_read_again(mnist, folder, mirror, monkeypatch):
    mnist_data.begin_to_load(folder)
    with monkeypatch.context() as patch:
        patch.setattr(mnist_data, "read_checked", None)
        for found, wanted in zip(mnist_data.load(folder), mnist, strict=True):
            np.testing.assert_array_equal(found, wanted)
    (folder / LABELS).write_bytes(b"damaged since")
    with pytest.raises(UserError, match="cannot be read"):  # and the next time all are read anew
        mnist_data.load(folder)


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
    assert not list(folder.glob(".*"))


@pytest.mark.parametrize("kind", ["missing", "truncated"])
def test_a_bad_file_that_was_begun_is_fetched_too(kind, folder, mirror):
    whole = (folder / LABELS).read_bytes()
    (mirror / LABELS).write_bytes(whole)
    (folder / LABELS).unlink()
    if kind != "missing":
        (folder / LABELS).write_bytes(damaged(kind, whole))
    mnist_data.begin_to_load(folder)
    np.testing.assert_array_equal(mnist_data.load(folder).test_labels[:5], [7, 2, 1, 0, 4])


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
    assert not (folder / LABELS).exists() and not list(folder.glob(".*"))


def test_a_damaged_file_that_cannot_be_fetched_stays_as_it_was(folder, mirror):
    (folder / LABELS).write_bytes(b"damaged")
    with pytest.raises(UserError, match="cannot be read"):
        mnist_data.load(folder)
    assert (folder / LABELS).read_bytes() == b"damaged"


def test_a_mirror_that_never_answers_costs_seconds_and_is_said_to_be_waited_for(folder, monkeypatch, capsys):
    """As behind a firewall that drops packets. A limit for each of the mirror's addresses once made minutes of this."""
    (folder / LABELS).unlink()
    monkeypatch.setattr(mnist_data, "PATIENCE", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # the connection stands, and then nothing comes
        mirror = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        monkeypatch.setattr(mnist_data, "MIRRORS", (mirror, mirror))
        start = time.monotonic()
        with pytest.raises(UserError, match="nothing came for 0.5 seconds.*nothing came for 0.5 seconds"):
            mnist_data.load_file(folder, LABELS)
        assert 1 <= time.monotonic() - start < 3
    assert f"fetching {LABELS} from {mirror}" in capsys.readouterr().err


def test_a_name_that_is_looked_up_for_ever_costs_seconds_too(folder, monkeypatch):
    (folder / LABELS).unlink()
    monkeypatch.setattr(mnist_data, "PATIENCE", 0.2)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: threading.Event().wait())
    with pytest.raises(UserError, match="nothing came"):
        mnist_data.load_file(folder, LABELS)


def test_how_much_is_still_to_come_is_shown(folder, mirror, capsys):
    whole = (folder / LABELS).read_bytes()
    (mirror / LABELS).write_bytes(whole)
    (folder / LABELS).unlink()
    mnist_data.load_file(folder, LABELS)
    assert f"{mnist_data.MIRRORS[1]}: 100%" in capsys.readouterr().err


def test_a_file_that_unpacks_to_very_much_is_not_unpacked(folder):
    bomb = gzip.compress(bytes(200_000_000), 1)
    (folder / LABELS).write_bytes(bomb)
    tracemalloc.start()
    array, problem = mnist_data.read_checked(folder / LABELS, LABELS)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert array is None and "altered" in problem
    assert peak < 120_000_000
