"""Ctrl-C is held back where it must not cut anything in two, and arrives in the end."""

import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT

import interrupts


@pytest.fixture(autouse=True)
def standard_handler():
    """A shell lets what it starts in the background ignore Ctrl-C, and the tests would inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def press_ctrl_c():
    signal.raise_signal(signal.SIGINT)


def test_training_stops_at_the_next_progress():
    reports = []
    with interrupts.held_until_progress(lambda *report: reports.append(report)) as progress:
        progress(1, 2.0, 3)
        press_ctrl_c()
        with pytest.raises(KeyboardInterrupt):
            progress(4, 5.0, 6)
    assert reports == [(1, 2.0, 3), (4, 5.0, 6)], "the step that was done counts"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_ctrl_c_stops_training_at_once():
    with interrupts.held_until_progress(print):
        press_ctrl_c()
        with pytest.raises(KeyboardInterrupt):
            press_ctrl_c()


def test_ctrl_c_while_processes_start_arrives_when_they_have():
    done = []
    with pytest.raises(KeyboardInterrupt), interrupts.held_while_processes_start():
        press_ctrl_c()
        done.append(True)
    assert done
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="Windows blocks no signals")
def test_processes_inherit_a_blocked_ctrl_c():
    with interrupts.held_while_processes_start():
        assert signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, set())
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, set())


@pytest.mark.parametrize(("kind", "ignored"), [(KeyboardInterrupt, True), (None, False), (ValueError, False)])
def test_only_after_one_ctrl_c_the_next_is_ignored(kind, ignored):
    interrupts.ignore_after_one(kind, None, None)
    assert (signal.getsignal(signal.SIGINT) is signal.SIG_IGN) == ignored


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows kills in another way")
def test_a_process_ends_with_the_one_that_started_it():
    """It holds the pipe open as long as it runs, and it would run for a minute."""
    child = "import time, interrupts; interrupts.end_with_parent(); print('ready', flush=True); time.sleep(60)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    with subprocess.Popen([sys.executable, "-c", parent], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        process.kill()
        start = time.monotonic()
        process.stdout.read()
        assert time.monotonic() - start < 20
