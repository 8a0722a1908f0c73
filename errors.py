"""A person's mistake gives one clear line on stderr and exit status 2, never a traceback.

`UserError` is raised wherever a person can mend what is wrong. `Parser` prints the line for a mistake on the command
line, and `run` the one for every other mistake. `run` also ends the program after Ctrl-C, and when nobody reads its
output any more.
"""

import argparse
import os
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

    A UserError or an OSError gives one line on stderr and status 2. Ctrl-C gives the line `when_interrupted` on stderr
    and status 130. If the program that reads stdout has closed the pipe, as `head` does, there is no line, and the
    status is 0.
    """
    try:
        status = _status(main, when_interrupted)
        sys.stdout.flush()  # here, where a closed pipe is caught; the interpreter's own flush would print a traceback
    except BrokenPipeError:  # `... | head` has read enough; what is still buffered goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    except (UserError, OSError) as error:
        named = isinstance(error, OSError) and error.filename is not None
        reason = f"{error.filename}: {error.strerror}" if named else str(error)
        print(f"{os.path.basename(sys.argv[0])}: error: {' '.join(reason.split())}", file=sys.stderr)
        status = 2
    sys.exit(status)


def _status(main, when_interrupted):
    try:
        return main()
    except KeyboardInterrupt:
        print(when_interrupted, file=sys.stderr)
        return INTERRUPTED
