"""What a trained model shows, against the formulas and against scikit-learn."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression

from replication import data, paths
from replication.config import RunConfig
from replication.model import latent, networks
from replication.paper import experiments
from replication.paper.plans import make_plan
from replication.runs import records


@pytest.fixture
def params() -> networks.Params:
    config = RunConfig(dataset="digits", algorithm="aevb", n_latent=2, n_hidden=8, samples_total=1)
    return networks.init_params(config.replace(initialisation="fan_in"), tf.constant(0, tf.int64))


def recorded(run: RunConfig) -> networks.Params:
    return networks.from_arrays(records.load_weights(run, paths.runs("paper")))


def test_proposals_give_log_px_of_a_model_whose_z_says_nothing(params):
    # Then log p(x) = log p(x|z) for each z, and every draw of the prior counts. Fails if q(z) is left out of a weight.
    logits = params.decoder.logits
    bias = tf.constant(np.random.default_rng(0).normal(size=64), tf.float32)
    silent = params.decoder._replace(logits=logits._replace(w=tf.zeros_like(logits.w), b=bias))
    x = data.load("digits").x_test[:10]
    exact = networks.decode(silent, tf.zeros([10, 2])).log_prob(x).numpy().mean()
    proposals = latent.proposals(params._replace(decoder=silent), x, 2000, seed=0)
    assert proposals["prior"].log_px == pytest.approx(exact, abs=1e-3)
    assert proposals["prior"].ess == pytest.approx(2000, rel=1e-3)
    assert proposals["encoder"].log_px == pytest.approx(exact, abs=0.2)


def test_the_unit_square_is_linear_in_the_prior_s_cdf():
    # Fails if the square is linear in z, or if its rows do not start at the top.
    u = norm.cdf(latent.unit_square(4)).reshape(4, 4, 2)
    np.testing.assert_allclose(u[0, :, 0], [0.125, 0.375, 0.625, 0.875], atol=1e-6)
    np.testing.assert_allclose(u[:, 0, 1], [0.875, 0.625, 0.375, 0.125], atol=1e-6)
    np.testing.assert_allclose(latent.to_unit_square(latent.unit_square(4)), u.reshape(-1, 2))


def test_a_manifold_needs_two_latent_dimensions(params):
    assert latent.manifold(params, 3).shape == (9, 64)
    decoder = params.decoder._replace(hidden=networks.Dense(tf.zeros([3, 8]), tf.zeros(8)))
    with pytest.raises(latent.LatentError, match="this model has 3: choose n_latent = 2"):
        latent.manifold(params._replace(decoder=decoder), 3)


def test_an_interpolation_starts_and_ends_at_the_reconstructions(params):
    x = np.random.default_rng(0).random((2, 64), dtype=np.float32)
    line = latent.interpolation(params, x[0], x[1], 5)
    ends = latent.decoder_mean(params, latent.encoder_mean(params, x))
    np.testing.assert_allclose(line[[0, -1]], ends, rtol=1e-5)


def test_kl_per_dimension_sums_to_the_kl_of_the_bound(params):
    # Fails if the KL is that of another distribution, or a sum over datapoints instead of their mean.
    x = np.random.default_rng(0).random((50, 64), dtype=np.float32)
    whole = networks.encode(params.encoder, x).kl_divergence(networks.prior(2)).numpy().mean()
    assert latent.kl_per_dimension(params.encoder, tf.constant(x)).sum() == pytest.approx(whole, rel=1e-5)


@pytest.mark.parametrize("log_var", [-300, -110, -20, -1e-3, 0, 1e-3, 20, 100, 300])
def test_kl_per_dimension_is_exact_at_extreme_variances(params, log_var):
    # Fails if the KL is taken from a float32 variance, which is 0 at -110 and infinite at 100, or cancels near 0.
    mean, log_var = np.float32([0.3, 0]), np.float32(log_var)
    heads = {
        "mean": networks.Dense(tf.zeros([8, 2]), tf.constant(mean)),
        "log_var": networks.Dense(tf.zeros([8, 2]), tf.fill([2], log_var)),
    }
    m, v = np.longdouble(mean), np.longdouble(log_var)
    exact = (m**2 + np.exp(v) - 1 - v) / 2
    kl = latent.kl_per_dimension(params.encoder._replace(**heads), tf.zeros([3, 64]))
    np.testing.assert_allclose(kl, exact.astype(float), rtol=1e-9)


def test_the_mnist_manifold_shows_nearly_all_digits(load_or_skip):
    # Fails if the recorded 2-D model is untrained or collapsed, or if its weights are another's.
    mnist = load_or_skip("mnist")
    classifier = LogisticRegression(max_iter=200, tol=0.01).fit(mnist.x_train[:2000], mnist.labels_train[:2000])
    run = experiments.manifolds(make_plan("paper", datasets="mnist"))[0]
    found = classifier.predict(latent.manifold(recorded(run), experiments.MANIFOLD_SIDES["mnist"]))
    assert len(set(found)) >= 9


def test_the_frey_face_manifold_is_smooth(load_or_skip):
    # Neighbours on the 10 x 10 grid are more alike than faces at random, and the grid is no constant.
    faces = load_or_skip("frey_face").x_test
    run = experiments.manifolds(make_plan("paper", datasets="frey_face"))[0]
    grid = latent.manifold(recorded(run), 10).reshape(10, 10, -1)
    between_neighbours = np.abs(np.diff(grid, axis=1)).mean()
    between_faces = np.abs(faces[:200] - faces[200:]).mean()
    assert between_neighbours < between_faces / 3
    assert np.abs(grid[0, 0] - grid[-1, -1]).mean() > between_faces / 3
