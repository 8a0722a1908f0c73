"""The table of sanitize.py tells findings from silence, with a program of ours in place of compute-sanitizer."""

import ast
import os

import pytest
import sanitize
from conftest import ROOT

from cnn_gpu import PATHS

CLEAN = "ended well\n========= ERROR SUMMARY: 0 errors\n"
FOUND = "========= Invalid __global__ write of size 4 bytes\n========= ERROR SUMMARY: 3 errors\n"
HAZARDS = "ended well\n========= RACECHECK SUMMARY: 2 hazards displayed (2 errors, 0 warnings)\n"


@pytest.mark.parametrize(
    ("printed", "count"),
    [
        (CLEAN, 0),
        (FOUND, 3),
        (HAZARDS, 2),
        (HAZARDS.replace(" 2 ", " 0 "), 0),
        ("", None),
        ("Traceback\n========= ERROR SUMMARY: 0 errors\n", None),  # the case did not get to its end
        ("ended well\n========= Device not supported\n", None),
    ],
)
def test_findings_are_counted_and_silence_is_none(printed, count):
    assert sanitize.findings(printed) == count


@pytest.fixture
def sanitizer(tmp_path, monkeypatch):
    """Puts a compute-sanitizer on the PATH that prints one text for planted cases, and one for all others."""

    def put(planted, others):
        (tmp_path / "planted").write_text(planted)
        (tmp_path / "others").write_text(others)
        program = tmp_path / "compute-sanitizer"
        program.write_text(
            f'#!/bin/sh\ncase "$7" in planted*) cat {tmp_path}/planted;; *) cat {tmp_path}/others;; esac\n'
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    return put


@pytest.mark.skipif(os.name != "posix", reason="the program in its place is a shell script")
@pytest.mark.parametrize(
    ("planted", "others", "status"),
    [
        (FOUND, CLEAN, 0),
        (CLEAN, CLEAN, 1),  # a tool that is blind
        (FOUND, FOUND, 1),
        (FOUND, "no end", 1),
    ],
)
def test_the_table(planted, others, status, sanitizer, capsys):
    sanitizer(planted, others)
    assert sanitize.check_all(4) == status
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| case | memcheck | racecheck | initcheck | synccheck |"
    assert [line.split("|")[1].strip() for line in lines[2 : 3 + len(sanitize.CASES)]] == [
        *sanitize.CASES, "planted faults (must be found)"
    ]  # fmt: skip
    cells = [cell.split()[0] for line in lines[2 : 2 + len(sanitize.CASES)] for cell in line.split("|")[2:-1]]
    assert set(cells) == {{CLEAN: "0", FOUND: "3"}.get(others, "failed")}


def test_every_kernel_has_a_case(monkeypatch):
    """All rungs but the naive one, which uses the kernels of the layers, and every module with kernels of its own."""
    trained = []
    monkeypatch.setattr(sanitize, "train", lambda path, augment, *_, **__: trained.append((path, augment)))
    monkeypatch.setattr(sanitize, "read", lambda: trained.append("read"))
    monkeypatch.setattr(sanitize, "wait_for_all", {(16, 64): lambda count: trained.append("barrier")})
    monkeypatch.setattr(sanitize, "doubled", lambda count: trained.append("first"))
    for case in sanitize.CASES.values():
        case()
    assert {("layers", False), ("layers", True), ("graph", False), ("epoch", False), ("epoch", True)} <= set(trained)
    assert {"read", "barrier", "first"} <= set(trained) and set(PATHS) == {"naive", "layers", "graph", "epoch"}
    kernels = {"first_kernel", "conv_gpu", "pool_gpu", "softmax_gpu", "layers_gpu", "epoch_gpu", "reading_gpu"}
    kernels.add("benchmark/machine")
    files = [*ROOT.glob("*.py"), *ROOT.glob("benchmark/*.py"), *ROOT.glob("photos/*.py")]
    with_kernels = {path.relative_to(ROOT).with_suffix("").as_posix() for path in files if has_kernel(path)}
    assert with_kernels == kernels


def has_kernel(path):
    """Whether a module has a @cuda.jit function that is no device function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            for decorator in map(ast.unparse, node.decorator_list):
                if decorator.startswith("cuda.jit") and "device=True" not in decorator:
                    return True
    return False
