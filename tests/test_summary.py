"""The verdict as a whole, on the committed records; and the README shows it."""

import json

import pytest

from replication.errors import ReplicationError
from replication.paper import summary, verdict
from replication.paper.plans import make_plan


@pytest.fixture(scope="module")
def found() -> dict[str, summary.Summary]:
    return summary.load_all()


def test_json_has_an_object_per_curve_and_claim(found):
    for name, content in json.loads(summary.as_json(found)).items():
        assert len(content["curves"]) == 48
        assert len({(c["figure"], c["dataset"], c.get("n_latent"), c.get("n_train"), c["algorithm"], c["split"])
                    for c in content["curves"]}) == 48  # fmt: skip
        assert len(content["claims"]) == len(found[name].claims) > 20
        keys = {"claim", "panel", "split", "ours", "paper", "holds", "holds_in_paper"}
        assert all(set(claim) >= keys for claim in content["claims"])


def test_the_text_has_both_readings_side_by_side_and_every_curve(found):
    text = summary.as_text(found)
    first = text.splitlines()[0].split()
    assert first == ["closest", "text"]
    for reading in found.values():
        assert f"Reading {reading.reading.name}: " in text
        assert reading.counts["curves"] == 48
    for name in verdict.CLASSES:
        lines = sum(line.endswith(f" {name}") for line in text.splitlines())
        assert lines == sum(reading.counts[name] for reading in found.values())


def test_the_readme_shows_the_current_verdict(found):
    # Fails when a recorded number moves, or when somebody edits the table: `python -m replication verdict --readme`.
    _, between, _ = summary.readme_block(summary.README.read_text())
    assert between.strip() == summary.as_readme(found)


def test_a_readme_without_markers_is_refused():
    with pytest.raises(ReplicationError, match="must have the lines"):
        summary.readme_block("no markers")


def test_no_records_is_an_error_that_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(summary.paths, "runs", lambda profile: tmp_path)
    with pytest.raises(ReplicationError, match=r"no record of figure 2 on mnist, frey_face.*restore it, train"):
        summary.load(make_plan("paper"))
