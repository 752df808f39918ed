"""What a batch makes of what, wherever it runs: which files a notebook depends on, what it is told, where it goes."""

from pathlib import Path

from replication import paths
from replication.paper.plans import Plan

NOT_IN_NOTEBOOKS = ("__main__.py", "batch/*.py", "benchmark/*.py")


def folder(chosen: Plan) -> Path:
    """Where the batch puts the executed notebooks and its logs."""
    return paths.executed(chosen.profile, chosen.reading.name)


def parameters(chosen: Plan) -> dict[str, str]:
    """What the batch tells each run and notebook: their options and parameters."""
    return {"profile": chosen.profile, "datasets": ",".join(chosen.datasets), "reading": chosen.reading.name}


def inputs(notebook: str) -> list[Path]:
    """The files that a notebook depends on, beside the records of its runs."""
    package = paths.ROOT / "replication"
    used = [file for file in package.rglob("*.py") if not any(file.match(f"replication/{p}") for p in NOT_IN_NOTEBOOKS)]
    return [*sorted(used), paths.PAPER_CURVES, paths.NOTEBOOKS / f"{notebook}.ipynb"]
