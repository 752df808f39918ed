"""The contract of every algorithm: pure functions over a State of tensors, and the update that they share."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import tensorflow as tf

from replication.config import RunConfig
from replication.model.networks import init_params, log_weight_prior

ADAGRAD_EPSILON = 1e-8  # under the root, as in the authors' code


class State(NamedTuple):
    """All that a run is between two steps: no variable and no random state lives elsewhere.

    `params` and Adagrad's `sum_of_squares` are alike: networks.Params, or full VB's own.
    """

    step: tf.Tensor
    params: Any
    sum_of_squares: Any


class Info(Protocol):
    """What a step tells of itself: each term of the objective, per datapoint [M], in nats."""

    @property
    def objective(self) -> tf.Tensor:
        """The sum of the terms [M]: what training reports, and checks for divergence."""


class Algorithm(NamedTuple):
    """`init(seed) -> State`; `step(state, x, seed) -> (State, info)` with x [M, D]."""

    init: Callable[[tf.Tensor], Any]
    step: Callable[[Any, tf.Tensor, tf.Tensor], tuple[Any, Info]]


def init(config: RunConfig, seed: tf.Tensor) -> State:
    """Initial parameters and an Adagrad accumulator of zeros."""
    return start(init_params(config, seed))


def start(params: NamedTuple) -> State:
    """The state before the first step from these parameters."""
    return State(tf.constant(0, tf.int64), params, tf.nest.map_structure(tf.zeros_like, params))


def log_prior_of_minibatch(config: RunConfig, params: NamedTuple) -> tf.Tensor:
    """(M/N) log p(theta), in nats: the prior's share in one minibatch of the MAP objective."""
    return config.batch_size / config.n_train * log_weight_prior(config, params)


def adagrad_ascent(state: Any, gradient: Any, learning_rate: float, warm_up_steps: int = 0) -> Any:
    """theta += learning_rate * g / sqrt(sum of g^2 + epsilon) (Duchi et al. 2010); the accumulator starts from 0.

    `state` is a State, or Monte Carlo EM's with its chains; `gradient` is shaped as its params. The first
    `warm_up_steps` only fill the accumulator. The step is not counted here: an algorithm may update more than once per
    step.
    """
    total = tf.nest.map_structure(lambda s, g: s + g**2, state.sum_of_squares, gradient)
    step_size = tf.where(state.step < warm_up_steps, 0.0, learning_rate)
    params = tf.nest.map_structure(
        lambda p, g, s: p + step_size * g * tf.math.rsqrt(s + ADAGRAD_EPSILON), state.params, gradient, total
    )
    return state._replace(params=params, sum_of_squares=total)
