"""Auto-Encoding VB (algorithm 1): encoder and decoder climb the same bound.

| paper | here |
|---|---|
| minibatch of M datapoints, L samples each | the same; the minibatch is drawn with replacement |
| SGVB estimator chosen by hand | `config.estimator`, no fallback |
| Adagrad with a small weight decay from p(theta) = N(0, I) | the same, on what `config.prior_on` names |
"""

import tensorflow as tf

from replication import draws
from replication.algorithms.base import State, adagrad_ascent, init, log_prior_of_minibatch
from replication.config import RunConfig
from replication.model.estimators import ESTIMATORS, Bound

__all__ = ["init", "step"]


def step(config: RunConfig, state: State, x: tf.Tensor, seed: tf.Tensor) -> tuple[State, Bound]:
    """One stochastic gradient step on sum_M L(theta, phi; x) + (M/N) log p(theta) (eq. 8); x [M, D]."""
    eps_shape = [config.n_mc_samples, config.batch_size, config.n_latent]
    eps = draws.normal(draws.stream(seed, state.step, "eps"), eps_shape)
    with tf.GradientTape() as tape:
        tape.watch(state.params)
        bound = ESTIMATORS[config.estimator](state.params, x, eps)
        objective = tf.reduce_sum(bound.elbo) + log_prior_of_minibatch(config, state.params)
    gradient = tape.gradient(objective, state.params)
    state = adagrad_ascent(state, gradient, config.learning_rate, config.warm_up_steps)
    return state._replace(step=state.step + 1), bound
