"""The paper's own curves, digitised from the vector drawing of arXiv:1312.6114v10.

`paths.csv` has every vertex of every path, as drawn: those outside the axes and of a run that was started anew, too.
"""

import io
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from replication import paths
from replication.files import read_verified
from replication.runs.curves import CURVE, PANEL, SIZE

METRICS = {2: "bound", 3: "log_px"}  # what the paper's figures 2 and 3 show
FIGURES = {metric: figure for figure, metric in METRICS.items()}
PATHS_SHA256 = "ea8f5616b79b1ad119c82f479f21afce0bf1a969a721e4f35bf671c0a59d6291"


# The paper's axes [nats]: what is drawn below them is not to be seen there.
Y_LIMITS = {("bound", "mnist"): (-150, -95), ("bound", "frey_face"): (0, 1600), ("log_px", "mnist"): (-160, -100)}


@cache
def vertices() -> pd.DataFrame:
    """Every vertex of every path of figures 2 and 3, with the columns of runs/curves.py and `figure`; `value` in nats.

    `is_cut`: no report, the path leaves the drawing there. `path` counts a curve's paths: some are of two runs.
    Raises RecordError where the file is not the one that was digitised.
    """
    drawn = pd.read_csv(io.BytesIO(read_verified(paths.PAPER_PATHS, PATHS_SHA256)))
    drawn["metric"] = drawn["figure"].map(METRICS)
    drawn["size"] = [int(row[SIZE[row["metric"]]]) for row in drawn.to_dict("records")]
    is_cut = drawn["value"] == drawn.groupby(PANEL)["value"].transform("min")
    path = is_cut.groupby([drawn[key] for key in CURVE]).cumsum() - 1
    return drawn.assign(is_cut=is_cut, path=path)


@cache
def _all_curves() -> pd.DataFrame:
    """What is seen of each curve's last path: where a run was started anew, the paper shows the new one to the end."""
    drawn = vertices()
    is_last = drawn["path"] == drawn.groupby(CURVE)["path"].transform("max")
    bottom = [Y_LIMITS[key][0] for key in zip(drawn["metric"], drawn["dataset"], strict=True)]
    seen = drawn[is_last & ~drawn["is_cut"] & (drawn["value"] >= bottom)]
    return seen[[*CURVE, "samples_evaluated", "value"]]


def curves(**panel: Any) -> pd.DataFrame:
    """The 48 curves of figures 2 and 3, one row per vertex, with the columns of runs/curves.py; `value` in nats.

    `panel` chooses among them, such as `metric="bound", dataset="mnist"`.
    """
    drawn = _all_curves()
    for name, value in panel.items():
        drawn = drawn[drawn[name] == value]
    return drawn.reset_index(drop=True)


def value_at(curve: pd.DataFrame, samples: Any) -> Any:
    """A curve at `samples`, a number or an array, interpolated as it is drawn; NaN outside the drawn range.

    Linear in log10(samples) for the bound, in samples for log p(x), as the axes of the figures.
    """
    if curve.empty:
        return np.full(np.shape(samples), np.nan)[()]
    scale = np.log10 if curve["metric"].iloc[0] == "bound" else np.asarray
    x = scale(curve["samples_evaluated"].to_numpy())
    order = np.argsort(x, kind="stable")
    return np.interp(scale(samples), x[order], curve["value"].to_numpy()[order], left=np.nan, right=np.nan)
