"""Work shared out over the processes of this machine, or over the workers of a Dask cluster; results in order.

with processes(8) as pool:
    for name, result in in_order(pool, tasks):
        ...

Only so many tasks are under way at a time as keep everyone busy. So neither the tasks nor their results pile up.
"""

import contextlib
import logging
from collections import deque
from concurrent.futures import BrokenExecutor, CancelledError, wait

import interrupts
from errors import UserError
from photos.processes import start_processes
from volume.work import work


def in_order(pool, tasks):
    """(name, result) for each (name, Task), in their order: the result is what `work` returns for the Task."""
    under_way = deque()
    for name, task in tasks:
        under_way.append((name, task, pool.submit(task)))
        while under_way and (len(under_way) >= pool.window or under_way[0][2].done()):
            yield _oldest(pool, under_way)
    while under_way:
        yield _oldest(pool, under_way)


def _oldest(pool, under_way):
    name, task, future = under_way.popleft()
    return name, pool.result(task, future)


def _when_done(future):
    """The result of a future. Ctrl-C is held back while the future is asked, see `interrupts.held`."""
    with interrupts.held() as pressed:
        while not pressed and not wait([future], timeout=0.1).done:
            pass
    return future.result()


# -- this machine -----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def this_process():
    """A pool for `in_order` that starts nothing."""
    yield _ThisProcess()


class _ThisProcess:
    window = 1

    def submit(self, task):
        """Nothing yet: the result before comes out first."""

    def result(self, task, _):
        return work(task)


@contextlib.contextmanager
def processes(count):
    """A pool of so many processes for `in_order`. One Ctrl-C lets them finish what they are at, and ends them."""
    with contextlib.ExitStack() as stack:
        pool = _Processes(count)
        stack.callback(pool.shutdown)
        stack.push(interrupts.ignore_after_one)  # runs before the shutdown
        yield pool


class _Processes:
    """When a process dies (too little memory, a fault in a decoder), all tasks under way are lost with it.

    It is not known which of them it died of. So each of them is done again, one at a time, in a process apart. What
    kills that one, too, is the culprit.
    """

    def __init__(self, count):
        self.window = 16 * count  # the others go on while one of them reads a large picture
        self._count = count
        self._pools = {}

    def submit(self, task, apart=False):
        """A future. apart: in the process for those that may kill theirs."""
        with interrupts.held_while_processes_start():
            for _ in range(2):
                pool = self._pools.get(apart)
                if pool is None:
                    pool = self._pools[apart] = start_processes(1 if apart else self._count)
                with contextlib.suppress(BrokenExecutor):
                    return pool.submit(work, task)
                pool.shutdown()
                del self._pools[apart]
        raise UserError("the processes die as soon as they start")

    def result(self, task, future):
        """What `work` returns for a task, or a UserError if nothing else than its process's death comes of it."""
        try:
            return _when_done(future)
        except BrokenExecutor:
            pass
        try:
            return _when_done(self.submit(task, apart=True))
        except BrokenExecutor:
            return UserError(f"{task.path}: the process that reads it dies; perhaps the memory is too small for it")

    def shutdown(self):
        for pool in self._pools.values():
            pool.shutdown(cancel_futures=True)


# -- several machines -------------------------------------------------------------------------------------------------

ANSWER = 10  # seconds to wait for the scheduler, and then for the first worker
MANY = 2000  # tasks under way: enough for a thousand cores, also for those that join later


@contextlib.contextmanager
def cluster(address):
    """The workers of the Dask scheduler at this address, "tcp://HOST:PORT", as a pool for `in_order`.

    Raises UserError when Dask is not installed, nobody answers, or there are no workers.
    """
    try:
        from distributed import Client
    except ImportError:
        raise UserError("--cluster needs Dask: pip install -r requirements-cluster.txt") from None
    logging.disable()  # Dask logs on stderr, with tracebacks; what is wrong is said here in one line
    try:
        client = Client(address, timeout=ANSWER)
    except (OSError, ValueError) as error:
        raise UserError(f"--cluster {address}: no scheduler answers there; start one with `dask scheduler`") from error
    with client:
        try:
            client.wait_for_workers(1, timeout=ANSWER)
        except TimeoutError:
            raise UserError(f"--cluster {address}: no workers; start some with `dask worker {address}`") from None
        yield _Cluster(client, address)


class _Cluster:
    """The scheduler does a task again when its worker dies, up to three times."""

    window = MANY

    def __init__(self, client, address):
        self._executor = client.get_executor(pure=False)
        self._address = address
        self._work = _work_on_worker()

    def submit(self, task):
        return self._executor.submit(self._work, tuple(task))

    def result(self, task, future):
        from distributed import KilledWorker

        try:
            return _when_done(future)
        except KilledWorker:
            return UserError(f"{task.path}: the workers that read it die; perhaps their memory is too small for it")
        except CancelledError:
            reason = "lost the connection to the scheduler"
        except ModuleNotFoundError as error:
            reason = f"start the workers in the folder of analyze.py ({error})"
        except UserError:
            raise
        except Exception as error:  # whatever another version of a package or of this program raises
            reason = f"a worker failed: do all have the same versions? ({type(error).__name__}: {error})"
        raise UserError(f"--cluster {self._address}: {reason}")


def _work_on_worker():
    """`work` for a worker that was started in the repository's folder, where it does not look for modules by itself.

    Only a function within another one is sent as code, and not as the name of a module that the worker cannot find yet.
    """

    def work_on_worker(task):
        import os
        import sys

        if os.getcwd() not in sys.path:
            sys.path.insert(0, os.getcwd())
        from photos.processes import use_one_core
        from volume.work import Task, work

        use_one_core()
        return work(Task(*task))

    return work_on_worker
