"""The drawn figures of "A GPU in ten minutes" in README.md: blocks over an output, and the halving of a sum.

    python -m benchmark.figures          writes docs/blocks26.png and docs/halving.png

Both are computed: the blocks by `gpu_launch.grid`, the sums as `gpu_launch.block_sum` and the softmax add them.
"""

from pathlib import Path

import numpy as np

from benchmark.chart_style import COLOURS, save_figure
from errors import Parser, run
from figure_style import INK, plt
from files import check_replaceable
from gpu_launch import BLOCK, grid
from sizes import CONVOLVED_SIZE

DOCS = Path(__file__).resolve().parent.parent / "docs"
BUSY, IDLE = COLOURS["GPU layers"], "#d9d9d9"
# What 16 threads hold in the example of softmax_gpu.py: exp(logit - 2) of the ten classes, and six zeros.
VALUES = (*np.exp(np.array([2, 1] + 8 * [0]) - 2.0), *6 * [0.0])


def threads_over(size, block):
    """Which threads have work when blocks cover an output of size x size: bool (rows, columns), one for each thread."""
    columns, rows, _ = grid(size, size, 1, block)
    row, column = np.mgrid[: rows * block[1], : columns * block[0]]
    return (row < size) & (column < size)


def draw_blocks(size=CONVOLVED_SIZE, block=BLOCK):
    """Every thread as a square, in colour if it has a place of the output, grey if it is idle; the blocks' borders."""
    busy = threads_over(size, block)
    height, width = busy.shape
    figure, axes = plt.subplots(figsize=(7, 7.5), layout="constrained")
    figure.suptitle(
        f"{busy.sum():,} of {busy.size:,} threads have a place of the\n"
        f"{size}x{size} output; {(~busy).sum():,} are idle",
        x=0.02, ha="left", fontsize=16, fontweight="bold",
    )  # fmt: skip
    for (row, column), has_work in np.ndenumerate(busy):
        axes.add_patch(plt.Rectangle((column + 0.06, row + 0.06), 0.88, 0.88, color=BUSY if has_work else IDLE))
    for row in range(0, height, block[1]):
        for column in range(0, width, block[0]):
            draw_block(axes, row, column, block, busy[row : row + block[1], column : column + block[0]].sum())
    axes.set_xlim(-0.3, width + 0.3)
    axes.set_ylim(height + 0.3, -0.3)
    axes.set_aspect("equal")
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_xticks([0, block[0], size, width], ["0", f"{block[0]}", f"{size}", f"{width}"])
    axes.set_yticks([0, block[1], size, height], ["0", f"{block[1]}", f"{size}", f"{height}"])
    axes.set_xlabel("column", fontsize=14)
    axes.set_ylabel("row", fontsize=14)
    axes.spines[:].set_visible(False)
    return figure


def draw_block(axes, row, column, block, busy):
    """A block's border, its number in the grid and how many of its threads have work."""
    axes.add_patch(plt.Rectangle((column, row), *block, fill=False, edgecolor=INK, linewidth=2.5))
    text = f"block ({column // block[0]}, {row // block[1]})\n{busy} of {block[0] * block[1]}"
    paper = {"facecolor": "white", "edgecolor": "none", "pad": 4}
    axes.text(column + block[0] / 2, row + block[1] / 2, text, ha="center", va="center", fontsize=14, bbox=paper)


def halving(values):
    """The values before the first round of `block_sum` and after each: a list of arrays, each half as long."""
    rounds = [np.array(values)]
    while len(rounds[-1]) > 1:
        last = rounds[-1]
        half = (len(last) + 1) // 2
        rounds.append(np.append(last[: len(last) - half] + last[half:], last[len(last) - half : half]))
    return rounds


def draw_halving(values=VALUES):
    """A row of boxes for each round: what lies in shared memory, and which number was added to which."""
    rounds = halving(values)
    figure, axes = plt.subplots(figsize=(10, 1.1 + 1.1 * len(rounds)), layout="constrained")
    figure.suptitle(
        f"{len(values)} numbers are added in {len(rounds) - 1} rounds: the upper half to the lower half",
        x=0.01, ha="left", fontsize=16, fontweight="bold",
    )  # fmt: skip
    for place, numbers in enumerate(rounds):
        axes.text(-0.35, place, words_for(place, len(numbers)), ha="right", va="center", fontsize=12)
        half = (len(numbers) + 1) // 2
        for thread, number in enumerate(numbers):
            upper = thread >= half
            axes.add_patch(
                plt.Rectangle(
                    (thread + 0.06, place - 0.24), 0.88, 0.48, facecolor="white" if upper else "#cfe3f5", edgecolor=INK
                )
            )
            axes.text(thread + 0.5, place, f"{number:.3f}" if number else "0", ha="center", va="center", fontsize=10.5)
            if upper:
                ends = (thread + 0.5, place + 0.25), (thread - half + 0.62, place + 0.75)
                draw_arrow(axes, *ends, COLOURS["GPU graph"])
        for thread in range(half if place + 1 < len(rounds) else 0):
            draw_arrow(axes, (thread + 0.5, place + 0.25), (thread + 0.5, place + 0.75), "#888888")
    axes.set_xlim(-3.9, len(values))
    axes.set_ylim(len(rounds) - 0.6, -0.45)
    axes.axis("off")
    return figure


def words_for(place, count):
    before = "at the start" if place == 0 else f"round {place}"
    return f"{before}:\n{count} number{'' if count == 1 else 's'}"


def draw_arrow(axes, start, end, colour):
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 1.2})


def main(argv=None):
    parser = Parser(description="Draws the figures of README.md that explain the GPU.")
    parser.add_argument("--output", type=Path, default=DOCS, metavar="DIR", help="where (default: docs)")
    folder = parser.parse_args(argv).output
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in (("blocks26", draw_blocks), ("halving", draw_halving)):
        path = folder / f"{name}.png"
        check_replaceable(path)
        save_figure(draw, path)
        print(f"{path}: written")
    return 0


if __name__ == "__main__":
    run(main)
