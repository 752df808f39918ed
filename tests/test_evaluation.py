"""What a curve shows: the sizes that are stated, and two estimates of log p(x) that agree on a trained model."""

import numpy as np
import pytest
import tensorflow as tf

from replication import data, draws
from replication.config import RunConfig
from replication.runs import checkpoints, evaluation, records, training


def test_datapoints_are_the_stated_ones(tiny):
    digits = data.load("digits")
    assert {split: len(x) for split, x in evaluation.datapoints(tiny, digits).items()} == {"train": 1500, "test": 297}
    full_vb = evaluation.datapoints(tiny.replace(algorithm="full_vb", n_train=1400), digits)
    assert {split: len(x) for split, x in full_vb.items()} == {"train": 1400, "test": 297}
    log_px = evaluation.datapoints(tiny.replace(metric="log_px", n_train=1200), digits)
    assert len(log_px["train"]) == 1000
    np.testing.assert_array_equal(log_px["train"], digits.x_train[:1000])


@pytest.mark.filterwarnings("ignore:.*unreliable")
def test_both_estimates_agree_on_a_trained_model(tmp_path):
    # With and without an encoder, which share compiled programs. Fails if one of them estimates another quantity, the
    # bound for instance.
    for algorithm, batch_size in (("aevb", 100), ("mcem", 297)):
        config = RunConfig(
            dataset="digits",
            algorithm=algorithm,
            n_latent=2,
            n_hidden=20,
            n_train=297,  # as many as in test: one compiled program serves both
            batch_size=batch_size,
            metric="log_px",
            learning_rate=0.1,
            samples_total=50_000,
        )
        curve = training.train(config, tmp_path).curve
        assert set(curve["split"]) == {"train", "test"}
        assert (curve["difference"].abs() < 0.06 + 4 * curve["difference_se"]).all(), algorithm
        assert (curve["difference_se"] < 0.05).all() and (curve["acceptance"] > 0.7).all(), algorithm
        assert (curve["n_unreliable"] < 0.1 * config.n_train).all() and (curve["n_unreliable_importance"] < 5).all()
        assert records.is_complete(config, tmp_path)


def test_train_and_test_have_noise_of_their_own(tiny):
    # On equal datapoints the two rows differ by their noise alone.
    digits = data.load("digits")
    engine = training.Engine(tiny.replace(algorithm="full_vb"), digits)
    engine.x_eval = dict.fromkeys(("train", "test"), engine.x_eval["test"])
    train, test = engine.evaluate(checkpoints.Run(engine.initial_state), is_end=True)
    assert train["reconstruction"] != test["reconstruction"] and train["kl"] == test["kl"]


def test_a_mean_with_a_nan_is_a_nan(tiny):
    digits = data.load("digits")
    params = training.Engine(tiny, digits).initial_state.params
    x = digits.x_test[:5].copy()
    x[2] = np.nan
    row = evaluation.bound(tiny, params, tf.constant(x), draws.stream(0, 0, "evaluation"))
    assert np.isnan(row["value"]) and np.isnan(row["se"])
