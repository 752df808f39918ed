"""What the drawings of figures 2 and 3 give away beside the curves: minibatches, the start, the warm-up, the split.

They stand on every vertex of every path in the paper's vector drawing, those outside the axes too.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import xlog1py, xlogy

from replication import config
from replication.model.baselines import MIN_STDDEV
from replication.paper import reference
from replication.runs.curves import CURVE as TIDY_CURVE
from replication.runs.curves import SIZE

# As the file of vertices names what runs/curves.py calls the size of a panel.
PANEL = ["figure", "dataset", *SIZE.values()]
CURVE = [SIZE["bound"] if key == "size" else key for key in TIDY_CURVE if key != "metric"]  # of figure 2
MINIBATCH = {"mnist": 100, "frey_face": 500}  # M, as `distances` finds it
PLATEAU_FROM = 10**7  # samples: wake-sleep on Frey Face has long been flat in the paper's curves
MCEM_PASSES = config.MCEM_PASSES["all_passes"]  # over the training set in a step; `mcem_distances` finds it
# Samples up to which the drawing resolves a minibatch on the logarithmic axes of figure 2, to some 1e-6.
FAR = {"mnist": 3 * 10**6, "frey_face": 6 * 10**6}
FITS = 0.1  # r.m.s. distance from whole numbers; uniform chance is 0.29
# What tick marks read to 2e-5 of an axis leave open. Its coordinate is the samples, or their log10 (figure 2).
MAX_SHIFT = {False: 600.0, True: 3e-5}
MAX_STRETCH = 2e-5
GRID = 0.2  # units: the step in which shift and stretch are searched


class Axis(NamedTuple):
    """A horizontal axis as calibrated on its tick marks, u, and what that misses: u + shift + stretch (u - centre)."""

    is_log: bool
    centre: float
    shift: float
    stretch: float

    def samples(self, drawn: np.ndarray) -> np.ndarray:
        """The training samples at which something was drawn."""
        u = np.log10(drawn) if self.is_log else drawn
        u = u + self.shift + self.stretch * (u - self.centre)
        return 10**u if self.is_log else u


def vertices(figure: int) -> pd.DataFrame:
    """Every vertex of figure 2 or 3: `reference.vertices`, which says what its columns are."""
    vertices = reference.vertices()
    return vertices[vertices["figure"] == figure].reset_index(drop=True)


def fit_axis(drawn: np.ndarray, unit: float, is_log: bool) -> Axis:
    """The axis, within what its ticks leave open, on which the abscissae lie closest to whole multiples of `unit`.

    Least squares in units, from the best point of a grid that is fine enough to miss no whole number.
    """
    u = np.log10(drawn) if is_log else drawn
    away = u - u.mean()
    per_shift = np.log(10) * drawn / unit if is_log else np.full(len(drawn), 1 / unit)
    shifts = _grid(min(MAX_SHIFT[is_log], 0.5 / per_shift.min()), GRID / per_shift.max())
    stretches = _grid(MAX_STRETCH, GRID / np.abs(per_shift * away).max())
    shift, stretch = (grid.reshape(-1, 1) for grid in np.meshgrid(shifts, stretches))
    multiples = drawn / unit + per_shift * (shift + stretch * away)
    best = multiples[np.argmin(_rms(multiples - np.round(multiples)))]
    design = np.stack([per_shift, per_shift * away], axis=1)
    (shift, stretch), *_ = np.linalg.lstsq(design, np.round(best) - drawn / unit)
    shift, stretch = np.clip(shift, -MAX_SHIFT[is_log], MAX_SHIFT[is_log]), np.clip(stretch, -MAX_STRETCH, MAX_STRETCH)
    return Axis(is_log, float(u.mean()), float(shift), float(stretch))


def distance(drawn: np.ndarray, unit: float, axis: Axis) -> float:
    """The r.m.s. distance of the abscissae from whole multiples of `unit`, in units; 0.29 by chance."""
    multiples = axis.samples(drawn) / unit
    return float(_rms(multiples - np.round(multiples)))


def distances(figure: int, candidates: Iterable[int]) -> pd.DataFrame:
    """How far the reports of AEVB and wake-sleep lie from whole numbers of minibatches, for candidates of M.

    A row per curve of both splits and candidate: `distance` in minibatches, over `n` reports. Each panel has one axis.
    In figure 2 it is fitted for each candidate, in figure 3 to Monte Carlo EM's reports, which leaves nothing to fit.
    """
    reports = _reports(figure)
    rows = []
    for panel, drawn in reports.groupby(PANEL, dropna=False):
        known = mcem_axis(drawn) if figure == 3 else None
        abscissae = {name: _abscissae(curve) for name, curve in drawn.groupby("algorithm") if name != "mcem"}
        for m in candidates:
            axis = known or fit_axis(_abscissae(drawn), m, is_log=True)
            for algorithm, x in abscissae.items():
                rows.append([*panel, algorithm, m, distance(x, m, axis), len(x)])
    return pd.DataFrame(rows, columns=[*PANEL, "algorithm", "minibatch", "distance", "n"])


def mcem_distances(candidates: Iterable[float]) -> pd.DataFrame:
    """The same for Monte Carlo EM in figure 3, whose unit is a number of passes over the training set: `passes`."""
    rows = []
    for n_train, drawn in _reports(3).query("algorithm == 'mcem'").groupby("n_train"):
        x = _abscissae(drawn)
        for passes in candidates:
            axis = fit_axis(x, passes * n_train, is_log=False)
            rows.append([int(n_train), passes, distance(x, passes * n_train, axis), len(x)])
    return pd.DataFrame(rows, columns=["n_train", "passes", "distance", "n"])


def mcem_axis(panel: pd.DataFrame) -> Axis:
    """The axis of a panel of figure 3 on which Monte Carlo EM reports after whole multiples of its unit."""
    unit = MCEM_PASSES * panel["n_train"].iloc[0]
    return fit_axis(_abscissae(panel[panel["algorithm"] == "mcem"]), unit, is_log=False)


def steps_of_mcem(n_train: int) -> str:
    """The steps, each MCEM_PASSES over the training set, after which Monte Carlo EM reports within the drawing."""
    panel = _reports(3).query("n_train == @n_train")
    samples = mcem_axis(panel).samples(_abscissae(panel[panel["algorithm"] == "mcem"]))
    return " ".join(f"{step:.0f}" for step in np.unique(np.round(samples / (MCEM_PASSES * n_train))))


def reports_before_the_axes() -> pd.DataFrame:
    """Figure 3: log p(x) at the last report below the axes [nats], by the line that leads from there to the next one.

    Per n_train and algorithm its `samples`, the value on `train` and `test`, and the gain from it to the next report,
    which is the first within the axes. Monte Carlo EM's is after its first step: the next is after 13, and reports are
    12 to 15 steps apart. That of AEVB and wake-sleep is taken to be as far from the next one as that is from its own
    next, which holds to a tenth. Monte Carlo EM with N = 50,000 is left out: many of its reports are below the axes.
    """
    rows = []
    for n_train, panel in vertices(3).groupby("n_train"):
        axis = mcem_axis(panel[~panel["is_cut"]])
        for algorithm, curves in panel.groupby("algorithm"):
            if (algorithm, n_train) == ("mcem", 50_000):
                continue
            first, second = np.sort(axis.samples(_abscissae(curves[~curves["is_cut"]])))[:2]
            samples = MCEM_PASSES * n_train if algorithm == "mcem" else first - (second - first)
            values: dict[str, float] = {}
            for split, curve in curves.groupby("split"):
                x, y = axis.samples(curve["samples_evaluated"].to_numpy()[:2]), curve["value"].to_numpy()[:2]
                gain = (y[1] - y[0]) / (x[1] - x[0]) * (x[1] - samples)
                values |= {split: y[1] - gain, f"gain_{split}": gain}
            rows.append({"n_train": int(n_train), "algorithm": algorithm, "samples": samples, **values})
    return pd.DataFrame(rows)[["n_train", "algorithm", "samples", "train", "test", "gain_train", "gain_test"]]


def largest_that_fits(table: pd.DataFrame, unit: str = "minibatch") -> pd.DataFrame:
    """Per panel the largest candidate of which every curve is within FITS, and the largest `distance` there.

    The largest, since a whole number of minibatches is one of each of their divisors, too.
    """
    panel = [name for name in PANEL if name in table]
    worst = table.groupby([*panel, unit], dropna=False, as_index=False)["distance"].max()
    return worst[worst["distance"] < FITS].groupby(panel, dropna=False, as_index=False).tail(1).reset_index(drop=True)


def starts() -> pd.DataFrame:
    """Figure 2: the bound after the first minibatch [nats], per path.

    The first report lies below the axes. A straight line over log10 of the samples joins it to the report that it is
    drawn with; what is visible of that line is continued here to x = M.
    """
    rows = []
    for key, (slope, level) in _lines_to_the_start().items():
        m = MINIBATCH[key[0]]
        rows.append([*key, m, level + slope * np.log10(m)])
    return pd.DataFrame(rows, columns=[*CURVE, "path", "samples", "start"])


def meetings() -> pd.DataFrame:
    """Figure 2: where the lines to the first report on train and on test meet, `samples` and `value` [nats], per run.

    No minibatch size enters: before the weights move, train and test have the same bound.
    """
    lines = _lines_to_the_start()
    rows = []
    for *run, split, path in lines:
        if split == "test" and path == 0:
            (b, a), (d, c) = lines[*run, "test", 0], lines[*run, "train", 0]
            u = (c - a) / (b - d)
            rows.append([*run, 10**u, a + b * u])
    return pd.DataFrame(rows, columns=[*CURVE[:-1], "samples", "value"])


def _lines_to_the_start() -> dict[tuple, tuple[float, float]]:
    """Slope [nats per decade] and level at x = 1 of the line that each path of figure 2 has to its first report.

    A curve's first path comes from there. A second path, a run that was started again, is drawn without lifting the
    pen: the line leads from the last report of the run before.
    """
    lines = {}
    for key, curve in vertices(2).groupby(CURVE):
        for at in np.flatnonzero(curve["is_cut"]):
            ends = curve.iloc[[at, at + 1 if at == 0 else at - 1]]
            slope, level = np.polyfit(np.log10(ends["samples_evaluated"]), ends["value"], 1)
            lines[*key, int(curve["path"].iloc[at])] = (float(slope), float(level))
    return lines


def first_dashed_points() -> pd.DataFrame:
    """Figure 2: the first point on train within the axes, per path: the mean bound over all minibatches until there.

    `steps` minibatches. `steps_at_start`: how many of them can have stayed at the start if none was better than the
    next report on train; NaN where the path has no next report.
    """
    keys = [*CURVE[:-1], "path"]
    start = starts().query("split == 'train'").set_index(keys)["start"]
    rows = []
    for key, path in vertices(2).query("split == 'train' and not is_cut").groupby(keys):
        x, value = path["samples_evaluated"].iloc[0], path["value"].iloc[0]
        steps = round(x / MINIBATCH[str(key[0])])
        following = path["value"].iloc[1] if len(path) > 1 else np.nan
        at_start = steps * (following - value) / (following - start[key])
        rows.append([*key, steps, value, at_start])
    return pd.DataFrame(rows, columns=[*keys, "steps", "value", "steps_at_start"])


def plateau() -> pd.DataFrame:
    """Wake-sleep on Frey Face: the paper's median bound from PLATEAU_FROM on [nats]; a row per n_latent."""
    asleep = vertices(2).query("dataset == 'frey_face' and algorithm == 'wake_sleep'")
    flat = asleep[asleep["samples_evaluated"] >= PLATEAU_FROM]
    return flat.groupby(["n_latent", "split"])["value"].median().unstack("split")


def lost_at_start(points: pd.DataFrame) -> pd.DataFrame:
    """Wake-sleep on Frey Face: what the first dashed point is below the plateau, summed over its samples [nats].

    `points` as `first_dashed_points` gives them; a row per n_latent. `lost` in all, `in_warm_up` while no weight moves.
    """
    is_asleep = "dataset == 'frey_face' and algorithm == 'wake_sleep'"
    points, top = points.query(is_asleep).set_index("n_latent"), plateau()["train"]
    start = starts().query(f"{is_asleep} and split == 'train'").set_index("n_latent")["start"]
    m = MINIBATCH["frey_face"]
    lost = pd.DataFrame({"lost": (top - points["value"]) * points["steps"] * m})
    return lost.assign(in_warm_up=(top - start) * config.WARM_UP_STEPS["wake_sleep"] * m)


def standard_gaussian(x: np.ndarray) -> float:
    """mean of log N(x; 1/2, 1) [nats], x [N, D]: a Gaussian decoder whose weights and biases are zero."""
    return float(np.mean(np.sum(-0.5 * (x - 0.5) ** 2 - 0.5 * np.log(2 * np.pi), axis=1, dtype=float)))


def independent_gaussians(x: np.ndarray, seeds: Iterable[int], n_train: int) -> pd.DataFrame:
    """The best independent Gaussian on train and test [nats] for splits of x [N, D] by `numpy.random.shuffle`.

    A row per seed. Sums over the splits are matrix products, so that a thousand of them take a second.
    """
    seeds = list(seeds)
    is_train = np.zeros((len(seeds), len(x)))
    for row, seed in zip(is_train, seeds, strict=True):
        row[np.random.RandomState(seed).permutation(len(x))[:n_train]] = 1
    n_test = len(x) - n_train
    x = x.astype(float)
    first, second = is_train @ x, is_train @ x**2
    mean = first / n_train
    variance = np.maximum(second / n_train - mean**2, MIN_STDDEV**2)
    squares = {
        "train": second / n_train - mean**2,
        "test": ((x**2).sum(0) - second - 2 * mean * (x.sum(0) - first)) / n_test + mean**2,
    }
    nats = {name: -0.5 * np.sum(np.log(2 * np.pi * variance) + s / variance, axis=1) for name, s in squares.items()}
    return pd.DataFrame(nats, index=pd.Index(seeds, name="seed"))


def perfect_fit(images: np.ndarray, divisor: int) -> pd.Series:
    """x log x + (1 - x) log(1 - x) per image [nats]: the most that a Bernoulli likelihood gives, by grey value.

    `images` are grey values from 0 to 255 as integers, [N, ...]; x is the grey value over `divisor`.
    """
    grey = np.arange(256)
    x = grey / divisor
    per_image = np.bincount(images.ravel(), minlength=256) / len(images)
    return pd.Series(per_image * (xlogy(x, x) + xlog1py(1 - x, -x)), index=pd.Index(grey, name="grey"))


def _reports(figure: int) -> pd.DataFrame:
    """The vertices of which the abscissa resolves a minibatch."""
    reports = vertices(figure)
    reports = reports[~reports["is_cut"]]
    return reports if figure == 3 else reports[reports["samples_evaluated"] < reports["dataset"].map(FAR)]


def _abscissae(reports: pd.DataFrame) -> np.ndarray:
    """Each once: the curves of train and test have the same."""
    return np.unique(reports["samples_evaluated"].to_numpy())


def _grid(limit: float, step: float) -> np.ndarray:
    return np.linspace(-limit, limit, 2 * int(np.ceil(limit / step)) + 1)


def _rms(values: np.ndarray) -> np.ndarray:
    return np.sqrt(np.mean(values**2, axis=-1))
