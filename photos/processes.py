"""PROC."""

def _in_processes(jobs, meanwhile):
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
        stack.push(_hold_interrupts)
        with _interrupts_afterwards():
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


def _hold_interrupts(kind, *_):
    """After one Ctrl-C, let the processes end undisturbed, within a second: another would leave them hanging."""
    if kind is KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextlib.contextmanager
def _interrupts_afterwards():
    """Hold Ctrl-C back: from this process until the end, and for good from those that it starts in here.

    In the main thread only, as all that has to do with signals in Python.
    """
    pressed = []
    handler = signal.signal(signal.SIGINT, lambda *_: pressed.append(True))
    blocked = None
    try:
        if hasattr(signal, "pthread_sigmask"):  # Windows lacks it; elsewhere a process inherits what its parent blocks
            resource_tracker.ensure_running()  # or the first process starts it, which unblocks
            blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        yield
    finally:
        if blocked is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        signal.signal(signal.SIGINT, handler)
    if pressed:
        signal.raise_signal(signal.SIGINT)


def _start_process():
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which sends nothing more
    cv2.setNumThreads(1)  # there is a process for every core
