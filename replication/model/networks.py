"""Encoder and decoder: MLPs with one hidden layer whose outputs are TFP distributions (appendix C)."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from replication import draws
from replication.config import RunConfig


class Dense(NamedTuple):
    """An affine layer: `w` [n_in, n_out], `b` [n_out]; as a hidden layer, of tanh units."""

    w: tf.Tensor
    b: tf.Tensor

    def __call__(self, inputs: tf.Tensor) -> tf.Tensor:
        """[..., n_in] to [..., n_out]."""
        return tf.tensordot(inputs, self.w, axes=1) + self.b

    def units(self, inputs: tf.Tensor) -> tf.Tensor:
        """The hidden units [..., n_out] for inputs [..., n_in]."""
        return tf.tanh(self(inputs))


class SoftplusDense(Dense):
    """A hidden layer of softplus units, log(1 + exp(.))."""

    def units(self, inputs: tf.Tensor) -> tf.Tensor:
        """The hidden units [..., n_out] for inputs [..., n_in]."""
        return tf.math.softplus(self(inputs))


HIDDEN_LAYERS: dict[str, type[Dense]] = {"tanh": Dense, "softplus": SoftplusDense}


class Encoder(NamedTuple):
    """The parameters phi of q(z|x)."""

    hidden: Dense
    mean: Dense
    log_var: Dense


class BernoulliDecoder(NamedTuple):
    """The parameters theta of a Bernoulli p(x|z)."""

    hidden: Dense
    logits: Dense

    def log_px_given_common_z(self, x: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
        """log p(x|z) [..., N] of all x [N, D] for each z [..., n_latent]: x l - sum log(1 + exp(l)), l the logits.

        A matrix product: one hidden layer and one sum over pixels serve all datapoints.
        """
        h = self.hidden.units(z)
        x_l = tf.tensordot(h, self.logits.w @ tf.transpose(x), axes=1) + tf.linalg.matvec(x, self.logits.b)
        return x_l - tf.reduce_sum(tf.math.softplus(self.logits(h)), axis=-1, keepdims=True)


class GaussianDecoder(NamedTuple):
    """The parameters theta of a Gaussian p(x|z)."""

    hidden: Dense
    mean: Dense
    log_var: Dense

    def log_px_given_common_z(self, x: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
        """log p(x|z) [..., N] of all x [N, D] for each z [..., n_latent]."""
        return decode(self, z[..., None, :]).log_prob(x)


class Params(NamedTuple):
    """All parameters of a model."""

    encoder: Encoder
    decoder: BernoulliDecoder | GaussianDecoder


def to_arrays(params: NamedTuple, prefix: str = "") -> dict[str, np.ndarray]:
    """Parameters by name, such as `encoder.hidden.w`; `encoder.hidden.softplus.w` in a layer of softplus units."""
    prefix += "softplus." if isinstance(params, SoftplusDense) else ""
    arrays: dict[str, np.ndarray] = {}
    for name, value in zip(params._fields, params, strict=True):
        is_leaf = not hasattr(value, "_fields")
        arrays |= {prefix + name: value.numpy()} if is_leaf else to_arrays(value, f"{prefix}{name}.")
    return arrays


def from_arrays(arrays: Mapping[str, np.ndarray]) -> Params:
    """The inverse of `to_arrays` for a model with an encoder."""

    def dense(name: str) -> Dense:
        if f"{name}.softplus.w" in arrays:
            return SoftplusDense(*(tf.constant(arrays[f"{name}.softplus.{array}"]) for array in "wb"))
        return Dense(*(tf.constant(arrays[f"{name}.{array}"]) for array in "wb"))

    def pack(part: str, kind: Any) -> Any:
        return kind(*(dense(f"{part}.{layer}") for layer in kind._fields))

    decoder = BernoulliDecoder if "decoder.logits.w" in arrays else GaussianDecoder
    return Params(pack("encoder", Encoder), pack("decoder", decoder))


class GreyBernoulli(tfd.Bernoulli):
    """A Bernoulli whose targets may be grey: log p(x) = x l - log(1 + exp(l)), l the logits; in nats.

    The same as TFP's, x log y + (1 - x) log(1 - y), with one softplus where TFP takes two.
    """

    def _log_prob(self, event: tf.Tensor) -> tf.Tensor:
        logits = self.logits_parameter()
        return event * logits - tf.math.softplus(logits)


def encode(encoder: Encoder, x: tf.Tensor) -> tfd.Distribution:
    """q(z|x) = N(mu(x), diag sigma^2(x)) (eq. 9); x [..., D], event shape [n_latent]."""
    h = encoder.hidden.units(x)
    return tfd.Independent(tfd.Normal(encoder.mean(h), tf.exp(encoder.log_var(h) / 2)), 1)


def decode(decoder: BernoulliDecoder | GaussianDecoder, z: tf.Tensor) -> tfd.Distribution:
    """p(x|z) (eq. 11, or eq. 12 with a sigmoid on the mean); z [..., n_latent], event shape [D].

    Grey values in [0, 1] enter the Bernoulli log-likelihood as they are: x log y + (1 - x) log(1 - y).
    """
    h = decoder.hidden.units(z)
    return likelihood(type(decoder), *(head(h) for head in decoder[1:]))


def likelihood(kind: type, *heads: tf.Tensor) -> tfd.Distribution:
    """The distribution of x from the outputs of a decoder of this kind: logits [..., D], or mean and log variance."""
    if kind is BernoulliDecoder:
        # With its default dtype, int32, it would round the grey values of a numpy array to 0.
        return tfd.Independent(GreyBernoulli(logits=heads[0], dtype=tf.float32), 1)
    mean, log_var = heads
    return tfd.Independent(tfd.Normal(tf.sigmoid(mean), tf.exp(log_var / 2)), 1)


def prior(n_latent: int) -> tfd.Distribution:
    """p(z) = N(0, I)."""
    return tfd.Independent(tfd.Normal(tf.zeros(n_latent), 1.0), 1)


def log_joint(decoder: BernoulliDecoder | GaussianDecoder, x: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
    """log p(x, z) = log p(x|z) + log p(z) per datapoint [..., N], in nats.

    Each datapoint x [N, D] has a z of its own, [..., N, n_latent], or all have one in common, [..., 1, n_latent].
    """
    if z.shape[-2] == 1:
        log_px_given_z = decoder.log_px_given_common_z(x, z[..., 0, :])
    else:
        log_px_given_z = decode(decoder, z).log_prob(x)
    return log_px_given_z + prior(z.shape[-1]).log_prob(z)


def sample_x(p_x_given_z: tfd.Distribution, seed_pair: tf.Tensor) -> tf.Tensor:
    """A draw x ~ p(x|z), shaped as the distribution; a function of the seed alone."""
    mean = p_x_given_z.mean()
    if isinstance(p_x_given_z.distribution, tfd.Bernoulli):
        return draws.bernoulli(seed_pair, mean)
    return mean + p_x_given_z.stddev() * draws.normal(seed_pair, tf.shape(mean))


def log_weight_prior(config: RunConfig, params: Any) -> tf.Tensor:
    """log p(theta, phi) up to a constant, in nats: N(0, 1 / weight_prior) on what `prior_on` names.

    `matrices`: all weight matrices, no bias (the authors' newest code). `authors`: under AEVB the encoder's biases,
    too; under wake-sleep and Monte Carlo EM not the matrix from z (their code of April 2014).
    """
    with_prior = [leaf for leaf in tf.nest.flatten(params) if leaf.shape.rank == 2]
    if config.prior_on == "authors" and config.algorithm == "aevb":
        with_prior += [layer.b for layer in params.encoder]
    elif config.prior_on == "authors":
        with_prior = [w for w in with_prior if w is not params.decoder.hidden.w]
    return -config.weight_prior * tf.add_n([tf.nn.l2_loss(w) for w in with_prior])


def init_params(config: RunConfig, seed: tf.Tensor) -> Params:
    """Initial parameters under the reading of "N(0, 0.01)" that `config.initialisation` names."""
    n_pixels = config.facts.n_pixels
    encoder = {"hidden": (n_pixels, config.n_hidden)}
    encoder |= dict.fromkeys(("mean", "log_var"), (config.n_hidden, config.n_latent))
    decoder_type = BernoulliDecoder if config.facts.likelihood == "bernoulli" else GaussianDecoder
    decoder = {"hidden": (config.n_latent, config.n_hidden)}
    decoder |= dict.fromkeys(decoder_type._fields[1:], (config.n_hidden, n_pixels))
    if config.pixel_variance == "shared":
        decoder["log_var"] = (config.n_hidden, 1)
    layers = {("encoder", name): shape for name, shape in encoder.items()}
    layers |= {("decoder", name): shape for name, shape in decoder.items()}
    dense = {
        name: _init_dense(config, name, shape, draws.stream(seed, i, "initialisation"))
        for i, (name, shape) in enumerate(layers.items())
    }
    for part in ("encoder", "decoder"):
        dense[part, "hidden"] = HIDDEN_LAYERS[config.hidden_units](*dense[part, "hidden"])
    return Params(
        Encoder(*(dense["encoder", name] for name in Encoder._fields)),
        decoder_type(*(dense["decoder", name] for name in decoder_type._fields)),
    )


def _init_dense(config: RunConfig, name: tuple[str, str], shape: tuple[int, int], seed_pair: tf.Tensor) -> Dense:
    n_in, n_out = shape
    eps = draws.normal(seed_pair, [n_in + 1, n_out])
    w, b = eps[:-1], eps[-1]
    if config.initialisation == "paper_sd":
        return Dense(0.01 * w, 0.01 * b)
    if config.initialisation == "paper_variance":
        return Dense(0.1 * w, 0.1 * b)
    if name == ("encoder", "log_var"):
        return Dense(tf.zeros_like(w), tf.zeros_like(b))
    is_decoder_output = name[0] == "decoder" and name[1] != "hidden"
    is_drawn = _draws_output_bias(config) and name[1] != "log_var"
    b = tf.zeros_like(b) if is_decoder_output and not is_drawn else 0.01 * b
    return Dense(0.01 * w if config.initialisation == "near_zero" else w / n_in**0.5, b)


def _draws_output_bias(config: RunConfig) -> bool:
    """In April 2014 the decoder that wake-sleep and Monte Carlo EM share drew the bias of its mean; AEVB's had 0."""
    return config.initialisation == "near_zero" and config.algorithm in ("wake_sleep", "mcem")
