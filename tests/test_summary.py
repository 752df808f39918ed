"""The verdict as a whole, on the committed records; and the README shows it."""

import csv
import json
from collections import Counter, defaultdict

import numpy as np
import pytest

from replication import paths
from replication.config import RunConfig
from replication.errors import ReplicationError
from replication.paper import experiments, readings, summary, verdict

POINTS = {2: (1e6, 3e6, 1e7, 3e7, 1e8), 3: (1e6, 5e6, 1e7, 2e7, 4e7, 6e7)}
TOLERANCES = {(2, "mnist"): 2.0, (3, "mnist"): 2.5, (2, "frey_face"): 0.05 * (1487.20 - 320.85)}
COLUMNS = {2: ("n_latent", "bound"), 3: ("n_train", "log_px")}


@pytest.fixture(scope="module")
def found() -> summary.Summary:
    return summary.load(experiments.settings("paper"))


def recounted(figure: int, runs: list[RunConfig]) -> Counter:
    """How many of the paper's curves are within, above, below or not run, from the stored files alone."""
    size, column = COLUMNS[figure]
    ours, paper = defaultdict(list), defaultdict(list)
    for run in runs:
        for row in csv.DictReader((paths.runs("paper") / run.run_id / "curve.csv").open()):
            point = (run.dataset, getattr(run, size), run.algorithm, row["split"], float(row["samples_evaluated"]))
            ours[point].append(float(row[column]))
    for row in csv.DictReader(paths.PAPER_CURVES.open()):
        if row["figure"] == str(figure):
            curve = (row["dataset"], int(row[size]), row["algorithm"], row["split"])
            paper[curve].append((float(row["samples_evaluated"]), float(row["value"])))
    counts = Counter()
    for curve, vertices in paper.items():
        x, y = np.array(sorted(vertices)).T
        common = [point for point in POINTS[figure] if x[0] <= point <= x[-1] and (*curve, point) in ours]
        if not common:
            counts["not run"] += 1
            continue
        at, scale = max(common), np.log10 if figure == 2 else np.asarray
        difference = np.mean(ours[*curve, at]) - np.interp(scale(at), scale(x), y)
        is_within = abs(difference) <= TOLERANCES[figure, curve[0]]
        counts["within" if is_within else "above" if difference > 0 else "below"] += 1
    return counts


def test_json_has_an_object_per_curve_and_claim(found):
    content = json.loads(summary.as_json(found))
    assert len(content["curves"]) == 48 and sum(content["counts"].values()) == 48
    assert len({(c["figure"], c["dataset"], c.get("n_latent"), c.get("n_train"), c["algorithm"], c["split"])
                for c in content["curves"]}) == 48  # fmt: skip
    assert len(content["claims"]) == len(found.claims) > 40
    assert all(set(claim) >= {"claim", "panel", "split", "ours", "paper", "holds"} for claim in content["claims"])


def test_text_and_counts_agree_with_the_curves_as_stored(found):
    # Recounted from curve.csv and the paper's curves with numpy alone. Fails if a curve is counted twice, not at all,
    # or at another evaluation point than the furthest that both have.
    settings = experiments.settings("paper")
    figure2 = experiments.figure2(settings) + readings.seeds(settings)
    counts = recounted(2, figure2) + recounted(3, experiments.figure3(settings))
    assert counts == found.counts and counts.total() == 48
    text = summary.as_text(found)
    assert text.startswith("Of the paper's 48 curves: " + f"{counts['within']} within")
    for name in verdict.CLASSES:
        assert sum(line.endswith(f" {name}") for line in text.splitlines()) == counts[name]


def test_the_readme_shows_the_current_verdict(found):
    # Fails when a recorded number moves, or when somebody edits the table: `python -m replication verdict --readme`.
    _, between, _ = summary.readme_block(summary.README.read_text())
    assert between.strip() == summary.as_markdown(found)


def test_a_readme_without_markers_is_refused():
    with pytest.raises(ReplicationError, match="must have the lines"):
        summary.readme_block("no markers")


def test_no_records_is_an_error_that_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(summary.paths, "runs", lambda profile: tmp_path)
    with pytest.raises(ReplicationError, match=r"no record of figure 2 on mnist, frey_face.*restore it, train"):
        summary.load(experiments.settings("paper"))
