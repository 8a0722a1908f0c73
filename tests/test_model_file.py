"""A forged model file is one line, costs little time and memory, and what is read from one computes finite numbers."""

import io
import json
import os
import struct
import tracemalloc
import warnings
import zipfile

import numpy as np
import pytest

import model_file
from cnn_jit import CNNJit
from errors import UserError
from model_file import largest_logit, read_model
from network import initial_parameters

META = {"format": 1, "activation": "none"}


def members(**changed):
    """{name: bytes} of the members of a model file, some of them with other arrays."""
    arrays = initial_parameters(2, 0)._asdict() | {"meta": json.dumps(META)} | changed
    with io.BytesIO() as file:
        np.savez(file, **arrays)
        with zipfile.ZipFile(file) as archive:
            return {name: archive.read(name) for name in archive.namelist()}


def archived(path, contents, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return path


def with_meta(**changed):
    return members(meta=json.dumps(META | changed))


def with_header(change):
    """The members of a model file; the header of its filters is what change(header) makes of it, padded with spaces."""
    contents = members()
    whole = contents["filters.npy"]
    length = struct.unpack("<H", whole[8:10])[0]
    header = change(whole[10 : 10 + length].decode("latin1").rstrip()).ljust(length - 1) + "\n"
    return contents | {"filters.npy": whole[:10] + header.encode("latin1") + whole[10 + length :]}


def refusal(path):
    with warnings.catch_warnings(), pytest.raises(UserError) as caught:
        warnings.simplefilter("error")  # a warning would be on the user's screen
        read_model(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message and len(message) < len(str(path)) + 200
    return message


@pytest.mark.parametrize(
    "contents",
    [
        members() | {"filters.npy": b"hello"},
        {name.removesuffix(".npy"): content for name, content in members().items()} | {"filters": b"hello"},
        members(filters=np.zeros((2, 3, 3), [("a", np.float32)])),
        members(filters=np.zeros((2, 3, 3), ">f4")),
        members(filters=np.zeros((2, 3, 3), "m8[s]")),
        members(biases=np.array(["0"] * 10)),
        members(meta=np.array(["a", "b"])),
        members(meta=3),
        members(meta="null"),
        members(meta="[" * 100_000),
        members(meta='{"seed": ' + "9" * 10_000 + "}"),
        with_meta(activation=["none"]),
        with_meta(activation="long\n" * 100_000),
        with_meta(seed="7" * 1000),
        with_meta(epochs_trained=-1),
        with_header(lambda header: header.replace("(2, 3, 3)", "(2L, 3L, 3L)")),  # as Python 2 wrote it: NumPy warns
        with_header(lambda header: header.replace("(2, 3, 3)", f"({2**70},)")),
        with_header(lambda header: header.replace("(2, 3, 3)", "(-1, 3, 3)")),
        with_header(lambda header: header.replace("'<f4'", "'|O'")),
        with_header(lambda header: header[:-1]),
        with_header(lambda header: "print(1)"),
        with_header(lambda header: "(" * 60),
    ],
)
def test_a_forged_archive_is_one_line(contents, tmp_path):
    refusal(archived(tmp_path / "model.npz", contents))


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_little_is_unpacked_of_an_archive_that_unpacks_to_very_much(compression, tmp_path):
    """Also when the archive says that it is small."""
    size = 80_000_000
    bomb = archived(tmp_path / "model.npz", members() | {"weights.npy": bytes(size)}, compression)
    assert "unpacks to 80," in refusal(bomb) or compression not in model_file.NUMPY_WRITES
    lying = bomb.read_bytes().replace(struct.pack("<I", size), struct.pack("<I", 1000))
    bomb.write_bytes(lying)
    tracemalloc.start()
    refusal(bomb)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40_000_000


def test_what_may_have_no_end_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        assert "no ordinary file" in refusal(path)


def test_the_largest_network_fits_into_what_is_unpacked(tmp_path, monkeypatch):
    network = CNNJit(1024, num_classes=32)
    network.save(tmp_path / "model.npz")
    assert len(CNNJit.load(tmp_path / "model.npz").parameters.filters) == 1024
    assert (tmp_path / "model.npz").stat().st_size > model_file.MAX_BYTES / 2


def test_arrays_in_another_order_are_the_same_model(tmp_path):
    weights = initial_parameters(2, 0).weights
    parameters, _ = read_model(archived(tmp_path / "model.npz", members(weights=np.asfortranarray(weights))))
    np.testing.assert_array_equal(parameters.weights, weights)
    assert all(array.flags.c_contiguous for array in parameters)


@pytest.mark.parametrize("size", [1e13, 1e16])
def test_weights_that_are_finite_but_huge_are_refused_or_give_finite_numbers(size, tmp_path):
    """Two of this size meet in a logit. Signs are mixed, so that infinities would meet and give NaN."""
    start = initial_parameters(2, 0)
    huge = {name: np.sign(array) * np.float32(size) for name, array in start._asdict().items() if "b" not in name}
    path = archived(tmp_path / "model.npz", members(**huge))
    if size > 1e15:
        assert "so large" in refusal(path)
        return
    network = CNNJit.load(path)
    images = np.random.default_rng(0).integers(0, 256, (20, 28, 28), np.uint8)
    logits, probabilities = network.logits(images), network.predict(images)
    assert np.abs(logits).max() <= largest_logit(network.parameters)
    assert np.isfinite(logits).all() and np.isfinite(probabilities).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
