"""Where the bound loses nats, and on which split: to the encoder, to the diagonal Gaussian, or in log p(x) itself.

log p(x) - L(q) = [log p(x) - L(q*)] + [L(q*) - L(q)], q* the best diagonal Gaussian of each image: the approximation
gap, and the amortisation gap that the encoder adds, one network for all images (Cremer et al. 2018).
"""

import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
import tensorflow as tf

from replication import data, draws, paths
from replication.compiled import compiled
from replication.config import RunConfig
from replication.model import marginal_likelihood as ml
from replication.model import modes, networks
from replication.model.estimators import Bound
from replication.runs import evaluation, records

N_LATENT = (3, 5, 10, 20, 200)
MAX_LATENT = 20  # for log p(x): a Hessian of more dimensions takes too long
SAMPLES = 100_000_000
N_IMAGES = 150  # of each split for which q is optimised
N_STEPS, LEARNING_RATE, N_DRAWS = 200, 0.1, 4  # of Adam, in the standard deviations that q starts with
N_EVALUATION_DRAWS = 60
N_IMPORTANCE = 100  # draws from each proposal
DECAY = 0.9, 0.999  # of Adam's means of the gradient and of its square


class Gaussians(NamedTuple):
    """q(z|x) of each image: `mean` and `log_var` [N, n_latent]."""

    mean: tf.Tensor
    log_var: tf.Tensor


def config(n_latent: int) -> RunConfig:
    """AEVB's run of figure 2 on MNIST by the paper's words, with the learning rate of its smaller models."""
    return RunConfig(
        dataset="mnist",
        algorithm="aevb",
        n_latent=n_latent,
        n_hidden=500,
        learning_rate=0.02,
        samples_total=SAMPLES,
    )


SETTINGS = {
    "runs": [config(n_latent).run_id for n_latent in N_LATENT],
    "samples": SAMPLES,
    "n_images": N_IMAGES,
    "adam": [N_STEPS, LEARNING_RATE, N_DRAWS],
    "n_evaluation_draws": N_EVALUATION_DRAWS,
    "n_importance": N_IMPORTANCE,
}


def losses() -> pd.DataFrame:
    """What the bound of recorded models loses on train and on test, for each number of latent variables.

    Per n_latent and split, means in nats: `bound` with its standard error over images, and its terms
    `reconstruction` and `kl`, over all images; over N_IMAGES of them what `part_losses` gives, with standard
    errors, and of how many log p(x) is unreliable. Raises RecordError without the weights.
    """
    return pd.DataFrame([row for n_latent in N_LATENT for row in _losses(config(n_latent))])


def _losses(config: RunConfig) -> list[dict]:
    params = networks.from_arrays(records.load_weights(config, paths.runs("paper")))
    dataset = data.load(config.dataset, config.preparation)
    rows = []
    for split, x in (("train", dataset.x_train), ("test", dataset.x_test)):
        seed_pair = draws.stream(0, config.n_latent, "evaluation", "inference_gap", split)
        on_all = evaluation.bound(config, params, tf.constant(x), draws.fold_in(seed_pair, "all"))
        some = tf.constant(x[np.random.default_rng(0).choice(len(x), N_IMAGES, replace=False)])
        q = Gaussians(*encoded(params.encoder, some))
        parts = part_losses(
            networks.log_joint, (params.decoder,), some, q, seed_pair, with_log_px=config.n_latent <= MAX_LATENT
        )
        row = {"n_latent": config.n_latent, "split": split, "bound": on_all["value"], "bound_se": on_all["se"]}
        row |= {name: on_all[name] for name in ("reconstruction", "kl")}
        row["unreliable"] = int(parts.pop("is_unreliable").sum())
        for name, values in parts.items():
            row |= {name: values.mean(), f"{name}_se": values.std(ddof=1) / len(values) ** 0.5}
        rows.append(row)
    return rows


def encoded(encoder: networks.Encoder, x: tf.Tensor) -> Gaussians:
    """The encoder's q(z|x) (eq. 9) of images x [N, D]."""
    h = encoder.hidden.units(x)
    return Gaussians(encoder.mean(h), encoder.log_var(h))


def part_losses(
    log_joint: Callable, parameters: tuple, x: tf.Tensor, q: Gaussians, seed_pair: tf.Tensor, with_log_px: bool = True
) -> pd.DataFrame:
    """What the bound of the encoder's q loses against log p(x) for each image, in nats: three parts that add up to it.

    `log_var`: what the best variances would win at the encoder's means; `mean`: what the best means and variances win
    beside that; `approximation`: what is then missing from log p(x), by importance sampling, which says where it
    `is_unreliable`. The best q is climbed to from the largest mode of p(z|x); without `with_log_px` there is no search
    for modes, it is climbed to from the encoder's, and `approximation` is NaN. Each bound is on draws of its own.
    """
    n_latent = q.mean.shape[-1]
    model = log_joint, parameters, x

    def value(q: Gaussians, name: str) -> np.ndarray:
        return bound(*model, q, draws.fold_in(seed_pair, name)).elbo.numpy().astype(float)

    best_log_var = optimise(*model, q, draws.fold_in(seed_pair, "log_var"), moves_mean=False)
    log_px, is_reliable, start = np.full(len(x), np.nan), np.ones(len(x), bool), q
    if with_log_px:
        at_modes = modes.search(*model, n_latent, draws.fold_in(seed_pair, "modes"), np.stack([q.mean]))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*unreliable")  # a column says which
            estimate = ml.importance_sampling(*model, at_modes, draws.fold_in(seed_pair, "importance"), N_IMPORTANCE)
        log_px, is_reliable, start = estimate.log_px, estimate.is_reliable, _at_mode(at_modes)
    best = optimise(*model, start, draws.fold_in(seed_pair, "mean"))
    is_better = (value(best, "choice") > value(q, "choice"))[:, None]
    best = Gaussians(*(tf.where(is_better, there, here) for there, here in zip(best, q, strict=True)))
    at_encoder, at_log_var, at_best = (value(each, "value") for each in (q, best_log_var, best))
    return pd.DataFrame({
        "log_var": at_log_var - at_encoder,
        "mean": at_best - at_log_var,
        "approximation": log_px - at_best,
        "is_unreliable": ~is_reliable,
    })  # fmt: skip


@compiled
def bound(log_joint: Callable, parameters: tuple, x: tf.Tensor, q: Gaussians, seed_pair: tf.Tensor) -> Bound:
    """L^B (eq. 7) of each image x [N, D] under its own q(z|x), from N_EVALUATION_DRAWS values of z."""
    n_draws = 10  # at a time
    log_px_given_z = tf.map_fn(
        lambda i: _bound(log_joint, parameters, x, q, draws.fold_in(seed_pair, i), n_draws).log_px_given_z,
        tf.range(N_EVALUATION_DRAWS // n_draws),
        fn_output_signature=tf.float32,
    )
    return Bound(tf.reduce_mean(log_px_given_z, axis=0), _kl(q))


@compiled
def optimise(
    log_joint: Callable,
    parameters: tuple,
    x: tf.Tensor,
    start: Gaussians,
    seed_pair: tf.Tensor,
    moves_mean: bool = True,
) -> Gaussians:
    """The diagonal Gaussian of each image that has the highest bound, by Adam (Kingma & Ba 2015) from `start`.

    A step is in the start's standard deviations for the mean, in nats for the log variance; it falls to zero along a
    cosine. Without `moves_mean` the variances alone are optimised. Each step has draws of its own.
    """
    scale = tf.stack([tf.exp(start.log_var / 2) * float(moves_mean), tf.ones_like(start.log_var)])

    def q_at(moved: tf.Tensor) -> Gaussians:
        return Gaussians(*tf.unstack(tf.stack(start) + scale * moved))

    def step(i: tf.Tensor, moved: tf.Tensor, first: tf.Tensor, second: tf.Tensor) -> tuple:
        with tf.GradientTape() as tape:
            tape.watch(moved)
            elbo = _bound(log_joint, parameters, x, q_at(moved), draws.fold_in(seed_pair, i), N_DRAWS).elbo
        gradient = tape.gradient(elbo, moved)
        first = DECAY[0] * first + (1 - DECAY[0]) * gradient
        second = DECAY[1] * second + (1 - DECAY[1]) * gradient**2
        done = tf.cast(i, tf.float32)
        unbiased = [mean / (1 - decay ** (done + 1)) for mean, decay in ((first, DECAY[0]), (second, DECAY[1]))]
        rate = LEARNING_RATE * (1 + tf.cos(np.pi * done / N_STEPS)) / 2
        return i + 1, moved + rate * unbiased[0] / (tf.sqrt(unbiased[1]) + 1e-8), first, second

    zeros = tf.zeros_like(scale)
    _, moved, *_ = tf.while_loop(lambda i, *_: i < N_STEPS, step, (tf.constant(0), zeros, zeros, zeros))
    return q_at(moved)


def gaps(losses: pd.DataFrame) -> pd.DataFrame:
    """The bound on train minus test [nats], split two ways, from the table of `losses`.

    `gap` = `reconstruction` + `kl`, the bound's two terms. `gap` = `log_px` + `approximation` + `mean` + `log_var`: the
    gap of log p(x), which the decoder has, and what the bound loses more on test than on train. Standard errors are
    over images; that of `log_px` is at most so large, as if the parts of an image moved together. Where log p(x) is not
    known, `log_px` and `approximation` are missing.
    """
    rows = []
    for n_latent, of_model in losses.groupby("n_latent"):
        train, test = (of_model[of_model["split"] == split].iloc[0] for split in ("train", "test"))

        def difference(name: str, sign: int, train: pd.Series = train, test: pd.Series = test) -> tuple[float, float]:
            return sign * (train[name] - test[name]), float(np.hypot(train[f"{name}_se"], test[f"{name}_se"]))

        gap, gap_se = difference("bound", 1)
        parts = {name: difference(name, -1) for name in ("approximation", "mean", "log_var")}
        log_px = gap - sum(value for value, _ in parts.values())
        of_parts = (sum(of_split[f"{name}_se"] for name in parts) for of_split in (train, test))
        log_px_se = float(np.sqrt(gap_se**2 + sum(se**2 for se in of_parts)))
        row = {"n_latent": n_latent, "gap": gap, "gap_se": gap_se}
        row |= {"reconstruction": train["reconstruction"] - test["reconstruction"], "kl": test["kl"] - train["kl"]}
        for name, (value, se) in {"log_px": (log_px, log_px_se), **parts}.items():
            row |= {name: value, f"{name}_se": se}
        rows.append(row)
    return pd.DataFrame(rows)


def _at_mode(posterior_modes: modes.Modes) -> Gaussians:
    """At the largest mode, 1 / variance the diagonal of minus the Hessian: the best for Laplace's approximation."""
    whitener = np.linalg.inv(posterior_modes.tril[0])
    precision = np.einsum("nij,nij->nj", whitener, whitener)
    return Gaussians(tf.constant(posterior_modes.z[0], tf.float32), tf.constant(-np.log(precision), tf.float32))


def _bound(
    log_joint: Callable, parameters: tuple, x: tf.Tensor, q: Gaussians, seed_pair: tf.Tensor, n_draws: int
) -> Bound:
    """L^B from pairs of draws that mirror each other at the mean."""
    eps = draws.normal(seed_pair, [n_draws // 2, *q.mean.shape])
    z = q.mean + tf.exp(q.log_var / 2) * tf.concat([eps, -eps], axis=0)
    log_px_given_z = log_joint(*parameters, x, z) - networks.prior(q.mean.shape[-1]).log_prob(z)
    return Bound(tf.reduce_mean(log_px_given_z, axis=0), _kl(q))


def _kl(q: Gaussians) -> tf.Tensor:
    """KL(q || N(0, I)) [N] (appendix B)."""
    return tf.reduce_sum(q.mean**2 + tf.math.expm1(q.log_var) - q.log_var, axis=-1) / 2
