"""The flow goes one way, and the house stays small: the design as a test."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "replication"
MODULES = sorted(PACKAGE.rglob("*.py"))
# Lower layers first: a module imports from its own layer's left, never from its right.
LAYERS = [
    "errors", "progress", "files", "paths", "config", "marks", "draws", "experiments", "readings", "data",
    "models", "latent", "estimators", "hmc", "algorithms", "marginal_likelihood", "evaluation", "baselines",
    "checkpoints", "records", "tables", "training", "gradients", "parallel", "reference", "verdict", "claims",
    "comparisons", "statement", "figures", "charts", "pictures", "explorer", "report", "batch", "benchmark",
    "__main__",
]  # fmt: skip


def layer_of(module: Path) -> str:
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(module: Path, top_level_only: bool = False) -> set[str]:
    tree = ast.parse(module.read_text())
    nodes = tree.body if top_level_only else ast.walk(tree)
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_every_module_has_its_place():
    assert {layer_of(module) for module in MODULES} - {"__init__"} == set(LAYERS)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.relative_to(PACKAGE)))
def test_imports_point_one_way(module):
    if layer_of(module) == "__init__":
        return
    own = {name.split(".")[1] for name in imports(module, top_level_only=True) if name.startswith("replication.")}
    place = LAYERS.index(layer_of(module))
    assert not [name for name in own if LAYERS.index(name) > place]


def test_experiments_import_only_config():
    own = {name for name in imports(PACKAGE / "experiments.py") if name.startswith("replication")}
    assert {name.split(".")[1] for name in own} == {"config"}


@pytest.mark.parametrize(
    "module",
    ["figures", "charts", "pictures", "verdict", "statement", "report", "records", "experiments", "reference", "batch"],
)
def test_readers_of_records_do_without_tensorflow(module):
    # Importing it costs seconds and a gigabyte, which a student who only looks has no use for.
    script = f"import sys, replication.{module}; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


def test_files_and_functions_stay_small():
    for module in [*MODULES, *Path(__file__).parent.glob("*.py")]:
        text = module.read_text()
        assert text.count("\n") <= 300, f"{module.name} is one file too few"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < 40, f"{module.name}: {node.name} is too long"
