"""Programs are killed at random moments of whatever they write: the old file is there or the new one, and it is whole.

    python -m tests.test_interruption 500        by hand: so many kills of each writer

The kills run in a process of their own, this same file. It forks a program for each kill, which writes one file again
and again, its two contents in turn.
"""

import itertools
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
KILLS = 50
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and the signals of Unix")


# -- the writers: each gives the file, a function that writes content 0 or 1, and one that says which is there -------


def model(folder):
    from cnn_cpu import CNN
    from model_file import read_model

    networks = [CNN(8, seed=seed) for seed in range(2)]

    def written():
        return read_model(folder / "model.npz")[1]["seed"]

    return folder / "model.npz", lambda which: networks[which].save(folder / "model.npz"), written


def results(folder):
    """bench.json, and beside it a chart that is drawn in no time."""
    import json

    import bench
    from benchmark import chart_style, charts

    class Figure:
        def savefig(self, file, dpi):
            file.write(bytes(100_000))

    charts.charts_of = lambda _: {"learning": lambda _: Figure()}
    chart_style.plt.close = lambda _: None
    found = [{"format": 1, "seconds": [which] * 20_000} for which in range(2)]

    def written():
        if (folder / "learning.png").exists():
            assert (folder / "learning.png").read_bytes() == bytes(100_000)
        return found.index(json.loads((folder / "bench.json").read_text()))

    return folder / "bench.json", lambda which: bench.save(found[which], folder), written


def training_set(folder):
    import mnist_data
    from photos import training_set

    training_set.KEPT = folder / "normalised.npz"
    few = mnist_data.MNIST(*(np.zeros(2, np.uint8) for _ in range(4)))

    def make_sets(images, labels, tests, seed, meanwhile):
        return (np.full((1000, 28, 28), seed, np.uint8), np.zeros(1000, np.uint8)), np.zeros((10, 28, 28), np.uint8)

    def written():
        with np.load(training_set.KEPT) as kept:
            (seed,) = set(kept["train_images"].flat)
            assert str(kept["version"]).startswith(f"{seed} ") and kept["test_images"].shape == (10, 28, 28)
        return int(seed)

    training_set.make_sets = make_sets
    return training_set.KEPT, lambda which: training_set.whole_sets(few, which), written


def download(folder):
    """Content 0 is a damaged file; 1 is what is fetched instead, from a mirror that is a folder."""
    import mnist_data
    from files import replacing

    name = "t10k-labels-idx1-ubyte.gz"
    mnist_data.MIRRORS = (f"{mnist_data.DATA_DIR.as_uri()}/",)
    whole = (mnist_data.DATA_DIR / name).read_bytes()

    def write(which):
        if which:
            mnist_data.load_file(folder, name)
        else:
            with replacing(folder / name) as file:
                file.write(b"damaged")

    return folder / name, write, lambda: [b"damaged", whole].index((folder / name).read_bytes())


WRITERS = {"model": model, "results": results, "training set": training_set, "download": download}

# -- the kills --------------------------------------------------------------------------------------------------------


def forked(work):
    """The id of a forked process that does the work and ends with status 0, or 1 if the work raises."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        work()
        status = 0
    finally:
        os._exit(status)


def write_for_ever(write):
    for which in itertools.cycle((0, 1)):
        write(which)


def kill_writers(writer, folder, times):
    """Kill so many; returns how many left a half-written file, which the next program that writes there deletes."""
    path, write, written = writer(folder)
    start = time.perf_counter()
    one_write(write, 0)
    one_write(write, 1)
    longest = 2 * (time.perf_counter() - start)
    others = {other.name for other in folder.iterdir()}
    left_behind = 0
    for number in range(times):
        child = forked(lambda: write_for_ever(write))
        time.sleep(random.uniform(0, longest))
        os.kill(child, (signal.SIGKILL, signal.SIGTERM)[number % 2])
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), "it ended before it was killed"
        assert written() in (0, 1)
        left_behind += {other.name for other in folder.iterdir()} != others
    one_write(write, 0)
    one_write(write, 1)  # one of the two is news, whatever is there
    assert {other.name for other in folder.iterdir()} == others, "what killed programs have left is still there"
    two_at_once(write)
    assert written() in (0, 1) and {other.name for other in folder.iterdir()} == others
    return left_behind


def one_write(write, which):
    assert os.waitpid(forked(lambda: write(which)), 0)[1] == 0


def two_at_once(write):
    writers = [forked(lambda: [write(which) for which in (0, 1) * 10]) for _ in range(2)]
    assert [os.waitpid(child, 0)[1] for child in writers] == [0, 0]


@pytest.mark.parametrize("name", WRITERS)
def test_a_kill_leaves_the_old_file_or_the_new_one(name, imports_first):
    command = [sys.executable, __file__, str(KILLS), name]
    environment = os.environ | imports_first(ROOT)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(f"{name}: {KILLS} kills"), done.stdout


def main(times=KILLS, *names):
    for name in names or WRITERS:
        with tempfile.TemporaryDirectory() as folder:
            left_behind = kill_writers(WRITERS[name], Path(folder), int(times))
        print(f"{name}: {times} kills, {left_behind} half-written files, the old file or the new one every time")


if __name__ == "__main__":
    main(*sys.argv[1:])
