"""One progress bar for everything that takes longer than a few seconds."""

import io
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import IO

import tqdm

SECONDS_BETWEEN_LINES = 15  # a twentieth of the time so far where that is more: hours take some dozens of lines
LINE = "{percentage:.0f}% of {total_fmt} {unit}s after {elapsed}, {remaining} to go at {rate_fmt}{postfix}"
WIDTH, HEIGHT = 200, 20  # else they are those of the terminal that papermill has, which may have none


def print_as_utf8() -> None:
    """Print text of any language whatever the locale; the bytes of a path that are none stay as they are."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="surrogateescape")


def is_watched() -> bool:
    """Whether somebody may see a bar: in a terminal or a notebook."""
    return sys.stderr.isatty() or _is_notebook()


def bar(total: int, unit: str, initial: int = 0) -> tqdm.tqdm:
    """A bar where it is watched, silence elsewhere; `initial` of the total were done before.

    In a notebook a line every few seconds: `papermill --log-output` prints it, and the saved notebook keeps it.
    The rate is that of the last minutes: runs differ, and the time that is left should not jump between them.
    """
    kind = partial(_Lines, file=sys.stdout, bar_format=LINE, ncols=WIDTH, nrows=HEIGHT) if _is_notebook() else tqdm.tqdm
    disable = not is_watched() or not total
    return kind(total=total, initial=initial, unit=unit, unit_scale=total >= 1000, smoothing=0.02, disable=disable)


def set_aside(progress: tqdm.tqdm, n: float) -> None:
    """Count `n` as done, but leave the time until now out of the rate: what came before the first step is no speed."""
    if not progress.disable:
        progress.n += n
        progress.initial += n
        progress.last_print_n, progress.last_print_t = progress.n, time.time()


def _is_notebook() -> bool:
    return "ipykernel" in sys.modules


class _Lines(tqdm.tqdm):
    """A bar below which the next one stands, where others are drawn over."""

    @staticmethod
    def status_printer(file: IO[str]) -> Callable[[str], None]:
        """What prints the bar, unless it has just done so."""
        start = next_at = time.monotonic()

        def say(line: str) -> None:
            nonlocal next_at
            now = time.monotonic()
            if line and "? to go" not in line and now >= next_at:  # tqdm's first line knows no rate
                next_at = now + max(SECONDS_BETWEEN_LINES, (now - start) / 20)
                print(line, file=file, flush=True)

        return say
