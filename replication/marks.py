"""Where along a run the bound is evaluated: the preferred numbers 1, 1.25, 1.6, ... 8 of every decade."""

FIRST_MARK = 100_000
PREFERRED = (1, 1.25, 1.6, 2, 2.5, 3, 4, 5, 6, 8)


def marks(samples_total: int) -> list[int]:
    """Training samples at which to evaluate: 10 marks per decade from 1e5, and the end of the run."""
    n_decades = len(str(samples_total // FIRST_MARK))
    grid = [round(FIRST_MARK * p * 10**decade) for decade in range(n_decades) for p in PREFERRED]
    return [mark for mark in grid if mark < samples_total] + [samples_total]
