"""The unit square of a plane of the latent space (figure 4)."""

import numpy as np
from scipy.stats import norm


def unit_square(side: int) -> np.ndarray:
    """Linearly spaced coordinates on the unit square through the inverse Gaussian CDF (figure 4): z [side^2, 2].

    The square is cut into side x side cells and z taken at their centres, row by row from the top left.
    """
    u = norm.ppf((np.arange(side) + 0.5) / side)
    horizontal, vertical = np.meshgrid(u, u[::-1])
    return np.stack([horizontal.ravel(), vertical.ravel()], axis=-1).astype(np.float32)
