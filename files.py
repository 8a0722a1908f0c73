"""Files that are written whole or not at all."""

import contextlib
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
