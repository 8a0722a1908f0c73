"""What a run prints, and what stands between the markers in README.md: all tables, in one order.

Everything here is a function of results/bench.json alone, so that no figure can be typed by hand.
"""

import json
from pathlib import Path

from benchmark import tables
from errors import UserError
from files import replacing

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"


def all_tables(results):
    """All tables and what is said about them as one Markdown text; what was not measured is not there."""
    parts = [
        tables.heading(results),
        tables.agreement_text(results),
        tables.ladder_table(results),
        tables.floor_text(results),
        tables.peers_table(results),
        tables.fastest_table(results),
        tables.inference_table(results),
        tables.batches_table(results),
        tables.blocks_table(results),
        tables.copies_table(results),
        tables.small_table(results),
        "\n".join(results["left_out"]),
    ]
    return "\n\n".join(part for part in parts if part)


def update_readme(readme, results_path):
    """Rewrite what stands between the markers in the file `readme` from bench.json. Raises UserError when it cannot."""
    try:
        results = json.loads(results_path.read_text(encoding="utf-8"))
        text = all_tables(results)
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{results_path}: not a result of bench.py ({type(error).__name__}: {error})") from None
    readme = Path(readme)
    before, begin, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise UserError(f"{readme}: the markers {BEGIN} and {END} are missing; put them where the tables belong")
    with replacing(readme) as file:
        file.write(f"{before}{BEGIN}\n{text}\n{END}{after}".encode())
