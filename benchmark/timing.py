"""How something is timed, and how many measurements become one figure: the median with its spread."""

import time

import numpy as np

REPEATS = 5  # a figure is the median of so many measurements, which follow one that warms up
CALLS = 20  # of so many, where a call is short


def time_calls(call, calls=CALLS, synchronize=lambda: None):
    """Summary of the seconds of call(), from `calls` timed calls.

    One more call before them is the warm-up and is not timed. synchronize() waits for the device: a launch returns
    before its kernel has run, so the clock stops only after this waiting.
    """
    samples = []
    for _ in range(1 + calls):
        synchronize()
        start = time.perf_counter()
        call()
        synchronize()
        samples.append(time.perf_counter() - start)
    return summary(samples[1:])


def time_launches(launch, calls=CALLS, synchronize=lambda: None):
    """Summary of the seconds until launch() returns, which is before its kernels have run: the waiting is not timed."""
    samples = []
    for _ in range(1 + calls):
        synchronize()
        start = time.perf_counter()
        launch()
        samples.append(time.perf_counter() - start)
    synchronize()
    return summary(samples[1:])


def summary(samples):
    """The median of the samples and their spread: {"median", "min", "max", "n", "low", "high"}.

    low, high: a quarter of the samples is below, and a quarter above.
    """
    low, median, high = (float(value) for value in np.percentile(samples, (25, 50, 75)))
    return {"median": median, "min": min(samples), "max": max(samples), "n": len(samples), "low": low, "high": high}


def differ(one, other):
    """Whether two summaries differ clearly: their middle halves do not overlap.

    The middle half, because the largest of many samples is often one in which the machine did something else.
    """
    return one["high"] < other["low"] or other["high"] < one["low"]


def scaled(statistic, factor):
    """The same summary for `factor` times as much work."""
    return {name: value if name == "n" else value * factor for name, value in statistic.items()}
