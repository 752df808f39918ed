"""The measured variance against one that is known."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from replication import data
from replication.config import RunConfig
from replication.model import networks
from replication.model.estimators import sgvb_b
from replication.studies import gradients

SIZES = ((20, 4), (80, 4))


@pytest.fixture(scope="module")
def config() -> RunConfig:
    return RunConfig(dataset="digits", algorithm="aevb", n_latent=2, n_hidden=8, samples_total=1, learning_rate=0.05)


@pytest.fixture(scope="module")
def table(config) -> pd.DataFrame:
    return gradients.variances(config, (2000,), SIZES, n_pairs=60)


@pytest.fixture(scope="module")
def untrained(config) -> pd.DataFrame:
    return gradients.variances(config, (0,), ((20, 1),), n_pairs=300)


def of(table: pd.DataFrame, estimator: str, m: int, n_samples: int, network: str = "encoder") -> pd.Series:
    return table.query(
        f"samples_evaluated == 2000 and estimator == '{estimator}' and batch_size == {m} "
        f"and n_mc_samples == {n_samples} and network == '{network}'"
    ).iloc[0]


@pytest.fixture(scope="module")
def expected(config) -> dict[str, tuple[float, float]]:
    """The variance for each network with its standard error, by numpy: from 300 minibatches."""
    rng, x_train = np.random.default_rng(0), data.load("digits").x_train
    params = networks.init_params(config, tf.constant(0, tf.int64))

    @partial(tf.function, autograph=False)
    def gradient(x, eps):
        with tf.GradientTape() as tape:
            tape.watch(params)
            elbo = tf.reduce_mean(sgvb_b(params, x, eps).elbo)
        return [
            tf.concat([tf.reshape(g, [-1]) for g in tf.nest.flatten(part)], 0) for part in tape.gradient(elbo, params)
        ]

    gradients = []
    for _ in range(300):
        x = x_train[rng.integers(len(x_train), size=20)]
        gradients.append([g.numpy() for g in gradient(x, rng.normal(size=(1, 20, 2)).astype(np.float32))])
    found = {}
    for name, of in zip(networks.Params._fields, zip(*gradients, strict=True), strict=True):
        squares = ((np.array(of) - np.mean(of, axis=0)) ** 2).sum(axis=1) * 300 / 299
        found[name] = squares.mean(), squares.std(ddof=1) / np.sqrt(300)
    return found


def test_the_variance_is_that_of_the_gradients(untrained, expected):
    # Against numpy and its generator. Fails if a pair shares noise that it should not, if a layer is left out, or if
    # the half is forgotten.
    for network, (variance, standard_error) in expected.items():
        row = untrained.query(f"estimator == 'sgvb_b' and network == '{network}'").iloc[0]
        both = np.hypot(standard_error, row["variance_se"])
        assert both < 0.15 * variance
        assert row["variance"] == pytest.approx(variance, abs=4 * both), network


def test_more_datapoints_vary_less(table):
    # Over independent minibatches the variance falls as 1/M.
    few, many = of(table, "score_function", 20, 4), of(table, "score_function", 80, 4)
    ratio = few["variance"] / many["variance"]
    relative = np.hypot(few["variance_se"] / few["variance"], many["variance_se"] / many["variance"])
    assert abs(ratio - 4) < 4 * ratio * relative


def test_the_ratios_order_the_estimators(table):
    # The argument of section 2.2: without reparameterisation the gradient varies more, and a baseline helps in part.
    # Fails if the table mixes up its estimators, or a ratio is that of another network or size.
    ratio = table.query("samples_evaluated == 2000 and batch_size == 20 and network == 'encoder'")
    ratio = ratio.set_index("estimator")
    naive, baseline = ratio.loc["score_function"], ratio.loc["score_function_baseline"]
    assert baseline["ratio"] > 1 + 2 * baseline["ratio_se"]
    assert naive["ratio"] > baseline["ratio"] + 2 * np.hypot(naive["ratio_se"], baseline["ratio_se"])
    assert ratio.loc["sgvb_b", "ratio"] == 1 and ratio.loc["sgvb_b", "ratio_se"] == pytest.approx(0, abs=1e-12)


def test_the_error_of_a_ratio_is_that_of_pairs():
    # Over 2000 repetitions the ratio scatters as its standard error says, for two estimators that see the same draws.
    # Fails by a factor of 20 if the two are taken as independent.
    rng = np.random.default_rng(0)
    common, own = rng.gamma(4, size=(2000, 60)), rng.gamma(4, 0.1, size=(2000, 60))
    found = [gradients._mean_and_ratio(2 * x + e, x) for x, e in zip(common, own, strict=True)]
    scatter = np.std([row["ratio"] for row in found], ddof=1)
    claimed = np.sqrt(np.mean([row["ratio_se"] ** 2 for row in found]))
    assert claimed == pytest.approx(scatter, rel=4 / np.sqrt(2 * 2000))
