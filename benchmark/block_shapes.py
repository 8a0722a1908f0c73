"""What the measured block shapes say: which shapes differ, in which kernels, and by how much.

Tables and charts take their words from here, so that no sentence can say other than the figures do. Every pair
of shapes is compared. Two shapes differ when `timing.differ` says so of their times, and the slow one takes LEAST times
as long: what is less is true, perhaps, but matters to nobody.
"""

from itertools import combinations
from typing import NamedTuple

from benchmark.text import listed, share_text, speed_text
from benchmark.timing import differ

LEAST = 1.03


class Pair(NamedTuple):
    """Two block shapes that differ clearly in one kernel, or in one epoch."""

    what: str
    fast: str
    slow: str
    factor: float  # time of the slow one / time of the fast one


def most_different(pairs):
    """The Pair whose shapes differ most."""
    return max(pairs, key=lambda pair: pair.factor)


def compare(rows, key):
    """(pairs that differ, the number of pairs that were compared) of rows with "block" and "seconds".

    key: the field that says what was timed; only times of the same thing are compared.
    """
    pairs, compared = [], 0
    for one, other in combinations([row for row in rows if row["seconds"]], 2):
        if one[key] == other[key]:
            compared += 1
            fast, slow = sorted((one, other), key=lambda row: row["seconds"]["median"])
            factor = slow["seconds"]["median"] / fast["seconds"]["median"]
            if factor >= LEAST and differ(fast["seconds"], slow["seconds"]):
                pairs.append(Pair(one[key], fast["block"], slow["block"], factor))
    return pairs, compared


def winners(rows):
    """{kernel: the shape that is clearly faster than every other one, or None} of the kernels that were timed."""
    found = {}
    pairs, _ = compare(rows, "kernel")
    shapes = {row["block"] for row in rows}
    for kernel in dict.fromkeys(row["kernel"] for row in rows if row["seconds"]):
        beaten = {shape: {p.slow for p in pairs if p.what == kernel and p.fast == shape} for shape in shapes}
        found[kernel] = next((shape for shape in shapes if beaten[shape] == shapes - {shape}), None)
    return found


def title(blocks):
    """The chart's title."""
    pairs, compared = compare(blocks["kernels"], "kernel")
    if not pairs:
        return "The shape of a block makes no clear difference:\nthe times of every two shapes overlap"
    most = most_different(pairs)
    return (
        f"{most.what} takes {most.factor:.2f} times as long\nin blocks of {most.slow} as in {most.fast}; "
        f"{len(pairs)} of {compared} pairs of shapes differ"
    )


def conclusion(blocks):
    """What the table shows, as a list of sentences: threads, then the kernels' times, then the epochs'."""
    said = [*threads_said(blocks["kernels"]), *times_said(blocks["kernels"]), *epochs_said(blocks)]
    return "\n".join(f"- {sentence}" for sentence in said)


def threads_said(rows):
    """A sentence for the convolution and one for the pooling."""
    for kernel in ("conv3x3_forward", "maxpool2_forward"):
        forms = {row["block"]: (row["threads"], row["useful"]) for row in rows if row["kernel"] == kernel}
        if len(set(forms.values())) == 1:
            threads, useful = next(iter(forms.values()))
            useful = share_text(useful)
            yield f"{kernel} launches {threads:,} threads an image with every shape, of which {useful} have work."
        else:
            parts = [f"{threads:,} with {shape} ({share_text(useful)})" for shape, (threads, useful) in forms.items()]
            yield f"{kernel} launches {listed(parts)}; in brackets the share that has work."


def times_said(rows):
    pairs, compared = compare(rows, "kernel")
    if not compared:
        return
    yield (
        f"Of {compared} pairs of shapes {len(pairs)} differ clearly in time: by {LEAST - 1:.0%} or more, and the "
        "middle halves of their measurements do not overlap."
    )
    if pairs:
        yield most_said(rows)
    best = winners(rows)
    for shape in dict.fromkeys(row["block"] for row in rows):
        if won := [kernel for kernel, winner in best.items() if winner == shape]:
            yield f"{shape} is clearly the fastest in {listed(won)}."
    if undecided := [kernel for kernel, winner in best.items() if winner is None]:
        yield f"No shape is clearly the fastest in {listed(undecided)}."


def most_said(rows):
    """The two shapes that differ most, and the kernel in which they do; empty where none do."""
    pairs, _ = compare(rows, "kernel")
    if not pairs:
        return ""
    most = most_different(pairs)
    return (
        f"The shape of a block matters most in {most.what}: {most.slow} takes {most.factor:.2f} times as long as "
        f"{most.fast}."
    )


def epochs_said(blocks):
    """A sentence for each rung whose epochs were timed."""
    pairs, _ = compare(blocks["epochs"], "name")
    for name in dict.fromkeys(row["name"] for row in blocks["epochs"]):
        own = [pair for pair in pairs if pair.what == name]
        if own:
            most = most_different(own)
            yield f"An epoch of {name} with {most.fast} is {speed_text(most.factor)} as fast as with {most.slow}."
        else:
            yield f"For an epoch of {name} no two shapes differ clearly."
