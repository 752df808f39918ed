"""Our curves beside the paper's, and the rule that classifies each of its 48.

A curve is judged at the right edge, the furthest evaluation point that both have, and along its way: the share of the
evaluation points beyond ALONG_FROM that are within the tolerance. Both are two-sided: far above is a miss, too.

The tolerances were set on 22 November 2026. At that time AEVB's curves of figure 2 and all of figure 3 were known to
1e7 samples, wake-sleep's of figure 2 to 3e6, so they are no prediction. On Frey Face, whose values span more than a
thousand nats, the tolerance is a share of the range of the paper's values. A part of it was for the unknown split of
the images, which the reading `authors` knows. `narrow_tolerance` asks of Frey Face the same share as of MNIST; it was
set on 27 November 2026. At that time one run of that reading was known, wake-sleep on Frey Face with 20 latent
variables, to 8e6 samples; it is within either tolerance.
"""

from collections.abc import Mapping, Sequence
from functools import cache, reduce
from typing import Any

import numpy as np
import pandas as pd

from replication.errors import ReplicationError
from replication.paper import names, reference
from replication.runs.curves import CURVE, PANEL, SIZE, as_reported, first_seed, last_common

ALONG_FROM = 1_000_000  # training samples
FIT_UNTIL = {
    "bound": 3_000_000,
    "log_px": 5_000_000,
}  # samples: so far the paper's curves choose the learning rates of `authors`, and the warm-up of figure 3
TOLERANCE = {("bound", "mnist"): 2.0, ("log_px", "mnist"): 2.5}  # nats
SHARE_OF_RANGE = 0.05  # the tolerance elsewhere, as a share of the range of the paper's values on that dataset
CLASSES = ("within", "above", "below", "too short", "not run")
VALUES = ["ours", "paper", "difference", "se"]
OF_SEEDS = ["n_seeds", "in_seed_sds", "lowest", "highest"]


def compare(curves: pd.DataFrame, by: Sequence[str] = ()) -> pd.DataFrame:
    """Our curves at every evaluation point and the paper's; in nats per datapoint.

    `curves` is a table of runs/curves.py; on train it is the running mean that is compared, as the paper reports it.
    Of several seeds the lowest is the curve, `ours`: a mean would jump where the shortest of them ends. `n_seeds`
    counts those that are at a point. `paper` is NaN where the figure does not draw it. `se` has the standard error of
    our evaluation, over datapoints, and the spread of the seeds; where a panel has one seed, that of the panel of its
    dataset that has several. `in_seed_sds` is the difference in standard deviations of such a difference by chance of
    both seeds, ours and the paper's; `lowest` and `highest` are the differences of all seeds. `by` names columns that
    tell more of our curves apart.

    Raises ReplicationError where two runs of one seed differ in more than the seed.
    """
    keys = [*by, *CURVE]
    reported = as_reported(curves)
    _refuse_a_mix(reported, keys)
    at_point = reported.drop_duplicates([*keys, "point", "seed"]).groupby([*keys, "point"], as_index=False)
    seeds = at_point.agg(
        spread=("value", "std"), n_seeds=("seed", "nunique"), lowest=("value", "min"), highest=("value", "max")
    )
    first = (
        first_seed(reported, keys)
        .drop_duplicates([*keys, "point"])
        .rename(columns={"value": "ours", "se": "evaluation"})
    )
    table = first[[*keys, "point", "samples_evaluated", "ours", "evaluation"]].merge(seeds, on=[*keys, "point"])
    table = table.sort_values([*keys, "point"], ignore_index=True)
    table["paper"] = np.nan
    drawn = dict(list(reference.curves().groupby(CURVE)))
    for curve, rows in table.groupby(CURVE):
        paper = drawn.get(curve, pd.DataFrame())
        table.loc[rows.index, "paper"] = reference.value_at(paper, rows["samples_evaluated"].to_numpy())
    table["difference"] = table["ours"] - table["paper"]
    table["tolerance"] = [tolerance(metric, dataset) for metric, dataset in table[["metric", "dataset"]].to_numpy()]
    other_panels = [*by, *(key for key in CURVE if key != "size"), "point"]
    elsewhere = table.groupby(other_panels)["spread"].transform("max")
    table["se"] = np.hypot(table["evaluation"], table["spread"].fillna(elsewhere).fillna(0))
    table["in_seed_sds"] = table["difference"] / (table["spread"] * 2**0.5)
    table[["lowest", "highest"]] = table[["lowest", "highest"]].sub(table["paper"], axis=0)
    return table[[*keys, "point", "samples_evaluated", *VALUES, "tolerance", *OF_SEEDS]]


def _refuse_a_mix(curves: pd.DataFrame, keys: Sequence[str]) -> None:
    n_runs = curves.groupby([*keys, "seed"])["run_id"].nunique()
    if (n_runs > 1).any():
        mixed = dict(zip(n_runs.index.names, n_runs.idxmax(), strict=True))
        raise ReplicationError(
            f"{n_runs.max()} runs of {mixed} differ in more than the seed, so they are no one curve: compare them "
            "one by one, or name the setting in which they differ."
        )


def judge(table: pd.DataFrame) -> pd.DataFrame:
    """Each curve that the paper draws of the metrics in `table`, classified at the right edge, and its way there.

    `table` is that of `compare`. `along` is the share of evaluation points beyond ALONG_FROM that are within the
    tolerance, `distance` the mean absolute difference over them in tolerances; `late` is the share beyond FIT_UNTIL,
    NaN where there is no such point. A curve without a common point keeps its row: it is `too short` where our run
    ends before the paper's curve begins, and `not run` where there is none.
    """
    common = table.dropna(subset=["difference"])
    furthest = common.loc[common.groupby(CURVE)["point"].idxmax()]
    beyond = common[common["point"] >= ALONG_FROM]
    distance = beyond["difference"].abs() / beyond["tolerance"]
    is_late = beyond["point"] > beyond["metric"].map(FIT_UNTIL)
    shares = beyond.assign(distance=distance, along=distance <= 1, late=(distance <= 1).astype(float).where(is_late))
    ways = shares.groupby(CURVE)[["along", "distance", "late"]].mean()
    drawn = reference.curves()
    drawn = drawn.loc[drawn["metric"].isin(table["metric"]), CURVE].drop_duplicates()
    rows = drawn.merge(furthest, how="left", on=CURVE).merge(ways.reset_index(), how="left", on=CURVE)
    is_run = pd.MultiIndex.from_frame(rows[CURVE]).isin(pd.MultiIndex.from_frame(table[CURVE]))
    rows["verdict"] = [
        classify(difference, within) if has_run else "not run"
        for difference, within, has_run in zip(rows["difference"], rows["tolerance"], is_run, strict=True)
    ]
    rows["n_seeds"] = rows["n_seeds"].fillna(0).astype(int)
    return rows.drop(columns=["lowest", "highest"]).sort_values(CURVE, ignore_index=True)


def counts(judged: pd.DataFrame) -> dict[str, float]:
    """Over all curves: how many, in each of CLASSES at the right edge, within all along, and the mean distance.

    `within_narrow` is how many are within at the right edge by `narrow_tolerance`; `late` is how many have points
    beyond FIT_UNTIL, `within_late` how many of them are within at every one.
    """
    return {
        "curves": len(judged),
        **{word: int((judged["verdict"] == word).sum()) for word in CLASSES},
        "within_narrow": int((judged["difference"].abs() <= _narrow_tolerances(judged)).sum()),
        "within_along": int((judged["along"] == 1).sum()),
        "late": int(judged["late"].notna().sum()),
        "within_late": int((judged["late"] == 1).sum()),
        "distance": float(judged["distance"].mean()),
    }


def in_words(counts: Mapping[str, float]) -> str:
    """How our curves end, from `counts`, in a sentence without the classes that are empty."""
    if counts["not run"] == counts["curves"]:
        return f"Of the paper's {counts['curves']} curves none is run here."
    ends = {"above": "above it", "below": "below it", "too short": "too short to compare", "not run": "not run"}
    others = [f"{counts[word]} {end}" for word, end in ends.items() if counts[word]]
    within = f"{counts['within']} of our {counts['curves']} curves end within the verdict's tolerance of the paper's"
    return ", ".join([within, *others]) + "."


def at_equal_samples(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Ours minus the paper's [nats] at the furthest point of each curve that every table of `compare` has.

    A column for each table, by its name, beside `paper` and `tolerance`. Runs of one reading may be shorter than those
    of another: at their own ends they are not compared alike.
    """
    at = [*CURVE, "point"]
    common = [table.dropna(subset=["difference"])[at] for table in tables.values()]
    points = reduce(lambda left, right: left.merge(right), common)
    rows = points.loc[points.groupby(CURVE)["point"].idxmax()]
    first = next(iter(tables.values()))
    rows = rows.merge(first[[*at, "samples_evaluated", "paper", "tolerance"]], on=at)
    for name, table in tables.items():
        rows = rows.merge(table[[*at, "difference"]].rename(columns={"difference": name}), on=at)
    return rows


@cache
def tolerance(metric: str, dataset: str) -> float:
    """How far a value may be from the paper's, on either side, and still count as within [nats]."""
    if (metric, dataset) in TOLERANCE:
        return TOLERANCE[metric, dataset]
    return SHARE_OF_RANGE * _range(metric, dataset)


def narrow_tolerance(metric: str, dataset: str) -> float:
    """The share of the range of the paper's values that MNIST's tolerance is, on each dataset [nats]."""
    return TOLERANCE[metric, "mnist"] / _range(metric, "mnist") * _range(metric, dataset)


def _narrow_tolerances(judged: pd.DataFrame) -> list[float]:
    return [narrow_tolerance(metric, dataset) for metric, dataset in judged[["metric", "dataset"]].to_numpy()]


@cache
def _range(metric: str, dataset: str) -> float:
    """How far the paper's values are apart [nats]."""
    values = reference.curves(metric=metric, dataset=dataset)["value"]
    return float(values.max() - values.min())


def classify(difference: float, within: float) -> str:
    """One of CLASSES for ours minus the paper's [nats], NaN where both have no point in common.

    The rule is two-sided: a curve far above is a miss, too.
    """
    if np.isnan(difference):
        return "too short"
    if abs(difference) <= within:
        return "within"
    return "above" if difference > 0 else "below"


def at_the_end(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of `compare` at the last evaluation point of every curve."""
    return table.loc[table.groupby(CURVE)["point"].idxmax()].sort_index().reset_index(drop=True)


def with_several_seeds(table: pd.DataFrame) -> pd.DataFrame:
    """The curves on test with several seeds, at the last evaluation point that at least two of them have."""
    several = table[(table["n_seeds"] > 1) & (table["split"] == "test")]
    end = several.loc[several.groupby(CURVE)["point"].idxmax()]
    return for_reading(end[[*PANEL, "algorithm", "samples_evaluated", "paper", "difference", *OF_SEEDS]])


def for_reading(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of one figure with its own name for the size of a panel, n_latent or n_train, and without the metric."""
    return table.rename(columns={"size": _size(table)}).drop(columns="metric")


def _size(table: pd.DataFrame) -> str:
    return SIZE[table["metric"].iloc[0]] if len(table) else "size"


def train_beside_test(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of `compare`, one point per curve, with train and test next to each other, for reading."""
    named = for_reading(table.assign(samples=table["point"]))
    index = ["dataset", _size(table), "algorithm", "samples"]
    wide = named.pivot(index=index, columns="split", values=["ours", "paper", "difference"])
    wide = wide.rename(index=names.scientific, level="samples")
    return wide.reorder_levels([1, 0], axis=1).sort_index(axis=1, level=0, sort_remaining=False, ascending=False)


def after(table: pd.DataFrame, millions: Sequence[float] = (1, 5, 10, 20, 40, 60)) -> pd.DataFrame:
    """The rows of `compare` after so many million samples; none where no run comes so far."""
    wanted = [round(m * 1e6) for m in millions]
    return table[table["point"].isin(wanted)].reset_index(drop=True)


def best_on_test(curves: pd.DataFrame) -> pd.DataFrame:
    """Per panel, the algorithms by their value on test at the last evaluation point that all of them have."""
    on_test = as_reported(curves).query("split == 'test'")
    common = last_common(on_test, alike=[*PANEL, "seed"])
    means = common.groupby([*PANEL, "algorithm", "point"], as_index=False)["value"].mean()
    return means.sort_values([*PANEL, "value"], ascending=[*[True] * len(PANEL), False], ignore_index=True)


def as_objects(table: pd.DataFrame) -> list[dict[str, Any]]:
    """One object per curve of the paper, with the values of `compare` at every evaluation point."""
    ours = dict(list(table.groupby(CURVE)))
    objects = []
    for row in judge(table).to_dict("records"):
        points = ours.get(tuple(row[key] for key in CURVE), table.iloc[:0])[["samples_evaluated", *VALUES]]
        rounded = points.round(2).astype({"samples_evaluated": int}).astype(object)
        objects.append({
            "figure": reference.FIGURES[row["metric"]],
            **{key: row[key] for key in CURVE},
            "verdict": row["verdict"],
            "along": None if np.isnan(row["along"]) else round(row["along"], 3),
            "n_seeds": row["n_seeds"],
            "evaluation_points": rounded.where(rounded.notna(), None).to_dict("records"),
        })  # fmt: skip
    return objects
