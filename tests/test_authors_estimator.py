"""The authors' estimator of log p(x): its density, its mean, and its chains."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.stats import gaussian_kde, norm, t

from replication import draws
from replication.config import RunConfig
from replication.model import hmc, networks
from replication.model.marginal_likelihood import Estimate
from replication.paper import reference
from replication.paper.experiments import figure3
from replication.paper.plans import make_plan
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


def test_the_first_moves_of_a_report_are_no_draws(monkeypatch):
    # Each move goes one to the right. Fails if the burn-in is among the draws.
    info = hmc.Info(tf.ones(3, bool), tf.zeros(3))
    monkeypatch.setattr(hmc, "move", lambda log_density, z, *_: (z + 1, info))
    chains = authors_estimator.start(tf.zeros([3, 2]))
    of_z = (lambda x, z: tf.reduce_sum(z, -1)), (), tf.zeros([3, 1])
    z, log_density, chains = authors_estimator._draws(*of_z, chains, draws.stream(0, 0, "chains"))
    n_burnin, n_samples = authors_estimator.N_BURNIN, authors_estimator.N_SAMPLES
    np.testing.assert_array_equal(z[:, 0, 0], np.arange(n_burnin, n_burnin + n_samples) + 1)
    np.testing.assert_array_equal(log_density, tf.reduce_sum(z, -1))
    np.testing.assert_array_equal(chains.z, n_burnin + n_samples)


def test_chains_start_at_draws_of_the_encoder():
    # N(3, 0.5^2), whatever x. Fails if the variance is taken for the standard deviation.
    def dense(n_in: int, n_out: int, bias: float) -> networks.Dense:
        return networks.Dense(tf.zeros([n_in, n_out]), tf.fill([n_out], bias))

    encoder = networks.Encoder(dense(4, 5, 0.0), dense(5, 2, 3.0), dense(5, 2, float(np.log(0.25))))
    x, seed_pair = tf.zeros([20_000, 4]), draws.stream(0, 0, "evaluation")
    z = authors_estimator._from_the_encoder(networks.Params(encoder, None), x, seed_pair).z.numpy()
    assert z.mean() == pytest.approx(3, abs=0.02) and z.std() == pytest.approx(0.5, abs=0.01)


@pytest.mark.slow
def test_living_chains_go_on_from_report_to_report_on_the_model_as_it_is_at_each():
    # 6 reports of 55 moves, each of which takes the step size up or down: an even power, where chains that start anew
    # have an odd one. The estimate is of the final model: fails by some 30 nats if the first step's is kept.
    config = RunConfig(
        dataset="digits", algorithm="aevb", n_latent=2, n_hidden=16, n_train=500, metric="log_px", samples_total=5000,
        learning_rate=0.1,
    )  # fmt: skip
    _, n_reports, reports = authors_estimator.living(config, 1000)
    assert n_reports == 6 and list(reports) == ["train", "test"]
    for log_px, chains in reports.values():
        powers = np.round(np.log(chains.step_size / INITIAL_STEP_SIZE) / np.log(FACTOR))
        assert np.all(powers % 2 == 0) and np.isfinite(log_px).all()
    _, _, of_start = authors_estimator.living(config.replace(samples_total=100), 1000)
    assert reports["test"][0].mean() > of_start["test"][0].mean() + 5


@pytest.mark.parametrize("run", authors_estimator.TRAINED, ids=lambda run: f"{run.algorithm}-{run.n_train}")
def test_a_run_is_that_of_the_reading_and_reports_as_often_as_the_papers_curve(run):
    # Fails where the reading's settings move, or if the reports are those of another panel: the median step between two
    # vertices is within 5 % of the interval.
    (of_reading,) = (
        config
        for config in figure3(make_plan("paper", reading="authors"))
        if (config.algorithm, config.n_train) == (run.algorithm, run.n_train)
    )
    assert run.config() == of_reading.replace(samples_total=run.config().samples_total)
    vertices = reference.vertices()
    is_its = (vertices["metric"] == "log_px") & (vertices["algorithm"] == run.algorithm)
    on_test = vertices[is_its & (vertices["n_train"] == run.n_train) & (vertices["split"] == "test")]
    assert np.median(np.diff(on_test["samples_evaluated"])) == pytest.approx(run.report_every, rel=0.05)


def test_the_bias_on_known_models_is_the_estimate_minus_the_truth(monkeypatch):
    # Fails if the sign is turned, if reports are mixed, or if a datapoint without an estimate is in a mean.
    exact = np.array([-3.0, -4.0, -5.0])
    model = calibration.KnownModel("known", 2, None, (), lambda seed_pair: (tf.zeros([3, 1]), exact))
    estimates = [exact + 0.5, np.where([False, False, True], np.nan, exact - [0.0, 2.0, 0.0])]
    monkeypatch.setattr(authors_estimator, "_reports", lambda *_: estimates)
    first, later = authors_estimator.on_known_models([model], n_seeds=2).to_dict("records")
    assert (first["report"], later["report"]) == authors_estimator.REPORTS
    assert first["bias"] == pytest.approx(0.5) == first["rms_error"] and first["failed"] == 0
    assert later["bias"] == pytest.approx(-1) and later["rms_error"] == pytest.approx(2**0.5) and later["failed"] == 2


def test_on_trained_models_the_difference_is_the_authors_estimate_minus_importance_sampling(monkeypatch):
    # Fails if the sign is turned, if the mean counts a datapoint without an estimate, or if splits or chains are mixed.
    def estimate(log_px: np.ndarray) -> Estimate:
        return Estimate(log_px, *np.ones((3, len(log_px))))

    importance = np.full(100, -130.0)
    above = {"train": 2.0, "test": 1.0}
    authors = {split: importance + more for split, more in above.items()}
    authors["test"][0] = np.nan
    params = networks.Params(None, None)
    monkeypatch.setattr(authors_estimator, "living", lambda *_: (params, 9, {s: (authors[s], None) for s in above}))
    monkeypatch.setattr(authors_estimator.training, "dataset", lambda *_: None)
    monkeypatch.setattr(authors_estimator.evaluation, "datapoints", lambda *_: {"train": None, "test": None})
    ours = estimate(importance - 1), estimate(importance), None
    monkeypatch.setattr(authors_estimator.evaluation, "estimate_log_px", lambda *_: ours)
    monkeypatch.setattr(authors_estimator, "_from_the_encoder", lambda *_: None)
    fresh = [importance - 3, importance + np.linspace(-4, 4, 100)]
    monkeypatch.setattr(authors_estimator, "_reports", lambda *_: fresh)
    monkeypatch.setattr(authors_estimator, "TRAINED", authors_estimator.TRAINED[:1])
    table = authors_estimator.on_trained_models().set_index(["split", "chains", "report"])
    for split, more in above.items():
        row = table.loc[split, "living", 9]
        assert row["difference"] == pytest.approx(more) and row["authors"] == pytest.approx(-130 + more)
        assert row["appendix_d"] == pytest.approx(-131) and row["failed"] == (split == "test")
    assert table.loc["test", "fresh", 1]["difference"] == pytest.approx(-3)
    spread = table.loc["train", "fresh", 5]
    assert spread["low"] == pytest.approx(-3.6) and spread["high"] == pytest.approx(3.6)
    assert spread["difference_se"] == pytest.approx(np.std(fresh[1], ddof=1) / 10)
