"""Comparisons of records with the paper."""

import numpy as np
import pandas as pd
import pytest

from replication import records, verdict
from replication.config import RunConfig


def curves_of(bound: float, samples: int = 1_000_000, **changes) -> pd.DataFrame:
    row = {"dataset": "mnist", "algorithm": "aevb", "n_latent": 20, "seed": 0, "split": "test", "bound_se": 0.3}
    early = row | {"samples_evaluated": 100_000, "bound": -500.0}
    return pd.DataFrame([early | changes, row | {"samples_evaluated": samples, "bound": bound} | changes])


def test_final_bound_is_compared_at_the_same_number_of_samples():
    table = verdict.final_bounds(curves_of(-120.0))
    assert len(table) == 1
    assert table.loc[0, "ours"] == -120 and table.loc[0, "paper"] == pytest.approx(-124.2, abs=0.3)
    assert table.loc[0, "difference"] == pytest.approx(4.2, abs=0.3)


def test_no_difference_where_the_paper_shows_no_curve():
    assert np.isnan(verdict.final_bounds(curves_of(-120.0, samples=200_000)).loc[0, "difference"])
    assert np.isnan(verdict.final_bounds(curves_of(-20.0, dataset="digits")).loc[0, "difference"])


def test_seeds_are_averaged():
    both = pd.concat([curves_of(-120.0), curves_of(-122.0, seed=1)])
    assert verdict.final_bounds(both).loc[0, "ours"] == -121


def test_side_by_side_keeps_every_number():
    long = verdict.final_bounds(pd.concat([curves_of(-120.0), curves_of(-119.0, split="train")]))
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
