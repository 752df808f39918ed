"""Parts of the estimators of log p(x), and what they refuse or flag; their accuracy is in test_calibration."""

import numpy as np
import pytest
import tensorflow as tf
from sklearn.decomposition import PCA

from replication import draws
from replication.errors import EstimatorError
from replication.model import hmc
from replication.model import marginal_likelihood as ml

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


def posterior_chains(args: tuple, n_latent: int) -> hmc.Chains:
    return ml.sample_posterior(log_joint, args, tf.zeros([N, n_latent]), draws.stream(0, n_latent, "chains"))


def test_a_chain_starts_at_a_guess_only_where_it_is_likelier_than_every_draw_from_the_prior():
    # Fails if the guess is ignored: the narrow mode that holds nearly all of the posterior is then never found.
    def narrow(centre, z):
        return tf.reduce_logsumexp(
            [-tf.reduce_sum((z - centre) ** 2, -1) / 2e-8, -tf.reduce_sum(z**2, -1) - 10], axis=0
        )

    centre, seed = tf.constant([[1.5, 1.5]]), draws.stream(0, 0, "chains")
    at_prior = ml.chain_start(narrow, (centre,), 2, seed)
    np.testing.assert_array_equal(ml.chain_start(narrow, (centre,), 2, seed, centre), centre)
    np.testing.assert_array_equal(ml.chain_start(narrow, (centre,), 2, seed, centre + 5), at_prior)
    assert np.abs(at_prior).max() < 0.5


@pytest.fixture(scope="module")
def problem() -> tuple[tuple, np.ndarray, hmc.Chains]:
    args, exact = ppca(3)
    return args, exact, posterior_chains(args, 3)


def assert_agrees(estimate: ml.Estimate, exact: np.ndarray) -> None:
    """The mean error over datapoints is within 4 of its standard errors, from the estimates' own."""
    error = np.mean(estimate.log_px - exact)
    assert abs(error) < 4 * np.sqrt(np.sum(estimate.se**2)) / len(exact), f"off by {error:.4f} nats"


def test_standard_errors_are_those_of_repeated_estimates(problem):
    # An estimate whose error bars do not cover its own spread could not be compared with anything. Two proposals:
    # taking their samples for draws from the mixture would claim too much.
    args, _, chains = problem
    proposals = [ml.gaussian_proposal(chains), ml.prior_proposal(N, 3)]
    repeated = [ml.importance_sampling(log_joint, args, proposals, draws.stream(i, 0, "eps"), 100) for i in range(40)]
    spread = np.var([estimate.log_px for estimate in repeated], axis=0, ddof=1)
    claimed = np.mean([estimate.se**2 for estimate in repeated], axis=0)
    # The error of a variance from 40 repetitions, over 60 datapoints, is sqrt(2 / 39 / 60) = 3 %.
    assert np.mean(spread / claimed) == pytest.approx(1, abs=0.15)


def test_proposal_too_narrow_is_flagged(problem):
    args, _, chains = problem
    mean, tril = ml.gaussian_proposal(chains)
    with pytest.warns(UserWarning, match="unreliable"):
        estimate = ml.importance_sampling(log_joint, args, [(mean + 2, 0.05 * tril)], draws.stream(0, 0, "eps"))
    assert not np.any(estimate.is_reliable)


@pytest.mark.filterwarnings("ignore:.*unreliable")
def test_prior_covers_for_a_proposal_that_misses(problem):
    # The bad proposal alone is nats off; with the prior the estimate is right. Fails if a sample is weighted by the
    # proposal that it came from instead of the mixture.
    args, exact, chains = problem
    mean, tril = ml.gaussian_proposal(chains)
    bad, prior = (mean + 3, 0.3 * tril), ml.prior_proposal(N, 3)
    both = ml.importance_sampling(log_joint, args, [bad, prior], draws.stream(0, 0, "eps"), 4000)
    assert_agrees(both, exact)
    alone = ml.importance_sampling(log_joint, args, [bad], draws.stream(0, 0, "eps"), 100)
    assert np.mean(alone.log_px - exact) < -5


def test_pareto_k_of_known_tails():
    # u^-k has a tail of shape k: 0.2 is harmless, 0.9 has no variance to speak of.
    u = np.random.default_rng(0).uniform(size=(1000, 50))
    for k in (0.2, 0.9):
        assert np.median(ml.pareto_k(-k * np.log(u))) == pytest.approx(k, abs=0.1)


def test_two_importance_chunks_share_no_draws(problem):
    # Fails if a chunk repeats another's draws: the estimate would claim more samples than it has.
    args, _, chains = problem
    seed_pair = draws.stream(0, 0, "eps")
    mean, tril = (tf.constant(part[None], tf.float32) for part in ml.gaussian_proposal(chains))
    chunks = [ml._log_weights(log_joint, args, mean, tril, seed_pair, tf.constant(i)).numpy() for i in range(3)]
    assert len(np.unique(np.concatenate(chunks)[:, 0, 0])) == 3 * ml.IMPORTANCE_CHUNK


def fake_chains(z: np.ndarray) -> hmc.Chains:
    n_chains = z.shape[1]
    return hmc.Chains(z, -np.sum(z**2, axis=-1) / 2, np.ones(n_chains), np.ones(n_chains))


def normal(n_samples: int, n_latent: int = 2) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n_samples, 5, n_latent))


def test_fewer_than_four_draws_are_refused():
    with pytest.raises(EstimatorError, match=r"3 draws.* too few"):
        ml.hmc_density_estimator(fake_chains(normal(3)))
    args, _ = ppca(2)
    with pytest.raises(EstimatorError, match="too few"):
        ml.importance_sampling(log_joint, args, [ml.gaussian_proposal(fake_chains(normal(50)))], tf.zeros(2), 3)


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


def test_more_than_five_dimensions_are_flagged():
    with pytest.warns(UserWarning, match="6 latent dimensions are too many"):
        estimate = ml.hmc_density_estimator(fake_chains(normal(200, n_latent=6)))
    assert not np.any(estimate.is_reliable)


def test_singular_covariance_falls_back_to_the_prior_as_proposal():
    z = normal(50)
    z[:, 1] = 0.3
    mean, tril = ml.gaussian_proposal(fake_chains(z))
    np.testing.assert_array_equal(mean[1], 0)
    np.testing.assert_array_equal(tril[1], np.eye(2))
