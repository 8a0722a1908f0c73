"""How the charts of bench.py look: the colours, the machine in small print, and how they are saved."""

from figure_style import SMALL_PRINT, plt, titled_figure
from figure_style import STYLE as COMMON
from files import replacing

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
PALE = "#dddddd"
STYLE = COMMON | {"axes.titlesize": 18, "axes.titleweight": "bold", "axes.titlepad": 16, "lines.linewidth": 3}
SMALL = {"fontsize": 9, "color": SMALL_PRINT}  # where the figures come from


def save_figure(draw, path, *arguments):
    """Save the figure that draw(*arguments) returns, as a PNG file 1,500 pixels wide if it is 10 inches wide."""
    with plt.rc_context(STYLE):
        figure = draw(*arguments)
        with replacing(path) as file:
            figure.savefig(file, dpi=150)
        plt.close(figure)


def new_figure(results, title, columns=1, height=5.6, rows=1):
    """A figure 10 inches wide with a title, and the machine in small print: (figure, list of axes)."""
    figure, axes = titled_figure(title, height, rows, columns, (0.15, 0.12))
    machine = results["machine"]
    where = " and ".join(part for part in (machine["gpu"], machine["cpu"]) if part)
    figure.supxlabel(f"{where}, {machine['date']}", x=0.99, ha="right", **SMALL)
    return figure, list(axes.flat)


def plain_seconds(seconds):
    """A tick's label: 0.001 -> "1 ms"."""
    for factor, unit in ((1, "s"), (1e3, "ms"), (1e6, "µs")):
        if seconds * factor >= 0.999 or unit == "µs":
            return f"{seconds * factor:,.0f} {unit}" if seconds else "0"
