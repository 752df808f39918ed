"""What notebooks say holds under the smallest profile, too: no trace of a missing value, no answer against the records.

The patterns are those of CONTRIBUTING.
"""

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pandas as pd
import pytest

from replication import paths
from replication.paper import experiments, plans

PATTERNS = re.findall(r"^  \| `(.+?)` \|", (paths.ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.MULTILINE)


def _said(notebook: Path) -> str:
    """What the cells print or show as text."""
    outputs = [output for cell in nbformat.read(notebook, as_version=4).cells for output in cell.get("outputs", [])]
    return "\n".join(output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs)


def _traces(said: str) -> list[str]:
    return [f"{pattern}: {line}" for line in said.split("\n") for pattern in PATTERNS if re.search(pattern, line)]


@pytest.mark.parametrize(
    "line",
    ["Empty DataFrame", "  mnist  3  NaN  -98.1", "The gap is None nats.",
     "Ours leave the tolerance after  to  samples."],
)  # fmt: skip
def test_each_trace_of_a_missing_value_is_seen(line):
    # As they once stood in notebooks. Fails if a pattern no longer matches what it is for.
    assert len(_traces(line)) == 1


@pytest.mark.parametrize("notebook", sorted(paths.NOTEBOOKS.glob("[0-9]_*.ipynb")), ids=lambda path: path.stem)
def test_the_stored_outputs_show_no_missing_value(notebook):
    assert not _traces(_said(notebook))


@pytest.mark.faults
def test_what_the_smallest_batch_says_holds(project, monkeypatch):
    for name in ("data/runs", "data/tables"):
        (project / name).symlink_to(paths.ROOT / name)
    monkeypatch.setenv("PYTHONPATH", str(project))
    batch = [sys.executable, "-m", "replication", "reproduce", "--profile", "smoke"]
    run = subprocess.run(batch, cwd=project, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    said = {file.stem: _said(file) for file in sorted((project / "out/smoke").glob("*.ipynb"))}
    assert len(said) == len(experiments.EXPERIMENTS_OF_NOTEBOOK)
    assert not {name: traces for name, text in said.items() if (traces := _traces(text))}

    # The answers against the curves, read from the files alone.
    runs, plan = project / "out/smoke/runs", plans.make_plan("smoke")
    ends = {
        config: pd.read_csv(runs / config.run_id / "curve.csv").query("measure == 'evaluated'").groupby("split").last()
        for config in [*experiments.figure3(plan), *experiments.full_vb(plan), *experiments.minibatches(plan)]
    }
    ends_of_figure3 = {ends[config]["samples_evaluated"]["test"] for config in experiments.figure3(plan)}
    assert len(ends_of_figure3) == 2, "Monte Carlo EM ends within a step of its own, beside the others"
    assert "no evaluation point in common" in " ".join(said["3_marginal_likelihood"].split())
    gap = max(
        ends[c]["value"]["train"] - ends[c]["value"]["test"] for c in experiments.full_vb(plan) if c.algorithm == "aevb"
    )
    assert ("there is none to narrow" in " ".join(said["6_full_vb"].split())) == (gap <= 1)
    by_size = {(c.batch_size, c.n_mc_samples): ends[c]["value"]["test"] for c in experiments.minibatches(plan)}
    n_alike = sum(abs(by_size[m, 5] - by_size[m, 1]) <= 1 for m in (20, 100))
    assert " ".join(said["1_estimators"].split()).count("L = 5 shows no gain.") == n_alike
