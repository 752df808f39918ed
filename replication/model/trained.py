"""A trained model in numpy, for a reader who waits for its pictures: TensorFlow takes seconds to import."""

from collections.abc import Mapping

import numpy as np
from scipy.special import expit
from scipy.stats import norm


class TrainedModel:
    """The networks of a recorded model; `arrays` are its weights by name, as `networks.to_arrays` gives them."""

    def __init__(self, arrays: Mapping[str, np.ndarray]):
        self._arrays = arrays
        self._hidden = "hidden.softplus" if "decoder.hidden.softplus.w" in arrays else "hidden"
        self.n_latent = len(arrays[f"decoder.{self._hidden}.w"])

    def encode(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and log variance of q(z|x) (eq. 9), each [..., n_latent]; x [..., D]."""
        h = self._hidden_units("encoder", x)
        return self._dense("encoder.mean", h), self._dense("encoder.log_var", h)

    def decode(self, z: np.ndarray) -> np.ndarray:
        """The mean of p(x|z) [..., D] (eq. 11, or eq. 12 with a sigmoid on the mean); z [..., n_latent]."""
        return expit(self._dense(self._mean, self._hidden_units("decoder", z)))

    def log_px_given_z(self, x: np.ndarray, z: np.ndarray) -> np.ndarray:
        """log p(x|z) [...] in nats, of a Bernoulli or a Gaussian decoder."""
        h = self._hidden_units("decoder", z)
        mean = self._dense(self._mean, h)
        if self._is_gaussian:
            return norm.logpdf(x, expit(mean), np.exp(self._dense("decoder.log_var", h) / 2)).sum(axis=-1)
        return (x * mean - np.logaddexp(0, mean)).sum(axis=-1)

    def bound(self, x: np.ndarray, eps: np.ndarray) -> float:
        """L^B of one image x [D] (eq. 10) in nats; eps [L, n_latent] standard normal."""
        mean, log_var = self.encode(x)
        kl = (mean**2 + np.expm1(log_var) - log_var).sum() / 2
        return float(self.log_px_given_z(x, mean + np.exp(log_var / 2) * eps).mean() - kl)

    @property
    def _is_gaussian(self) -> bool:
        return "decoder.log_var.w" in self._arrays

    @property
    def _mean(self) -> str:
        return "decoder.mean" if self._is_gaussian else "decoder.logits"

    def _hidden_units(self, network: str, inputs: np.ndarray) -> np.ndarray:
        h = self._dense(f"{network}.{self._hidden}", inputs)
        return np.tanh(h) if self._hidden == "hidden" else np.logaddexp(0, h)

    def _dense(self, layer: str, inputs: np.ndarray) -> np.ndarray:
        return inputs @ self._arrays[f"{layer}.w"] + self._arrays[f"{layer}.b"]
