"""Monte Carlo EM: its two phases, its chunks, and its count of samples."""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from replication import algorithms, data
from replication.algorithms import mcem
from replication.config import ConfigError, RunConfig
from replication.model.networks import BernoulliDecoder, Dense, decode

SEED = tf.constant(0, tf.int64)


def config_of(n_train: int = 60, **changes) -> RunConfig:
    return RunConfig(**{
        "dataset": "digits", "algorithm": "mcem", "n_latent": 2, "n_hidden": 8, "samples_total": 100,
        "n_train": n_train, "batch_size": n_train, "metric": "log_px", "learning_rate": 0.1, **changes,
    })  # fmt: skip


def images(n: int) -> tf.Tensor:
    return tf.constant(data.load("digits").x_train[:n])


@pytest.fixture(params=[None, 20], ids=["at once", "in chunks that do not fit"])
def n_train(request, monkeypatch) -> int:
    """59 datapoints, a prime number, as one chunk or as three of 20."""
    if request.param:
        monkeypatch.setattr(mcem, "MAX_CHUNK", request.param)
        monkeypatch.setattr(mcem, "MIN_CHUNK", 2)
    return 59


def test_em_climbs_the_complete_data_likelihood(n_train):
    # A wrong sign in either phase makes it fall.
    algorithm, x = algorithms.build(config_of(n_train)), images(n_train)
    state, step = algorithm.init(SEED), tf.function(algorithm.step, autograph=False)
    values = []
    for _ in range(40):
        state, complete_data = step(state, x, SEED)
        assert complete_data.objective.shape == n_train
        values.append(float(tf.reduce_mean(complete_data.objective)))
    assert values[-1] > values[0] + 5


def test_chains_move():
    # Fails if the E step returns the draws that it was given, or if hardly a move is accepted.
    algorithm, x = algorithms.build(config_of()), images(60)
    before = algorithm.init(SEED)
    for _ in range(2):
        after, _ = algorithm.step(before, x, SEED)
        assert np.any(after.z.numpy() != before.z.numpy(), axis=1).mean() > 0.5
        before = after


def test_chains_go_on_from_where_they_are():
    # Ten leapfrog steps of 1e-4 lead no further than some 1e-3 away. Fails if a step starts from the prior, or from the
    # draws of the step before the last.
    config, x = config_of(), images(60)[None]
    state = mcem.init(config, SEED)._replace(step_size=tf.constant(1e-4))
    for step in range(2):
        after = mcem._e_step(config, state._replace(step=tf.constant(step, tf.int64)), x, SEED)
        np.testing.assert_allclose(after.z, state.z, atol=0.02)
        state = state._replace(z=after.z + 1.0)


@pytest.mark.parametrize(("n_chunks", "chunk"), [(4, 15), (4, 17)])
def test_chunks_change_nothing_but_memory(n_chunks, chunk):
    # The gradient summed over chunks is that over all datapoints. Fails if what fills the last chunk has a share.
    config, x = config_of(), images(60)
    state = mcem.init(config, SEED)
    whole, log_px_given_z = mcem._m_step(config, state, x[None], state.z[None])
    filled = (tf.constant(np.resize(values, (n_chunks, chunk, values.shape[1]))) for values in (x, state.z))
    chunks, again = mcem._m_step(config, state, *filled)
    for one, other in zip(tf.nest.flatten(whole), tf.nest.flatten(chunks), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(again, log_px_given_z, rtol=1e-5)


def test_the_step_size_follows_the_chains_of_the_datapoints_alone(monkeypatch):
    # Three images in two chunks of two. Logits far above 0 explain white images whatever z is, so that their chains are
    # accepted; the black image that fills the second chunk has a density so steep that its chain is not.
    monkeypatch.setattr(mcem, "MAX_CHUNK", 2)
    config, x = config_of(3), mcem._in_chunks(tf.ones([3, 64]))
    state = mcem.init(config, SEED)
    w = tf.constant(np.random.default_rng(0).normal(0, 200, (8, 64)), tf.float32)
    decoder = BernoulliDecoder(state.params.decoder.hidden._replace(w=tf.ones([2, 8])), Dense(w, tf.fill(64, 3000.0)))
    after = mcem._e_step(config, state._replace(params=mcem.DecoderParams(decoder)), x, SEED)
    assert x.shape == (2, 2, 64) and np.all(after.z != state.z)
    assert float(after.step_size) > float(state.step_size)


def test_m_step_follows_the_gradient_of_log_p_x_z():
    config, x = config_of(weight_prior=0.0), images(60)
    state = mcem.init(config, SEED)
    with tf.GradientTape() as tape:
        tape.watch(state.params)
        log_px_given_z = tf.reduce_sum(decode(state.params.decoder, state.z).log_prob(x))
    gradient = tape.gradient(log_px_given_z, state.params)
    after, _ = mcem._m_step(config, state, x[None], state.z[None])
    for g, squares in zip(tf.nest.flatten(gradient), tf.nest.flatten(after.sum_of_squares), strict=True):
        np.testing.assert_allclose(np.abs(g), np.sqrt(squares), rtol=1e-2, atol=1e-3)
    for g, new, old in zip(*(tf.nest.flatten(part) for part in (gradient, after.params, state.params)), strict=True):
        clear = np.abs(g) > 0.01
        np.testing.assert_array_equal(np.sign(new - old)[clear], np.sign(g)[clear])


def test_the_m_step_has_the_whole_prior():
    # With and without the prior the gradients differ by -precision * w in every matrix, as N datapoints are a minibatch
    # of all N, and by 0 in every bias. Fails without the prior, or with a share of it.
    x, found = images(60), []
    for weight_prior in (400.0, 0.0):
        config = config_of(weight_prior=weight_prior, initialisation="paper_variance")
        state = mcem.init(config, SEED)
        after, _ = mcem._m_step(config, state, x[None], state.z[None])
        leaves = (tf.nest.flatten(part) for part in (after.params, state.params, after.sum_of_squares))
        found.append([tf.sign(new - old) * tf.sqrt(s) for new, old, s in zip(*leaves, strict=True)])
    for w, with_prior, without in zip(tf.nest.flatten(state.params), *found, strict=True):
        expected = -400 * w if w.shape.rank == 2 else tf.zeros_like(w)
        np.testing.assert_allclose(with_prior - without, expected, rtol=1e-3, atol=2e-2)


def test_the_e_step_is_one_trajectory_of_ten_leapfrog_steps():
    # Where x says nothing of z, p(z|x) is N(0, I), on which L leapfrog steps turn (z, momentum) by the angle
    # L arccos(1 - step_size^2 / 2): z after on z before has its cosine as slope. 5 steps have 0.88 for 0.54.
    n = 1500
    config = config_of(n)
    state = mcem.init(config, SEED)
    logits = state.params.decoder.logits
    decoder = state.params.decoder._replace(logits=logits._replace(w=tf.zeros_like(logits.w)))
    state = state._replace(params=mcem.DecoderParams(decoder), step_size=tf.constant(0.1))
    before, after = state.z.numpy(), mcem._e_step(config, state, mcem._in_chunks(images(n)), SEED).z.numpy()
    angle = 10 * np.arccos(1 - 0.1**2 / 2)
    slope = np.sum(before * after) / np.sum(before**2)
    assert slope == pytest.approx(np.cos(angle), abs=4 * np.sin(angle) / np.sqrt(2 * n))
    assert after.std() == pytest.approx(1, abs=4 / np.sqrt(4 * n))


def test_a_step_is_one_e_step_and_five_updates_with_its_draw():
    # Against the phases one by one. Fails with fewer updates, or if an update draws z anew.
    config, x = config_of(), images(60)
    state = mcem.init(config, SEED)
    after, complete_data = mcem.step(config, state, x, SEED)
    state = mcem._e_step(config, state, x[None], SEED)
    for _ in range(5):
        state, log_px_given_z = mcem._m_step(config, state, x[None], state.z[None])
    for one, other in zip(tf.nest.flatten(after.params), tf.nest.flatten(state.params), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    log_pz = scipy.stats.norm.logpdf(state.z).sum(axis=1)
    np.testing.assert_allclose(complete_data.objective, log_px_given_z + log_pz, rtol=1e-4)


def test_a_step_counts_every_evaluation_of_the_weight_updates_and_of_the_leapfrog_steps_where_asked_for():
    assert config_of(60).samples_per_step == 300
    assert config_of(60).replace(samples_counted="all_passes").samples_per_step == 900
    state = algorithms.build(config_of()).init(SEED)
    after, _ = algorithms.build(config_of()).step(state, images(60), SEED)
    assert int(after.step) == 1


@pytest.mark.parametrize(
    ("n", "chunk"),
    [
        (50_000, 1000),
        (1000, 1000),
        (1500, 750),
        (1565, 313),
        (297, 297),
        (3, 3),
        (1009, 505),
        (2018, 673),
        (10_007, 910),
    ],
)
def test_chunks_are_large_and_divide_the_data_evenly_where_they_can(n, chunk):
    # 1009 is a prime number: its only divisor below 1000 is 1, and HMC would move one datapoint at a time.
    assert mcem.chunk_size(n) == chunk


@pytest.mark.parametrize("changes", [{"batch_size": 10}, {"metric": "bound"}])
def test_mcem_has_no_minibatches_and_no_bound(changes):
    with pytest.raises(ConfigError, match="set batch_size = n_train and metric = log_px"):
        config_of(**changes)
