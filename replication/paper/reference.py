"""The paper's own curves, digitised from the vector drawing of arXiv:1312.6114v10."""

from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from replication import paths


def load(figure: int) -> pd.DataFrame:
    """The curves of figure 2 or 3, one row per vertex; `value` in nats per datapoint."""
    curves = _all_curves()
    return curves[curves["figure"] == figure].reset_index(drop=True)


@cache
def _all_curves() -> pd.DataFrame:
    return pd.read_csv(paths.PAPER_CURVES)


def value_at(curve: pd.DataFrame, samples: Any) -> Any:
    """A curve at `samples`, a number or an array, interpolated as it was thinned; NaN outside the drawn range.

    Linear in log10(samples) for figure 2, in samples for figure 3.
    """
    if curve.empty:
        return np.full(np.shape(samples), np.nan)[()]
    scale = np.log10 if curve["figure"].iloc[0] == 2 else np.asarray
    x = scale(curve["samples_evaluated"].to_numpy())
    order = np.argsort(x, kind="stable")
    return np.interp(scale(samples), x[order], curve["value"].to_numpy()[order], left=np.nan, right=np.nan)
