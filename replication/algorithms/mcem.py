"""Monte Carlo EM (section 5): no encoder; HMC samples z, then the decoder climbs the complete-data likelihood.

| paper | here |
|---|---|
| 10 HMC leapfrog steps, step size tuned to 90 % acceptance | the same; chains persist across steps, authors' rule |
| then 5 weight updates with the acquired sample | 5 Adagrad updates, each on all N datapoints |
| "training samples evaluated" is not defined for MCEM | `samples_counted`: 5 N, or 15 N with the leapfrog steps |
"""

import math
from functools import partial
from typing import NamedTuple

import tensorflow as tf

from replication import draws
from replication.algorithms.base import adagrad_ascent, log_prior_of_minibatch
from replication.config import N_MCEM_LEAPFROG, N_MCEM_UPDATES, RunConfig
from replication.model import hmc
from replication.model.networks import BernoulliDecoder, GaussianDecoder, decode, init_params, log_joint, prior

MIN_CHUNK, MAX_CHUNK = 100, 1000  # datapoints at a time: 50,000 would take gigabytes, and a chunk fits the cache


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
    x = _in_chunks(x)
    state = _e_step(config, state, x, seed)
    z = _in_chunks(state.z)
    for _ in range(N_MCEM_UPDATES):
        state, log_px_given_z = _m_step(config, state, x, z)
    return state._replace(step=state.step + 1), CompleteData(log_px_given_z, prior(config.n_latent).log_prob(state.z))


def chunk_size(n: int) -> int:
    """How many of n datapoints to take at a time: the largest divisor, or an even share where that would be small."""
    divisor = max(d for i in range(1, math.isqrt(n) + 1) if n % i == 0 for d in (i, n // i) if d <= MAX_CHUNK)
    return divisor if divisor >= MIN_CHUNK else math.ceil(n / math.ceil(n / MAX_CHUNK))


def _in_chunks(values: tf.Tensor) -> tf.Tensor:
    """[N, ...] to [n_chunks, chunk, ...]; the last chunk is filled up with zeros."""
    n, width = values.shape
    chunk = chunk_size(n)
    return tf.reshape(tf.pad(values, [[0, -n % chunk], [0, 0]]), [-1, chunk, width])


def _e_step(config: RunConfig, state: State, x: tf.Tensor, seed: tf.Tensor) -> State:
    """One HMC move of every chain; x [n_chunks, chunk, D], of which the first N are datapoints."""
    n_chunks = x.shape[0]

    def move_chunk(chunk: tuple[tf.Tensor, tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        i, x, z = chunk
        # Every chunk of every step has a number of its own; TFP sees the lower 32 bits, enough for 67 million of them.
        seed_pair = draws.stream(seed, state.step * n_chunks + i, "chains")
        log_density = partial(log_joint, state.params.decoder, x)
        z, info = hmc.move(log_density, z, state.step_size, N_MCEM_LEAPFROG, seed_pair)
        return z, info.is_accepted

    numbers = tf.range(1, n_chunks + 1, dtype=tf.int64)  # number 0 made the start
    chunks = numbers, x, _in_chunks(state.z)
    z, is_accepted = tf.map_fn(move_chunk, chunks, fn_output_signature=(tf.float32, tf.bool))
    z = tf.reshape(z, [-1, config.n_latent])[: config.n_train]
    acceptance = tf.reduce_mean(tf.cast(tf.reshape(is_accepted, [-1])[: config.n_train], tf.float32))
    return state._replace(z=z, step_size=hmc.adapt(state.step_size, acceptance, config.n_train))


def _m_step(config: RunConfig, state: State, x: tf.Tensor, z: tf.Tensor) -> tuple[State, tf.Tensor]:
    """One Adagrad update with the gradient summed over the N datapoints, chunk by chunk; also log p(x|z) before it [N].

    x [n_chunks, chunk, D], z [n_chunks, chunk, n_latent].
    """
    shape = x.shape[:2]
    is_datapoint = tf.reshape(tf.cast(tf.range(shape.num_elements()) < config.n_train, tf.float32), shape)
    with tf.GradientTape() as tape:
        tape.watch(state.params)
        log_prior = log_prior_of_minibatch(config, state.params)
    of_prior = tape.gradient(log_prior, state.params, unconnected_gradients="zero")

    def add_chunk(total, chunk):
        x, z, weight = chunk
        with tf.GradientTape() as tape:
            tape.watch(state.params)
            log_px_given_z = decode(state.params.decoder, z).log_prob(x)
        share = tape.gradient(log_px_given_z, state.params, output_gradients=weight)
        return tf.nest.map_structure(tf.add, total[0], share), log_px_given_z

    start = (of_prior, tf.zeros(x.shape[1]))
    gradients, log_px_given_z = tf.scan(add_chunk, (x, z, is_datapoint), start)
    gradient = tf.nest.map_structure(lambda g: g[-1], gradients)
    log_px_given_z = tf.reshape(log_px_given_z, [-1])[: config.n_train]
    return adagrad_ascent(state, gradient, config.learning_rate, config.warm_up_steps), log_px_given_z
