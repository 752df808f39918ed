"""Learning rates, and figure 3's warm-up: what decides, and that each reading has those that its rule picks."""

import pandas as pd
import pytest

from replication import data
from replication.config import WARM_UP_STEPS, RunConfig
from replication.errors import DivergedError
from replication.paper import experiments, rates, readings, reference
from replication.paper.plans import make_plan
from replication.paper.rates import LEARNING_RATES
from replication.runs import records, training
from replication.runs.checkpoints import Run
from replication.runs.curves import SIZE


def of_figure_2(learning_rate: float, on_train: float, on_test: float) -> records.Record:
    """A run so many nats above the paper's early curves of AEVB on MNIST with Nz = 20."""
    config = RunConfig(
        dataset="mnist", algorithm="aevb", n_latent=20, n_hidden=500, samples_total=3_000_000,
        learning_rate=learning_rate,
    )  # fmt: skip
    rows = []
    for split, measure, above in (("train", "running_mean", on_train), ("test", "evaluated", on_test)):
        paper = reference.curves(metric="bound", dataset="mnist", size=20, algorithm="aevb", split=split)
        rows += [
            {"samples_evaluated": x, "split": split, "measure": measure, "se": 1.0,
             "value": reference.value_at(paper, x) + above}
            for x in (500_000, 1_000_000, 2_000_000, 3_000_000)
        ]  # fmt: skip
    return records.Record(config, pd.DataFrame(rows), {})


def test_the_bound_is_fitted_on_test_alone():
    # On train the paper's values are means over its own reports. Tolerances are 2 nats.
    table = rates.tried([of_figure_2(0.01, on_train=0, on_test=8), of_figure_2(0.02, on_train=8, on_test=2)])
    assert table["distance"].tolist() == pytest.approx([4, 1], abs=1e-6)
    assert table.loc[table["is_closest"], "learning_rate"].item() == 0.02


def beside_the_paper(
    learning_rate: float, early: float, late: float, n_train: int, limit: float, warm_up_steps: int = 0
) -> records.Record:
    """A run of figure 3 so many nats from the paper's curves up to a number of samples, and beyond."""
    config = RunConfig(
        dataset="mnist", algorithm="mcem", n_latent=3, n_hidden=100, n_train=n_train, batch_size=n_train,
        metric="log_px", samples_total=60_000_000, learning_rate=learning_rate, warm_up_steps=warm_up_steps,
    )  # fmt: skip
    rows = []
    for split in ("train", "test"):
        paper = reference.curves(metric="log_px", dataset="mnist", size=n_train, algorithm="mcem", split=split)
        rows += [
            {"samples_evaluated": x, "split": split, "measure": "evaluated", "se": 1.0,
             "value": reference.value_at(paper, x) + (early if x <= limit else late)}
            for x in range(2_500_000, 60_000_000, 2_500_000)
        ]  # fmt: skip
    return records.Record(config, pd.DataFrame(rows), {})


# Fails if the search saw what the verdict judges, or nothing at all of a curve that begins beyond the limit: with
# N = 50,000 the paper draws Monte Carlo EM from 3.68e7 samples (train) and 4.13e7 (test) on.
@pytest.mark.parametrize(("n_train", "limit"), [(1000, 5e6), (50_000, 4.25e7)])
def test_the_early_curve_decides_or_the_first_point_of_a_later_one(n_train, limit):
    table = rates.tried([
        beside_the_paper(0.02, early=2.5, late=90.0, n_train=n_train, limit=limit),
        beside_the_paper(0.1, early=-5.0, late=0.0, n_train=n_train, limit=limit),
    ])  # fmt: skip
    assert table["until"].tolist() == [limit, limit]
    assert table["learning_rate"].tolist() == [0.02, 0.1] and table["is_closest"].tolist() == [True, False]
    if n_train == 1000:
        assert table["distance"].tolist() == pytest.approx([1.0, 2.0])


@pytest.mark.parametrize(("apart", "closest"), [(0.1, 0.1), (0.5, 0.02)])  # nats; AS_CLOSE are 0.125
def test_of_rates_that_are_as_close_the_larger_is_taken(apart, closest):
    table = rates.tried([
        beside_the_paper(0.02, early=2.5, late=0.0, n_train=1000, limit=5e6),
        beside_the_paper(0.1, early=2.5 + apart, late=0.0, n_train=1000, limit=5e6),
    ])  # fmt: skip
    assert table.loc[table["is_closest"], "learning_rate"].item() == closest


@pytest.mark.parametrize(("apart", "steps"), [(0.1, 2), (0.5, 0)])  # nats; AS_CLOSE are 0.125
def test_of_two_runs_that_are_as_close_the_one_with_a_warm_up_is_taken(apart, steps):
    # Fails if runs with and without one are taken for one curve, or if the smaller rate counts before the warm-up.
    table = rates.tried([
        beside_the_paper(0.1, early=2.5, late=0.0, n_train=1000, limit=5e6),
        beside_the_paper(0.02, early=2.5 + apart, late=0.0, n_train=1000, limit=5e6, warm_up_steps=2),
    ])  # fmt: skip
    assert table.loc[table["is_closest"], "warm_up_steps"].item() == steps
    assert rates.for_reading(table)["warm_up"].tolist() == ["no warm-up", "2 warm-up steps"]


def test_a_candidate_is_as_close_as_the_closest_not_as_the_one_before_it():
    # Fails if each of a row of candidates is AS_CLOSE as the last, so that the chosen one is far from the closest.
    per_panel = pd.DataFrame({
        "size": 1000, "warm_up_steps": [0, 0, 2, 2], "learning_rate": [0.02, 0.1, 0.02, 0.1],
        "distance": [0.5, 0.54, 0.58, 0.62],
    })  # fmt: skip
    assert tuple(rates._closest(per_panel)) == (0, 0.1)


def test_a_candidate_on_one_panel_of_two_is_not_taken():
    # Fails if a rate with which the other panel diverges is picked by the panel that it trains.
    per_panel = pd.DataFrame({
        "size": [5, 10, 5], "warm_up_steps": 101, "learning_rate": [0.02, 0.02, 0.1], "distance": [0.5, 0.5, 0.4],
    })  # fmt: skip
    assert tuple(rates._closest(per_panel)) == (101, 0.02)


@pytest.mark.slow
@pytest.mark.parametrize("panel", [(*of, n) for of, n_latents in rates.DIVERGING.items() for n in n_latents], ids=str)
def test_the_panels_without_a_record_diverge_after_the_warm_up(panel):
    # Notebook 9_readings says so. Fails if a panel was left out although it trains.
    (config,) = [
        run for run in rates.candidates()
        if (run.metric, run.learning_rate) == ("bound", rates.DIVERGING_RATE)
        and (run.dataset, run.algorithm, run.n_latent) == panel
    ]  # fmt: skip
    engine = training.Engine(config, data.load(config.dataset, config.preparation))
    run = Run(engine.initial_state)
    with pytest.raises(DivergedError):
        while run.step < config.warm_up_steps + rates.DIVERGING_WITHIN:
            run, _ = engine.advance(run, config.warm_up_steps + rates.DIVERGING_WITHIN)


def test_panels_that_diverge_have_no_record():
    # Fails if the notebook calls a panel diverging that is in its table.
    tried = [run.config for run in rates.tried_runs() if run.config.metric == "bound"]
    recorded = {
        (run.dataset, run.algorithm, run.n_latent) for run in tried if run.learning_rate == rates.DIVERGING_RATE
    }
    assert recorded and not recorded & {(*of, n) for of, n_latents in rates.DIVERGING.items() for n in n_latents}


def test_the_rates_of_the_reading_are_those_that_are_closest():
    # Fails if a rate or a warm-up was set by hand, if a neighbour was not tried, or when a recorded number moves.
    table = rates.tried(rates.tried_runs())
    closest = table[table["is_closest"]]
    assert len(closest) == len(table.groupby(rates.GROUP)) == 10
    settings = [
        readings.AUTHORS.settings(f"figure{reference.FIGURES[metric]}", *group)
        for metric, *group in closest[rates.GROUP].itertuples(index=False)
    ]
    of_authors = [tuple(some[name] for name in rates.CANDIDATE) for some in settings]
    assert [*closest[rates.CANDIDATE].itertuples(index=False, name=None)] == of_authors
    for group, rows in table.groupby(rates.GROUP):
        assert {*rows["warm_up_steps"]} == {WARM_UP_STEPS[group[2]], *([0] if group[0] == "log_px" else [])}
        for steps, alike in rows.groupby("warm_up_steps"):
            i = LEARNING_RATES.index(alike.loc[alike["distance"].idxmin(), "learning_rate"])
            neighbours = {*LEARNING_RATES[max(0, i - 1) : i + 2]}
            assert neighbours <= {*alike["learning_rate"]}, (group, steps)


@pytest.mark.parametrize(
    ("bounds", "chosen"), [((-150, -149, -900), 0.02), ((-150, -150.4, -151), 0.02), ((-150, -151, -160), 0.01)]
)
def test_the_learning_rate_is_the_largest_that_starts_as_well_as_the_best(bounds, chosen):
    table = pd.DataFrame({"n_latent": 3, "learning_rate": LEARNING_RATES, "value": bounds, "se": 0.5})
    assert rates.by_first_iterations(table, by=["n_latent"])["chosen"].item() == chosen


@pytest.mark.parametrize("metric", ["bound", "log_px"])
def test_the_learning_rates_of_the_text_are_those_that_the_rule_chooses(metric):
    # Fails when a learning rate of readings.py no longer follows from the recorded first iterations.
    text = make_plan("paper", reading=readings.TEXT.name)
    by = ["dataset", "algorithm", SIZE[metric]]
    bounds = [*experiments.figure2(text), *experiments.manifolds(text)]
    runs = {"bound": bounds, "log_px": experiments.figure3(text)}[metric]
    table = rates.by_first_iterations(rates.first_iterations(metric), by)
    assert table["chosen"].to_dict() == {tuple(getattr(c, name) for name in by): c.learning_rate for c in runs}


def test_what_is_chosen_and_what_was_not_tried_are_read_from_the_table():
    # Fails if a candidate with a rival reads as alone, or if a rate that was tried is said to be left out.
    common = {"dataset": "mnist", "algorithm": "aevb", "warm_up_steps": 0}
    tried = pd.DataFrame([
        {**common, "metric": "bound", "n_train": 50_000, "learning_rate": 0.02, "distance": 0.5, "above": 0.1,
         "panels": 5, "is_closest": True},
        {**common, "metric": "bound", "n_train": 50_000, "learning_rate": 0.1, "distance": 0.1, "above": -0.1,
         "panels": 1, "is_closest": False},
        *({**common, "metric": "log_px", "n_train": 1000, "learning_rate": rate, "distance": distance, "above": -3.0,
           "panels": 1, "is_closest": rate == 0.1} for rate, distance in ((0.02, 3.0), (0.1, 0.25))),
    ])  # fmt: skip
    first, second = " ".join(rates.what_is_chosen(tried).split()).split(" Figure 3")
    assert "learning rate 0.02, no warm-up, 0.50 tolerances" in first and "alone with a run on every panel" in first
    assert "learning rate 0.1, no warm-up, 0.25 tolerances" in second and "alone" not in second
    left_out = " ".join(rates.left_out(tried).split())
    assert left_out.startswith("Figure 3, MNIST, AEVB, N = 1000, no warm-up: 0.01 was not tried, since with 0.02 ours")
    assert "is 3.0 tolerances below" in left_out and "Figure 2" not in left_out
