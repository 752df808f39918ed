"""Copies of the project, with a smaller batch and with a virtual environment."""

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from replication import paths

COPIED = (
    "Makefile",
    "pyproject.toml",
    "requirements.lock",
    "Snakefile",
    "replication",
    "notebooks",
    "profiles",
    "data/paper",
)


def copy(tree: Path) -> Path:
    """A copy without records."""
    for name in COPIED:
        source, target = paths.ROOT / name, tree / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target)
    return tree


def install(tree: Path) -> None:
    """Give the copy a `.venv` that `make` takes for installed: with the packages of this one, and the copy's code."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tree / ".venv"], check=True)
    variables = {"base": tree / ".venv", "platbase": tree / ".venv"}
    links = Path(sysconfig.get_path("purelib", vars=variables)) / "links.pth"
    links.write_text(f"{tree}\n{sysconfig.get_path('purelib')}\n", encoding="utf-8")
    (tree / f".venv/installed-{sys.version_info.major}.{sys.version_info.minor}").touch()


def replace_runs(tree: Path, runs: str) -> None:
    """Make figure 2 of the copy these runs, given as source, which one notebook shows; no notebook is left."""
    experiments = tree / "replication/paper/experiments.py"
    experiments.write_text(
        experiments.read_text()
        + f"\n\ndef figure2(plan):\n    return {runs}\n"
        + '\nEXPERIMENTS_OF_NOTEBOOK = {"2_lower_bound": (figure2,)}\n'
    )
    for notebook in (tree / "notebooks").glob("*.ipynb"):
        notebook.unlink()
