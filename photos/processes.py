"""Work on many images shared out over processes, one for a core."""

import contextlib
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import cv2
import numba
from tqdm import tqdm

import interrupts

CHUNK = 500  # images that a process takes at a time


def in_processes(jobs, meanwhile):
    """The results of function(images, ...), for each of the jobs (function, images, ...), with a bar of images."""
    counts = [len(images) for _, images, *_ in jobs]
    cores = numba.get_num_threads()
    processes = min(cores - cores // 4 if meanwhile else cores, sum(counts) // CHUNK)
    with contextlib.ExitStack() as stack:
        bar = stack.enter_context(
            tqdm(desc="normalising", total=sum(counts), unit=" images", unit_scale=True, dynamic_ncols=True)
        )
        if processes < 2:  # so little is done before a process has started
            return [_call(job, count, bar) for job, count in zip(jobs, counts, strict=True)]
        spawn = multiprocessing.get_context("spawn")  # a fork of a process with threads or CUDA may hang
        pool = ProcessPoolExecutor(processes, spawn, _start_process)
        stack.callback(pool.shutdown, cancel_futures=True)
        stack.push(interrupts.ignore_after_one)
        with interrupts.held_while_processes_start():
            futures = [pool.submit(*job) for job in jobs]  # starts the processes
        for future, count in zip(futures, counts, strict=True):
            future.add_done_callback(lambda done, count=count: done.cancelled() or bar.update(count))
        if meanwhile:
            meanwhile()
        return [future.result() for future in futures]


def _call(job, count, bar):
    function, *arguments = job
    result = function(*arguments)
    bar.update(count)
    return result


def _start_process():
    interrupts.ignore()  # Ctrl-C reaches the parent, which sends nothing more
    cv2.setNumThreads(1)  # there is a process for every core
