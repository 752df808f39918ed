"""Both estimators against the exact log-likelihood of probabilistic PCA, with scikit-learn as the oracle."""

import numpy as np
import pytest
import tensorflow as tf
from sklearn.decomposition import PCA

from replication import draws
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


def posterior_chains(args: tuple, n_latent: int) -> tuple[hmc.Chains, np.ndarray]:
    seed = draws.stream(0, n_latent, "chains")
    n_samples = 400 if n_latent < 5 else 1200  # a kernel density needs many draws in 5 dimensions
    chains, ess = ml.sample_posterior(log_joint, args, tf.zeros([N, n_latent]), seed, n_samples=n_samples, n_burnin=200)
    return chains, ess.numpy()


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


@pytest.fixture(scope="module", params=[2, 3, 5])
def problem(request):
    args, exact = ppca(request.param)
    return args, exact, *posterior_chains(args, request.param)


def assert_agrees(estimate: ml.Estimate, exact: np.ndarray) -> None:
    """The mean error over datapoints is within 3 of its standard errors, from the estimates' own."""
    assert np.all(np.isfinite(estimate.log_px))
    error = np.mean(estimate.log_px - exact)
    assert abs(error) < 3 * np.sqrt(np.sum(estimate.se**2)) / len(exact), f"off by {error:.4f} nats"


@pytest.mark.parametrize("density", list(ml.DENSITIES))
def test_appendix_d_agrees_with_the_exact_likelihood(problem, density):
    # Fails if p(z) is left out of the joint, if q is not normalised, or if the mean is taken of the wrong ratio.
    _, exact, chains, ess = problem
    assert_agrees(ml.hmc_density_estimator(chains, ess, density), exact)


def test_importance_sampling_agrees_with_the_exact_likelihood(problem):
    args, exact, chains, _ = problem
    estimate = ml.importance_sampling(log_joint, args, [ml.gaussian_proposal(chains)], draws.stream(0, 0, "eps"), 2000)
    assert_agrees(estimate, exact)
    assert np.all(estimate.is_reliable)


def test_standard_errors_are_those_of_repeated_estimates():
    # An estimate whose error bars do not cover its own spread could not be compared with anything.
    args, _ = ppca(2)
    chains, _ = posterior_chains(args, 2)
    proposals = [ml.gaussian_proposal(chains)]
    repeated = [ml.importance_sampling(log_joint, args, proposals, draws.stream(i, 0, "eps"), 100) for i in range(40)]
    spread = np.std([estimate.log_px for estimate in repeated], axis=0)
    claimed = np.mean([estimate.se for estimate in repeated], axis=0)
    assert np.median(spread / claimed) == pytest.approx(1, abs=0.15)


def test_proposal_too_narrow_is_flagged():
    args, _ = ppca(3)
    chains, _ = posterior_chains(args, 3)
    mean, tril = ml.gaussian_proposal(chains)
    with pytest.warns(UserWarning, match="unreliable"):
        estimate = ml.importance_sampling(log_joint, args, [(mean + 2, 0.05 * tril)], draws.stream(0, 0, "eps"))
    assert not np.all(estimate.is_reliable)


def test_mixture_covers_for_a_proposal_that_misses():
    # With the good proposal alone or both together the estimate is right; the bad one alone is far off.
    args, exact = ppca(3)
    good = ml.gaussian_proposal(posterior_chains(args, 3)[0])
    bad = (good[0] + 3, 0.3 * good[1])
    both = ml.importance_sampling(log_joint, args, [good, bad], draws.stream(0, 0, "eps"), 2000)
    assert_agrees(both, exact)


def fake_chains(z: np.ndarray, acceptance: float = 0.9) -> tuple[hmc.Chains, np.ndarray]:
    n_chains = z.shape[1]
    log_density = -np.sum(z**2, axis=-1) / 2
    chains = hmc.Chains(z, log_density, np.full(n_chains, acceptance), np.ones(n_chains))
    return chains, np.full(n_chains, float(len(z)))


def normal(n_samples: int, n_latent: int = 2) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n_samples, 5, n_latent))


def test_fewer_than_four_draws_are_refused():
    with pytest.raises(ml.EstimatorError, match=r"3 draws.* too few"):
        ml.hmc_density_estimator(*fake_chains(normal(3)))
    args, _ = ppca(2)
    with pytest.raises(ml.EstimatorError, match="too few"):
        ml.importance_sampling(log_joint, args, [ml.gaussian_proposal(fake_chains(normal(50))[0])], tf.zeros(2), 3)


def test_start_of_zero_density_is_an_error():
    chains, ess = fake_chains(normal(50))
    chains.log_density[:, 2] = -np.inf
    with pytest.raises(ml.EstimatorError, match="not finite along 1 of 5 chains"):
        ml.hmc_density_estimator(chains, ess)


@pytest.mark.parametrize("how", ["stuck", "flat"])
def test_stuck_or_flat_chain_is_flagged_not_a_number(how):
    # One chain that never moved, or whose draws lie on a line, must not end up in a mean.
    z = normal(50)
    z[:, 1] = z[0, 1] if how == "stuck" else z[:, 1, :1]
    with pytest.warns(UserWarning, match="1 of 5"):
        estimate = ml.hmc_density_estimator(*fake_chains(z))
    assert np.isnan(estimate.log_px[1]) and not estimate.is_reliable[1]
    assert np.all(np.isfinite(estimate.log_px[[0, 2, 3, 4]])) and np.all(estimate.is_reliable[[0, 2, 3, 4]])


def test_zero_acceptance_everywhere_gives_no_number():
    with pytest.warns(UserWarning, match="5 of 5"):
        estimate = ml.hmc_density_estimator(*fake_chains(normal(50), acceptance=0.0))
    assert np.all(np.isnan(estimate.log_px))


def test_more_than_five_dimensions_are_flagged():
    with pytest.warns(UserWarning, match="6 latent dimensions are too many"):
        estimate = ml.hmc_density_estimator(*fake_chains(normal(200, n_latent=6)))
    assert not np.any(estimate.is_reliable)


def test_singular_covariance_falls_back_to_the_prior_as_proposal():
    z = normal(50)
    z[:, 1] = 0.3
    mean, tril = ml.gaussian_proposal(fake_chains(z)[0])
    np.testing.assert_array_equal(mean[1], 0)
    np.testing.assert_array_equal(tril[1], np.eye(2))
