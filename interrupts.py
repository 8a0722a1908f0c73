"""Ctrl-C, handled in one place: one Ctrl-C never cuts a step of training in two, and leaves no process behind.

Ctrl-C sends the signal SIGINT, and Python raises KeyboardInterrupt in the main thread. So what is here must be called
in the main thread. The KeyboardInterrupt ends in `errors.run`, which prints one line and sets the exit status 130.

    while the training set is made    photos/processes.py: held while processes start and while one waits for them, then
                                      they end their present jobs; nothing is kept
    during training and testing       training.py: held until the present step is done, then what was learned is saved
"""

import contextlib
import os
import signal
import threading
import time


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
def held():
    """Hold Ctrl-C back until the end of the block. The value of the `with` is true once it was pressed.

    For code that takes locks: a KeyboardInterrupt can come right after a lock is taken, and then the lock is never
    given back. In this project that is the pool of processes, whose other threads would wait for ever.
    """
    pressed = []
    handler = signal.signal(signal.SIGINT, lambda *_: pressed.append(True))
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, handler)
    if pressed:
        signal.raise_signal(signal.SIGINT)


@contextlib.contextmanager
def held_while_processes_start():
    """As `held`, and the processes that are started in the block never answer Ctrl-C (except on Windows).

    A terminal sends Ctrl-C to all processes. One that is still importing modules would answer with a traceback.
    """
    from multiprocessing import resource_tracker  # it takes time to import, and only few callers start processes

    with held() as pressed:
        if not hasattr(signal, "pthread_sigmask"):  # on Windows
            yield pressed
            return
        # The first process would start the resource tracker, and starting it unblocks SIGINT. So start it before.
        resource_tracker.ensure_running()
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # a process inherits what is blocked here
        try:
            yield pressed
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


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


def end_with_parent():
    """From now on, end this process within a second after the one that started it has ended, even if it was killed.

    Not on Windows, where a process keeps the number of its parent.
    """

    def watch():
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    parent = os.getppid()
    threading.Thread(target=watch, daemon=True).start()
