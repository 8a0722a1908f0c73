"""What bench.py measured, for people: Markdown tables for the terminal and the README, and charts for the class.

Everything here is a function of results/bench.json alone, so that no figure can be typed by hand.
"""

import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # charts go to files; no window is needed, and on a server there is none
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter  # noqa: E402

from errors import UserError  # noqa: E402
from files import replacing

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"

# One colour for each engine in every chart: warm for the CPU, blue for the GPU (the darker, the further up the ladder).
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


# Numbers as text.


def seconds_text(seconds):
    """Three digits and a unit: 0.00834 -> "8.34 ms"."""
    for factor, unit in ((1, "s"), (1e3, "ms"), (1e6, "µs")):
        if seconds * factor >= 1 or unit == "µs":
            return f"{three_digits(seconds * factor)} {unit}"


def three_digits(value):
    """1234.5 -> "1,234", 12.345 -> "12.3", 0.5 -> "0.50"."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def times_text(factor):
    return f"{three_digits(factor)}x"


def spread_text(statistic):
    """A summary with its spread: "8.34 ms (8.30..8.51, n=5)", all in the unit of the median."""
    low, middle, high = (statistic[name] for name in ("min", "median", "max"))
    factor = 1 if middle >= 1 else 1e3 if middle >= 1e-3 else 1e6
    return f"{seconds_text(middle)} ({three_digits(low * factor)}..{three_digits(high * factor)}, n={statistic['n']})"


def step_text(factor):
    """A speed-up in words: 8 -> "8.00 times faster", 0.1 -> "10.0 times slower", None -> ""."""
    if factor is None:
        return ""
    return f"{three_digits(factor)} times faster" if factor >= 1 else f"{three_digits(1 / factor)} times slower"


def percent_text(share):
    return "" if share is None else f"{share:.2%}"


def markdown(header, rows, text_columns=(0,)):
    """A Markdown table whose columns line up in a terminal too; figures to the right, text columns to the left."""
    cells = [list(header)] + [[str(cell) for cell in row] for row in rows]
    columns = []
    for i, column in enumerate(zip(*cells, strict=True)):
        width = max(map(len, column))
        left = i in text_columns
        first, *rest = (cell.ljust(width) if left else cell.rjust(width) for cell in column)
        columns.append([first, "-" * width if left else "-" * (width - 1) + ":", *rest])
    return "\n".join(f"| {' | '.join(line)} |" for line in zip(*columns, strict=True))


# Tables.


def tables(results):
    """All tables as one Markdown text; those whose measurement was left out are not there."""
    parts = [
        heading(results),
        agreement_text(results),
        ladder_table(results),
        floor_text(results),
        peers_table(results),
        fastest_table(results),
        inference_table(results),
        batches_table(results),
        blocks_table(results),
        copies_table(results),
        small_table(results),
        "\n".join(results["left_out"]),
    ]
    return "\n\n".join(part for part in parts if part)


def heading(results):
    """The machine and the versions, in one paragraph."""
    machine, settings = results["machine"], results["settings"]
    gpu = f"{machine['gpu']}, driver {machine['driver'] or 'unknown'}; " if machine["gpu"] else "no GPU; "
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return (
        f"Measured {machine['date']} on {gpu}{machine['cpu']}, {machine['threads']} threads; {versions}. "
        f"{settings['filters']} filters, batch size {settings['batch_size']}. "
        "Every figure is a median (smallest..largest of n)."
    )


def agreement_text(results):
    agreed, settings = results["agreement"], results["settings"]
    worst = {key: max(engine[key] for engine in agreed["engines"].values()) for key in ("loss", "weights")}
    return (
        f"Checked first: after {settings['epochs']} epochs of {settings['images']:,} images all engines had learned "
        f"what plain Python learned (loss within {worst['loss']:.1g}, weights within {worst['weights']:.1g} of the way "
        f"they went; tolerance {agreed['tolerance']:g})."
    )


def ladder_table(results):
    settings, rows = results["settings"], []
    for row in results["ladder"]:
        mark = "" if row["images_timed"] == settings["full_images"] else " *"
        rows.append(
            (
                row["name"],
                spread_text(row["epoch_seconds"]) + mark,
                three_digits(row["images_per_second"]),
                times_text(row["over_previous"]) if row["over_previous"] else "",
                times_text(row["over_plain"]),
                times_text(row["times_floor"]) if row["times_floor"] else "",
                percent_text(row["accuracy_few"]),
                percent_text(row["accuracy_full"]),
                row["change"],
            )
        )
    few, full = (f"{settings[count]:,}" for count in ("images", "full_images"))
    accuracies = f"test, {few}", f"test, {full}"
    header = ("train", "epoch", "images/s", "step up", "over plain", "of floor", *accuracies, "what changed")
    note = (
        f"epoch: {full} images at batch size {settings['batch_size']}; \\* timed on {few} and scaled per image. "
        "step up: the speed-up over the row before. of floor: the time, as a multiple of the least possible. "
        f"test: the accuracy on the test set after {settings['epochs']} epochs of {few} or {full} images."
    )
    return markdown(header, rows, text_columns=(0, 8)) + "\n\n" + note


def floor_text(results):
    """Where the floor comes from; empty without a GPU that tells its clocks."""
    card, settings = results["card"], results["settings"]
    if not card["floor"]:
        return ""
    parts = card["floor"]
    return (
        f"The floor of an epoch is {seconds_text(parts['total'])}: the larger of arithmetic "
        f"({seconds_text(parts['compute'])} at {card['peak_flops'] / 1e12:.1f} TFLOP/s) and memory "
        f"({seconds_text(parts['memory'])} at {card['bandwidth'] / 1e12:.2f} TB/s), plus two grid-wide barriers a step "
        f"({seconds_text(parts['barriers'])}; one takes {seconds_text(card['barrier_seconds'])} over "
        f"{card['barrier_blocks']} blocks at batch size {settings['batch_size']})."
    )


def peers_table(results):
    """The peers, and the best GPU rung and the CPU threads beside them."""
    if not results["peers"]:
        return ""
    ours = [row for row in results["ladder"] if row["name"] not in ("plain Python", "GPU naive")]
    rows = [
        (row["name"], row["epoch_seconds"], row["accuracy_full"], reading_seconds(results, row["name"]), "")
        for row in ours
    ] + [
        (row["name"], row["epoch_seconds"], row["test_accuracy"], row["reading_seconds"], row["first_seconds"])
        for row in results["peers"]
    ]
    cells = [
        (name, spread_text(epoch), percent_text(accuracy), spread_text(reading) if reading else "",
         seconds_text(first) if first else "")
        for name, epoch, accuracy, reading, first in rows
    ]  # fmt: skip
    header = ("way to train", "epoch", "test accuracy", "10,000 test images read", "first epoch, compilation included")
    versions = ", ".join(sorted({f"{row['name'].split(',')[0]} {row['version']}" for row in results["peers"]}))
    return f"{markdown(header, cells)}\n\n{versions}. {peers_ratio(results)}"


def reading_seconds(results, name):
    """The summary of reading the test set that compares with a peer's, or None."""
    wanted = {"Numba threads": "Numba threads", best_gpu(results): "GPU, images on the GPU"}.get(name)
    return next((row["seconds"] for row in results["inference"] if row["name"] == wanted), None)


def best_gpu(results):
    """The name of the fastest GPU rung, or None."""
    gpu = [row for row in results["ladder"] if row["name"].startswith("GPU")]
    return min(gpu, key=lambda row: row["epoch_seconds"]["median"])["name"] if gpu else None


def peers_ratio(results):
    """Each of our engines against the fastest peer on the same kind of processor, in a sentence."""
    sentences = []
    for ours, device in ((best_gpu(results), "cuda"), ("Numba threads", "cpu")):
        peers = [row for row in results["peers"] if row["device"] == device]
        if ours and peers:
            best = min(peers, key=lambda row: row["epoch_seconds"]["median"])
            mine = next(row for row in results["ladder"] if row["name"] == ours)
            ratio = best["epoch_seconds"]["median"] / mine["epoch_seconds"]["median"]
            sentences.append(f"{ours} trains {times_text(ratio)} as fast as the fastest peer there, {best['name']}.")
    return " ".join(sentences)


def fastest_table(results):
    """The fastest way to train: an epoch at the large batch sizes, and the time to a good accuracy."""
    fastest, settings = results.get("fastest"), results["settings"]
    if not fastest:  # results of an earlier version
        return ""
    rows = [
        (f"{row['batch_size']:,}", spread_text(row["epoch_seconds"]), percent_text(row["accuracy"]))
        for row in fastest["epochs"]
    ]
    header = (f"{fastest['name']}: batch size", "an epoch", f"test accuracy after {settings['epochs']} epochs")
    text = markdown(header, rows)
    if fastest["target"]:
        target = fastest["target"]
        text += (
            f"\n\nFrom new weights to {percent_text(target['accuracy'])} of the test images read right, at batch size "
            f"{settings['batch_size']}: {spread_text(target['seconds'])}, {target['epochs']} epochs, each with a "
            "reading of the test set after it. Data in memory, everything compiled."
        )
    return text


def inference_table(results):
    rows = [
        (row["name"], spread_text(row["seconds"]) + ("" if row["images_timed"] > 100 else " *"))
        for row in results["inference"]
    ]
    return markdown(("reading the 10,000 test images", "time"), rows) + "\n\n\\* timed on 100 images and scaled."


def batches_table(results):
    """Seconds per image of training, and the speed-up over plain Python, for every batch size."""
    times = {(row["name"], row["batch_size"]): row["image_seconds"]["median"] for row in results["batches"]}
    names = list(dict.fromkeys(name for name, _ in times))
    rows = []
    for size in dict.fromkeys(size for _, size in times):
        plain = times["plain Python", size]
        cells = [f"{seconds_text(times[name, size])} ({times_text(plain / times[name, size])})" for name in names]
        rows.append((f"{size:,}", *cells))
    header = ("batch size", *names)
    note = (
        "Training time per image (speed-up over plain Python). Plain Python takes an image at a time, whatever the "
        "batch: it is measured once."
    )
    return markdown(header, rows) + "\n\n" + note


def blocks_table(results):
    rows = [
        (row["block"], spread_text(row["conv_seconds"]), spread_text(row["epoch_seconds"])) for row in results["blocks"]
    ]
    if not rows:
        return ""
    images = results["blocks"][0]["conv_images"]
    return markdown(("block", f"convolution of {images:,} images", "epoch, GPU layers"), rows)


def copies_table(results):
    rows = [
        (row["case"], seconds_text(row["copies_seconds"]), seconds_text(row["total_seconds"]), f"{row['share']:.1%}")
        for row in results["copies"]
    ]
    return markdown(("copies between host and GPU", "copies", "whole training", "share"), rows) if rows else ""


def small_table(results):
    """Where the GPU loses: work too small for it, and the first step, which compiles."""
    names = [row["name"] for row in results["ladder"] if row["name"] != "GPU naive"]
    rows = [(work["work"], {name: s["median"] for name, s in work["seconds"].items()}) for work in results["small"]]
    for key, work in (("compiled_seconds", "first batch ever: compile"), ("cached_seconds", "first batch: load")):
        rows.append((work, {row["name"]: row[key] for row in results["first_steps"]}))
    plain = next(row for row in results["batches"] if row["name"] == "plain Python")["image_seconds"]["median"]
    for _, seconds in rows[-2:]:
        seconds["plain Python"] = 64 * plain  # it has nothing to compile: a batch of 64, as for the others
    cells = []
    for work, seconds in rows:
        winner = min(seconds, key=seconds.get)
        cells.append((work, *(seconds_text(seconds[name]) if name in seconds else "" for name in names), winner))
    return markdown(("one image, first batch", *names, "fastest"), cells)


def update_readme(readme, results_path):
    """Rewrite what stands between the markers in the file `readme` from bench.json. Raises UserError when it cannot."""
    try:
        results = json.loads(results_path.read_text(encoding="utf-8"))
        text = tables(results)
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{results_path}: not a result of bench.py ({type(error).__name__}: {error})") from None
    readme = Path(readme)
    before, begin, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise UserError(f"{readme}: the markers {BEGIN} and {END} are missing; put them where the tables belong")
    with replacing(readme) as file:
        file.write(f"{before}{BEGIN}\n{text}\n{END}{after}".encode())


# Charts.


def draw_charts(results, folder):
    """Draw every chart whose figures are there; returns the paths of the PNG files."""
    charts = {
        "epoch_time": draw_epoch_time,
        "learning": draw_learning,
        "ladder": draw_ladder,
        "batch_sizes": draw_batch_sizes,
        "blocks": draw_blocks,
    }
    paths = []
    for name, draw in charts.items():
        if name == "blocks" and not results["blocks"]:
            continue
        with plt.rc_context(STYLE):
            figure = draw(results)
            paths.append(folder / f"{name}.png")
            figure.savefig(paths[-1], dpi=150)
            plt.close(figure)
    return paths


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
    """Bars from the top down, for rows of (name, value, label, colour); the name left, the label at the bar's end."""
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
    """The few images of the comparison, CPU against GPU, on a linear scale: a bar too short to see is the truth."""
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
    """Loss and accuracy over the epochs; engines that agree lie on each other, plain Python's as a broad band below."""
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
    """Every rung, and every peer, on a log scale, with the floor as a line."""
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
    """The speed-up over plain Python for every batch size, both axes in powers; each line is named at its end."""
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
    """The same {name: height}, each moved up until it is `factor` times the one below: labels that do not overlap."""
    placed, last = {}, 0
    for name, height in sorted(heights.items(), key=lambda item: item[1]):
        last = placed[name] = max(height, last * factor)
    return placed


def draw_blocks(results):
    """Block shapes: the convolution alone, and a whole epoch of the layers."""
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
