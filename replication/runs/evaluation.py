"""What a curve shows: the bound, or log p(x) by two estimators; means over a split, in nats."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from replication import draws
from replication.algorithms import full_vb
from replication.compiled import compiled
from replication.config import RunConfig
from replication.data import Dataset
from replication.model import marginal_likelihood as ml
from replication.model import modes, networks
from replication.model.estimators import Bound, sgvb_b
from replication.model.modes import Modes

N_WEIGHT_SAMPLES = 10
PRUNED = 0.05  # nats: a weight with a smaller KL has learned nothing
CHUNK = 10_000  # datapoints whose bound is evaluated at once: 50,000 with 500 hidden units take gigabytes


def trains_on_its_bound(config: RunConfig) -> bool:
    """Whether the curve on train is the running mean of the minibatches' bound, as in the paper's figure 2.

    The model of such a run is evaluated on train at the run's end only. Others are evaluated on train as on test:
    figure 3's, and full VB's, whose minibatches see one draw of the weights.
    """
    return config.metric == "bound" and config.algorithm != "full_vb"


def datapoints(config: RunConfig, dataset: Dataset) -> dict[str, tf.Tensor]:
    """The datapoints of each split on which a run is evaluated."""
    size = config.n_evaluated if config.metric == "log_px" else None
    splits = {"train": dataset.x_train[: config.n_train], "test": dataset.x_test}
    return {split: observed(config, split, x[:size]) for split, x in splits.items()}


def observed(config: RunConfig, split: str, x: np.ndarray | tf.Tensor) -> tf.Tensor:
    """Images x [N, D] of a split as the run sees them: grey, or a draw of `config.targets` that every seed shares."""
    if config.targets == "binarised":
        return draws.bernoulli(draws.stream(0, 0, "evaluation", "targets", split), tf.convert_to_tensor(x))
    return tf.convert_to_tensor(x)


def evaluate(config: RunConfig, params: Any, x: tf.Tensor, seed_pair: tf.Tensor) -> dict[str, float]:
    """The columns of one row of the curve."""
    kind = full_bound if config.algorithm == "full_vb" else {"bound": bound, "log_px": log_px}[config.metric]
    return kind(config, params, x, seed_pair)


def bound(config: RunConfig, params: networks.Params, x: tf.Tensor, seed_pair: tf.Tensor) -> dict[str, float]:
    """The lower bound with its standard error over datapoints, and its parts; one sample of z per datapoint."""
    chunks = [
        _bound(params, x[i : i + CHUNK], config.n_latent, draws.fold_in(seed_pair, i) if i else seed_pair)
        for i in range(0, len(x), CHUNK)
    ]
    terms = Bound(*(tf.concat(term, axis=0) for term in zip(*chunks, strict=True)))
    return {
        **_mean_and_se(terms.elbo),
        "reconstruction": _mean(terms.log_px_given_z),
        "kl": _mean(terms.kl),
    }


def bound_program(config: RunConfig, params: networks.Params, x: tf.Tensor) -> str:
    """What `bound` compiles, as StableHLO: log p(x|z) and the KL of each datapoint, from weights, x and a seed pair."""
    arguments = params, x, config.n_latent, draws.stream(config.seed, 0, "evaluation")
    return _bound.experimental_get_compiler_ir(*arguments)(stage="stablehlo")


def full_bound(config: RunConfig, params: full_vb.Params, x: tf.Tensor, seed_pair: tf.Tensor) -> dict[str, float]:
    """The bound that includes the weights' KL / N, with its parts; and without that KL, weights sampled or at the mean.

    `pruned` is the share of the decoder's weights and biases whose posterior is the prior, up to PRUNED nats.
    """
    eps_seeds = [draws.fold_in(seed_pair, "weight_sample", i) for i in range(N_WEIGHT_SAMPLES)]
    many = [_full_bound(params, x, config.n_latent, config.n_train, eps_seed) for eps_seed in eps_seeds]
    terms = full_vb.FullBound(*(tf.reduce_mean(term, axis=0) for term in zip(*many, strict=True)))
    at_mean = _bound(
        networks.Params(params.encoder, params.decoder.mean), x, config.n_latent, draws.fold_in(seed_pair, "at_mean")
    )
    kl_per_weight = tf.nest.flatten(full_vb.kl_per_weight(params.decoder))
    return {
        **_mean_and_se(terms.elbo),
        "reconstruction": _mean(terms.log_px_given_z),
        "kl": _mean(terms.kl),
        "kl_weights": _mean(terms.kl_weights),
        "bound_sampled": _mean(terms.log_px_given_z - terms.kl),
        "bound_at_mean": _mean(at_mean.elbo),
        "pruned": _mean(tf.concat([tf.reshape(kl, [-1]) for kl in kl_per_weight], 0) < PRUNED),
    }


def log_px(config: RunConfig, params: Any, x: tf.Tensor, seed_pair: tf.Tensor) -> dict[str, float]:
    """log p(x) by appendix D and by importance sampling, and their mean difference over the same datapoints.

    The standard errors are over datapoints. Every datapoint has a value and is in the mean; `n_unreliable` and
    `n_unreliable_importance` count those whose value the estimator itself does not trust; `modes` is the
    number of modes per datapoint in which appendix D has a chain.
    """
    paper, check, sampling = estimate_log_px(networks.log_joint, (params.decoder,), x, config.n_latent, seed_pair)
    return {
        **_mean_and_se(paper.log_px),
        **_mean_and_se(check.log_px, "log_px_importance"),
        **_mean_and_se(paper.log_px - check.log_px, "difference"),
        "acceptance": _mean(sampling.acceptance),
        "modes": _mean(sampling.n_chains),
        "ess_hmc": float(np.median(paper.ess)),
        "ess_importance": float(np.median(check.ess)),
        "n_unreliable": int(np.sum(~paper.is_reliable)),
        "n_unreliable_importance": int(np.sum(~check.is_reliable)),
    }


def estimate_log_px(
    log_joint: Callable, parameters: tuple, x: tf.Tensor, n_latent: int, seed_pair: tf.Tensor
) -> tuple[ml.Estimate, ml.Estimate, ml.Sampling]:
    """Both estimates at figure 3's settings in nats, appendix D's first, and what its chains did.

    They share nothing but the model: each searches for the modes by itself, on a grid of its own, and every draw has a
    stream of its own.
    """
    model = log_joint, parameters, x

    def modes_for(estimator: str) -> Modes:
        return modes.search(*model, n_latent, draws.fold_in(seed_pair, "modes", estimator))

    paper, sampling = ml.appendix_d(*model, modes_for("chains"), draws.fold_in(seed_pair, "chains"))
    check = ml.importance_sampling(*model, modes_for("importance"), draws.fold_in(seed_pair, "importance"))
    return paper, check, sampling


@compiled
def _bound(params: networks.Params, x: tf.Tensor, n_latent: int, seed_pair: tf.Tensor) -> Bound:
    return sgvb_b(params, x, draws.normal(seed_pair, [1, x.shape[0], n_latent]))


@compiled
def _full_bound(params: full_vb.Params, x: tf.Tensor, n_latent: int, n_train: int, seed_pair: tf.Tensor) -> tuple:
    eps = draws.normal(draws.fold_in(seed_pair, "eps"), [1, x.shape[0], n_latent])
    return full_vb.bound(params, x, eps, draws.fold_in(seed_pair, "zeta"), n_train)


def _mean(values: tf.Tensor) -> float:
    return float(np.mean(np.asarray(values, np.float64)))


def _mean_and_se(values: tf.Tensor, name: str = "") -> dict[str, float]:
    """Columns `value` and `se`, or `name` and `name_se`."""
    values = np.asarray(values, np.float64)
    se = float(np.std(values, ddof=1) / len(values) ** 0.5)
    return {name or "value": _mean(values), f"{name}_se" if name else "se": se}
