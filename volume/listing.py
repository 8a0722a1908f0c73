"""Which pictures a person means: files, folders, globs, and lists of names in a file.

for file in pictures(["scans", "photos/*.jpg", "one.png"], complain):
    ...

Names come one by one, and always in the same order: arguments as they were given, a folder's pictures by name, then its
folders by name. A million of them need no list.
"""

import glob
import os

from errors import UserError
from photos.opening import looks_like_picture

STDIN = "-"


def pictures(arguments, complain, leave_out=()):
    """The names of all pictures that these arguments name, one by one: files, folders and globs.

    A file is taken whatever it is; in a folder only pictures are, but no hidden ones. complain: a function that gets a
    UserError for a folder or glob without pictures, and for a folder that cannot be read. leave_out: folders that are
    passed over when they lie in others.
    """
    leave_out = {os.path.realpath(folder) for folder in leave_out if folder}
    for argument in map(str, arguments):
        if os.path.isdir(argument):
            yield from _walk(argument, complain, leave_out)
        elif glob.has_magic(argument) and not os.path.lexists(argument):
            found = sorted(glob.glob(argument, recursive=True))
            if not found:
                complain(UserError(f"{argument}: no file has such a name"))
            for name in found:
                yield from _walk(name, complain, leave_out) if os.path.isdir(name) else (name,)
        else:
            yield argument


def listed(path):
    """The names in a text file, one a line, one by one; `-` is stdin. Raises UserError when it cannot be read."""
    try:
        # "sig": Windows begins a text with a byte order mark. A name that is no UTF-8 stays what it is.
        file = 0 if path == STDIN else path
        with open(file, encoding="utf-8-sig", errors="surrogateescape", closefd=path != STDIN) as lines:
            for line in lines:
                if name := line.rstrip("\r\n"):
                    yield name
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None


def _walk(folder, complain, leave_out):
    """The pictures in a folder and in those within it. Links to folders are not followed: they may lead in a circle."""
    ahead, any_found = [folder], False
    while ahead:
        inside = ahead.pop()
        try:
            with os.scandir(inside) as entries:
                shown = [entry for entry in entries if not entry.name.startswith(".")]
        except OSError as error:
            complain(UserError(f"{inside}: {error.strerror}"))
            continue
        folders = [entry.path for entry in shown if entry.is_dir(follow_symlinks=False)]
        files = sorted(entry.path for entry in shown if entry.is_file())
        del shown  # a large folder's entries take more memory than its names
        for file in files:
            if looks_like_picture(file):
                any_found = True
                yield file
        ahead += sorted((path for path in folders if os.path.realpath(path) not in leave_out), reverse=True)
    if not any_found:
        complain(UserError(f"{folder}: a folder without pictures"))
