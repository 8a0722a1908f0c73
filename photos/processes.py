"""Processes that work on images, one for each core; the training set is made by them, and many pictures are read.

Nothing else in the project starts such processes. How they and Ctrl-C get along is in interrupts.py.
"""

import contextlib
import os
import sys
import threading
from concurrent.futures import FIRST_EXCEPTION, wait

import cv2

import interrupts

CHUNK = 500  # images in a job: how many a process takes at a time


def in_processes(jobs, meanwhile=None):
    """Do jobs in processes, with a progress bar that counts images: the list of their results.

    jobs: a list of (function, images, ...), each for the call function(images, ...). Functions, arguments and results
    are pickled. meanwhile(): called in this process once the others are at work; on four cores or more, a quarter of
    the cores is left free for it. With one core, or too few images for two processes, all is done here, and
    meanwhile() is not called.
    """
    from tqdm import tqdm  # imported where it is needed, as in `start_processes`

    counts = [len(images) for _, images, *_ in jobs]
    free = cores() // 4 if meanwhile else 0
    processes = min(cores() - free, sum(counts) // CHUNK)
    with contextlib.ExitStack() as stack:
        bar = stack.enter_context(
            tqdm(desc="normalising", total=sum(counts), unit=" images", unit_scale=True, dynamic_ncols=True)
        )
        if processes < 2:  # so little work is done before a process has started
            return [_call(job, count, bar) for job, count in zip(jobs, counts, strict=True)]
        pool = start_processes(processes)
        stack.callback(pool.shutdown, cancel_futures=True)
        stack.push(interrupts.ignore_after_one)  # runs before the shutdown: a stack ends with what was pushed last
        with interrupts.held_while_processes_start():
            futures = [pool.submit(*job) for job in jobs]  # starts the processes
            for future, count in zip(futures, counts, strict=True):
                future.add_done_callback(lambda done, count=count: done.cancelled() or bar.update(count))
        if meanwhile:
            meanwhile()
        with interrupts.held() as pressed:
            running = futures
            while running and not pressed:
                done, running = wait(futures, timeout=0.1, return_when=FIRST_EXCEPTION)
                for future in done:
                    future.result()  # raises what went wrong there
        return [future.result() for future in futures]


def _call(job, count, bar):
    function, *arguments = job
    result = function(*arguments)
    bar.update(count)
    return result


def cores():
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def start_processes(count):
    """An executor of so many processes. They start when they get work, in `interrupts.held_while_processes_start`."""
    import multiprocessing  # these take time to import, and only few callers start processes
    from concurrent.futures import ProcessPoolExecutor

    if sys.platform == "win32":
        count = min(count, 61)  # Windows cannot wait for more at a time
    spawn = multiprocessing.get_context("spawn")  # a fork of a process with threads or CUDA may hang
    return ProcessPoolExecutor(count, spawn, _start_process)


def _start_process():
    interrupts.ignore()  # Ctrl-C also reaches the parent process, which then sends no more jobs
    use_one_core()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def use_one_core():
    """Let OpenCV use one thread from now on: there is a process for every core."""
    cv2.setNumThreads(1)


def _end_with_parent():
    """A parent that is killed cannot end its processes, which would wait for jobs for ever."""
    from multiprocessing import parent_process

    parent_process().join()
    os._exit(1)
