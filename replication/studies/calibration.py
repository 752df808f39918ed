"""How far the estimates of log p(x) can be trusted: on models whose log p(x) is known, and against each other."""

import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
import tensorflow as tf
from scipy.special import expit, logsumexp
from scipy.stats import multivariate_normal

from replication import draws
from replication.model import networks
from replication.runs import evaluation
from replication.runs.curves import SIZE, last

N_SEEDS, N_DATAPOINTS = 12, 100
DIMENSIONS = (2, 3, 4, 5)
N_PIXELS, NOISE = 10, 0.5
SETTINGS = {"n_seeds": N_SEEDS, "n_datapoints": N_DATAPOINTS, "dimensions": DIMENSIONS}
GRID = np.linspace(-6, 6, 121)


class KnownModel(NamedTuple):
    """A model p(x, z) of which log p(x) is known: `sample(seed_pair)` gives x [N, D] and its log p(x) [N] in nats."""

    name: str
    n_latent: int
    log_joint: Callable
    parameters: tuple
    sample: Callable[[tf.Tensor], tuple[tf.Tensor, np.ndarray]]


def known_models() -> list[KnownModel]:
    """PPCA of 2 to 5 latent dimensions with an isotropic posterior, one with another, and a small tanh decoder."""
    return [*(ppca(n_latent, (2.0, 2.0)) for n_latent in DIMENSIONS), ppca(3, (1.0, 4.0)), tanh_decoder()]


def ppca(n_latent: int, loadings: tuple[float, float]) -> KnownModel:
    """Probabilistic PCA: z ~ N(0, I), x ~ N(W z, NOISE^2 I), the columns of W orthogonal.

    Their lengths go from the first to the second of `loadings`; where these are equal, the posterior is isotropic.
    """
    w, _ = np.linalg.qr(np.random.default_rng(n_latent).normal(size=(N_PIXELS, n_latent)))
    w = w * np.linspace(*loadings, n_latent)
    marginal = multivariate_normal(np.zeros(N_PIXELS), w @ w.T + NOISE**2 * np.eye(N_PIXELS))

    def sample(seed_pair: tf.Tensor) -> tuple[tf.Tensor, np.ndarray]:
        z = draws.normal(draws.fold_in(seed_pair, "z"), [N_DATAPOINTS, n_latent])
        noise = draws.normal(draws.fold_in(seed_pair, "x"), [N_DATAPOINTS, N_PIXELS])
        x = tf.linalg.matmul(z, w.T.astype(np.float32)) + NOISE * noise
        return x, marginal.logpdf(x.numpy())

    name = f"PPCA, {'isotropic' if loadings[0] == loadings[1] else 'elongated'} posterior"
    return KnownModel(name, n_latent, _ppca_log_joint, (tf.constant(w, tf.float32),), sample)


def tanh_decoder() -> KnownModel:
    """A Bernoulli decoder with 8 tanh units and 2 latent dimensions, log p(x) by quadrature over a grid of z."""
    shapes = {"hidden": (2, 8), "logits": (8, N_PIXELS)}
    rng = np.random.default_rng(0)
    layers = {name: networks.Dense(1.5 * rng.normal(size=s), rng.normal(size=s[1])) for name, s in shapes.items()}

    def logits(z: np.ndarray) -> np.ndarray:
        h = np.tanh(z @ layers["hidden"].w + layers["hidden"].b)
        return h @ layers["logits"].w + layers["logits"].b

    grid = np.stack(np.meshgrid(GRID, GRID), axis=-1).reshape(-1, 2)
    of_grid = logits(grid)
    log_weight = multivariate_normal(np.zeros(2)).logpdf(grid) + 2 * np.log(GRID[1] - GRID[0])
    log_none = log_weight - np.logaddexp(0, of_grid).sum(axis=-1)  # log p(x, z) of the x that is 0 in every pixel

    def sample(seed_pair: tf.Tensor) -> tuple[tf.Tensor, np.ndarray]:
        z = draws.normal(draws.fold_in(seed_pair, "z"), [N_DATAPOINTS, 2]).numpy()
        x = draws.bernoulli(draws.fold_in(seed_pair, "x"), tf.constant(expit(logits(z)), tf.float32))
        return x, logsumexp(log_none[:, None] + of_grid @ x.numpy().T.astype(np.float64), axis=0)

    to_float32 = {name: networks.Dense(*(tf.constant(v, tf.float32) for v in layer)) for name, layer in layers.items()}
    return KnownModel("tanh decoder", 2, networks.log_joint, (networks.BernoulliDecoder(**to_float32),), sample)


def accuracy(models: list[KnownModel] | None = None, n_seeds: int = N_SEEDS) -> pd.DataFrame:
    """How far both estimators are from known values at figure 3's settings, over seeds; all known models by default.

    Per model: `bias`, the mean error in nats, with its standard error over seeds; `error_over_claimed`, the root mean
    square error over that of the claimed standard errors; `z_squared`, the mean square of error over claimed (1 where
    the claim is right); and the share that is flagged as unreliable, which is left out of none of these.
    """
    return pd.DataFrame([row for model in models or known_models() for row in _accuracy(model, n_seeds)])


def _accuracy(model: KnownModel, n_seeds: int) -> list[dict]:
    results: dict[str, list] = {"appendix D": [], "importance sampling": []}
    for seed in range(n_seeds):
        seed_pair = draws.stream(seed, model.n_latent, "evaluation", "calibration")
        x, exact = model.sample(draws.fold_in(seed_pair, "data"))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*unreliable")  # the column `flagged` counts them
            estimates = evaluation.estimate_log_px(model.log_joint, model.parameters, x, model.n_latent, seed_pair)
        for name, estimate in zip(results, estimates[:2], strict=True):
            results[name].append((estimate.log_px - exact, estimate.se, ~estimate.is_reliable))
    rows = []
    for name, of_seeds in results.items():
        error, se, is_flagged = (np.array(part) for part in zip(*of_seeds, strict=True))
        rows.append({
            "model": model.name,
            "n_latent": model.n_latent,
            "estimator": name,
            "bias": error.mean(),
            "bias_se": error.mean(axis=1).std(ddof=1) / n_seeds**0.5,
            "error_over_claimed": np.sqrt(np.mean(error**2) / np.mean(se**2)),
            "z_squared": np.mean((error / se) ** 2),
            "largest_error": np.abs(error).max(),
            "flagged": is_flagged.mean(),
        })  # fmt: skip
    return rows


def _ppca_log_joint(w: tf.Tensor, x: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
    residual = (x - tf.tensordot(z, w, axes=[[-1], [1]])) / NOISE
    log_px_given_z = -tf.reduce_sum(residual**2, -1) / 2 - N_PIXELS * np.log(NOISE * np.sqrt(2 * np.pi))
    return log_px_given_z + networks.prior(z.shape[-1]).log_prob(z)


def cross_check(curves: pd.DataFrame) -> pd.DataFrame:
    """At the end of every run: appendix D minus importance sampling over the same datapoints, in nats."""
    columns = ["difference", "difference_se", "acceptance", "ess_hmc", "ess_importance", "n_unreliable"]
    return last(curves).set_index([SIZE["log_px"], "algorithm", "split"])[columns]
