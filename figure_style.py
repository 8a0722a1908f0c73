"""How every figure looks, those of a training (plots.py) and those of bench.py: letters, lines, and the title."""

import matplotlib

matplotlib.use("Agg")  # figures go to files; no window is needed, and on a server there is none
import matplotlib.pyplot as plt  # noqa: E402

INK, SMALL_PRINT = "#222222", "#666666"
STYLE = {
    "font.size": 15,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "figure.facecolor": "white",
}


def titled_figure(title, height, rows=1, columns=1, padding=(0.06, 0.06), **options):
    """(figure, axes (rows, columns)) with a title, 10 inches wide: readable at the width of a page.

    height, padding (beside and above each of the axes): in inches. options: more of `plt.subplots`.
    """
    figure, axes = plt.subplots(rows, columns, figsize=(10, height), layout="constrained", squeeze=False, **options)
    figure.get_layout_engine().set(w_pad=padding[0], h_pad=padding[1])
    figure.suptitle(title, x=0.01, ha="left", fontsize=18, fontweight="bold")
    return figure, axes
