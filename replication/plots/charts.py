"""What the paper argues in words, drawn: DataFrames in, matplotlib figures out; nothing is computed here."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, Rectangle

from replication.paper import names
from replication.plots import palette
from replication.plots.figures import LINE_STYLES

CLASS_COLOURS = {"within": "#2e8b57", "above": "#0b62a4", "below": "#d1495b", "not run": "0.5"}
FAR = {"mnist": 15, "digits": 15, "frey_face": 300}  # nats from the paper at which a colour is full
BOUND = r"lower bound $\mathcal{L}$ on test [nats]"


def gradient_variance(table: pd.DataFrame, ratios: pd.DataFrame) -> Figure:
    """How much the encoder's gradient varies with L at the end, and over the training the ratio to SGVB B.

    Left M = 100, right L = 2 as well, where every estimator exists. The decoder's variance, the same for every
    estimator, is grey.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(10.4, 4.2), layout="constrained")
    end = table["samples_evaluated"].max()
    at_end = table[(table["samples_evaluated"] == end) & (table["batch_size"] == 100)].sort_values("n_mc_samples")
    _error_bars(left, at_end, "n_mc_samples", "variance")
    decoder = at_end[(at_end["network"] == "decoder") & (at_end["estimator"] == "sgvb_b")]
    left.plot(
        decoder["n_mc_samples"], decoder["variance"], ":", color=palette.NEUTRAL, label="decoder, every estimator"
    )
    left.set(xscale="log", xlabel="L, samples of z per datapoint", ylabel="variance of the gradient [nats²]")
    left.set(title=f"after {end:,} training samples")
    left.set_xticks(sizes := sorted(at_end["n_mc_samples"].unique()), sizes)

    comparable = ratios[(ratios["batch_size"] == 100) & (ratios["n_mc_samples"] == 2)]
    stages = sorted(comparable["samples_evaluated"].unique())
    _error_bars(right, comparable.replace({"samples_evaluated": {stage: i for i, stage in enumerate(stages)}}),
                "samples_evaluated", "ratio")  # fmt: skip
    right.set_xticks(range(len(stages)), ["0" if stage == 0 else names.scientific(stage) for stage in stages])
    right.set(xlabel="training samples evaluated", ylabel="variance over that of SGVB B", title="L = 2", xmargin=0.1)
    for axes in (left, right):
        axes.set_yscale("log")
        axes.minorticks_off()
        axes.grid(alpha=0.25, linewidth=0.5)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False)
    return figure


def _error_bars(axes: Axes, table: pd.DataFrame, x: str, y: str) -> None:
    """A line per estimator, for the encoder, with the standard errors of y."""
    for name in palette.ESTIMATORS:
        line = table[(table["estimator"] == name) & (table["network"] == "encoder")]
        axes.errorbar(line[x], line[y], line[f"{y}_se"], **_of_estimator(name))


def _of_estimator(name: str) -> dict[str, Any]:
    return {
        "color": palette.ESTIMATORS[name],
        "marker": palette.MARKERS[name],
        "markersize": 4,
        "label": names.ESTIMATORS[name],
    }


def estimators(curves: pd.DataFrame) -> Figure:
    """Bound on test [nats] against training samples and against seconds, a line per estimator.

    The one that ends lowest would flatten the others: above, the axis is theirs; below, all of it.
    """
    figure, (above, below) = plt.subplots(
        2, 2, figsize=(10.4, 5.6), sharex="col", sharey="row", height_ratios=(2, 1), layout="constrained"
    )
    test = curves[curves["split"] == "test"]
    for name in palette.ESTIMATORS:
        for row in (above, below):
            _training(row, test[test["estimator"] == name], _of_estimator(name))
    lowest = test.loc[test.groupby("estimator")["bound"].tail(1).idxmin(), "estimator"]
    others = test.loc[test["estimator"] != lowest, "bound"]
    above[0].set_ylim(others.min() - 3, others.max() + 3)
    figure.supylabel(BOUND, fontsize="medium")
    above[0].set_title(f"enlarged; below this axis: {names.ESTIMATORS[lowest]}")
    below[0].set_title("all")
    _name_axes(below)
    figure.legend(*above[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    return figure


def minibatches(curves: pd.DataFrame) -> Figure:
    """Bound on test [nats] against training samples and against seconds, by minibatch size M and samples of z L.

    A shade of AEVB's colour per M; open markers where L is the larger.
    """
    figure, row = plt.subplots(1, 2, figsize=(10.4, 4.2), sharey=True, layout="constrained")
    test = curves[curves["split"] == "test"]
    sizes = sorted(test["batch_size"].unique())
    shades = dict(zip(sizes, palette.shades(palette.ALGORITHMS["aevb"], len(sizes)), strict=True))
    for (m, n), curve in test.groupby(["batch_size", "n_mc_samples"]):
        face = shades[m] if n == test["n_mc_samples"].min() else "white"
        style = {"color": shades[m], "marker": "o", "markersize": 4, "markerfacecolor": face}
        _training(row, curve, {**style, "label": f"M = {m}, L = {n}"})
    row[0].set_ylabel(BOUND)
    _name_axes(row)
    figure.legend(*row[0].get_legend_handles_labels(), loc="outside lower center", ncols=6, frameon=False)
    return figure


def _training(row: Sequence[Axes], curve: pd.DataFrame, style: Mapping[str, Any]) -> None:
    """One run in both panels: against its training samples, against its seconds."""
    for axes, x in zip(row, ("samples_evaluated", "seconds"), strict=True):
        axes.plot(curve[x], curve["bound"], **style)
        axes.grid(alpha=0.25, linewidth=0.5)


def _name_axes(row: Sequence[Axes]) -> None:
    row[0].set(xscale="log", xlabel="training samples evaluated")
    row[1].set(xlabel="seconds of training")


def full_vb(curves: pd.DataFrame) -> Figure:
    """Bounds [nats] at the end of each run against the number of training datapoints, for MAP and full VB."""
    n_latents = sorted(curves["n_latent"].unique())
    figure, row = plt.subplots(
        1, len(n_latents), figsize=(4.6 * len(n_latents), 4.2), sharey=True, squeeze=False, layout="constrained"
    )
    lines = (("aevb", "bound", "MAP", "o"), ("full_vb", "bound_sampled", "full VB, weights sampled", "s"),
             ("full_vb", "bound_at_mean", "full VB, weights at the mean", "D"))  # fmt: skip
    for axes, n_latent in zip(row[0], n_latents, strict=True):
        for algorithm, column, label, marker in lines:
            for split, style in LINE_STYLES.items():
                of = (curves["algorithm"] == algorithm) & (curves["split"] == split) & (curves["n_latent"] == n_latent)
                line = curves[of].sort_values("n_train")
                axes.plot(
                    line["n_train"],
                    line[column],
                    linestyle=style,
                    color=palette.ALGORITHMS[algorithm],
                    marker=marker,
                    markersize=5,
                    fillstyle="none" if column == "bound_at_mean" else "full",
                    label=f"{label} ({split})",
                )
        axes.set(xscale="log", xlabel="training datapoints N", title=f"$N_z$ = {n_latent}")
        axes.grid(alpha=0.25, linewidth=0.5)
    row[0][0].set_ylabel(r"$E_q[\log p(x|z)] - KL(q(z|x)||p(z))$ [nats]")
    handles, labels = row[0][0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=3, handlelength=3.5, frameon=False, fontsize="small"
    )
    return figure


def graphical_model() -> Figure:
    """Figure 1: the directed model; solid lines generate, dashed lines infer."""
    figure = plt.figure(figsize=(3.2, 2.6))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, 3.2), ylim=(0, 2.6), aspect="equal")
    axes.set_axis_off()
    nodes = {r"$\mathbf{z}$": (1.6, 1.95, "white"), r"$\mathbf{x}$": (1.6, 0.8, "0.85")}
    for name, (x, y, colour) in nodes.items():
        axes.add_patch(Circle((x, y), 0.27, facecolor=colour, edgecolor="black"))
        axes.text(x, y, name, ha="center", va="center", fontsize=14)
    for name, x in ((r"$\phi$", 0.35), (r"$\theta$", 2.85)):
        axes.text(x, 1.95, name, ha="center", va="center", fontsize=14)
    axes.add_patch(Rectangle((0.95, 0.3), 1.3, 2.1, fill=False))
    axes.text(2.15, 0.38, "N", ha="center")
    arrows = (
        ((2.7, 1.95), (1.9, 1.95), 0, "-"),
        ((2.72, 1.82), (1.86, 0.9), 0, "-"),
        ((1.6, 1.66), (1.6, 1.1), 0, "-"),
        ((0.5, 1.95), (1.3, 1.95), 0, "--"),
        ((1.4, 1.0), (1.4, 1.75), -0.6, "--"),
    )
    for start, end, bend, style in arrows:
        axes.add_patch(
            FancyArrowPatch(
                start,
                end,
                connectionstyle=f"arc3,rad={bend}",
                linestyle=style,
                arrowstyle="-|>",
                mutation_scale=12,
                color="black",
            )
        )
    return figure


def heat_map(table: pd.DataFrame) -> Figure:
    """Initialisation x learning rate: our bound on test [nats] in each cell, its distance to the paper's as colour.

    A heat map per dataset and algorithm; the paper's value is in its title. The colours of a dataset have one scale.
    """
    panels = list(table.groupby(["dataset", "algorithm"], sort=False))
    figure, row = plt.subplots(1, len(panels), figsize=(3.7 * len(panels), 3.4), squeeze=False, layout="constrained")
    row[0][0].set_ylabel("initialisation")
    for axes, ((dataset, algorithm), cells) in zip(row[0], panels, strict=True):
        wide = {
            name: cells.pivot(index="initialisation", columns="learning_rate", values=name)
            for name in ("ours", "difference")
        }
        limit = FAR[dataset]
        axes.imshow(wide["difference"], cmap=palette.DIFFERENCES, vmin=-limit, vmax=limit, aspect="auto")
        for (i, j), value in np.ndenumerate(wide["ours"]):
            text = "not finite" if np.isnan(value) else f"{value:.1f}" if value > -1e4 else f"{value:.0e}"
            is_dark = abs(wide["difference"].iloc[i, j]) > 0.7 * limit
            axes.text(j, i, text, ha="center", va="center", color="white" if is_dark else "black")
        axes.set_xticks(range(wide["ours"].shape[1]), wide["ours"].columns)
        axes.set_yticks(range(len(wide["ours"])), wide["ours"].index)
        paper = cells["paper"].iloc[0]
        title = names.panel(dataset, "n_latent", cells["n_latent"].iloc[0])
        axes.set_title(f"{title}\n{names.ALGORITHMS[algorithm]}, paper: {paper:.1f}")
        axes.set_xlabel("learning rate")
    last = {dataset: axes for ((dataset, _), _), axes in zip(panels, row[0], strict=True)}
    for axes in last.values():
        figure.colorbar(axes.images[0], ax=axes, extend="both", label="ours minus the paper's [nats]")
    return figure


def readings(curves: pd.DataFrame, paper: pd.DataFrame) -> Figure:
    """Bound [nats] against training samples, a colour per `reading`, with the paper's; a panel per n_latent."""
    panels = list(curves.groupby(["dataset", "n_latent"], sort=False))
    n_columns = min(3, len(panels))
    n_rows = math.ceil(len(panels) / n_columns)
    figure, grid = plt.subplots(
        n_rows, n_columns, figsize=(4.6 * n_columns, 3.8 * n_rows), squeeze=False, layout="constrained"
    )
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    for axes, ((dataset, n_latent), panel) in zip(grid.flat, panels, strict=False):
        of = (paper["dataset"] == dataset) & (paper["n_latent"] == n_latent)
        _readings_panel(axes, panel, paper[of & paper["algorithm"].isin(panel["algorithm"])])
        axes.set(
            title=f"{names.DATASETS[dataset]}, $N_z$ = {n_latent}", xscale="log", xlabel="training samples evaluated"
        )
    for axes in grid[:, 0]:
        axes.set_ylabel(r"lower bound $\mathcal{L}$ [nats]")
    legends = [axes.get_legend_handles_labels() for axes in grid.flat[: len(panels)]]
    if all(labels == legends[0][1] for _, labels in legends):
        figure.legend(*legends[0], loc="outside lower center", ncols=4, frameon=False, fontsize="small")
    else:
        for axes in grid.flat[: len(panels)]:
            axes.legend(frameon=False, fontsize="small")
    return figure


def _readings_panel(axes: Axes, ours: pd.DataFrame, paper: pd.DataFrame) -> None:
    """The paper's curves and ours, cut off below where the paper's begin and any of ours ends."""
    colours = zip(ours.groupby("reading", sort=False), ("#0b62a4", "#d1495b", "#e9a23b"), strict=False)
    sources = [("paper", paper, "value", "0.35"), *((name, curve, "bound", c) for (name, curve), c in colours)]
    for name, table, column, colour in sources:
        for split, curve in table.groupby("split"):
            style: dict[str, Any] = {"linestyle": LINE_STYLES[split], "color": colour, "label": f"{name} ({split})"}
            axes.plot(curve["samples_evaluated"], curve[column], **style)
    ends = ours.groupby(["reading", "split"])["bound"].last()
    lowest = min(paper["value"].min() - 10, ends.min()) if len(paper) else ours["bound"].min()
    axes.set_xlim(*ours["samples_evaluated"].agg(["min", "max"]))
    axes.set_ylim(max(lowest, ours["bound"].min()) - 5, ours["bound"].max() + 5)
    axes.grid(alpha=0.25, linewidth=0.5)


def verdict(compared: Mapping[int, pd.DataFrame], judged: Mapping[int, pd.DataFrame]) -> Figure:
    """Ours minus the paper's [nats] where the verdict compares, a row per curve; the colour is in tolerances.

    Per figure, `compared` has the table of `verdict.compare_with_paper` and `judged` that of `verdict.judge`. The value
    that is judged is bold.
    """
    heights = [len(table) // 2 for table in judged.values()]
    figure, grid = plt.subplots(len(judged), 2, figsize=(12, 0.34 * sum(heights) + 2), squeeze=False,
                                height_ratios=heights, layout="constrained")  # fmt: skip
    for row, (number, table) in zip(grid, judged.items(), strict=True):
        for axes, split in zip(row, LINE_STYLES, strict=True):
            curves = table[table["split"] == split].reset_index(drop=True)
            keys = [key for key in curves.columns[:4] if key != "split"]
            points = compared[number].merge(curves[[*keys, "split"]].reset_index(), on=[*keys, "split"])
            _differences(axes, points, curves, keys, sorted(compared[number]["samples_evaluated"].unique()))
            axes.set_title(f"figure {number}, {split}")
        row[1].set_yticks([])
    return figure


def _differences(axes: Axes, points: pd.DataFrame, curves: pd.DataFrame, keys: list[str], columns: list[int]) -> None:
    """One heat map: a row per curve, a column per evaluation point, the verdict at the end of the row."""
    shape = {"index": range(len(curves)), "columns": columns}
    points = points.assign(in_tolerances=points["difference"] / points["tolerance"])
    values, colours = (
        points.pivot(index="index", columns="samples_evaluated", values=name).reindex(**shape).to_numpy()
        for name in ("difference", "in_tolerances")
    )
    axes.imshow(colours, cmap="RdBu", vmin=-3, vmax=3, aspect="auto")
    for (i, j), value in np.ndenumerate(values):
        is_judged = columns[j] == curves.loc[i, "samples_evaluated"]
        style: dict[str, Any] = {
            "ha": "center",
            "va": "center",
            "fontsize": "small",
            "fontweight": "bold" if is_judged else "normal",
        }
        style["color"] = "white" if abs(colours[i, j]) > 2 else "black"
        axes.text(j, i, "" if np.isnan(value) else f"{value:+.1f}", **style)
    for i, found in enumerate(curves["verdict"]):
        axes.text(len(columns) - 0.4, i, found, va="center", fontsize="small", color=CLASS_COLOURS[found])
    titles = [
        f"{names.panel(dataset, keys[1], size)}, {names.ALGORITHMS[algorithm]}"
        for dataset, size, algorithm in curves[keys].itertuples(index=False)
    ]
    axes.set_yticks(range(len(curves)), titles, fontsize="small")
    axes.set_xticks(range(len(columns)), map(names.scientific, columns))
