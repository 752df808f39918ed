"""HMC on densities whose moments are known."""

import numpy as np
import pytest
import tensorflow as tf

from replication import draws
from replication.model import hmc

COVARIANCE = np.array([[1.0, 0.6], [0.6, 0.5]])
MEAN = np.array([0.5, -1.0])
PRECISION = tf.constant(np.linalg.inv(COVARIANCE), tf.float32)


def log_gaussian(z: tf.Tensor) -> tf.Tensor:
    centred = z - MEAN.astype(np.float32)
    return -tf.einsum("...i,ij,...j->...", centred, PRECISION, centred) / 2


@pytest.fixture(scope="module")
def chains() -> hmc.Chains:
    sample = tf.function(hmc.sample, jit_compile=True)
    return sample(log_gaussian, tf.zeros([200, 2]), 200, 4, 100, draws.stream(0, 0, "chains"))


def test_mean_and_covariance_of_a_known_gaussian(chains):
    # Fails without the accept step, with a momentum that is not refreshed, or with a wrong gradient.
    z = chains.z.numpy().astype(float)
    of_chains = z.mean(axis=0)
    standard_error = of_chains.std(axis=0, ddof=1) / np.sqrt(len(of_chains))
    assert np.all(np.abs(of_chains.mean(axis=0) - MEAN) < 4 * standard_error)
    centred = z - MEAN
    products = np.einsum("sni,snj->nij", centred, centred) / len(z)
    standard_error = products.std(axis=0, ddof=1) / np.sqrt(len(products))
    assert np.all(np.abs(products.mean(axis=0) - COVARIANCE) < 4 * standard_error)


def test_each_chain_is_tuned_towards_the_target_acceptance(chains):
    # 0.9 is the target while tuning; the stepsize that is kept errs on the careful side.
    assert 0.8 < chains.acceptance.numpy().mean() < 0.99
    assert np.all(chains.acceptance.numpy() > 0.5) and chains.step_size.shape == (200,)


def test_log_density_belongs_to_the_draws(chains):
    np.testing.assert_allclose(chains.log_density, log_gaussian(chains.z), rtol=1e-3, atol=1e-3)


def test_effective_sample_size_of_independent_and_of_repeated_draws():
    independent = draws.normal(draws.stream(0, 1, "chains"), [400, 50, 1])
    assert np.median(hmc.effective_sample_size(independent)) > 300
    repeated = tf.repeat(independent[:40], 10, axis=0)
    assert np.median(hmc.effective_sample_size(repeated)) < 100


def test_move_keeps_a_sample_from_the_target_in_the_target():
    # Detailed balance: draws from the target are still draws from it after a move, whatever the stepsize.
    n = 20_000
    start = MEAN + np.random.default_rng(0).standard_normal((n, 2)) @ np.linalg.cholesky(COVARIANCE).T
    z, is_accepted = hmc.move(
        log_gaussian, tf.constant(start, tf.float32), tf.constant(0.5), 10, draws.stream(0, 2, "chains")
    )
    assert 0.5 < np.mean(is_accepted) < 1, "the test needs some rejections"
    assert np.all(np.abs(z.numpy().mean(axis=0) - MEAN) < 4 * np.sqrt(np.diag(COVARIANCE) / n))
    np.testing.assert_allclose(np.cov(z.numpy().T), COVARIANCE, atol=0.04)
    assert np.abs(z.numpy() - start).mean() > 0.1


@pytest.mark.parametrize(("acceptance", "factor"), [(0.95, 1.25), (0.85, 1 / 1.25)])
def test_authors_rule_for_the_stepsize(acceptance, factor):
    assert float(hmc.adapt(tf.constant(0.1), tf.constant(acceptance), 1000)) == pytest.approx(0.1 * factor)
    assert float(hmc.adapt(tf.constant(0.1), tf.constant(0.95), 5)) == pytest.approx(0.1 * 1.02**5)
