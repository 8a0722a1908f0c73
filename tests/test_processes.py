"""Work shared out over processes: the results, what goes wrong in one of them, and Ctrl-C."""

import signal
from concurrent.futures import Future

import numpy as np
import pytest

from photos import processes
from photos.processes import in_processes
from photos.training_set import normalise_images

IMAGES = np.zeros((4, 28, 28), np.uint8)


@pytest.fixture(autouse=True)
def two_processes(monkeypatch):
    """For a few images too; and Ctrl-C as in a terminal, whatever started the tests."""
    monkeypatch.setattr(processes, "CHUNK", 1)
    monkeypatch.setattr(processes, "cores", lambda: 2)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_results_come_in_the_order_of_the_jobs():
    found = in_processes([(len, "a"), (len, "abc"), (len, "ab")])
    assert found == [1, 3, 2]


def test_what_goes_wrong_in_a_process_is_raised_here():
    with pytest.raises(TypeError):
        in_processes([(normalise_images, IMAGES), (len, IMAGES, "too much")])


@pytest.mark.parametrize("when", ["add_done_callback", "result", "meanwhile"])
def test_ctrl_c_never_comes_while_a_lock_of_the_pool_may_be_held(when, monkeypatch):
    """It comes right after. Raised in between, it left the lock taken, and the pool's thread waited for it for ever."""
    done = []

    def pressed(self, *arguments):
        signal.raise_signal(signal.SIGINT)
        done.append(when)
        return before(self, *arguments)

    if when != "meanwhile":
        before = getattr(Future, when)
        monkeypatch.setattr(Future, when, pressed)
        with pytest.raises(KeyboardInterrupt):
            in_processes([(normalise_images, IMAGES)] * 3)
        assert done, "the call itself went on to its end"
    else:
        with pytest.raises(KeyboardInterrupt):
            in_processes([(normalise_images, IMAGES)] * 3, lambda: signal.raise_signal(signal.SIGINT))
