"""Arrays of images in, matplotlib figures out: manifolds, samples, reconstructions."""

import itertools
from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib import color_sequences
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import norm

from replication.plots import palette

INK = {"mnist": "gray_r", "digits": "gray_r"}  # dark on white, as in the paper; all else as it is
MOST_USED = 30  # latent dimensions that a plot of their use shows
MAX_GLYPHS = 1500  # more hide each other
TICKS = (-2, -1, 0, 1, 2)  # of z along the sides of its unit square


def tile(images: np.ndarray, n_columns: int, image_shape: tuple[int, int]) -> np.ndarray:
    """One array of pixels from images [n, D], row by row."""
    height, width = image_shape
    grid = images.reshape(-1, n_columns, height, width)
    return grid.swapaxes(1, 2).reshape(len(grid) * height, n_columns * width)


def show(axes: Axes, images: np.ndarray, n_columns: int, image_shape: tuple[int, int], dataset: str) -> None:
    """Draw images [n, D] edge to edge, without axes."""
    axes.imshow(
        tile(images, n_columns, image_shape), cmap=INK.get(dataset, "gray"), vmin=0, vmax=1, interpolation="nearest"
    )
    axes.set_axis_off()


def manifolds(images: Mapping[str, np.ndarray], image_shape: tuple[int, int], dataset: str) -> Figure:
    """Figure 4: decoder means [side^2, D] over the unit square of the latent space, with z along its sides.

    A panel per model, under its name.
    """
    height, width = image_shape
    size = (6.4 * len(images), 6 * height / width + 0.4)
    figure, row = plt.subplots(1, len(images), figsize=size, squeeze=False, layout="constrained")
    for axes, (title, means) in zip(row[0], images.items(), strict=True):
        _show_plane(axes, means, image_shape, dataset)
        axes.set_title(title)
    return figure


def _show_plane(axes: Axes, images: np.ndarray, image_shape: tuple[int, int], dataset: str) -> None:
    show(axes, images, round(len(images) ** 0.5), image_shape, dataset)
    axes.images[0].set_extent((0, 1, 0, 1))
    _name_sides(axes, image_shape)


def _name_sides(axes: Axes, image_shape: tuple[int, int]) -> None:
    """Of the unit square of the latent space: z where its Gaussian CDF lies."""
    height, width = image_shape
    positions = norm.cdf(TICKS)
    axes.set_axis_on()
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect=height / width, xlabel="$z_1$", ylabel="$z_2$")
    axes.set_xticks(positions, map(str, TICKS))
    axes.set_yticks(positions, map(str, TICKS))


def panels(
    images: Mapping[str, np.ndarray], n_columns: int, image_shape: tuple[int, int], dataset: str, side_by_side: int
) -> Figure:
    """Groups of images, so many side by side, each under its title (figure 5)."""
    rows = max(len(group) for group in images.values()) / n_columns
    height, width = image_shape
    panel, n_rows = 3.0, -(-len(images) // side_by_side)
    size = (panel * side_by_side, n_rows * (panel * rows * height / (n_columns * width) + 0.3))
    figure, grid = plt.subplots(n_rows, side_by_side, figsize=size, squeeze=False, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.1)  # inches: a panel ends where the next one begins
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, (title, group) in zip(grid.flat, images.items(), strict=False):
        show(axes, group, n_columns, image_shape, dataset)
        axes.set_title(title, fontsize="medium")
    return figure


def rows(images: Mapping[str, np.ndarray], image_shape: tuple[int, int], dataset: str) -> Figure:
    """Rows of images under each other, each with its name on the left."""
    n_columns = max(len(group) for group in images.values())
    height, width = image_shape
    figure, column = plt.subplots(
        len(images),
        1,
        figsize=(9, len(images) * 8 * height / (n_columns * width)),
        squeeze=False,
        gridspec_kw={"hspace": 0.05, "left": 0.12, "right": 1, "top": 1, "bottom": 0},
    )
    for axes, (name, group) in zip(column[:, 0], images.items(), strict=True):
        show(axes, group, n_columns, image_shape, dataset)
        axes.text(-0.01, 0.5, name, transform=axes.transAxes, ha="right", va="center")
    return figure


def posterior(
    images: np.ndarray, image_shape: tuple[int, int], dataset: str, u: np.ndarray, labels: np.ndarray | None
) -> Figure:
    """The manifold, and beside it in the same coordinates where the data lie: points u [N, 2] on the unit square.

    Where there are labels, the first MAX_GLYPHS points are drawn, each as its label, in the label's colour.
    """
    height, width = image_shape
    figure, (left, right) = plt.subplots(1, 2, figsize=(13.2, 6 * height / width + 0.4), layout="constrained")
    _show_plane(left, images, image_shape, dataset)
    style = {"linewidths": 0, "rasterized": True}
    if labels is None:
        right.scatter(*u.T, s=9, color=palette.NEUTRAL, **style)
    else:
        u, labels = u[:MAX_GLYPHS], labels[:MAX_GLYPHS]
        for label, colour in zip(np.unique(labels), color_sequences[palette.LABELS], strict=False):
            glyph = {"marker": rf"$\mathbf{{{label}}}$", "label": str(label), "color": colour}
            right.scatter(*u[labels == label].T, s=50, **glyph, **style)
        right.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), markerscale=1.6, fontsize="large")
    _name_sides(right, image_shape)
    return figure


def latent_use(use: pd.DataFrame, threshold: float) -> Figure:
    """KL per latent dimension [nats], the most used first, as far as MOST_USED; a line per model."""
    figure, axes = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
    colours = palette.shades(palette.ALGORITHMS["aevb"], use["n_latent"].nunique())
    markers = itertools.cycle("osD^vP")
    for colour, marker, (n_latent, curve) in zip(colours, markers, use.groupby("n_latent"), strict=False):
        style = {"color": colour, "marker": marker, "markersize": 4}
        axes.plot(curve["rank"], curve["kl"], label=f"$N_z$ = {n_latent}", **style)
    axes.axhline(threshold, color=palette.NEUTRAL, linestyle=":", label=f"{threshold} nats")
    axes.set(xlim=(0.5, MOST_USED + 0.5), xlabel=f"latent dimension, the {MOST_USED} most used", ylabel="KL [nats]")
    axes.set_yscale("symlog", linthresh=threshold)
    axes.set_ylim(0, 2 * use["kl"].max())
    axes.legend(frameon=False, fontsize="small")
    axes.grid(alpha=0.25, linewidth=0.5)
    return figure
