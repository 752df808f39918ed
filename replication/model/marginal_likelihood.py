"""Two estimators of log p(x) that check each other: appendix D of the paper, and importance sampling.

Both take a log joint density as a function and its arguments, `log_joint(*args, z)`, so that a compiled program serves
every state of a model; both return a value and a standard error per datapoint, in nats.
"""

import math
import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from scipy.special import logsumexp

from replication import draws
from replication.compiled import compiled
from replication.errors import EstimatorError
from replication.model import hmc

MAX_LATENT = 5  # the paper: reliable estimates "if the dimensionality of the sampled space is low (less than 5)"
MIN_SAMPLES = 4
MIN_EFFECTIVE_SAMPLES = 5
BANDWIDTHS = np.linspace(0.2, 1, 9)  # at 1 the density is the Gaussian
MAX_PARETO_K = 0.7  # Vehtari et al. 2024: above, neither an importance sampling estimate nor its error can be trusted
IMPORTANCE_CHUNK = 10
N_STARTS, START_CHUNK = 1000, 50  # draws; all at once they would take gigabytes


Proposal = tuple[np.ndarray, np.ndarray]  # a Gaussian per datapoint: mean [N, d], Cholesky factor [N, d, d]


class Estimate(NamedTuple):
    """log p(x), its standard error, the effective sample size and whether to rely on it, each [N].

    Every value is finite. One that nothing is known of has an infinite standard error, and is not reliable.
    """

    log_px: np.ndarray
    se: np.ndarray
    ess: np.ndarray
    is_reliable: np.ndarray


@compiled
def chain_start(
    log_joint: Callable, args: tuple, n_latent: int, seed_pair: tf.Tensor, guess: tf.Tensor | None = None
) -> tf.Tensor:
    """Where to start the chains [N, n_latent]: the most likely of 1000 common draws from N(0, I) and of the guesses.

    A guess per datapoint [N, n_latent], such as the encoder's mean, finds a narrow posterior that common draws miss.
    """
    z = draws.normal(seed_pair, [N_STARTS, 1, n_latent])
    chunks = tf.reshape(z, [-1, START_CHUNK, 1, n_latent])
    log_density = tf.map_fn(lambda chunk: log_joint(*args, chunk), chunks)
    log_density = tf.reshape(log_density, [N_STARTS, -1])
    start = tf.gather(z[:, 0], tf.argmax(log_density, axis=0))
    if guess is None:
        return start
    is_better = log_joint(*args, guess[None])[0] > tf.reduce_max(log_density, axis=0)
    return tf.where(is_better[:, None], guess, start)


@compiled
def sample_posterior(
    log_joint: Callable,
    args: tuple,
    z: tf.Tensor,
    seed_pair: tf.Tensor,
    n_samples: int = 50,
    n_leapfrog: int = 4,
    n_burnin: int = 60,
) -> hmc.Chains:
    """Chains from p(z|x) that start at z [N, n_latent]; defaults as the paper."""
    return hmc.sample(lambda z: log_joint(*args, z), z, n_samples, n_leapfrog, n_burnin, seed_pair)


def hmc_density_estimator(chains: hmc.Chains) -> Estimate:
    """Appendix D: 1/p(x) = E_p(z|x)[q(z) / p(x, z)], q fitted to one half of the draws, the mean over the other.

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
    half = n_samples // 2
    fitted, held_out = z[:half], z[half:]  # neighbours are alike: alternating draws would overfit q
    has_density = _has_volume(fitted[: half // 2]) & _has_volume(fitted[half // 2 :])
    log_q = -np.sum(held_out**2 + np.log(2 * np.pi), axis=-1) / 2
    log_q[:, has_density] = _kernel_log_density(fitted[:, has_density], held_out[:, has_density])
    log_ratio = log_q - log_joint[half:]
    n = len(log_ratio)
    ess = hmc.effective_sample_size(chains)
    relative_variance = np.maximum(n / _effective_size(log_ratio) - 1, 0) * n / (n - 1)
    se = np.where(has_density, np.sqrt(relative_variance / (ess * n / n_samples)), np.inf)
    return Estimate(np.log(n) - logsumexp(log_ratio, axis=0), se, ess, _reliable(has_density, ess, n_latent))


def importance_sampling(
    log_joint: Callable, args: tuple, proposals: Sequence[Proposal], seed_pair: tf.Tensor, n_samples: int = 250
) -> Estimate:
    """log p(x) = log E_q[p(x, z) / q(z)], q the mixture in equal parts of Gaussian proposals per datapoint.

    Each proposal gives `n_samples` samples, weighted by the whole mixture (Veach & Guibas 1995): where one misses the
    posterior, another may not. Raises EstimatorError for fewer than 4 samples, or where no weight is finite.
    """
    if n_samples < MIN_SAMPLES:
        raise EstimatorError(f"{n_samples} samples per datapoint are too few: take at least {MIN_SAMPLES}.")
    mean, tril = (tf.cast(tf.stack(part), tf.float32) for part in zip(*proposals, strict=True))
    chunks = []
    for i in range(math.ceil(n_samples / IMPORTANCE_CHUNK)):
        chunks.append(_log_weights(log_joint, args, mean, tril, seed_pair, tf.constant(i)).numpy())
    log_w = np.concatenate(chunks)[:n_samples].astype(np.float64)
    if bad := np.sum(~np.isfinite(log_w.max(axis=(0, 1)))):
        raise EstimatorError(f"The importance weights of {bad} of {log_w.shape[2]} datapoints are all 0 or not finite.")
    largest = log_w.max(axis=(0, 1))
    w = np.exp(log_w - largest)  # each proposal is a stratum: its samples vary around its own mean
    se = np.sqrt(w.var(axis=0, ddof=1).mean(axis=0) / w[..., 0].size) / w.mean(axis=(0, 1))
    log_px = largest + np.log(w.mean(axis=(0, 1)))
    log_w = log_w.reshape(-1, log_w.shape[-1])
    ess = _effective_size(log_w)
    is_light = pareto_k(log_w) < MAX_PARETO_K
    return Estimate(log_px, se, ess, _reliable(is_light, ess, mean.shape[-1], warn_of_dimension=False))


def pareto_k(log_w: np.ndarray) -> np.ndarray:
    """The shape of the generalised Pareto distribution fitted to the largest of the weights [n, N], per datapoint [N].

    By ArviZ (Vehtari et al. 2024). The weights have a finite variance below 1/2; their mean is not to be had above 1.
    """
    from arviz_stats.base import array_stats  # here only: its import takes half a second

    w = np.exp(log_w - log_w.max(axis=0))
    return array_stats.pareto_khat(w.T, chain_axis=None, draw_axis=-1, r_eff=1.0, tail="right")


def gaussian_proposal(chains: hmc.Chains, inflation: float = 1.5) -> Proposal:
    """A proposal from posterior draws: their mean, and the Cholesky factor of their covariance times `inflation`.

    Wider than the posterior, since importance weights are unbounded under a proposal that is too narrow. Where the
    draws have a singular covariance it is the prior, whose low effective sample size then flags the estimate.
    """
    z = np.asarray(chains.z, np.float64)
    valid = _has_volume(z)
    covariance = np.where(valid[:, None, None], inflation * _covariance(z), np.eye(z.shape[-1]))
    return np.where(valid[:, None], z.mean(axis=0), 0.0), np.linalg.cholesky(covariance)


def prior_proposal(n_chains: int, n_latent: int) -> Proposal:
    """N(0, I) for every datapoint: in a mixture it bounds the weights by K p(x|z) (defensive mixture, Hesterberg 1995).

    It knows nothing of the chains, so an error that they share with a proposal fitted to them shows.
    """
    return np.zeros((n_chains, n_latent)), np.tile(np.eye(n_latent), (n_chains, 1, 1))


@compiled
def _log_weights(
    log_joint: Callable, args: tuple, mean: tf.Tensor, tril: tf.Tensor, seed_pair: tf.Tensor, chunk: tf.Tensor
) -> tf.Tensor:
    """log p(x, z) - log q(z) [IMPORTANCE_CHUNK, K, N] of draws from K proposals, mean [K, N, d], tril [K, N, d, d].

    Each chunk, a number, has draws of its own.
    """
    eps = draws.normal(draws.fold_in(seed_pair, chunk), [IMPORTANCE_CHUNK, *mean.shape])
    z = mean + tf.linalg.matvec(tril, eps)
    q = tfp.distributions.MultivariateNormalTriL(mean, tril)
    log_q = q.log_prob(z[:, :, None])  # [chunk, K, K, N]: every draw under every proposal
    return log_joint(*args, z) - (tf.reduce_logsumexp(log_q, axis=2) - np.log(mean.shape[0]))


def _kernel_log_density(z_fit: np.ndarray, z: np.ndarray) -> np.ndarray:
    """log q(z) [m, N] of a kernel density on z_fit [n, N, d], the bandwidth chosen per datapoint.

    Each half of z_fit scores the bandwidths on the other half.
    """
    halves = z_fit[: len(z_fit) // 2], z_fit[len(z_fit) // 2 :]
    scores = [
        sum(_kernels(a, b, np.full(z.shape[1], h)).sum(axis=0) for a, b in (halves, halves[::-1])) for h in BANDWIDTHS
    ]
    return _kernels(z_fit, z, BANDWIDTHS[np.argmax(scores, axis=0)])


def _kernels(z_fit: np.ndarray, z: np.ndarray, bandwidth: np.ndarray) -> np.ndarray:
    """log of the mean of Gaussian kernels [m, N], `bandwidth` [N] times as wide as the draws z_fit [n, N, d].

    The centres are the draws, shrunk towards their mean so that q has the covariance of the draws (West 1993). Without
    this q is wider than the posterior, q / p has a heavy tail that 25 draws miss, and log p(x) comes out too large.
    """
    mean, tril = z_fit.mean(axis=0), np.linalg.cholesky(_covariance(z_fit))
    centres = np.sqrt(1 - bandwidth**2)[:, None] * _solve(tril, z_fit - mean)
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


def _effective_size(log_w: np.ndarray) -> np.ndarray:
    """(sum w)^2 / sum w^2 (Kish) over the first axis."""
    return np.exp(2 * logsumexp(log_w, axis=0) - logsumexp(2 * log_w, axis=0))


def _reliable(valid: np.ndarray, ess: np.ndarray, n_latent: int, warn_of_dimension: bool = True) -> np.ndarray:
    too_many = warn_of_dimension and n_latent > MAX_LATENT
    reliable = valid & (np.asarray(ess) >= MIN_EFFECTIVE_SAMPLES) & (not too_many)
    if too_many:
        warnings.warn(f"{n_latent} latent dimensions are too many to fit a density: unreliable.", stacklevel=3)
    elif not reliable.all():
        count = f"{np.sum(~reliable)} of {len(reliable)}"
        warnings.warn(
            f"{count} estimates are unreliable: few effective samples, heavy tails or a stuck chain.", stacklevel=3
        )
    return reliable
