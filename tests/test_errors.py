"""A person's mistake is one line and status 2; every way in which a script can end has its exit status."""

import argparse
import os
import subprocess
import sys

import pytest
from conftest import ROOT

from errors import Parser, UserError, number, run


def ended(main, **options):
    with pytest.raises(SystemExit) as left:
        run(main, **options)
    return left.value.code


def raising(error):
    def main():
        raise error

    return main


@pytest.mark.parametrize("status", [0, 1, 2])
def test_the_status_of_main_is_the_exit_status(status, capsys):
    assert ended(lambda: status) == status
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (UserError("a.png: not a picture"), "a.png: not a picture"),
        (UserError("a.png: two\nlines"), "a.png: two lines"),
        (FileNotFoundError(2, "No such file or directory", "a.png"), "a.png: No such file or directory"),
        (OSError("no name"), "no name"),
        (MemoryError("Unable to allocate 37.5 GiB"), "there is not enough memory: Unable to allocate 37.5 GiB"),
        (MemoryError(), "there is not enough memory"),
    ],
)
def test_what_a_person_can_mend_is_one_line(error, line, capsys):
    assert ended(raising(error)) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.endswith(f": error: {line}\n") and err.count("\n") == 1


def test_ctrl_c_is_one_line_that_a_script_may_choose(capsys):
    assert ended(raising(KeyboardInterrupt())) == 130
    assert ended(raising(KeyboardInterrupt()), when_interrupted="nothing was written") == 130
    assert capsys.readouterr() == ("", "interrupted\nnothing was written\n")


SHORT = """
import sys
sys.path.insert(0, "{root}")
from errors import run
run(lambda: print({text}) or print("said", file=sys.stderr))
"""


def short_script(text, redirection="", **environment):
    """(stdout, stderr, status) of a script that prints; with a redirection as in a shell."""
    code = SHORT.format(root=ROOT, text=ascii(text))
    command = ["sh", "-c", f'"$0" -c "$1" {redirection}', sys.executable, code]
    done = subprocess.run(command, capture_output=True, env=os.environ | environment, check=False)
    return done.stdout, done.stderr, done.returncode


needs_shell = pytest.mark.skipif(os.name != "posix", reason="needs the shell and the devices of Unix")


@needs_shell
@pytest.mark.parametrize(("encoding", "wanted"), [("ascii", b"\\xe9\\u2603"), ("cp1252", b"\xe9\\u2603")])
def test_a_name_that_stdout_cannot_encode_is_shown_by_numbers(encoding, wanted):
    assert short_script("é☃", PYTHONIOENCODING=encoding) == (wanted + b"\n", b"said\n", 0)
    # The name of a file that is no text in UTF-8, as Python reads it.
    assert short_script("\udcff", PYTHONIOENCODING=encoding) == (b"\\udcff\n", b"said\n", 0)


@needs_shell
@pytest.mark.parametrize("redirection", [">&-", "2>&-", ">&- 2>&-"])
def test_what_was_closed_beforehand_costs_nothing(redirection):
    out, err, status = short_script("text", redirection)
    assert status == 0
    assert (out, err) == (b"" if ">&-" in redirection.split() else b"text\n", b"" if "2" in redirection else b"said\n")


@needs_shell
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux's /dev/full")
def test_a_full_disk_under_stdout_is_one_line():
    out, err, status = short_script("text", "> /dev/full")
    assert (out, err.splitlines()[-1], status) == (b"", f"-c: error: [Errno 28] {os.strerror(28)}".encode(), 2)
    assert set(err.splitlines()[:-1]) <= {b"said"}


def test_a_fault_of_the_program_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        run(lambda: 1 / 0)


@pytest.mark.parametrize("text", ["0", "11", "1.5", "five", "", "nan", "inf"])
def test_what_is_not_such_a_number_is_named(text):
    with pytest.raises(argparse.ArgumentTypeError, match="is not a whole number from 1 to 10"):
        number(int, 1, "a whole number from 1 to 10", 10)(text)


@pytest.mark.parametrize("text", ["nan", "inf", "-1"])
def test_a_number_is_finite(text):
    with pytest.raises(argparse.ArgumentTypeError):
        number(float, 0, "a number from 0")(text)
    assert number(float, 0, "a number from 0")("2.5") == 2.5


def test_an_option_that_is_not_known_is_one_line(capsys):
    with pytest.raises(SystemExit) as left:
        Parser(prog="read.py").parse_args(["--speed"])
    out, err = capsys.readouterr()
    assert (left.value.code, out) == (2, "")
    assert err == "read.py: error: unrecognized arguments: --speed (--help lists the options)\n"
