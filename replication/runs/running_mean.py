"""The bound on train as the paper reports it: the mean over the minibatches since the last report.

The authors' code reports every so many seconds: up to 6e6 samples the reports of a curve of figure 2 are, in the
median, 1.9e5 (MNIST, 200 latent variables) to 8.3e5 samples apart (wake-sleep on Frey Face with 2). Here the mean goes
over the last REPORT_SAMPLES before an evaluation point, or over all where there are fewer.
"""

import math
from typing import NamedTuple

REPORT_SAMPLES = 250_000
MARK_SAMPLES = 50_000  # where sums are kept: a fixed grid, so that the mean does not depend on where a run was stopped


class Sums(NamedTuple):
    """The sum over a run's first `step` steps of the minibatch's mean objective [nats], and of its square."""

    step: int
    total: float
    squared: float


START = (Sums(0, 0.0, 0.0),)


def next_mark(step: int, samples_per_step: int) -> int:
    """The first step after `step` whose sums are kept."""
    n_marks = step * samples_per_step // MARK_SAMPLES
    return math.ceil((n_marks + 1) * MARK_SAMPLES / samples_per_step)


def append(sums: tuple[Sums, ...], now: Sums, samples_per_step: int) -> tuple[Sums, ...]:
    """The sums of now, after those at marks that a mean may still begin with."""
    at_marks = [kept for kept in sums if _is_mark(kept.step, samples_per_step)]
    longest = (REPORT_SAMPLES + MARK_SAMPLES) // samples_per_step + 1
    return (*(kept for kept in at_marks if now.step - kept.step <= longest), now)


def bound(sums: tuple[Sums, ...], samples_per_step: int) -> dict[str, float]:
    """The mean bound over the last REPORT_SAMPLES, and its standard error over the minibatches; nats per datapoint."""
    now = sums[-1]
    longest = REPORT_SAMPLES // samples_per_step + 1  # a mark may lie a step beside its number of samples
    start = next(kept for kept in sums if now.step - kept.step <= longest)
    n = now.step - start.step
    mean = (now.total - start.total) / n
    variance = max((now.squared - start.squared) / n - mean**2, 0.0)
    return {"value": mean, "se": math.sqrt(variance / max(n - 1, 1))}


def _is_mark(step: int, samples_per_step: int) -> bool:
    return step == 0 or next_mark(step - 1, samples_per_step) == step
