"""Parts of the estimators of log p(x), and what they refuse or flag; their accuracy is in test_calibration."""

import warnings

import numpy as np
import pytest
import tensorflow as tf
from sklearn.decomposition import PCA

from replication import draws
from replication.errors import EstimatorError
from replication.model import hmc
from replication.model import marginal_likelihood as ml
from replication.model.modes import Modes, search

N, D = 60, 10


def log_joint(parameters: tuple, x: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
    """log p(x, z) of probabilistic PCA: z ~ N(0, I), x ~ N(W z + mean, sigma^2 I)."""
    w, mean, sigma = parameters
    residual = (x - mean - tf.tensordot(z, w, axes=[[-1], [1]])) / sigma
    log_px_given_z = -tf.reduce_sum(residual**2, -1) / 2 - D * (tf.math.log(sigma) + np.log(2 * np.pi) / 2)
    return log_px_given_z - tf.reduce_sum(z**2, -1) / 2 - z.shape[-1] * np.log(2 * np.pi) / 2


def ppca(n_latent: int) -> tuple[tuple, np.ndarray]:
    """Arguments of the log joint, and scikit-learn's log-likelihood of the same data [N]."""
    rng = np.random.default_rng(n_latent)
    x = rng.normal(size=(N, n_latent)) @ rng.normal(size=(n_latent, D)) + 0.5 * rng.normal(size=(N, D))
    pca = PCA(n_latent).fit(x)
    sigma2 = pca.noise_variance_
    w = pca.components_.T * np.sqrt(pca.explained_variance_ - sigma2)
    parameters = tuple(tf.constant(value, tf.float32) for value in (w, pca.mean_, np.sqrt(sigma2)))
    return (parameters, tf.constant(x, tf.float32)), pca.score_samples(x)


def log_gaussians(x: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
    """log of 0.6 N(z; x, 0.02^2 I) + 0.4 N(z; -x, 0.3^2 I): p(x) = 1, and no draw meets the heavier mode."""
    parts = [
        np.log(share / (sd * np.sqrt(2 * np.pi)) ** z.shape[-1]) - tf.reduce_sum((z - centre) ** 2, -1) / (2 * sd**2)
        for share, sd, centre in ((0.6, 0.02, x), (0.4, 0.3, -x))
    ]
    return tf.reduce_logsumexp(parts, axis=0)


CENTRES = tf.constant(np.random.default_rng(1).uniform(1, 2, size=(N, 3)), tf.float32)


@pytest.mark.slow
def test_chains_from_both_modes_add_up():
    # With a chain from one mode alone, even the heavier, log p(x) would be log(0.6) = -0.51.
    modes = search(log_gaussians, (), CENTRES, 3, draws.stream(0, 0, "chains", "modes"))
    estimate, sampling = ml.appendix_d(log_gaussians, (), CENTRES, modes, draws.stream(0, 0, "chains"))
    assert abs(estimate.log_px.mean()) < 0.03 + 4 * estimate.log_px.std() / N**0.5
    assert estimate.is_reliable.mean() > 0.9 and np.all(sampling.acceptance > 0.5) and np.all(sampling.n_chains == 2)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*unreliable")
def test_a_mode_that_two_chains_reach_is_counted_once(problem):
    # Two modes where the density has one: without the shares r_k the mode would count twice, log(2) = 0.69 too much.
    model, exact, one = problem
    apart = np.einsum("nij,j->ni", one.tril[0], [0.5, 0.0, 0.0])
    two = Modes(
        np.stack([one.z[0] + apart, one.z[0] - apart]), one.tril[[0, 0]], np.stack([one.log_mass[0]] * 2) - np.log(2)
    )
    estimate, _ = ml.appendix_d(*model, two, draws.stream(0, 0, "chains"))
    assert abs(np.mean(estimate.log_px - exact)) < 0.15


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*unreliable")
def test_an_estimate_is_as_reliable_as_the_least_of_its_parts(problem):
    # Half of the datapoints have a second chain, which a wrong scale keeps where it starts. Its part of p(x) is next to
    # nothing, so value and error hardly see it. Fails if one reliable part is enough.
    model, _, one = problem
    is_stuck = np.arange(N) < N // 2
    second_mass = np.where(is_stuck, one.log_mass[0] - 2, -np.inf)
    aside = one.z[0] + one.tril[0][:, :, 0]
    two = Modes(
        np.stack([one.z[0], aside]),
        np.stack([one.tril[0], 1e-6 * one.tril[0]]),
        np.stack([one.log_mass[0], second_mass]),
    )
    estimate, _ = ml.appendix_d(*model, two, draws.stream(0, 0, "chains"))
    assert not estimate.is_reliable[is_stuck].any() and estimate.is_reliable[~is_stuck].mean() > 0.9


def test_parts_of_two_modes_count_by_their_share(monkeypatch):
    # log p(x) = log(3/4 + 1/4). Fails if error, effective sample size or acceptance are sums over the parts.
    part = ml.Estimate(np.log([0.75, 0.25]), np.array([0.1, 0.2]), np.array([40.0, 20.0]), np.array([True, True]))
    chains = [np.zeros((2, 8, 1)), np.zeros((2, 8)), np.array([0.8, 0.6]), np.ones(2)]
    monkeypatch.setattr(ml, "in_blocks", lambda *_: chains)
    monkeypatch.setattr(ml, "hmc_density_estimator", lambda chains: part)
    modes = Modes(np.zeros((2, 1, 1)), np.ones((2, 1, 1, 1)), np.zeros((2, 1)))
    estimate, sampling = ml.appendix_d(None, (), tf.zeros([1, 3]), modes, draws.stream(0, 0, "chains"))
    assert estimate.log_px[0] == pytest.approx(0) and estimate.is_reliable[0]
    assert estimate.se[0] == pytest.approx(np.hypot(0.75 * 0.1, 0.25 * 0.2))
    assert estimate.ess[0] == pytest.approx(0.75 * 40 + 0.25 * 20)
    assert sampling.acceptance[0] == pytest.approx(0.75 * 0.8 + 0.25 * 0.6)


@pytest.fixture(scope="module")
def problem() -> tuple[tuple, np.ndarray, Modes]:
    (parameters, x), exact = ppca(3)
    return (log_joint, (parameters,), x), exact, search(log_joint, (parameters,), x, 3, draws.stream(0, 0, "eps"))


def assert_agrees(estimate: ml.Estimate, exact: np.ndarray) -> None:
    """The mean error over datapoints is within 4 of its standard errors, from the estimates' own."""
    error = np.mean(estimate.log_px - exact)
    assert abs(error) < 4 * np.sqrt(np.sum(estimate.se**2)) / len(exact), f"off by {error:.4f} nats"


@pytest.mark.slow
def test_standard_errors_are_those_of_repeated_estimates(problem):
    # An estimate whose error bars do not cover its own spread could not be compared with anything.
    model, exact, modes = problem
    repeated = [ml.importance_sampling(*model, modes, draws.stream(i, 0, "eps")) for i in range(40)]
    spread = np.var([estimate.log_px for estimate in repeated], axis=0, ddof=1)
    claimed = np.mean([estimate.se**2 for estimate in repeated], axis=0)
    # The error of a variance from 40 repetitions, over 60 datapoints, is sqrt(2 / 39 / 60) = 3 %, more where they share
    # draws.
    assert np.mean(spread / claimed) == pytest.approx(1, abs=0.2)
    assert_agrees(repeated[0], exact)


def test_proposals_that_miss_a_narrow_mode_are_flagged():
    # They are 25 standard deviations away, and of the shared draws one or none is near.
    def narrow(x: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
        return -tf.reduce_sum((z - x) ** 2, -1) / (2 * 0.02**2)

    modes = Modes(CENTRES.numpy()[None] + 0.5, np.tile(0.02 * np.eye(3), (1, N, 1, 1)), np.zeros((1, N)))
    with pytest.warns(UserWarning, match="unreliable"):
        estimate = ml.importance_sampling(narrow, (), CENTRES, modes, draws.stream(0, 0, "eps"))
    assert not np.any(estimate.is_reliable)


@pytest.mark.filterwarnings("ignore:.*unreliable")
def test_shared_draws_cover_for_proposals_that_miss(problem):
    # Fails if a draw is weighted by the proposal that it came from instead of the mixture.
    model, exact, modes = problem
    misplaced = modes._replace(z=modes.z + 3, tril=0.3 * modes.tril)
    assert_agrees(ml.importance_sampling(*model, misplaced, draws.stream(0, 0, "eps")), exact)


def test_average_and_effective_size_of_known_weights():
    log_w = np.log([[1.0, 5.0], [1.0, 1e-300], [2.0, 1e-300]]) - 2000  # where exp would be 0
    log_mean, ess = ml.average(log_w)
    np.testing.assert_allclose(log_mean + 2000, np.log([4 / 3, 5 / 3]))
    np.testing.assert_allclose(ess, [16 / 6, 1])


def test_pareto_k_of_known_tails():
    # u^-k has a tail of shape k: 0.2 is harmless, 0.9 has no variance to speak of.
    u = np.random.default_rng(0).uniform(size=(1000, 50))
    for k in (0.2, 0.9):
        assert np.median(ml.pareto_k(-k * np.log(u))) == pytest.approx(k, abs=0.1)


def fake_chains(z: np.ndarray) -> hmc.Chains:
    n_chains = z.shape[1]
    return hmc.Chains(z, -np.sum(z**2, axis=-1) / 2, np.ones(n_chains), np.ones(n_chains))


def normal(n_samples: int, n_latent: int = 2) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n_samples, 5, n_latent))


def test_fewer_than_four_draws_are_refused(problem):
    with pytest.raises(EstimatorError, match=r"3 draws.* too few"):
        ml.hmc_density_estimator(fake_chains(normal(3)))
    model, _, modes = problem
    with pytest.raises(EstimatorError, match="too few"):
        ml.importance_sampling(*model, modes, tf.zeros(2), 3)


def test_start_of_zero_density_is_an_error():
    chains = fake_chains(normal(50))
    chains.log_density[:, 2] = -np.inf
    with pytest.raises(EstimatorError, match="not finite along 1 of 5 chains"):
        ml.hmc_density_estimator(chains)


@pytest.mark.parametrize("how", ["stuck", "flat"])
def test_stuck_or_flat_chain_has_a_value_that_is_flagged(how):
    # One chain that never moved, or whose draws lie on a line, must neither make a mean NaN nor leave it silently. With
    # q the prior, as p(x, z) = q(z) sqrt(2 pi)^2 here, the value is known.
    z = normal(50)
    z[:, 1] = z[0, 1] if how == "stuck" else z[:, 1, :1]
    with pytest.warns(UserWarning, match="1 of 5"):
        estimate = ml.hmc_density_estimator(fake_chains(z))
    assert estimate.log_px[1] == pytest.approx(np.log(2 * np.pi)) and np.isinf(estimate.se[1])
    assert np.all(np.isfinite(estimate.log_px))
    np.testing.assert_array_equal(estimate.is_reliable, [True, False, True, True, True])


@pytest.mark.parametrize("n_samples", [8, 9, 13, 26, 50, 51])
def test_a_chain_that_begins_to_move_late_has_a_value_at_any_number_of_draws(n_samples):
    # As long as it rests in any part to which a density is fitted, the datapoint is flagged. Fails with an error where
    # the draws that are looked at are not those that are fitted: 25 of them can be halved in two ways.
    z = normal(n_samples)
    for rest in range(n_samples + 1):
        late = z.copy()
        late[:rest, 1] = z[0, 1]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            estimate = ml.hmc_density_estimator(fake_chains(late))
        assert np.isfinite(estimate.log_px).all()


def test_more_than_five_dimensions_are_flagged():
    with pytest.warns(UserWarning, match="6 latent dimensions are too many"):
        estimate = ml.hmc_density_estimator(fake_chains(normal(200, n_latent=6)))
    assert not np.any(estimate.is_reliable)
