"""Two estimators of log p(x) that check each other: appendix D of the paper, and importance sampling.

Both take a log joint density as a function, its parameters and the datapoints, `log_joint(*parameters, x, z)`, so that
a compiled program serves every state of a model, and the modes of p(z|x); for a check worth the name each needs modes
from a search of its own (modes.py). Both return a value and a standard error per datapoint, in nats.
"""

import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from scipy.special import logsumexp

from replication import draws
from replication.compiled import compiled
from replication.errors import EstimatorError
from replication.model import hmc
from replication.model.modes import Modes, in_blocks

MAX_LATENT = 5  # the paper: reliable estimates "if the dimensionality of the sampled space is low (less than 5)"
MIN_SAMPLES = 4
MIN_EFFECTIVE_SAMPLES = 5
MAX_SE = 0.5  # nats: with more a few draws decide, and the standard error is no better than the estimate
BANDWIDTHS = np.linspace(0.2, 1, 9)  # at 1 the density is the Gaussian
NARROWER = 0.8  # than the covariance of the draws, which 25 of them tell to a fifth or so
MAX_PARETO_K = 0.7  # Vehtari et al. 2024: above, neither an importance sampling estimate nor its error can be trusted
INFLATIONS = (1.5, 6.0)  # of a mode's covariance: to fit it, and for tails that are heavier than a Gaussian's
WIDTHS = (1.0, 2.0)  # standard deviations of the draws that all datapoints share: the prior's, and wider
N_COMMON, COMMON_CHUNK, IMPORTANCE_CHUNK = 10_000, 200, 10
N_LARGEST = 500  # of a datapoint's weights of shared draws: enough to see their tail


class Estimate(NamedTuple):
    """log p(x), its standard error, the effective sample size and whether to rely on it, each [N].

    Every value is finite. One that nothing is known of has an infinite standard error, and is not reliable.
    """

    log_px: np.ndarray
    se: np.ndarray
    ess: np.ndarray
    is_reliable: np.ndarray


class Sampling(NamedTuple):
    """The accepted share of draws and the number of chains of each datapoint, [N]."""

    acceptance: np.ndarray
    n_chains: np.ndarray


def appendix_d(
    log_joint: Callable,
    parameters: tuple,
    x: tf.Tensor,
    modes: Modes,
    seed_pair: tf.Tensor,
    n_samples: int = 50,
    n_leapfrog: int = 4,
    n_burnin: int = 40,
) -> tuple[Estimate, Sampling]:
    """log p(x) by HMC and a density estimator, a chain from each mode.

    A chain hardly ever leaves its mode, so each has its part of p(x) to find, the integral of r_k(z) p(x, z). r_k are
    the shares of the Gaussians that approximate the modes; they add up to 1, and so do the parts to p(x). Where there
    is one mode, r = 1. The chain moves in coordinates in which its Gaussian is N(0, I). Numbers of draws and leapfrog
    steps as the paper.
    """
    k, row = np.nonzero(modes.log_mass > -np.inf)
    own_first = (k[:, None] + np.arange(len(modes.z))) % len(modes.z)  # [chains, K]
    mean, whitener, log_mass = (
        part[own_first, row[:, None]].astype(np.float32)
        for part in (modes.z, np.linalg.inv(modes.tril), modes.log_mass)
    )

    def sample(block: int, x: tf.Tensor, *mixture: np.ndarray) -> list[tf.Tensor]:
        mixture = tuple(tf.constant(part.swapaxes(0, 1)) for part in mixture)
        seed = draws.fold_in(seed_pair, block)
        chains = sample_part(log_joint, parameters, x, *mixture, seed, n_samples, n_leapfrog, n_burnin)
        return [tf.transpose(chains.z, [1, 0, 2]), tf.transpose(chains.log_density), *chains[2:]]

    z, log_density, acceptance, step_size = in_blocks(sample, x, row, mean, whitener, log_mass)
    part = hmc_density_estimator(hmc.Chains(z.swapaxes(0, 1), log_density.T, acceptance, step_size))
    log_px = np.full(len(x), -np.inf)
    np.logaddexp.at(log_px, row, part.log_px)
    share = np.exp(part.log_px - log_px[row])

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(row, values, minlength=len(x))

    se, ess = np.sqrt(total((share * part.se) ** 2)), total(share * part.ess)
    sampling = Sampling(total(share * acceptance), np.bincount(row, minlength=len(x)))
    return Estimate(log_px, se, ess, total(~part.is_reliable) == 0), sampling


@compiled
def sample_part(
    log_joint: Callable,
    parameters: tuple,
    x: tf.Tensor,
    mean: tf.Tensor,
    whitener: tf.Tensor,
    log_mass: tf.Tensor,
    seed_pair: tf.Tensor,
    n_samples: int,
    n_leapfrog: int,
    n_burnin: int,
) -> hmc.Chains:
    """Chains from r(z) p(x, z) that start at the first of K modes, r its share in the mixture of all; [K, N, ...]."""
    tril = tf.linalg.inv(whitener[0])

    def to_z(white: tf.Tensor) -> tf.Tensor:
        return mean[0] + tf.reduce_sum(tril * white[..., None, :], axis=-1)

    def log_density(white: tf.Tensor) -> tf.Tensor:
        z = to_z(white)
        log_parts = log_mass + _log_gaussian(z, mean, whitener)
        return log_joint(*parameters, x, z) + log_parts[0] - tf.reduce_logsumexp(log_parts, axis=0)

    chains = hmc.sample(log_density, tf.zeros_like(mean[0]), n_samples, n_leapfrog, n_burnin, seed_pair)
    return chains._replace(z=to_z(chains.z))


def hmc_density_estimator(chains: hmc.Chains) -> Estimate:
    """Appendix D: 1/p(x) = E_p(z|x)[q(z) / p(x, z)], each half of the draws with q fitted to the other half.

    q is a kernel density, see `_kernel_log_density`. Where the draws have a singular covariance, as those of a chain
    that never moved, q is the prior: the harmonic mean estimator (Newton & Raftery 1994), which is not reliable.
    Raises EstimatorError for fewer than 4 draws, or where the log density is not finite along a chain.
    """
    z, log_joint = np.asarray(chains.z, np.float64), np.asarray(chains.log_density, np.float64)
    n_samples, n_chains, n_latent = z.shape
    if n_samples < MIN_SAMPLES:
        raise EstimatorError(
            f"{n_samples} draws per datapoint are too few to fit a density: take at least {MIN_SAMPLES}."
        )
    if bad := np.sum(~np.isfinite(log_joint).all(axis=0)):
        raise EstimatorError(
            f"The log density is not finite along {bad} of {n_chains} chains. Start where p(x, z) > 0, "
            "and check that the parameters of the model are finite."
        )
    first, second = _halves(z)
    quarters = [*_halves(first), *_halves(second)]  # which score the bandwidths
    has_density = np.logical_and.reduce([_has_volume(quarter) for quarter in quarters])
    log_q = -np.sum(z**2 + np.log(2 * np.pi), axis=-1) / 2
    log_q[:, has_density] = np.concatenate([
        _kernel_log_density(fitted[:, has_density], half[:, has_density])
        for fitted, half in ((second, first), (first, second))
    ])  # fmt: skip
    log_mean_ratio, effective = average(log_q - log_joint)
    ess = hmc.effective_sample_size(chains)
    relative_variance = np.maximum(n_samples / effective - 1, 0) * n_samples / (n_samples - 1)
    se = np.where(has_density, np.sqrt(relative_variance / ess), np.inf)
    return Estimate(-log_mean_ratio, se, ess, _reliable(has_density, se, ess, n_latent))


def importance_sampling(
    log_joint: Callable, parameters: tuple, x: tf.Tensor, modes: Modes, seed_pair: tf.Tensor, n_samples: int = 30
) -> Estimate:
    """log p(x) = log E_q[p(x, z) / q(z)], q a mixture of Gaussians on the modes and of wide ones that all x share.

    Each mode gives `n_samples` draws for each of INFLATIONS; where a datapoint has fewer modes, its first gives more.
    N_COMMON draws from N(0, s^2 I), s one of WIDTHS, serve all datapoints: they bound the weights (defensive mixture,
    Hesterberg 1995), and a large one among them shows a mode that the search missed. Every draw is weighted by the
    whole mixture (Veach & Guibas 1995). Raises EstimatorError for fewer than 4 draws, or where no weight is finite.
    """
    if n_samples < MIN_SAMPLES:
        raise EstimatorError(f"{n_samples} samples per datapoint are too few: take at least {MIN_SAMPLES}.")
    is_mode = modes.log_mass > -np.inf
    z = np.where(is_mode[..., None], modes.z, modes.z[0])
    tril = np.where(is_mode[..., None, None], modes.tril, modes.tril[0])
    mean = tf.constant(np.concatenate([z for _ in INFLATIONS]), tf.float32)
    tril = tf.constant(np.concatenate([inflation**0.5 * tril for inflation in INFLATIONS]), tf.float32)
    whitener = tf.linalg.inv(tril)
    chunks = range(-(-n_samples // IMPORTANCE_CHUNK))
    model = log_joint, parameters, x
    own = [
        _own_log_weights(*model, mean, tril, whitener, n_samples, draws.fold_in(seed_pair, "own", i)).numpy()
        for i in chunks
    ]
    common = _common_log_weights(*model, mean, whitener, n_samples, draws.fold_in(seed_pair, "common")).numpy()
    return _of_weights(np.concatenate(own)[:n_samples], common.reshape(-1, len(x)), z.shape[-1])


def _of_weights(own: np.ndarray, common: np.ndarray, n_latent: int) -> Estimate:
    """The estimate from log weights whose sum is p(x): own draws [n, K, N] of K proposals, and common ones [S, N]."""
    strata = [*np.moveaxis(own.astype(np.float64), 1, 0), common]  # each varies around its own mean
    log_w = np.concatenate(strata)
    if bad := np.sum(~np.isfinite(log_w.max(axis=0))):
        raise EstimatorError(f"The importance weights of {bad} of {len(log_w[0])} datapoints are all 0 or not finite.")
    log_mean, ess = average(log_w)
    log_px = log_mean + np.log(len(log_w))
    se = np.sqrt(sum(len(part) * np.exp(part - log_px).var(axis=0, ddof=1) for part in strata))
    tail = np.partition(common, -min(N_LARGEST, len(common)), axis=0)[-N_LARGEST:]
    is_light = pareto_k(np.concatenate([*strata[:-1], tail])) < MAX_PARETO_K
    return Estimate(log_px, se, ess, _reliable(is_light, se, ess, n_latent, warn_of_dimension=False))


def average(log_w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The log of the mean of weights [n, N], and their effective size (sum w)^2 / sum w^2 (Kish 1965), each [N]."""
    largest = log_w.max(axis=0)
    w = np.exp(log_w - largest)
    total = w.sum(axis=0)
    return largest + np.log(total / len(w)), total**2 / np.sum(w**2, axis=0)


def pareto_k(log_w: np.ndarray) -> np.ndarray:
    """The shape of the generalised Pareto distribution fitted to the largest of the weights [n, N], per datapoint [N].

    By ArviZ (Vehtari et al. 2024). The weights have a finite variance below 1/2; their mean is not to be had above 1.
    """
    from arviz_stats.base import array_stats  # here only: its import takes half a second

    w = np.exp(log_w - log_w.max(axis=0))
    return array_stats.pareto_khat(w.T, chain_axis=None, draw_axis=-1, r_eff=1.0, tail="right")


@compiled
def _own_log_weights(
    log_joint: Callable,
    parameters: tuple,
    x: tf.Tensor,
    mean: tf.Tensor,
    tril: tf.Tensor,
    whitener: tf.Tensor,
    n_samples: int,
    seed_pair: tf.Tensor,
) -> tf.Tensor:
    """The log weights [IMPORTANCE_CHUNK, K, N] of draws from K proposals, mean [K, N, d], tril [K, N, d, d]."""
    z = mean + tf.linalg.matvec(tril, draws.normal(seed_pair, [IMPORTANCE_CHUNK, *mean.shape]))
    return log_joint(*parameters, x, z) - _log_mixture(z, mean, whitener, n_samples)


@compiled
def _common_log_weights(
    log_joint: Callable,
    parameters: tuple,
    x: tf.Tensor,
    mean: tf.Tensor,
    whitener: tf.Tensor,
    n_samples: int,
    seed_pair: tf.Tensor,
) -> tf.Tensor:
    """The log weights [n, COMMON_CHUNK, N] of N_COMMON draws that all datapoints share."""
    eps = draws.normal(seed_pair, [N_COMMON // COMMON_CHUNK, len(WIDTHS), COMMON_CHUNK // len(WIDTHS), mean.shape[-1]])
    z = tf.reshape(tf.reshape(WIDTHS, [-1, 1, 1]) * eps, [-1, COMMON_CHUNK, 1, mean.shape[-1]])
    return tf.map_fn(lambda z: log_joint(*parameters, x, z) - _log_mixture(z, mean, whitener, n_samples), z)


def _log_mixture(z: tf.Tensor, mean: tf.Tensor, whitener: tf.Tensor, n_samples: int) -> tf.Tensor:
    """The log density of all draws of importance sampling, whose integral is their number, at z [..., n_latent]."""
    n_latent = z.shape[-1]
    own = [
        np.log(n_samples) + _log_gaussian(z, *proposal)
        for proposal in zip(tf.unstack(mean), tf.unstack(whitener), strict=True)
    ]
    squared = tf.reduce_sum(z**2, axis=-1) / 2
    wide = [np.log(N_COMMON / len(WIDTHS)) - squared / s**2 - n_latent * np.log(s * np.sqrt(2 * np.pi)) for s in WIDTHS]
    return tf.reduce_logsumexp(tf.stack([*own, *(part + tf.zeros_like(own[0]) for part in wide)]), axis=0)


def _log_gaussian(z: tf.Tensor, mean: tf.Tensor, whitener: tf.Tensor) -> tf.Tensor:
    """log N(z; mean, S) [..., N], the whitener [..., N, d, d] being the inverse of the Cholesky factor of S."""
    white = tf.reduce_sum(whitener * (z - mean)[..., None, :], axis=-1)
    log_volume = -tf.reduce_sum(tf.math.log(tf.linalg.diag_part(whitener)), axis=-1)
    return -tf.reduce_sum(white**2, axis=-1) / 2 - log_volume - z.shape[-1] * np.log(2 * np.pi) / 2


def _kernel_log_density(z_fit: np.ndarray, z: np.ndarray) -> np.ndarray:
    """log q(z) [m, N] of a kernel density on z_fit [n, N, d], the bandwidth chosen per datapoint.

    Each half of z_fit scores the bandwidths on the other half.
    """
    halves = _halves(z_fit)
    scores = [
        sum(_kernels(a, b, np.full(z.shape[1], h)).sum(axis=0) for a, b in (halves, halves[::-1])) for h in BANDWIDTHS
    ]
    return _kernels(z_fit, z, BANDWIDTHS[np.argmax(scores, axis=0)])


def _halves(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first and the second half of draws [n, ...]: neighbours are alike, so alternating draws would overfit q."""
    return z[: len(z) // 2], z[len(z) // 2 :]


def _kernels(z_fit: np.ndarray, z: np.ndarray, bandwidth: np.ndarray) -> np.ndarray:
    """log of the mean of Gaussian kernels [m, N], `bandwidth` [N] times as wide as the draws z_fit [n, N, d].

    The centres are the draws, shrunk towards their mean so that q has NARROWER times the covariance of the draws (West
    1993). Where q is wider than the posterior, q / p has a heavy tail, which a single draw may decide.
    """
    mean, tril = z_fit.mean(axis=0), np.linalg.cholesky(NARROWER * _covariance(z_fit))
    centres = np.sqrt(NARROWER * (1 - bandwidth**2))[:, None] * _solve(tril, z_fit - mean)
    log_kernels = [-np.sum((point - centres) ** 2, axis=-1) / (2 * bandwidth**2) for point in _solve(tril, z - mean)]
    n_latent = z.shape[-1]
    return logsumexp(log_kernels, axis=1) - np.log(len(centres)) - _log_volume(tril) - n_latent * np.log(bandwidth)


def _covariance(z: np.ndarray) -> np.ndarray:
    """The covariance [N, d, d] of draws z [n, N, d]."""
    centred = z - z.mean(axis=0)
    return np.einsum("sni,snj->nij", centred, centred) / max(len(z) - 1, 1)


def _has_volume(z: np.ndarray) -> np.ndarray:
    """Where the covariance of the draws is not singular, [N]."""
    eigenvalues = np.linalg.eigvalsh(_covariance(z))
    return eigenvalues[:, 0] > 1e-9 * np.maximum(eigenvalues[:, -1], 1e-12)


def _solve(tril: np.ndarray, z: np.ndarray) -> np.ndarray:
    return np.moveaxis(np.linalg.solve(tril, np.moveaxis(z, 0, -1)), -1, 0)


def _log_volume(tril: np.ndarray) -> np.ndarray:
    diagonal = np.diagonal(tril, axis1=-2, axis2=-1)
    return np.sum(np.log(diagonal), axis=-1) + tril.shape[-1] * np.log(2 * np.pi) / 2


def _reliable(
    valid: np.ndarray, se: np.ndarray, ess: np.ndarray, n_latent: int, warn_of_dimension: bool = True
) -> np.ndarray:
    too_many = warn_of_dimension and n_latent > MAX_LATENT
    reliable = valid & (se < MAX_SE) & (np.asarray(ess) >= MIN_EFFECTIVE_SAMPLES) & (not too_many)
    if too_many:
        warnings.warn(f"{n_latent} latent dimensions are too many to fit a density: unreliable.", stacklevel=3)
    elif not reliable.all():
        count = f"{np.sum(~reliable)} of {len(reliable)}"
        warnings.warn(
            f"{count} estimates are unreliable: few effective samples, heavy tails or a stuck chain.", stacklevel=3
        )
    return reliable
