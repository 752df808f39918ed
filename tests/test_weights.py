"""The weights that ship with the clone: complete, small, those of the recorded run; and what a damaged file says."""

import eps_noise
import numpy as np
import pandas as pd
import pytest

from replication import paths
from replication.config import RunConfig
from replication.errors import RecordError
from replication.model import networks
from replication.paper import experiments
from replication.paper.plans import make_plan
from replication.runs import records, training

SHIPPED = experiments.decoded(make_plan("paper"))
# Of MNIST one: all five would take the weights of the clone beyond 25 MB.
WAKE_SLEEP = [
    run
    for run in experiments.figure2(make_plan("paper"))
    if run.algorithm == "wake_sleep" and (run.dataset == "frey_face" or run.n_latent == 3)
]
MAX_Z = 4  # standard errors: one of ten models exceeds them once in 1600 times


def deviations(config: RunConfig, weights: dict, bounds: pd.Series) -> np.ndarray:
    """How far recorded test bounds are from those of the weights, in standard errors of their difference.

    They differ by the draws of eps alone, one for the record. Half precision adds up to 0.09 standard errors.
    """
    mean, sd = eps_noise.bound(config, weights, "test")
    return (bounds.to_numpy() - mean) / (sd * np.sqrt(1 + 1 / eps_noise.N_DRAWS))


@pytest.fixture
def trained(tiny, tmp_path) -> tuple[RunConfig, networks.Params]:
    training.train(tiny, tmp_path)
    return tiny, tmp_path


def test_weights_come_back_as_they_were(trained):
    # Fails if a layer is stored under another's name: the bound would be another model's.
    config, folder = trained
    on_test = records.require(config, folder).curve.query("split == 'test'")
    assert abs(deviations(config, records.load_weights(config, folder), on_test["value"])[-1]) < MAX_Z


def test_truncated_foreign_and_missing_weights_are_refused(trained):
    # Fails if anything but the bytes that the run wrote is taken for its weights.
    config, folder = trained
    training.train(config.replace(seed=1), folder)
    file = folder / config.run_id / records.WEIGHTS
    foreign = folder / config.replace(seed=1).run_id / records.WEIGHTS
    for content in (file.read_bytes()[:-100], foreign.read_bytes()):
        file.write_bytes(content)
        with pytest.raises(RecordError, match="not what was written"):
            records.load_weights(config, folder)
    file.unlink()
    with pytest.raises(RecordError, match=r"weights\.npz is missing.*Restore it.*delete the folder"):
        records.load_weights(config, folder)


def test_weights_of_a_longer_run_are_refused(trained):
    # Weights belong to the last row: a figure of the run at 2,000 samples must not show those after 4,000.
    config, folder = trained
    with pytest.raises(RecordError, match="after 4,000 samples, beyond the 2,000 that are asked for"):
        records.load_weights(config.replace(samples_total=2000), folder)


@pytest.mark.parametrize("config", SHIPPED, ids=lambda config: f"{config.dataset}-{config.n_latent}")
def test_shipped_weights_give_the_recorded_bound(config, load_or_skip):
    # Fails if half precision costs much, or if the weights are those of an earlier evaluation point: one in the middle
    # of the curve is told apart; that before the last need not be, since a run may end on a plateau.
    load_or_skip(config.dataset)
    record = records.require(config, paths.runs("paper"))
    bounds = record.curve.query("split == 'test'")["value"]
    earlier_and_last = bounds.iloc[[len(bounds) // 2, -1]]
    earlier, last = deviations(config, records.load_weights(config, paths.runs("paper")), earlier_and_last)
    assert record.samples_evaluated >= 10_000_000
    assert abs(last) < MAX_Z < abs(earlier)


@pytest.mark.parametrize("config", WAKE_SLEEP, ids=lambda config: f"{config.dataset}-{config.n_latent}")
def test_wake_sleep_that_the_verdict_judges_has_the_recorded_bound(config, load_or_skip):
    # From weights in full precision: in half precision its narrow distributions have another bound. Fails if the curve
    # that the verdict judges is not that of the weights.
    load_or_skip(config.dataset)
    weights = records.load_weights(config, paths.runs("paper"))
    stored = np.load(paths.runs("paper") / config.run_id / records.WEIGHTS)
    assert {stored[name].dtype for name in weights} == {np.dtype("float32")}
    on_test = records.require(config, paths.runs("paper")).curve.query("split == 'test'")
    assert abs(deviations(config, weights, on_test["value"].iloc[-1:])[0]) < MAX_Z


def test_shipped_weights_are_small():
    files = [paths.runs("paper") / config.run_id / records.WEIGHTS for config in [*SHIPPED, *WAKE_SLEEP]]
    assert sum(file.stat().st_size for file in files) < 25e6
