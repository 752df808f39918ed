"""Arrays of images in, matplotlib figures out: manifolds, samples, reconstructions."""

import itertools
from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib import color_sequences
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from replication.plots import palette

INK = {"mnist": "gray_r", "digits": "gray_r", "frey_face": "gray"}  # digits dark on white, as in the paper
MOST_USED = 30  # latent dimensions that a plot of their use shows


def tile(images: np.ndarray, n_columns: int, image_shape: tuple[int, int]) -> np.ndarray:
    """One array of pixels from images [n, D], row by row."""
    height, width = image_shape
    grid = images.reshape(-1, n_columns, height, width)
    return grid.swapaxes(1, 2).reshape(len(grid) * height, n_columns * width)


def show(axes: Axes, images: np.ndarray, n_columns: int, image_shape: tuple[int, int], dataset: str) -> None:
    """Draw images [n, D] edge to edge, without axes."""
    axes.imshow(tile(images, n_columns, image_shape), cmap=INK[dataset], vmin=0, vmax=1, interpolation="nearest")
    axes.set_axis_off()


def manifold(images: np.ndarray, image_shape: tuple[int, int], dataset: str) -> Figure:
    """Figure 4: decoder means over the unit square of the latent space."""
    side = round(len(images) ** 0.5)
    height, width = image_shape
    figure = plt.figure(figsize=(6, 6 * height / width))
    show(figure.add_axes((0, 0, 1, 1)), images, side, image_shape, dataset)
    return figure


def panels(images: Mapping[str, np.ndarray], n_columns: int, image_shape: tuple[int, int], dataset: str) -> Figure:
    """Groups of images side by side, each under its title (figure 5)."""
    rows = max(len(group) for group in images.values()) / n_columns
    height, width = image_shape
    panel = 3.0
    size = (panel * len(images), panel * rows * height / (n_columns * width) + 0.3)
    figure, row = plt.subplots(1, len(images), figsize=size, squeeze=False, layout="constrained")
    for axes, (title, group) in zip(row[0], images.items(), strict=True):
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

    Each is drawn as its label, in the label's colour, where there are labels.
    """
    height, width = image_shape
    figure, (left, right) = plt.subplots(1, 2, figsize=(12.6, 6 * height / width), layout="constrained")
    show(left, images, round(len(images) ** 0.5), image_shape, dataset)
    style = {"linewidths": 0, "rasterized": True}
    if labels is None:
        right.scatter(*u.T, s=5, color=palette.NEUTRAL, **style)
    else:
        for label, colour in zip(np.unique(labels), color_sequences[palette.LABELS], strict=False):
            right.scatter(*u[labels == label].T, s=16, color=colour, marker=rf"$\mathbf{{{label}}}$", **style)
    right.set(xlim=(0, 1), ylim=(0, 1), box_aspect=height / width, xticks=[], yticks=[])
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
