"""Pictures shared out over processes: results in order, only so many under way, and no death of a process loses any."""

import os
import signal
import time
from concurrent.futures import wait
from itertools import islice

import pytest

from errors import UserError
from volume import sharing
from volume.sharing import in_order, processes, this_process
from volume.work import Task


@pytest.fixture(autouse=True)
def ctrl_c_as_in_a_terminal():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def tasks_of(names):
    return [(name, Task(name, None, None, None, "", "cpu", 0.0)) for name in names]


def pretend(task):
    """Instead of `work`. The first word of a picture's name says what becomes of the process that reads it."""
    if task.path.startswith("slow"):
        time.sleep(1)
    elif task.path.startswith("deadly"):
        os.kill(os.getpid(), signal.SIGKILL)
    elif task.path.startswith("full"):
        raise UserError("read/a.png: cannot be written: No space left on device")
    elif task.path.startswith("bad"):
        return UserError(f"{task.path}: an empty file")
    return f"{task.path} read"


@pytest.fixture
def pretending(monkeypatch):
    monkeypatch.setattr(sharing, "work", pretend)


@pytest.mark.usefixtures("pretending")
@pytest.mark.parametrize("pool", (lambda: processes(2), this_process), ids=("processes", "this process"))
def test_results_come_in_order(pool):
    """Though the first one takes longest, and though one is an error."""
    names = ["slow", "bad", *map(str, range(30))]
    with pool() as pool:
        found = list(in_order(pool, tasks_of(names)))
    assert [name for name, _ in found] == names
    assert isinstance(found[1][1], UserError)
    assert [result for _, result in found if isinstance(result, str)] == [
        f"{name} read" for name in names if name != "bad"
    ]


@pytest.mark.usefixtures("pretending")
def test_only_so_many_are_under_way():
    """Of a million names, a few are taken: neither they nor their results pile up."""
    taken = []

    def endless():
        for number in range(1_000_000):
            taken.append(number)
            yield from tasks_of([str(number)])

    with processes(2) as pool:
        found = [name for name, _ in islice(in_order(pool, endless()), 50)]
        assert len(found) == 50 and len(taken) <= 50 + pool.window


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no SIGKILL")
@pytest.mark.usefixtures("pretending")
def test_what_kills_its_process_is_told_and_the_others_are_read():
    names = [f"deadly {number}" if number in (1, 9, 10, 17, 39) else str(number) for number in range(40)]
    with processes(2) as pool:
        found = list(in_order(pool, tasks_of(names)))
    assert [name for name, _ in found] == names
    for name, result in found:
        if name.startswith("deadly"):
            assert isinstance(result, UserError) and str(result).startswith(f"{name}: the process that reads it dies")
        else:
            assert result == f"{name} read"


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no SIGKILL")
@pytest.mark.usefixtures("pretending")
def test_the_second_try_is_not_cut_short_by_another_death():
    """Which of the pictures under way kills is found out apart from those that are read meanwhile."""
    (_, slow), (_, deadly), (_, another) = tasks_of(["slow", "deadly", "deadly, too"])
    with processes(2) as pool:
        futures = [pool.submit(slow), pool.submit(deadly)]
        wait(futures)
        pool.submit(another)
        assert pool.result(slow, futures[0]) == "slow read"
        assert isinstance(pool.result(deadly, futures[1]), UserError)


@pytest.mark.usefixtures("pretending")
def test_an_output_that_cannot_be_written_ends_the_run():
    with pytest.raises(UserError, match="No space left"), processes(2) as pool:
        list(in_order(pool, tasks_of(["0", "full", *map(str, range(100))])))


@pytest.mark.usefixtures("pretending")
@pytest.mark.parametrize("pool", (lambda: processes(2), this_process), ids=("processes", "this process"))
def test_ctrl_c_keeps_what_came_before(pool):
    found = []
    with pytest.raises(KeyboardInterrupt), pool() as pool:
        for name, _ in in_order(pool, tasks_of(map(str, range(100)))):
            found.append(name)
            if len(found) == 5:
                signal.raise_signal(signal.SIGINT)
    assert found == list("01234")
