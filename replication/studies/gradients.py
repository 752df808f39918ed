"""How much a gradient estimate varies: the argument of section 2.2, measured."""

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
import tensorflow as tf

from replication import data, draws
from replication.config import RunConfig
from replication.model.estimators import ESTIMATORS
from replication.model.networks import Params
from replication.progress import bar
from replication.runs import tables, training
from replication.runs.checkpoints import Run

NETWORKS = Params._fields
REFERENCE = "sgvb_b"  # the estimator whose variance the ratios are to


def variances(config: RunConfig, points: Sequence[int], sizes: Sequence[tuple[int, int]], n_pairs: int) -> pd.DataFrame:
    """The variance of the gradient of the mean bound per datapoint, after so many training samples of AEVB.

    One row per evaluation point, estimator, minibatch size M and number of samples L in `sizes`, and network: the sum
    of the variances of all its weights and biases over minibatches and z, in nats^2, and its ratio to that of SGVB B,
    both with a standard error. Estimated from pairs of independent gradients: half their squared distance. The
    estimators see the same minibatches and noise, which are no draws of the training run.
    """
    dataset = data.load(config.dataset, config.preparation)
    engine = training.Engine(config, dataset)
    rows = []
    with bar(len(points) * len(sizes) * len(ESTIMATORS), "estimate") as progress:
        for point, params in zip(points, _states(engine, points), strict=True):
            for m, n_samples in sizes:
                halves = {}
                for estimator in ESTIMATORS:
                    progress.update(1)
                    if estimator == "score_function_baseline" and n_samples < 2:
                        continue
                    arguments = (estimator, m, n_samples, params, engine.x_train, engine.seed)
                    pairs = [_half_distance(*arguments, tf.constant(i, tf.int64)).numpy() for i in range(n_pairs)]
                    halves[estimator] = np.array(pairs, np.float64)
                at = {"samples_evaluated": point, "batch_size": m, "n_mc_samples": n_samples}
                rows += [
                    {**at, "estimator": estimator, "network": network}
                    | _mean_and_ratio(values[:, i], halves[REFERENCE][:, i])
                    for estimator, values in halves.items()
                    for i, network in enumerate(NETWORKS)
                ]
    return pd.DataFrame(rows)


def load_or_compute(
    config: RunConfig, points: Sequence[int], sizes: Sequence[tuple[int, int]], n_pairs: int, profile: str
) -> pd.DataFrame:
    """The table of `variances` of a profile, computed where it is missing."""
    source = {"config": config.run_id, "marks": points, "sizes": sizes, "n_pairs": n_pairs, "reference": REFERENCE}
    return tables.load_or_compute(
        "gradient_variance", source, lambda: variances(config, points, sizes, n_pairs), profile
    )


def _states(engine: training.Engine, points: Sequence[int]) -> list[Params]:
    """The parameters after so many training samples."""
    run, states = Run(engine.initial_state), []
    for point in points:
        while run.step * engine.config.samples_per_step < point:
            run, _ = engine.advance(run, math.ceil(point / engine.config.samples_per_step))
        states.append(run.state.params)
    return states


def _mean_and_ratio(halves: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    """The mean of the values per pair [n_pairs], its ratio to that of `reference`, and their standard errors.

    That of the ratio is by the delta method for pairs: both see the same draws, so they vary together.
    """
    root_n = len(halves) ** 0.5
    ratio = halves.mean() / reference.mean()
    return {
        "variance": halves.mean(),
        "variance_se": halves.std(ddof=1) / root_n,
        "ratio": ratio,
        "ratio_se": (halves - ratio * reference).std(ddof=1) / reference.mean() / root_n,
    }


@partial(tf.function, autograph=False)
def _half_distance(
    estimator: str, m: int, n_samples: int, params: Params, x_train: tf.Tensor, seed: tf.Tensor, pair: tf.Tensor
) -> tf.Tensor:
    """Half the squared distance of two independent gradients, of each network; its mean over pairs is the variance."""
    first, second = (_gradient(estimator, m, n_samples, params, x_train, seed, 2 * pair + i) for i in range(2))
    squared = tf.nest.map_structure(lambda a, b: tf.reduce_sum((a - b) ** 2) / 2, first, second)
    return tf.stack([tf.add_n(tf.nest.flatten(part)) for part in squared])


@partial(tf.function, autograph=False)
def _gradient(
    estimator: str, m: int, n_samples: int, params: Params, x_train: tf.Tensor, seed: tf.Tensor, i: tf.Tensor
) -> Params:
    """The i-th gradient of the mean bound of a minibatch."""
    minibatch = draws.stream(seed, i, "gradient_variance", "minibatch")
    x = tf.gather(x_train, draws.indices(minibatch, x_train.shape[0], m))
    eps_shape = [n_samples, m, params.decoder.hidden.w.shape[0]]
    eps = draws.normal(draws.stream(seed, i, "gradient_variance", "eps"), eps_shape)
    with tf.GradientTape() as tape:
        tape.watch(params)
        elbo = tf.reduce_mean(ESTIMATORS[estimator](params, x, eps).elbo)
    return tape.gradient(elbo, params)
