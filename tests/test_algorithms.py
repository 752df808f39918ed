"""One step of each algorithm against numpy and against what the algorithm is."""

import hashlib

import numpy as np
import pytest
import tensorflow as tf

from replication import algorithms, data
from replication.algorithms import wake_sleep
from replication.algorithms.base import State, adagrad_ascent
from replication.config import IncompatibleError, RunConfig
from replication.model import networks
from replication.model.networks import decode
from replication.runs import training

SEED = tf.constant(0, tf.int64)


def config_of(algorithm: str, **changes) -> RunConfig:
    return RunConfig(**{
        "dataset": "digits", "algorithm": algorithm, "n_latent": 2, "n_hidden": 8, "samples_total": 100,
        "batch_size": 50, "initialisation": "fan_in", "weight_prior": 0.0, **changes,
    })  # fmt: skip


def minibatch(seed: int = 0, n_pixels: int = 64) -> tf.Tensor:
    return tf.constant(np.random.default_rng(seed).random((50, n_pixels), np.float32))


def gradients(config: RunConfig, x: tf.Tensor, step: int = 0):
    """The gradient of one step: its size is the root of the accumulator, its sign that of the ascent."""
    algorithm = algorithms.build(config.replace(learning_rate=1.0))
    start = algorithm.init(SEED)
    state, _ = algorithm.step(start._replace(step=tf.constant(step, tf.int64)), x, SEED)
    return tf.nest.map_structure(
        lambda new, old, s: tf.sign(new - old) * tf.sqrt(s), state.params, start.params, state.sum_of_squares
    )


def test_adagrad_is_the_published_update():
    # Against numpy over three steps: accumulator from 0, epsilon under the root, ascent.
    params = np.float32([1.0, -2.0])
    state = State(tf.constant(0, tf.int64), tf.constant(params), tf.zeros(2))
    total = np.zeros(2)
    for gradient in np.float32([[3.0, 0.0], [-1.0, 1e-4], [0.5, 2.0]]):
        state = adagrad_ascent(state, tf.constant(gradient), learning_rate=0.02)
        total += gradient**2
        params = params + 0.02 * gradient / np.sqrt(total + 1e-8)
    np.testing.assert_allclose(state.params, params, rtol=1e-6)


def test_warm_up_only_accumulates():
    state = State(tf.constant(0, tf.int64), tf.zeros(1), tf.zeros(1))
    first = adagrad_ascent(state, tf.ones(1), 0.01, warm_up_steps=1)
    second = adagrad_ascent(first._replace(step=first.step + 1), tf.ones(1), 0.01, warm_up_steps=1)
    assert float(first.params[0]) == 0
    assert float(second.params[0]) == pytest.approx(0.01 / np.sqrt(2), rel=1e-5)


@pytest.mark.parametrize("name", ["aevb", "wake_sleep"])
def test_a_step_counts_itself(name):
    # Random draws are functions of the count: a step that forgot it would see the same minibatch for ever.
    algorithm = algorithms.build(config_of(name))
    state, bound = algorithm.step(algorithm.init(SEED), minibatch(), SEED)
    assert int(state.step) == 1 and bound.objective.shape == (50,)


def test_aevb_climbs_its_bound():
    # A sign error in the objective would make it fall.
    config = config_of("aevb", learning_rate=0.05)
    algorithm = algorithms.build(config)
    state, x = algorithm.init(SEED), tf.constant(data.load("digits").x_train[:50])
    step = tf.function(algorithm.step, autograph=False)
    bounds = []
    for _ in range(60):
        state, bound = step(state, x, SEED)
        bounds.append(float(tf.reduce_mean(bound.elbo)))
    assert np.mean(bounds[-10:]) > np.mean(bounds[:10]) + 5


@pytest.mark.parametrize("name", ["aevb", "wake_sleep"])
def test_weight_prior_enters_with_weight_m_over_n(name):
    # The difference of two gradients of the same step is -(M/N) * precision * w in every weight, 0 in every bias.
    # Fails if the prior pushes weights away from 0, misses a layer, reaches the biases or forgets M/N.
    config = config_of(name, n_train=200, weight_prior=40.0, initialisation="paper_variance")
    with_prior, without = gradients(config, minibatch()), gradients(config.replace(weight_prior=0.0), minibatch())
    params = algorithms.build(config).init(SEED).params
    for w, one, other in zip(*map(tf.nest.flatten, (params, with_prior, without)), strict=True):
        expected = -50 / 200 * 40 * w.numpy() if w.shape.rank == 2 else np.zeros(w.shape)
        np.testing.assert_allclose(one - other, expected, atol=1e-5 * np.abs(other).max())


def test_wake_phase_teaches_the_decoder_and_sleep_the_encoder():
    # The encoder of wake-sleep never sees data: other data leave its gradient as it is, to the bit.
    config = config_of("wake_sleep")
    one, other = gradients(config, minibatch(0)), gradients(config, minibatch(1))
    np.testing.assert_array_equal(one.encoder.hidden.w, other.encoder.hidden.w)
    assert not np.allclose(one.decoder.hidden.w, other.decoder.hidden.w)


def test_the_sleep_phase_climbs_log_q_of_its_dreams():
    # Against numpy: with r = (z - mu) / sigma^2 in the mean's head and ((z - mu)^2 / sigma^2 - 1) / 2 in the log
    # variance's, summed over dreams, and the chain rule behind. Fails with its sign reversed, halved, or averaged.
    config = config_of("wake_sleep", initialisation="paper_variance")
    state = algorithms.build(config).init(SEED)
    found = networks.to_arrays(gradients(config, minibatch()).encoder)
    z, x = (draw.numpy().astype(float) for draw in wake_sleep.dream(config, state, SEED))
    p = {name: value.astype(float) for name, value in networks.to_arrays(state.params.encoder).items()}
    h = np.tanh(x @ p["hidden.w"] + p["hidden.b"])
    deviation, variance = z - h @ p["mean.w"] - p["mean.b"], np.exp(h @ p["log_var.w"] + p["log_var.b"])
    r = {"mean": deviation / variance, "log_var": (deviation**2 / variance - 1) / 2}
    r["hidden"] = (1 - h**2) * (r["mean"] @ p["mean.w"].T + r["log_var"] @ p["log_var.w"].T)
    for layer, of_inputs in r.items():
        expected = (x if layer == "hidden" else h).T @ of_inputs, of_inputs.sum(axis=0)
        for name, gradient in zip("wb", expected, strict=True):
            np.testing.assert_allclose(found[f"{layer}.{name}"], gradient, rtol=1e-3, atol=1e-3, err_msg=layer)


def test_aevb_and_wake_sleep_share_the_decoder_gradient():
    # Both climb log p(x|z) with z ~ q(z|x) in the decoder; AEVB's encoder learns from the data.
    x = minibatch()
    aevb, sleep = gradients(config_of("aevb"), x), gradients(config_of("wake_sleep"), x)
    np.testing.assert_allclose(aevb.decoder.logits.w, sleep.decoder.logits.w, rtol=1e-3, atol=1e-5)
    assert not np.allclose(aevb.encoder.hidden.w, gradients(config_of("aevb"), minibatch(1)).encoder.hidden.w)


def test_dreams_come_from_the_model():
    # z ~ N(0, I) and x ~ p(x|z): the mean of the dreams is the mean of the decoder at their z.
    config = config_of("wake_sleep", batch_size=1500)
    state = algorithms.build(config).init(SEED)
    z, x = wake_sleep.dream(config, state, SEED)
    assert np.abs(z.numpy().mean(axis=0)).max() < 4 / np.sqrt(1500)
    assert z.numpy().std() == pytest.approx(1, abs=4 / np.sqrt(2 * 3000))
    means = decode(state.params.decoder, z).mean().numpy()
    standard_errors = np.sqrt((means * (1 - means)).sum(axis=0)) / 1500
    assert np.abs((x.numpy() - means).mean(axis=0) / standard_errors).max() < 4.5


def test_mean_dreams_are_the_decoders_mean_at_the_same_z():
    # Fails if the option changed z, or if it were ignored.
    config = config_of("wake_sleep", dreams="mean")
    state = algorithms.build(config).init(SEED)
    z, x = wake_sleep.dream(config, state, SEED)
    z_sampled, x_sampled = wake_sleep.dream(config.replace(dreams="sampled"), state, SEED)
    np.testing.assert_array_equal(z, z_sampled)
    np.testing.assert_allclose(x, decode(state.params.decoder, z).mean())
    assert set(np.unique(x_sampled)) == {0.0, 1.0}


@pytest.mark.parametrize("which", ["encoder", "decoder"])
def test_a_log_var_factor_slows_these_weights_and_no_others(which):
    # Behind a factor of 0.1 the gradient is a tenth. Adagrad's first step has the length of the learning rate wherever
    # the gradient is not tiny, so that the weights behind the factor move by a tenth of it.
    # Fails if the factor changed q(z|x) itself at the start, if it were left in the weights, or reached another layer.
    setting = {"encoder": "log_var_factor", "decoder": "decoder_log_var_factor"}[which]
    x, states = minibatch(n_pixels=560), {}
    for factor in (1.0, 0.1):
        changes = {"dataset": "frey_face", "initialisation": "paper_variance", setting: factor}
        algorithm = algorithms.build(config_of("wake_sleep", **changes))
        start = algorithm.init(SEED)
        after, bound = algorithm.step(start, x, SEED)
        moved = tf.nest.map_structure(lambda new, old: new - old, after.params, start.params)
        gradient = tf.nest.map_structure(tf.sqrt, after.sum_of_squares)
        states[factor] = networks.to_arrays(moved), networks.to_arrays(gradient), bound.elbo.numpy()
    (moved, gradient, bound), (moved_slowed, gradient_slowed, bound_slowed) = states[1.0], states[0.1]
    np.testing.assert_allclose(bound_slowed, bound, rtol=1e-5)
    for name, g in gradient.items():
        factor = 0.1 if name == f"{which}.log_var.w" else 1.0
        np.testing.assert_allclose(gradient_slowed[name], factor * g, rtol=1e-4, atol=1e-5 * g.max(), err_msg=name)
        is_clear = factor * g > 1e-2  # a hundred times the root of Adagrad's epsilon, far above rounding
        assert is_clear.mean() > 0.5, name
        np.testing.assert_allclose(moved_slowed[name][is_clear], factor * moved[name][is_clear], rtol=1e-3)


# Another value of each setting. A run's data and where its curve is evaluated are no part of a step.
OTHERS = {
    "n_latent": 3, "n_hidden": 9, "n_train": 50, "estimator": "sgvb_a", "batch_size": 30, "n_mc_samples": 2,
    "learning_rate": 0.02, "warm_up_steps": 1, "initialisation": "paper_variance", "hidden_units": "softplus",
    "targets": "binarised",
    "pixel_variance": "shared", "dreams": "mean", "log_var_factor": 0.5, "decoder_log_var_factor": 0.5,
    "weight_prior": 0.5, "prior_on": "authors", "weight_noise": "local", "seed": 1,
}  # fmt: skip


def first_step(config: RunConfig) -> str:
    """The hash of the state after one step on random images."""
    seed = tf.constant(config.seed, tf.int64)
    x_train = tf.constant(np.random.default_rng(0).random((config.n_train, config.facts.n_pixels), np.float32))
    algorithm = algorithms.build(config)
    start = algorithm.init(seed)
    x = training.minibatch(config, x_train, start.step, seed)
    state, _ = algorithm.step(start, x, seed)
    return hashlib.sha256(b"".join(leaf.numpy().tobytes() for leaf in tf.nest.flatten(state))).hexdigest()


@pytest.mark.parametrize(
    ("name", "dataset"),
    [*((name, "digits") for name in ("aevb", "wake_sleep", "mcem", "full_vb")), ("wake_sleep", "frey_face")],
)
def test_every_setting_changes_the_first_step_or_is_refused(name, dataset):
    # Fails if a setting that an algorithm or a likelihood does not use makes a run of another name.
    others = {"dataset", "preparation", "algorithm", "samples_total", "samples_counted", "metric", "n_evaluated"}
    assert OTHERS.keys() == RunConfig.model_fields.keys() - others
    needs = {"batch_size": 60, "metric": "log_px"} if name == "mcem" else {"batch_size": 20}
    config = RunConfig(dataset=dataset, algorithm=name, n_latent=2, n_hidden=8, n_train=60, samples_total=100, **needs)
    standard = first_step(config)
    for setting, value in OTHERS.items():
        changes = {setting: value} | ({"batch_size": value} if (name, setting) == ("mcem", "n_train") else {})
        try:
            other = config.replace(**changes)
        except IncompatibleError:
            continue
        assert first_step(other) != standard, setting
