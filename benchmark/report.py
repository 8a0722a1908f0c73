"""What a run prints, and what stands between the markers in README.md: tables, and the sentences that they bear.

Everything here is a function of results/bench.json alone, so that no figure can be typed by hand. A block of README.md
has a name of SECTIONS, and may stand anywhere; `python bench.py --readme` fills every block that is there:

    <!-- bench:ladder -->
    ...
    <!-- bench:end -->
"""

import json
import re
from pathlib import Path

from benchmark import block_shapes, gpu_tables, tables
from errors import UserError
from files import replacing

FORMAT = 2  # of bench.json
END = "<!-- bench:end -->"
MARKER = re.compile(r"<!-- bench:([^ ]*) -->")


def left_out_lines(results):
    return "\n".join(results["left_out"])


def inference(results):
    return "\n\n".join(part for part in (tables.inference_table(results), gpu_tables.transfer_said(results)) if part)


def conclusion(results):
    """What all of it comes to, fact by fact, as a list; each is a sentence of one of the tables."""
    blocks, step = results["blocks"], results["step"]
    facts = [
        tables.headline(results),
        tables.ladder_said(results),
        gpu_tables.floor_said(step) if step else "",
        tables.peers_ratio(results),
        tables.batches_said(results),
        block_shapes.most_said(blocks["kernels"]) if blocks else "",
        tables.lost_said(results),
    ]
    return "\n".join(f"- {fact}" for fact in facts if fact)


SECTIONS = {  # name: function of the results that gives the text, in the order in which a run prints them
    "machine": tables.heading,
    "agreement": tables.agreement_text,
    "headline": tables.headline,
    "ladder": tables.ladder_table,
    "floor": tables.floor_text,
    "peers": tables.peers_table,
    "fastest": tables.fastest_table,
    "inference": inference,
    "batches": tables.batches_table,
    "blocks": gpu_tables.blocks_table,
    "step": gpu_tables.step_table,
    "wrong-timing": gpu_tables.wrong_timing_table,
    "copies": gpu_tables.copies_table,
    "small": tables.small_table,
    "conclusion": conclusion,
    "left-out": left_out_lines,
    "seconds": tables.parts_table,
}


def begin(name):
    """The marker at which the block of this name begins."""
    return f"<!-- bench:{name} -->"


def all_tables(results):
    """All sections as one Markdown text; what was not measured is not there."""
    return "\n\n".join(text for text in (section(results) for section in SECTIONS.values()) if text)


def load_results(path):
    """The results in a bench.json. Raises UserError where it holds none, or those of an earlier bench.py."""
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        known = results["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not a result of bench.py ({type(error).__name__}: {error})") from None
    if known != FORMAT:
        raise UserError(f"{path}: written by another version of bench.py; make it anew with python bench.py --epoch 5")
    return results


def blocks_of(text, where):
    """[(name, start, end)] of the blocks in a Markdown text: what stands between their markers is text[start:end].

    Raises UserError where there is none, a name is unknown, or a marker is missing. where: the file, for its message.
    """
    blocks, opened = [], None
    for marker in MARKER.finditer(text):
        name = marker[1]
        if name == "end":
            if opened is None:
                raise UserError(f"{where}: the marker {END} ends nothing")
            blocks.append((opened[1], opened.end(), marker.start()))
            opened = None
        elif opened is not None:
            raise UserError(f"{where}: the marker {opened[0]} has no {END} before {marker[0]}")
        elif name not in SECTIONS:
            raise UserError(f"{where}: {marker[0]} is unknown; the names are {', '.join(SECTIONS)}")
        else:
            opened = marker
    if opened is not None:
        raise UserError(f"{where}: the marker {opened[0]} has no {END}")
    if not blocks:
        raise UserError(
            f"{where}: there are no markers such as {begin('ladder')} and {END}; put them where tables belong"
        )
    return blocks


def filled(text, results, where):
    """The Markdown text with all of its blocks made of these results."""
    parts, last = [], 0
    for name, start, end in blocks_of(text, where):
        parts += [text[last:start], f"\n{SECTIONS[name](results)}\n"]
        last = end
    return "".join([*parts, text[last:]])


def update_readme(readme, results_path):
    """Fill the blocks of the file `readme` from bench.json. Raises UserError when it cannot, and changes nothing."""
    results, readme = load_results(results_path), Path(readme)
    try:
        text = filled(readme.read_text(encoding="utf-8"), results, readme)
    except (KeyError, TypeError) as error:
        raise UserError(f"{results_path}: not a result of bench.py ({type(error).__name__}: {error})") from None
    with replacing(readme) as file:
        file.write(text.encode())
