"""The charts of what bench.py measured: one PNG file for each question, for a class and for the README.

A `draw_` function takes the results (results/bench.json) and returns a figure. `charts_of` lists them, and
`draw_charts` saves what it lists.
"""

import matplotlib

matplotlib.use("Agg")  # charts go to files; no window is needed, and on a server there is none
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter  # noqa: E402

from benchmark.text import seconds_text, step_text, three_digits  # noqa: E402
from files import replacing  # noqa: E402

# One colour for each way to train, the same in every chart: warm for the CPU; blue for the GPU, darker with every rung.
COLOURS = {
    "plain Python": "#c0392b",
    "Numba threads": "#e08e0b",
    "GPU naive": "#a6c8e4",
    "GPU layers": "#5a9bd0",
    "GPU graph": "#2468a8",
    "GPU epoch": "#0b2f5e",
}
PEER_COLOUR = "#8a8a8a"
INK = "#222222"
STYLE = {
    "font.size": 15,
    "axes.titlesize": 18,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 16,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "lines.linewidth": 3,
    "figure.facecolor": "white",
}


def draw_charts(results, folder):
    """Draw every chart whose figures are there; returns the paths of the PNG files."""
    paths = []
    for name, draw in charts_of(results).items():
        with plt.rc_context(STYLE):
            figure = draw(results)
            paths.append(folder / f"{name}.png")
            with replacing(paths[-1]) as file:
                figure.savefig(file, dpi=150)
            plt.close(figure)
    return paths


def charts_of(results):
    """{name of the file: function that draws it} of the charts whose figures are there."""
    charts = {
        "epoch_time": draw_epoch_time,
        "learning": draw_learning,
        "ladder": draw_ladder,
        "batch_sizes": draw_batch_sizes,
    }
    return charts | ({"blocks": draw_blocks} if results["blocks"] else {})


def new_figure(results, title, columns=1, height=5.6):
    """A figure 10 inches wide with a title, and the machine in small print: (figure, list of axes)."""
    figure, axes = plt.subplots(1, columns, figsize=(10, height), layout="constrained", squeeze=False)
    figure.get_layout_engine().set(w_pad=0.15, h_pad=0.12)
    figure.suptitle(title, x=0.01, ha="left", fontsize=18, fontweight="bold")
    machine = results["machine"]
    where = " and ".join(part for part in (machine["gpu"], machine["cpu"]) if part)
    figure.supxlabel(f"{where}, {machine['date']}", x=0.99, ha="right", fontsize=9, color="#777777")
    return figure, list(axes[0])


def horizontal_bars(axes, rows, log):
    """Bars from the top down, for rows of (name, seconds, label, colour).

    The name stands left of the bar, the label at its end. log: whether the scale is logarithmic.
    """
    names, values, labels, colours = zip(*rows, strict=True)
    bars = axes.barh(range(len(rows)), values, color=colours, height=0.68)
    axes.bar_label(bars, labels, padding=6, fontsize=13)
    axes.set_yticks(range(len(rows)), names)
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    if log:
        axes.set_xscale("log")
        axes.set_xlim(min(values) / 3, max(values) * 100)  # room for the labels
    else:
        axes.set_xlim(0, max(values) * 1.25)
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: plain_seconds(value)))


def plain_seconds(seconds):
    """A tick's label: 0.001 -> "1 ms"."""
    for factor, unit in ((1, "s"), (1e3, "ms"), (1e6, "µs")):
        if seconds * factor >= 0.999 or unit == "µs":
            return f"{seconds * factor:,.0f} {unit}" if seconds else "0"


def draw_epoch_time(results):
    """CPU against GPU on the few images of the comparison.

    The scale is linear: where a bar is too short to be seen, the difference is as large as that. The naive port is left
    out, because nobody would use it.
    """
    rows = [row for row in results["learning"] if row["name"] != "GPU naive"]
    times = {row["name"]: row["epoch_seconds"]["median"] for row in rows}
    fastest = min(times, key=times.get)
    images = results["settings"]["images"]
    title = (
        f"{fastest}: {seconds_text(times[fastest])} for what takes\nplain Python {seconds_text(times['plain Python'])}"
    )
    figure, (axes,) = new_figure(results, title)
    bars = [(name, time, seconds_text(time), COLOURS[name]) for name, time in times.items()]
    horizontal_bars(axes, bars, log=False)
    axes.set_xlabel(f"one epoch of {images:,} images (shorter is better)")
    return figure


def draw_learning(results):
    """Loss and accuracy over the epochs, of plain Python and of the last rung.

    The two lines should lie on each other, so plain Python's is a broad band below the other.
    """
    rows = {row["name"]: row for row in results["learning"]}
    other = next(reversed(rows))
    title = f"Same start, same order:\n{other} learns what plain Python learns"
    figure, panels = new_figure(results, title, columns=2)
    epochs = range(1, len(rows[other]["loss"]) + 1)
    for axes, key, label in zip(panels, ("loss", "accuracy"), ("training loss", "training accuracy"), strict=True):
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
    """An epoch of every rung and of every peer on a logarithmic scale, with the floor as a line."""
    images = results["settings"]["full_images"]
    bars = []
    for row in results["ladder"]:
        seconds = row["epoch_seconds"]["median"]
        label = f"{seconds_text(seconds)}   {step_text(row['over_previous'])}"
        bars.append((row["name"], seconds, label, COLOURS[row["name"]]))
    for row in results["peers"]:
        seconds = row["epoch_seconds"]["median"]
        bars.append((row["name"], seconds, seconds_text(seconds), PEER_COLOUR))
    best = max(results["ladder"], key=lambda row: row["over_plain"])
    title = f"Rung by rung to {three_digits(best['over_plain'])} times\nthe speed of plain Python"
    figure, (axes,) = new_figure(results, title, height=2.6 + 0.62 * len(bars))
    horizontal_bars(axes, bars, log=True)
    axes.set_xlabel(f"one epoch of {images:,} images, batch size {results['settings']['batch_size']} (log scale)")
    axes.xaxis.set_major_locator(LogLocator(base=100))
    axes.xaxis.set_minor_formatter(NullFormatter())
    if results["card"]["floor"]:
        floor = results["card"]["floor"]["total"]
        axes.set_xlim(left=min(floor / 3, axes.get_xlim()[0]))
        axes.axvline(floor, color=INK, linewidth=1.5, linestyle=(0, (4, 3)))
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
    title = (
        f"{best}: {low} times plain Python's speed at batch size {sizes[0]},\n{high} times at batch size {sizes[-1]:,}"
    )
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


def draw_blocks(results):
    """The block shapes: the convolution's kernel alone, and a whole epoch of the layers."""
    rows = results["blocks"]
    best = min(rows, key=lambda row: row["epoch_seconds"]["median"])
    others = min(row["epoch_seconds"]["min"] for row in rows if row is not best)
    if best["epoch_seconds"]["max"] < others:
        title = f"Blocks of {best['block']} train fastest"
    else:
        title = "The shape of a block hardly matters:\nepochs spread more than the shapes differ"
    figure, panels = new_figure(results, title, columns=2)
    whats = (
        (f"convolution, {rows[0]['conv_images']:,} images", "conv_seconds"),
        ("an epoch, GPU layers", "epoch_seconds"),
    )
    for axes, (what, key) in zip(panels, whats, strict=True):
        values = [row[key]["median"] for row in rows]
        quickest = min(values)
        colours = [COLOURS["GPU epoch"] if value == quickest else COLOURS["GPU naive"] for value in values]
        errors = [
            [row[key]["median"] - row[key]["min"] for row in rows],
            [row[key]["max"] - row[key]["median"] for row in rows],
        ]
        bars = axes.bar(
            [row["block"] for row in rows], values, color=colours, width=0.62, yerr=errors, ecolor="#777777", capsize=5
        )
        axes.bar_label(bars, [seconds_text(value) for value in values], padding=4, fontsize=14)
        axes.set_title(what, fontsize=15, fontweight="normal", pad=8)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.margins(y=0.15)
    return figure
