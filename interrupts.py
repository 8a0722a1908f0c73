"""Ctrl-C in good order: no step of training is cut in two, no process is left over, and the exit status is 130.

Python tells only the main thread of a signal, so what is here is for the main thread. `errors.run` is where a
KeyboardInterrupt ends: it prints one line and sets the exit status.
"""

import contextlib
import signal


@contextlib.contextmanager
def held_until_progress(progress):
    """Hold Ctrl-C back until training reports progress, so that it never cuts a step in two; a second one acts at once.

    Gives the progress function to train with. It raises KeyboardInterrupt once Ctrl-C was pressed.
    """
    pressed = []

    def on_signal(*_):
        pressed.append(True)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def checked(*report):
        progress(*report)
        if pressed:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, on_signal)
    try:
        yield checked
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def held_while_processes_start():
    """Hold Ctrl-C back: from this process until the end of the block, from the processes started in it for ever.

    A terminal sends Ctrl-C to all of them. A process that is still importing would answer with a traceback.
    """
    from multiprocessing import resource_tracker  # only those who start processes pay for its import

    pressed = []
    handler = signal.signal(signal.SIGINT, lambda *_: pressed.append(True))
    blocked = None
    try:
        if hasattr(signal, "pthread_sigmask"):  # Windows lacks it; elsewhere a process inherits what its parent blocks
            resource_tracker.ensure_running()  # or the first process starts it, and it unblocks Ctrl-C for all
            blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        yield
    finally:
        if blocked is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        signal.signal(signal.SIGINT, handler)
    if pressed:
        signal.raise_signal(signal.SIGINT)


def ignore():
    """Never answer Ctrl-C again in this process: for one that another process ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def ignore_after_one(kind, *_):
    """An exit callback for `contextlib.ExitStack.push`: after one Ctrl-C, a second one no longer disturbs the ending.

    The processes that are still at work end within a second; another Ctrl-C would leave them hanging.
    """
    if kind is KeyboardInterrupt:
        ignore()
