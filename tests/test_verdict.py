"""Comparisons of records with the paper."""

import numpy as np
import pandas as pd
import pytest

from replication import experiments, paths, readings, records, verdict
from replication.config import RunConfig


def curves_of(bound: float, samples: int = 1_000_000, **changes) -> pd.DataFrame:
    row = {"dataset": "mnist", "algorithm": "aevb", "n_latent": 20, "seed": 0, "split": "test", "bound_se": 0.3}
    early = row | {"samples_evaluated": 100_000, "bound": -500.0}
    return pd.DataFrame([early | changes, row | {"samples_evaluated": samples, "bound": bound} | changes])


def test_final_bound_is_compared_at_the_same_number_of_samples():
    table = verdict.final_values(curves_of(-120.0))
    assert len(table) == 1
    assert table.loc[0, "ours"] == -120 and table.loc[0, "paper"] == pytest.approx(-124.2, abs=0.3)
    assert table.loc[0, "difference"] == pytest.approx(4.2, abs=0.3)


def test_no_difference_where_the_paper_shows_no_curve():
    assert np.isnan(verdict.final_values(curves_of(-120.0, samples=200_000)).loc[0, "difference"])
    assert np.isnan(verdict.final_values(curves_of(-20.0, dataset="digits")).loc[0, "difference"])


def test_seeds_are_averaged():
    both = pd.concat([curves_of(-120.0), curves_of(-122.0, seed=1)])
    assert verdict.final_values(both).loc[0, "ours"] == -121


def test_side_by_side_keeps_every_number():
    long = verdict.final_values(pd.concat([curves_of(-120.0), curves_of(-119.0, split="train")]))
    wide = verdict.side_by_side(long)
    assert wide[("test", "ours")].item() == -120 and wide[("train", "ours")].item() == -119


def test_independent_gaussian_stands_beside_the_last_bound():
    config = RunConfig(dataset="frey_face", algorithm="wake_sleep", n_latent=2, n_hidden=200, samples_total=10**6)
    baseline = {"independent_gaussian": {"train": 576.2, "test": 579.1}}
    curve = curves_of(575.0, dataset="frey_face")
    record = records.Record(config, pd.concat([curve, curve.assign(split="train")]), baseline)
    table = verdict.against_independent_gaussian([record]).set_index("split")
    assert table.loc["test", "difference"] == pytest.approx(575 - 579.1)
    assert verdict.against_independent_gaussian([record._replace(facts={})]).empty


def marginal_curves() -> pd.DataFrame:
    """Figure 3 in which everything is ordered as in the paper, reached to 10 million by all but MCEM on much data."""
    level = {(1000, "aevb"): -115, (1000, "wake_sleep"): -130, (1000, "mcem"): -118}
    level |= {(50_000, "aevb"): -135, (50_000, "wake_sleep"): -140, (50_000, "mcem"): -160}
    return pd.DataFrame([
        {"dataset": "mnist", "n_train": n, "algorithm": algorithm, "split": split, "samples_evaluated": x,
         "log_px": value, "log_px_se": 1.0}
        for (n, algorithm), value in level.items() for split in ("train", "test")
        for x in (1_000_000, 5_000_000, 10_000_000) if not (algorithm == "mcem" and n == 50_000 and x > 5_000_000)
    ])  # fmt: skip


def test_marginal_likelihood_is_compared_at_equal_samples():
    table = verdict.marginal_likelihoods(marginal_curves()).set_index(["n_train", "algorithm", "split", "millions"])
    row = table.loc[(1000, "aevb", "train", 10)]
    assert row["ours"] == -115 and row["difference"] == pytest.approx(-115 - row["paper"])
    assert -125 < row["paper"] < -112, "the paper's curve passes there"


def test_other_count_of_samples_moves_our_curve():
    # Counting N per step, our value at 5 million stands beside the paper's at 1 million.
    mcem = marginal_curves().query("algorithm == 'mcem'")
    mcem = mcem.assign(log_px=-mcem["samples_evaluated"] / 1e6)
    table = verdict.marginal_likelihoods(mcem, millions=(1, 2), scale=5)
    assert table[table["n_train"] == 1000].groupby("millions")["ours"].first().to_dict() == {1: -5, 2: -10}


def test_orderings_are_computed_where_all_three_have_been():
    # On much data MCEM has only reached 5 million: comparing elsewhere would compare unequal samples.
    table = verdict.orderings(marginal_curves())
    assert table["holds"].all() and len(table) == 6
    assert table.groupby("n_train")["millions"].first().to_dict() == {1000: 10, 50_000: 5}
    swapped = marginal_curves().replace({"algorithm": {"aevb": "wake_sleep", "wake_sleep": "aevb"}})
    assert verdict.orderings(swapped)["holds"].sum() == 2


def run_of(stepsize: float, bound: float, n_latent: int = 3, **facts) -> records.Record:
    config = RunConfig(
        dataset="mnist", algorithm="aevb", n_latent=n_latent, n_hidden=5, samples_total=1, learning_rate=stepsize
    )
    curve = pd.DataFrame([{"samples_evaluated": 2e5, "split": "train", "bound": bound, "bound_se": 0.5}])
    return records.Record(config, curve, facts)


@pytest.mark.parametrize(
    ("bounds", "chosen"), [((-150, -149, -900), 0.02), ((-150, -150.4, -151), 0.02), ((-150, -151, -160), 0.01)]
)
def test_the_stepsize_is_the_largest_that_starts_as_well_as_the_best(bounds, chosen):
    runs = [run_of(stepsize, bound) for stepsize, bound in zip((0.01, 0.02, 0.1), bounds, strict=True)]
    assert verdict.chosen_stepsizes(runs)["chosen"].item() == chosen


def test_the_stepsizes_of_figure_2_are_those_that_the_rule_chooses():
    # Fails when a default of experiments.py no longer follows from the recorded first iterations.
    settings, folder = experiments.settings("paper"), paths.runs("paper")
    table = verdict.chosen_stepsizes([records.load(config, folder) for config in readings.stepsizes(settings)])
    runs = {*experiments.figure2(settings), *experiments.manifolds(settings)}
    assert table["chosen"].to_dict() == {(c.dataset, c.algorithm, c.n_latent): c.learning_rate for c in runs}


def test_a_latent_variable_that_carries_nothing_is_not_active():
    use = verdict.latent_use(
        [run_of(0.1, 0, kl_per_dimension=[0.001, 3.0, 0.5]), run_of(0.1, 0, 1, kl_per_dimension=[2.0])]
    )
    assert use.query("n_latent == 3")["kl"].tolist() == [3.0, 0.5, 0.001]
    units = verdict.active_units(use)
    assert units["active"].to_dict() == {1: 1, 3: 2}
    assert units.loc[3, "kl"] == pytest.approx(3.501) and units.loc[3, "kl_of_inactive"] == pytest.approx(0.001)


def test_a_reading_explains_a_curve_that_lies_between_others():
    index = pd.MultiIndex.from_tuples(
        [(1000, "aevb", "paper_sd", 0.02), (1000, "aevb", "paper_sd", 0.1)],
        names=["n_train", "algorithm", "initialisation", "stepsize"],
    )
    columns = pd.MultiIndex.from_product([["ours", "paper", "difference"], ["test", "train"]], names=[None, "split"])
    readings = pd.DataFrame(
        [[-150.0, -140, -148, -130, -2, -10], [-147.0, -135, -148, -130, 1, -5]], index=index, columns=columns
    )
    assert verdict.explained(readings)["between"].to_dict() == {
        (1000, "aevb", "test"): True,
        (1000, "aevb", "train"): False,
    }
    assert verdict.closeness(readings)["mean"].to_dict() == {(1000, "paper_sd", 0.02): 6, (1000, "paper_sd", 0.1): 3}
