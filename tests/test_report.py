"""The verdict as a whole, on the committed records; and the README shows it."""

import json
from pathlib import Path

import pytest

from replication.errors import RecordError, ReplicationError
from replication.paper import comparison, names, reference, report
from replication.paper.plans import make_plan
from replication.runs.curves import CURVE


@pytest.fixture(scope="module")
def reports() -> dict[str, report.Report]:
    return report.make_all()


def test_json_has_an_object_per_curve_and_claim(reports):
    for name, content in json.loads(report.as_json(reports)).items():
        assert len(content["curves"]) == 48
        assert len({tuple(curve[key] for key in CURVE) for curve in content["curves"]}) == 48
        assert len(content["claims"]) == len(reports[name].claims) > 20
        keys = {"claim", "panel", "split", "ours", "paper", "holds", "holds_in_paper"}
        assert all(set(claim) >= keys for claim in content["claims"])


def test_the_text_has_all_readings_side_by_side_and_every_curve(reports):
    text = report.as_text(reports)
    first = text.splitlines()[0].split()
    assert first == ["authors", "text"]
    for reading in reports.values():
        assert f"Reading {reading.reading.name}: " in text
        assert reading.counts["curves"] == 48
    for name in comparison.CLASSES:
        lines = sum(line.endswith(f" {name}") for line in text.splitlines())
        assert lines == sum(reading.counts[name] for reading in reports.values())


def test_the_readme_shows_the_current_verdict(reports):
    # Fails when a recorded number moves, or when somebody edits the table: `python -m replication verdict --readme`.
    text = report.README.read_text(encoding="utf-8")
    for name, block in report.readme_blocks(reports).items():
        _, between, _ = report.split_readme(text, name)
        assert between.strip() == block


def test_every_group_of_misses_is_named(reports):
    # Fails if the largest miss hides behind a group of more curves.
    judged = reports["authors"].judged
    for (metric, dataset, algorithm), rows in judged[judged["verdict"].isin(("above", "below"))].groupby(
        ["metric", "dataset", "algorithm"]
    ):
        where = f"{names.ALGORITHMS[algorithm]} on {names.DATASETS[dataset]} in figure {reference.FIGURES[metric]}"
        said = report.misses(reports["authors"])
        assert f"{len(rows)} of {where} (" in said
        assert f"{rows['difference'].abs().max():.1f}" in said.split(where)[1].split(")")[0]


def test_records_of_an_older_estimator_are_said(reports):
    # Fails if two readings stand beside each other as if one estimator had judged both.
    older = {name: reading.n_without_search for name, reading in reports.items()}
    assert older == {"authors": 0, "text": 6}
    assert "In figure 3, 6 runs of `text` have log p(x) by an older estimator" in report.as_readme(reports)
    assert "older estimator" not in report.as_markdown(reports["authors"])


def test_a_readme_without_markers_is_refused():
    with pytest.raises(ReplicationError, match="must have the lines"):
        report.split_readme("no markers", "verdict")


@pytest.mark.parametrize(("make", "said"), [(lambda file: None, "is missing"), (Path.mkdir, "cannot be read: Is a")])
def test_a_readme_that_is_not_there_is_said(monkeypatch, tmp_path, make, said):
    # Fails with a traceback, after the half minute that the verdict takes.
    monkeypatch.setattr(report, "README", tmp_path / "README.md")
    make(tmp_path / "README.md")
    with pytest.raises(RecordError, match=rf"README\.md {said}"):
        report.write_readme({})


def test_no_records_is_an_error_that_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(report.paths, "runs", lambda profile: tmp_path)
    with pytest.raises(ReplicationError, match=r"no record of figure 2 on mnist, frey_face.*restore it, train"):
        report.make(make_plan("paper"))


def test_a_reading_of_which_few_runs_are_recorded_is_left_out(monkeypatch, tmp_path):
    # Fails if a batch of `authors`, beside a run of `text` for each figure, says that `text` was tried and reached
    # nothing.
    of_text = report.runs_of_figures(make_plan("paper", reading="text"))
    few = [next(run for run in of_text if run.config.metric == metric) for metric in ("bound", "log_px")]
    for run in [*report.runs_of_figures(make_plan("paper", reading="authors")), *few]:
        (tmp_path / run.config.run_id).symlink_to(report.paths.runs("paper") / run.config.run_id)
    monkeypatch.setattr(report.paths, "runs", lambda profile: tmp_path)
    assert report.runs_of_figures(make_plan("paper", reading="text"))
    assert list(report.make_all()) == ["authors"]
