"""The charts of what bench.py measured: one PNG file for each question, for a class and for the README.

A `draw_` function takes the results (results/bench.json) and returns a figure. `charts_of` lists them, those about the
GPU's inside (gpu_charts.py) too, and `draw_charts` saves what it lists.
"""

from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from benchmark import gpu_charts
from benchmark.chart_style import COLOURS, PALE, PEER_COLOUR, new_figure, plain_seconds, save_figure
from benchmark.text import seconds_text, step_text, three_digits
from figure_style import INK


def draw_charts(results, folder):
    """Draw every chart whose figures are there; returns the paths of the PNG files."""
    paths = []
    for name, draw in charts_of(results).items():
        paths.append(folder / f"{name}.png")
        save_figure(draw, paths[-1], results)
    return paths


def charts_of(results):
    """{name of the file: function that draws it} of the charts whose figures are there."""
    charts = {"learning": draw_learning, "ladder": draw_ladder, "batch_sizes": draw_batch_sizes}
    if results["blocks"] and any(row["seconds"] for row in results["blocks"]["kernels"]):
        charts["blocks"] = gpu_charts.draw_blocks
    if results["step"]:
        charts["step"] = gpu_charts.draw_step
    return charts


def draw_learning(results):
    """Loss and accuracy over the epochs, of plain Python and of the last rung.

    The two lines should lie on each other, so plain Python's is a broad band below the other.
    """
    rows = {row["name"]: row for row in results["learning"]}
    other = next(reversed(rows))
    title = f"Same start, same order:\n{other} learns what plain Python learns"
    figure, panels = new_figure(results, title, columns=2)
    epochs = range(1, len(rows[other]["loss"]) + 1)
    for axes, key, label in zip(
        panels, ("loss", "accuracy"), ("training loss (nats)", "training accuracy"), strict=True
    ):
        plain, fast = rows["plain Python"][key], rows[other][key]
        axes.plot(epochs, plain, color=COLOURS["plain Python"], linewidth=11, alpha=0.4, solid_capstyle="round")
        axes.plot(epochs, fast, color=COLOURS[other], marker="o", markersize=8)
        axes.set_title(label, fontsize=15, fontweight="normal", pad=8)
        axes.set_xlabel("epoch")
        axes.set_xticks(list(epochs)[:: max(1, len(epochs) // 10)])
        axes.set_ylim(bottom=0)
        axes.margins(x=0.08)
    panels[1].set_ylim(0, 1)
    panels[1].yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0%}"))
    for name, place, words in (("plain Python", 0.28, "broad: plain Python"), (other, 0.16, f"dots: {other}")):
        panels[1].text(
            0.98, place, words, color=COLOURS[name], ha="right", transform=panels[1].transAxes, weight="bold"
        )
    return figure


def draw_ladder(results):
    """An epoch of every rung and of every peer: dots on a logarithmic scale, with the floor as a line.

    Dots, because a bar has a length, and on this scale it would begin anywhere.
    """
    dots = []
    for row in results["ladder"]:
        seconds = row["epoch_seconds"]["median"]
        label = f"{seconds_text(seconds)}   {step_text(row['over_previous'])}".strip()
        dots.append((row["name"], seconds, label, COLOURS[row["name"]]))
    for row in results["peers"]:
        seconds = row["epoch_seconds"]["median"]
        dots.append((row["name"], seconds, seconds_text(seconds), PEER_COLOUR))
    best, settings = max(results["ladder"], key=lambda row: row["over_plain"]), results["settings"]
    title = f"Rung by rung to {three_digits(best['over_plain'])} times\nthe speed of plain Python"
    figure, (axes,) = new_figure(results, title, height=2.6 + 0.55 * len(dots))
    names, seconds, labels, colours = zip(*dots, strict=True)
    axes.hlines(range(len(dots)), 0, 1, transform=axes.get_yaxis_transform(), color=PALE, linewidth=1, zorder=0)
    axes.scatter(seconds, range(len(dots)), color=colours, s=170, zorder=2)
    paper = {"facecolor": "white", "edgecolor": "none", "pad": 2}
    for place, (_, value, label, _) in enumerate(dots):
        axes.annotate(label, (value, place), (13, 0), textcoords="offset points", va="center", fontsize=13, bbox=paper)
    axes.set_yticks(range(len(dots)), names)
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlim(min(seconds) / 3, max(seconds) * 100)  # room for the labels
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: plain_seconds(value)))
    axes.set_xlabel(f"one epoch of {settings['full_images']:,} images, batch size {settings['batch_size']} (log scale)")
    axes.xaxis.set_major_locator(LogLocator(base=100))
    axes.xaxis.set_minor_formatter(NullFormatter())
    if results["card"]["floor"]:
        floor = results["card"]["floor"]["total"]
        axes.set_xlim(left=min(floor / 3, axes.get_xlim()[0]))
        axes.axvline(floor, color=INK, linewidth=1.5, linestyle=(0, (4, 3)), zorder=1)
        axes.text(floor, -0.62, f" floor of this GPU: {seconds_text(floor)}", fontsize=12, va="bottom")
    return figure


def draw_batch_sizes(results):
    """The speed-up over plain Python for every batch size, both axes logarithmic; each line is named at its end."""
    times = {}
    for row in results["batches"]:
        times.setdefault(row["name"], {})[row["batch_size"]] = row["image_seconds"]["median"]
    plain = times["plain Python"]
    curves = {name: {size: plain[size] / t for size, t in line.items()} for name, line in times.items()}
    best = max(curves, key=lambda name: max(curves[name].values()))
    sizes = list(plain)
    low, high = (three_digits(curves[best][size]) for size in (sizes[0], sizes[-1]))
    title = f"{best} against plain Python:\n{low}x at batch size {sizes[0]}, {high}x at batch size {sizes[-1]:,}"
    figure, (axes,) = new_figure(results, title, height=6.2)
    for name, curve in curves.items():
        axes.plot(list(curve), list(curve.values()), color=COLOURS[name], marker="o", markersize=7)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlim(sizes[0] / 1.3, sizes[-1] * 6)
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.minorticks_off()
    ends = {name: curve[sizes[-1]] for name, curve in curves.items()}
    for name, height in apart(ends, 2).items():
        axes.text(sizes[-1] * 1.15, height, name, color=COLOURS[name], va="center", weight="bold", fontsize=14)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}x" if value >= 1 else f"{value:g}x"))
    axes.set_ylabel("speed, plain Python = 1 (log scale)")
    axes.set_xlabel("batch size")
    return figure


def apart(heights, factor):
    """The same {name: height}, each at least `factor` times the one below, so that the labels do not overlap."""
    placed, last = {}, 0
    for name, height in sorted(heights.items(), key=lambda item: item[1]):
        last = placed[name] = max(height, last * factor)
    return placed
