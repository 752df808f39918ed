"""What a job on a cluster asks for: which runs share one, and how long they may take."""

import math
from collections.abc import Sequence

from replication.config import ConfigError, RunConfig

# Samples per second on a slow core, evaluations included: at most a quarter of the slowest record of each algorithm.
# The evaluations of Monte Carlo EM take longer than its training.
SLOW_CORE = {"aevb": 1000, "wake_sleep": 800, "mcem": 2000, "full_vb": 1000}
START_MINUTES = 20  # the imports from a busy network disk, compilation, the last evaluation
SHARED_MINUTES = 15


def gpus(asked: object) -> int:
    """How many GPUs a job that trains asks for; raises ConfigError for anything but 0 and 1: a run uses one."""
    if str(asked) not in ("0", "1"):
        raise ConfigError(f"GPU={asked} is neither 0 nor 1: a job that trains uses one GPU, or none.")
    return int(str(asked))


def minutes(runs: Sequence[RunConfig]) -> int:
    """The time to ask for: a job that trains these runs one after another is stopped after it."""
    return START_MINUTES + math.ceil(sum(map(_minutes, runs)))


def shares(runs: Sequence[RunConfig]) -> list[list[RunConfig]]:
    """The runs of each job: short ones one after another, in a process that starts and compiles once.

    They depend on the list of runs alone, not on what is done already, so every machine finds the same ones.
    """
    jobs: list[list[RunConfig]] = []
    for run in runs:
        if jobs and sum(map(_minutes, [*jobs[-1], run])) <= SHARED_MINUTES:
            jobs[-1].append(run)
        else:
            jobs.append([run])
    return jobs


def _minutes(run: RunConfig) -> float:
    return run.samples_total / SLOW_CORE[run.algorithm] / 60
