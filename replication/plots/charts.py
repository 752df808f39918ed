"""What the paper argues in words, drawn: DataFrames in, matplotlib figures out; nothing is computed here."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from replication.paper import names
from replication.paper.changes import NO_CHANGE, Change
from replication.plots import palette
from replication.plots.figures import LINE_STYLES

BOUND = r"lower bound $\mathcal{L}$ on test [nats]"
STANDARD = {"linestyle": ":", "linewidth": 1.2}  # of a run beside one with a change


def gradient_variance(table: pd.DataFrame) -> Figure:
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

    comparable = table[(table["batch_size"] == 100) & (table["n_mc_samples"] == 2)]
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


def estimators(curves: pd.DataFrame, made: Change = NO_CHANGE) -> Figure:
    """Bound on test [nats] against training samples, a row per dataset, a line per estimator.

    Dotted the standard runs beside a change. The estimator that ends lowest would flatten the others: on the left the
    axis is theirs, on the right all of it.
    """
    datasets = list(curves["dataset"].unique())
    size = (10.4, 4.2 * len(datasets))
    figure, grid = plt.subplots(len(datasets), 2, figsize=size, squeeze=False, layout="constrained")
    for (enlarged, whole), dataset in zip(grid, datasets, strict=True):
        test, standard = _on_test(curves, dataset), _on_test(made.standard, dataset)
        for axes in (enlarged, whole):
            for name in palette.ESTIMATORS:
                _training(axes, test[test["estimator"] == name], _of_estimator(name))
            for name, curve in standard.groupby("estimator"):
                label = {"label": f"{names.ESTIMATORS[name]}, standard"}
                _training(axes, curve, _of_estimator(name) | STANDARD | label)
        lowest = test.loc[test.groupby("estimator")["value"].tail(1).idxmin(), "estimator"]
        others = pd.concat([test, standard]).query("estimator != @lowest")["value"]
        enlarged.set_ylim(others.min() - 3, others.max() + 3)
        where = _where(dataset, datasets)
        enlarged.set(title=f"{where}enlarged; below this axis: {names.ESTIMATORS[lowest]}", ylabel=BOUND)
        whole.set_title(f"{where}all")
    figure.legend(*grid[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    return figure


def minibatches(curves: pd.DataFrame, made: Change = NO_CHANGE) -> Figure:
    """Bound on test [nats] against training samples, a panel per dataset, by minibatch size M and samples of z L.

    A shade of AEVB's colour per M; open markers where L is the larger; dotted the standard runs beside a change.
    """
    datasets = list(curves["dataset"].unique())
    size = (7.2, 4.2 * len(datasets))
    figure, column = plt.subplots(len(datasets), 1, figsize=size, squeeze=False, layout="constrained")
    sizes, least = sorted(curves["batch_size"].unique()), curves["n_mc_samples"].min()
    shades = dict(zip(sizes, palette.shades(palette.ALGORITHMS["aevb"], len(sizes)), strict=True))
    for (axes,), dataset in zip(column, datasets, strict=True):
        for table, looks, whose in ((curves, {}, ""), (made.standard, STANDARD, ", standard")):
            for (m, n), curve in _on_test(table, dataset).groupby(["batch_size", "n_mc_samples"]):
                face = shades[m] if n == least else "white"
                style = {"color": shades[m], "marker": "o", "markersize": 4, "markerfacecolor": face, **looks}
                _training(axes, curve, {**style, "label": f"M = {m}, L = {n}{whose}"})
        axes.set(ylabel=BOUND, title=_where(dataset, datasets).removesuffix(", "))
    figure.legend(*column[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return figure


def _on_test(curves: pd.DataFrame, dataset: str) -> pd.DataFrame:
    return curves[(curves["split"] == "test") & (curves["dataset"] == dataset)]


def _where(dataset: str, datasets: Sequence[str]) -> str:
    """How a title begins where a figure shows several datasets."""
    return f"{names.DATASETS[dataset]}, " if len(datasets) > 1 else ""


def _training(axes: Axes, curve: pd.DataFrame, style: Mapping[str, Any]) -> None:
    """One run against its training samples."""
    axes.plot(curve["samples_evaluated"], curve["value"], **style)
    axes.set(xscale="log", xlabel="training samples evaluated")
    axes.grid(alpha=0.25, linewidth=0.5)


def full_vb(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Bounds [nats] at the end of each run against the number of training datapoints, for MAP and full VB.

    A row of panels per table of runs and dataset, under its name; what has no run is left out.
    """
    every = pd.concat(tables.values())
    n_latents, datasets = sorted(every["n_latent"].unique()), list(every["dataset"].unique())
    rows = {
        ", ".join(filter(None, (name, names.DATASETS[dataset] if len(datasets) > 1 else ""))): of_dataset
        for dataset in datasets
        for name, table in tables.items()
        if len(of_dataset := table[table["dataset"] == dataset])
    }
    size = (4.6 * len(n_latents), 3.4 * len(rows) + 0.8)
    sharey = True if len(datasets) == 1 else "row"
    figure, grid = plt.subplots(
        len(rows), len(n_latents), figsize=size, sharey=sharey, squeeze=False, layout="constrained"
    )
    lines = (("aevb", "value", "MAP", "o"), ("full_vb", "bound_sampled", "full VB, weights sampled", "s"),
             ("full_vb", "bound_at_mean", "full VB, weights at the mean", "D"))  # fmt: skip
    panels = itertools.product(rows.items(), n_latents)
    for axes, ((name, curves), n_latent) in zip(grid.flat, panels, strict=True):
        for algorithm, column, label, marker in lines:
            for split, style in LINE_STYLES.items():
                is_meant = (curves["algorithm"] == algorithm) & (curves["split"] == split)
                line = curves[is_meant & (curves["n_latent"] == n_latent)].sort_values("n_train")
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
        title = f"{name}, $N_z$ = {n_latent}" if name else f"$N_z$ = {n_latent}"
        axes.set(xscale="log", xlabel="training datapoints N", title=title)
        axes.grid(alpha=0.25, linewidth=0.5)
    for row in grid:
        row[0].set_ylabel(r"$E_q[\log p(x|z)] - KL(q(z|x)||p(z))$ [nats]")
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=1 if len(n_latents) == 1 else 3,
        handlelength=3.5,
        frameon=False,
        fontsize="small",
    )
    return figure


SIZES = {"n_latent": "latent variables $N_z$", "n_hidden": "hidden units", "batch_size": "minibatch size M",
         "side_by_side": "runs side by side"}  # fmt: skip


def benchmark(peers: pd.DataFrame | None, growth: pd.DataFrame | None, contenders: Mapping[str, str]) -> Figure:
    """Samples/s, the median and the range over rounds: above the contenders by arrangement, below the engine by size.

    What is None has not been measured and stays out.
    """
    figure = plt.figure(figsize=(10.4, 7.2), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(1.2, 1))
    if peers is not None:
        row = above.subplots(1, peers["arrangement"].nunique(), sharex=True, sharey=True, squeeze=False)[0]
        for axes, (arrangement, table) in zip(row, peers.groupby("arrangement", sort=False), strict=True):
            table = table.iloc[::-1]
            colours = [palette.ALGORITHMS["aevb"] if name == "engine" else "0.7" for name in table["contender"]]
            labels = [contenders[name] for name in table["contender"]]
            axes.barh(labels, table["samples_per_second"], xerr=_range(table), color=colours, ecolor=palette.NEUTRAL)
            axes.set(title=arrangement, xlabel="training samples per second")
            axes.xaxis.set_major_formatter("{x:,.0f}")
    if growth is not None:
        row = below.subplots(1, len(SIZES), sharey=True)
        for axes, (size, label) in zip(row, SIZES.items(), strict=True):
            table = growth[growth["varied"] == size]
            axes.errorbar(
                table["value"], table["samples_per_second"], _range(table), marker="o", color=palette.ALGORITHMS["aevb"]
            )
            axes.set(xlabel=label, xscale="linear" if size == "side_by_side" else "log", yscale="log")
            axes.minorticks_off()
            axes.set_xticks(table["value"], table["value"])
            axes.grid(alpha=0.25, linewidth=0.5)
        row[0].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        row[0].yaxis.set_major_formatter("{x:,.0f}")
        row[0].set_ylabel("training samples per second")
    return figure


def _range(table: pd.DataFrame) -> list[pd.Series]:
    middle = table["samples_per_second"]
    return [middle - table["lowest"], table["highest"] - middle]
