"""A person's mistakes: one clear line on stderr and exit status 2, never a traceback.

`UserError` is raised wherever somebody can mend what went wrong; `Parser` and `run` turn it, and every mistake on the
command line, into that line.
"""

import argparse
import os
import sys

INTERRUPTED = 130  # the exit status that a shell gives to a program that Ctrl-C has ended


class UserError(Exception):
    """Something a person can mend. The message is one line: which file or option, what is wrong, what to do."""


class Parser(argparse.ArgumentParser):
    """An argument parser whose error message is one line."""

    def error(self, message):
        self.exit(2, f"{self.prog}: error: {message} (--help lists the options)\n")


def number(kind, low, what, high=float("inf")):
    """An argparse type: a number of this kind (int or float) from low to high; `what` names it in the error."""

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
    """Call main() and leave with its exit status, or with 2 and one line on stderr for a UserError or an OSError.

    Ctrl-C ends with one line too, `when_interrupted`, and with status 130.
    """
    try:
        status = main()
        sys.stdout.flush()
    except KeyboardInterrupt:
        print(when_interrupted, file=sys.stderr)
        status = INTERRUPTED
    except BrokenPipeError:  # `... | head` has read enough; what is still buffered has nowhere to go
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    except (UserError, OSError) as error:
        named = isinstance(error, OSError) and error.filename is not None
        reason = f"{error.filename}: {error.strerror}" if named else str(error)
        print(f"{os.path.basename(sys.argv[0])}: error: {' '.join(reason.split())}", file=sys.stderr)
        status = 2
    sys.exit(status)
