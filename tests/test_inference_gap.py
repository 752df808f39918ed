"""The parts of what a bound loses, where each is known: in a linear Gaussian model, and with two modes."""

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from scipy.stats import multivariate_normal

from replication import draws
from replication.model import networks
from replication.studies import inference_gap
from replication.studies.inference_gap import Gaussians

pytestmark = pytest.mark.slow
N, D, N_LATENT, NOISE = 60, 8, 3, 0.5
RNG = np.random.default_rng(1)
W = RNG.normal(size=(D, N_LATENT)) + np.array([0.8, 0, 0])  # the posterior has correlations
X = RNG.normal(size=(N, N_LATENT)) @ W.T + NOISE * RNG.normal(size=(N, D))
PRECISION = np.eye(N_LATENT) + W.T @ W / NOISE**2
MEAN = X @ W @ np.linalg.inv(PRECISION) / NOISE**2
LOG_VAR = np.tile(-np.log(np.diag(PRECISION)), (N, 1))  # of the diagonal Gaussian with the highest bound
LOG_PX = multivariate_normal(np.zeros(D), W @ W.T + NOISE**2 * np.eye(D)).logpdf(X)
APPROXIMATION = (np.log(np.diag(PRECISION)).sum() - np.linalg.slogdet(PRECISION)[1]) / 2  # KL(q* || p(z|x))


def log_joint(x: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
    residual = (x - tf.tensordot(z, W.T.astype(np.float32), axes=1)) / NOISE
    log_px_given_z = -tf.reduce_sum(residual**2, axis=-1) / 2 - D * np.log(NOISE * np.sqrt(2 * np.pi))
    return log_px_given_z + networks.prior(N_LATENT).log_prob(z)


def gaussians(mean: np.ndarray, log_var: np.ndarray) -> Gaussians:
    return Gaussians(*(tf.constant(part, tf.float32) for part in (mean, log_var)))


def part_losses(mean: np.ndarray, log_var: np.ndarray) -> pd.DataFrame:
    x, seed_pair = tf.constant(X, tf.float32), draws.stream(0, 0, "evaluation")
    return inference_gap.part_losses(log_joint, (), x, gaussians(mean, log_var), seed_pair)


def test_an_encoder_at_the_optimum_loses_nothing_and_the_gaussian_what_the_correlations_cost():
    # Fails if the approximation gap takes from the encoder's, if log p(x) or a bound lacks a term, or if the search
    # walks away from the optimum.
    assert APPROXIMATION > 0.3
    losses = part_losses(MEAN, LOG_VAR)
    for part, known in (("mean", 0.0), ("log_var", 0.0), ("approximation", APPROXIMATION)):
        assert losses[part].mean() == pytest.approx(known, abs=0.03), part
    bound = inference_gap.bound(
        log_joint, (), tf.constant(X, tf.float32), gaussians(MEAN, LOG_VAR), draws.stream(1, 0, "evaluation")
    )
    np.testing.assert_allclose(bound.elbo + losses.iloc[:, :3].sum(axis=1), LOG_PX, atol=1.5)
    assert np.mean(bound.elbo) == pytest.approx(LOG_PX.mean() - APPROXIMATION, abs=0.1)


def test_the_damage_of_means_and_of_variances_is_told_apart():
    # Means 1.5 standard deviations off in random directions cost half of d' P d; variances e times too large
    # (e - 2) / 2 in each dimension. Fails if one counts as the other, or if the search stops before the optimum.
    shift = 1.5 * np.exp(LOG_VAR / 2) * np.random.default_rng(2).choice([-1, 1], size=LOG_VAR.shape)
    losses = part_losses(MEAN + shift, LOG_VAR + 1)
    of_means = np.einsum("ni,ij,nj->n", shift, PRECISION, shift) / 2
    assert of_means.mean() > 1 and of_means.std() > 1
    np.testing.assert_allclose(losses["mean"], of_means, atol=0.4)
    assert losses["mean"].mean() == pytest.approx(of_means.mean(), abs=0.05)
    assert losses["log_var"].mean() == pytest.approx(N_LATENT * (np.e - 2) / 2, abs=0.1)
    assert losses["approximation"].mean() == pytest.approx(APPROXIMATION, abs=0.03)


def test_an_encoder_at_the_lesser_of_two_modes_loses_the_difference_of_their_masses():
    # Two narrow modes at x and -x, the second with exp(-2) of the first's mass: no climb leads from one to the other.
    # Fails if the best q is looked for from the encoder alone.
    sd, mass = 0.1, np.float32([1, np.exp(-2)])

    def two_modes(x: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
        parts = [
            np.log(m) - tf.reduce_sum(((z - centre) / sd) ** 2, axis=-1) / 2 - 2 * np.log(sd * np.sqrt(2 * np.pi))
            for m, centre in zip(mass, (x, -x), strict=True)
        ]
        return tf.reduce_logsumexp(tf.stack(parts), axis=0)

    x = tf.constant(np.random.default_rng(3).uniform(0.8, 1.5, size=(N, 2)), tf.float32)
    at_lesser = Gaussians(-x, tf.fill(x.shape, np.float32(2 * np.log(sd))))
    losses = inference_gap.part_losses(two_modes, (), x, at_lesser, draws.stream(0, 0, "evaluation"))
    np.testing.assert_allclose(losses["mean"], 2, atol=0.1)
    assert losses["approximation"].mean() == pytest.approx(np.log1p(np.exp(-2)), abs=0.08)
    np.testing.assert_allclose(losses["log_var"], 0, atol=0.15)


def test_a_gap_is_the_sum_of_its_parts_and_has_their_errors():
    # Fails with a wrong sign: what test loses more than train widens the gap of the bound.
    parts = {"log_var": (0.5, 1.0), "mean": (1.0, 6.0), "approximation": (0.2, 0.3)}  # on train, on test
    rows = [
        {"n_latent": 3, "split": split, "bound": bound, "bound_se": 0.3, "reconstruction": bound + kl, "kl": kl}
        | {name: values[i] for name, values in parts.items()}
        | {f"{name}_se": 0.1 for name in parts}
        for i, (split, bound, kl) in enumerate((("train", -130.0, 8.0), ("test", -138.0, 8.5)))
    ]
    (row,) = inference_gap.gaps(pd.DataFrame(rows)).to_dict("records")
    assert row["gap"] == 8 and row["reconstruction"] == 7.5 and row["kl"] == 0.5
    assert [row[name] for name in parts] == pytest.approx([0.5, 5, 0.1])
    assert row["log_px"] == pytest.approx(8 - 5.6)
    assert row["gap_se"] == pytest.approx(0.3 * 2**0.5) and row["mean_se"] == pytest.approx(0.1 * 2**0.5)
    assert row["log_px_se"] == pytest.approx((2 * 0.09 + 2 * 0.3**2) ** 0.5)
