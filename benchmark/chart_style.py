"""How all charts and figures look: the colours, the letters, the small print, and how they are saved."""

import matplotlib

matplotlib.use("Agg")  # charts go to files; no window is needed, and on a server there is none
import matplotlib.pyplot as plt  # noqa: E402

from files import replacing  # noqa: E402

# One colour for each way to train, the same in every chart: warm for the CPU; blue for the GPU, darker with every rung.
# People who see no difference between red and green tell them apart too: they differ in yellow against blue, and within
# each group in lightness.
COLOURS = {
    "plain Python": "#8c2d04",
    "Numba threads": "#cc7a00",
    "GPU naive": "#9ecae1",
    "GPU layers": "#4f97cf",
    "GPU graph": "#2166ac",
    "GPU epoch": "#08264f",
}
PEER_COLOUR = "#8a8a8a"
INK = "#222222"
PALE = "#dddddd"
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
SMALL = {"fontsize": 9, "color": "#666666"}  # where the figures come from


def save_figure(draw, path, *arguments):
    """Save the figure that draw(*arguments) returns, as a PNG file 1,500 pixels wide if it is 10 inches wide."""
    with plt.rc_context(STYLE):
        figure = draw(*arguments)
        with replacing(path) as file:
            figure.savefig(file, dpi=150)
        plt.close(figure)


def new_figure(results, title, columns=1, height=5.6, rows=1):
    """A figure 10 inches wide with a title, and the machine in small print: (figure, list of axes)."""
    figure, axes = plt.subplots(rows, columns, figsize=(10, height), layout="constrained", squeeze=False)
    figure.get_layout_engine().set(w_pad=0.15, h_pad=0.12)
    figure.suptitle(title, x=0.01, ha="left", fontsize=18, fontweight="bold")
    machine = results["machine"]
    where = " and ".join(part for part in (machine["gpu"], machine["cpu"]) if part)
    figure.supxlabel(f"{where}, {machine['date']}", x=0.99, ha="right", **SMALL)
    return figure, list(axes.flat)


def plain_seconds(seconds):
    """A tick's label: 0.001 -> "1 ms"."""
    for factor, unit in ((1, "s"), (1e3, "ms"), (1e6, "µs")):
        if seconds * factor >= 0.999 or unit == "µs":
            return f"{seconds * factor:,.0f} {unit}" if seconds else "0"
