"""The modes of p(z|x), by a search of the whole latent space: where chains start and importance sampling proposes.

An overfitted model has several: narrow ones, that no draw from the prior meets, and where its encoder does not point.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from scipy.stats import norm

from replication import draws
from replication.compiled import compiled
from replication.errors import EstimatorError

GRID_SIZE = 40_000  # points that all datapoints share: 34 along each of 3 dimensions
GRID_WIDTH = 2.5  # the standard deviation of the grid's density
CHUNK = 200  # points of the grid at a time
BLOCK = 125  # pairs of a datapoint and a z at a time, or a little fewer
MAX_STARTS, MAX_MODES = 6, 4  # per datapoint
MAX_NEWTON_STEPS, MAX_STEP = 12, 0.5
CONVERGED = 0.01  # nats: what the next step promises
NEGLIGIBLE = 5.0  # nats: a mode with so much less mass than the largest is left out
MIN_PRECISION = 0.1  # the prior's is 1


class Modes(NamedTuple):
    """K modes of each of N datapoints, the one with most mass first.

    `z` [K, N, n_latent]; `tril` [K, N, n_latent, n_latent], the Cholesky factor of the inverse of minus the Hessian;
    `log_mass` [K, N], the mode's part of log p(x) by Laplace's approximation in nats, -inf where there is no such mode.
    """

    z: np.ndarray
    tril: np.ndarray
    log_mass: np.ndarray


def search(
    log_joint: Callable,
    parameters: tuple,
    x: tf.Tensor,
    n_latent: int,
    seed_pair: tf.Tensor,
    starts: np.ndarray | None = None,
) -> Modes:
    """The modes of p(z|x) of every datapoint x [N, D]; `log_joint(*parameters, x, z)` is log p(x, z).

    A grid over the latent space, shifted at random, is scored for all datapoints; from the highest of each datapoint's
    local maxima on it Newton's method climbs on, and from `starts` [K, N, n_latent]: with more than some 5 dimensions
    the grid is too coarse. Raises EstimatorError where the density is finite nowhere on the grid.
    """
    z, value = _starts(log_joint, parameters, x, n_latent, seed_pair)
    if starts is not None:
        scores = [log_joint(*parameters, x, tf.constant(start, tf.float32)).numpy() for start in starts]
        z, value = np.concatenate([z, starts]), np.concatenate([value, scores])
    if bad := np.sum(np.isneginf(value[0])):
        raise EstimatorError(
            f"The log density of {bad} of {len(x)} datapoints is finite nowhere on a grid over the latent space: "
            "check that the parameters of the model and the datapoints are finite."
        )
    z, value, hessian = _ascend(log_joint, parameters, x, z, value)
    precision, axes = np.linalg.eigh(-hessian)
    precision = np.maximum(precision, MIN_PRECISION)
    log_mass = value + n_latent * np.log(2 * np.pi) / 2 - np.log(precision).sum(axis=-1) / 2
    log_mass[log_mass < log_mass.max(axis=0) - NEGLIGIBLE] = -np.inf
    order = np.argsort(-log_mass, axis=0)[:MAX_MODES]
    z, precision, axes, log_mass = (
        np.take_along_axis(a, order.reshape(order.shape + (1,) * (a.ndim - 2)), axis=0)
        for a in (z, precision, axes, log_mass)
    )
    tril = np.linalg.cholesky((axes / precision[..., None, :]) @ np.swapaxes(axes, -1, -2))
    return Modes(z, tril, log_mass)


def in_blocks(function: Callable, x: tf.Tensor, rows: np.ndarray, *arrays: np.ndarray) -> list[np.ndarray]:
    """`function(number of the block, x[rows], *arrays)` in blocks of equal size, so that it is compiled once.

    The first axis of `arrays` and of the results is that of `rows`.
    """
    size = -(-len(x) // -(-len(x) // BLOCK))
    padded = np.arange(-(-len(rows) // size) * size) % len(rows)
    blocks = [
        [np.asarray(part) for part in function(i, tf.gather(x, rows[block]), *(a[block] for a in arrays))]
        for i, block in enumerate(padded.reshape(-1, size))
    ]
    return [np.concatenate(parts)[: len(rows)] for parts in zip(*blocks, strict=True)]


def _starts(
    log_joint: Callable, parameters: tuple, x: tf.Tensor, n_latent: int, seed_pair: tf.Tensor
) -> tuple[np.ndarray, np.ndarray]:
    """The highest local maxima on the grid: z [K, N, n_latent] and log p(x, z) [K, N], -inf where there are fewer."""
    n_side = max(1, int(GRID_SIZE ** (1 / n_latent) + 1e-9))
    u = (np.arange(n_side) + draws.uniform(seed_pair, [n_latent, 1]).numpy()) / n_side  # [n_latent, n_side]
    axes = GRID_WIDTH * norm.ppf(np.clip(u, 1e-6, 1 - 1e-6))
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, n_latent).astype(np.float32)
    padded = np.resize(grid, (-(-len(grid) // CHUNK), CHUNK, 1, n_latent))
    scores = _score(log_joint, parameters, x, padded).numpy().reshape(-1, len(x))[: len(grid)]
    scores = np.where(np.isfinite(scores), scores, -np.inf).reshape(*[n_side] * n_latent, len(x))
    is_peak = (scores == _highest_neighbour(scores)) & (scores > -np.inf)
    point, row = np.nonzero(is_peak.reshape(len(grid), -1))
    value = scores.reshape(len(grid), -1)[point, row]
    order = np.lexsort((-value, row))
    point, row, value = point[order], row[order], value[order]
    rank = np.arange(len(row)) - np.searchsorted(row, row)
    keep = rank < MAX_STARTS
    z = np.zeros((MAX_STARTS, len(x), n_latent), np.float32)
    best = np.full((MAX_STARTS, len(x)), -np.inf)
    z[rank[keep], row[keep]], best[rank[keep], row[keep]] = grid[point[keep]], value[keep]
    return z, best


def _highest_neighbour(scores: np.ndarray) -> np.ndarray:
    """The highest score of each point of the grid and its neighbours, diagonal ones included; the last axis is N."""
    for axis in range(scores.ndim - 1):
        below, above = np.swapaxes(scores, 0, axis)[:-1], np.swapaxes(scores, 0, axis)[1:]
        scores = scores.copy()
        np.maximum(np.swapaxes(scores, 0, axis)[:-1], above, out=np.swapaxes(scores, 0, axis)[:-1])
        np.maximum(np.swapaxes(scores, 0, axis)[1:], below, out=np.swapaxes(scores, 0, axis)[1:])
    return scores


def _ascend(
    log_joint: Callable, parameters: tuple, x: tf.Tensor, z: np.ndarray, value: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Newton's method from z [K, N, n_latent], damped (Levenberg 1944): where it ends, log p(x, z) and the Hessian.

    Of ascents that meet, and of those that will stay far below the datapoint's highest, the value becomes -inf.
    """
    n_latent = z.shape[-1]

    def expand(row: np.ndarray, z: np.ndarray) -> list[np.ndarray]:
        parts = in_blocks(
            lambda _, x, z: _expand(log_joint, parameters, x, tf.constant(z)), x, row, z.astype(np.float32)
        )
        is_bad = ~np.all([np.isfinite(part.reshape(len(row), -1)).all(axis=1) for part in parts], axis=0)
        for part, nowhere in zip(parts, (-np.inf, 0.0, -np.eye(n_latent)), strict=True):
            part[is_bad] = nowhere
        return parts

    z, value = z.astype(np.float64), value.copy()
    gradient, hessian = np.zeros_like(z), np.tile(-np.eye(n_latent), (*value.shape, 1, 1))
    k, row = np.nonzero(value > -np.inf)
    value[k, row], gradient[k, row], hessian[k, row] = expand(row, z[k, row])
    damping = np.ones_like(value)
    for i in range(MAX_NEWTON_STEPS):
        curvature, axes = np.linalg.eigh(-hessian)
        along = np.einsum("knij,kni->knj", axes, gradient)
        promise = np.sum(along**2 / np.maximum(np.abs(curvature), MIN_PRECISION), axis=-1) / 2
        if i > 1:
            value[value + 4 * promise < value.max(axis=0) - 2 * NEGLIGIBLE] = -np.inf
        value[_is_met(z, value, hessian)] = -np.inf
        k, row = np.nonzero((value > -np.inf) & (promise > CONVERGED))
        if not len(k):
            break
        step = np.einsum("knij,knj->kni", axes, along / (np.abs(curvature) + damping[..., None]))[k, row]
        step *= np.minimum(1, MAX_STEP / np.linalg.norm(step, axis=-1, keepdims=True))
        new_value, new_gradient, new_hessian = expand(row, z[k, row] + step)
        is_higher = new_value > value[k, row]
        damping[k, row] *= np.where(is_higher, 0.2, 5.0)
        up = k[is_higher], row[is_higher]
        z[up] += step[is_higher]
        value[up], gradient[up], hessian[up] = new_value[is_higher], new_gradient[is_higher], new_hessian[is_higher]
    value[_is_met(z, value, hessian)] = -np.inf
    return z, value, hessian


def _is_met(z: np.ndarray, value: np.ndarray, hessian: np.ndarray) -> np.ndarray:
    """Where an ascent [K, N] is within a standard deviation of a higher one, or equally high and later."""
    is_met = np.zeros(value.shape, bool)
    for i in range(len(z)):
        for j in range(len(z)):
            if i != j:
                apart = z[i] - z[j]
                is_near = -np.einsum("ni,nij,nj->n", apart, hessian[j], apart) < 1
                is_higher = (value[j] > value[i]) | ((value[j] == value[i]) & (j < i))
                is_met[i] |= is_near & is_higher & (value[i] > -np.inf)
    return is_met


@compiled
def _score(log_joint: Callable, parameters: tuple, x: tf.Tensor, points: tf.Tensor) -> tf.Tensor:
    """log p(x, z) of every datapoint at all points [n, CHUNK, 1, n_latent]."""
    return tf.map_fn(lambda z: log_joint(*parameters, x, z), points)


@compiled
def _expand(log_joint: Callable, parameters: tuple, x: tf.Tensor, z: tf.Tensor) -> tuple:
    """log p(x, z) with its gradient and Hessian in z [N, n_latent]."""
    with tf.GradientTape(persistent=True) as outer:
        outer.watch(z)
        with tf.GradientTape() as inner:
            inner.watch(z)
            value = log_joint(*parameters, x, z)
        gradient = inner.gradient(value, z)
        parts = tf.unstack(gradient, axis=-1)
    return value, gradient, tf.stack([outer.gradient(part, z) for part in parts], axis=-1)
