"""DataFrames in, matplotlib figures out: nothing is computed here."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, FancyArrowPatch, Rectangle

TITLES = {"mnist": "MNIST", "frey_face": "Frey Face", "digits": "Digits, not MNIST"}
ALGORITHMS = {
    "aevb": ("AEVB", "#0b62a4", "0.35"),
    "wake_sleep": ("Wake-sleep", "#d1495b", "0.6"),
    "mcem": ("Monte Carlo EM", "#2e8b57", "0.75"),
}
ESTIMATORS = {
    "sgvb_b": "#0b62a4",
    "sgvb_a": "#2e8b57",
    "score_function_baseline": "#e9a23b",
    "score_function": "#d1495b",
}
LINE_STYLES = {"train": (0, (4, 2)), "test": "-"}
Y_LIMITS = {"mnist": (-150, -95), "frey_face": (0, 1600)}  # the paper's axes
X_LIMITS = (1e5, 1e8)
OURS, PAPER = (1, 1.6), (2, 0.8)  # which colour of an algorithm, which line width
Y_LIMITS_3, X_LIMITS_3 = (-160, -100), (0, 60)


def figure2(curves: pd.DataFrame, paper: pd.DataFrame) -> Figure:
    """Lower bound per datapoint [nats] against training samples; a row per dataset, a panel per latent dimension."""
    panels = curves[["dataset", "n_latent"]].drop_duplicates()
    datasets = list(panels["dataset"].unique())
    n_columns = panels.groupby("dataset").size().max()
    figure, grid = plt.subplots(
        len(datasets),
        n_columns,
        figsize=(2.6 * n_columns + 0.6, 3.0 * len(datasets)),
        squeeze=False,
        layout="constrained",
    )
    for axes in grid.flat:
        axes.set_visible(False)
    for row, dataset in zip(grid, datasets, strict=True):
        ours = curves[curves["dataset"] == dataset]
        for axes, n_latent in zip(row, sorted(ours["n_latent"].unique()), strict=False):
            axes.set_visible(True)
            _lines(axes, paper[(paper["dataset"] == dataset) & (paper["n_latent"] == n_latent)], "value", PAPER)
            _lines(axes, ours[ours["n_latent"] == n_latent], "bound", OURS)
            axes.set(title=f"{TITLES[dataset]}, $N_z$ = {n_latent}", xscale="log", xlim=X_LIMITS)
            axes.set_ylim(*_y_limits(dataset, ours))
            axes.grid(alpha=0.25, linewidth=0.5)
            axes.set_xlabel("training samples evaluated")
        row[0].set_ylabel(r"lower bound $\mathcal{L}$ [nats]")
    _legend(figure, ["aevb", "wake_sleep"], with_paper=paper["dataset"].isin(datasets).any())
    return figure


def figure3(curves: pd.DataFrame, paper: pd.DataFrame) -> Figure:
    """Estimated log p(x) per datapoint [nats] against millions of training samples; a panel per training set size."""
    sizes = sorted(curves["n_train"].unique())
    figure, row = plt.subplots(1, len(sizes), figsize=(4.6 * len(sizes), 4.2), squeeze=False, layout="constrained")
    dataset = curves["dataset"].iloc[0]
    for axes, n_train in zip(row[0], sizes, strict=True):
        reference = paper[(paper["dataset"] == dataset) & (paper["n_train"] == n_train)]
        ours = curves[curves["n_train"] == n_train]
        for table, column, style in ((reference, "value", PAPER), (ours, "log_px", OURS)):
            _lines(axes, table.assign(samples_evaluated=table["samples_evaluated"] / 1e6), column, style)
        axes.set(title=f"{TITLES[dataset]}, $N_{{train}}$ = {n_train}", xlim=X_LIMITS_3)
        axes.set_xlabel("training samples evaluated (millions)")
        axes.set_ylim(*(Y_LIMITS_3 if len(reference) else (None, None)))
        axes.grid(alpha=0.25, linewidth=0.5)
        longest = ours["samples_evaluated"].max() / 1e6
        if longest < 0.9 * X_LIMITS_3[1]:  # a short run fills its panel
            axes.set_xlim(0, longest)
    row[0][0].set_ylabel(r"estimated $\log p(x)$ [nats]")
    _legend(figure, list(ALGORITHMS), with_paper=(paper["dataset"] == dataset).any())
    return figure


def gradient_variance(table: pd.DataFrame) -> Figure:
    """Variance of the encoder's gradient against L and against M; a column per stage of the training."""
    marks = sorted(table["samples_evaluated"].unique())
    encoder = table[table["network"] == "encoder"]
    figure, grid = plt.subplots(
        2, len(marks), figsize=(3.4 * len(marks), 5.6), sharey=True, squeeze=False, layout="constrained"
    )
    varied = (
        ("n_mc_samples", "L, samples per datapoint (M = 100)"),
        ("batch_size", "M, datapoints (L = 1; baseline 2)"),
    )
    for row, (column, label) in zip(grid, varied, strict=True):
        for axes, mark in zip(row, marks, strict=True):
            for name, curve in encoder[encoder["samples_evaluated"] == mark].groupby("estimator"):
                fixed = curve["batch_size"] == 100 if column == "n_mc_samples" else curve["n_mc_samples"] == 1
                line = curve[fixed].sort_values(column)
                axes.errorbar(
                    line[column],
                    line["variance"],
                    line["variance_se"],
                    fmt="o-",
                    markersize=3,
                    label=name,
                    color=ESTIMATORS[name],
                )
            axes.set(
                xscale="log", yscale="log", xlabel=label, title=f"after {mark:,} samples" if row is grid[0] else ""
            )
            axes.grid(alpha=0.25, linewidth=0.5)
        row[0].set_ylabel("variance of the gradient")
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    return figure


def compared(curves: pd.DataFrame, key: str, colours: Mapping[str, str] | None = None) -> Figure:
    """Bound on test [nats] against training samples, a line per value of `key`; and against seconds of training."""
    figure, row = plt.subplots(1, 2, figsize=(9.2, 3.8), sharey=True, layout="constrained")
    names = list(dict.fromkeys(curves[key]))
    palette = colours or dict(zip(names, plt.colormaps["viridis"](np.linspace(0, 0.9, len(names))), strict=True))
    for name in names:
        line = curves[(curves[key] == name) & (curves["split"] == "test")]
        for axes, x in zip(row, ("samples_evaluated", "seconds"), strict=True):
            axes.plot(line[x], line["bound"], color=palette[name], label=name)
    for axes, label in zip(row, ("training samples evaluated", "seconds of training"), strict=True):
        axes.set(xscale="log", xlabel=label)
        axes.grid(alpha=0.25, linewidth=0.5)
    low, high = curves["bound"].quantile([0.1, 1])
    row[0].set(ylabel=r"lower bound $\mathcal{L}$ on test [nats]", ylim=(low - 5, high + 5))
    row[1].legend(frameon=False, fontsize="small")
    return figure


def full_vb(curves: pd.DataFrame) -> Figure:
    """Bounds [nats] at the last mark against the number of training datapoints: MAP and full VB, train and test."""
    n_latents = sorted(curves["n_latent"].unique())
    figure, row = plt.subplots(
        1, len(n_latents), figsize=(4.6 * len(n_latents), 4.2), sharey=True, squeeze=False, layout="constrained"
    )
    lines = (("aevb", "bound", "MAP", "#0b62a4"), ("full_vb", "bound_sampled", "full VB, weights sampled", "#d1495b"),
             ("full_vb", "bound_at_mean", "full VB, weights at the mean", "#e9a23b"))  # fmt: skip
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


def _lines(axes: Axes, curves: pd.DataFrame, column: str, style: tuple[int, float]) -> None:
    colour, width = style
    keys = [key for key in ("algorithm", "split", "seed") if key in curves]
    for (algorithm, split, *_), curve in curves.groupby(keys):
        line = {"color": ALGORITHMS[algorithm][colour], "linestyle": LINE_STYLES[split], "linewidth": width}
        axes.plot(curve["samples_evaluated"], curve[column], **line)


def _y_limits(dataset: str, ours: pd.DataFrame) -> tuple[float, float] | tuple[None, None]:
    """The paper's limits, lowered where a short run of ours would end below them."""
    if dataset not in Y_LIMITS:
        return None, None
    low, high = Y_LIMITS[dataset]
    last = ours.groupby(["n_latent", "algorithm", "split"])["bound"].last()
    return min(low, last.min() - 0.1 * (high - low)), high


def _legend(figure: Figure, algorithms: list[str], with_paper: bool) -> None:
    handles = []
    for source, (colour, width) in (("", OURS), ("paper: ", PAPER))[: 1 + with_paper]:
        for name, *colours in (ALGORITHMS[algorithm] for algorithm in algorithms):
            for split, line_style in LINE_STYLES.items():
                style = {"color": colours[colour - 1], "linestyle": line_style, "linewidth": width}
                handles.append(Line2D([], [], label=f"{source}{name} ({split})", **style))
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False, fontsize="small")


def save(figure: Figure, files: Iterable[Path]) -> None:
    """Write a figure so that the same data give the same bytes."""
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        with matplotlib.rc_context({"svg.hashsalt": "replication", "svg.fonttype": "path"}):
            figure.savefig(file, dpi=150, metadata={"Date": None} if file.suffix == ".svg" else None)
