"""Full VB against models whose evidence is known, and the parts of its bound."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.stats import multivariate_normal, norm

from replication import draws
from replication.algorithms import base, full_vb
from replication.config import ConfigError, RunConfig
from replication.model import networks
from replication.model.networks import BernoulliDecoder, Dense
from replication.runs import evaluation, training

SIGMA = 0.5


@pytest.fixture(scope="module")
def regression() -> tuple[np.ndarray, np.ndarray, float]:
    """Bayesian linear regression with orthogonal inputs, so that the posterior factorises; its exact log evidence."""
    rng = np.random.default_rng(0)
    x = 3 * np.linalg.qr(np.column_stack([np.ones(30), rng.normal(size=(30, 4))]))[0][:, 1:]
    y = 0.5 + x @ rng.normal(size=4) + SIGMA * rng.normal(size=30)
    return x, y, multivariate_normal(np.zeros(30), SIGMA**2 * np.eye(30) + x @ x.T + 1).logpdf(y)


def test_the_bound_of_linear_regression_becomes_the_log_evidence(regression):
    # Fails if zeta is scaled by the variance, if a KL term is missing or doubled, or if the log variances do not learn.
    x, y, log_evidence = regression
    x, y = tf.constant(x, tf.float32), tf.constant(y, tf.float32)
    start = Dense(tf.zeros([4, 1]), tf.zeros([1]))
    q = full_vb.Posterior(start, tf.nest.map_structure(lambda w: tf.fill(w.shape, full_vb.INITIAL_LOG_VAR), start))

    def bound(q, seed_pair):
        residual = (y - full_vb.sample_weights(q, seed_pair)(x)[:, 0]) / SIGMA
        log_likelihood = -tf.reduce_sum(residual**2) / 2 - 30 * np.log(SIGMA * np.sqrt(2 * np.pi))
        return log_likelihood - tf.add_n([tf.reduce_sum(kl) for kl in tf.nest.flatten(full_vb.kl_per_weight(q))])

    @tf.function
    def train(state, n_steps):
        for i in tf.range(n_steps):
            with tf.GradientTape() as tape:
                tape.watch(state.params)
                objective = bound(state.params, draws.stream(0, i, "weights"))
            state = base.adagrad_ascent(state, tape.gradient(objective, state.params), learning_rate=0.1)
        return state

    state = train(base.State(tf.constant(0, tf.int64), q, tf.nest.map_structure(tf.zeros_like, q)), 8000)
    one = tf.function(bound, autograph=False)
    values = np.array([one(state.params, draws.stream(1, i, "weights")) for i in range(500)])
    assert values.mean() == pytest.approx(log_evidence, rel=0.01)
    assert values.mean() < log_evidence + 4 * values.std() / np.sqrt(500)
    exact_variance = 1 / (1 + 9 / SIGMA**2)
    np.testing.assert_allclose(tf.exp(state.params.log_var.w), exact_variance, rtol=0.15)


def test_the_weights_kl_is_that_of_two_gaussians():
    q = full_vb.Posterior(
        Dense(tf.constant([[0.7]]), tf.constant([0.0])), Dense(tf.constant([[-1.0]]), tf.constant([0.0]))
    )
    kl = full_vb.kl_per_weight(q)
    grid = np.linspace(-8, 8, 20001)
    density = norm(0.7, np.exp(-0.5)).pdf(grid)
    log_ratio = norm(0.7, np.exp(-0.5)).logpdf(grid) - norm().logpdf(grid)
    assert kl.w.numpy().item() == pytest.approx(np.sum(density * log_ratio) * (grid[1] - grid[0]), rel=1e-4)
    assert kl.b.numpy().item() == 0


@pytest.fixture
def posterior() -> full_vb.Posterior:
    """A q(theta) of a small decoder with means and variances of all sizes."""
    rng = np.random.default_rng(0)
    shapes = BernoulliDecoder(Dense((1, 2), (2,)), Dense((2, 64), (64,)))
    mean, log_var = (
        BernoulliDecoder(*(Dense(*(tf.constant(rng.normal(m, 1, s), tf.float32) for s in layer)) for layer in shapes))
        for m in (0, -1)
    )
    return full_vb.Posterior(mean, log_var)


def quadrature_kl(posterior: full_vb.Posterior) -> float:
    """KL(q(theta) || p(theta)) by Gauss-Hermite quadrature, summed over all weights and biases."""
    zeta, share = np.polynomial.hermite_e.hermegauss(20)
    mean, log_var = (np.concatenate([w.numpy().ravel() for w in tf.nest.flatten(part)]) for part in posterior)
    stddev = np.exp(log_var.astype(float)[:, None] / 2)
    theta = mean[:, None] + stddev * zeta
    log_ratio = norm.logpdf(zeta) - np.log(stddev) - norm.logpdf(theta)
    return float(np.sum(log_ratio * share) / np.sqrt(2 * np.pi))


def test_over_the_whole_dataset_the_weights_kl_counts_once(posterior):
    # Six datapoints in three minibatches. Fails without the 1/N, with 1/M, or if a layer or the biases were left out.
    config = RunConfig(dataset="digits", algorithm="full_vb", n_latent=1, n_hidden=2, n_train=6, samples_total=1)
    params = full_vb.Params(networks.init_params(config, tf.constant(0, tf.int64)).encoder, posterior)
    x = np.random.default_rng(1).random((6, 64), np.float32)
    zeta_seed, total, parts = draws.stream(0, 0, "weights"), 0.0, 0.0
    for i in range(0, 6, 2):
        bound = full_vb.bound(params, x[i : i + 2], tf.zeros([1, 2, 1]), zeta_seed, config.n_train)
        total += float(tf.reduce_sum(bound.elbo))
        parts += float(tf.reduce_sum(bound.log_px_given_z - bound.kl))
    assert parts - total == pytest.approx(quadrature_kl(posterior), rel=1e-4)


def test_the_weights_kl_has_a_share_of_m_over_n_in_a_steps_gradient(posterior):
    # The gradients of one step for N = 40 and N = 1000 differ by (M/40 - M/1000) times that of the KL, mu in the means
    # and (sigma^2 - 1) / 2 in the log variances. Fails without the 1/N, or if the step climbed the minibatch's mean.
    found = []
    for n_train in (40, 1000):
        config = RunConfig(
            dataset="digits", algorithm="full_vb", n_latent=1, n_hidden=2, n_train=n_train, samples_total=1,
            batch_size=20, learning_rate=1.0,
        )  # fmt: skip
        start = full_vb.init(config, tf.constant(0, tf.int64))
        start = start._replace(params=start.params._replace(decoder=posterior))
        x = np.random.default_rng(1).random((20, 64), np.float32)
        state, _ = full_vb.step(config, start, x, tf.constant(0, tf.int64))
        found.append([
            np.sign(new - old) * np.sqrt(s)
            for new, old, s in zip(
                *(tf.nest.flatten(part.decoder) for part in (state.params, start.params, state.sum_of_squares)),
                strict=True,
            )
        ])  # fmt: skip
    kl_gradient = [*tf.nest.flatten(posterior.mean), *((tf.exp(v) - 1) / 2 for v in tf.nest.flatten(posterior.log_var))]
    for few, many, of_kl in zip(*found, kl_gradient, strict=True):
        np.testing.assert_allclose(many - few, (20 / 40 - 20 / 1000) * of_kl, rtol=1e-2, atol=1e-3)


def test_an_evaluation_reports_the_weights_kl_per_datapoint_and_the_share_of_idle_weights(posterior):
    # Fails with the KL of another N, or if the share were that of the weights that have learned something.
    config = RunConfig(dataset="digits", algorithm="full_vb", n_latent=1, n_hidden=2, n_train=6, samples_total=1)
    params = full_vb.Params(networks.init_params(config, tf.constant(0, tf.int64)).encoder, posterior)
    x = tf.constant(np.random.default_rng(1).random((6, 64), np.float32))
    row = evaluation.full_bound(config, params, x, draws.stream(0, 0, "evaluation"))
    mean, log_var = (np.concatenate([w.numpy().ravel() for w in tf.nest.flatten(part)]) for part in posterior)
    kl = (mean**2 + np.exp(log_var) - 1 - log_var) / 2
    assert 0 < (kl < 0.05).mean() < 0.5
    assert row["pruned"] == pytest.approx((kl < 0.05).mean())
    assert row["kl_weights"] == pytest.approx(quadrature_kl(posterior) / 6, rel=1e-4)
    assert row["value"] == pytest.approx(row["reconstruction"] - row["kl"] - row["kl_weights"], rel=1e-5)


def test_the_posterior_starts_at_the_initial_weights_with_a_standard_deviation_of_0_05(config):
    seed = tf.constant(0, tf.int64)
    mean, log_var = full_vb.init(config, seed).params.decoder
    for m, v, w in zip(*map(tf.nest.flatten, (mean, log_var, networks.init_params(config, seed).decoder)), strict=True):
        np.testing.assert_array_equal(m, w)
        np.testing.assert_allclose(tf.exp(v / 2), 0.05, rtol=0.01)


def test_noise_on_the_inputs_is_noise_on_the_weights():
    # Fails if the local reparameterisation forgets the bias' variance or squares the wrong factor.
    rng = np.random.default_rng(1)
    mean, log_var = (Dense(*(tf.constant(rng.normal(size=s), tf.float32) for s in ((3, 2), (2,)))) for _ in range(2))
    inputs = tf.constant(rng.normal(size=(1, 3)), tf.float32)
    n = 20_000
    local = full_vb.noisy_dense(mean, log_var, tf.repeat(inputs, n, axis=0), draws.stream(0, 0, "weights")).numpy()
    w = mean.w + tf.exp(log_var.w / 2) * rng.normal(size=(n, 3, 2)).astype("f")
    b = mean.b + tf.exp(log_var.b / 2) * rng.normal(size=(n, 2)).astype("f")
    shared = (tf.linalg.matmul(inputs[None], w)[:, 0] + b).numpy()
    se = shared.std(axis=0) / np.sqrt(n)
    assert np.all(np.abs(local.mean(axis=0) - shared.mean(axis=0)) < 4 * np.sqrt(2) * se)
    np.testing.assert_allclose(local.var(axis=0), shared.var(axis=0), rtol=4 * np.sqrt(4 / n))


@pytest.fixture
def config(tiny) -> RunConfig:
    return tiny.replace(algorithm="full_vb", n_train=297, samples_total=10_000)  # as many as in test: one program


def test_both_kinds_of_noise_estimate_the_same_bound(config):
    params = full_vb.init(config, tf.constant(0, tf.int64)).params
    x = tf.constant(np.random.default_rng(0).random((5, 64)), tf.float32)
    eps = tf.zeros([1, 5, 2])

    def mean(noise):
        one = tf.function(
            lambda i: full_vb.bound(params, x, eps, draws.stream(0, i, "weights"), 200, noise).elbo, autograph=False
        )
        values = [one(tf.constant(i, tf.int64)) for i in range(300)]
        return np.mean(values, axis=0), np.std(values, axis=0) / np.sqrt(300)

    (shared, se_shared), (local, se_local) = mean("shared"), mean("local")
    assert np.all(np.abs(shared - local) < 4 * np.hypot(se_shared, se_local))


@pytest.mark.slow
@pytest.mark.parametrize("noise", ["shared", "local"])
def test_a_run_records_the_parts_of_its_bound(config, tmp_path, noise):
    curve = training.train(config.replace(weight_noise=noise), tmp_path).curve
    parts = curve["reconstruction"] - curve["kl"] - curve["kl_weights"]
    np.testing.assert_allclose(curve["value"], parts, atol=1e-3)
    np.testing.assert_allclose(curve["bound_sampled"], curve["value"] + curve["kl_weights"], atol=1e-3)
    assert curve["pruned"].between(0, 1).all() and (curve["bound_at_mean"] > curve["value"]).all()


def test_full_vb_has_no_log_px(config):
    with pytest.raises(ConfigError, match="no log p"):
        config.replace(metric="log_px")
