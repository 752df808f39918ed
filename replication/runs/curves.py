"""The curves of all runs as one tidy table: the one place that names what tells two curves apart.

A row per run, split, measure and number of samples:

| column | meaning |
|---|---|
| every field of RunConfig, `run_id` | the run; `metric` says what `value` is: the bound, or log p(x) |
| `size` | the setting that tells the panels of a figure apart: n_latent for the bound, n_train for log p(x) |
| `split` | `train` or `test` |
| `measure` | `running_mean`: the minibatches' bound, as the paper reports it on train; `evaluated`: the model then |
| `samples_evaluated` | training samples so far |
| `point` | the evaluation point that the row stands for, less than a step before `samples_evaluated` |
| `value`, `se` | nats per datapoint; `se` is over datapoints, or over minibatches for a running mean |
| `seconds`, and the parts of the value | see runs/evaluation.py |

The model on train is evaluated for log p(x), for full VB, and at the end of every other run. Records made before the
running mean was kept have it at every point instead, on MNIST of the first 10,000 images, which are easier than all.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from replication.errors import ReplicationError
from replication.runs.points import point_of
from replication.runs.records import Record

SPLITS = ("train", "test")
MEASURES = ("running_mean", "evaluated")
SIZE = {"bound": "n_latent", "log_px": "n_train"}
PANEL = ["metric", "dataset", "size"]  # what tells the panels of figures 2 and 3 apart
CURVE = [*PANEL, "algorithm", "split"]  # and the curves that the paper draws in them
MODEL = ["dataset", "n_latent", "n_train"]  # what a run of full VB and one of MAP have alike


def table(records: Iterable[Record]) -> pd.DataFrame:
    """All curves below each other, each run once; raises ReplicationError where there is no record."""
    by_id = {record.config.run_id: record for record in records}
    if not by_id:
        raise ReplicationError("There is no record to make a table of: train the runs, or restore their folders.")
    return pd.concat([_of_run(record) for record in by_id.values()], ignore_index=True)


def _of_run(record: Record) -> pd.DataFrame:
    config, curve = record.config, record.curve
    point = point_of(config.metric, curve["samples_evaluated"].to_numpy(), config.samples_per_step)
    settings = config.model_dump()
    return curve.assign(run_id=config.run_id, size=settings[SIZE[config.metric]], point=point, **settings)


def as_reported(curves: pd.DataFrame) -> pd.DataFrame:
    """The curves that the paper's figures show: on train the bound as a running mean, everything else evaluated."""
    is_running_mean = (curves["metric"] == "bound") & (curves["split"] == "train")
    return curves[np.where(is_running_mean, MEASURES[0], MEASURES[1]) == curves["measure"]].reset_index(drop=True)


def evaluated(curves: pd.DataFrame) -> pd.DataFrame:
    """The rows whose value is that of the model at that point, on train and on test alike."""
    return curves[curves["measure"] == "evaluated"].reset_index(drop=True)


def last(curves: pd.DataFrame) -> pd.DataFrame:
    """The rows of each run's last evaluation point."""
    return curves[curves["point"] == curves.groupby("run_id")["point"].transform("max")].reset_index(drop=True)


def first_seed(curves: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Of several seeds of what `keys` tell apart, the lowest: a mean would jump where the shortest of them ends."""
    return curves[curves["seed"] == curves.groupby(list(keys))["seed"].transform("min")]


def last_common(curves: pd.DataFrame, alike: Sequence[str] = ()) -> pd.DataFrame:
    """The rows at the last evaluation point that all runs with equal settings `alike` have; none where there is none.

    By default all runs of the table. Runs are compared there and nowhere else: a longer one has no head start.
    """
    groups = [group for _, group in curves.groupby(list(alike), sort=False)] if alike else [curves]
    return pd.concat([_at_last_common_point(group) for group in groups], ignore_index=True)


def _at_last_common_point(curves: pd.DataFrame) -> pd.DataFrame:
    n_runs = curves.groupby("point")["run_id"].nunique()
    common = n_runs.index[n_runs == curves["run_id"].nunique()]
    return curves[curves["point"] == common.max()] if len(common) else curves.iloc[:0]
