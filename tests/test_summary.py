"""The verdict as a whole, on the committed records; and the README shows it."""

import json

import pytest

from replication.errors import ReplicationError
from replication.paper import experiments, summary


@pytest.fixture(scope="module")
def found() -> summary.Statement:
    return summary.load(experiments.settings("paper"))


def test_json_has_an_object_per_curve_and_claim(found):
    content = json.loads(summary.as_json(found))
    assert len(content["curves"]) == 48 and sum(content["counts"].values()) == 48
    assert len({(c["figure"], c["dataset"], c.get("n_latent"), c.get("n_train"), c["algorithm"], c["split"])
                for c in content["curves"]}) == 48  # fmt: skip
    assert len(content["claims"]) == len(found.claims) > 40
    assert all(set(claim) >= {"claim", "panel", "split", "ours", "paper", "holds"} for claim in content["claims"])


def test_text_has_every_curve(found):
    text = summary.as_text(found)
    assert sum(text.count(f" {word}\n") for word in summary.WORDS) >= 47
    assert text.startswith("Of the paper's 48 curves:")


def test_the_readme_shows_the_current_verdict(found):
    # Fails when a recorded number moves, or when somebody edits the table: `python -m replication verdict --readme`.
    _, between, _ = summary.readme_block(summary.README.read_text())
    assert between.strip() == summary.as_markdown(found)


def test_every_worse_curve_of_figure_2_has_a_cause(found):
    # Fails when a new record makes a curve worse that no recorded reading of the paper explains.
    assert len(found.causes) == found.curves[2]["verdict"].eq("worse").sum() > 0
    assert found.causes["explains"].all(), found.causes
    assert f"{len(found.causes)} are within the tolerance" in summary.in_words(found.causes)


def test_without_other_readings_nothing_is_explained(found):
    alone = found._replace(tried={})
    assert not alone.causes["explains"].any() and len(alone.causes) == len(found.causes)
    assert "0 are within the tolerance" in summary.as_text(alone)
    assert json.loads(summary.as_json(alone))["causes"][0]["there"] is None
    assert summary.in_words(alone.causes.iloc[:0]) == "No curve of figure 2 is worse."


def test_a_readme_without_markers_is_refused():
    with pytest.raises(ReplicationError, match="must have the lines"):
        summary.readme_block("no markers")


def test_no_records_is_an_error_that_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(summary.paths, "runs", lambda profile: tmp_path)
    with pytest.raises(ReplicationError, match=r"no record of figure 2 on mnist, frey_face.*restore it, train"):
        summary.load(experiments.settings("paper"))
