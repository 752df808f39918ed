"""What the paper's own drawings give away, drawn: DataFrames in, matplotlib figures out; only means are taken here."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from replication.paper import names, reference
from replication.paper.graphics import CURVE
from replication.plots import palette
from replication.plots.figures import LINE_STYLES, X_LIMITS

CHANCE = 12**-0.5  # r.m.s. distance of a uniform number from a whole one
LOWEST = {"mnist": -620, "frey_face": -700}


def starts(vertices: pd.DataFrame, starts: pd.DataFrame, expected: Mapping[str, float]) -> Figure:
    """The paths of figure 2 outside its axes [nats]: as drawn, and their lines continued to the first minibatch.

    `starts` is the table of `graphics.starts`; `expected` has the start of each dataset where it is known.
    """
    begins = starts.set_index([*CURVE, "path"])[["samples", "start"]]
    figure, row = plt.subplots(1, len(X_LIMITS), figsize=(11, 4.6), layout="constrained")
    for axes, (dataset, (low, _)) in zip(row, X_LIMITS.items(), strict=True):
        y_limits, high = reference.Y_LIMITS["bound", dataset], 4e6
        axes.add_patch(Rectangle((low, y_limits[0]), high, np.diff(y_limits)[0], color="0.9", zorder=0))
        drawn = vertices[(vertices["dataset"] == dataset) & (vertices["path"] == 0)]
        for (n_latent, algorithm, split), path in drawn.groupby(CURVE[1:]):
            colour, x, y = palette.ALGORITHMS[algorithm], path["samples_evaluated"], path["value"]
            axes.plot(x, y, color=colour, linestyle=LINE_STYLES[split], linewidth=1)
            m, start = begins.loc[(dataset, n_latent, algorithm, split, 0)]
            axes.plot([m, x.iloc[0]], [start, y.iloc[0]], color=palette.pale(colour), linewidth=0.8)
            axes.plot(m, start, "o", color=colour, markersize=4)
        axes.annotate(f"x = {m:.0f}", (m, LOWEST[dataset]), (4, 6), textcoords="offset points")
        axes.axvline(m, color=palette.NEUTRAL, linewidth=0.6, linestyle=":")
        if dataset in expected:
            axes.axhline(expected[dataset], color=palette.NEUTRAL, linewidth=0.6)
            axes.annotate(f"{expected[dataset]:.1f}", (high, expected[dataset]), (-4, 4), textcoords="offset points",
                          ha="right")  # fmt: skip
        axes.set(xscale="log", xlim=(m / 2, high), ylim=(LOWEST[dataset], y_limits[1] if dataset == "mnist" else 1100))
        axes.set(title=names.DATASETS[dataset], xlabel="training samples evaluated")
        axes.grid(alpha=0.25, linewidth=0.5)
    row[0].set_ylabel(r"lower bound $\mathcal{L}$ [nats]")
    _legend(figure, Rectangle((0, 0), 1, 1, color="0.9", label="inside the paper's axes"),
            Line2D([], [], color="0.7", linewidth=0.8, label="continued"))  # fmt: skip
    return figure


def minibatches(distances: Mapping[int, pd.DataFrame], mcem: pd.DataFrame) -> Figure:
    """R.m.s. distance of the reports from whole numbers against the candidate for M, the mean over the curves.

    `distances` has the table of `graphics.distances` for each figure, `mcem` is that of `graphics.mcem_distances`.
    """
    figure, row = plt.subplots(1, 4, figsize=(12, 3.4), sharey=True, layout="constrained")
    two, three = distances[2], distances[3]
    for axes, table, title in (
        (row[0], two[two["dataset"] == "mnist"], "figure 2, MNIST"),
        (row[1], two[two["dataset"] == "frey_face"], "figure 2, Frey Face"),
        (row[2], three, "figure 3, AEVB and wake-sleep"),
    ):
        mean = table.groupby("minibatch")["distance"].mean()
        axes.plot(mean.index, mean, color=palette.NEUTRAL, linewidth=0.8)
        axes.set(title=title, xlabel="candidate for M")
    mean = mcem.groupby("passes")["distance"].mean()
    row[3].plot(mean.index, mean, color=palette.ALGORITHMS["mcem"], linewidth=0.8, marker="^", markersize=4)
    row[3].set(title="figure 3, Monte Carlo EM", xlabel="candidate for a step [N]")
    for axes in row:
        axes.axhline(CHANCE, color=palette.NEUTRAL, linewidth=0.8, linestyle=":")
        axes.grid(alpha=0.25, linewidth=0.5)
        axes.set_title(axes.get_title(), fontsize="medium")
    row[0].annotate("chance", (row[0].get_xlim()[1], CHANCE), (-4, 4), textcoords="offset points", ha="right")
    row[0].set_ylabel("distance from whole numbers (r.m.s.)")
    return figure


def warm_up(points: pd.DataFrame, steps: int) -> Figure:
    """How many minibatches each first dashed point leaves room for at the start; a line at `steps`.

    `points` is the table of `graphics.first_dashed_points`.
    """
    points = points.dropna().sort_values(["dataset", "n_latent"], ascending=False)
    panels = zip(points["dataset"], points["n_latent"], strict=True)
    labels = [names.panel("bound", dataset, n) for dataset, n in panels]
    figure, axes = plt.subplots(figsize=(7.5, 4), layout="constrained")
    order = {label: i for i, label in enumerate(dict.fromkeys(labels))}
    axes.set_yticks(list(order.values()), list(order))
    colours = [palette.ALGORITHMS[name] for name in points["algorithm"]]
    axes.scatter(points["steps_at_start"], [order[label] for label in labels], color=colours, zorder=2)
    axes.axvline(steps, color=palette.NEUTRAL, linewidth=1)
    axes.annotate(f"the authors' warm-up: {steps}", (steps, len(order) - 0.4), (4, 0), textcoords="offset points")
    axes.set(xlabel="minibatches at the start, at most", xlim=(0, None), ylim=(-0.6, len(order) + 0.2))
    axes.grid(alpha=0.25, linewidth=0.5)
    _legend(figure, splits=())
    return figure


def splits(by_size: Mapping[int, pd.DataFrame], plateau: pd.DataFrame, seed: int) -> Figure:
    """The best independent Gaussian on train and test [nats], a point per seed of the split, a panel per size of train.

    Marked: `seed`, and where the paper's wake-sleep curves stay.
    """
    figure, row = plt.subplots(1, len(by_size), figsize=(10, 4.4), sharex=True, sharey=True, layout="constrained")
    for axes, (n_train, seeds) in zip(row, by_size.items(), strict=True):
        axes.plot(seeds["train"], seeds["test"], ".", color="0.75", markersize=2, label="other seeds")
        axes.plot(*seeds.loc[seed, ["train", "test"]], "D", color=palette.POINTER, markersize=6, label=f"seed {seed}")
        axes.plot(plateau["train"], plateau["test"], "+", color=palette.ALGORITHMS["wake_sleep"], markersize=9,
                  label="the paper's wake-sleep")  # fmt: skip
        axes.set(title=f"the first {n_train} of the shuffled frames", xlabel="train [nats]")
        axes.grid(alpha=0.25, linewidth=0.5)
    row[0].set_ylabel("test [nats]")
    figure.legend(*row[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return figure


def scale(perfect: Mapping[int, pd.Series], brightest: int = 16) -> Figure:
    """The perfect fit at each of the brightest grey values [nats per image], bars for each divisor of grey values."""
    figure, axes = plt.subplots(figsize=(7.5, 3.6), layout="constrained")
    shades = palette.shades(palette.NEUTRAL, len(perfect))
    for i, (divisor, by_grey) in enumerate(perfect.items()):
        grey = by_grey.index[-brightest:]
        label = f"over {divisor}: {by_grey.sum():.2f} nats, all grey values together"
        axes.bar(grey + 0.4 * (i - 0.5), by_grey[grey], width=0.4, color=shades[i], label=label)
    axes.set(xlabel="grey value", ylabel="perfect fit [nats]")
    axes.set_xticks(grey, grey)
    axes.grid(alpha=0.25, linewidth=0.5, axis="y")
    axes.legend(frameon=False, loc="lower left")
    return figure


def open_questions(starts: pd.DataFrame, points: pd.DataFrame, expected: Mapping[str, float]) -> Figure:
    """Frey Face against the number of latent variables: the start [nats], and how long a run can have stayed there."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    starts = starts[(starts["dataset"] == "frey_face") & (starts["split"] == "train")]
    for axes, table, column in ((left, starts, "start"), (right, points, "steps_at_start")):
        for algorithm, curve in table[table["dataset"] == "frey_face"].groupby("algorithm"):
            axes.plot(curve["n_latent"], curve[column], "o-", color=palette.ALGORITHMS[algorithm], linewidth=1)
        axes.set(xscale="log", xlabel="latent variables $N_z$")
        axes.minorticks_off()
        axes.set_xticks(values := sorted(starts["n_latent"].unique()), values)
        axes.grid(alpha=0.25, linewidth=0.5)
    if "frey_face" in expected:
        left.axhline(expected["frey_face"], color=palette.NEUTRAL, linewidth=0.8)
        left.annotate("computed from the images", (values[-1], expected["frey_face"]), (0, -12),
                      textcoords="offset points", ha="right")  # fmt: skip
    left.set(title="after the first minibatch", ylabel="bound on train [nats]")
    right.set(title="first dashed point", ylabel="minibatches at the start, at most", ylim=(0, None))
    _legend(figure, splits=())
    return figure


def _legend(figure: Figure, *others: Line2D | Rectangle, splits: tuple[str, ...] = tuple(LINE_STYLES)) -> None:
    handles = [Line2D([], [], color=palette.ALGORITHMS[a], label=names.ALGORITHMS[a]) for a in ("aevb", "wake_sleep")]
    handles += [Line2D([], [], color=palette.NEUTRAL, linestyle=LINE_STYLES[split], label=split) for split in splits]
    handles = [*handles, *others]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize="small")
