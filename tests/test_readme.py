"""The README says what is so: its files, commands, options, quotations, links and pictures are all there."""

import re
import subprocess

import bench_report
import pytest
from conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
MAP = README.partition("\n## Files\n")[2].partition("\n## ")[0]
MAPPED = [name.rstrip("/") for name in re.findall(r"^\| `([^`]+)` \| \S", MAP, re.M)]
COMMANDS = re.findall(r"\bpython (\w+\.py)\b([^\n`#|]*)", README)
QUOTED = re.findall(r"^```python\n(.*?)^```", README, re.M | re.S)
LINKS = [link for link in re.findall(r"\]\(([^)]+)\)", README) if not link.startswith("http")]


def test_there_is_something_to_check():
    """A changed layout of the README must not leave the tests below with nothing to do."""
    assert len(MAPPED) > 20 and len(COMMANDS) > 10 and QUOTED and len(LINKS) > 3


def test_the_map_holds_every_file_and_nothing_else():
    """Of what belongs to the repository's top folder; what its commands have written there does not count."""
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("this is no git checkout, so it is not known which files belong to it")
    there = {path.split("/")[0] for path in done.stdout.splitlines() if (ROOT / path).exists()}
    assert set(MAPPED) ^ there == set()


@pytest.mark.parametrize("name", sorted({name for name, _ in COMMANDS}))
def test_every_command_can_be_given(script, name):
    out, err, status = script(name, "--help")
    assert status == 0, err
    known = set(re.findall(r"(?<!\S)--[a-z][a-z-]*", out))
    used = {option for other, options in COMMANDS if other == name for option in re.findall(r"--[a-z-]+", options)}
    assert used <= known


@pytest.mark.parametrize("text", QUOTED, ids=lambda text: text.strip().splitlines()[0][:40])
def test_quoted_code_is_the_code(text):
    assert any(text in path.read_text(encoding="utf-8") for path in ROOT.glob("*.py"))


@pytest.mark.parametrize("link", LINKS)
def test_links_lead_somewhere(link):
    assert (ROOT / link).exists()


def test_pictures_that_commands_read_are_there():
    named = re.findall(r"\bsamples/[\w.-]+", README)
    assert named and [name for name in named if not (ROOT / name).exists()] == []


def test_the_markers_of_the_benchmarks_are_there():
    assert README.count(bench_report.BEGIN) == README.count(bench_report.END) == 1
    assert README.index(bench_report.BEGIN) < README.index(bench_report.END)


def test_the_test_command_is_said_once():
    """.ci/run reads it from this sentence."""
    assert re.findall(r"[Tt]he test command is `([^`]*)`", README) == ["python -m pytest"]


def test_nothing_is_left_to_do():
    assert re.findall(r"TODO-.*", README) == []
