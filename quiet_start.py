"""Ctrl-C while a script imports its modules, which takes seconds: one line, and no traceback.

Every script imports this before anything else. Until `errors.run` calls its main() there is nothing to save and nothing
to clean up, so the program ends at once. A handler does it, because an exception would be raised in the middle of
somebody's import. After main() it holds again.

Python's garbage collector also waits until then: modules make very many objects, and hardly any of them is garbage.
"""

import gc
import os
import signal

gc.disable()


def _end(*_):
    os.write(2, b"interrupted\n")
    os._exit(130)  # errors.INTERRUPTED


if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where Ctrl-C is ignored, as in the background
    signal.signal(signal.SIGINT, _end)
