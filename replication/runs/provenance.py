"""Which code computed a number, and where: what a reader needs to repeat it."""

import importlib.metadata
import os
import platform
import shutil
import subprocess
from pathlib import Path

from replication import paths

PACKAGES = ("tensorflow", "tensorflow-probability", "numpy", "scipy", "arviz-stats")  # that decide numbers
CODE = ("replication", "pyproject.toml", "requirements.lock")  # a change of these, and a commit is called dirty


def environment() -> dict:
    """Commit, processor and versions."""
    versions = {package: importlib.metadata.version(package) for package in PACKAGES}
    isa = os.environ.get("ONEDNN_MAX_CPU_ISA", "")  # rounds as another processor does
    cpu = f"{_cpu()}, ONEDNN_MAX_CPU_ISA={isa}" if isa else _cpu()
    return {"commit": _commit(), "cpu": cpu, "python": platform.python_version(), "packages": versions}


def _cpu() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _commit() -> str:
    """The project's commit, marked as dirty where the source differs from it; results and notebooks may differ.

    A copy that is no clone has none, though it may lie within a repository of something else.
    """
    root, commit = _git("rev-parse", "--show-toplevel"), _git("rev-parse", "--short=12", "HEAD")
    if not commit or not paths.ROOT.samefile(root):
        return "unknown"
    is_dirty = _git("status", "--porcelain", "--", *CODE)
    return f"{commit}-dirty" if is_dirty else commit


def _git(*arguments: str) -> str:
    """What git says of the folder that the project lies in, whatever repository its variables name."""
    if shutil.which("git") is None:
        return ""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", *arguments]
    run = subprocess.run(command, cwd=paths.ROOT, env=environment, capture_output=True, encoding="utf-8")
    return run.stdout.strip() if run.returncode == 0 else ""
