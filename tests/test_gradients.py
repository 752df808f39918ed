"""The measured variance against one that is known."""

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from replication import data, draws
from replication.config import RunConfig
from replication.model import networks
from replication.model.estimators import sgvb_b
from replication.runs import gradients

SIZES = ((20, 4), (80, 4))


@pytest.fixture(scope="module")
def config() -> RunConfig:
    return RunConfig(dataset="digits", algorithm="aevb", n_latent=2, n_hidden=8, samples_total=1, learning_rate=0.05)


@pytest.fixture(scope="module")
def table(config) -> pd.DataFrame:
    return gradients.variances(config, (2000,), SIZES, n_pairs=60)


def of(table: pd.DataFrame, estimator: str, m: int, n_samples: int, network: str = "encoder") -> pd.Series:
    return table.query(
        f"samples_evaluated == 2000 and estimator == '{estimator}' and batch_size == {m} "
        f"and n_mc_samples == {n_samples} and network == '{network}'"
    ).iloc[0]


def test_the_variance_is_that_of_the_gradients(config):
    # Against numpy's variance of single gradients. Fails if a pair shares its noise, or if the half is forgotten.
    table = gradients.variances(config, (0,), ((20, 1),), n_pairs=200)
    digits = data.load("digits")
    params = networks.init_params(config, tf.constant(0, tf.int64))

    @tf.function
    def encoder_gradient(i):
        x = tf.gather(digits.x_train, draws.indices(draws.stream(7, i, "minibatch"), 1500, 20))
        with tf.GradientTape() as tape:
            tape.watch(params)
            elbo = tf.reduce_mean(sgvb_b(params, x, draws.normal(draws.stream(7, i, "eps"), [1, 20, 2])).elbo)
        return tf.concat([tf.reshape(g, [-1]) for g in tf.nest.flatten(tape.gradient(elbo, params).encoder)], 0)

    expected = np.array([encoder_gradient(tf.constant(i, tf.int64)) for i in range(400)]).var(axis=0, ddof=1).sum()
    row = table.query("estimator == 'sgvb_b' and network == 'encoder'").iloc[0]
    assert row["variance"] == pytest.approx(expected, abs=6 * row["variance_se"])


def test_more_datapoints_vary_less(table):
    # Over independent minibatches the variance falls as 1/M.
    few, many = of(table, "score_function", 20, 4), of(table, "score_function", 80, 4)
    ratio = few["variance"] / many["variance"]
    relative = np.hypot(few["variance_se"] / few["variance"], many["variance_se"] / many["variance"])
    assert abs(ratio - 4) < 4 * ratio * relative


def test_the_ratios_order_the_estimators(table):
    ratio = gradients.ratios(table).query("samples_evaluated == 2000 and batch_size == 20 and network == 'encoder'")
    ratio = ratio.set_index("estimator")["ratio"]
    assert ratio["sgvb_b"] == 1
    assert 1 < ratio["score_function_baseline"] < ratio["score_function"]


def test_the_decoder_does_not_care(table):
    ratio = gradients.ratios(table).query("network == 'decoder'")
    np.testing.assert_allclose(ratio["ratio"], 1, rtol=1e-3)


def test_the_noise_of_z_is_a_part(table):
    assert (table["variance_of_z"] < table["variance"] + 4 * table["variance_se"]).all()
