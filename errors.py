"""A person's mistake gives one clear line on stderr and exit status 2, never a traceback.

`UserError` is raised wherever a person can mend what is wrong. `Parser` prints the line for a mistake on the command
line, and `run` the one for every other mistake. `run` also ends the program after Ctrl-C, and when nobody reads its
output any more.
"""

import argparse
import gc
import os
import signal
import sys

INTERRUPTED = 130  # the exit status that a shell gives to a program that Ctrl-C has ended: 128 + SIGINT


class UserError(Exception):
    """Something a person can mend. The message is one line: which file or option, what is wrong, what to do."""


class Parser(argparse.ArgumentParser):
    """An argument parser whose error message is one line."""

    def error(self, message):
        self.exit(2, f"{self.prog}: error: {message} (--help lists the options)\n")


def number(kind, low, what, high=float("inf")):
    """An argparse type: a finite number of this kind (int or float) from low to high; `what` names it in the error."""

    def parse(text):
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not low <= value <= high or value == float("inf"):
            raise argparse.ArgumentTypeError(f"{text!r} is not {what}")
        return value

    return parse


def run(main, when_interrupted="interrupted"):
    """Call main() and leave the program with the exit status that it returns.

    A UserError, an OSError or a MemoryError gives one line on stderr and status 2. Ctrl-C gives the line
    `when_interrupted` on stderr and status 130. If the program that reads stdout has closed the pipe, as `head` does,
    there is no line, and the status is 0.
    """
    gc.freeze()  # the collector, which quiet_start.py has stopped, need not look through what was imported
    gc.enable()
    _use_outputs()
    ctrl_c = signal.getsignal(signal.SIGINT)  # that of quiet_start.py, in a script; or it is ignored, in the background
    if ctrl_c is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        status = _status(main, when_interrupted)
        sys.stdout.flush()  # here, where errors are caught; the interpreter's own flush would print a traceback
    except BrokenPipeError:  # `... | head` has read enough
        _drop_stdout()
        status = 0
    except (UserError, OSError, MemoryError) as error:
        print(f"{os.path.basename(sys.argv[0])}: error: {' '.join(_reason(error).split())}", file=sys.stderr)
        status = 2
        try:
            sys.stdout.flush()
        except OSError:  # it was this that went wrong
            _drop_stdout()
    signal.signal(signal.SIGINT, ctrl_c)  # while the interpreter ends, too, there is no traceback
    sys.exit(status)


def _use_outputs():
    """Make print() possible where it would fail.

    A name of a file may hold characters that the encoding of stdout does not know: they are shown as numbers. Where
    stdout or stderr was closed by who started the program, what is printed goes nowhere.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 (open until the program ends)
    if hasattr(sys.stdout, "reconfigure"):  # a test's stand-in may have no encoding
        sys.stdout.reconfigure(errors="backslashreplace")


def _drop_stdout():
    """What is still buffered for stdout goes nowhere when the interpreter flushes it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _reason(error):
    if isinstance(error, MemoryError):
        return f"there is not enough memory{f': {error}' if str(error) else ''}"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _status(main, when_interrupted):
    try:
        return main()
    except KeyboardInterrupt:
        print(when_interrupted, file=sys.stderr)
        return INTERRUPTED
