"""Full variational Bayes (appendix F): a Gaussian q over the decoder's weights and biases too.

| paper | here |
|---|---|
| q(theta) with mean and variance per parameter, theta = mu + sigma * zeta (eq. 20, 21) | the same |
| prior p(theta) | N(0, I) on weights and biases |
| the estimator of eq. 22 with a sample of theta | its KL terms in closed form; one zeta per step (`shared`) |
| encoder parameters phi are variational parameters | the same: they have no prior and no posterior |

`config.weight_noise = "local"` draws the noise per datapoint, on the units' inputs (local reparameterisation, Kingma,
Salimans & Welling 2015): the same bound, its gradient with less variance.
"""

from typing import NamedTuple

import tensorflow as tf
import tensorflow_probability as tfp

from replication import draws
from replication.algorithms.base import State, adagrad_ascent, start
from replication.config import RunConfig
from replication.model import networks
from replication.model.networks import BernoulliDecoder, Dense, Encoder, GaussianDecoder

Decoder = BernoulliDecoder | GaussianDecoder
INITIAL_LOG_VAR = -6.0  # s.d. 0.05: the likelihood decides early, the KL widens what the data leave open


class Posterior(NamedTuple):
    """q(theta) = N(mu, diag sigma^2), shaped as the decoder."""

    mean: Decoder
    log_var: Decoder


class Params(NamedTuple):
    """The encoder as it is, the decoder as a distribution."""

    encoder: Encoder
    decoder: Posterior


class FullBound(NamedTuple):
    """The bound of eq. 22 term by term, per datapoint [M], in nats; `kl_weights` is KL(q(theta) || p(theta)) / N."""

    log_px_given_z: tf.Tensor
    kl: tf.Tensor
    kl_weights: tf.Tensor

    @property
    def elbo(self) -> tf.Tensor:
        """E_q[log p(x|z, theta)] - KL(q(z|x) || p(z)) - KL(q(theta) || p(theta)) / N."""
        return self.log_px_given_z - self.kl - self.kl_weights

    @property
    def objective(self) -> tf.Tensor:
        """The term that the algorithm maximises: the bound."""
        return self.elbo


def init(config: RunConfig, seed: tf.Tensor) -> State:
    """The initial weights as means, with a small variance."""
    initial = networks.init_params(config, seed)
    log_var = tf.nest.map_structure(lambda w: tf.fill(w.shape, INITIAL_LOG_VAR), initial.decoder)
    return start(Params(initial.encoder, Posterior(initial.decoder, log_var)))


def step(config: RunConfig, state: State, x: tf.Tensor, seed: tf.Tensor) -> tuple[State, FullBound]:
    """One stochastic gradient step on the sum of the bound over a minibatch x [M, D]."""
    eps = draws.normal(draws.stream(seed, state.step, "eps"), [config.n_mc_samples, config.batch_size, config.n_latent])
    zeta_seed = draws.stream(seed, state.step, "weights")
    with tf.GradientTape() as tape:
        tape.watch(state.params)
        estimate = bound(state.params, x, eps, zeta_seed, config.n_train, config.weight_noise)
        objective = tf.reduce_sum(estimate.elbo)
    gradient = tape.gradient(objective, state.params)
    state = adagrad_ascent(state, gradient, config.learning_rate, config.warm_up_steps)
    return state._replace(step=state.step + 1), estimate


def bound(
    params: Params, x: tf.Tensor, eps: tf.Tensor, zeta_seed: tf.Tensor, n_train: int, weight_noise: str = "shared"
) -> FullBound:
    """An unbiased estimate of the bound per datapoint; x [M, D], eps [L, M, n_latent] standard normal."""
    q_z_given_x = networks.encode(params.encoder, x)
    z = q_z_given_x.mean() + q_z_given_x.stddev() * eps
    decode = {"shared": _decode_shared, "local": _decode_local}[weight_noise]
    log_px_given_z = tf.reduce_mean(decode(params.decoder, z, zeta_seed).log_prob(x), axis=0)
    kl = tfp.distributions.kl_divergence(q_z_given_x, networks.prior(eps.shape[-1]))
    kl_weights = tf.add_n([tf.reduce_sum(part) for part in tf.nest.flatten(kl_per_weight(params.decoder))]) / n_train
    return FullBound(log_px_given_z, kl, tf.fill(tf.shape(kl), kl_weights))


def sample_weights(posterior: Posterior, zeta_seed: tf.Tensor) -> Decoder:
    """theta = mu + sigma * zeta, zeta standard normal (eq. 21)."""
    means = tf.nest.flatten(posterior.mean)
    zetas = tf.split(draws.normal(zeta_seed, [sum(w.shape.num_elements() for w in means)]), [tf.size(w) for w in means])
    zeta = tf.nest.pack_sequence_as(posterior.mean, [tf.reshape(z, w.shape) for z, w in zip(zetas, means, strict=True)])
    return tf.nest.map_structure(lambda m, v, z: m + tf.exp(v / 2) * z, posterior.mean, posterior.log_var, zeta)


def kl_per_weight(posterior: Posterior) -> Decoder:
    """KL(N(mu, sigma^2) || N(0, 1)) of every weight and bias, in nats (appendix F)."""
    return tf.nest.map_structure(lambda m, v: (m**2 + tf.exp(v) - 1 - v) / 2, posterior.mean, posterior.log_var)


def _decode_shared(posterior: Posterior, z: tf.Tensor, zeta_seed: tf.Tensor) -> networks.tfd.Distribution:
    return networks.decode(sample_weights(posterior, zeta_seed), z)


def _decode_local(posterior: Posterior, z: tf.Tensor, zeta_seed: tf.Tensor) -> networks.tfd.Distribution:
    """p(x|z, theta) with theta drawn anew for every datapoint, through the units' inputs."""
    mean, log_var = posterior

    def noisy(layer: int, inputs: tf.Tensor) -> tf.Tensor:
        # Not `draws.fold_in`, which would change every recorded run. A layer of its own lies in the upper 32 bits of
        # the counter, which `draws.stream` leaves free for 2^32 / MAX_STREAMS = 67 million steps.
        return noisy_dense(mean[layer], log_var[layer], inputs, zeta_seed + tf.constant([0, layer << 32], tf.int64))

    h = tf.tanh(noisy(0, z))
    return networks.likelihood(type(mean), *(noisy(layer, h) for layer in range(1, len(mean))))


def noisy_dense(mean: Dense, log_var: Dense, inputs: tf.Tensor, seed_pair: tf.Tensor) -> tf.Tensor:
    """A draw of inputs @ w + b [..., n_out], w and b Gaussian and drawn per row: its mean and variance are exact."""
    variance = Dense(tf.exp(log_var.w), tf.exp(log_var.b))(inputs**2)
    return mean(inputs) + tf.sqrt(variance) * draws.normal(seed_pair, tf.shape(variance))
