"""Figures 2 and 3 of the paper: DataFrames in, matplotlib figures out; nothing is computed here."""

import errno
import io
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

from replication.errors import RecordError
from replication.files import write_atomically
from replication.paper import names, reference
from replication.paper.changes import NO_CHANGE, Change
from replication.plots import palette
from replication.runs.curves import CURVE, first_seed

LINE_STYLES = {"train": (0, (4, 2)), "test": "-"}
X_LIMITS = {"mnist": (1e5, 2.5e8), "frey_face": (1e5, 1e8)}  # as far as the paper's curves go
READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
X_LIMITS_3 = (0, 60)
PAGE = 9  # inches; a wider figure is shown smaller, on GitHub as elsewhere
LEGEND_ENTRY, LEAST = 1.5, 5.6  # inches that an entry of a legend takes, and that a figure has at least
RINGS: dict[str, Any] = {"marker": "o", "markersize": 4, "markerfacecolor": "white", "markevery": 0.1}


def figure2(curves: pd.DataFrame, paper: pd.DataFrame, made: Change = NO_CHANGE) -> Figure:
    """Lower bound per datapoint [nats] against training samples; a row per dataset, a panel per latent dimension.

    Where the runs have a change `made`, the standard ones are drawn beside them.
    """
    datasets = list(curves["dataset"].unique())
    n_columns = curves.groupby("dataset")["size"].nunique().max()
    figure, grid = plt.subplots(
        len(datasets),
        n_columns,
        figsize=(max(2.6 * n_columns + 0.6, LEAST), 3.0 * len(datasets)),
        squeeze=False,
        layout="constrained",
    )
    for axes in grid.flat:
        axes.set_visible(False)
    for row, dataset in zip(grid, datasets, strict=True):
        ours = curves[curves["dataset"] == dataset]
        for axes, size in zip(row, sorted(ours["size"].unique()), strict=False):
            axes.set_visible(True)
            for whose, table in (("paper", paper), ("standard", made.standard), ("ours", curves)):
                _lines(axes, table[(table["dataset"] == dataset) & (table["size"] == size)], whose)
            axes.set(title=names.panel("bound", dataset, size), xscale="log")
            axes.set_xlim(*_x_limits(X_LIMITS.get(dataset), ours, made))
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.set_ylim(*_y_limits(reference.Y_LIMITS.get(("bound", dataset)), _ends(ours)))
            axes.grid(alpha=0.25, linewidth=0.5)
            axes.set_xlabel("training samples evaluated")
        row[0].set_ylabel(r"lower bound $\mathcal{L}$ [nats]")
    _legend(figure, ["aevb", "wake_sleep"], with_paper=paper["dataset"].isin(datasets).any(), made=made)
    return figure


def figure3(curves: pd.DataFrame, paper: pd.DataFrame, made: Change = NO_CHANGE) -> Figure:
    """Estimated log p(x) per datapoint [nats] against millions of training samples; a panel per dataset and size of it.

    Where the runs have a change `made`, the standard ones are drawn beside them.
    """
    panels = [key for key, _ in curves.groupby(["dataset", "size"], sort=True)]
    figure, row = plt.subplots(1, len(panels), figsize=(4.6 * len(panels), 4.2), squeeze=False, layout="constrained")
    for axes, (dataset, size) in zip(row[0], panels, strict=True):
        drawn, standard, ours = (
            table[(table["dataset"] == dataset) & (table["size"] == size)] for table in (paper, made.standard, curves)
        )
        for whose, table in (("paper", drawn), ("standard", standard), ("ours", ours)):
            _lines(axes, table.assign(samples_evaluated=table["samples_evaluated"] / 1e6), whose)
        axes.set(title=names.panel("log_px", dataset, size), xlim=X_LIMITS_3)
        axes.set_xlabel("training samples evaluated (millions)")
        of_dataset = curves[curves["dataset"] == dataset]
        axes.set_ylim(*_y_limits(reference.Y_LIMITS["log_px", dataset] if len(drawn) else None, _ends(of_dataset)))
        axes.grid(alpha=0.25, linewidth=0.5)
        longest = _lines_of(ours)["samples_evaluated"].max() / 1e6
        if longest < 0.9 * X_LIMITS_3[1]:  # a short run fills its panel
            axes.set_xlim(0, longest)
    row[0][0].set_ylabel(r"estimated $\log p(x)$ [nats]")
    _legend(
        figure, ["aevb", "wake_sleep", "mcem"], with_paper=paper["dataset"].isin(curves["dataset"]).any(), made=made
    )
    return figure


def _lines(axes: Axes, table: pd.DataFrame, whose: str) -> None:
    """A line per algorithm and split: the paper's thin and pale, the standard ones with rings, ours over both.

    Of several seeds the first, in a band from the lowest to the highest that ends where the shortest of them does: a
    mean would jump there.
    """
    for (algorithm, split), curve in table.groupby(["algorithm", "split"]):
        line = _line(algorithm, split, whose)
        if "seed" in curve and curve["seed"].nunique() > 1:
            everywhere = curve["samples_evaluated"] <= curve.groupby("seed")["samples_evaluated"].max().min()
            band = curve[everywhere].groupby("samples_evaluated")["value"].agg(["min", "max"])
            axes.fill_between(band.index, band["min"], band["max"], color=line["color"], alpha=0.2, linewidth=0)
            curve = first_seed(curve, ["algorithm", "split"])
        axes.plot(curve["samples_evaluated"], curve["value"], **line)


def _line(algorithm: str, split: str, whose: str) -> dict[str, Any]:
    colour, style = palette.ALGORITHMS[algorithm], LINE_STYLES[split]
    if whose == "paper":
        return {"color": palette.pale(colour), "linestyle": style, "linewidth": 0.9}
    if whose == "standard":
        return {"color": colour, "linestyle": style, "linewidth": 0.8, **RINGS}
    marker = "^" if algorithm == "mcem" else None  # its curves meet AEVB's
    return {"color": colour, "linestyle": style, "linewidth": 1.6, "marker": marker, "markersize": 4, "markevery": 0.1}


def _ends(curves: pd.DataFrame) -> pd.Series:
    """The last value of every curve that is a line."""
    return _lines_of(curves).groupby(CURVE)["value"].last()


def _lines_of(curves: pd.DataFrame) -> pd.DataFrame:
    """The curves that are a line, or all where none is: a single point must not stretch the axis of the others."""
    n_points = curves.groupby(CURVE)["value"].transform("size")
    return curves[(n_points > 1) | (n_points.max() == 1)]


def _x_limits(
    limits: tuple[float, float] | None, ours: pd.DataFrame, made: Change
) -> tuple[float | None, float | None]:
    """The paper's limits; a change is looked at where our runs are."""
    if limits is None:
        return None, None
    low, high = limits
    return low, min(high, 4 * ours["samples_evaluated"].max()) if made.words else high


def _y_limits(limits: tuple[float, float] | None, ends: pd.Series) -> tuple[float | None, float | None]:
    """The paper's limits, lowered where a short run of ours would end below them."""
    if limits is None:
        return None, None
    low, high = limits
    return min(low, ends.min() - 0.1 * (high - low)), high


def _legend(figure: Figure, algorithms: list[str], with_paper: bool, made: Change) -> None:
    """What a colour, a line style, a width and a ring mean, each once."""
    handles = [Line2D([], [], label=names.ALGORITHMS[name], **_line(name, "test", "ours")) for name in algorithms]
    for split, style in LINE_STYLES.items():
        handles.append(Line2D([], [], label=split, color=palette.NEUTRAL, linestyle=style))
    if len(made.standard):
        handles.append(Line2D([], [], label=made.words, color=palette.NEUTRAL, linewidth=1.6))
        handles.append(Line2D([], [], label="standard", color=palette.NEUTRAL, linewidth=0.8, **RINGS))
    if with_paper:
        handles.append(Line2D([], [], label="the paper's", color=palette.pale(palette.NEUTRAL), linewidth=0.9))
    width = figure.get_figwidth()
    scale = max(1, width / PAGE)
    n_columns = min(len(handles), int(width / (scale * LEGEND_ENTRY)))
    n_rows = -(-len(handles) // n_columns)
    figure.set_figheight(figure.get_figheight() + 0.25 * scale * (n_rows - 1))
    figure.legend(handles=handles, loc="outside lower center", ncols=n_columns, frameon=False, fontsize=10 * scale)


def save(figure: Figure, files: Iterable[Path]) -> None:
    """Write a figure so that the same data give the same bytes.

    In a folder that may not be written to, as that of a teaching server, it is shown only, and a line says so. Raises
    RecordError where the disk refuses for another reason.
    """
    for file in files:
        image = io.BytesIO()
        with matplotlib.rc_context({"svg.hashsalt": "replication", "svg.fonttype": "path"}):
            metadata = {"Date": None} if file.suffix == ".svg" else None
            figure.savefig(image, format=file.suffix[1:], dpi=150, metadata=metadata)
        try:
            write_atomically(file, partial(Path.write_bytes, data=image.getvalue()))
        except RecordError as error:
            if not isinstance(error.__cause__, OSError) or error.__cause__.errno not in READ_ONLY:
                raise
            print(f"The figure is not saved: {file} cannot be written ({error.__cause__.strerror}).", file=sys.stderr)
