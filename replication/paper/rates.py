"""Which of the paper's three learning rates a run has, and whether figure 3's have a warm-up: rules and recorded runs.

`authors` takes the rate that is the closest to the paper's early curves, one for each dataset, algorithm and size of
the training set, tried with one seed. In figure 3 it is tried with and without the warm-up of the authors' code, since
the drawing shows a run without one. Fit early, judge late: the distance is taken up to FIT_UNTIL samples, and the
verdict also counts the points beyond alone. Only a candidate with a run on every panel can be taken: with a rate of
0.1 some diverge. Those that were tried on fewer panels show what lies beside it, on the panels that they share. Of
those that are AS_CLOSE as the closest, one with a warm-up is taken, then the larger rate. Which is the closest is known
when, with a warm-up and without one, the neighbours of the best rate were tried.

`text` takes, for each run, the largest rate that does as well on train as the best in the first iterations, within a
standard error.
"""

import io
from collections.abc import Sequence

import numpy as np
import pandas as pd

from replication import paths
from replication.config import WARM_UP_STEPS, RunConfig
from replication.files import read_verified
from replication.paper import names, reference
from replication.paper.comparison import FIT_UNTIL, compare
from replication.paper.experiments import figure2, figure3
from replication.paper.plans import make_plan
from replication.paper.readings import AUTHORS
from replication.runs import curves
from replication.runs.curves import CURVE
from replication.runs.records import Record, existing

LEARNING_RATES = (0.01, 0.02, 0.1)  # the paper's three
FIT_FROM = 500_000
AS_CLOSE = 0.05  # tolerances: rates that are no further apart count as equal
# With this rate these panels of figure 2 have no record, since they diverge within so many updates after the warm-up.
DIVERGING_RATE, DIVERGING_WITHIN = 0.1, 50
DIVERGING = {("mnist", "aevb"): (10, 20, 200), ("frey_face", "wake_sleep"): (2, 10, 20)}
GROUP = ["metric", "dataset", "algorithm", "n_train"]
CANDIDATE = ["warm_up_steps", "learning_rate"]
FIRST_ITERATIONS_SHA256 = "cf046813d242b8c12ecd5509c0f4cdb941fed24e04821156555c51243ea8b997"


def candidates() -> list[RunConfig]:
    """The runs of `authors` with each of the paper's learning rates, those of figure 3 with and without a warm-up."""
    plan = make_plan("paper", reading=AUTHORS.name)
    tried = [(run, run.warm_up_steps) for run in figure2(plan)]
    tried += [(run, steps) for run in figure3(plan) for steps in (0, WARM_UP_STEPS[run.algorithm])]
    return [run.replace(learning_rate=rate, warm_up_steps=steps) for run, steps in tried for rate in LEARNING_RATES]


def tried_runs() -> list[Record]:
    """The records of `candidates` that are there."""
    return existing(candidates(), "paper")


def tried(records: list[Record]) -> pd.DataFrame:
    """How far each candidate is from the paper's early curves, and which is the closest, per GROUP.

    `distance` is the mean absolute difference in tolerances of the verdict, `above` the same with its sign, from
    FIT_FROM up to FIT_UNTIL samples; on both splits for log p(x), and for the bound on test only, since on train the
    paper's values are running means over its own reports. Where the paper's curve begins beyond that, its first point
    decides. `panels` counts the panels; `is_closest` says which is chosen.
    """
    by = [*CANDIDATE, "n_train"]
    table = compare(curves.table(records), by=by).dropna(subset=["difference"])
    counts = (table["metric"] != "bound") | (table["split"] == "test")
    table = table[counts & (table["point"] >= FIT_FROM)]
    first = table.groupby(CURVE)["point"].transform("min")
    table = table[table["point"] <= np.maximum(first, table["metric"].map(FIT_UNTIL))]
    relative = table["difference"] / table["tolerance"]
    table = table.assign(distance=relative.abs(), above=relative)
    per_panel = table.groupby([*GROUP, "size", *CANDIDATE], as_index=False).agg(
        distance=("distance", "mean"), above=("above", "mean"), until=("point", "max")
    )
    rates = per_panel.groupby([*GROUP, *CANDIDATE], as_index=False).agg(
        distance=("distance", "mean"), above=("above", "mean"), until=("until", "min"), panels=("size", "nunique")
    )
    closest = per_panel.groupby(GROUP).apply(_closest).reset_index()
    beside = rates.merge(closest, how="left", on=[*GROUP, *CANDIDATE], indicator=True)
    return rates.assign(is_closest=beside["_merge"] == "both")


def diverging() -> str:
    """Which panels of figure 2 have no record with a rate because they diverge, in words."""
    return names.in_lines(
        f"With a learning rate of {DIVERGING_RATE:g} {names.ALGORITHMS[algorithm]} on {names.DATASETS[dataset]} "
        f"diverges within {DIVERGING_WITHIN} updates after the warm-up with Nz = {', '.join(map(str, n_latents))}."
        for (dataset, algorithm), n_latents in DIVERGING.items()
    )


def left_out(table: pd.DataFrame) -> str:
    """Which rates of figure 3 were not tried, and how far below the paper the next larger one is already.

    `table` is that of `tried`.
    """
    said = []
    of_figure3 = table[table["metric"] == "log_px"]
    for (_, dataset, algorithm, n_train, steps), rows in of_figure3.groupby([*GROUP, "warm_up_steps"], sort=False):
        least = rows.loc[rows["learning_rate"].idxmin()]
        if not_tried := [rate for rate in LEARNING_RATES if rate < least["learning_rate"]]:
            said.append(
                f"Figure 3, {names.DATASETS[dataset]}, {names.ALGORITHMS[algorithm]}, N = {n_train}, "
                f"{names.warm_up(steps)}: {' and '.join(map('{:g}'.format, not_tried))} was not tried, since with "
                f"{least['learning_rate']:g} ours is {-least['above']:.1f} tolerances below the paper's early curves."
            )
    return names.in_lines(said)


def for_reading(table: pd.DataFrame) -> pd.DataFrame:
    """The table of `tried` with its names in words; `is_chosen` says which candidate `authors` has."""
    figures = table["metric"].map(reference.FIGURES)
    shown = (
        table.drop(columns=["metric"])
        .rename(columns={"is_closest": "is_chosen"})
        .assign(
            dataset=table["dataset"].map(names.DATASETS),
            algorithm=table["algorithm"].map(names.ALGORITHMS),
            warm_up_steps=table["warm_up_steps"].map(names.warm_up),
            until=table["until"].map(names.scientific),
        )
        .rename(columns={"warm_up_steps": "warm_up"})
    )
    shown.insert(0, "figure", figures)
    return shown


def _closest(per_panel: pd.DataFrame) -> pd.Series:
    """The last of the candidates on every panel that is AS_CLOSE as the closest of them."""
    distance = per_panel.pivot(index="size", columns=CANDIDATE, values="distance").sort_index(axis="columns")
    mean = distance.mean(skipna=False).dropna()
    as_close = mean.index[mean <= mean.min() + AS_CLOSE]
    return pd.Series(dict(zip(CANDIDATE, as_close[-1], strict=True)))


def what_is_chosen(table: pd.DataFrame) -> str:
    """The candidate that is the closest and how close it is, a line per figure, dataset, algorithm and size.

    `table` is that of `tried`. A line says where a candidate had no rival, alone with a run on every panel.
    """
    has_all = table["panels"] == table.groupby(GROUP)["panels"].transform("max")
    is_alone = has_all.groupby([table[name] for name in GROUP]).transform("sum") == 1
    return names.in_lines(
        f"Figure {reference.FIGURES[row.metric]}, {names.DATASETS[row.dataset]}, {names.ALGORITHMS[row.algorithm]}, "
        f"N = {row.n_train}: learning rate {row.learning_rate:g}, {names.warm_up(row.warm_up_steps)}, "
        f"{row.distance:.2f} tolerances from the paper's early curves"
        + (", alone with a run on every panel." if row.is_alone else ".")
        for row in table.assign(is_alone=is_alone)[table["is_closest"]].itertuples()
    )


def first_iterations(metric: str) -> pd.DataFrame:
    """Every run of a figure (figure 4's with those of 2) with each learning rate, after its first iterations.

    `value` is the bound, or log p(x), of the model at that point on train, `se` its standard error over datapoints
    [nats]; on MNIST over the first 10,000 images (log p(x): 1000). From the records at commit f8bc51c, which evaluated
    the bound on train; later ones have the running mean, in which the first iterations are the transient. Raises
    RecordError where the file is not the one that was made of them.
    """
    table = pd.read_csv(io.BytesIO(read_verified(paths.FIRST_ITERATIONS, FIRST_ITERATIONS_SHA256)))
    return table[table["figure"] == reference.FIGURES[metric]].reset_index(drop=True)


def by_first_iterations(table: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Per run: its value on train [nats] after the first iterations with each learning rate, and the one to choose.

    The paper chose by "performance on the training set in the first few iterations". Here: the largest learning
    rate whose value is not below the best by more than the best's standard error. `by`: the settings that tell runs
    apart; `table` is that of `first_iterations`.
    """
    wide = table.pivot(index=list(by), columns="learning_rate", values="value")
    best = table.loc[table.groupby(list(by))["value"].idxmax()].set_index(list(by))
    is_as_good = wide.ge(best["value"] - best["se"], axis=0)
    return wide.assign(se=best["se"], chosen=is_as_good.apply(lambda row: row.index[row].max(), axis=1))
