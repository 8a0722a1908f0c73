"""The tables about the GPU itself: block shapes, the parts of a step, wrong ways to time, copies.

As in tables.py, each function takes the results and returns Markdown, with a sentence that says what the table shows.
It is empty where nothing was measured.
"""

from benchmark import block_shapes, wrong_timing
from benchmark.tables import markdown
from benchmark.text import listed, seconds_text, share_text, speed_text, spread_text, three_digits

MISSING = "-"


def blocks_table(results):
    """Every kernel with every block shape: threads, useful share, registers, occupancy, time; then the epochs."""
    blocks = results["blocks"]
    if not blocks:
        return ""
    rows, last = [], None
    for row in blocks["kernels"]:
        threads = f"{row['threads']:,} {'an' if row['for'] == 'image' else 'a'} {row['for']}"
        rows.append(
            (
                row["kernel"] if row["kernel"] != last else "",
                row["block"],
                threads,
                share_text(row["useful"]),
                row["registers"] or MISSING,
                share_text(row["occupancy"]) if row["occupancy"] else MISSING,
                spread_text(row["seconds"]) if row["seconds"] else MISSING,
            )
        )
        last = row["kernel"]
    header = ("kernel", "block", "threads launched", "with work", "registers", "occupancy", "time")
    note = (
        f"A step of {blocks['batch_size']} images. registers: of a thread. occupancy: warps that can be on a "
        "multiprocessor at once, of the most that it holds; whether they are there depends on the number of blocks."
    )
    if not any(row["seconds"] for row in blocks["kernels"]):
        note += " Registers, occupancy and times are missing: they need a GPU."
    parts = [markdown(header, rows, text_columns=(0, 1)), note, epochs_table(blocks), block_shapes.conclusion(blocks)]
    return "\n\n".join(part for part in parts if part)


def epochs_table(blocks):
    """An epoch with every block shape, of the rungs that launch these kernels."""
    names = list(dict.fromkeys(row["name"] for row in blocks["epochs"]))
    if not names:
        return ""
    times = {(row["block"], row["name"]): spread_text(row["seconds"]) for row in blocks["epochs"]}
    rows = [(block, *(times[block, name] for name in names)) for block in dict.fromkeys(block for block, _ in times)]
    header = ("block", *(f"{name}, an epoch of {blocks['epoch_images']:,} images" for name in names))
    return markdown(header, rows)


def step_table(results):
    """What each rung takes for a step, of what its time is made, and the kernels one by one."""
    step = results["step"]
    if not step:
        return ""
    header = (f"a step of {step['batch_size']} images", "time", "of which")
    text = markdown(header, [(name, seconds_text(time), why) for name, time, why in step_rows(step)], (0, 2))
    total = sum(row["seconds"]["median"] for row in step["kernels"])
    kernels = [
        (row["name"], spread_text(row["seconds"]), share_text(row["seconds"]["median"] / total))
        for row in step["kernels"]
    ]
    text += f"\n\n{step_said(step)}\n\n" + markdown(("kernel of a step, timed alone", "time", "share"), kernels)
    return f"{text}\n\n{kernels_said(step)}"


def step_rows(step):
    """(what, seconds, what this time is made of) of each rung, and of the floor."""
    for name, seconds in step["rungs"].items():
        yield name, seconds, PARTS[name](step, seconds)
    if step["floor"]:
        floor = step["floor"]
        parts = f"two barriers {seconds_text(floor['barriers'])}, arithmetic {seconds_text(floor['compute'])}"
        yield "floor of this GPU", floor["total"], parts


def naive_parts(step, seconds):
    if step["copies"] is None:
        return ""
    return f"copies {seconds_text(step['copies'] * seconds)} (by their share at batch size 1), launches for every image"


def layers_parts(step, seconds):
    launching = step["launching"]["median"]
    return f"Python's ten launches {seconds_text(launching)} (timed apart), and what else Python does for a step"


def graph_parts(step, seconds):
    kernels = step["in_a_row"]["median"]
    text = f"its {len(step['kernels'])} kernels in a row {seconds_text(kernels)}"
    return text + (f", the replay {seconds_text(seconds - kernels)}" if seconds > kernels else "")


def epoch_parts(step, seconds):
    if not step["barrier"] or not step["barrier"]["seconds"]:
        return ""
    barriers = 2 * step["barrier"]["seconds"]
    return (
        f"two barriers over {step['barrier']['blocks']} blocks {seconds_text(barriers)} (timed alone), "
        f"learn and update {seconds_text(max(0, seconds - barriers))}"
    )


PARTS = {"GPU naive": naive_parts, "GPU layers": layers_parts, "GPU graph": graph_parts, "GPU epoch": epoch_parts}


def step_said(step):
    """A sentence for each step down the table: what the next rung saves."""
    rungs = list(step["rungs"].items())
    changes = [
        f"{fast} saves {share_text(1 - less / more)} of the time of {slow}"
        if less < more
        else f"{fast} saves nothing against {slow}"
        for (slow, more), (fast, less) in zip(rungs, rungs[1:], strict=False)
    ]
    return f"{'; '.join(changes)}. {floor_said(step)}".removeprefix(". ").strip()


def floor_said(step):
    """How near the last rung is to the least time possible; empty where that is not known."""
    if not step["floor"]:
        return ""
    name, seconds = list(step["rungs"].items())[-1]
    return f"{name} takes {three_digits(seconds / step['floor']['total'])} times the floor."


def kernels_said(step):
    """The longest kernels, and how the sum of all compares with the row of them."""
    times = {row["name"]: row["seconds"]["median"] for row in step["kernels"]}
    total, row = sum(times.values()), step["in_a_row"]["median"]
    longest = sorted(times, key=times.get, reverse=True)[:2]
    share = sum(times[name] for name in longest) / total
    compared = "as long as" if abs(row / total - 1) < 0.02 else "less than" if row < total else "more than"
    return (
        f"Alone the kernels take {seconds_text(total)} in all; in a row, {seconds_text(row)}: {compared} the sum. "
        f"{listed(longest)} take {share_text(share)} of the sum."
    )


MISTAKES = {
    wrong_timing.NOT_WAITED: (
        "the clock stops when Python has launched",
        "a launch only puts the kernel in a queue: call `cuda.synchronize()` first",
    ),
    wrong_timing.COPIED: (
        "the kernel is given NumPy arrays",
        "Numba copies each to the GPU and back, at every call: use `cuda.to_device`",
    ),
    wrong_timing.COMPILED: (
        "the first call is timed",
        "it holds the compiler's work: call once before, and time the next calls",
    ),
}


def wrong_timing_table(results):
    """What was done wrong, the number that it gave, the right one, and why."""
    found = results["wrong_timing"]
    if not found:
        return ""
    right, rows, worst = found["right"]["median"], [], {}
    for mistake, (done, why) in MISTAKES.items():
        wrong = found["wrong"][mistake]
        factor = wrong["median"] / right
        worst[done] = max(factor, 1 / factor)
        off = f"{three_digits(factor)}x too long" if factor >= 1 else f"{three_digits(1 / factor)}x too short"
        rows.append((done, spread_text(wrong), spread_text(found["right"]), off, why))
    header = ("done wrong", "wrong", "right", "off by", "why")
    most = max(worst, key=worst.get)
    said = (
        f"All of them time the same kernel, conv3x3_forward, on the same {found['images']:,} images. Furthest off, by "
        f"{three_digits(worst[most])} times: {most}."
    )
    return f"{markdown(header, rows, text_columns=(0, 4))}\n\n{said}"


def copies_table(results):
    """The share of copies between host and device (the GPU) in the time of training."""
    rows = [
        (row["case"], seconds_text(row["copies_seconds"]), seconds_text(row["total_seconds"]), f"{row['share']:.1%}")
        for row in results["copies"]
    ]
    if not rows:
        return ""
    most, least = (pick(results["copies"], key=lambda row: row["share"]) for pick in (max, min))
    said = f'Copies take {most["share"]:.1%} of the time in "{most["case"]}"'
    said += f', {least["share"]:.1%} in "{least["case"]}".' if len(rows) > 1 else "."
    table = markdown(("copies between host and GPU", "copies", "whole training", "share"), rows)
    return f"{table}\n\n{said}"


def transfer_said(results):
    """A sentence: what reading costs when the images come from the host."""
    times = {row["name"]: row["seconds"]["median"] for row in results["inference"]}
    there, from_host = (times.get(f"GPU, images {where}") for where in ("on the GPU", "from the host"))
    if not there or not from_host:
        return ""
    return (
        f"Images that are on the GPU already are read {speed_text(from_host / there)} as fast as images from the host."
    )
