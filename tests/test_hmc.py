"""HMC on densities whose moments are known."""

import numpy as np
import pytest
import tensorflow as tf

from replication import draws
from replication.compiled import compiled
from replication.model import hmc

COVARIANCE = np.array([[1.0, 0.6], [0.6, 0.5]])
MEAN = np.array([0.5, -1.0])
PRECISION = tf.constant(np.linalg.inv(COVARIANCE), tf.float32)


def log_gaussian(z: tf.Tensor) -> tf.Tensor:
    centred = z - MEAN.astype(np.float32)
    return -tf.einsum("...i,ij,...j->...", centred, PRECISION, centred) / 2


sample = compiled(hmc.sample)


@pytest.fixture(scope="module")
def chains() -> hmc.Chains:
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
    # 0.9 is the target while tuning; the step size that is kept errs on the careful side.
    assert 0.8 < chains.acceptance.numpy().mean() < 0.99
    assert np.all(chains.acceptance.numpy() > 0.5) and chains.step_size.shape == (200,)


def test_log_density_belongs_to_the_draws(chains):
    np.testing.assert_allclose(chains.log_density, log_gaussian(chains.z), rtol=1e-3, atol=1e-3)


def log_isotropic(z: tf.Tensor) -> tf.Tensor:
    return -tf.reduce_sum(z**2, axis=-1) / 2


@pytest.mark.slow
def test_isotropic_target_has_no_resonance():
    # With one step size 4 leapfrog steps at 90 % acceptance turn z into -z: draws alternate, and |z| keeps its value.
    # Independent draws have autocorrelations of -1/50 here, since their own mean is taken off.
    n_chains, n_latent = 400, 4
    start = draws.normal(draws.stream(0, 0, "chains", "start"), [n_chains, n_latent])
    chains = sample(log_isotropic, start, 50, 4, 300, draws.stream(0, 0, "chains"))
    z = chains.z.numpy().astype(float)
    for series, expected in ((z[..., 0], 0), ((z**2).sum(axis=-1), n_latent)):
        centred = series - series.mean(axis=0)
        lag_1 = np.mean(centred[1:] * centred[:-1], axis=0) / np.mean(centred**2, axis=0)
        assert abs(lag_1.mean()) < 0.2, f"autocorrelation {lag_1.mean():.2f}"
        standard_error = series.mean(axis=0).std(ddof=1) / n_chains**0.5
        assert abs(series.mean() - expected) < 4 * standard_error


def test_same_seed_gives_the_same_chains_and_another_gives_others(chains):
    # Fails if the jitter or the momenta come from a generator with a state.
    again, other = (
        sample(log_gaussian, tf.zeros([200, 2]), 200, 4, 100, draws.stream(0, i, "chains")) for i in range(2)
    )
    np.testing.assert_array_equal(again.z, chains.z)
    assert np.mean(other.z == chains.z) < 0.01


def as_chains(z: np.ndarray) -> hmc.Chains:
    n_chains = z.shape[1]
    return hmc.Chains(z, -np.sum(z**2, axis=-1) / 2, np.ones(n_chains), np.ones(n_chains))


def test_effective_sample_size_is_that_of_the_mean():
    # The oracle is the variance of the chains' means: S draws are worth var(z) / var(mean) independent ones.
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((1000, 200, 1))
    for coefficient in (0.0, 0.7):
        z = noise.copy()
        for i in range(1, len(z)):
            z[i] = coefficient * z[i - 1] + np.sqrt(1 - coefficient**2) * noise[i]
        worth = 1 / z.mean(axis=0).var()
        assert np.median(hmc.effective_sample_size(as_chains(z))) == pytest.approx(worth, rel=0.3)


def test_effective_sample_size_may_exceed_the_number_of_draws_and_sees_a_contour():
    rng = np.random.default_rng(0)
    z = rng.standard_normal((50, 40, 1))
    alternating = as_chains(np.where(np.arange(50)[:, None, None] % 2, z + 3, z - 3))
    free = alternating._replace(log_density=rng.standard_normal((50, 40)))
    on_a_contour = alternating._replace(log_density=np.repeat(rng.standard_normal((5, 40)), 10, axis=0))
    stuck = as_chains(np.ones((50, 40, 1)))
    assert np.median(hmc.effective_sample_size(free)) > 40  # the log density has 50; z more: it alternates
    assert np.median(hmc.effective_sample_size(on_a_contour)) < 15
    np.testing.assert_array_equal(hmc.effective_sample_size(stuck), 1)


def test_move_keeps_a_sample_from_the_target_in_the_target():
    # Detailed balance: draws from the target are still draws from it after a move, whatever the step size.
    n = 20_000
    start = MEAN + np.random.default_rng(0).standard_normal((n, 2)) @ np.linalg.cholesky(COVARIANCE).T
    z, info = hmc.move(log_gaussian, tf.constant(start, tf.float32), tf.constant(0.5), 10, draws.stream(0, 2, "chains"))
    accepted = np.mean(info.is_accepted)
    assert 0.5 < accepted < 1, "the test needs some rejections"
    # E[exp(-energy error)] = 1 in the target; fails where the error has the other sign, or is another energy's.
    factor = np.exp(-info.energy_error.numpy().astype(float))
    assert abs(factor.mean() - 1) < 4 * factor.std() / n**0.5
    assert abs(np.minimum(1, factor).mean() - accepted) < 4 / (2 * n**0.5)
    assert np.all(np.abs(z.numpy().mean(axis=0) - MEAN) < 4 * np.sqrt(np.diag(COVARIANCE) / n))
    np.testing.assert_allclose(np.cov(z.numpy().T), COVARIANCE, atol=0.04)
    assert np.abs(z.numpy() - start).mean() > 0.1


def test_a_trajectory_that_runs_away_is_rejected():
    start = tf.constant([[0.0, 0.0], [1.0, 1.0]])
    for step_size in (50.0, 1e20):  # a huge energy, and one that float32 does not hold
        z, info = hmc.move(log_gaussian, start, tf.constant(step_size), 10, draws.stream(0, 2, "chains"))
        assert not np.any(info.is_accepted) and np.all(info.energy_error > 1000)  # nats
        np.testing.assert_array_equal(z, start)


@pytest.mark.parametrize(("acceptance", "factor"), [(0.95, 1.25), (0.85, 1 / 1.25)])
def test_authors_rule_for_the_step_size(acceptance, factor):
    assert float(hmc.adapt(tf.constant(0.1), tf.constant(acceptance), 1000)) == pytest.approx(0.1 * factor)
    assert float(hmc.adapt(tf.constant(0.1), tf.constant(0.95), 5)) == pytest.approx(0.1 * 1.02**5)
