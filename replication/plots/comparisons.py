"""Our curves against the paper's, drawn: DataFrames in, matplotlib figures out; nothing is computed here."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from replication.paper import names
from replication.paper import verdict as verdict_of
from replication.plots import palette
from replication.plots.figures import LINE_STYLES

FULL = 3  # tolerances at which the colour of a difference is full
LONGEST_BAR = 6  # tolerances: a candidate that is further away has its number at the end of the bar


def verdict(compared: Mapping[int, pd.DataFrame], judged: Mapping[int, pd.DataFrame]) -> Figure:
    """Ours minus the paper's in tolerances along every curve, a row per curve; at its end the difference in nats.

    Per figure, `compared` has the table of `verdict.compare_with_paper` and `judged` that of `verdict.judge`. A number
    outside the tolerance is bold.
    """
    heights = [len(table) // 2 for table in judged.values()]
    figure, grid = plt.subplots(len(judged), 2, figsize=(11, 0.3 * sum(heights) + 2.2), squeeze=False,
                                height_ratios=heights, layout="constrained")  # fmt: skip
    image = None
    for row, (number, curves) in zip(grid, judged.items(), strict=True):
        for axes, split in zip(row, LINE_STYLES, strict=True):
            of = curves[curves["split"] == split].reset_index(drop=True)
            image = _along(axes, compared[number], of)
            axes.set_title(f"figure {number}, {split}", fontsize="medium")
        row[1].set_yticklabels([])
        row[0].set_xlabel("training samples evaluated")
        row[1].set_xlabel("training samples evaluated")
    if image is not None:
        bar = figure.colorbar(image, ax=grid, shrink=0.5, pad=0.09, extend="both")
        bar.set_label("ours minus the paper's [tolerances]")
    return figure


def _along(axes: Axes, compared: pd.DataFrame, curves: pd.DataFrame) -> AxesImage:
    """The rows of one figure and split: a column per evaluation point."""
    keys = [key for key in curves.columns[:4] if key != "split"]
    points = compared[compared["samples_evaluated"] >= verdict_of.ALONG_FROM].merge(
        curves[[*keys, "split"]].reset_index(), how="inner"
    )
    points = points.assign(
        at=[float(f"{samples:.2e}") for samples in points["samples_evaluated"]],
        in_tolerances=points["difference"] / points["tolerance"],
    )
    every = sorted({float(f"{x:.2e}") for x in compared["samples_evaluated"] if x >= verdict_of.ALONG_FROM})
    wide = points.pivot(index="index", columns="at", values="in_tolerances")
    colours = wide.reindex(index=range(len(curves)), columns=every)
    if not every:
        colours = colours.assign(none=np.nan)
    axes.set_facecolor("0.93")
    image = axes.imshow(colours, cmap=palette.DIFFERENCES, vmin=-FULL, vmax=FULL, aspect="auto")
    for i, row in curves.iterrows():
        is_run = not np.isnan(row["difference"])
        text = f"{row['difference']:+.1f}" if is_run else "not run"
        weight = "bold" if is_run and row["verdict"] != "within" else "normal"
        axes.text(1.01, i, text, transform=axes.get_yaxis_transform(), va="center", fontsize="small", fontweight=weight)
    titles = [
        f"{names.panel(dataset, keys[1], size)}, {names.ALGORITHMS[algorithm]}"
        for dataset, size, algorithm in curves[keys].itertuples(index=False)
    ]
    axes.set_yticks(range(len(curves)), titles, fontsize="small")
    labelled = [i for i, at in enumerate(every) if f"{at:.0e}"[0] in "13" and at == float(f"{at:.0e}")]
    axes.set_xticks(labelled, [names.scientific(every[i]) for i in labelled])
    return image


def choices(tried: Mapping[int, pd.DataFrame]) -> Figure:
    """The distance of every candidate to the paper's early curves in tolerances, a panel per dataset and algorithm.

    Filled bars can be chosen, pale ones were tried on fewer panels or for shorter; the chosen one has a mark.
    """
    panels = [
        (number, dataset, algorithm, of.sort_values("distance", ascending=False))
        for number, table in tried.items()
        for (dataset, algorithm), of in table.groupby(["dataset", "algorithm"], sort=False)
    ]
    n_columns = 2
    n_rows = -(-len(panels) // n_columns)
    rows = [panels[i * n_columns : (i + 1) * n_columns] for i in range(n_rows)]
    heights = [max(len(of) for *_, of in row) + 2 for row in rows]
    figure, grid = plt.subplots(n_rows, n_columns, figsize=(15, 0.21 * sum(heights) + 0.5), squeeze=False,
                                height_ratios=heights, layout="constrained")  # fmt: skip
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    for axes, (number, dataset, algorithm, of) in zip(grid.flat, panels, strict=False):
        _bars(axes, of, palette.ALGORITHMS[algorithm])
        axes.set_title(f"figure {number}, {names.DATASETS[dataset]}, {names.ALGORITHMS[algorithm]}", fontsize="medium")
        axes.set_xlabel("mean distance to the paper's early curves [tolerances]")
    return figure


def _bars(axes: Axes, candidates: pd.DataFrame, colour: str) -> None:
    is_complete = candidates["is_complete"].to_numpy(bool)
    colours = [colour if complete else palette.pale(colour) for complete in is_complete]
    axes.barh(range(len(candidates)), candidates["distance"].clip(upper=LONGEST_BAR), color=colours)
    labels = [f"{c}, {rate:g}" for c, rate in zip(candidates["choice"], candidates["learning_rate"], strict=True)]
    axes.set_yticks(range(len(candidates)), labels, fontsize="small")
    for i, (distance, is_chosen) in enumerate(zip(candidates["distance"], candidates["is_chosen"], strict=True)):
        number = f"{distance:.2f}" if distance < 1000 else f"{distance:.0e}"
        text = f"{number}  chosen" if is_chosen else number
        axes.text(min(distance, LONGEST_BAR) + 0.05, i, text, va="center", fontsize="small",
                  fontweight="bold" if is_chosen else "normal")  # fmt: skip
    axes.set_xlim(0, LONGEST_BAR + 1.5)
    axes.margins(y=0.01)


def gaps(table: pd.DataFrame) -> Figure:
    """AEVB's bound on train minus test [nats] against the number of latent variables, ours and the paper's."""
    datasets = list(table["dataset"].unique())
    figure, row = plt.subplots(1, len(datasets), figsize=(4.6 * len(datasets), 3.4), squeeze=False,
                               layout="constrained")  # fmt: skip
    colour = palette.ALGORITHMS["aevb"]
    for axes, dataset in zip(row[0], datasets, strict=True):
        of = table[table["dataset"] == dataset]
        at = range(len(of))
        axes.plot(at, of["ours"], "o-", color=colour, label="ours")
        axes.plot(at, of["paper"], "s--", color=palette.pale(colour), label="the paper's curves")
        axes.axhline(0, color=palette.NEUTRAL, linewidth=0.5)
        axes.set_xticks(at, of["n_latent"])
        samples = names.scientific(of["samples_evaluated"].iloc[0])
        axes.set(xlabel="number of latent variables $N_z$", title=f"{names.DATASETS[dataset]}, after {samples} samples")
        axes.legend(frameon=False, fontsize="small")
    row[0][0].set_ylabel("bound on train minus test [nats]")
    return figure
