"""The lower bound against exact integration over a one-dimensional z."""

import numpy as np
import pytest
import scipy.integrate
import tensorflow as tf
from test_models import params_of

from replication import draws, models
from replication.estimators import sgvb_b

GRID = np.linspace(-8, 8, 4001, dtype=np.float32)[:, None]


@pytest.fixture(scope="module")
def exact():
    """A model with one latent variable: its bound, KL and log p(x) per datapoint by quadrature."""
    params = params_of("digits", "paper_variance", n_latent=1)
    x = np.random.default_rng(0).random((4, 64), np.float32)
    q = models.encode(params.encoder, x)
    log_px = models.decode(params.decoder, GRID[:, None]).log_prob(x).numpy().astype(float)  # [4001, 4]
    log_prior = models.prior(1).log_prob(GRID).numpy()[:, None].astype(float)
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


def test_bound_is_below_the_log_marginal_likelihood(exact):
    assert np.all(exact["log_px_given_z"] - exact["kl"] < exact["log_px"])


def test_elbo_is_reconstruction_minus_kl(exact):
    bound = sgvb_b(exact["params"], exact["x"], tf.zeros([1, 4, 1]))
    np.testing.assert_allclose(bound.elbo, bound.log_px_given_z - bound.kl)
    assert bound.elbo.shape == (4,)


def test_more_samples_of_z_vary_less(exact):
    # The variance of a mean over L samples is 1/L of the variance of one.
    eps = draws.normal(draws.stream(0, 1, "eps"), [16, 4, 1])
    spread = {}
    for n_samples in (1, 16):
        values = [
            sgvb_b(exact["params"], exact["x"], draws.normal(draws.stream(0, i, "eps"), [n_samples, 4, 1]))
            for i in range(200)
        ]
        spread[n_samples] = np.var([value.log_px_given_z for value in values], axis=0).mean()
    assert spread[1] / spread[16] == pytest.approx(16, rel=0.4)
    assert eps.shape[0] == 16
