"""Drawings of models and computations: nodes and arrows, no data."""

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, Polygon, Rectangle

from replication.plots import palette

PATHWISE, SCORE_FUNCTION = palette.ESTIMATORS["sgvb_b"], palette.ESTIMATORS["score_function"]
RADIUS, CLEAR = 0.3, 0.38  # of a node, and from its centre to the end of an arrow


def graphical_model() -> Figure:
    """Figure 1: the directed model; solid lines generate, dashed lines infer."""
    figure, axes = _canvas(3.2, 2.6)
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
        _arrow(axes, start, end, bend=bend, linestyle=style)
    return figure


def autoencoder(n_pixels: int, n_hidden: int, n_latent: int) -> Figure:
    """Encoder and decoder side by side: layers as bars, the sizes below them, both terms of the bound where they arise.

    The layers of the encoder are blue, those of the decoder grey.
    """
    figure, axes = _canvas(11.4, 4.0)
    layers = (
        (0.7, 1.30, "0.85", r"$x$", f"{n_pixels} pixels"),
        (2.4, 0.85, PATHWISE, "tanh", f"{n_hidden} units"),
        (4.1, 0.40, PATHWISE, r"$\mu$, $\log\sigma^2$", f"2 x {n_latent}"),
        (7.2, 0.40, "white", r"$z$", f"{n_latent}"),
        (8.9, 0.85, "0.6", "tanh", f"{n_hidden} units"),
        (10.6, 1.30, "0.6", r"$y$", f"{n_pixels} means"),
    )
    middle = 2.0
    for x, half, colour, name, size in layers:
        axes.add_patch(
            Rectangle((x - 0.16, middle - half), 0.32, 2 * half, facecolor=colour, edgecolor="black", alpha=0.9)
        )
        axes.text(x, middle + half + 0.13, name, ha="center", va="bottom", fontsize=12)
        axes.text(x, middle - half - 0.13, size, ha="center", va="top", fontsize=9, color="0.3")
    for (left, tall, *_), (right, low, *_) in ((layers[0], layers[1]), (layers[1], layers[2]), (layers[3], layers[4]),
                                               (layers[4], layers[5])):  # fmt: skip
        corners = [(left + 0.2, middle - tall), (left + 0.2, middle + tall), (right - 0.2, middle + low),
                   (right - 0.2, middle - low)]  # fmt: skip
        axes.add_patch(Polygon(corners, facecolor="0.93", edgecolor="none", zorder=0))
        _arrow(axes, (left + 0.25, middle), (right - 0.25, middle))
    _arrow(axes, (4.35, middle), (6.95, middle))
    axes.text(5.65, middle + 0.1, r"$z = \mu + \sigma\,\epsilon$", ha="center", va="bottom", fontsize=12)
    _node(axes, 5.65, 0.85, r"$\epsilon$", random=True)
    _arrow(axes, (5.65, 1.2), (5.65, 1.9))
    axes.text(2.4, 3.75, r"encoder: $q_\phi(z|x)$", ha="center", fontsize=12, color=PATHWISE)
    axes.text(8.9, 3.75, r"decoder: $p_\theta(x|z)$", ha="center", fontsize=12, color="0.3")
    axes.text(4.1, 0.2, r"deviation from the prior:" + "\n" + r"KL($q_\phi(z|x)$ || $p(z)$)", ha="center", fontsize=10)
    axes.text(8.9, 0.2, "fit to the data:\n" + r"$\log p_\theta(x|z)$", ha="center", fontsize=10)
    return figure


def reparameterisation() -> Figure:
    """The two graphs of one expectation: z drawn at random, and z computed from noise.

    Circles are random nodes, squares are computed ones; thick coloured arrows show how far a gradient gets on its way
    back from f to the parameters.
    """
    figure, axes = _canvas(10.4, 4.5)
    for left, title in ((0.2, r"$z$ is drawn from $q_\phi(z|x)$"), (5.4, r"$z$ is computed from noise $\epsilon$")):
        axes.text(left + 2.4, 4.25, title, ha="center", fontsize=13)
    axes.plot((5.2, 5.2), (0.75, 4.3), color="0.85")
    for left in (0.2, 5.4):
        _node(axes, left + 2.4, 3.6, "$f$")
        _node(axes, left + 0.9, 1.2, r"$\phi$", given=True)
        _node(axes, left + 2.4, 1.2, "$x$", given=True)
        _arrow(axes, (left + 2.4, 2.75), (left + 2.4, 3.28))
    z = _node(axes, 2.6, 2.4, "$z$", random=True)
    for start in ((1.1, 1.2), (2.6, 1.2)):
        _arrow(axes, *_between(start, z))
    _arrow(axes, (2.95, 3.4), (2.95, 2.62), color=SCORE_FUNCTION, linewidth=2.5, bend=-0.25)
    axes.text(3.3, 2.95, "the gradient\nstops at the draw", color=SCORE_FUNCTION, fontsize=10, va="center")
    z = _node(axes, 7.8, 2.4, "$z$")
    for start in ((6.3, 1.2), (7.8, 1.2), (9.3, 1.2)):
        _arrow(axes, *_between(start, z))
    _node(axes, 9.3, 1.2, r"$\epsilon$", random=True)
    _arrow(axes, (7.45, 3.45), (7.45, 2.62), color=PATHWISE, linewidth=2.5, bend=0.25)
    _arrow(axes, (7.42, 2.42), (6.28, 1.55), color=PATHWISE, linewidth=2.5, bend=0.25)
    axes.text(7.15, 3.0, "the gradient\nreaches $\\phi$", color=PATHWISE, fontsize=10, va="center", ha="right")
    axes.text(8.25, 2.4, r"$\mu_\phi(x) + \sigma_\phi(x)\,\epsilon$", fontsize=12, va="center")
    kinds: tuple[tuple[float, str, dict[str, bool]], ...] = (
        (2.1, "random", {"random": True}),
        (4.6, "deterministic", {}),
        (7.7, "given", {"given": True}),
    )
    for x, text, kind in kinds:
        _node(axes, x, 0.3, "", scale=0.55, **kind)
        axes.text(x + 0.3, 0.3, text, va="center", fontsize=10)
    return figure


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure whose coordinates are inches."""
    figure = plt.figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(0, height), aspect="equal")
    axes.set_axis_off()
    return figure, axes


def _node(axes: Axes, x: float, y: float, name: str, *, random: bool = False, given: bool = False, scale: float = 1.0):
    """A circle for a random node, a square for a computed one, a grey square for a given one; returns its centre."""
    radius = RADIUS * scale
    if random:
        axes.add_patch(Circle((x, y), radius, facecolor="white", edgecolor="black", linewidth=1.5))
    else:
        colour = "0.85" if given else "white"
        corner = (x - 0.9 * radius, y - 0.9 * radius)
        axes.add_patch(Rectangle(corner, 1.8 * radius, 1.8 * radius, facecolor=colour, edgecolor="black"))
    axes.text(x, y, name, ha="center", va="center", fontsize=14)
    return x, y


def _between(start: tuple[float, float], end: tuple[float, float]) -> tuple:
    """The ends of an arrow between the centres of two nodes, clear of both."""
    (x0, y0), (x1, y1) = start, end
    share = CLEAR / ((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5
    return (x0 + share * (x1 - x0), y0 + share * (y1 - y0)), (x1 - share * (x1 - x0), y1 - share * (y1 - y0))


def _arrow(axes: Axes, start: tuple, end: tuple, *, bend: float = 0, color: str = "black", **style: str | float):
    axes.add_patch(
        FancyArrowPatch(
            start, end, connectionstyle=f"arc3,rad={bend}", arrowstyle="-|>", mutation_scale=12, color=color, **style
        )
    )
