"""Every kernel under every tool of NVIDIA's compute-sanitizer, on a real GPU: a table of what they find.

    python -m tests.sanitize                          every case under every tool, some minutes on one H100
    python -m tests.sanitize --case "epoch, reader"   what one case does, without the sanitizer

| tool      | finds                                                                                            |
|-----------|--------------------------------------------------------------------------------------------------|
| memcheck  | reads and writes outside of arrays                                                               |
| racecheck | threads of a block that use the same shared memory with no barrier between them                  |
| initcheck | reads of the GPU's memory that nothing has written                                               |
| synccheck | barriers that not all threads reach                                                              |

Each case is a process of its own, and small: the tools make kernels tens of times slower. The cases whose names begin
with "planted" do what each tool must find: a tool that finds nothing there sees nothing at all.
"""

import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numba import cuda, float32

from benchmark.machine import wait_for_all
from cnn_gpu import CNNGPU
from errors import Parser, UserError, number, run
from first_kernel import doubled
from gpu_launch import SIMULATED, gpu_problem

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")
TIMEOUT = 240  # seconds for a case under a tool
NETWORKS = [  # filters, activation, classes
    (8, "none", 10),
    (32, "relu", 13),
    (13, "relu", 10),  # an odd number of filters
]

# -- the cases --------------------------------------------------------------------------------------------------------


def images_and_labels(count, classes):
    random = np.random.default_rng(1)
    return random.integers(0, 256, (count, 28, 28), np.uint8), random.integers(0, classes, count)


def train(path, augment, batch_size, block=(16, 16), networks=NETWORKS):
    """Three epochs, so that what is recorded is replayed too; the last batch is smaller."""
    for filters, activation, classes in networks:
        network = CNNGPU(filters, activation, num_classes=classes, block=block, path=path)
        images, labels = images_and_labels(2 * batch_size + 3, classes)
        network.fit(images, labels, 3, batch_size, 0.05, augment=augment)


def read():
    for filters, activation, classes in NETWORKS:
        network = CNNGPU(filters, activation, num_classes=classes)
        for count in (1, 5, 300):
            network.predict(images_and_labels(count, classes)[0])


def layers():
    """By the kernels of the three layer files, with the three shapes of blocks and an odd one."""
    for block in ((8, 8), (16, 16), (32, 32), (7, 3)):
        train("layers", False, 6, block, NETWORKS[:2])


@cuda.jit
def writes_outside(numbers):
    numbers[cuda.threadIdx.x + 1_000_000] = 1


@cuda.jit
def races(numbers):
    shared = cuda.shared.array(64, float32)
    thread = cuda.threadIdx.x
    shared[thread] = numbers[thread]
    numbers[thread] = shared[63 - thread]  # written by another warp, with no barrier in between


@cuda.jit
def reads_nothing(numbers):
    numbers[cuda.threadIdx.x] = numbers[cuda.threadIdx.x + 64]


@cuda.jit
def waits_for_others(numbers):
    if cuda.threadIdx.x % 2:
        cuda.syncwarp(1)  # names thread 0 of the warp alone, which does not come
    numbers[cuda.threadIdx.x] = 1


def planted(kernel, initialised):
    numbers = cuda.to_device(np.zeros(128, np.float32)) if initialised else cuda.device_array(128, np.float32)
    kernel[1, 64](numbers)
    cuda.synchronize()


CASES = {
    "layers, four shapes of blocks": lambda: layers(),
    "layers, augmented": lambda: train("layers", True, 20),
    "graph": lambda: train("graph", False, 20),
    "epoch, batch 64": lambda: train("epoch", False, 64),
    "epoch, batch 64, augmented": lambda: train("epoch", True, 64),
    "epoch, batch 300": lambda: train("epoch", False, 300, networks=NETWORKS[:2]),
    "epoch, batch 300, augmented": lambda: train("epoch", True, 300, networks=NETWORKS[:2]),
    "epoch, reader": lambda: read(),
    "grid-wide barrier": lambda: wait_for_all[16, 64](20),
    "first kernel": lambda: doubled(33),
}
PLANTED = {  # for each tool
    "memcheck": lambda: planted(writes_outside, True),
    "racecheck": lambda: planted(races, True),
    "initcheck": lambda: planted(reads_nothing, False),
    "synccheck": lambda: planted(waits_for_others, True),
}

# -- the tools --------------------------------------------------------------------------------------------------------


def under(tool, case):
    """(number of findings or None, seconds, what was printed) of a case in a process under a tool."""
    command = ["compute-sanitizer", "--tool", tool, sys.executable, "-m", "tests.sanitize", "--case", case]
    start = time.perf_counter()
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT, check=False)
        printed = done.stdout + done.stderr
    except subprocess.TimeoutExpired as late:
        printed = f"no end after {TIMEOUT} s\n{(late.stdout or b'').decode()}{(late.stderr or b'').decode()}"
    return findings(printed), time.perf_counter() - start, printed


def findings(printed):
    """The number in the tool's last line; None if there is none, or if the case did not get to its end."""
    found = re.findall(r"^=+ (?:ERROR|RACECHECK) SUMMARY: (\d+) (?:error|hazard)", printed, re.M)
    return int(found[-1]) if found and (int(found[-1]) or "ended well" in printed) else None


def cell(result):
    count, seconds, _ = result
    return f"{'failed' if count is None else count} ({seconds:.0f} s)"


def check_all(workers):
    """Run everything, print the table and what was found; returns the exit status."""
    rows = {case: {tool: (tool, case) for tool in TOOLS} for case in CASES}
    rows["planted faults (must be found)"] = {tool: (tool, f"planted {tool}") for tool in TOOLS}
    with ThreadPoolExecutor(workers) as side_by_side:
        waiting = {
            case: {tool: side_by_side.submit(under, *job) for tool, job in row.items()} for case, row in rows.items()
        }
        results = {case: {tool: future.result() for tool, future in row.items()} for case, row in waiting.items()}
    print(f"| case | {' | '.join(TOOLS)} |\n|---|{'---|' * len(TOOLS)}")
    for case, row in results.items():
        print(f"| {case} | {' | '.join(cell(row[tool]) for tool in TOOLS)} |")
    status = 0
    for case, row in results.items():
        for tool, (count, _, printed) in row.items():
            if bool(count) != case.startswith("planted") or count is None:
                status = 1
                print(f"\n{case}, {tool}:\n" + "\n".join(printed.splitlines()[:40]))
    return status


def main(argv=None):
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", metavar="NAME", help="do this case, in this process and under no tool")
    workers = number(int, 1, "a whole number from 1")
    parser.add_argument("--workers", type=workers, default=8, metavar="N", help="processes at a time (default: 8)")
    args = parser.parse_args(argv)
    if problem := "this is the simulator" if SIMULATED else gpu_problem():
        raise UserError(f"no GPU can be used here: {problem}")
    if args.case:
        known = CASES | {f"planted {tool}": case for tool, case in PLANTED.items()}
        if args.case not in known:
            parser.error(f"--case is one of: {'; '.join(known)}")
        known[args.case]()
        cuda.synchronize()
        print("ended well")
        return 0
    if not shutil.which("compute-sanitizer"):
        raise UserError("compute-sanitizer is not on the PATH: it comes with NVIDIA's CUDA toolkit")
    return check_all(args.workers)


if __name__ == "__main__":
    run(main)
