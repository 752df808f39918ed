"""A copy of the project with a smaller batch."""

from pathlib import Path


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
