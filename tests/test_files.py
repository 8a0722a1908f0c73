"""A file is written whole or not at all, and as a person expects of a file that is overwritten."""

import errno
import os
import stat

import pytest

import files
from files import check_replaceable, replacing

resource = pytest.importorskip("resource", reason="links, permissions and limits are those of Unix")


def write(path, content=b"new"):
    with replacing(path) as file:
        file.write(content)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def umask():
    before = os.umask(0o027)
    yield
    os.umask(before)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_file_has_the_permissions_of_any_new_file(tmp_path, umask):
    write(tmp_path / "new")
    (tmp_path / "other").touch()
    assert mode(tmp_path / "new") == mode(tmp_path / "other") == 0o640


def test_permissions_stay(tmp_path):
    (tmp_path / "old").write_bytes(b"old")
    (tmp_path / "old").chmod(0o604)
    write(tmp_path / "old")
    assert (tmp_path / "old").read_bytes() == b"new" and mode(tmp_path / "old") == 0o604


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "old").write_bytes(b"old")
    for name in ("old", "new"):  # the second one leads to nothing yet
        (tmp_path / name).symlink_to(tmp_path / "there" / name)
        write(tmp_path / name)
        assert (tmp_path / name).is_symlink() and (tmp_path / "there" / name).read_bytes() == b"new"
    assert names(tmp_path / "there") == ["new", "old"]


def test_a_name_may_be_as_long_as_the_disk_allows(tmp_path):
    write(tmp_path / ("x" * 255))
    assert names(tmp_path) == ["x" * 255]
    write(tmp_path / ("é" * 127))  # two bytes each
    assert len(names(tmp_path)) == 2


def folder_is_missing(folder):
    return folder / "missing" / "file", "its folder is missing"


def is_a_folder(folder):
    return folder, "it is a folder"


def is_no_ordinary_file(folder):
    os.mkfifo(folder / "pipe")
    return folder / "pipe", "it is no ordinary file"


def is_too_long(folder):
    return folder / ("x" * 256), os.strerror(errno.ENAMETOOLONG)


def is_a_circle(folder):
    (folder / "circle").symlink_to(folder / "circle")
    return folder / "circle", os.strerror(errno.ELOOP)


@pytest.mark.parametrize("case", [folder_is_missing, is_a_folder, is_no_ordinary_file, is_too_long, is_a_circle])
def test_what_cannot_be_written_is_said_beforehand(case, tmp_path):
    path, reason = case(tmp_path)
    before = names(tmp_path)
    for attempt in (check_replaceable, write):
        with pytest.raises(OSError) as caught:
            attempt(path)
        assert (caught.value.filename, caught.value.strerror) == (str(path), reason)
    assert names(tmp_path) == before


@pytest.mark.parametrize("protected", ["file", "folder"])
def test_what_is_write_protected_stays(protected, tmp_path, monkeypatch):
    """Asked of the system by os.access, because tests that run as root may write everywhere."""
    path = tmp_path / "old"
    path.write_bytes(b"old")
    refused = path if protected == "file" else tmp_path
    monkeypatch.setattr(files.os, "access", lambda asked, _: str(asked) != str(refused))
    for attempt in (check_replaceable, write):
        with pytest.raises(PermissionError, match=r"write-protected|may not be written to"):
            attempt(path)
    assert path.read_bytes() == b"old" and names(tmp_path) == ["old"]


def test_a_full_disk_leaves_the_old_file_and_is_named(tmp_path):
    """A limit on the size of files fails at the same place as a full disk."""
    path = tmp_path / "old"
    path.write_bytes(b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OSError, match=os.strerror(errno.EFBIG)) as caught:
            write(path, bytes(100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b"old" and names(tmp_path) == ["old"]


def test_only_what_nobody_writes_any_more_is_deleted(tmp_path):
    (tmp_path / ".a-0123abcd.half-written").write_bytes(b"left by a killed program")
    (tmp_path / ".b-0123abcd.part").write_bytes(b"of another program")
    with replacing(tmp_path / "a") as first:
        first.write(b"first")
        inside = [name for name in names(tmp_path) if name.endswith("half-written")]
        assert len(inside) == 1 and "0123abcd" not in inside[0]
        first.flush()
        files_seen = set(names(tmp_path))
        files.delete_left_behind(tmp_path)
        assert set(names(tmp_path)) == files_seen, "the one that is being written is locked"
    assert names(tmp_path) == [".b-0123abcd.part", "a"]
