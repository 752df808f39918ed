"""What the paper argues in words, drawn: DataFrames in, matplotlib figures out; nothing is computed here."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, Rectangle

from replication.plots.figures import LINE_STYLES

BLUE, RED, ORANGE, GREEN = "#0b62a4", "#d1495b", "#e9a23b", "#2e8b57"
ESTIMATORS = {
    "sgvb_b": BLUE,
    "sgvb_a": GREEN,
    "score_function_baseline": ORANGE,
    "score_function": RED,
}


def gradient_variance(table: pd.DataFrame, ratios: pd.DataFrame) -> Figure:
    """Variance of the encoder's gradient, and its ratio to that of SGVB B, against L and against M.

    A column per stage of the training. The decoder's variance, the same for every estimator, is grey.
    """
    points = sorted(table["samples_evaluated"].unique())
    figure, grid = plt.subplots(
        4, len(points), figsize=(3.6 * len(points), 10.4), sharey="row", squeeze=False, layout="constrained"
    )
    rows = [(source, value, by) for by in ("n_mc_samples", "batch_size")
            for source, value in ((table, "variance"), (ratios, "ratio"))]  # fmt: skip
    for axes_of_row, (source, value, by) in zip(grid, rows, strict=True):
        axes_of_row[0].set_ylabel({"variance": "variance (encoder)", "ratio": "ratio to SGVB B (encoder)"}[value])
        for axes, samples in zip(axes_of_row, points, strict=True):
            at_point = source[source["samples_evaluated"] == samples]
            _error_bars(axes, at_point, value, by)
            if value == "variance":
                is_decoder = (at_point["network"] == "decoder") & (at_point["estimator"] == "sgvb_b")
                line = _varied(at_point[is_decoder], by)
                axes.plot(line[by], line[value], ":", color="0.5", label="decoder, every estimator")
    for axes, samples in zip(grid[0], points, strict=True):
        axes.set_title("at initialisation" if samples == 0 else f"after {samples:,} samples")
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return figure


def _error_bars(axes: Axes, table: pd.DataFrame, value: str, by: str) -> None:
    """A line per estimator, for the encoder, against L at M = 100 or against M at L = 1."""
    for name, colour in ESTIMATORS.items():
        line = _varied(table[(table["estimator"] == name) & (table["network"] == "encoder")], by)
        axes.errorbar(line[by], line[value], line[f"{value}_se"], fmt="o-", markersize=3, label=name, color=colour)
    label = {"n_mc_samples": "L, samples per datapoint (M = 100)", "batch_size": "M, datapoints (L = 1)"}[by]
    axes.set(xscale="log", yscale="log", xlabel=label)
    axes.set_xticks(ticks := sorted(_varied(table, by)[by].unique()), ticks)
    axes.minorticks_off()
    axes.grid(alpha=0.25, linewidth=0.5)


def _varied(table: pd.DataFrame, by: str) -> pd.DataFrame:
    is_fixed = table["batch_size"] == 100 if by == "n_mc_samples" else table["n_mc_samples"] == 1
    return table[is_fixed].sort_values(by)


def compared(curves: pd.DataFrame, key: str, colours: Mapping[str, str] | None = None) -> Figure:
    """Bound on test [nats] against training samples, a line per value of `key`; and against seconds of training."""
    figure, row = plt.subplots(1, 2, figsize=(10.4, 3.8), sharey=True, layout="constrained")
    names = list(dict.fromkeys(curves[key]))
    palette = colours or dict(zip(names, plt.colormaps["viridis"](np.linspace(0, 0.9, len(names))), strict=True))
    for name in names:
        line = curves[(curves[key] == name) & (curves["split"] == "test")]
        for axes, x in zip(row, ("samples_evaluated", "seconds"), strict=True):
            axes.plot(line[x], line["bound"], "o-", markersize=3, color=palette[name], label=name)
    for axes, label in zip(row, ("training samples evaluated", "seconds of training"), strict=True):
        axes.set_xlabel(label)
        axes.grid(alpha=0.25, linewidth=0.5)
    row[0].set(xscale="log", ylabel=r"lower bound $\mathcal{L}$ on test [nats]")
    figure.legend(*row[0].get_legend_handles_labels(), loc="outside right center", frameon=False, fontsize="small")
    return figure


def full_vb(curves: pd.DataFrame) -> Figure:
    """Bounds [nats] at the end of each run against the number of training datapoints, for MAP and full VB."""
    n_latents = sorted(curves["n_latent"].unique())
    figure, row = plt.subplots(
        1, len(n_latents), figsize=(4.6 * len(n_latents), 4.2), sharey=True, squeeze=False, layout="constrained"
    )
    lines = (("aevb", "bound", "MAP", BLUE), ("full_vb", "bound_sampled", "full VB, weights sampled", RED),
             ("full_vb", "bound_at_mean", "full VB, weights at the mean", ORANGE))  # fmt: skip
    for axes, n_latent in zip(row[0], n_latents, strict=True):
        for algorithm, column, label, colour in lines:
            for split, style in LINE_STYLES.items():
                of = (curves["algorithm"] == algorithm) & (curves["split"] == split) & (curves["n_latent"] == n_latent)
                line = curves[of].sort_values("n_train")
                axes.plot(
                    line["n_train"],
                    line[column],
                    linestyle=style,
                    color=colour,
                    marker="o",
                    markersize=3,
                    label=f"{label} ({split})",
                )
        axes.set(xscale="log", xlabel="training datapoints N", title=f"$N_z$ = {n_latent}")
        axes.grid(alpha=0.25, linewidth=0.5)
    row[0][0].set_ylabel(r"$E_q[\log p(x|z)] - KL(q(z|x)||p(z))$ [nats]")
    figure.legend(
        *row[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False, fontsize="small"
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
