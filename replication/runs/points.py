"""Where along a run its curve is evaluated, in training samples."""

import numpy as np

FIRST_POINT = 100_000
PREFERRED = (1, 1.25, 1.6, 2, 2.5, 3, 4, 5, 6, 8)
EARLY, SPACING = (100_000, 250_000, 500_000, 1_000_000), 2_500_000


def grid(metric: str, samples_total: int) -> list[int]:
    """The evaluation points of every run up to `samples_total`, its own end aside.

    For the bound 10 points per decade from 1e5, since figure 2 has a logarithmic axis. For log p(x), which costs more
    and stands on a linear axis in figure 3, every 2.5 million after a few early ones.
    """
    if metric == "bound":
        n_decades = len(str(samples_total // FIRST_POINT))
        points = [round(FIRST_POINT * p * 10**decade) for decade in range(n_decades) for p in PREFERRED]
    else:
        points = [*EARLY, *range(SPACING, samples_total + 1, SPACING)]
    return [point for point in points if point <= samples_total]


def evaluation_points(metric: str, samples_total: int) -> list[int]:
    """The grid below `samples_total`, and `samples_total`: every run is also evaluated at its end."""
    return [point for point in grid(metric, samples_total) if point < samples_total] + [samples_total]


def point_of(metric: str, samples_evaluated: np.ndarray, samples_per_step: int) -> np.ndarray:
    """The evaluation point that a number of samples stands for: that of the grid less than a step before it, or itself.

    A run is evaluated after a whole step, so runs whose steps differ in size have the same point at different numbers
    of samples: 297 datapoints in 5 updates reach 250,000 samples at 250,965.
    """
    samples = np.asarray(samples_evaluated)
    points = np.array([0, *grid(metric, int(samples.max()))])
    before = points[np.searchsorted(points, samples, side="right") - 1]
    return np.where((before > 0) & (samples - before < samples_per_step), before, samples)
