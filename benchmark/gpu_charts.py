"""The charts about the GPU itself: the kernels with each block shape, and where the time of a training step goes."""

from benchmark import block_shapes
from benchmark.chart_style import COLOURS, PALE, new_figure
from benchmark.text import seconds_text, share_text
from figure_style import INK

SHAPE_COLOURS = ("#bfe0c8", "#5fae7b", "#17573a")  # of the block shapes, small to large; no engine has a green
SAVED = {  # what the next rung saves, and how
    "GPU naive": "saved by whole batches that stay on the GPU",
    "GPU layers": "saved by a recording of the launches",
    "GPU graph": "saved by one launch for all",
    "GPU epoch": "above the floor",
}
FLOOR, FLOOR_COLOUR = "floor of this GPU", "#8a8a8a"
BAR, THIN = 0.46, 0.2  # heights, of 1 from bar to bar


def draw_blocks(results):
    """A panel for each kernel: its time with every block shape, from 0, with the middle half of the measurements."""
    blocks = results["blocks"]
    rows = [row for row in blocks["kernels"] if row["seconds"]]
    names = list(dict.fromkeys(row["kernel"] for row in rows))
    best = block_shapes.winners(rows)
    lines = -(-len(names) // 3)
    figure, panels = new_figure(results, block_shapes.title(blocks), 3, 1.9 + 2.35 * lines, lines)
    for axes, name in zip(panels, names, strict=False):
        draw_kernel(axes, [row for row in rows if row["kernel"] == name], best[name])
    for axes in panels[::3]:
        axes.set_ylabel("time (µs)", fontsize=12)
    for axes in panels[len(names) :]:
        axes.set_visible(False)
    what = f"block shape; a step of {blocks['batch_size']} images; line: the middle half of the measurements"
    small = f"{what}; bold: clearly the fastest\n{figure.get_supxlabel()}"
    figure.supxlabel(small, x=0.99, ha="right", fontsize=10, color="#555555")
    return figure


def draw_kernel(axes, rows, best):
    """One panel; rows: of one kernel; best: the shape that is clearly the fastest, or None."""
    times = [{key: value * 1e6 for key, value in row["seconds"].items()} for row in rows]
    middle = [time["median"] for time in times]
    spread = [[time["median"] - time["low"] for time in times], [time["high"] - time["median"] for time in times]]
    bars = axes.bar([row["block"] for row in rows], middle, color=SHAPE_COLOURS, width=0.62)
    axes.errorbar(range(len(rows)), middle, yerr=spread, fmt="none", ecolor=INK, elinewidth=1.5, capsize=4)
    for text, row in zip(axes.bar_label(bars, [f"{value:.1f}" for value in middle], padding=6), rows, strict=True):
        text.set(fontsize=13, fontweight="bold" if row["block"] == best else "normal")
    axes.set_title(rows[0]["kernel"], fontsize=13, fontweight="normal", pad=6)
    axes.tick_params(labelsize=11, length=0)
    axes.set_ylim(0, max(time["high"] for time in times) * 1.25)


def draw_step(results):
    """A bar for each rung: a whole step there. What is left of it on the next rung is that rung's bar, enlarged.

    Every bar has a linear scale of its own, from 0 to its step. Above a bar its parts are drawn, where they were timed.
    """
    step = results["step"]
    rungs, floor = list(step["rungs"].items()), step["floor"]
    steps = rungs + ([(FLOOR, floor["total"])] if floor else [])
    title = f"A step of {step['batch_size']} images: {seconds_text(rungs[0][1])} with {rungs[0][0]}"
    if len(rungs) > 1:
        title += f",\n{seconds_text(rungs[-1][1])} with {rungs[-1][0]}"
    figure, (axes,) = new_figure(results, title, height=1.9 + 1.25 * len(steps))
    left = 1  # of the bar before
    for place, (name, seconds) in enumerate(steps):
        parts = parts_of(step, name)
        draw_parts(axes, place - (BAR + THIN) / 2, parts)
        if place:
            top = place - BAR / 2 - (THIN if parts else 0)
            below = place - 1 + BAR / 2
            axes.fill([0, left, 1, 0], [below, below, top, top], color=PALE, alpha=0.6, linewidth=0, zorder=0)
        left = draw_saving(axes, place, (name, seconds), steps[place + 1] if place + 1 < len(steps) else None)
    axes.set_yticks(range(len(steps)), [f"{name}\n{seconds_text(seconds)}" for name, seconds in steps], fontsize=14)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(steps) - 0.6, -0.35)
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100"])
    axes.set_xlabel("share of the step's time on this rung (%)")
    axes.spines["left"].set_visible(False)
    return figure


def draw_saving(axes, place, this, following):
    """A rung's bar: to the right what the following one saves, to the left what it leaves; returns the share left.

    this, following: (name, seconds of a step); following is None at the end.
    """
    name, seconds = this
    if following is None:
        axes.barh(place, 1, height=BAR, color=COLOURS.get(name, FLOOR_COLOUR))
        return 1
    after, less = following
    left = min(1, less / seconds)
    axes.barh(place, left, height=BAR, color=COLOURS.get(after, FLOOR_COLOUR))
    axes.barh(place, 1 - left, left=left, height=BAR, color=COLOURS[name])
    if left < 0.6:  # there is room for words
        words = f"{SAVED[name]}: {seconds_text(seconds - less)} ({share_text(1 - left)})"
        colour = "white" if name in ("GPU graph", "GPU epoch") else INK
        axes.text(0.99, place, words, ha="right", va="center", color=colour, fontsize=13)
    return left


def parts_of(step, name):
    """[(name, seconds)] of the parts that a rung's step is made of, where they were timed."""
    if name == "GPU graph":
        parts = [(row["name"], row["seconds"]["median"]) for row in step["kernels"]]
        rest = step["rungs"][name] - sum(seconds for _, seconds in parts)
        return parts + ([("replay", rest)] if rest > 0 else [])
    if name == "GPU epoch" and step["barrier"] and step["barrier"]["seconds"]:
        barriers = 2 * step["barrier"]["seconds"]
        return [("two barriers", barriers), ("learn and update", max(0, step["rungs"][name] - barriers))]
    return []


def draw_parts(axes, place, parts):
    """A thin bar of parts side by side; those that are wide enough have their names."""
    start, whole = 0, sum(seconds for _, seconds in parts)
    for number, (name, seconds) in enumerate(parts):
        width = seconds / whole
        axes.barh(place, width, left=start, height=THIN, color=("#f2f2f2", "#d9d9d9")[number % 2], edgecolor="white")
        words = [f"{name} {seconds_text(seconds)}", name]
        fitting = [word for word in words if width > 0.0092 * len(word)]
        if fitting:
            axes.text(start + width / 2, place, fitting[0], ha="center", va="center", fontsize=9)
        start += width
