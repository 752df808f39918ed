"""How much a gradient estimate varies: the argument of section 2.2, measured."""

import math
from collections.abc import Sequence

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


def variances(config: RunConfig, points: Sequence[int], sizes: Sequence[tuple[int, int]], n_pairs: int) -> pd.DataFrame:
    """The variance of the gradient of the mean bound per datapoint, after so many training samples of AEVB.

    One row per evaluation point, estimator, minibatch size M and number of samples L in `sizes`, and network: the sum
    of the variances of all its weights and biases, over minibatches and z (`variance`) and over z alone
    (`variance_of_z`), each with its standard error, in nats^2. Estimated from pairs of independent gradients: half
    their squared distance. The estimators see the same minibatches and noise, which are no draws of the training run.
    """
    dataset = data.load(config.dataset)
    engine = training.Engine(config, dataset)
    rows = []
    with bar(len(points) * len(sizes) * len(ESTIMATORS), "estimate") as progress:
        for point, params in zip(points, _states(engine, points), strict=True):
            for estimator in ESTIMATORS:
                for m, n_samples in sizes:
                    progress.update(1)
                    if estimator == "score_function_baseline" and n_samples < 2:
                        continue
                    size = (m, n_samples, n_pairs)
                    found = {
                        name: _pairs(estimator, params, engine.x_train, engine.seed, *size, tf.constant(per)).numpy()
                        for name, per in (("variance", 1), ("variance_of_z", 2))
                    }
                    rows += _rows(found, point, estimator, m, n_samples)
    return pd.DataFrame(rows)


def recorded(
    config: RunConfig, points: Sequence[int], sizes: Sequence[tuple[int, int]], n_pairs: int, profile: str
) -> pd.DataFrame:
    """The table of `variances` of a profile, computed where it is missing."""
    of = {"config": config.run_id, "marks": points, "sizes": sizes, "n_pairs": n_pairs}
    return tables.load_or_compute("gradient_variance", of, lambda: variances(config, points, sizes, n_pairs), profile)


def ratios(table: pd.DataFrame, to: str = "sgvb_b", column: str = "variance") -> pd.DataFrame:
    """Each estimator's variance over that of `to`, with its standard error by the delta method."""
    keys = ["samples_evaluated", "network", "batch_size", "n_mc_samples"]
    both = table.merge(table[table["estimator"] == to], on=keys, suffixes=("", "_to"))
    both["ratio"] = both[column] / both[f"{column}_to"]
    relative = np.hypot(both[f"{column}_se"] / both[column], both[f"{column}_se_to"] / both[f"{column}_to"])
    both["ratio_se"] = both["ratio"] * relative
    return both[[*keys, "estimator", "ratio", "ratio_se"]]


def _states(engine: training.Engine, points: Sequence[int]) -> list[Params]:
    """The parameters after so many training samples."""
    run, states = Run(engine.initial_state), []
    for point in points:
        while run.step * engine.config.samples_per_step < point:
            run, _ = engine.advance(run, math.ceil(point / engine.config.samples_per_step))
        states.append(run.state.params)
    return states


def _rows(found: dict[str, np.ndarray], point: int, estimator: str, m: int, n_samples: int) -> list[dict]:
    size = {"samples_evaluated": point, "estimator": estimator, "batch_size": m, "n_mc_samples": n_samples}
    rows = []
    for i, network in enumerate(NETWORKS):
        row = {**size, "network": network}
        for name, halves in found.items():
            values = halves[:, i].astype(np.float64)
            row |= {name: values.mean(), f"{name}_se": values.std(ddof=1) / len(values) ** 0.5}
        rows.append(row)
    return rows


@tf.function
def _pairs(
    estimator: str,
    params: Params,
    x_train: tf.Tensor,
    seed: tf.Tensor,
    m: int,
    n_samples: int,
    n_pairs: int,
    per_minibatch: tf.Tensor,
) -> tf.Tensor:
    """Half the squared distance of two independent gradients [n_pairs, networks]; its mean is the variance.

    `per_minibatch` successive gradients see the same minibatch: with 2, both of a pair.
    """
    n_latent = params.decoder.hidden.w.shape[0]

    def gradient(i):
        minibatch = draws.stream(seed, i // tf.cast(per_minibatch, tf.int64), "gradient_variance", "minibatch")
        x = tf.gather(x_train, draws.indices(minibatch, len(x_train), m))
        eps = draws.normal(draws.stream(seed, i, "gradient_variance", "eps"), [n_samples, m, n_latent])
        with tf.GradientTape() as tape:
            tape.watch(params)
            elbo = tf.reduce_mean(ESTIMATORS[estimator](params, x, eps).elbo)
        return tape.gradient(elbo, params)

    def half_distance(i):
        first, second = gradient(2 * i), gradient(2 * i + 1)
        squared = tf.nest.map_structure(lambda a, b: tf.reduce_sum((a - b) ** 2) / 2, first, second)
        return tf.stack([tf.add_n(tf.nest.flatten(part)) for part in squared])

    return tf.map_fn(half_distance, tf.range(n_pairs, dtype=tf.int64), fn_output_signature=tf.float32)
