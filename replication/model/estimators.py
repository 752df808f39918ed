"""Estimators of the lower bound and of its gradient: the choice is explicit, values are per datapoint."""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf
import tensorflow_probability as tfp

from replication.errors import EstimatorError
from replication.model.networks import Params, decode, encode, prior


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
        """The value that training reports and checks for divergence: here the bound itself."""
        return self.elbo


def sgvb_a(params: Params, x: tf.Tensor, eps: tf.Tensor) -> Bound:
    """L^A: every term by Monte Carlo, E[log p(x|z) - (log q(z|x) - log p(z))] (eq. 6); shapes as in `sgvb_b`."""
    q_z_given_x, z = _reparameterise("sgvb_a", params, x, eps)
    log_px_given_z = decode(params.decoder, z).log_prob(x)
    kl = q_z_given_x.log_prob(z) - prior(eps.shape[-1]).log_prob(z)
    return Bound(tf.reduce_mean(log_px_given_z, axis=0), tf.reduce_mean(kl, axis=0))


def sgvb_b(params: Params, x: tf.Tensor, eps: tf.Tensor) -> Bound:
    """L^B: log p(x|z) by Monte Carlo, the KL in closed form (eq. 7, eq. 10).

    x [M, D], eps [L, M, n_latent] standard normal; z = mu + sigma * eps (eq. 4). Source: section 2.3, appendix B.
    """
    q_z_given_x, z = _reparameterise("sgvb_b", params, x, eps)
    log_px_given_z = decode(params.decoder, z).log_prob(x)
    kl = tfp.distributions.kl_divergence(q_z_given_x, prior(eps.shape[-1]))
    return Bound(tf.reduce_mean(log_px_given_z, axis=0), kl)


def score_function(params: Params, x: tf.Tensor, eps: tf.Tensor) -> Bound:
    """The naive estimator of section 2.2: its gradient is f(z) grad log q(z|x), f = log p(x, z) - log q(z|x).

    Values and shapes as in `sgvb_a`; only the gradient differs (Williams 1992; Paisley et al. 2012).
    """
    return _score_function(params, x, eps, tf.zeros_like)


def score_function_baseline(params: Params, x: tf.Tensor, eps: tf.Tensor) -> Bound:
    """The score-function estimator with a control variate: the mean of f over the other samples is taken from f(z).

    The other samples are independent of z, so the gradient stays unbiased (Mnih & Rezende 2016, after Ranganath et al.
    2014). Raises EstimatorError for fewer than 2 samples.
    """
    if eps.shape[0] == 1:
        raise EstimatorError("score_function_baseline needs at least 2 samples of z per datapoint: set n_mc_samples.")
    n_others = eps.shape[0] - 1
    return _score_function(params, x, eps, lambda f: (tf.reduce_sum(f, axis=0) - f) / n_others)


ESTIMATORS = {
    "sgvb_a": sgvb_a,
    "sgvb_b": sgvb_b,
    "score_function": score_function,
    "score_function_baseline": score_function_baseline,
}


def require(name: str, q: tfp.distributions.Distribution) -> None:
    """Raise EstimatorError where the estimator cannot use q, and say why."""
    if not name.startswith("sgvb"):
        return
    kind = type(q.distribution if isinstance(q, tfp.distributions.Independent) else q).__name__
    if q.reparameterization_type != tfp.distributions.FULLY_REPARAMETERIZED:
        raise EstimatorError(
            f"{name} differentiates through samples, but {kind} has no such samples: use score_function."
        )
    if name == "sgvb_b":
        try:
            tfp.distributions.kl_divergence(q, prior(q.event_shape[-1]))
        except NotImplementedError as error:
            raise EstimatorError(
                f"sgvb_b needs the KL to N(0, I), but {kind} has none in closed form: use sgvb_a."
            ) from error


def _reparameterise(name: str, params: Params, x: tf.Tensor, eps: tf.Tensor) -> tuple:
    """q(z|x) and z = mu + sigma * eps."""
    if 0 in (eps.shape[0], x.shape[0]):
        raise EstimatorError(f"{name} needs at least one sample (L = {eps.shape[0]}) and datapoint (M = {x.shape[0]}).")
    q_z_given_x = encode(params.encoder, x)
    require(name, q_z_given_x)
    return q_z_given_x, q_z_given_x.mean() + q_z_given_x.stddev() * eps


def _score_function(params: Params, x: tf.Tensor, eps: tf.Tensor, baseline: Callable[[tf.Tensor], tf.Tensor]) -> Bound:
    q_z_given_x, z = _reparameterise("score_function", params, x, eps)
    z = tf.stop_gradient(z)
    log_px_given_z = decode(params.decoder, z).log_prob(x)
    log_q = q_z_given_x.log_prob(z)
    kl = tf.stop_gradient(log_q) - prior(eps.shape[-1]).log_prob(z)
    f = tf.stop_gradient(log_px_given_z) - kl
    score = (f - baseline(f)) * log_q
    no_value = score - tf.stop_gradient(score)
    return Bound(tf.reduce_mean(log_px_given_z + no_value, axis=0), tf.reduce_mean(kl, axis=0))
