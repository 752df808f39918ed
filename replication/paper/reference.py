"""The paper's own curves, digitised from the vector drawing of arXiv:1312.6114v10."""

from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from replication import paths
from replication.runs.curves import CURVE, SIZE

METRICS = {2: "bound", 3: "log_px"}  # what the paper's figures 2 and 3 show
FIGURES = {metric: figure for figure, metric in METRICS.items()}


@cache
def _all_curves() -> pd.DataFrame:
    drawn = pd.read_csv(paths.PAPER_CURVES)
    metric = drawn["figure"].map(METRICS)
    size = [row[SIZE[name]] for name, row in zip(metric, drawn.to_dict("records"), strict=True)]
    return drawn.assign(metric=metric, size=np.array(size, int))[[*CURVE, "samples_evaluated", "value"]]


def curves(**panel: Any) -> pd.DataFrame:
    """The 48 curves of figures 2 and 3, one row per vertex, with the columns of runs/curves.py; `value` in nats.

    `panel` chooses among them, such as `metric="bound", dataset="mnist"`.
    """
    drawn = _all_curves()
    for name, value in panel.items():
        drawn = drawn[drawn[name] == value]
    return drawn.reset_index(drop=True)


def value_at(curve: pd.DataFrame, samples: Any) -> Any:
    """A curve at `samples`, a number or an array, interpolated as it was thinned; NaN outside the drawn range.

    Linear in log10(samples) for the bound, in samples for log p(x), as the axes of the figures.
    """
    if curve.empty:
        return np.full(np.shape(samples), np.nan)[()]
    scale = np.log10 if curve["metric"].iloc[0] == "bound" else np.asarray
    x = scale(curve["samples_evaluated"].to_numpy())
    order = np.argsort(x, kind="stable")
    return np.interp(scale(samples), x[order], curve["value"].to_numpy()[order], left=np.nan, right=np.nan)
