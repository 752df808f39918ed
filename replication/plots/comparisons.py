"""Our curves against the paper's, drawn: DataFrames in, matplotlib figures out; nothing is computed here."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from replication.paper import comparison, names, reference
from replication.paper.rates import CANDIDATE, GROUP
from replication.plots import palette
from replication.plots.figures import LINE_STYLES
from replication.runs.curves import CURVE, PANEL

NOTHING = "0.93"  # where there is no difference to colour
FULL = 3  # tolerances at which the colour of a difference is full
LONGEST_BAR = 6  # tolerances: the bar of a learning rate that is further away is cut
CUT: dict[str, Any] = {"marker": r"$/\!/$", "markersize": 11, "linestyle": "none"}


def verdict(compared: pd.DataFrame, judged: pd.DataFrame) -> Figure:
    """Ours minus the paper's in tolerances along every curve, a row per curve; at its end the difference in nats.

    `compared` is the table of `comparison.compare`, `judged` that of `comparison.judge`. A number outside the tolerance
    is bold.
    """
    metrics = list(judged["metric"].unique())
    heights = [(judged["metric"] == metric).sum() // 2 for metric in metrics]
    figure, grid = plt.subplots(len(metrics), 2, figsize=(11, 0.3 * sum(heights) + 2.2), squeeze=False,
                                height_ratios=heights, layout="constrained")  # fmt: skip
    image = None
    for row, metric in zip(grid, metrics, strict=True):
        for axes, split in zip(row, LINE_STYLES, strict=True):
            curves = judged[(judged["metric"] == metric) & (judged["split"] == split)].reset_index(drop=True)
            image = _along(axes, compared[compared["metric"] == metric], curves)
            axes.set_title(f"figure {reference.FIGURES[metric]}, {split}", fontsize="medium")
        row[1].set_yticklabels([])
        row[0].set_xlabel("training samples evaluated")
        row[1].set_xlabel("training samples evaluated")
    if image is not None:
        bar = figure.colorbar(image, ax=grid, shrink=0.5, pad=0.09, extend="both")
        bar.set_label("ours minus the paper's [tolerances]")
    keys = [
        Line2D([], [], color="black", linestyle="none", marker=marker, markersize=28, markeredgewidth=0, label=label)
        for marker, label in (
            (r"$\mathbf{+9.9}$", "outside the tolerance at the right edge [nats]"),
            ("$+9.9$", "within"),
        )
    ]
    keys.append(Patch(color=NOTHING, label="ours or the paper's has no point there"))
    figure.legend(handles=keys, loc="outside lower center", ncols=3, handlelength=3, frameon=False)
    return figure


def _along(axes: Axes, compared: pd.DataFrame, curves: pd.DataFrame) -> AxesImage:
    """The rows of one figure and split: a column per evaluation point."""
    along = compared[compared["point"] >= comparison.ALONG_FROM]
    rows = along.merge(curves[CURVE].reset_index(), how="inner")
    rows = rows.assign(in_tolerances=rows["difference"] / rows["tolerance"])
    points = sorted(along["point"].unique())
    wide = rows.pivot(index="index", columns="point", values="in_tolerances")
    colours = wide.reindex(index=range(len(curves)), columns=points)
    if not points:
        colours = colours.assign(none=np.nan)
    axes.set_facecolor(NOTHING)
    image = axes.imshow(colours, cmap=palette.DIFFERENCES, vmin=-FULL, vmax=FULL, aspect="auto")
    for i, row in curves.iterrows():
        is_run = not np.isnan(row["difference"])
        text = f"{row['difference']:+.1f}" if is_run else row["verdict"]
        weight = "bold" if row["verdict"] in ("above", "below") else "normal"
        axes.text(1.01, i, text, transform=axes.get_yaxis_transform(), va="center", fontsize="small", fontweight=weight)
    titles = [
        f"{names.panel(*panel)}, {names.ALGORITHMS[algorithm]}"
        for *panel, algorithm in curves[[*PANEL, "algorithm"]].itertuples(index=False)
    ]
    axes.set_yticks(range(len(curves)), titles, fontsize="small")
    labelled = [i for i, point in enumerate(points) if f"{point:.0e}"[0] in "13" and point == float(f"{point:.0e}")]
    axes.set_xticks(labelled, [names.scientific(points[i]) for i in labelled])
    return image


def learning_rates(tried: pd.DataFrame) -> Figure:
    """The distance of each candidate to the paper's early curves in tolerances, a panel per group of `rates.tried`.

    A candidate is a learning rate, in figure 3 with or without a warm-up.

    Pale bars were tried on fewer panels of the paper's figure than others, which is said beside them, since they may be
    too short to be seen; the chosen one has a mark.
    """
    panels = list(tried.groupby(GROUP, sort=False))
    n_columns = 2
    n_rows = -(-len(panels) // n_columns)
    figure, grid = plt.subplots(n_rows, n_columns, figsize=(11, 1.4 * n_rows + 0.8), squeeze=False, sharex=True,
                                layout="constrained")  # fmt: skip
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    for axes, ((metric, dataset, algorithm, n_train), rates) in zip(grid.flat, panels, strict=False):
        _bars(axes, rates.sort_values(CANDIDATE, ascending=False), palette.ALGORITHMS[algorithm])
        size = f", N = {n_train}" if metric == "log_px" else ""
        title = f"figure {reference.FIGURES[metric]}, {names.DATASETS[dataset]}, {names.ALGORITHMS[algorithm]}{size}"
        axes.set_title(title, fontsize="medium")
    for axes in grid[-1]:
        axes.set_xlabel("mean distance to the paper's early curves [tolerances]")
    filled = Patch(color=palette.NEUTRAL, label="tried on every panel")
    pale = Patch(color=palette.pale(palette.NEUTRAL), label="on fewer")
    cut = Line2D([], [], color=palette.NEUTRAL, label="cut: the number says how far it goes", **CUT)
    figure.legend(handles=[filled, pale, cut], loc="outside lower center", ncols=3, frameon=False)
    return figure


def _bars(axes: Axes, rates: pd.DataFrame, colour: str) -> None:
    is_complete = rates["panels"] == rates["panels"].max()
    colours = [colour if complete else palette.pale(colour) for complete in is_complete]
    axes.barh(range(len(rates)), rates["distance"].clip(upper=LONGEST_BAR), color=colours)
    cut = np.flatnonzero(rates["distance"] > LONGEST_BAR)
    axes.plot(np.full(len(cut), LONGEST_BAR - 0.3), cut, color="white", **CUT)
    has_both = rates["warm_up_steps"].nunique() > 1
    labels = [
        f"{rate:g}, {names.warm_up(steps)}" if has_both and not steps else f"{rate:g}"
        for steps, rate in rates[CANDIDATE].itertuples(index=False)
    ]
    axes.set_yticks(range(len(rates)), labels)
    remarks = np.select([rates["is_closest"], ~is_complete], ["  chosen", "  on fewer"], "")
    bars = zip(rates["distance"], rates["is_closest"], remarks, strict=True)
    for i, (distance, is_closest, remark) in enumerate(bars):
        axes.text(min(distance, LONGEST_BAR) + 0.05, i, f"{distance:.2f}{remark}", va="center", fontsize="small",
                  fontweight="bold" if is_closest else "normal")  # fmt: skip
    axes.set_xlim(0, LONGEST_BAR + 2)


def gaps(table: pd.DataFrame) -> Figure:
    """AEVB's bound on train minus test [nats] against the number of latent variables, ours and the paper's."""
    datasets = list(table["dataset"].unique())
    figure, row = plt.subplots(1, len(datasets), figsize=(4.6 * len(datasets), 3.4), squeeze=False,
                               layout="constrained")  # fmt: skip
    colour = palette.ALGORITHMS["aevb"]
    for axes, dataset in zip(row[0], datasets, strict=True):
        rows = table[table["dataset"] == dataset]
        at = range(len(rows))
        axes.plot(at, rows["ours"], "o-", color=colour, label="ours")
        axes.plot(at, rows["paper"], "s--", color=palette.pale(colour), label="the paper's curves")
        axes.axhline(0, color=palette.NEUTRAL, linewidth=0.5)
        axes.set_xticks(at, rows["n_latent"])
        samples = names.scientific(rows["samples_evaluated"].iloc[0])
        axes.set(xlabel="number of latent variables $N_z$", title=f"{names.DATASETS[dataset]}, after {samples} samples")
        axes.legend(frameon=False, fontsize="small")
    row[0][0].set_ylabel("bound on train minus test [nats]")
    return figure
