"""The lower bound against exact integration over a one-dimensional z."""

from functools import partial

import numpy as np
import pytest
import scipy.integrate
import tensorflow as tf
import tensorflow_probability as tfp
from test_networks import params_of

from replication import draws
from replication.config import ConfigError, RunConfig
from replication.model import networks
from replication.model.estimators import ESTIMATORS, EstimatorError, require, sgvb_b

GRID = np.linspace(-8, 8, 4001, dtype=np.float32)[:, None]


@pytest.fixture(scope="module")
def exact():
    """A model with one latent variable: its bound, KL and log p(x) per datapoint by quadrature."""
    params = params_of("digits", "paper_variance", n_latent=1)
    x = np.random.default_rng(0).random((4, 64), np.float32)
    q = networks.encode(params.encoder, x)
    log_px = networks.decode(params.decoder, GRID[:, None]).log_prob(x).numpy().astype(float)  # [4001, 4]
    log_prior = networks.prior(1).log_prob(GRID).numpy()[:, None].astype(float)
    log_q = q.log_prob(GRID[:, None]).numpy().astype(float)

    def integrate(values):
        return scipy.integrate.simpson(values, x=GRID[:, 0].astype(float), axis=0)

    return {
        "params": params,
        "x": x,
        "log_px_given_z": integrate(np.exp(log_q) * log_px),
        "kl": integrate(np.exp(log_q) * (log_q - log_prior)),
        "log_px": np.log(integrate(np.exp(log_prior + log_px))),
    }


def test_sgvb_b_is_unbiased(exact):
    # Fails with a wrong sign of the KL, a variance for a standard deviation, or a dropped likelihood term.
    n = 4000
    eps = draws.normal(draws.stream(0, 0, "eps"), [n, 1, 4, 1])
    values = np.array([sgvb_b(exact["params"], exact["x"], eps[i]).log_px_given_z for i in range(0, n, 40)])
    many = sgvb_b(exact["params"], exact["x"], tf.reshape(eps, [n, 4, 1]))
    standard_error = values.std(axis=0) / np.sqrt(n)
    assert np.all(np.abs(many.log_px_given_z - exact["log_px_given_z"]) < 4 * standard_error)
    np.testing.assert_allclose(many.kl, exact["kl"], rtol=1e-3)


@pytest.mark.parametrize("name", list(ESTIMATORS))
def test_every_estimator_gives_the_bound(exact, name):
    # Fails if a term of one estimator has another sign, weight or distribution, by 4.5 standard errors.
    eps = draws.normal(draws.stream(0, 5, "eps"), [40, 1000, 4, 1])
    elbo = np.array([ESTIMATORS[name](exact["params"], exact["x"], part).elbo for part in eps], np.float64)
    bound = exact["log_px_given_z"] - exact["kl"]
    standard_error = elbo.std(axis=0, ddof=1) / np.sqrt(len(elbo))
    assert elbo.shape == (40, 4) and np.all(standard_error < 0.02)
    assert np.all(np.abs(elbo.mean(axis=0) - bound) < 4.5 * standard_error)
    assert np.all(elbo.mean(axis=0) < exact["log_px"])


def test_more_samples_of_z_vary_less(exact):
    # The variance of a mean over L samples is 1/L of the variance of one.
    spread = {}
    for n_samples in (1, 16):
        all_eps = draws.normal(draws.stream(0, n_samples, "eps"), [200, n_samples, 4, 1])
        one = tf.function(lambda eps: sgvb_b(exact["params"], exact["x"], eps).log_px_given_z, autograph=False)
        spread[n_samples] = np.var([one(eps) for eps in all_eps], axis=0).mean()
    assert spread[1] / spread[16] == pytest.approx(16, rel=0.4)


def gradient(params, estimate):
    """Gradients of the summed bound by name, for a few layers of either network."""
    with tf.GradientTape() as tape:
        tape.watch(params)
        total = tf.reduce_sum(estimate(params))
    found = tape.gradient(total, params)
    layers = (found.encoder.mean.w, found.encoder.log_var.w, found.encoder.log_var.b, found.decoder.hidden.w)
    return tf.concat([tf.reshape(layer, [-1]) for layer in layers], axis=0)


@pytest.fixture(scope="module")
def exact_gradient(exact):
    """The gradient of the bound by quadrature over z, differentiated as a sum over the grid."""

    def bound(params):
        q = networks.encode(params.encoder, exact["x"])
        log_q = q.log_prob(GRID[:, None])
        f = networks.log_joint(params.decoder, exact["x"], GRID[:, None]) - log_q
        return tf.exp(log_q) * f * (GRID[1, 0] - GRID[0, 0])

    return gradient(exact["params"], bound).numpy()


@pytest.mark.parametrize("name", list(ESTIMATORS))
def test_every_gradient_is_unbiased(exact, exact_gradient, name):
    # Fails if z is not cut off in the score function, if log q's own gradient is dropped from L^A,
    # or if the baseline depends on the sample from which it is taken.
    @partial(tf.function, autograph=False)
    def one(eps):
        return gradient(exact["params"], lambda params: ESTIMATORS[name](params, exact["x"], eps).elbo)

    n, n_samples = 2000, 2
    draws_of_eps = draws.normal(draws.stream(0, 0, "eps"), [n, n_samples, 4, 1])
    values = np.array([one(eps) for eps in draws_of_eps], np.float64)
    standard_error = values.std(axis=0) / np.sqrt(n)
    z_scores = (values.mean(axis=0) - exact_gradient) / np.maximum(standard_error, 1e-3 * np.abs(exact_gradient) + 1e-6)
    assert np.max(np.abs(z_scores)) < 4


def test_an_unknown_estimator_lists_the_known_ones():
    with pytest.raises(ConfigError, match="'sgvb_b', 'sgvb_a', 'score_function'"):
        RunConfig(dataset="digits", algorithm="aevb", n_latent=2, n_hidden=8, samples_total=1, estimator="reinforce")


def test_an_estimator_that_a_distribution_does_not_admit_says_which_and_why():
    tfd = tfp.distributions
    with pytest.raises(EstimatorError, match=r"sgvb_a differentiates through samples, but Bernoulli has no such"):
        require("sgvb_a", tfd.Independent(tfd.Bernoulli(logits=tf.zeros([3, 2])), 1))
    with pytest.raises(EstimatorError, match=r"sgvb_b needs the KL.*Logistic has none in closed form: use sgvb_a"):
        require("sgvb_b", tfd.Independent(tfd.Logistic(tf.zeros([3, 2]), 1.0), 1))
    require("score_function", tfd.Independent(tfd.Bernoulli(logits=tf.zeros([3, 2])), 1))


@pytest.mark.parametrize(("n_samples", "n"), [(0, 4), (2, 0)])
def test_no_samples_and_no_datapoints_are_refused(exact, n_samples, n):
    with pytest.raises(EstimatorError, match=rf"L = {n_samples}.*M = {n}"):
        sgvb_b(exact["params"], exact["x"][:n], tf.zeros([n_samples, n, 1]))
    with pytest.raises(EstimatorError, match="at least 2 samples"):
        ESTIMATORS["score_function_baseline"](exact["params"], exact["x"], tf.zeros([1, 4, 1]))


def test_only_aevb_chooses_an_estimator(tiny):
    with pytest.raises(ConfigError, match="wake_sleep does not use"):
        tiny.replace(algorithm="wake_sleep", estimator="sgvb_a")
    with pytest.raises(ConfigError, match="n_mc_samples of at least 2"):
        tiny.replace(estimator="score_function_baseline")
