"""The learning algorithms, one file each; `build` picks the one that a configuration names."""

from replication.algorithms import aevb, full_vb, mcem, wake_sleep
from replication.algorithms.base import Algorithm, State
from replication.config import RunConfig

__all__ = ["Algorithm", "State", "build"]

_MODULES = {"aevb": aevb, "wake_sleep": wake_sleep, "mcem": mcem, "full_vb": full_vb}


def build(config: RunConfig) -> Algorithm:
    """The functions `init(seed)` and `step(state, x, seed)` of the configured algorithm."""
    module = _MODULES[config.algorithm]
    return Algorithm(
        init=lambda seed: module.init(config, seed),
        step=lambda state, x, seed: module.step(config, state, x, seed),
    )
