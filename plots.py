"""Pictures of what a training has learned: what `--plots DIR` of the three training scripts draws.

    curves.png       loss and accuracy of the training set and of the test set, over the epochs
    filters.png      the filters as images, and what each of them makes of a digit
    confusion.png    which digits of the test set are read as which
    mistakes.png     the sixteen mistakes that the network is surest of

    draw_plots(folder, network, curve, test_set, how)     returns the paths of the files

The test set holds digits only, and is read as one of the ten digits, also by a network that knows more classes.
matplotlib takes a second to import, so `training.py` imports this file only when plots are asked for.
"""

from typing import NamedTuple

import numpy as np
from matplotlib.ticker import MaxNLocator, PercentFormatter

from conv_gpu import Conv3x3
from figure_style import SMALL_PRINT, STYLE, plt, titled_figure
from files import replacing
from network import scale
from sizes import NUM_CLASSES

NAMES = "curves.png", "filters.png", "confusion.png", "mistakes.png"
TRAIN_COLOUR, TEST_COLOUR = "#0072b2", "#d55e00"  # by Okabe and Ito: also colour-blind people tell them apart
OWN_STYLE = STYLE | {"axes.titlesize": 15, "lines.linewidth": 2.5}


class Point(NamedTuple):
    """One epoch of a learning curve. Losses are cross-entropies in nats, accuracies 0..1."""

    epoch: int  # how many the network has trained by then
    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float


def draw_plots(folder, network, curve, test_set, how):
    """Draw the plots into a folder (a Path that exists); returns the paths of the files.

    network: any engine of the network, trained. curve: for each epoch the fields of a Point; without any, there is no
    curves.png. test_set: (images (N, 28, 28) uint8, labels (N,)). how: in words, how the network was trained, for the
    small print.
    """
    images, labels = test_set
    logits = network.logits(images)[:, :NUM_CLASSES].astype(np.float64)
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
    with plt.rc_context(OWN_STYLE):
        figures = (
            draw_curves([Point(*point) for point in curve]) if curve else None,
            draw_filters(network, images[0], labels[0]),
            draw_confusion(probabilities.argmax(axis=1), labels),
            draw_mistakes(images, probabilities, labels),
        )
        return [save(figure, folder / name, how) for name, figure in zip(NAMES, figures, strict=True) if figure]


def save(figure, path, small_print):
    """Write a figure as PNG with a line of small print at its foot, and close it; returns the path."""
    figure.supxlabel(small_print, x=0.99, ha="right", fontsize=10, color=SMALL_PRINT)
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=110)
    plt.close(figure)
    return path


# -- curves -----------------------------------------------------------------------------------------------------------


def draw_curves(curve):
    """Loss and accuracy over the epochs, of the training set and of the test set."""
    last = curve[-1]
    epochs = "1 epoch" if last.epoch == 1 else f"{last.epoch} epochs"
    title = f"After {epochs}, {last.test_accuracy:.2%} of the test images are read right"
    figure, ((losses, accuracies),) = titled_figure(title, 5.2, columns=2)
    for axes, what, label in ((losses, "loss", "loss: cross-entropy (nats)"), (accuracies, "accuracy", "read right")):
        for which, colour, marker in (("train", TRAIN_COLOUR, "o"), ("test", TEST_COLOUR, "s")):
            values = [getattr(point, f"{which}_{what}") for point in curve]
            name = "training, during the epoch" if which == "train" else "test, after the epoch"
            axes.plot([point.epoch for point in curve], values, color=colour, marker=marker, markersize=6, label=name)
        axes.set_ylabel(label)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=(1, 2, 5, 10)))
        axes.grid(axis="y", color="#dddddd", linewidth=1)
    losses.set_ylim(bottom=0)
    accuracies.legend(loc="lower right", frameon=False, fontsize=14)
    accuracies.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    return figure


# -- filters ----------------------------------------------------------------------------------------------------------

MOST_FILTERS = 32
COLUMNS = 8


def draw_filters(network, image, label):
    """Each filter as 3x3 squares, and below it the feature map (26x26) that it makes of an image (28, 28) uint8."""
    filters, biases = network.parameters.filters[:MOST_FILTERS], network.parameters.filter_biases[:MOST_FILTERS]
    maps = Conv3x3(filters, biases, network.activation).forward(scale(image)).transpose(2, 0, 1)
    rows = -(-len(filters) // COLUMNS)
    count = f"{len(filters)} of the {network.num_filters}" if len(filters) < network.num_filters else f"{len(filters)}"
    title = f"{count} filter{'s' if network.num_filters > 1 else ''}, and what each makes of a {label}"
    ratios = [0.5 if row % 2 == 0 else 1 for row in range(2 * rows)]
    figure, axes = titled_figure(title, 2.1 + 1.6 * rows, 2 * rows, COLUMNS + 1, gridspec_kw={"height_ratios": ratios})
    for place in axes.flat:
        place.axis("off")
    axes[1, 0].imshow(image, cmap="gray_r")
    axes[1, 0].set_title("the image", fontsize=12)
    shown = []
    for pictures, offset in ((filters, 0), (maps, 1)):
        most = float(np.percentile(np.abs(pictures), 99.8)) or 1.0  # a single bright pixel would pale all others
        for i, picture in enumerate(pictures):
            place = axes[2 * (i // COLUMNS) + offset, 1 + i % COLUMNS]
            drawn = place.imshow(picture, cmap="RdBu_r", vmin=-most, vmax=most)
        shown.append(drawn)
    left, right = np.hsplit(axes, [COLUMNS // 2 + 1])
    for drawn, part, what in ((shown[0], left, "weight"), (shown[1], right, "output of the filter")):
        figure.colorbar(drawn, ax=part, location="bottom", shrink=0.7, aspect=30, extend="both", label=what)
    return figure


# -- the test set -----------------------------------------------------------------------------------------------------


def draw_confusion(read, labels):
    """How many of each digit are read as which; the colour shows the mistakes. read, labels: (N,), 0..9."""
    counts = np.zeros((NUM_CLASSES, NUM_CLASSES), int)
    np.add.at(counts, (labels, read), 1)
    mistakes = counts - np.diag(counts.diagonal())
    title = f"{counts.trace() / len(labels):.2%} of {len(labels):,} test images are read right"
    if mistakes.any():
        digit, other = np.unravel_index(mistakes.argmax(), mistakes.shape)
        title += f";\nmost often a {digit} is taken for a {other}: {mistakes.max()} of {counts[digit].sum():,}"
    figure, ((axes,),) = titled_figure(title, 8.2)
    axes.imshow(mistakes, cmap="Oranges", vmax=max(1, 1.4 * mistakes.max()))
    for (digit, other), count in np.ndenumerate(counts):
        if digit == other:
            axes.add_patch(plt.Rectangle((other - 0.5, digit - 0.5), 1, 1, color="#e8eef4"))
        if count:
            axes.text(other, digit, f"{count:,}", ha="center", va="center", weight="bold" if digit == other else None)
    axes.set_xticks(range(NUM_CLASSES))
    axes.set_yticks(range(NUM_CLASSES))
    axes.set_xlabel("read as")
    axes.set_ylabel("the digit")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


MOST_MISTAKES = 16


def draw_mistakes(images, probabilities, labels):
    """The mistakes that the network is surest of, the surest first; None if it makes none. probabilities: (N, 10)."""
    read, sure = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(read != labels)
    if len(wrong) == 0:
        return None
    worst = wrong[np.argsort(-sure[wrong], kind="stable")][:MOST_MISTAKES]
    rows = -(-len(worst) // COLUMNS)
    title = f"The {len(worst)} of {len(wrong):,} mistakes that the network is surest of"
    figure, axes = titled_figure(title, 1.0 + 1.75 * rows, rows, COLUMNS)
    for place in axes.flat:
        place.axis("off")
    for place, i in zip(axes.flat, worst, strict=False):
        place.imshow(images[i], cmap="gray_r", vmin=0, vmax=255)
        confidence = min(sure[i], 0.9999)  # no mistake is 100 % sure
        place.set_title(f"{labels[i]}, read as {read[i]}\n{confidence:.2%} sure", fontsize=12, loc="center")
    return figure
