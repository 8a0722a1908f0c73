"""Files that are written whole or not at all, and the hash of source files that tells whether one has changed."""

import contextlib
import errno
import functools
import hashlib
import os
import re
import secrets
import stat
import tempfile
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows has no such locks, and needs none here: it deletes no file that is open
    fcntl = None


@contextlib.contextmanager
def replacing(path):
    """A binary file to write to, which gets the name `path` once all is written.

        with replacing("model.npz") as file:
            file.write(...)

    Until then it has another name in the same folder. If the block raises, this file is deleted, and what was at `path`
    stays. If the program is killed, the next one that writes into this folder deletes it. As with a file that is
    overwritten, a link stays a link, and the permissions stay; those of a new file are the usual ones (the umask).

    Raises OSError, with the name of the file, when it cannot be written.
    """
    target = Path(os.path.realpath(path))
    try:
        check_replaceable(target)
        _delete_once(target.parent)
        scratch, file, lock = _new_scratch(target)
        with contextlib.ExitStack() as last:
            last.callback(scratch.unlink, missing_ok=True)
            last.enter_context(lock)
            with file:
                yield file
                file.flush()
                os.fsync(file.fileno())  # on the disk before it gets its name, or a power cut could leave it empty
            if target.exists():
                os.chmod(scratch, stat.S_IMODE(target.stat().st_mode))
            os.replace(scratch, target)
    except OSError as error:  # of a write, which knows no name, or of the scratch file, whose name says nothing
        raise OSError(error.errno, error.strerror or str(error), str(path)) from None


def check_replaceable(path):
    """Raises OSError when no file can be written at this path, or what is there should not be replaced.

    That is so for a folder, a device, a file without write permission, a name too long, and a folder that is missing or
    may not be written to.
    """
    path = Path(os.path.realpath(path))
    with contextlib.suppress(FileNotFoundError):
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):
            code = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
            raise OSError(code, "it is a folder" if stat.S_ISDIR(mode) else "it is no ordinary file", str(path))
        if not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, "it is write-protected", str(path))
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "its folder is missing", str(path))
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(errno.EACCES, "its folder may not be written to", str(path))


def make_folder(path):
    """Make a folder if it is missing. Raises OSError when that is not possible, or no file can be written in it."""
    Path(path).mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=path).close()


HALF_WRITTEN = re.compile(r"\..*-[0-9a-f]{8}\.half-written")  # the names of scratch files


def _new_scratch(target):
    """(path, file, lock): a new file beside the target, open for writing, and locked until the lock's `with` ends."""
    while True:
        # Not with all of a long name: the name of the scratch file would be too long.
        scratch = target.with_name(f".{target.name[:40]}-{secrets.token_hex(4)}.half-written")
        file = open(scratch, "xb")  # noqa: SIM115 (`replacing` closes it)
        lock = _locked(file)
        if scratch.exists():  # otherwise another process found it before it was locked, and deleted it
            return scratch, file, lock
        lock.close()
        file.close()


def _locked(file):
    """An ExitStack that holds a lock on an open file. If the process dies, the lock is gone."""
    lock = contextlib.ExitStack()
    if fcntl:
        handle = os.dup(file.fileno())  # it outlives `file`, which is closed before it gets its name
        lock.callback(os.close, handle)
        with contextlib.suppress(OSError):  # some network disks have no locks
            fcntl.flock(handle, fcntl.LOCK_EX)
    return lock


def delete_left_behind(folder):
    """Delete the scratch files in a folder that killed programs have left: those that nobody has locked."""
    for path in folder.iterdir():
        if HALF_WRITTEN.fullmatch(path.name):
            with contextlib.suppress(OSError), open(path, "rb") as file:
                if fcntl:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises BlockingIOError: it is in use
                else:
                    file.close()
                path.unlink()


_delete_once = functools.cache(delete_left_behind)  # for every folder: it may hold very many files


def source_hash(folder, names):
    """A hash, as a string, of the files with these names in a folder (a Path): another one after any edit."""
    source = hashlib.sha256()
    for name in names:
        content = (folder / name).read_bytes()
        source.update(f"{name} {len(content)} ".encode() + content)
    return source.hexdigest()
