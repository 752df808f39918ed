"""Where along a run its curve is evaluated, in training samples; every run is also evaluated at its end."""

FIRST_MARK = 100_000
PREFERRED = (1, 1.25, 1.6, 2, 2.5, 3, 4, 5, 6, 8)
EARLY, EVERY = (100_000, 250_000, 500_000, 1_000_000), 2_500_000


def marks(metric: str, samples_total: int) -> list[int]:
    """For the bound 10 marks per decade from 1e5, since figure 2 has a logarithmic axis.

    For log p(x), which costs more and stands on a linear axis in figure 3, every 2.5 million after a few early ones.
    """
    if metric == "bound":
        n_decades = len(str(samples_total // FIRST_MARK))
        grid = [round(FIRST_MARK * p * 10**decade) for decade in range(n_decades) for p in PREFERRED]
    else:
        grid = [*EARLY, *range(EVERY, samples_total, EVERY)]
    return [mark for mark in grid if mark < samples_total] + [samples_total]
