"""Which pictures are meant by files, folders, globs and lists, in which order, and what is wrong with them."""

import os
import shutil

import pytest
from conftest import SAMPLES

from errors import UserError
from volume.listing import listed, pictures


@pytest.fixture
def scans(tmp_path):
    """A folder with pictures on two floors, and with much that is none."""
    folder = tmp_path / "scans"
    for name in ("b.png", "a.JPG", "c", "z/k.png", "d/e/f.png", ".hidden.png", ".d/g.png", "read/b.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(SAMPLES / "tiny.png", folder / name)
    for name in ("notes.txt", "results.jsonl", "Thumbs.db", "no_name"):
        (folder / name).write_text("no picture")
    (folder / "damaged.png").touch()
    (folder / "empty").mkdir()
    return folder


def found(arguments, **more):
    complaints = []
    return list(pictures(arguments, complaints.append, **more)), [str(complaint) for complaint in complaints]


def test_a_folder_is_walked_in_order(scans):
    """Pictures by name, then folders by name. Damaged ones and those without a suffix too, but no hidden ones."""
    names, complaints = found([scans], leave_out=[str(scans / "d" / ".." / "read"), None])
    assert [os.path.relpath(name, scans) for name in names] == [
        "a.JPG", "b.png", "c", "damaged.png", os.path.join("d", "e", "f.png"), os.path.join("z", "k.png"),
    ]  # fmt: skip
    assert complaints == []


def test_arguments_keep_their_order(scans):
    names, _ = found([scans / "z", "missing.png", scans / "notes.txt", scans / "d"])
    assert names == [str(scans / "z" / "k.png"), "missing.png", str(scans / "notes.txt"), str(scans / "d/e/f.png")]


def test_globs(scans):
    names, complaints = found([scans / "*.png", scans / "**" / "k.*", scans / "[d-z]"])
    assert [os.path.relpath(name, scans) for name in names] == [
        "b.png",
        "damaged.png",
        "z/k.png",
        "d/e/f.png",
        "z/k.png",
    ]
    assert complaints == []


def test_a_file_whose_name_looks_like_a_glob(tmp_path):
    shutil.copy(SAMPLES / "tiny.png", tmp_path / "a[1].png")
    assert found([tmp_path / "a[1].png"]) == ([str(tmp_path / "a[1].png")], [])


def test_what_names_no_picture_is_told(scans):
    names, complaints = found([scans / "empty", scans / "*.webp", scans / "z"])
    assert names == [str(scans / "z" / "k.png")]
    assert complaints == [
        f"{scans / 'empty'}: a folder without pictures",
        f"{scans / '*.webp'}: no file has such a name",
    ]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such files")
def test_what_would_hang_is_left_out(scans):
    os.mkfifo(scans / "z" / "a.png")
    (scans / "z" / "circle").symlink_to(scans)
    assert found([scans / "z"]) == ([str(scans / "z" / "k.png")], [])


@pytest.mark.skipif(getattr(os, "geteuid", lambda: 0)() == 0, reason="root may read everything")
def test_a_folder_that_cannot_be_read_is_told(scans):
    (scans / "z").chmod(0)
    _, complaints = found([scans])
    assert complaints == [f"{scans / 'z'}: Permission denied"]


def test_a_list(tmp_path, monkeypatch):
    content = "\ufeffa.png\r\n\r\ndrei Ziffern.png\nlast.png".encode() + b"\nl\xe4.png\n"
    (tmp_path / "list.txt").write_bytes(content)
    wanted = ["a.png", "drei Ziffern.png", "last.png", os.fsdecode(b"l\xe4.png")]
    assert list(listed(tmp_path / "list.txt")) == wanted
    with pytest.raises(UserError, match="no.txt: No such file"):
        next(listed(tmp_path / "no.txt"))


@pytest.mark.skipif(not os.path.exists("/dev/fd"), reason="this system has no names for open pipes")
def test_a_list_comes_name_by_name():
    """Of a list that is still being written, what is there is read."""
    reader, writer = os.pipe()
    with os.fdopen(reader) as inside, os.fdopen(writer, "w") as outside:
        names = listed(f"/dev/fd/{inside.fileno()}")
        outside.write("a.png\n" * 3000)
        outside.flush()
        assert next(names) == "a.png"
