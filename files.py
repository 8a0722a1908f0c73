"""Files that are written whole or not at all, and the hash of source files that tells whether one has changed."""

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path


@contextlib.contextmanager
def replacing(path):
    """A binary file to write to, which gets the name `path` once all is written.

        with replacing("model.npz") as file:
            file.write(...)

    Until then it has another name in the same folder. If the block raises, this file is deleted, and what was at `path`
    stays. Raises OSError when the folder cannot be written to.
    """
    path = Path(path)
    handle, scratch = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        os.chmod(scratch, 0o644)  # mkstemp lets only the owner read it
        os.replace(scratch, path)
    finally:
        Path(scratch).unlink(missing_ok=True)


def source_hash(folder, names):
    """A hash, as a string, of the files with these names in a folder (a Path): another one after any edit."""
    source = hashlib.sha256()
    for name in names:
        content = (folder / name).read_bytes()
        source.update(f"{name} {len(content)} ".encode() + content)
    return source.hexdigest()
