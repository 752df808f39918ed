"""Appendix D: the density that it fits to posterior draws, and what it estimates from exact draws."""

import numpy as np
import pytest
import scipy.stats

from replication.model import hmc
from replication.model import marginal_likelihood as ml


@pytest.mark.parametrize("bandwidth", [0.2, 0.6, 1.0])
def test_a_kernel_density_is_normalised_and_has_the_stated_moments(bandwidth):
    # By a sum over a grid, for skewed draws of two dimensions. Fails if the volume of the bandwidth or of the draws is
    # left out, or if the centres are not shrunk: q would be wider than it says.
    rng = np.random.default_rng(0)
    z_fit = np.stack([rng.gamma(2, 1, 200), rng.normal(0, 0.5, 200)], axis=-1)
    z_fit[:, 1] += 0.3 * z_fit[:, 0]
    axes = np.linspace(-8, 16, 241), np.linspace(-5, 7, 241)
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    cell = np.prod([axis[1] - axis[0] for axis in axes])
    q = np.exp(ml._kernels(z_fit[:, None], grid[:, None], np.array([bandwidth]))[:, 0]) * cell
    mean = q @ grid
    assert q.sum() == pytest.approx(1, abs=1e-3)
    np.testing.assert_allclose(mean, z_fit.mean(axis=0), atol=5e-3)
    np.testing.assert_allclose((q[:, None] * (grid - mean)).T @ (grid - mean), ml.NARROWER * np.cov(z_fit.T), atol=0.03)


def test_the_bandwidth_is_small_where_the_draws_are_not_gaussian():
    # Two clusters far apart want a narrow kernel, a Gaussian the widest. Fails if the scores ignore the bandwidth.
    rng = np.random.default_rng(0)
    clusters = rng.choice([-5.0, 5.0], (100, 1, 1)) + 0.3 * rng.standard_normal((100, 1, 1))
    for z_fit, is_wide in ((clusters, False), (rng.standard_normal((100, 1, 1)), True)):
        point = z_fit.mean(axis=0)[None]
        log_q, gaussian = ml._kernel_log_density(z_fit, point), ml._kernels(z_fit, point, np.ones(1))
        assert (float(log_q[0, 0]) > float(gaussian[0, 0]) - 0.5) == is_wide


@pytest.mark.filterwarnings("ignore:.*unreliable")
def test_from_exact_draws_the_estimate_has_no_bias():
    # 50 draws of N(0, I) in 2 dimensions for each of 1000 datapoints, log p(x) = -3. Fails if q is judged on the draws
    # to which it was fitted: the estimate is then a quarter of a nat too low.
    z = np.random.default_rng(0).standard_normal((50, 1000, 2))
    log_density = scipy.stats.norm.logpdf(z).sum(axis=-1) - 3
    estimate = ml.hmc_density_estimator(hmc.Chains(z, log_density, np.ones(1000), np.ones(1000)))
    assert estimate.log_px.mean() == pytest.approx(-3, abs=0.03)
