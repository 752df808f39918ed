"""The authors' estimator of log p(x): its density, its mean, and its chains."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.stats import gaussian_kde, norm, t

from replication import draws
from replication.studies import authors_estimator, calibration
from replication.studies.authors_estimator import BANDWIDTHS, FACTOR, INITIAL_STEP_SIZE


def two_clusters(n: int, n_datapoints: int, rng: np.random.Generator) -> np.ndarray:
    """Draws [n, n_datapoints, 1] of a posterior of two narrow Gaussians far apart, which wants narrow kernels."""
    return rng.choice([-5.0, 5.0], (n, n_datapoints, 1)) + 0.3 * rng.standard_normal((n, n_datapoints, 1))


@pytest.mark.parametrize("n_latent", [1, 2, 3])
def test_the_kernel_density_is_that_of_scipy(n_latent):
    # Correlated draws, a bandwidth for each datapoint. Fails if the volume of draws or of the bandwidth is left out, or
    # if a kernel has another covariance.
    rng = np.random.default_rng(0)
    z_fit = rng.standard_normal((25, 4, n_latent)) @ (rng.standard_normal((n_latent, n_latent)) + np.eye(n_latent))
    z, bandwidth = rng.standard_normal((6, 4, n_latent)), np.array([0.1, 0.5, 1.0, 3.0])
    log_q = authors_estimator.kernels(z_fit, z, bandwidth)
    expected = [gaussian_kde(z_fit[:, i].T, bandwidth[i]).logpdf(z[:, i].T) for i in range(4)]
    np.testing.assert_allclose(log_q, np.transpose(expected), rtol=1e-6)


def test_the_bandwidth_is_the_one_that_scores_best_on_the_other_half():
    # SciPy's densities, chosen by hand. Two clusters want less than Scott's factor; halves that do not overlap want
    # more. Fails if the halves are swapped, if a density is scored on its own draws, or if Scott's factor is another's.
    rng = np.random.default_rng(1)
    drifting = np.linspace(0, 4, 25)[:, None, None] + 0.2 * rng.standard_normal((25, 1, 1))
    z_fit, z = np.concatenate([two_clusters(25, 1, rng), drifting], axis=1), rng.standard_normal((5, 2, 1))
    log_q, chosen = authors_estimator.kernel_log_density(z_fit, z), []
    for i in range(2):
        factors = 25 ** (-1 / 5) * BANDWIDTHS
        scores = [gaussian_kde(z_fit[12:, i].T, factor).logpdf(z_fit[:12, i].T).sum() for factor in factors]
        chosen.append(np.argmax(scores))
        np.testing.assert_allclose(log_q[:, i], gaussian_kde(z_fit[:, i].T, factors[chosen[i]]).logpdf(z[:, i].T))
    assert BANDWIDTHS[chosen[0]] < 1 < BANDWIDTHS[chosen[1]]


def test_exact_draws_of_two_clusters_give_log_px_and_scotts_factor_alone_would_not(monkeypatch):
    # log p(x) = -7. Fails if the normalisation lacks a term, if the draws that fit the density enter the mean, and, as
    # shown here, without the choice of a bandwidth: kernels as wide as the gap put the density where no draw is.
    z = two_clusters(50, 300, np.random.default_rng(2))
    parts = [norm.logpdf(z[..., 0], centre, 0.3) for centre in (-5, 5)]
    log_density = np.logaddexp(*parts) - np.log(2) - 7
    assert authors_estimator.log_px(z, log_density).mean() == pytest.approx(-7, abs=0.1)
    monkeypatch.setattr(authors_estimator, "BANDWIDTHS", np.ones(1))
    assert authors_estimator.log_px(z, log_density).mean() > -6


def test_the_mean_of_one_over_p_is_exact_where_the_density_has_lighter_tails():
    # 1 / p(x) is what the estimator estimates without bias, whatever the density: its mean over 2000 datapoints,
    # within 5 standard errors. The posterior has the tails of Student's t. Fails if a half of the draws serves twice.
    rng = np.random.default_rng(3)
    z = rng.standard_t(3, (50, 2000, 1))
    ratio = np.exp(-4 - authors_estimator.log_px(z, t.logpdf(z[..., 0], 3) - 4))
    assert abs(ratio.mean() - 1) < 5 * ratio.std() / len(ratio) ** 0.5
    assert ratio.std() / len(ratio) ** 0.5 < 0.03


def test_draws_in_a_plane_give_no_estimate():
    z = np.random.default_rng(4).standard_normal((50, 2, 2))
    z[:, 1, 1] = z[:, 1, 0]
    log_px = authors_estimator.log_px(z, np.zeros((50, 2)))
    assert np.isfinite(log_px[0]) and np.isnan(log_px[1])


def test_chains_go_on_where_the_last_report_left_them_and_forget_where_they_started():
    # Known log p(x). From far out the first report is wrong; after ten, the bias is that of notebook 3's table. Fails
    # if chains or step sizes are lost between reports, or if the factor of the step size is another.
    model = calibration.ppca(2, (2.0, 2.0))
    x, exact = model.sample(draws.stream(0, 0, "evaluation"))
    chains = authors_estimator.start(tf.fill([len(x), 2], 6.0))
    bias = []
    for i in range(10):
        log_px, chains = authors_estimator.report(
            model.log_joint, model.parameters, x, chains, draws.stream(0, i + 1, "evaluation")
        )
        bias.append(np.mean(log_px - exact))
    assert abs(bias[0]) > 2 and abs(np.mean(bias[5:])) < 0.5, bias
    powers = np.log(chains.step_size / INITIAL_STEP_SIZE) / np.log(FACTOR)
    assert np.allclose(powers, np.round(powers), atol=1e-3) and np.log(FACTOR) == pytest.approx(1.02)
    assert np.all(np.round(powers) % 2 == 0)  # after 550 moves, each up or down
    assert 0.05 < np.median(chains.step_size) < 1
