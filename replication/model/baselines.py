"""Models without latent variables, which a latent variable model has to beat."""

import numpy as np

# A pixel that is constant on train would have infinite density; half a grey level is the finest the data resolve.
MIN_STDDEV = 0.5 / 256


def independent_gaussian(x_train: np.ndarray, x: np.ndarray, pixel_variance: str = "per_pixel") -> np.ndarray:
    """log p(x) [n] in nats under the best independent Gaussian per pixel: the moments of x_train [N, D].

    The variance is one per pixel, or one that all pixels share around a mean of their own (`shared`).
    """
    mean = x_train.mean(axis=0, dtype=np.float64)
    variance = np.mean((x_train - mean) ** 2, axis={"per_pixel": 0, "shared": None}[pixel_variance])
    stddev = np.broadcast_to(np.maximum(np.sqrt(variance), MIN_STDDEV), mean.shape)
    return -np.sum(((x - mean) / stddev) ** 2 / 2 + np.log(stddev) + np.log(2 * np.pi) / 2, axis=1)
