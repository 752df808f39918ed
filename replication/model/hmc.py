"""Hamiltonian Monte Carlo over z, one chain per datapoint side by side: a thin wrapper on `tfp.mcmc`.

TFP draws its own momenta. Inside a compiled function on a CPU they take some 3 ms for 1000 chains of 3 dimensions,
a tenth of what a transition's gradients take, so they stay: compiled, a transition is twice as fast as uncompiled.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

LogDensity = Callable[[tf.Tensor], tf.Tensor]
TARGET_ACCEPTANCE = 0.9
INITIAL_STEP_SIZE = 0.1
N_MOVES_PER_SAMPLE = 3
JITTER = (0.2, 1.0)  # shares of the tuned step size between which each transition of a sampler draws its own


class Chains(NamedTuple):
    """S draws of N chains: z [S, N, n_latent], log density [S, N]; per chain accepted share and tuned step size [N]."""

    z: tf.Tensor
    log_density: tf.Tensor
    acceptance: tf.Tensor
    step_size: tf.Tensor


class Info(NamedTuple):
    """What a transition did, per chain [N].

    `energy_error` is the change of the total energy along the trajectory in nats: 0 for an exact integrator, infinite
    where the trajectory leaves the numbers. A transition is accepted with probability min(1, exp(-energy_error)).
    """

    is_accepted: tf.Tensor
    energy_error: tf.Tensor


def move(
    log_density: LogDensity, z: tf.Tensor, step_size: tf.Tensor, n_leapfrog: int, seed_pair: tf.Tensor
) -> tuple[tf.Tensor, Info]:
    """One transition of every chain z [N, n_latent] (Duane et al. 1987)."""
    kernel = tfp.mcmc.HamiltonianMonteCarlo(log_density, step_size, n_leapfrog)
    z, results = kernel.one_step(z, kernel.bootstrap_results(z), seed=tf.cast(seed_pair, tf.int32))
    return z, Info(results.is_accepted, energy_error=-results.log_accept_ratio)


def adapt(step_size: tf.Tensor, acceptance: tf.Tensor, n_chains: int) -> tf.Tensor:
    """The authors' rule: times or divided by min(1.25, 1.02^min(100, chains)) as acceptance is above or below 0.9."""
    factor = min(1.25, 1.02 ** min(100, n_chains))
    return tf.where(acceptance > TARGET_ACCEPTANCE, step_size * factor, step_size / factor)


class JitteredHamiltonianMonteCarlo(tfp.mcmc.HamiltonianMonteCarlo):
    """HMC in which every transition of every chain draws its step size, uniform on JITTER times the tuned one.

    With one step size, 4 leapfrog steps at 90 % acceptance are half an orbit of an isotropic posterior: z becomes -z,
    and its density never changes. Trajectories of random length have no such period (Mackenzie 1989; Neal 2011, 3.2).
    """

    def one_step(self, current_state: Any, previous_kernel_results: Any, seed: Any = None) -> tuple[Any, Any]:
        """One transition; the results keep the tuned step size, which the adaptation reads."""
        seed, jitter_seed = tfp.random.split_seed(seed)
        tuned = previous_kernel_results.accepted_results.step_size
        share = tf.random.stateless_uniform(tf.nest.flatten(tuned)[0].shape, jitter_seed, *JITTER, alg="philox")
        jittered = tf.nest.map_structure(lambda step_size: step_size * share, tuned)
        z, results = super().one_step(current_state, _with_step_size(previous_kernel_results, jittered), seed)
        return z, _with_step_size(results, tuned)


def sample(
    log_density: LogDensity, z: tf.Tensor, n_samples: int, n_leapfrog: int, n_burnin: int, seed_pair: tf.Tensor
) -> Chains:
    """`n_samples` draws of each chain, after `n_burnin` moves in which it tunes its step size to 90 % acceptance.

    The step size is tuned in the first 80 % of the burn-in, and jittered in every move. Every third move is kept
    (N_MOVES_PER_SAMPLE): neighbours are too alike to stand for the posterior.
    """
    step_size = tf.fill([z.shape[0], 1], INITIAL_STEP_SIZE)
    kernel = JitteredHamiltonianMonteCarlo(log_density, step_size, n_leapfrog)
    adaptive = tfp.mcmc.DualAveragingStepSizeAdaptation(kernel, int(0.8 * n_burnin), TARGET_ACCEPTANCE)
    draws, (log_densities, accepted, step_sizes) = tfp.mcmc.sample_chain(
        n_samples,
        z,
        kernel=adaptive,
        num_burnin_steps=n_burnin,
        num_steps_between_results=N_MOVES_PER_SAMPLE - 1,
        trace_fn=lambda _, results: (
            results.inner_results.accepted_results.target_log_prob,
            results.inner_results.is_accepted,
            results.new_step_size,
        ),
        seed=tf.cast(seed_pair, tf.int32),
    )
    return Chains(draws, log_densities, tf.reduce_mean(tf.cast(accepted, tf.float32), axis=0), step_sizes[-1, :, 0])


def effective_sample_size(chains: Chains) -> np.ndarray:
    """What S draws are worth in independent ones, for the worst of z's dimensions and log p(x, z) of each chain [N].

    By ArviZ (Vehtari et al. 2021, method `mean`). Draws that alternate around the mean are worth more than S. The log
    density shows what z cannot: a chain that stays on one contour. A chain that never moved is worth one draw.
    """
    from arviz_stats.base import array_stats  # here only: its import takes half a second

    z, log_density = np.asarray(chains.z, np.float64), np.asarray(chains.log_density, np.float64)
    series = np.concatenate([np.moveaxis(z, -1, 0), log_density[None]]).swapaxes(-1, -2)
    ess = array_stats.ess(series, chain_axis=None, draw_axis=-1, method="mean").min(axis=0)
    return np.where(np.ptp(z, axis=0).max(axis=-1) > 0, ess, 1.0)


def _with_step_size(results: Any, step_size: Any) -> Any:
    return results._replace(accepted_results=results.accepted_results._replace(step_size=step_size))
