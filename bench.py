"""CPU against GPU: the same network from the same start, first compared, then timed, rung by rung.

    python bench.py --epoch 5            writes results/bench.json and the charts beside it
    python bench.py --epoch 5 --peers    the same, with PyTorch and JAX where they are installed
    python bench.py --readme             puts the tables of results/bench.json into README.md

A fast wrong answer does not count. So every way to train starts from the same weights, takes the same images in the
same order, and must have learned what plain Python learned, within TOLERANCE, before anything is said about speed.

How it is measured: the GPU is synchronised inside the clock (an epoch ends when its loss is back on the host); compile
time is a figure of its own; the first epoch warms up and is not timed (the second is, in which `epoch` records its
launch: often its largest); every figure is the median of n measurements and is shown with the smallest and the largest.
Plain Python and the naive port would take minutes for all 60,000 images: they are timed on --images, and the table says
that it scales them.
"""

import argparse
import datetime
import functools
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import numba
import numpy as np
from numba import cuda
from tqdm import tqdm

import cnn_gpu
import kernel_cache  # noqa: F401 (where the compiled functions are kept)
import mnist_data
from benchmark import peers, report
from cnn_cpu import CNN
from cnn_gpu import CNNGPU
from cnn_jit import CNNJit
from conv_gpu import Conv3x3GPU
from epoch_gpu import as_words
from errors import INTERRUPTED, Parser, UserError, number, run
from files import replacing
from gpu_launch import SIMULATED, gpu_problem
from network import LEARNING_RATE, initial_parameters, scale
from sizes import NUM_CLASSES, POOLED_SIZE
from training import Bar

ROOT = Path(__file__).resolve().parent
FULL = 60_000  # images of an epoch in the ladder: all of MNIST's training set
TESTS = 10_000
CPU_IMAGES = 10_000  # at most, where the CPU's threads are timed for every batch size
REPEATS = 5  # timed epochs behind a median, after one that warms up
CALLS = 20  # timed calls of something short
BATCH_SIZES = (1, 4, 16, 64, 256, 1024)
LARGE_BATCHES = (64, 128, 1024)
TARGET = 0.97  # of the test images
BLOCKS = ((8, 8), (16, 16), (32, 32))
TOLERANCE = 1e-3  # float32 rounds differently in every engine; five epochs of 1,000 images were seen to differ by 4e-5
ROUNDING = 1e-6  # float32 keeps a number to 6e-8 of its size, and every step rounds again


class Settings(NamedTuple):
    """What the command line chooses."""

    epochs: int = 5
    images: int = 1000
    batch_size: int = 64
    filters: int = 8
    seed: int = 0


class Rung(NamedTuple):
    """A way to train: its name in tables, its engine, CNNGPU's path, and what changed since the rung before."""

    name: str
    engine: type
    path: str | None
    change: str


LADDER = (
    Rung("plain Python", CNN, None, "one thread, one image, one place of the window at a time"),
    Rung("Numba threads", CNNJit, None, "compiled; the images of a batch shared out over the CPU's threads"),
    Rung(
        "GPU naive", CNNGPU, "naive", "one kernel for each layer; an image at a time, copied in and out at every call"
    ),
    Rung("GPU layers", CNNGPU, "layers", "whole batches, and everything stays on the GPU"),
    Rung("GPU graph", CNNGPU, "graph", "the same kernels, captured once and replayed: no launch from Python"),
    Rung("GPU epoch", CNNGPU, "epoch", "one launch for a whole epoch; the blocks wait for each other on the GPU"),
)
SLOW = ("plain Python", "GPU naive")  # timed on --images only


class Trained(NamedTuple):
    """What a training gave: the Epochs and the parameters after `epochs` of them, and the seconds of the timed ones."""

    history: list
    parameters: tuple
    seconds: list
    images: int


# Statistics and arithmetic.


def summary(samples):
    """The median of the samples with its spread: {"median", "min", "max", "n"}."""
    return {"median": float(np.median(samples)), "min": min(samples), "max": max(samples), "n": len(samples)}


def scaled(statistic, factor):
    """The same summary for `factor` times as much work."""
    return {name: value if name == "n" else value * factor for name, value in statistic.items()}


def learning_rate(batch_size):
    """The default's, and in proportion less for smaller batches (Goyal et al. 2017, "the linear scaling rule")."""
    return LEARNING_RATE * min(1, batch_size / 64)


def difference(found, wanted, start):
    """How far two Parameters are apart, as a share of the way that training went: the largest of the four arrays.

    What float32's rounding explains, ROUNDING of the size of the array, is not counted: after a step or two it can be
    as much as the way.
    """
    shares = []
    for one, other, origin in zip(found, wanted, start, strict=True):
        apart = float(np.linalg.norm(one - other)) - ROUNDING * float(np.linalg.norm(other))
        way = float(np.linalg.norm(other - origin))
        if apart <= 0:
            shares.append(0.0)
        else:
            shares.append(apart / way if way > 0 and np.isfinite(apart) else float("inf"))
    return max(shares)


def agreement(found, wanted, start):
    """How well two Trained agree: {"loss": largest relative difference of an epoch, "weights": `difference`}."""
    losses = [abs(one.loss - other.loss) / other.loss for one, other in zip(found.history, wanted.history, strict=True)]
    return {"loss": float(np.max(losses)), "weights": difference(found.parameters, wanted.parameters, start)}


def disagreement(name, agreed):
    """One line when an agreement is outside the tolerance, otherwise None."""
    if agreed["loss"] <= TOLERANCE and agreed["weights"] <= TOLERANCE:
        return None
    return (
        f"{name} did not learn what plain Python learned: the loss differs by {agreed['loss']:.2g} and the weights by "
        f"{agreed['weights']:.2g} of the way they went; the tolerance is {TOLERANCE:g}. No times are shown"
    )


def flops_per_image(filters):
    """Multiplications and additions that learning one image cannot do without, 2 for each multiply-add.

    Forward: 9 for each place and filter, then the dense layer. Backward: the dense layer twice, for its weights and for
    its inputs; of the convolution only the places that won their pooling window pass on a gradient.
    """
    pooled = POOLED_SIZE * POOLED_SIZE * filters
    convolution = 2 * 9 * (4 * pooled) + 2 * 9 * pooled
    dense = 3 * 2 * pooled * NUM_CLASSES
    return convolution + dense


def floor(card, images, batch_size, filters):
    """Seconds below which no epoch can come on this card (see `describe_card`), and what they are made of.

    The larger of arithmetic over the card's peak and bytes over its bandwidth, plus two grid-wide barriers a step: one
    before the update may read what all images left, one before the next step may read the new weights. The bytes are
    the images, labels and order, once each; all the rest fits in the caches. None where the card does not tell.
    """
    if None in (card["peak_flops"], card["bandwidth"], card["barrier_seconds"]):
        return None
    compute = images * flops_per_image(filters) / card["peak_flops"]
    memory = images * (28 * 28 + 4 + 4) / card["bandwidth"]
    barriers = 2 * -(-images // batch_size) * card["barrier_seconds"]
    return {"compute": compute, "memory": memory, "barriers": barriers, "total": max(compute, memory) + barriers}


# What runs where.


def ladder():
    """(the rungs that can run here, one line for each thing left out)."""
    problem = "the CUDA simulator is on, which is not a GPU to time" if SIMULATED else gpu_problem()
    if problem:
        missing = "the GPU rungs, full MNIST on the GPU, block shapes, copies and inference on the GPU"
        return list(LADDER[:2]), [f"left out without a CUDA GPU: {missing} ({problem})"]
    paths = cnn_gpu.PATHS
    return [rung for rung in LADDER if rung.path is None or rung.path in paths], []


def train(rung, data, settings, epochs=None, batch_size=None, progress=None, warm_up=True, **options):
    """Train a new network on data (images, labels); the first epoch is not timed if it is to warm up.

    epochs, batch_size: the settings' unless given. options go to the engine. Returns Trained.
    """
    epochs, batch_size = epochs or settings.epochs, batch_size or settings.batch_size
    network = rung.engine(settings.filters, "none", settings.seed, **options)
    learned = []

    def after_epoch(epoch):
        if network.epochs_trained == epochs:
            learned.append(network.parameters)

    path = {"path": rung.path} if rung.path else {}
    total = max(epochs, 1 + REPEATS) if warm_up else epochs
    rate = learning_rate(batch_size)
    history = network.fit(*data, total, batch_size, rate, progress, after_epoch, **path)
    seconds = [epoch.seconds for epoch in history]
    return Trained(history[:epochs], learned[0], seconds[1:] if warm_up else seconds, len(data[0]))


def compare(rungs, data, settings):
    """Train every rung on the same few images, with a bar each. Returns {name: Trained}, plain Python's first."""
    trained = {}
    for rung in rungs:
        warm_up = rung.engine is not CNN  # plain Python has nothing to warm up, and no second to lose
        epochs = max(settings.epochs, 1 + REPEATS) if warm_up else settings.epochs
        with Bar(f"{rung.name:13}", epochs * len(data[0])) as bar:
            trained[rung.name] = train(rung, data, settings, progress=bar, warm_up=warm_up)
    return trained


def time_calls(call, calls=CALLS, synchronize=lambda: None):
    """Summary of the seconds of call(), the device synchronised inside the clock; the first call is not timed."""
    samples = []
    for _ in range(1 + calls):
        synchronize()
        start = time.perf_counter()
        call()
        synchronize()
        samples.append(time.perf_counter() - start)
    return summary(samples[1:])


# The measurements. Each returns what goes into bench.json under its name; all times are in seconds.


def measure_ladder(rungs, compared, data, settings, card):
    """A row for each rung: the seconds of an epoch of FULL images, and the test accuracy after the same epochs."""
    rows = []
    for rung in tqdm(rungs, desc="the ladder"):
        few = compared[rung.name]
        whole = None if rung.name in SLOW else train(rung, data.train, settings)
        timed = whole or few
        seconds = scaled(summary(timed.seconds), FULL / timed.images)
        rows.append(
            {
                "name": rung.name,
                "change": rung.change,
                "images_timed": timed.images,
                "epoch_seconds": seconds,
                "images_per_second": FULL / seconds["median"],
                "over_plain": (rows[0]["epoch_seconds"]["median"] if rows else seconds["median"]) / seconds["median"],
                "over_previous": rows[-1]["epoch_seconds"]["median"] / seconds["median"] if rows else None,
                "accuracy_few": test_accuracy(few, data, settings),
                "accuracy_full": test_accuracy(whole, data, settings) if whole else None,
                "times_floor": seconds["median"] / card["floor"]["total"] if rung.path and card["floor"] else None,
            }
        )
    return rows


def test_accuracy(trained, data, settings):
    """Accuracy of learned weights on the test set. One engine reads for all, so that only the weights can differ."""
    return CNNJit(settings.filters, "none", settings.seed, trained.parameters).evaluate(*data.test)[1]


def measure_batches(rungs, compared, data, settings):
    """Seconds per image of training at every batch size: {"name", "batch_size", "image_seconds"} for each.

    An epoch of 1,000 steps, or of all images if that is less; on the CPU of 100 steps, or of CPU_IMAGES. Plain Python
    takes an image at a time, so its time does not depend on the batch: it is not measured again.
    """
    plain = compared["plain Python"]
    rows = [
        {"name": "plain Python", "batch_size": size, "image_seconds": scaled(summary(plain.seconds), 1 / plain.images)}
        for size in BATCH_SIZES
    ]
    fast = [rung for rung in rungs if rung.name not in SLOW]
    for rung, size in tqdm([(rung, size) for rung in fast for size in BATCH_SIZES], desc="batch sizes"):
        count = 1000 * size if rung.path else min(100 * size, CPU_IMAGES)
        few = tuple(part[:count] for part in data.train)
        seconds = train(rung, few, settings, epochs=1, batch_size=size).seconds
        rows.append({"name": rung.name, "batch_size": size, "image_seconds": scaled(summary(seconds), 1 / len(few[0]))})
    return rows


def measure_fastest(rungs, data, settings):
    """The last rung in short: an epoch of all images at three batch sizes, and the time to TARGET test accuracy.

    That time is what training took, from new weights to the end of the first epoch after which the network reads so
    many test images right, and reading them after every epoch; data on the GPU, kernels compiled.
    """
    rung = rungs[-1]
    epochs = []
    for size in tqdm(LARGE_BATCHES, desc="the fastest"):
        trained = train(rung, data.train, settings, batch_size=size)
        accuracy = test_accuracy(trained, data, settings)
        epochs.append({"batch_size": size, "epoch_seconds": summary(trained.seconds), "accuracy": accuracy})
    times = [_seconds_to_target(rung, data, settings) for _ in range(1 + REPEATS)][1:]
    target = None
    if all(times):
        target = {"accuracy": TARGET, "epochs": times[0][1], "seconds": summary([seconds for seconds, _ in times])}
    return {"name": rung.name, "epochs": epochs, "target": target}


def _seconds_to_target(rung, data, settings):
    """(seconds, epochs) until TARGET of the test images are read right; None when 10 epochs do not get there."""
    network = rung.engine(settings.filters, "none", settings.seed)
    images, labels = data.test
    there = cuda.to_device(as_words(images)) if rung.path else images
    reading = []

    def after_epoch(epoch):
        start = time.perf_counter()
        answers = network.read(there)[0].copy_to_host() if rung.path else network.logits(there)
        accuracy = (answers.argmax(axis=1) == labels).mean()
        reading.append((accuracy, time.perf_counter() - start))

    history = network.fit(*data.train, 10, settings.batch_size, learning_rate(settings.batch_size), None, after_epoch)
    for done, (accuracy, _) in enumerate(reading, 1):
        if accuracy >= TARGET:
            seconds = sum(epoch.seconds for epoch in history[:done]) + sum(took for _, took in reading[:done])
            return seconds, done
    return None


def measure_blocks(data, settings):
    """For each block shape: the seconds of the convolution's forward kernel, and of an epoch of the layers."""
    rung = next(rung for rung in LADDER if rung.path == "layers")
    start = initial_parameters(settings.filters, settings.seed)
    # Enough images for the kernel to outlast its launch, and no more than 256 MB of output.
    count = min(TESTS, 2**28 // (26 * 26 * 4 * settings.filters))
    images = cuda.to_device(scale(data.test[0][:count]))
    rows = []
    for block in tqdm(BLOCKS, desc="block shapes"):
        layer = Conv3x3GPU(start.filters, start.filter_biases, "none", block)
        kernel = time_calls(lambda layer=layer: layer.forward(images), synchronize=cuda.synchronize)
        epoch = summary(train(rung, data.train, settings, epochs=1, block=block).seconds)
        shape = f"{block[0]}x{block[1]}"
        rows.append({"block": shape, "conv_images": count, "conv_seconds": kernel, "epoch_seconds": epoch})
    return rows


def measure_copies(rungs, rows, data, settings):
    """The share of copies between host and device in training, when the data is resident and when every call copies.

    Resident: the training set goes over once for all epochs, the order and the sums once an epoch. Every call: the
    naive rung at batch size 1 does the same steps with the same kernels as the layers, and copies; what it takes
    longer is the copies.
    """
    once = time_calls(lambda: [cuda.to_device(part) for part in data.train], REPEATS, cuda.synchronize)
    by_path = {rung.path: rung for rung in rungs}
    resident = {rung.name: rung.path for rung in rungs if rung.path not in (None, "naive")}
    found = []
    for row in rows:
        if row["name"] in resident:
            copies = once["median"] + settings.epochs * _epoch_copies(resident[row["name"]], settings)["median"]
            total = once["median"] + settings.epochs * row["epoch_seconds"]["median"]
            case = f"{row['name']}: copied once for {settings.epochs} epochs"
            found.append({"case": case, "copies_seconds": copies, "total_seconds": total, "share": copies / total})
    if "naive" in by_path:
        few = tuple(part[: min(200, FULL)] for part in data.train)
        naive, layers = (
            summary(train(by_path[path], few, settings, epochs=1, batch_size=1).seconds)["median"]
            for path in ("naive", "layers")
        )
        case = f"GPU naive: every call copies ({len(few[0])} images, batch size 1)"
        copies = max(0, naive - layers)
        found.append({"case": case, "copies_seconds": copies, "total_seconds": naive, "share": copies / naive})
    return found


def _epoch_copies(path, settings):
    """Summary of the seconds that an epoch copies: the order, from pinned memory for `epoch`, and the sums back."""
    order = cuda.pinned_array(FULL, np.int32) if path == "epoch" else np.empty(FULL, np.int32)
    order[:] = np.arange(FULL)
    there, sums = cuda.to_device(order), cuda.to_device(np.zeros(settings.batch_size))
    return time_calls(lambda: (there.copy_to_device(order), sums.copy_to_host()), synchronize=cuda.synchronize)


def measure_small(rungs, batches, data, settings):
    """Work too small for a GPU, one image at a time: rows of {"work", "seconds": {name: summary}}."""
    step = {row["name"]: row["image_seconds"] for row in batches if row["batch_size"] == 1}
    read = {}
    for rung in rungs:
        if rung.path != "naive":
            network = rung.engine(settings.filters, "none", settings.seed)
            read[rung.name] = time_calls(lambda network=network: network.predict(data.test[0][:1]))
    return [{"work": "train on one image", "seconds": step}, {"work": "read one image", "seconds": read}]


def measure_first_steps(rungs):
    """For each compiled rung, the first batch in a new process: kernels compiled, and loaded from Numba's cache."""
    names = [rung.name for rung in rungs if rung.name not in SLOW]
    with ThreadPoolExecutor() as side_by_side:  # one core each
        return list(tqdm(side_by_side.map(_first_steps, names), desc="compilation", total=len(names)))


def _first_steps(name):
    with tempfile.TemporaryDirectory() as folder:
        compiled, cached = (_first_step_apart(name, folder) for _ in range(2))
    return {"name": name, "compiled_seconds": compiled, "cached_seconds": cached}


def _first_step_apart(name, cache):
    command = [sys.executable, "-c", f"import bench; print(bench.first_step({name!r}))"]
    environment = os.environ | {"NUMBA_CACHE_DIR": cache}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise UserError(f"the first step of {name} failed in a new process: {reason}")
    return float(done.stdout.splitlines()[-1])


def first_step(name):
    """Seconds from making a network to the end of its first batch, in this process."""
    rung = next(rung for rung in LADDER if rung.name == name)
    images, labels = np.zeros((64, 28, 28), np.uint8), np.zeros(64, np.int32)
    start = time.perf_counter()
    train(rung, (images, labels), Settings(), epochs=1, warm_up=False)
    return time.perf_counter() - start


def measure_inference(rungs, data, settings):
    """Seconds to read the test set, by each engine, and by the GPU with the images there already."""
    images = data.test[0]
    rows = []
    for rung in rungs[:2] + [rung for rung in rungs if rung.path][-1:]:
        network = rung.engine(settings.filters, "none", settings.seed)
        few = images[:100] if rung.engine is CNN else images
        seconds = time_calls(lambda network=network, few=few: network.predict(few), REPEATS)
        where = "GPU, images from the host" if rung.path else rung.name
        rows.append({"name": where, "images_timed": len(few), "seconds": scaled(seconds, len(images) / len(few))})
        if rung.path:
            there = cuda.to_device(as_words(images))
            read = functools.partial(network.read, there)
            seconds = time_calls(read, synchronize=cuda.synchronize)
            rows.append({"name": "GPU, images on the GPU", "images_timed": len(images), "seconds": seconds})
    return rows


def measure_peers(rungs, settings, left_out):
    """A row for each peer that ran; for each other one, a line in left_out that says why."""
    rate = learning_rate(settings.batch_size)
    job = peers.Job(settings.epochs, REPEATS, settings.batch_size, rate, settings.filters, settings.seed, FULL, TESTS)
    rows = []
    for name in tqdm(peers.names(has_gpu=len(rungs) > 2), desc="peers"):
        title = peers.PEERS[name][2]
        found = peers.measure_apart(name, job)
        if "problem" in found:
            left_out.append(f"left out: {title}: {found['problem']}")
            continue
        for times in ("epoch_seconds", "reading_seconds"):
            found[times] = summary(found[times])
        rows.append({"name": title, "device": peers.PEERS[name][1], **found})
    return rows


# The card and the machine.


@cuda.jit(cache=True)
def wait_for_all(count):
    """`count` barriers over the whole grid, and nothing else."""
    everybody = cuda.cg.this_grid()
    for _ in range(count):
        everybody.sync()


def barrier_seconds(blocks, threads=256, count=10_000):
    """The price of one grid-wide barrier, over so many blocks; None where the card allows none."""
    try:
        seconds = time_calls(lambda: wait_for_all[blocks, threads](count), REPEATS, cuda.synchronize)
    except Exception:  # the driver's refusal, whose class depends on the version of numba-cuda
        return None
    return seconds["median"] / count


def describe_card(settings):
    """What the floor is computed from, read from the device.

    peak_flops: multiprocessors x float32 lanes x 2 (multiply-add) x clock. bandwidth: bytes/s, bus width x memory clock
    x 2 (double data rate). Lanes per multiprocessor: CUDA C++ Programming Guide, "Arithmetic Instructions".
    """
    device = cuda.get_current_device()
    capability = tuple(device.compute_capability)
    lanes = 64 if capability in ((6, 0), (7, 0), (7, 2), (7, 5), (8, 0)) else 128
    blocks = min(settings.batch_size, device.MULTIPROCESSOR_COUNT)
    card = {
        "compute_capability": f"{capability[0]}.{capability[1]}",
        "multiprocessors": device.MULTIPROCESSOR_COUNT,
        # Some drivers answer 0 for a clock they do not tell.
        "peak_flops": device.MULTIPROCESSOR_COUNT * lanes * 2 * device.CLOCK_RATE * 1000 or None,
        "bandwidth": 2 * device.MEMORY_CLOCK_RATE * 1000 * device.GLOBAL_MEMORY_BUS_WIDTH // 8 or None,
        "barrier_seconds": barrier_seconds(blocks),
        "barrier_blocks": blocks,
    }
    return card | {"floor": floor(card, FULL, settings.batch_size, settings.filters)}


def describe_machine(has_gpu):
    """GPU, driver, CPU, cores and versions: what a figure means nothing without."""
    versions = {"python": platform.python_version()}
    for package in ("numpy", "numba", "numba-cuda"):
        versions[package] = metadata.version(package)
    return {
        "date": datetime.date.today().isoformat(),
        "gpu": str(cuda.get_current_device().name) if has_gpu else None,
        "driver": driver_version() if has_gpu else None,
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "threads": numba.get_num_threads(),
        "system": platform.platform(terse=True),
        "versions": versions,
    }


def driver_version():
    """The NVIDIA driver's version, as nvidia-smi tells it; None where it does not."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return None


def cpu_name():
    """The processor's name, from /proc/cpuinfo where there is one."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


# The run.


class Data(NamedTuple):
    """MNIST as (images, labels) pairs."""

    train: tuple
    test: tuple


def load_data():
    everything = mnist_data.load()
    return Data(
        (everything.train_images[:FULL], everything.train_labels[:FULL]),
        (everything.test_images[:TESTS], everything.test_labels[:TESTS]),
    )


def check(compared, settings):
    """(how well each rung agrees with plain Python, the lines of those that don't)."""
    start = initial_parameters(settings.filters, settings.seed)
    plain = compared["plain Python"]
    agreed = {name: agreement(one, plain, start) for name, one in compared.items() if one is not plain}
    return agreed, [line for line in (disagreement(name, one) for name, one in agreed.items()) if line]


def learning_rows(compared):
    """The curves of the comparison: loss and accuracy of every epoch, and the seconds of the timed ones."""
    return [
        {
            "name": name,
            "loss": [epoch.loss for epoch in one.history],
            "accuracy": [epoch.accuracy for epoch in one.history],
            "epoch_seconds": summary(one.seconds),
        }
        for name, one in compared.items()
    ]


def measure(rungs, compared, agreed, data, settings, left_out, with_peers):
    """All measurements, as the dict that becomes bench.json."""
    has_gpu = len(rungs) > 2
    card = describe_card(settings) if has_gpu else {"floor": None}
    results = {
        "format": 1,
        "machine": describe_machine(has_gpu),
        "card": card,
        "settings": settings._asdict() | {"learning_rate": learning_rate(settings.batch_size), "full_images": FULL},
        "agreement": {"tolerance": TOLERANCE, "engines": agreed},
        "learning": learning_rows(compared),
    }
    results["ladder"] = measure_ladder(rungs, compared, data, settings, card)
    results["fastest"] = measure_fastest(rungs, data, settings)
    results["batches"] = measure_batches(rungs, compared, data, settings)
    results["small"] = measure_small(rungs, results["batches"], data, settings)
    results["first_steps"] = measure_first_steps(rungs)
    results["inference"] = measure_inference(rungs, data, settings)
    results["blocks"] = measure_blocks(data, settings) if has_gpu else []
    results["copies"] = measure_copies(rungs, results["ladder"], data, settings) if has_gpu else []
    results["peers"] = measure_peers(rungs, settings, left_out) if with_peers else []
    results["left_out"] = left_out
    return results


def check_output(folder):
    """Make the folder for the results; UserError or OSError, before anything is measured, when that cannot be."""
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise UserError(f"{folder}: the results cannot be written there")


def save(results, folder):
    """Write bench.json and the charts; returns the paths."""
    with replacing(folder / "bench.json") as file:
        file.write((json.dumps(results, indent=1) + "\n").encode())
    return [folder / "bench.json", *report.draw_charts(results, folder)]


def bench(settings, with_peers, folder):
    """Compare, measure, save and print; returns the exit status, 1 when an engine did not learn what it should."""
    rungs, left_out = ladder()
    data = load_data()
    compared = compare(rungs, tuple(part[: settings.images] for part in data.train), settings)
    agreed, problems = check(compared, settings)
    if problems:
        print("\n".join(problems), file=sys.stderr)
        return 1
    results = measure(rungs, compared, agreed, data, settings, left_out, with_peers)
    written = save(results, folder)
    print(report.tables(results))
    print("\n".join(f"{path}: written" for path in written))
    return 0


def parse(argv):
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add, standard = parser.add_argument, Settings()
    whole = number(int, 1, "a whole number from 1")
    images = number(int, 1, f"a whole number from 1 to {FULL}", FULL)
    add("--epoch", "--epochs", dest="epochs", type=whole, default=standard.epochs, metavar="N")
    help_images = "to compare the engines on (default: %(default)s)"
    add("--images", type=images, default=standard.images, metavar="N", help=help_images)
    add("--batch-size", type=number(int, 1, "a batch size from 1 to 1024", 1024), default=64, metavar="N")
    add("--filters", type=number(int, 1, "a whole number from 1 to 64", 64), default=standard.filters, metavar="N")
    add("--seed", type=number(int, 0, "a whole number from 0"), default=standard.seed, metavar="N")
    add("--peers", action="store_true", help="time PyTorch and JAX too")
    add("--output", type=Path, default=ROOT / "results", metavar="DIR", help="for bench.json and the charts")
    text = "measure nothing: put the tables of bench.json between the markers in this file (default: README.md)"
    add("--readme", type=Path, nargs="?", const=ROOT / "README.md", metavar="PATH", help=text)
    return parser.parse_args(argv)


def main(argv=None):
    args = parse(argv)
    if args.readme:
        report.update_readme(args.readme, args.output / "bench.json")
        return 0
    check_output(args.output)
    settings = Settings(args.epochs, args.images, args.batch_size, args.filters, args.seed)
    try:
        return bench(settings, args.peers, args.output)
    except KeyboardInterrupt:
        print("interrupted; nothing was written", file=sys.stderr)
        return INTERRUPTED


if __name__ == "__main__":
    run(main)
