"""Wake-sleep (Hinton et al. 1995) with the same encoder and decoder as AEVB.

| paper | here |
|---|---|
| wake: the decoder learns from data and z ~ q(z given x) | the same, L samples per datapoint |
| sleep: the encoder learns from dreams | one dream per datapoint: z ~ p(z), x sampled (authors' code) or the mean |
| same hyperparameters as AEVB | one Adagrad step on both phases together |
| the same encoder | the same; the authors' (anglepy, MLBN_Inverse) has a `log_var_factor` of 0.1, an option here |
| the same tanh units | the same; softplus is the default of the authors' code, an option here: `hidden_units` |
| the same decoder | the same; `decoder_log_var_factor` slows a Gaussian one's log variance likewise, an option here |
"""

import tensorflow as tf

from replication import draws
from replication.algorithms.base import State, adagrad_ascent, init, log_prior_of_minibatch
from replication.config import RunConfig
from replication.model.estimators import Bound, sgvb_b
from replication.model.networks import GaussianDecoder, Params, decode, encode, sample_x

__all__ = ["dream", "init", "step"]


def step(config: RunConfig, state: State, x: tf.Tensor, seed: tf.Tensor) -> tuple[State, Bound]:
    """Wake: ascend log p(x|z) in the decoder; sleep: ascend log q(z|x) of dreams in the encoder; x [M, D]."""
    eps_shape = [config.n_mc_samples, config.batch_size, config.n_latent]
    eps = draws.normal(draws.stream(seed, state.step, "eps"), eps_shape)
    z_dream, x_dream = dream(config, state, seed)
    factors = config.log_var_factor, config.decoder_log_var_factor
    params = _scale_log_var(state.params, *(1 / factor for factor in factors))
    with tf.GradientTape() as tape:
        tape.watch(params)
        encoder, decoder = _scale_log_var(params, *factors)
        encoder_asleep = tf.nest.map_structure(tf.stop_gradient, encoder)
        bound = sgvb_b(Params(encoder_asleep, decoder), x, eps)
        log_qz_given_x = encode(encoder, x_dream).log_prob(z_dream)
        objective = tf.reduce_sum(bound.log_px_given_z) + tf.reduce_sum(log_qz_given_x)
        objective += log_prior_of_minibatch(config, params)
    gradient = tape.gradient(objective, params)
    state = adagrad_ascent(state._replace(params=params), gradient, config.learning_rate, config.warm_up_steps)
    params = _scale_log_var(state.params, *factors)
    return state._replace(params=params, step=state.step + 1), bound


def _scale_log_var(params: Params, of_encoder: float, of_decoder: float) -> Params:
    """The weights of both log variances times a factor: learned behind a factor, they learn more slowly."""
    encoder, decoder = params
    encoder = encoder._replace(log_var=encoder.log_var._replace(w=of_encoder * encoder.log_var.w))
    if isinstance(decoder, GaussianDecoder):
        decoder = decoder._replace(log_var=decoder.log_var._replace(w=of_decoder * decoder.log_var.w))
    return Params(encoder, decoder)


def dream(config: RunConfig, state: State, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """z ~ p(z) [M, n_latent] and x [M, D] as `config.dreams` says: drawn from p(x|z), or its mean."""
    z = draws.normal(draws.stream(seed, state.step, "dream_z"), [config.batch_size, config.n_latent])
    p_x_given_z = decode(state.params.decoder, z)
    if config.dreams == "mean":
        return z, p_x_given_z.mean()
    return z, sample_x(p_x_given_z, draws.stream(seed, state.step, "dream_x"))
