"""analyze.py over many pictures: several processes, runs that were killed, and a real cluster that loses a worker."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import NO_SIMULATOR, ROOT, SAMPLES

import analyze

MANY = 40  # pictures
READ = {"t": ["20251"], "b": ["5"]}  # what is read in them, by the first letter of their names


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """A folder with many small pictures, and what all of them hold, in order: [(name, lines)]."""
    folder = tmp_path_factory.mktemp("scans")
    for number in range(MANY):
        sample = "big.png" if number % 10 == 3 else "tiny.png"
        shutil.copy(SAMPLES / sample, folder / f"{sample[0]}{number:03}.png")
    return folder, [(str(path), READ[path.name[0]]) for path in sorted(folder.iterdir())]


@contextlib.contextmanager
def started(command, log, **more):
    """A command in a process group of its own, which is killed in the end, with all that it has started."""
    with open(log, "ab") as file:
        process = subprocess.Popen(
            [str(word) for word in command], env=NO_SIMULATOR, stderr=file, start_new_session=True, **more
        )
    try:
        yield process
    finally:
        kill(process)


def kill(process):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout:
        process.stdout.close()


def wait_until(true, log, seconds=120):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, Path(log).read_text()
        time.sleep(0.02)


def lines_of(path):
    return path.read_bytes().splitlines(keepends=True) if path.exists() else []


def command_of(*options):
    return [sys.executable, ROOT / "analyze.py", "--device", "cpu", *options]


# -- processes --------------------------------------------------------------------------------------------------------


def test_processes_read_what_one_reads(script, scans):
    folder, wanted = scans
    out, err, status = script("analyze.py", folder / "t*.png", folder, "--processes", 2, "--json")
    assert (err, status) == ("", 0)
    rows = [json.loads(line) for line in out.splitlines()]
    first = [pair for pair in wanted if Path(pair[0]).name.startswith("t")]
    assert [(row["file"], row["lines"]) for row in rows] == first + wanted


def test_bad_pictures_among_many_are_told_in_their_place(script, one_line, scans, tmp_path):
    folder, wanted = scans
    (tmp_path / "list.txt").write_text("\n".join([wanted[0][0], str(tmp_path / "gone.png"), wanted[1][0]]))
    result = script("analyze.py", "--files-from", tmp_path / "list.txt", "--processes", 2, "--format", "csv")
    one_line("analyze.py", result, "gone.png: No such file")
    assert [line.split(",")[0] for line in result[0].splitlines()] == [
        "file", wanted[0][0], str(tmp_path / "gone.png"), wanted[1][0],
    ]  # fmt: skip


def test_processes_draw(script, scans, tmp_path):
    folders = [tmp_path / "read", tmp_path / "stages"]
    options = "--processes", 2, "--output", folders[0], "--debug", folders[1]
    for _ in range(2):  # the second time, what was drawn is replaced
        _, err, status = script("analyze.py", scans[0] / "b*.png", *options)
        assert status == 0 and all(line.endswith(": drawn") for line in err.splitlines()), err
        assert [len(list(folder.iterdir())) for folder in folders] == [MANY // 10] * 2


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="Windows has no process groups")
def test_a_killed_run_goes_on(script, scans, tmp_path):
    """What was written stays, half a line is cut off, no picture is read twice, and the order is kept."""
    folder, wanted = scans
    kept, log = tmp_path / "results.jsonl", tmp_path / "log"
    command = command_of(folder, "--processes", 2, "--resume", kept)
    with started(command, log):
        wait_until(lambda: len(lines_of(kept)) >= 5, log)
    before = [line for line in lines_of(kept) if line.endswith(b"\n")]
    assert 5 <= len(before) < MANY
    kept.write_bytes(b"".join(before) + b'{"file": "half of a li')
    out, err, status = script(*command[1:])
    assert (out, err, status) == ("", "", 0)
    after = lines_of(kept)
    assert after[: len(before)] == before, "no picture was read again"
    rows = [json.loads(line) for line in after]
    assert [(row["file"], row["lines"]) for row in rows] == wanted
    assert script(*command[1:]) == ("", "", 0)
    assert lines_of(kept) == after, "nothing was left to do"


@pytest.mark.skipif(shutil.which("sh") is None, reason="no shell that limits the size of files")
def test_a_full_disk_is_one_line_and_the_next_run_goes_on(script, one_line, scans, tmp_path):
    """A limit on the size of files stands for the end of the disk: it cuts a line in two."""
    folder, wanted = scans
    kept = tmp_path / "results.jsonl"
    options = ["--resume", kept, "--device", "cpu", "--processes", 1]
    limited = ["sh", "-c", 'ulimit -f 2; exec "$@"', "sh", sys.executable, ROOT / "analyze.py", folder, *options]
    done = subprocess.run(
        [str(word) for word in limited], env=NO_SIMULATOR, capture_output=True, text=True, timeout=300, check=False
    )
    one_line("analyze.py", (done.stdout, done.stderr, done.returncode), kept, "cannot be written")
    assert 2 <= len(lines_of(kept)) < MANY
    assert script("analyze.py", folder, *options) == ("", "", 0)
    assert [(row["file"], row["lines"]) for row in map(json.loads, lines_of(kept))] == wanted


def test_only_names_that_can_be_read_twice_are_counted(scans, tmp_path, monkeypatch):
    """For the time left. The names in a pipe would be lost by counting them."""
    (tmp_path / "list.txt").write_text("a.png\nb.png\nc.png\n")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    reader, writer = os.pipe()
    os.close(writer)
    for options, total in (
        ([str(scans[0])], MANY),
        (["--files-from", str(tmp_path / "list.txt")], 3),
        (["--files-from", "-"], None),
        (["--files-from", f"/dev/fd/{reader}"], None),
    ):
        with analyze.progress_bar(analyze.parse_arguments(options), None, at_least=2) as bar:
            assert bar.total == total
        with analyze.progress_bar(analyze.parse_arguments(options), None, at_least=1) as bar:
            assert isinstance(bar, analyze.NoBar)
    os.close(reader)


# -- a cluster --------------------------------------------------------------------------------------------------------

DASK = Path(sys.executable).with_name("dask")
needs_dask = pytest.mark.skipif(
    not DASK.exists() or not hasattr(os, "killpg"),
    reason="needs Dask (pip install -r requirements-cluster.txt) and process groups",
)


@contextlib.contextmanager
def cluster(log, workers, folder=ROOT):
    """(address, scheduler, workers), started as a person would; folder: where, unless it is that of analyze.py."""
    contact = log.with_suffix(".json")
    scheduler = [DASK, "scheduler", "--host", "127.0.0.1", "--port", 0, "--no-dashboard", "--scheduler-file", contact]
    with contextlib.ExitStack() as stack:
        scheduler = stack.enter_context(started(scheduler, log, cwd=ROOT))
        wait_until(contact.exists, log)
        address = json.loads(contact.read_text())["address"]
        command = [DASK, "worker", address, "--nthreads", 1, "--no-dashboard", "--local-directory", log.parent]
        yield address, scheduler, [stack.enter_context(started(command, log, cwd=folder)) for _ in range(workers)]


@needs_dask
def test_a_worker_of_a_cluster_dies_and_no_picture_is_lost(scans, tmp_path):
    """Of two workers, one is killed half-way: every picture has exactly one result, in order."""
    folder, wanted = scans
    with cluster(tmp_path / "log", workers=2) as (address, _, workers):
        wait_until(lambda: (tmp_path / "log").read_text().count("Registered to:") == 2, tmp_path / "log")
        # From another folder, and with names that mean nothing there: the workers are told where the pictures are.
        command = [sys.executable, ROOT / "analyze.py", folder.name, "--cluster", address, "--json"]
        with started(command, tmp_path / "errors", cwd=folder.parent, stdout=subprocess.PIPE) as process:
            rows = []
            for line in process.stdout:
                rows.append(json.loads(line))
                if len(rows) == MANY // 4:
                    kill(workers[0])
            assert process.wait() == 0, (tmp_path / "errors").read_text()
    assert (tmp_path / "errors").read_text() == ""
    found = [(str(folder.parent / row["file"]), row.get("lines", row)) for row in rows]
    assert found == wanted


@needs_dask
def test_a_cluster_that_is_lost_is_one_line(one_line, scans, tmp_path):
    """And what was read before stays."""
    folder, wanted = scans
    kept = tmp_path / "results.jsonl"
    with cluster(tmp_path / "log", workers=1) as (address, scheduler, _):
        command = [sys.executable, ROOT / "analyze.py", folder, "--resume", kept, "--cluster", address]
        with started(command, tmp_path / "errors") as process:
            wait_until(lambda: len(lines_of(kept)) >= 3, tmp_path / "errors")
            kill(scheduler)
            status = process.wait(60)
    one_line("analyze.py", ("", (tmp_path / "errors").read_text(), status), address, "lost the connection")
    assert 3 <= len(lines_of(kept)) < MANY
    assert [json.loads(line)["file"] for line in lines_of(kept)] == [name for name, _ in wanted[: len(lines_of(kept))]]


@needs_dask
def test_workers_in_another_folder_are_one_line(script, one_line, scans, tmp_path):
    with cluster(tmp_path / "log", workers=1, folder=tmp_path) as (address, *_):
        result = script("analyze.py", scans[0], "--cluster", address)
    one_line("analyze.py", result, address, "start the workers in the folder of analyze.py")


def test_a_cluster_where_nobody_answers_is_one_line(script, one_line, scans):
    pytest.importorskip("distributed")
    result = script("analyze.py", scans[0], "--cluster", "tcp://127.0.0.1:9")
    one_line("analyze.py", result, "tcp://127.0.0.1:9", "no scheduler answers", "dask scheduler")


def test_a_cluster_without_its_packages_is_one_line(in_process, one_line, scans, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)  # as if it were not installed
    result = in_process("analyze.py", scans[0], "--cluster", "tcp://127.0.0.1:9")
    one_line("analyze.py", result, "pip install -r requirements-cluster.txt")


# -- options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        ("a.png", "--files-from", "list.txt"),
        ("--files-from", "list.txt", "--evaluate", "set.tsv"),
        ("a.png", "--resume", "a.jsonl", "--format", "csv"),
        ("a.png", "--processes", "2", "--cluster", "tcp://a:1"),
        ("a.png", "--processes", "2", "--device", "cuda"),
        ("a.png", "--cluster", "tcp://a:1", "--device", "cuda"),
        ("a.png", "--processes", "0"),
        ("--evaluate", "set.tsv", "--resume", "a.jsonl"),
        ("a.png", "--format", "xml"),
    ],
)
def test_options_that_do_not_fit_are_one_line(in_process, one_line, options):
    result = in_process("analyze.py", *options)
    one_line("analyze.py", result, "--help")
    assert result[0] == ""


def test_what_is_wrong_is_said_before_anything_is_read(in_process, one_line, scans, tmp_path):
    (tmp_path / "file").touch()
    for options, word in (
        (("--output", tmp_path / "file" / "read"), "cannot be written"),
        (("--model", tmp_path / "gone.npz"), "gone.npz"),
        (("--resume", tmp_path / "no" / "a.jsonl"), "a.jsonl"),
    ):
        result = in_process("analyze.py", scans[0], "--processes", 2, *options)
        one_line("analyze.py", result, word)
        assert result[0] == ""
    one_line("analyze.py", in_process("analyze.py", "--files-from", tmp_path / "no.txt"), "no.txt")
    one_line("analyze.py", in_process("analyze.py", tmp_path, "--device", "cpu"), "a folder without pictures")
