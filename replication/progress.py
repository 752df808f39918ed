"""One progress bar for everything that takes longer than a few seconds."""

import sys

from tqdm.auto import tqdm


def bar(total: int, unit: str) -> tqdm:
    """A bar in a terminal or a notebook, silence elsewhere."""
    watched = sys.stderr.isatty() or "ipykernel" in sys.modules
    return tqdm(total=total, unit=unit, unit_scale=True, disable=not watched)
