"""The README says what is so: its files, commands, options, quotations, links and pictures are all there."""

import json
import re
import subprocess

import pytest
from conftest import ROOT

from benchmark import report

README = (ROOT / "README.md").read_text(encoding="utf-8")
MAP = README.partition("\n## Files\n")[2].partition("\n## ")[0]
MAPPED = [name.rstrip("/") for name in re.findall(r"^\| `([^`]+)` \| \S", MAP, re.M)]
ROOMS = "photos", "benchmark", "volume", "web"
COMMANDS = re.findall(r"\bpython (\w+\.py|-m (?:photos|benchmark)\.\w+)\b([^\n`#|]*)", README)
QUOTED = re.findall(r"^```(?:python|text)\n(.*?)^```", README, re.M | re.S)  # text: an example from a docstring
HEADINGS = re.findall(r"^#+ (.*)", README, re.M)
PROSE = re.sub(r"^```.*?^```", "", README, flags=re.M | re.S)
LINKS = [link for link in re.findall(r"\]\(([^)]+)\)", PROSE) if not link.startswith("http")]


def test_there_is_something_to_check():
    """A changed layout of the README must not leave the tests below with nothing to do."""
    assert len(MAPPED) > 20 and len(COMMANDS) > 10 and QUOTED and len(LINKS) > 3


def test_the_map_holds_every_file_and_nothing_else():
    """Of what belongs to the repository's top folder; what its commands have written there does not count.

    Where the map goes into a room, it shows all that is in it.
    """
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("this is no git checkout, so it is not known which files belong to it")
    there = [path for path in done.stdout.splitlines() if (ROOT / path).exists()]
    assert {name for name in MAPPED if "/" not in name} ^ {path.split("/")[0] for path in there} == set()
    for room in ROOMS:
        inside = {name for name in MAPPED if name.startswith(f"{room}/")}
        assert inside ^ {path for path in there if path.startswith(f"{room}/")} <= {f"{room}/__init__.py"}


@pytest.mark.parametrize("name", sorted({name for name, _ in COMMANDS}))
def test_every_command_can_be_given(in_process, name):
    file = f"{name[3:].replace('.', '/')}.py" if name.startswith("-m ") else name
    out, err, status = in_process(file, "--help")
    assert status == 0, err
    known = set(re.findall(r"(?<!\S)--[a-z][a-z-]*", out))
    used = {option for other, options in COMMANDS if other == name for option in re.findall(r"--[a-z-]+", options)}
    assert used <= known


@pytest.mark.parametrize("text", QUOTED, ids=lambda text: text.strip().splitlines()[0][:40])
def test_quoted_code_is_the_code(text):
    files = [*ROOT.glob("*.py"), *(path for room in ROOMS for path in ROOT.glob(f"{room}/*.py"))]
    assert any(text in path.read_text(encoding="utf-8") for path in files)


@pytest.mark.parametrize("link", sorted(set(LINKS)))
def test_links_lead_somewhere(link):
    path, _, heading = link.partition("#")
    assert (ROOT / path).exists()
    assert not heading or heading in {re.sub(r"[^\w -]", "", text.lower()).replace(" ", "-") for text in HEADINGS}


def test_pictures_that_commands_read_are_there():
    named = re.findall(r"\bsamples/[\w.-]+", README)
    assert named and [name for name in named if not (ROOT / name).exists()] == []


def test_the_markers_of_the_benchmarks_are_there():
    """Every table has its place, and has it once; the names are those that bench.py knows."""
    names = [name for name, *_ in report.blocks_of(README, "README.md")]
    assert len(names) == len(set(names)) and set(report.SECTIONS) - set(names) <= {"seconds"}


MEASURED = json.loads((ROOT / "results" / "measured.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("figure", [text for row in MEASURED for text in row["said"]])
def test_a_figure_in_the_text_is_one_that_was_measured(figure):
    """Those that bench.py does not measure are kept in results/measured.json, with how and where they were found."""
    assert figure in " ".join(README.split())


def test_every_measured_figure_says_how_and_where():
    assert all(row["said"] and row["measured"] and row["on"] for row in MEASURED)


def test_the_test_command_is_said_once():
    """.ci/run reads it from this sentence."""
    assert re.findall(r"[Tt]he test command is `([^`]*)`", README) == ["python -m pytest"]


def test_nothing_is_left_to_do():
    assert re.findall(r"TODO-.*", README) == []
