"""Records against the paper: comparisons are computed here and stated nowhere else."""

import pandas as pd

from replication import reference
from replication.records import Record

PANEL = ["dataset", "n_latent", "algorithm", "split"]


def final_bounds(curves: pd.DataFrame) -> pd.DataFrame:
    """Per curve of figure 2: our last bound, the paper's at the same number of samples, the difference [nats]."""
    last = curves.groupby(["dataset", "n_latent", "algorithm"])["samples_evaluated"].transform("max")
    final = curves[curves["samples_evaluated"] == last]
    paper_curves = dict(list(reference.load(2).groupby(PANEL)))
    table = final.groupby(PANEL, as_index=False)[["samples_evaluated", "bound", "bound_se"]].mean()
    table["paper"] = [
        reference.value_at(paper_curves.get(tuple(row[PANEL]), pd.DataFrame()), row["samples_evaluated"])
        for _, row in table.iterrows()
    ]
    table["difference"] = table["bound"] - table["paper"]
    return table.rename(columns={"bound": "ours", "bound_se": "se"})


def side_by_side(table: pd.DataFrame) -> pd.DataFrame:
    """The long table of `final_bounds` with train and test next to each other, for reading."""
    index = ["dataset", "n_latent", "algorithm", "samples_evaluated"]
    wide = table.pivot(index=index, columns="split", values=["ours", "paper", "difference"])
    return wide.reorder_levels([1, 0], axis=1)[
        [(s, v) for s in ("train", "test") for v in ("ours", "paper", "difference")]
    ]


def against_independent_gaussian(records: list[Record]) -> pd.DataFrame:
    """The last bound of every run on a Gaussian likelihood beside the best independent Gaussian per pixel [nats]."""
    rows = []
    for record in records:
        for split, baseline in record.facts.get("independent_gaussian", {}).items():
            last = record.curve[record.curve["split"] == split].iloc[-1]
            rows.append({
                "dataset": record.config.dataset,
                "algorithm": record.config.algorithm,
                "n_latent": record.config.n_latent,
                "split": split,
                "bound": last["bound"],
                "independent Gaussian": baseline,
                "difference": last["bound"] - baseline,
            })  # fmt: skip
    return pd.DataFrame(
        rows, columns=["dataset", "algorithm", "n_latent", "split", "bound", "independent Gaussian", "difference"]
    )
