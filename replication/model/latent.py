"""What a trained model shows: manifolds, samples, reconstructions, interpolations, the use of its latent space."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf
from scipy.stats import norm

from replication import draws
from replication.errors import ReplicationError
from replication.model import marginal_likelihood, networks
from replication.model.networks import Encoder, Params
from replication.model.plane import unit_square


class LatentError(ReplicationError, ValueError):
    """A latent space is not what was asked of it."""


def to_unit_square(z: np.ndarray) -> np.ndarray:
    """The inverse of `unit_square`: z [..., 2] through the Gaussian CDF."""
    return norm.cdf(z)


def manifold(params: Params, side: int) -> np.ndarray:
    """Decoder means [side^2, D] over the unit square; raises LatentError unless the latent space is 2-D."""
    if (n_latent := n_latent_of(params)) != 2:
        raise LatentError(f"A manifold needs 2 latent dimensions, but this model has {n_latent}: choose n_latent = 2.")
    return decoder_mean(params, unit_square(side))


def n_latent_of(params: Params) -> int:
    """The dimensionality of z."""
    return params.decoder.hidden.w.shape[0]


def decoder_mean(params: Params, z: np.ndarray) -> np.ndarray:
    """The mean of p(x|z) [..., D]; z [..., n_latent]."""
    return networks.decode(params.decoder, tf.constant(z, tf.float32)).mean().numpy()


def encoder_mean(params: Params, x: np.ndarray) -> np.ndarray:
    """The mean of q(z|x) [..., n_latent]; x [..., D]."""
    return networks.encode(params.encoder, tf.constant(x, tf.float32)).mean().numpy()


def random_samples(params: Params, n: int, seed: int) -> np.ndarray:
    """Decoder means [n, D] of draws from the prior (figure 5)."""
    z = draws.normal(draws.stream(seed, 0, "samples"), [n, n_latent_of(params)])
    return decoder_mean(params, z)


class Proposals(NamedTuple):
    """`n` values of z per image: the first decoded [M, D], and the means over images of `ess` and log p(x) [nats]."""

    n: int
    first: np.ndarray
    ess: float
    log_px: float


def proposals(params: Params, x: np.ndarray, n: int, seed: int) -> dict[str, Proposals]:
    """Importance sampling of log p(x) from the prior and from the encoder, for images x [M, D]."""
    q_z_given_x = networks.encode(params.encoder, tf.constant(x))
    eps = draws.normal(draws.stream(seed, 0, "samples"), [n, len(x), n_latent_of(params)])
    by_name = {}
    for name, q, z in (
        ("prior", networks.prior(n_latent_of(params)), eps),
        ("encoder", q_z_given_x, q_z_given_x.mean() + q_z_given_x.stddev() * eps),
    ):
        log_w = (networks.log_joint(params.decoder, tf.constant(x), z) - q.log_prob(z)).numpy().astype(float)
        log_px, ess = marginal_likelihood.average(log_w)
        by_name[name] = Proposals(n, decoder_mean(params, z[0]), float(ess.mean()), float(log_px.mean()))
    return by_name


def interpolation(params: Params, x_from: np.ndarray, x_to: np.ndarray, n: int) -> np.ndarray:
    """Decoder means [n, D] on the straight line between the codes of two images [D]."""
    share = np.linspace(0, 1, n)[:, None]
    return decoder_mean(params, (1 - share) * encoder_mean(params, x_from) + share * encoder_mean(params, x_to))


def kl_per_dimension(encoder: Encoder, x: tf.Tensor) -> np.ndarray:
    """The mean over x [N, D] of KL(q(z_j|x) || p(z_j)) for each latent dimension j, in nats, [n_latent].

    KL = (mu^2 + sigma^2 - 1 - log sigma^2) / 2. Source: appendix B.
    """
    h = encoder.hidden.units(x)
    # From the log variance itself, in float64: a float32 variance is 0 or infinite where its logarithm is not.
    mean, log_var = (tf.cast(head(h), tf.float64).numpy() for head in (encoder.mean, encoder.log_var))
    return np.mean(mean**2 + np.expm1(log_var) - log_var, axis=0) / 2
