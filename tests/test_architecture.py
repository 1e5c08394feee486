"""Holds the table of rooms in docs/architecture.md, and that the method reads no data set."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for room in ("cake_edge", "exporters", "benchmarks")
    for path in sorted((ROOT / room).rglob("*.py"))
}

WHOLE_JOB = (
    "cake_edge/cli/",
    "cake_edge/pipeline.py",
    "cake_edge/recipe.py",
    "cake_edge/report_rows.py",
)
SHARED = {
    f"cake_edge.{name}"
    for name in ("errors", "spec", "provenance", "checkpoint", "progress", "onnx_file")
}
DEVICE_SIDE = tuple(
    f"exporters/{room}/"
    for room in ("runtimes", "latency", "report", "tensorrt", "trtexec", "devices", "remote")
)
HOST_ONLY = ("torch", "timm", "onnx", "onnxscript", "safetensors.torch", "torchvision")

DATA_MODULES = ("torchvision", "datasets", "tensorflow_datasets", "cake_edge.evaluate")
DATA_NAMES = {
    "Image.open", "np.load", "numpy.load", "np.fromfile", "np.genfromtxt", "np.loadtxt", "imread",
    "ImageFolder", "DatasetFolder", "create_dataset", "create_loader", "open_dataset", "read_image",
}  # fmt: skip
TIMING_IMAGES = "cake_edge/timing_images.py"
"""What reads images for a clock: an evaluation of speed."""
MAY_READ_DATA = (
    "cake_edge/evaluate.py", "cake_edge/cli/evaluate.py", TIMING_IMAGES, "benchmarks/",
)  # fmt: skip
OWN_IMAGES = "cake_edge/priors/own_images.py"
"""The declared exception: a user's own unlabeled images, where a recipe names them as the prior."""


def imported(source: str) -> set[str]:
    """Every module a source names in an import, at any depth: `from a import b` gives a and a.b."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            found |= {a.value for a in node.args if isinstance(a, ast.Constant)}
    return found


def within(names: set[str], *modules: str) -> set[str]:
    """Those of `names` that are one of `modules` or lie inside one."""
    return {n for n in names if any(n == m or n.startswith(f"{m}.") for m in modules)}


def import_faults(path: str, source: str) -> set[str]:
    """What the file imports though its room may not."""
    names = imported(source)
    faults = set() if path.startswith("benchmarks/") else within(names, "benchmarks")
    if path != "cake_edge/__main__.py" and not path.startswith("cake_edge/cli/"):
        faults |= within(names, "cake_edge.cli")
    if path.startswith("cake_edge/") and not path.startswith(WHOLE_JOB):
        faults |= within(names, "exporters")
        if path != "cake_edge/__init__.py":  # It names them, and imports them when asked.
            faults |= within(names, "cake_edge.pipeline", "cake_edge.recipe")
    if path.startswith("exporters/"):
        faults |= within(names, "cake_edge") - within(names, *SHARED) - {"cake_edge"}
    return faults


def data_readers(path: str, source: str) -> set[str]:
    """The names of the file that read a data set; in the pipeline those outside its evaluation."""
    tree, known = ast.parse(source), DATA_NAMES
    if path == "cake_edge/pipeline.py":
        outside = Outside()
        tree, known = outside.visit(tree), DATA_NAMES | outside.brought_in
    modules = imported(ast.unparse(tree))
    names = {
        ast.unparse(node) for node in ast.walk(tree) if isinstance(node, (ast.Attribute, ast.Name))
    }
    ends = {".".join(name.split(".")[-n:]) for name in names | modules for n in (1, 2)}
    return within(modules, *DATA_MODULES) | (ends & known)


class Outside(ast.NodeTransformer):
    """Drops every function with "evaluat" in its name, and the import of what it uses."""

    def __init__(self) -> None:
        self.brought_in: set[str] = set()

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self.generic_visit(node)
        return ast.Pass() if "evaluat" in node.name else node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST:
        if node.module != "cake_edge.evaluate":
            return node
        self.brought_in |= {alias.asname or alias.name for alias in node.names}
        return ast.Pass()


def modules_of(*places: str) -> list[str]:
    """The dotted names of the modules in these folders and files."""
    paths = [path for path in SOURCES if path.startswith(places)]
    return [p.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for p in paths]


@pytest.mark.parametrize("path", SOURCES)
def test_a_file_imports_only_what_its_room_may(path):
    assert import_faults(path, SOURCES[path]) == set()


@pytest.mark.parametrize(
    ("path", "source", "fault"),
    [
        ("cake_edge/pool.py", "import exporters.artifact", "exporters.artifact"),
        ("cake_edge/pool.py", "def f():\n    from exporters import artifact", "exporters.artifact"),
        ("cake_edge/pool.py", "from cake_edge import pipeline", "cake_edge.pipeline"),
        ("cake_edge/recipe.py", "from benchmarks import x", "benchmarks"),
        ("exporters/artifact.py", "from cake_edge.pool import Pool", "cake_edge.pool"),
        ("exporters/artifact.py", "from cake_edge import pool", "cake_edge.pool"),
        ("exporters/artifact.py", "import_module('cake_edge.pool')", "cake_edge.pool"),
        ("exporters/report/html.py", "import cake_edge.cli.console", "cake_edge.cli.console"),
    ],
)
def test_a_forbidden_import_is_found(path, source, fault):
    assert fault in import_faults(path, source)


@pytest.mark.parametrize("path", [path for path in SOURCES if not path.startswith(MAY_READ_DATA)])
def test_no_data_set_is_read_outside_evaluation(path):
    allowed = {"Image.open"} if path == OWN_IMAGES else set()
    assert data_readers(path, SOURCES[path]) == allowed


def test_a_user_s_own_images_are_reached_by_the_name_of_a_prior_alone():
    module = OWN_IMAGES.removesuffix(".py").replace("/", ".")
    reach = {path for path, source in SOURCES.items() if within(imported(source), module)}
    assert reach == {"cake_edge/priors/names.py"}


def test_images_for_a_clock_are_reached_by_what_measures_alone():
    module = TIMING_IMAGES.removesuffix(".py").replace("/", ".")
    reach = {path for path, source in SOURCES.items() if within(imported(source), module)}
    assert reach
    assert all(path.startswith(("cake_edge/cli/bench", "cake_edge/cli/scenario")) for path in reach)


@pytest.mark.parametrize(
    ("source", "reader"),
    [
        ("import torchvision.datasets", "torchvision.datasets"),
        ("from torchvision import datasets as d", "torchvision"),
        ("from timm.data import create_dataset as make", "create_dataset"),
        ("import timm\ntimm.data.create_loader(x)", "create_loader"),
        ("from PIL import Image\nImage.open(x)", "Image.open"),
        ("import PIL.Image\nPIL.Image.open(x)", "Image.open"),
        ("import numpy as np\nread = np.load", "np.load"),
        ("from cake_edge.evaluate import evaluate", "cake_edge.evaluate"),
        ("from cake_edge import evaluate", "cake_edge.evaluate"),
        ("from numpy import load", "numpy.load"),
        ("def f():\n    import_module('cake_edge.evaluate')", "cake_edge.evaluate"),
    ],
)
def test_a_data_reader_is_found(source, reader):
    assert reader in data_readers("cake_edge/pool.py", source)


@pytest.mark.parametrize(
    ("source", "readers"),
    [
        ("from cake_edge.evaluate import a\ndef evaluate():\n    a()", set()),
        ("from cake_edge.evaluate import a\ndef synthesize():\n    a()", {"a"}),
        ("from cake_edge.evaluate import a as b\nb()", {"b"}),
        ("class Job:\n    def evaluate(self):\n        np.load(x)", set()),
        ("class Job:\n    def distill(self):\n        np.load(x)", {"np.load"}),
        ("import torchvision", {"torchvision"}),
    ],
)
def test_the_pipeline_reads_data_where_it_evaluates_alone(source, readers):
    assert data_readers("cake_edge/pipeline.py", source) == readers


def test_what_runs_on_a_device_loads_no_training_stack():
    modules = ["cake_edge", "exporters", "cake_edge.evaluate", *modules_of(*DEVICE_SIDE)]
    assert len(modules) > 6
    assert loaded_by(modules) == []


def test_help_of_every_command_costs_no_training_stack():
    assert loaded_by(modules_of("cake_edge/cli/")) == []


def loaded_by(modules: list[str]) -> list[str]:
    """Which of the packages that only a host has are loaded after importing `modules`."""
    code = (
        f"import importlib, sys\nfor name in {modules}:\n    importlib.import_module(name)\n"
        f"print(*[name for name in {HOST_ONLY} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout.split()
