"""Readings compared: the rule for the learning rate, distances to the paper, what two readings change."""

import pandas as pd
import pytest

from replication.config import RunConfig
from replication.paper import claims, experiments, readings, reference
from replication.runs import records


def run_of(learning_rate: float, bound: float, n_latent: int = 3, **facts) -> records.Record:
    config = RunConfig(
        dataset="mnist", algorithm="aevb", n_latent=n_latent, n_hidden=5, samples_total=1, learning_rate=learning_rate
    )
    curve = pd.DataFrame([{"samples_evaluated": 2e5, "split": "train", "bound": bound, "bound_se": 0.5}])
    return records.Record(config, curve, facts)


@pytest.mark.parametrize(
    ("bounds", "chosen"), [((-150, -149, -900), 0.02), ((-150, -150.4, -151), 0.02), ((-150, -151, -160), 0.01)]
)
def test_the_learning_rate_is_the_largest_that_starts_as_well_as_the_best(bounds, chosen):
    runs = [run_of(rate, bound) for rate, bound in zip((0.01, 0.02, 0.1), bounds, strict=True)]
    assert readings.chosen_learning_rates(runs)["chosen"].item() == chosen


def test_by_rule_goes_by_the_first_iterations():
    # Fails if the rule looked at the end, where the other learning rate is ahead.
    runs = [run_of(0.01, -150), run_of(0.02, -149)]
    ends = [run.curve.assign(samples_evaluated=1e7, bound=bound) for run, bound in zip(runs, (-100, -120), strict=True)]
    runs = [run._replace(curve=pd.concat([run.curve, end])) for run, end in zip(runs, ends, strict=True)]
    assert [run.config.learning_rate for run in readings.by_rule(runs, 200_000)] == [0.02]
    assert [run.config.learning_rate for run in readings.by_rule(runs, 10_000_000)] == [0.01]


def test_the_learning_rates_of_figure_2_are_those_that_the_rule_chooses():
    # Fails when a default of experiments.py no longer follows from the recorded first iterations.
    settings = experiments.settings("paper")
    table = readings.chosen_learning_rates(records.existing(readings.learning_rates(settings), "paper"))
    runs = {*experiments.figure2(settings), *experiments.manifolds(settings)}
    assert table["chosen"].to_dict() == {(c.dataset, c.algorithm, c.n_latent): c.learning_rate for c in runs}


def test_the_learning_rates_of_figure_3_are_those_that_the_rule_chooses():
    settings = experiments.settings("paper")
    early = records.existing(readings.learning_rates(settings, figure=3), "paper")
    table = readings.chosen_learning_rates(early, by=["n_train", "algorithm"])
    assert table["chosen"].to_dict() == {
        (c.n_train, c.algorithm): c.learning_rate for c in experiments.figure3(settings)
    }
    assert len(early) == 18


def test_a_latent_variable_that_carries_nothing_is_not_active():
    use = claims.latent_use(
        [run_of(0.1, 0, kl_per_dimension=[0.001, 3.0, 0.5]), run_of(0.1, 0, 1, kl_per_dimension=[2.0])]
    )
    assert use.query("n_latent == 3")["kl"].tolist() == [3.0, 0.5, 0.001]
    units = claims.active_units(use)
    assert units["active"].to_dict() == {1: 1, 3: 2}
    assert units.loc[3, "kl"] == pytest.approx(3.501) and units.loc[3, "kl_of_inactive"] == pytest.approx(0.001)


def test_a_reading_explains_a_curve_that_lies_between_others():
    index = pd.MultiIndex.from_tuples(
        [(1000, "aevb", "paper_sd", 0.02), (1000, "aevb", "paper_sd", 0.1)],
        names=["n_train", "algorithm", "initialisation", "learning_rate"],
    )
    columns = pd.MultiIndex.from_product([["ours", "paper", "difference"], ["test", "train"]], names=[None, "split"])
    table = pd.DataFrame(
        [[-150.0, -140, -148, -130, -2, -10], [-147.0, -135, -148, -130, 1, -5]], index=index, columns=columns
    )
    assert readings.explained(table)["between"].to_dict() == {
        (1000, "aevb", "test"): True,
        (1000, "aevb", "train"): False,
    }
    assert readings.closeness(table)["mean"].to_dict() == {
        (1000, "paper_sd", 0.02): 6,
        (1000, "paper_sd", 0.1): 3,
    }


def test_a_learning_rate_of_figure_3_is_chosen_by_log_px():
    # Fails if the rule looked at the bound, which Monte Carlo EM does not have.
    runs = [run_of(rate, 0) for rate in (0.01, 0.1)]
    runs = [run._replace(config=run.config.replace(metric="log_px")) for run in runs]
    curves = [run.curve.assign(log_px=value, log_px_se=1.0) for run, value in zip(runs, (-150, -140), strict=True)]
    runs = [run._replace(curve=curve) for run, curve in zip(runs, curves, strict=True)]
    table = readings.chosen_learning_rates(runs, by=["dataset", "n_train", "algorithm"])
    assert table.loc[("mnist", 50_000, "aevb"), "chosen"] == 0.1


def reading_of(initialisation: str, learning_rate: float, bound: float) -> records.Record:
    """A run whose bound on test is always so many nats from the paper's."""
    config = run_of(learning_rate, 0, 20).config.replace(initialisation=initialisation)
    paper = reference.load(2).query("dataset == 'mnist' and n_latent == 20 and algorithm == 'aevb' and split == 'test'")
    rows = [
        {"samples_evaluated": x, "split": "test", "bound": reference.value_at(paper, x) + bound, "bound_se": 0.5}
        for x in (5e5, 1e6)
    ]
    return records.Record(config, pd.DataFrame(rows), {})


def test_the_favoured_initialisation_is_the_closest_with_its_own_learning_rate():
    # fan_in is closest with a learning rate that the rule would not choose: that must not count.
    runs = [reading_of("paper_sd", 0.01, -2), reading_of("fan_in", 0.01, 1), reading_of("fan_in", 0.02, 6)]
    grid = readings.distances(runs)
    assert grid["difference"].round(0).tolist() == [-2, 1, 6] and grid["distance"].round(0).tolist() == [2, 1, 6]
    index = pd.MultiIndex.from_tuples(
        [("mnist", "aevb", 20, "paper_sd"), ("mnist", "aevb", 20, "fan_in")],
        names=["dataset", "algorithm", "n_latent", "initialisation"],
    )
    chosen = pd.DataFrame({"chosen": [0.01, 0.02]}, index=index)
    table = readings.favoured(grid, chosen)
    assert table.index.tolist() == ["paper_sd", "fan_in"]
    assert table["overall"].tolist() == pytest.approx([1, 3], abs=0.2), "in units of the verdict's 2 nats"


def test_two_readings_are_compared_where_both_have_arrived():
    # Fails if a longer run were compared at its own end.
    longer = reading_of("paper_sd", 0.01, -2)
    shorter = reading_of("fan_in", 0.01, 1)
    table = readings.two_readings([longer], [shorter._replace(curve=shorter.curve.iloc[:1])])
    row = table.iloc[0]
    assert len(table) == 1 and row["samples_evaluated"] == 5e5
    assert (row["difference"], row["difference_other"]) == (pytest.approx(-2), pytest.approx(1))


def test_the_text_of_two_readings_counts_what_is_within_the_tolerance():
    table = readings.two_readings([reading_of("paper_sd", 0.01, -6)], [reading_of("fan_in", 0.01, 1)])
    text = readings.two_readings_as_text(table, ("ours", "theirs"))
    assert "of 1 curves: 0 with ours, 1 with theirs" in text and "-6.0" in text


@pytest.mark.parametrize(("last", "leaves"), [(700.0, 1_000_000), (600.0, "")])
def test_a_run_leaves_the_independent_gaussian_at_its_first_point_above(last, leaves):
    config = RunConfig(dataset="frey_face", algorithm="wake_sleep", n_latent=2, n_hidden=5, samples_total=1)
    rows = [
        {"samples_evaluated": x, "split": "train", "bound": bound} for x, bound in ((100_000, 575), (1_000_000, last))
    ]
    run = records.Record(config, pd.DataFrame(rows), {"independent_gaussian": {"train": 576.0}})
    row = claims.escapes([run]).iloc[0]
    assert row["leaves at"] == leaves and row["above"] == last - 576
