"""Monte Carlo EM (section 5): no encoder; HMC samples z, then the decoder climbs the complete-data likelihood.

| paper | here |
|---|---|
| 10 HMC leapfrog steps, step size tuned to 90 % acceptance | the same; chains persist across steps, authors' rule |
| then 5 weight updates with the acquired sample | 5 Adagrad updates, each on all N datapoints |
| "training samples evaluated" is not defined for MCEM | each update evaluates every datapoint: a step counts 5 N |

The other reading, that a step evaluates N datapoints, moves the curves left by a factor of 5.
"""

import math
from functools import partial
from typing import NamedTuple

import tensorflow as tf

from replication import draws
from replication.algorithms.base import adagrad_ascent, log_prior_of_minibatch
from replication.config import N_MCEM_UPDATES, RunConfig
from replication.model import hmc
from replication.model.networks import BernoulliDecoder, GaussianDecoder, decode, init_params, log_joint, prior

N_LEAPFROG = 10
MAX_CHUNK = 1000  # datapoints at a time: 50,000 would take gigabytes, and a chunk fits the cache


class DecoderParams(NamedTuple):
    """The parameters of a model without encoder."""

    decoder: BernoulliDecoder | GaussianDecoder


class State(NamedTuple):
    """Parameters, Adagrad's accumulator, and one chain per datapoint: z [N, n_latent]; all share `step_size`."""

    step: tf.Tensor
    params: DecoderParams
    sum_of_squares: DecoderParams
    z: tf.Tensor
    step_size: tf.Tensor


class CompleteData(NamedTuple):
    """log p(x, z) of the current sample term by term, per datapoint [N], in nats."""

    log_px_given_z: tf.Tensor
    log_pz: tf.Tensor

    @property
    def objective(self) -> tf.Tensor:
        """log p(x|z) + log p(z)."""
        return self.log_px_given_z + self.log_pz


def init(config: RunConfig, seed: tf.Tensor) -> State:
    """Initial decoder, and chains that start at draws from the prior."""
    params = DecoderParams(init_params(config, seed).decoder)
    z = draws.normal(draws.stream(seed, 0, "chains"), [config.n_train, config.n_latent])
    zeros = tf.nest.map_structure(tf.zeros_like, params)
    return State(tf.constant(0, tf.int64), params, zeros, z, tf.constant(hmc.INITIAL_STEP_SIZE))


def step(config: RunConfig, state: State, x: tf.Tensor, seed: tf.Tensor) -> tuple[State, CompleteData]:
    """E: one HMC move of every chain; M: N_MCEM_UPDATES updates on sum_N log p(x, z) + log p(theta); x [N, D]."""
    chunk = largest_divisor(config.n_train, MAX_CHUNK)
    x = tf.reshape(x, [-1, chunk, config.facts.n_pixels])
    state = _e_step(config, state, x, seed)
    z = tf.reshape(state.z, [-1, chunk, config.n_latent])
    for _ in range(N_MCEM_UPDATES):
        state, log_px_given_z = _m_step(config, state, x, z)
    complete_data = CompleteData(tf.reshape(log_px_given_z, [-1]), prior(config.n_latent).log_prob(state.z))
    return state._replace(step=state.step + 1), complete_data


def largest_divisor(n: int, at_most: int) -> int:
    """The largest chunk that divides n datapoints evenly."""
    return max(d for i in range(1, math.isqrt(n) + 1) if n % i == 0 for d in (i, n // i) if d <= at_most)


def _e_step(config: RunConfig, state: State, x: tf.Tensor, seed: tf.Tensor) -> State:
    n_chunks = x.shape[0]

    def move_chunk(chunk: tuple[tf.Tensor, tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        i, x, z = chunk
        # Every chunk of every step has a number of its own; TFP sees the lower 32 bits, enough for 67 million of them.
        seed_pair = draws.stream(seed, state.step * n_chunks + i, "chains")
        log_density = partial(log_joint, state.params.decoder, x)
        z, info = hmc.move(log_density, z, state.step_size, N_LEAPFROG, seed_pair)
        return z, info.is_accepted

    z = tf.reshape(state.z, [n_chunks, -1, config.n_latent])
    numbers = tf.range(1, n_chunks + 1, dtype=tf.int64)  # number 0 made the start
    z, is_accepted = tf.map_fn(move_chunk, (numbers, x, z), fn_output_signature=(tf.float32, tf.bool))
    acceptance = tf.reduce_mean(tf.cast(is_accepted, tf.float32))
    step_size = hmc.adapt(state.step_size, acceptance, config.n_train)
    return state._replace(z=tf.reshape(z, [-1, config.n_latent]), step_size=step_size)


def _m_step(config: RunConfig, state: State, x: tf.Tensor, z: tf.Tensor) -> tuple[State, tf.Tensor]:
    """One Adagrad update with the gradient summed over all chunks; also log p(x|z) before it [n_chunks, chunk]."""
    with tf.GradientTape() as tape:
        tape.watch(state.params)
        log_prior = log_prior_of_minibatch(config, state.params)
    of_prior = tape.gradient(log_prior, state.params, unconnected_gradients="zero")

    def add_chunk(total, chunk):
        x, z = chunk
        with tf.GradientTape() as tape:
            tape.watch(state.params)
            log_px_given_z = decode(state.params.decoder, z).log_prob(x)
        share = tape.gradient(log_px_given_z, state.params)
        return tf.nest.map_structure(tf.add, total[0], share), log_px_given_z

    start = (of_prior, tf.zeros(x.shape[1]))
    gradients, log_px_given_z = tf.scan(add_chunk, (x, z), start)
    gradient = tf.nest.map_structure(lambda g: g[-1], gradients)
    return adagrad_ascent(state, gradient, config.learning_rate, config.warm_up_steps), log_px_given_z
