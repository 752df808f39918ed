"""log p(x) by a sum over the whole latent space, in numpy alone, and how far the two estimators are from it.

A lattice misses no mode, wherever it is, which a search or a chain may. For a smooth density its error falls faster
than any power of the spacing (Poisson summation): a spacing of two standard deviations of the posterior will do.
"""

import time
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from replication import draws
from replication.config import RunConfig, authors_of_2014
from replication.model import modes, networks
from replication.runs import evaluation, training
from replication.runs.checkpoints import Run

SPACING, RADIUS = 0.1, 7.5  # of the lattice: figure 3's narrowest posteriors have standard deviations of 0.03 to 0.05
CHUNK = 1024  # points at a time, which fit the cache
FORGET = 25.0  # nats below a datapoint's highest: what is lower adds nothing to float32
SAMPLES = 10_000_000
LEARNING_RATES = {1000: 0.1, 50_000: 0.02}  # of AEVB in figure 3, by n_train
SETTINGS = {
    "n_train": [*LEARNING_RATES],
    "learning_rates": [*LEARNING_RATES.values()],
    "preparation": "authors",
    "samples": SAMPLES,
    "spacing": SPACING,
    "radius": RADIUS,
    "search": {"grid": modes.GRID_SIZE, "starts": modes.MAX_STARTS, "modes": modes.MAX_MODES},
}


def log_px(
    weights: Mapping[str, np.ndarray], x: np.ndarray, spacing: float = SPACING, radius: float = RADIUS
) -> tuple[np.ndarray, np.ndarray]:
    """log p(x) [N] of a Bernoulli decoder with few latent variables, and how far off it may be [N], in nats.

    `weights` by name, as a record has them. The mean of two lattices, the second in the gaps of the first, and half
    their difference.
    """
    n_latent = len(weights["decoder.hidden.w"])
    axis = np.arange(-radius, radius + spacing, spacing)
    lattice = np.stack(np.meshgrid(*[axis] * n_latent, indexing="ij"), axis=-1).reshape(-1, n_latent)
    first, second = (
        _log_sum(weights, x, z[np.sum(z**2, axis=1) < radius**2]) + n_latent * np.log(spacing)
        for z in (lattice, lattice + spacing / 2)
    )
    return np.logaddexp(first, second) - np.log(2), np.abs(first - second) / 2


def accuracy() -> pd.DataFrame:
    """How far both estimators are from the sum, for AEVB in figure 3 with few and with many datapoints.

    Per n_train, split and estimator: `bias`, the mean error over 1000 datapoints in nats, with its standard error; how
    many datapoints are more than a nat too low, and how many of these unflagged; the lowest and the highest error; how
    many are flagged; `sum_error`, the mean of what the sum itself may be off; and the processor's `seconds` for both
    estimators.
    """
    return pd.DataFrame([row for n_train in LEARNING_RATES for row in _accuracy(config(n_train))])


def config(n_train: int, algorithm: str = "aevb", **settings: Any) -> RunConfig:
    """A run of figure 3 under the authors' code of April 2014, as far as SAMPLES; `settings` replace those of AEVB."""
    standard = {
        "dataset": "mnist",
        "n_latent": 3,
        "n_hidden": 100,
        "metric": "log_px",
        "samples_total": SAMPLES,
        "learning_rate": LEARNING_RATES[n_train],
        **authors_of_2014(algorithm),
    }
    return RunConfig(**{**standard, "algorithm": algorithm, "n_train": n_train, **settings})


def trained(config: RunConfig) -> networks.Params:
    """The parameters at the end of a run; nothing is written."""
    engine = training.Engine(config, training.dataset(config.dataset, config.preparation))
    run = Run(engine.initial_state)
    while run.step * config.samples_per_step < config.samples_total:
        run, _ = engine.advance(run, config.samples_total // config.samples_per_step)
    return run.state.params


def _accuracy(config: RunConfig) -> list[dict]:
    params = trained(config)
    x = evaluation.datapoints(config, training.dataset(config.dataset, config.preparation))
    exact, sum_error = log_px(networks.to_arrays(params), np.concatenate([part.numpy() for part in x.values()]))
    ends = np.cumsum([len(part) for part in x.values()])[:-1]
    rows = []
    for (split, x_eval), known, off in zip(x.items(), np.split(exact, ends), np.split(sum_error, ends), strict=True):
        arguments = networks.log_joint, (params.decoder,), x_eval, config.n_latent
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*unreliable")  # the column `flagged` counts them
            evaluation.estimate_log_px(*arguments, draws.stream(1, 0, "evaluation", split))  # compiles
            start = time.process_time()
            estimates = evaluation.estimate_log_px(*arguments, draws.stream(0, 0, "evaluation", split))
        seconds = time.process_time() - start
        for name, estimate in zip(("appendix D", "importance sampling"), estimates[:2], strict=True):
            error = estimate.log_px - known
            rows.append({
                "n_train": config.n_train,
                "split": split,
                "estimator": name,
                "bias": error.mean(),
                "bias_se": error.std(ddof=1) / len(error) ** 0.5,
                "low": np.sum(error < -1),
                "low_unflagged": np.sum((error < -1) & estimate.is_reliable),
                "lowest": error.min(),
                "highest": error.max(),
                "flagged": np.sum(~estimate.is_reliable),
                "sum_error": off.mean(),
                "seconds": seconds,
            })  # fmt: skip
    return rows


def _log_sum(weights: Mapping[str, np.ndarray], x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """log sum_z p(x|z) p(z) [N] over points z [S, n_latent].

    log p(x|z) = x l - sum log(1 + exp(l)), l = h W + b the logits: a matrix product for all x and z, and since
    x l = h (W x) + b x, one with as many columns as there are hidden units.
    """
    hidden, logits = ((weights[f"decoder.{layer}.w"], weights[f"decoder.{layer}.b"]) for layer in ("hidden", "logits"))
    w_x, b_x = logits[0] @ x.T, x @ logits[1]
    highest, total = np.full(len(x), -np.inf), np.zeros(len(x))
    for i in range(0, len(z), CHUNK):
        part = z[i : i + CHUNK].astype(np.float32)
        h = np.tanh(part @ hidden[0] + hidden[1])
        log_prior = -np.sum(part**2, axis=1) / 2 - part.shape[1] * np.log(2 * np.pi) / 2
        log_joint = h @ w_x + b_x + (log_prior - _sum_softplus(h @ logits[0] + logits[1])).astype(np.float32)[:, None]
        columns = np.flatnonzero(log_joint.max(axis=0) > highest - FORGET)
        log_joint = log_joint[:, columns]
        before = highest[columns]
        highest[columns] = after = np.maximum(before, log_joint.max(axis=0))
        total[columns] *= np.exp(before - after)
        total[columns] += np.exp(log_joint - after.astype(np.float32)).sum(axis=0)
    return highest + np.log(total)


def _sum_softplus(logits: np.ndarray) -> np.ndarray:
    """sum_d log(1 + exp(l_d)) [S], as sum_d max(l_d, 0) + log(1 + exp(-|l_d|)), of logits [S, D]; D even.

    One logarithm for two factors, as none exceeds 2.
    """
    factors = 1 + np.exp(-np.abs(logits))
    half = factors.shape[1] // 2
    return np.maximum(logits, 0).sum(axis=1) + np.log(factors[:, :half] * factors[:, half:]).sum(axis=1)
