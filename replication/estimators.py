"""Estimators of the lower bound: the choice is explicit, values are per datapoint."""

from typing import NamedTuple

import tensorflow as tf
import tensorflow_probability as tfp

from replication.models import Params, decode, encode, prior


class Bound(NamedTuple):
    """The lower bound L(theta, phi; x) term by term, per datapoint [M], in nats."""

    log_px_given_z: tf.Tensor
    kl: tf.Tensor

    @property
    def elbo(self) -> tf.Tensor:
        """E_q[log p(x|z)] - KL(q(z|x) || p(z)) (eq. 3)."""
        return self.log_px_given_z - self.kl

    @property
    def objective(self) -> tf.Tensor:
        """What an algorithm that reports this bound is watched by: the bound itself."""
        return self.elbo


def sgvb_b(params: Params, x: tf.Tensor, eps: tf.Tensor) -> Bound:
    """L^B: log p(x|z) by Monte Carlo, the KL in closed form (eq. 7, eq. 10).

    x [M, D], eps [L, M, n_latent] standard normal; z = mu + sigma * eps (eq. 4). Source: section 2.3, appendix B.
    """
    q_z_given_x = encode(params.encoder, x)
    z = q_z_given_x.mean() + q_z_given_x.stddev() * eps
    log_px_given_z = decode(params.decoder, z).log_prob(x)
    kl = tfp.distributions.kl_divergence(q_z_given_x, prior(eps.shape[-1]))
    return Bound(tf.reduce_mean(log_px_given_z, axis=0), kl)


ESTIMATORS = {"sgvb_b": sgvb_b}
