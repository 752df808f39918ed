"""Records against the paper, curve by curve: the verdict is computed here and stated nowhere else."""

from typing import Any

import numpy as np
import pandas as pd

from replication.paper import reference

PANELS = {  # what tells the curves of a figure apart, and the column that it shows
    2: (["dataset", "n_latent", "algorithm", "split"], "bound"),
    3: (["dataset", "n_train", "algorithm", "split"], "log_px"),
}
MARKS = {2: (10**6, 3 * 10**6, 10**7, 3 * 10**7, 10**8), 3: tuple(m * 10**6 for m in (1, 5, 10, 20, 40, 60))}
TOLERANCE = {(2, "mnist"): 2.0, (3, "mnist"): 2.5}  # nats
SHARE_OF_RANGE = 0.05  # the tolerance elsewhere, as a share of the range of the paper's values on that dataset
VALUES = ["ours", "paper", "difference", "se"]


def beside(curves: pd.DataFrame, figure: int = 2) -> pd.DataFrame:
    """Our curves of a figure at every mark, the mean over seeds, beside the paper's; all in nats per datapoint.

    `paper` is NaN where the figure does not draw it. `se` has the standard error of our evaluation, over datapoints,
    and that of the seeds; where a panel has one seed, their spread in the panel of its dataset that has several.
    """
    keys, column = PANELS[figure]
    table = curves.groupby([*keys, "samples_evaluated"], as_index=False).agg(
        ours=(column, "mean"), evaluation=(f"{column}_se", "mean"), spread=(column, "std"), n_seeds=(column, "size")
    )
    drawn = dict(list(reference.load(figure).groupby(keys)))
    table["paper"] = [
        reference.value_at(drawn.get(tuple(row[keys]), pd.DataFrame()), row["samples_evaluated"])
        for _, row in table.iterrows()
    ]
    table["difference"] = table["ours"] - table["paper"]
    table["tolerance"] = [tolerance(figure, dataset) for dataset in table["dataset"]]
    elsewhere = table.groupby(["dataset", "algorithm", "split", "samples_evaluated"])["spread"].transform("max")
    seeds = table["spread"].fillna(elsewhere).fillna(0) / table["n_seeds"] ** 0.5
    table["se"] = np.hypot(table["evaluation"], seeds)
    return table[[*keys, "samples_evaluated", *VALUES, "tolerance", "n_seeds"]]


def judged(table: pd.DataFrame, figure: int = 2) -> pd.DataFrame:
    """Each curve that the paper draws, at the furthest of MARKS that both have reached, with a word from `word`.

    `table` is that of `beside`. A curve without a common mark keeps its place: it is `not run`.
    """
    keys, _ = PANELS[figure]
    common = table[table["samples_evaluated"].isin(MARKS[figure])].dropna(subset=["difference"])
    furthest = common.loc[common.groupby(keys)["samples_evaluated"].idxmax()]
    every = reference.load(figure).astype({"n_train": "Int64"})[keys].drop_duplicates()
    rows = every.merge(furthest, how="left", on=keys)
    rows["verdict"] = [word(row["difference"], row["tolerance"]) for _, row in rows.iterrows()]
    return rows.sort_values(keys, ignore_index=True)


def tolerance(figure: int, dataset: str) -> float:
    """How far from the paper's a value may be and still count as reproduced [nats]."""
    if (figure, dataset) in TOLERANCE:
        return TOLERANCE[figure, dataset]
    values = reference.load(figure).query(f"dataset == '{dataset}'")["value"]
    return SHARE_OF_RANGE * (values.max() - values.min())


def word(difference: float, within: float) -> str:
    """The verdict on a curve; the rule was fixed before the runs that it judges."""
    if np.isnan(difference):
        return "not run"
    if abs(difference) <= within:
        return "reproduced"
    return "better" if difference > 0 else "worse"


def scientific(samples: float) -> str:
    """A mark as a reader writes it: 3000000 as 3e6; nothing where there is none."""
    return "" if pd.isna(samples) else f"{samples:.0e}".replace("e+0", "e")


def as_objects(table: pd.DataFrame, figure: int = 2) -> list[dict[str, Any]]:
    """One object per curve of the paper, with our values, from `beside`, at every mark of MARKS."""
    keys, _ = PANELS[figure]
    ours = dict(list(table[table["samples_evaluated"].isin(MARKS[figure])].groupby(keys)))
    objects = []
    for row in judged(table, figure).to_dict("records"):
        marks = ours.get(tuple(row[key] for key in keys), table.iloc[:0])[["samples_evaluated", *VALUES]]
        rounded = marks.round(2).astype({"samples_evaluated": int}).astype(object)
        objects.append({
            "figure": figure,
            **{key: row[key] for key in keys},
            "verdict": row["verdict"],
            "n_seeds": int(np.nan_to_num(row["n_seeds"])),
            "marks": rounded.where(rounded.notna(), None).to_dict("records"),
        })  # fmt: skip
    return objects


def final_values(curves: pd.DataFrame, figure: int = 2) -> pd.DataFrame:
    """The rows of `beside` at the last mark of every run."""
    table = beside(curves, figure)
    run = [key for key in PANELS[figure][0] if key != "split"]
    is_last = table["samples_evaluated"] == table.groupby(run)["samples_evaluated"].transform("max")
    return table[is_last].reset_index(drop=True)


def side_by_side(table: pd.DataFrame) -> pd.DataFrame:
    """The long table of `final_values` with train and test next to each other, for reading."""
    index = ["dataset", "n_latent", "algorithm", "samples_evaluated"]
    wide = table.pivot(index=index, columns="split", values=["ours", "paper", "difference"])
    return wide.reorder_levels([1, 0], axis=1)[
        [(s, v) for s in ("train", "test") for v in ("ours", "paper", "difference")]
    ]


def marginal_likelihoods(curves: pd.DataFrame, millions: tuple[float, ...] | None = None) -> pd.DataFrame:
    """The rows of `beside` for figure 3 after so many million samples, by default those of MARKS."""
    wanted = [round(m * 1e6) for m in millions] if millions else MARKS[3]
    table = beside(curves[curves["samples_evaluated"].isin(wanted)], 3)
    return table.assign(millions=table["samples_evaluated"] / 1e6).drop(
        columns=["samples_evaluated", "se", "tolerance", "n_seeds"]
    )
