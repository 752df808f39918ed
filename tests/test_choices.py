"""The search for the closest reading: what it sees, what it may choose, and that the readings are what it finds."""

from typing import Literal, get_args, get_origin

import pandas as pd
import pytest

from replication.config import LEFT_OUT_OF_NAMES, RunConfig
from replication.paper import choices, experiments, names, readings, reference
from replication.paper.plans import make_plan
from replication.runs import records
from replication.runs.curves import SIZE

PAPER = make_plan("paper")


def beside_the_paper(nats: float, samples=(1e6, 3e6, 1e7), nats_late: float | None = None, **changes) -> records.Record:
    """A run on MNIST, Nz = 20, whose bound on test is so many nats from the paper's; beyond 3e6 `nats_late`."""
    config = RunConfig(**{
        "dataset": "mnist", "algorithm": "aevb", "n_latent": 20, "n_hidden": 500, "samples_total": 10**7, **changes,
    })  # fmt: skip
    paper = reference.curves(
        metric="bound", dataset="mnist", size=config.n_latent, algorithm=config.algorithm, split="test"
    )
    late = nats if nats_late is None else nats_late
    rows = [
        {"samples_evaluated": x, "split": "test", "measure": "evaluated", "se": 0.5,
         "value": reference.value_at(paper, x) + (nats if x <= 3e6 else late)}
        for x in samples
    ]  # fmt: skip
    return records.Record(config, pd.DataFrame(rows), {})


def of_all_panels(nats: float, **changes) -> list[records.Record]:
    return [beside_the_paper(nats, n_latent=n, **changes) for n in (3, 5, 10, 20, 200)]


def test_distances_are_in_tolerances_and_from_early_samples_only():
    # Fails if the search saw what the verdict judges: late, this run is 50 nats away.
    row = choices.tried([beside_the_paper(-3.0, nats_late=50.0)]).iloc[0]
    assert row["distance"] == pytest.approx(1.5) and row["above"] == pytest.approx(-1.5)
    assert row["until"] == 3_000_000 and row["choice"] == "the text"


def test_only_a_candidate_on_all_panels_can_be_chosen():
    # One panel that fits by chance must not decide; nor a run that ended early.
    lucky = beside_the_paper(0.1, initialisation="fan_in")
    short = of_all_panels(0.2, initialisation="paper_variance", samples=(1e6, 2e6))
    table = choices.tried([lucky, *short, *of_all_panels(1.0)])
    (row,) = choices.chosen(table).to_dict("records")
    assert row["choice"] == "the text" and row["panels"] == 5
    assert table.set_index("choice")["is_complete"].to_dict() == {
        "start of the authors' newest code": False,
        "N(0, 0.01) as a variance": False,
        "the text": True,
    }


@pytest.mark.parametrize(("nats", "chosen"), [(0.95, "the text"), (0.5, "start of the authors' newest code")])
def test_of_equals_the_first_is_chosen(nats, chosen):
    # 0.05 nats are 0.025 tolerances: no reason to leave the paper's words.
    table = choices.tried([*of_all_panels(1.0), *of_all_panels(nats, initialisation="fan_in")])
    assert choices.chosen(table)["choice"].tolist() == [chosen]


def test_wake_sleep_has_the_minibatch_of_aevb():
    rows = [
        {"metric": "bound", "dataset": "frey_face", "algorithm": algorithm, "choice": f"M = {m}", "distance": distance,
         "is_complete": True, "settings": {"batch_size": m}}
        for algorithm, m, distance in (("aevb", 100, 3.0), ("aevb", 313, 0.8), ("wake_sleep", 100, 0.1),
                                       ("wake_sleep", 313, 0.3))
    ]  # fmt: skip
    assert choices.chosen(pd.DataFrame(rows))["choice"].tolist() == ["M = 313", "M = 313"]


def test_the_closest_reading_is_what_the_search_finds():
    # Fails when the reading was set by hand, or when a recorded number of the search moves.
    chosen = choices.chosen(choices.tried(choices.tried_runs())).to_dict("records")
    settings = {(row["metric"], row["dataset"], row["algorithm"]): row["settings"] for row in chosen}
    runs = experiments.figure2(PAPER) + experiments.figure3(PAPER)
    assert {(run.metric, run.dataset, run.algorithm) for run in runs} == set(settings)
    for run in runs:
        expected = settings[run.metric, run.dataset, run.algorithm]
        names = [name for name in choices.VARIED if name != "batch_size" or run.algorithm != "mcem"]
        assert {name: getattr(run, name) for name in names} == {name: expected[name] for name in names}


@pytest.mark.parametrize(
    ("bounds", "chosen"), [((-150, -149, -900), 0.02), ((-150, -150.4, -151), 0.02), ((-150, -151, -160), 0.01)]
)
def test_the_learning_rate_is_the_largest_that_starts_as_well_as_the_best(bounds, chosen):
    table = pd.DataFrame({"n_latent": 3, "learning_rate": choices.LEARNING_RATES, "value": bounds, "se": 0.5})
    assert choices.chosen_learning_rates(table, by=["n_latent"])["chosen"].item() == chosen


@pytest.mark.parametrize("metric", ["bound", "log_px"])
def test_the_learning_rates_of_the_text_are_those_that_the_rule_chooses(metric):
    # Fails when a learning rate of readings.py no longer follows from the recorded first iterations.
    text = PAPER._replace(reading=readings.TEXT)
    by = ["dataset", "algorithm", SIZE[metric]]
    bounds = [*experiments.figure2(text), *experiments.manifolds(text)]
    runs = {"bound": bounds, "log_px": experiments.figure3(text)}[metric]
    table = choices.chosen_learning_rates(choices.first_iterations(metric), by)
    assert table["chosen"].to_dict() == {tuple(getattr(c, name) for name in by): c.learning_rate for c in runs}


@pytest.mark.parametrize("name", LEFT_OUT_OF_NAMES)
def test_each_setting_in_which_runs_differ_has_plain_words(name):
    # Two records, or two readings, may differ in any of these. Fails with a KeyError, or if a reader is shown the value
    # as it is stored, such as near_zero.
    field = RunConfig.model_fields[name]
    values = get_args(field.annotation) if get_origin(field.annotation) is Literal else (0.5,)
    for value in values:
        said = names.choice({name: value})
        assert value == LEFT_OUT_OF_NAMES[name] or (said not in ("the text", str(value)) and "_" not in said)
