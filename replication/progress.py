"""One progress bar for everything that takes longer than a few seconds."""

import sys

from tqdm.auto import tqdm


def is_watched() -> bool:
    """Whether somebody may see a bar: in a terminal or a notebook."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules


def bar(total: int, unit: str, initial: int = 0) -> tqdm:
    """A bar where it is watched, silence elsewhere; `initial` of the total were done before.

    Its rate is that of the last minutes: runs differ, and the time that is left should not jump between them.
    """
    disable = not is_watched() or not total
    return tqdm(total=total, initial=initial, unit=unit, unit_scale=True, smoothing=0.02, disable=disable)
