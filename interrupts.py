"""Ctrl-C, handled in one place: one Ctrl-C never cuts a step of training in two, and leaves no process behind.

Ctrl-C sends the signal SIGINT, and Python raises KeyboardInterrupt in the main thread. So what is here must be called
in the main thread. The KeyboardInterrupt ends in `errors.run`, which prints one line and sets the exit status 130.
"""

import contextlib
import signal


@contextlib.contextmanager
def held_until_progress(progress):
    """Hold Ctrl-C back until training reports progress. A second Ctrl-C acts at once.

        with held_until_progress(progress) as checked:
            network.fit(images, labels, progress=checked)

    progress: the function to which training reports between two steps. Training gets `checked` instead: it calls
    progress and then, if Ctrl-C was pressed, raises KeyboardInterrupt. If training ends without another report, this
    Ctrl-C has no effect.
    """
    pressed = []

    def remember(*_):
        pressed.append(True)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def checked(*report):
        progress(*report)
        if pressed:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, remember)
    try:
        yield checked
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def held_while_processes_start():
    """Hold Ctrl-C back in this process until the end of the block.

    In the processes started there it is held back for ever (not on Windows). A terminal sends Ctrl-C to all processes,
    and one that is still importing modules would answer with a traceback.
    """
    from multiprocessing import resource_tracker  # it takes time to import, and only few callers start processes

    pressed = []
    handler = signal.signal(signal.SIGINT, lambda *_: pressed.append(True))
    blocked = None
    try:
        if hasattr(signal, "pthread_sigmask"):  # not on Windows; elsewhere a process inherits the signals blocked here
            # The first process would start the resource tracker, and starting it unblocks SIGINT. So start it before.
            resource_tracker.ensure_running()
            blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        yield
    finally:
        if blocked is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        signal.signal(signal.SIGINT, handler)
    if pressed:
        signal.raise_signal(signal.SIGINT)


def ignore():
    """Ignore Ctrl-C in this process from now on: for a process that is ended by the one that started it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def ignore_after_one(kind, *_):
    """An exit callback for `contextlib.ExitStack.push`: after one Ctrl-C, ignore the next ones while the stack ends.

    Then the processes finish their present jobs, within about a second. Another Ctrl-C would cut this waiting short
    and leave them hanging.
    """
    if kind is KeyboardInterrupt:
        ignore()
