"""The search of the latent space finds modes that are known."""

import numpy as np
import pytest
import tensorflow as tf

from replication import draws
from replication.errors import EstimatorError
from replication.model import modes

N, D = 40, 3
RNG = np.random.default_rng(0)
X = tf.constant(np.concatenate([RNG.normal(0, 1.5, size=(N, D)), RNG.uniform(-20, 2, size=(N, 1))], axis=1), tf.float32)
SDS = np.float32([[0.03, 0.1, 0.05], [0.4, 0.2, 0.3]])


def log_density(x: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
    """log of N(z; x, SDS[0]^2) + exp(h) N(z; 3 - x, SDS[1]^2), the height h the last column of x."""
    parts = [
        height - tf.reduce_sum(((z - centre) / sd) ** 2, -1) / 2 - np.log(sd * np.sqrt(2 * np.pi)).sum()
        for height, centre, sd in ((0.0, x[:, :D], SDS[0]), (x[:, D], 3 - x[:, :D], SDS[1]))
    ]
    return tf.reduce_logsumexp(parts, axis=0)


@pytest.mark.parametrize("seed", [0, 1])
def test_both_modes_are_found_with_place_width_and_mass(seed):
    # Fails if ascents do not climb, if two that meet count twice, or if a narrow mode is lost beside a wide one: of the
    # grid's points none is as near as a standard deviation.
    found = modes.search(log_density, (), X, D, draws.stream(seed, 0, "chains"))
    x, height = X.numpy()[:, :D], X.numpy()[:, D]
    is_separate = np.abs((2 * x - 3) / SDS.max(axis=0)).max(axis=1) > 6
    assert is_separate.sum() > N / 2
    for mass, centre, sd in ((np.zeros(N), x, SDS[0]), (height, 3 - x, SDS[1])):
        expected = is_separate & (mass > np.maximum(0, height) - modes.NEGLIGIBLE + 0.1)
        nearest = np.argmin(np.linalg.norm(found.z - centre, axis=-1) - 100 * np.isfinite(found.log_mass), axis=0)
        z, tril, log_mass = (part[nearest, np.arange(N)][expected] for part in found)
        assert np.all(np.abs(z - centre[expected]) < 0.2 * sd)
        np.testing.assert_allclose(log_mass, mass[expected], atol=0.05)
        covariance = tril @ np.swapaxes(tril, 1, 2) / np.outer(sd, sd)
        np.testing.assert_allclose(covariance, np.tile(np.eye(D), (len(z), 1, 1)), atol=0.05)
    n_found = np.isfinite(found.log_mass).sum(axis=0)
    np.testing.assert_array_equal(n_found[is_separate], np.where(np.abs(height) < modes.NEGLIGIBLE, 2, 1)[is_separate])


def test_the_mode_with_most_mass_comes_first():
    found = modes.search(log_density, (), X, D, draws.stream(0, 0, "chains"))
    assert np.all(found.log_mass[:-1] >= found.log_mass[1:]) and np.all(np.isfinite(found.log_mass[0]))


def test_a_density_without_a_finite_value_is_an_error():
    bad = tf.constant(np.where(np.arange(N)[:, None] == 3, np.nan, X.numpy()), tf.float32)
    with pytest.raises(EstimatorError, match="1 of 40 datapoints is finite nowhere"):
        modes.search(log_density, (), bad, D, draws.stream(0, 0, "chains"))


def test_a_start_leads_to_a_mode_that_the_grid_misses():
    # In 6 dimensions the grid has 5 points along each. A narrow mode beside a wide one at 0 is seen from a seventh of a
    # unit only. Fails if starts are not climbed from.
    n_latent, sd = 6, 0.02
    x = tf.constant(np.random.default_rng(1).uniform(-1, 1, size=(8, n_latent)), tf.float32)

    def wide_and_narrow(x: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
        wide = -tf.reduce_sum(z**2, axis=-1) / 2
        narrow = -tf.reduce_sum(((z - x) / sd) ** 2, axis=-1) / 2 - n_latent * np.log(sd)
        return tf.reduce_logsumexp(tf.stack([wide + 0 * narrow, narrow]), axis=0)

    for starts, mode in ((None, 0 * x), ((x + 0.01).numpy()[None], x)):
        found = modes.search(wide_and_narrow, (), x, n_latent, draws.stream(0, 0, "chains"), starts)
        np.testing.assert_allclose(found.z[0], mode, atol=0.05)
