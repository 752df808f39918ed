"""The learning rates of the reading `authors`: of the paper's three the closest to its early curves.

One rate for each dataset, algorithm and size of the training set, tried with one seed. Two rates are compared on the
panels that both were tried on; where they are AS_CLOSE, the larger is taken, as in `choices.chosen_learning_rates`.
Which is the closest is known when its neighbours among the three were tried.
"""

import numpy as np
import pandas as pd

from replication.config import RunConfig
from replication.paper import names, reference
from replication.paper.choices import AS_CLOSE, FIT_FROM, LEARNING_RATES, counts_in_the_search
from replication.paper.comparison import FIT_UNTIL, compare
from replication.paper.experiments import figure2, figure3
from replication.paper.plans import make_plan
from replication.paper.readings import AUTHORS
from replication.runs import curves
from replication.runs.curves import CURVE
from replication.runs.records import Record, existing

GROUP = ["metric", "dataset", "algorithm", "n_train"]


def candidates() -> list[RunConfig]:
    """The runs of `authors` with each of the paper's learning rates."""
    plan = make_plan("paper", reading="authors")
    runs = figure2(plan) + figure3(plan)
    return [run.replace(learning_rate=rate) for run in runs for rate in LEARNING_RATES]


def tried_runs() -> list[Record]:
    """The records of `candidates` that are there."""
    return existing(candidates(), "paper")


def tried(records: list[Record]) -> pd.DataFrame:
    """How far each learning rate is from the paper's early curves, and which is the closest, per dataset and algorithm.

    `distance` is the mean absolute difference in tolerances of the verdict, `above` the same with its sign, from
    FIT_FROM up to FIT_UNTIL samples; on test for the bound, on both splits for log p(x). Where the paper's curve begins
    beyond that, its first point decides. `panels` counts the panels; `is_closest` says which is chosen.
    """
    by = ["learning_rate", "n_train"]
    table = compare(curves.table(records), by=by).dropna(subset=["difference"])
    table = table[counts_in_the_search(table) & (table["point"] >= FIT_FROM)]
    first = table.groupby(CURVE)["point"].transform("min")
    table = table[table["point"] <= np.maximum(first, table["metric"].map(FIT_UNTIL))]
    relative = table["difference"] / table["tolerance"]
    table = table.assign(distance=relative.abs(), above=relative)
    per_panel = table.groupby([*GROUP, "size", "learning_rate"], as_index=False).agg(
        distance=("distance", "mean"), above=("above", "mean"), until=("point", "max")
    )
    rates = per_panel.groupby([*GROUP, "learning_rate"], as_index=False).agg(
        distance=("distance", "mean"), above=("above", "mean"), until=("until", "min"), panels=("size", "nunique")
    )
    closest = per_panel.groupby(GROUP).apply(_closest).rename("closest").reset_index()
    return rates.assign(is_closest=rates["learning_rate"] == rates.merge(closest, on=GROUP)["closest"])


def for_reading(table: pd.DataFrame) -> pd.DataFrame:
    """The table of `tried` with its names in words, and whether `authors` has the rate."""
    figures = table["metric"].map(reference.FIGURES)
    shown = table.drop(columns=["metric"]).assign(
        dataset=table["dataset"].map(names.DATASETS),
        algorithm=table["algorithm"].map(names.ALGORITHMS),
        until=table["until"].map(names.scientific),
        is_of_authors=table["learning_rate"] == of_authors(table),
    )
    shown.insert(0, "figure", figures)
    return shown


def of_authors(table: pd.DataFrame) -> list[float]:
    """The learning rate that the reading `authors` has for each row of the table of `tried`."""
    rows = table.assign(figure="figure" + table["metric"].map(reference.FIGURES).astype(str))
    return [
        AUTHORS.settings(*panel)["learning_rate"]
        for panel in rows[["figure", "dataset", "algorithm", "n_train"]].itertuples(index=False)
    ]


def _closest(per_panel: pd.DataFrame) -> float:
    """The learning rate that is closer than each other one on the panels that the two share; the largest of equals."""
    distance = per_panel.pivot(index="size", columns="learning_rate", values="distance")
    best = distance.columns[0]
    for rate in distance.columns[1:]:
        both = distance[[best, rate]].dropna().mean()
        best = rate if both[rate] <= both[best] + AS_CLOSE else best
    return best
