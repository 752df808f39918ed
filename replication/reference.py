"""The paper's own curves, digitised from the vector drawing of arXiv:1312.6114v10."""

import numpy as np
import pandas as pd

from replication import paths


def load(figure: int) -> pd.DataFrame:
    """The curves of figure 2 or 3, one row per vertex; `value` in nats per datapoint."""
    curves = pd.read_csv(paths.PAPER_CURVES)
    return curves[curves["figure"] == figure].reset_index(drop=True)


def value_at(curve: pd.DataFrame, samples: float) -> float:
    """A curve of figure 2 at `samples`, linear in log10(samples) as it was thinned; NaN outside the drawn range."""
    if curve.empty:
        return np.nan
    x = np.log10(curve["samples_evaluated"].to_numpy())
    order = np.argsort(x, kind="stable")
    return float(np.interp(np.log10(samples), x[order], curve["value"].to_numpy()[order], left=np.nan, right=np.nan))
