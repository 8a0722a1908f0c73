"""The house stays in order: who imports whom, what is private, what a module says of itself, how long a function is.

What is checked here is read from the source, nothing is run. Each checker takes {module: source} and gives a list of
complaints. As a checker that finds nothing might be blind, each is also shown a small source with a fault.
"""

import ast
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import NO_SIMULATOR, ROOT

import kernel_cache

ROOMS = ("photos", "benchmark", "volume", "web")

# The floors of the house, and from which others each may import. Within a floor there are no circles either.
FLOORS = {
    "shared": {
        "distortion", "errors", "figure_style", "files", "gpu_instructions", "gpu_launch", "interrupts", "kernel_cache",
        "mnist_data", "model_file", "network", "quiet_start", "sizes", "start_early",
    },
    "layers": {
        "compile_apart", "conv_gpu", "epoch_gpu", "epoch_plan", "first_kernel", "layer_check", "layers_gpu",
        "naive_gpu", "pool_gpu", "reading_gpu", "softmax_gpu",
    },
    "plots": {"plots"},
    "training": {"training"},
    "networks": {"cnn_cpu", "cnn_gpu", "cnn_jit", "cnn_numpy"},
    "scripts": {"analyze", "bench", "draw"},
}  # fmt: skip
MAY_IMPORT = {
    "shared": {"shared"},
    "layers": {"shared", "layers"},
    "photos": {"shared", "photos"},
    "plots": {"shared", "layers", "plots"},
    "training": {"shared", "photos", "plots", "training"},
    "networks": {"shared", "layers", "training", "networks"},
    "benchmark": {"shared", "layers", "photos", "training", "networks", "benchmark"},
    "volume": {"shared", "photos", "networks", "volume"},
    "web": {"shared", "layers", "photos", "networks", "web"},
    "scripts": {"shared", "layers", "photos", "training", "networks", "benchmark", "volume", "web", "scripts"},
}

# What the network and its layers do without, so that who reads them needs to know nothing of it; and what takes so long
# to import that a picture is read without it.
SLOW = {"dask", "distributed", "joblib", "llvmlite", "multiprocessing", "numba"}
HEAVY = {"cv2", "PIL", "tqdm", "matplotlib", "mnist"}

LONGEST = 60  # lines of a function: what fits on a screen
LONG = {("epoch_gpu", "learning_kernel"), ("epoch_gpu", "learn_epoch")}

# "Warp" means 32 threads here, and nothing else. What OpenCV calls so is OpenCV's.
WARP_NAMES = {"WARP_SIZE", "fill_a_warp", "last_warp", "lanes_of_warp", "syncwarp", "warp", "warps", "warpsize"}
OPENCV_NAMES = {"warpAffine", "warpPerspective"}


def read(*patterns):
    """{module: source} of the files that these patterns find: "photos/ink.py" is the module "photos.ink"."""
    paths = sorted(path for pattern in patterns for path in ROOT.glob(pattern))
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in paths]
    return {name: path.read_text(encoding="utf-8") for name, path in zip(names, paths, strict=True)}


def imports(tree, modules):
    """(module, name, local name) of everything that is imported out of these modules; name None: the module itself."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name in modules:
                    yield alias.name, None, alias.asname or alias.name
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                local = alias.asname or alias.name
                if f"{node.module}.{alias.name}" in modules:  # from photos import ink
                    yield f"{node.module}.{alias.name}", None, local
                elif node.module in modules:
                    yield node.module, alias.name, local


def floor_of(module):
    room = module.split(".")[0]
    return room if room in ROOMS else next((floor for floor, names in FLOORS.items() if module in names), None)


def house(sources):
    """Those that FLOORS and ROOMS name, and what they import; not a script that somebody has put beside them."""
    ahead = [module for module in sources if floor_of(module)]
    reached = set()
    while ahead:
        module = ahead.pop()
        if module not in reached:
            reached.add(module)
            ahead.extend(other for other, _, _ in imports(ast.parse(sources[module]), sources))
    return {module: source for module, source in sources.items() if module in reached}


PROJECT = house(read("*.py", *(f"{room}/*.py" for room in ROOMS)))
TESTS = read("tests/*.py")


def accept(complaints):
    assert not complaints, "\n".join(["", *complaints])


def test_there_is_something_to_check():
    named = {module for floor in FLOORS.values() for module in floor}
    assert named - set(PROJECT) == set(), "FLOORS names what is not there"
    assert {"photos", "photos.normalise", "benchmark", "benchmark.report"} <= set(PROJECT)
    assert len(TESTS) > 10 and "tests.conftest" in TESTS
    assert set(house({"bench": "import new", "new": "", "scratch": "import bench"})) == {"bench", "new"}


# -- who imports whom -------------------------------------------------------------------------------------------------


def imported(sources):
    """{module: the modules of these sources that it imports, wherever in its text}."""
    return {
        module: {other for other, _, _ in imports(ast.parse(source), sources) if other != module}
        for module, source in sources.items()
    }


def cycles(sources):
    """One complaint for each module that, by way of others, imports itself."""
    arrows = imported(sources)
    complaints = []
    for start in sources:
        ahead, reached = list(arrows[start]), set()
        while ahead:
            module = ahead.pop()
            if module not in reached:
                reached.add(module)
                ahead.extend(arrows[module])
        if start in reached:
            complaints.append(f"{start} imports itself by way of others")
    return complaints


def wrong_floors(sources):
    """Complaints of modules that have no floor, and of imports that lead upstairs."""
    complaints = [f"{module}: say in FLOORS where it belongs" for module in sources if floor_of(module) is None]
    for module, others in imported(sources).items():
        for other in sorted(others):
            if floor_of(other) not in MAY_IMPORT.get(floor_of(module), {floor_of(other)}):
                complaints.append(f"{module} ({floor_of(module)}) imports {other} ({floor_of(other)})")
    return complaints


def test_no_module_imports_itself_by_way_of_others():
    accept(cycles(PROJECT))
    assert cycles({"a": "import b", "b": "def f():\n    from c import d", "c": "import a", "d": "import a"}) == [
        f"{module} imports itself by way of others" for module in "abc"
    ]


def test_arrows_run_one_way():
    accept(wrong_floors(PROJECT))
    upstairs = {
        "analyze": "", "cnn_gpu": "", "network": "from cnn_gpu import CNNGPU", "photos.ink": "import analyze",
        "benchmark.report": "from bench import main", "bench": "from benchmark import report", "new": "", "photos": "",
    }  # fmt: skip
    assert wrong_floors(upstairs) == [
        "new: say in FLOORS where it belongs",
        "network (shared) imports cnn_gpu (networks)",
        "photos.ink (photos) imports analyze (scripts)",
        "benchmark.report (benchmark) imports bench (scripts)",
    ]


def loaded_by(code):
    """The modules that a new process has loaded after this code, which may print, too."""
    command = [sys.executable, "-c", f"{code}\nimport sys\nprint()\nprint(*sys.modules)"]
    done = subprocess.run(command, cwd=ROOT, env=NO_SIMULATOR, capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("module", ["conv_gpu", "pool_gpu", "softmax_gpu"])
def test_the_core_imports_nothing_heavy(module):
    """What numba itself imports is not ours."""
    loaded = loaded_by(f"import {module}")
    assert module in loaded and "numba" in loaded
    assert loaded & HEAVY <= loaded_by("import numba")


@pytest.mark.parametrize("module", ["network", "cnn_numpy"])
def test_who_only_reads_waits_for_no_compiler(module):
    loaded = loaded_by(f"import {module}")
    assert module in loaded
    assert loaded & (HEAVY | SLOW) == set()


def test_analyze_loads_no_more_than_a_picture_needs():
    """It is started for one picture more often than for many, and a person waits for every import."""
    loaded = loaded_by("import analyze\nassert analyze.main(['samples/digits.jpg']) == 0")
    assert {"analyze", "cv2", "PIL", "cnn_numpy"} <= loaded
    assert loaded & (SLOW | {"cnn_jit", "cnn_gpu", "gpu_launch", "matplotlib", "mnist", "tqdm"}) == set()


# -- what is private --------------------------------------------------------------------------------------------------


def dotted(node):
    """ "photos.ink" for the expression photos.ink; None for what is no name."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (value := dotted(node.value)):
        return f"{value}.{node.attr}"
    return None


def is_private(name):
    return isinstance(name, str) and name.startswith("_") and not name.startswith("__")


def private_uses(sources, modules):
    """Complaints of private names of these modules that another one imports, uses, or sets by their name."""
    complaints = []
    for module, source in sources.items():
        tree = ast.parse(source)
        found = list(imports(tree, modules))
        local = {name: other for other, what, name in found if what is None and other != module}
        used = [(other, what) for other, what, _ in found if other != module]
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute):
                used.append((local.get(dotted(node.value)), node.attr))
            elif isinstance(node, ast.Call) and len(node.args) > 1 and isinstance(node.args[1], ast.Constant):
                used.append(
                    (local.get(dotted(node.args[0])), node.args[1].value)
                )  # monkeypatch.setattr(ink, "_x", ...)
        complaints += [f"{module} uses {other}.{name}" for other, name in used if other and is_private(name)]
    return complaints


def test_what_is_private_stays_private():
    accept(private_uses(PROJECT | TESTS, PROJECT))
    nosy = {
        "a": "from m import _x, y",
        "b": "import m as n, os\nn._x()\nos._exit(1)\nself._x",
        "c": "import photos.ink\nfrom photos import ink\nphotos.ink._x + ink._y + ink.__doc__",
        "d": "import m\nmonkeypatch.setattr(m, '_x', None)",
        "m": "_x = 1\nprint(_x)",
    }
    wanted = ["a uses m._x", "b uses m._x", "c uses photos.ink._x", "c uses photos.ink._y", "d uses m._x"]
    assert sorted(private_uses(nosy, {"m", "photos", "photos.ink"})) == wanted


# -- what a module says of itself -------------------------------------------------------------------------------------


def poor_docstrings(sources):
    """Complaints of modules without a docstring, or whose docstring does not begin with a sentence."""
    complaints = []
    for module, source in sources.items():
        paragraph = (ast.get_docstring(ast.parse(source)) or "").split("\n\n")[0]
        if not paragraph:
            complaints.append(f"{module} does not say what it is for")
        elif not re.fullmatch(r"([A-Z0-9]|\w+\.py\b).*[.:?!]", paragraph, re.S) or len(paragraph.split()) < 4:
            complaints.append(f"{module} does not begin with a sentence: {paragraph!r}")
    return complaints


def test_every_module_says_what_it_is_for():
    accept(poor_docstrings(PROJECT | TESTS))
    for room in ROOMS:
        assert room in PROJECT, f"{room}/__init__.py is missing: it says what the room is for"
    poor = {"a": "import b", "b": '"""stuff for photos."""', "c": '"""Helpers."""', "d": '"""What no point ends"""'}
    assert [complaint[0] for complaint in poor_docstrings(poor)] == ["a", "b", "c", "d"]
    good = {"a": '"""What a photo shows,\nin one sentence.\n\nMore"""', "b": '"""This is what there is: that."""'}
    assert poor_docstrings(good) == []


# -- what is compiled -------------------------------------------------------------------------------------------------

COMPILERS = {"jit", "njit", "vectorize", "guvectorize", "stencil", "intrinsic"}


def compiled_functions(tree):
    """The functions that Numba compiles, with all that is in them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            decorators = [one.func if isinstance(one, ast.Call) else one for one in node.decorator_list]
            if any((dotted(one) or "").split(".")[-1] in COMPILERS for one in decorators):
                yield node


def keeps_compiled(tree):
    """Whether something in it says cache=True, as an argument or as an entry of a dict of arguments."""

    def true(value):
        return isinstance(value, ast.Constant) and value.value is True

    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "cache" and true(node.value):
            return True
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == "cache" and true(value):
                    return True
    return False


def compiled_from(sources, module):
    """The modules whose text decides what is compiled for this one: itself, and those whose names compiled code uses.

    A constant that is computed from another module's constants counts as such a use.
    """
    tree = ast.parse(sources[module])
    compiled = list(compiled_functions(tree))
    constants = [node for node in tree.body if isinstance(node, (ast.Assign, ast.AnnAssign))]
    names = {one.id for node in compiled + constants for one in ast.walk(node) if isinstance(one, ast.Name)}
    used = {other for other, _, local in imports(tree, sources) if local.split(".")[0] in names}
    return {module} | used if compiled else set()


def stale(sources, listed):
    """Complaints of modules whose edits would leave old machine code in use; listed: kernel_cache.SOURCES."""
    complaints = []
    for module in sources:
        tree = ast.parse(sources[module])
        top = {other for node in tree.body for other, _, _ in imports(ast.Module([node], []), sources)}
        if keeps_compiled(tree) and "kernel_cache" not in top:
            complaints.append(f"{module} has cache=True and does not import kernel_cache")
        for other in sorted(compiled_from(sources, module)):
            if f"{other.replace('.', '/')}.py" not in listed:
                complaints.append(f"{module} is compiled from {other}, which kernel_cache.SOURCES does not list")
    return complaints


def test_every_edit_of_compiled_code_takes_effect():
    accept(stale(PROJECT, kernel_cache.SOURCES))
    assert [name for name in kernel_cache.SOURCES if not (ROOT / name).exists()] == []
    assert {"cnn_jit", "conv_gpu"} <= {name for name in PROJECT if keeps_compiled(ast.parse(PROJECT[name]))}
    careless = {
        "a": "from numba import njit\nfrom b import C\nfrom e import D\n@njit(cache=True)\ndef f():\n    return C",
        "b": "from d import E\nC = E + 1",
        "c": "import kernel_cache\nfrom d import E\nF = E\n@cuda.jit(**{'cache': True})\ndef f():\n    return F",
        "d": "E = 1",
        "e": "@jit\ndef D():\n    pass",
        "kernel_cache": "",
    }
    assert stale(careless, ("a.py", "c.py")) == [
        "a has cache=True and does not import kernel_cache",
        "a is compiled from b, which kernel_cache.SOURCES does not list",
        "c is compiled from d, which kernel_cache.SOURCES does not list",
        "e is compiled from e, which kernel_cache.SOURCES does not list",
    ]
    assert stale(careless | {"a": ""}, ("c.py", "d.py", "e.py")) == []


# -- how it is written ------------------------------------------------------------------------------------------------


def long_functions(sources, longest):
    """(module, function) of those with more lines, from the "def" on; what is defined in them counts too."""
    return {
        (module, node.name)
        for module, source in sources.items()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno + 1 > longest
    }


def test_a_function_fits_on_a_screen():
    assert long_functions(PROJECT | TESTS, LONGEST) - LONG == set()
    source = {"m": "@cache\ndef f():\n    def g():\n        pass\n    return g\n\n\ndef h():\n    pass\n"}
    assert long_functions(source, 3) == {("m", "f")} and long_functions(source, 4) == set()


def identifiers(tree):
    """Every name that is defined or used, whatever for."""
    for node in ast.walk(tree):
        for field in ("id", "attr", "arg", "name", "asname"):
            if isinstance(value := getattr(node, field, None), str):
                yield value


def misused_warps(sources):
    """Complaints of identifiers with "warp" that are neither OpenCV's nor mean 32 threads."""
    return [
        f"{module}: {name}"
        for module, source in sources.items()
        for name in sorted({module, *identifiers(ast.parse(source))})
        if "warp" in name.lower() and name not in WARP_NAMES | OPENCV_NAMES
    ]


def test_a_warp_is_32_threads():
    """The distortion of images once bore the same name."""
    accept(misused_warps(PROJECT))
    own = "test_structure"  # which speaks of what it looks for
    accept(misused_warps({name: source for name, source in TESTS.items() if own not in name}))
    misused = {"m": "import warping\ndef warp_images(warped=1):\n    cv2.warpAffine(warp, unwarp=last_warp)"}
    assert misused_warps(misused) == [f"m: {name}" for name in ("unwarp", "warp_images", "warped", "warping")]


# -- how it is started ------------------------------------------------------------------------------------------------

STARTED = sorted(name for name, source in PROJECT.items() if "." not in name and "__main__" in source)


def test_the_scripts_are_those_of_the_readme():
    assert {"analyze", "bench", "cnn_cpu", "cnn_gpu", "cnn_jit", "draw"} <= set(STARTED)


@pytest.mark.parametrize("module", STARTED)
def test_scripts_start_from_any_folder(script, module, tmp_path):
    """And leave nothing there: with the rooms, imports depend on where Python looks for them."""
    out, err, status = script(f"{module}.py", "--help", cwd=tmp_path)
    assert (status, err) == (0, "")
    assert out.startswith(f"usage: {module}.py")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def ctrl_c_is_answered():
    """A shell lets what it starts in the background ignore Ctrl-C, and the scripts would inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT that a process could send to itself")
@pytest.mark.parametrize("module", STARTED)
def test_ctrl_c_during_the_imports_is_one_line(script, module, tmp_path, imports_first, ctrl_c_is_answered):
    """In place of NumPy, which all of them import, there is a module that presses Ctrl-C."""
    press = "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(60)"
    (tmp_path / "numpy.py").write_text(press)
    assert script(f"{module}.py", "--help", **imports_first(tmp_path)) == ("", "interrupted\n", 130)


def test_scripts_start_by_a_relative_path(tmp_path):
    path = Path("..", tmp_path.name, "link.py")
    (tmp_path / "link.py").symlink_to(ROOT / "analyze.py")
    command = [sys.executable, path, "--help"]
    done = subprocess.run(command, cwd=tmp_path, env=NO_SIMULATOR, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
