"""The charts draw the numbers that they are given, in the panel where they belong."""

import itertools

import matplotlib
import numpy as np
import pandas as pd
import pytest

matplotlib.use("agg")

from replication.plots import charts

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def variance() -> pd.DataFrame:
    rows = itertools.product((0, 1000), charts.ESTIMATORS, ((100, 1), (100, 2), (10, 1)), ("encoder", "decoder"))
    return pd.DataFrame([
        {"samples_evaluated": point, "estimator": name, "batch_size": m, "n_mc_samples": n, "network": network,
         "variance": RNG.uniform(1, 9), "variance_se": 0.1, "ratio": RNG.uniform(1, 9), "ratio_se": 0.1}
        for point, name, (m, n), network in rows
    ])  # fmt: skip


def test_variances_and_ratios_stand_in_their_panels(variance):
    # Fails if a row shows another column, another network, or another stage of the training.
    figure = charts.gradient_variance(variance, variance)
    grid = np.array(figure.axes).reshape(4, 2)
    rows = itertools.product(("n_mc_samples", "batch_size"), ("variance", "ratio"))
    for axes_of_row, (by, value) in zip(grid, rows, strict=True):
        for axes, point in zip(axes_of_row, (0, 1000), strict=True):
            encoder = variance.query(f"samples_evaluated == {point} and network == 'encoder'").sort_values(by)
            fixed = encoder["batch_size"] == 100 if by == "n_mc_samples" else encoder["n_mc_samples"] == 1
            curves = dict(list(encoder[fixed].groupby("estimator")))
            drawn = [tuple(bars.lines[0].get_ydata()) for bars in axes.containers]
            assert drawn == [tuple(curves[name][value]) for name in charts.ESTIMATORS]
    assert [axes.get_title() for axes in grid[0]] == ["at initialisation", "after 1,000 samples"]


def test_compared_curves_are_those_on_test():
    curves = pd.DataFrame(
        [{"samples_evaluated": x, "seconds": x / 10, "split": split, "size": size, "bound": RNG.normal()}
         for x, split, size in itertools.product((1, 2), ("train", "test"), ("a", "b"))]
    )  # fmt: skip
    left, right = charts.compared(curves, "size").axes
    test = curves[curves["split"] == "test"]
    for axes, x in ((left, "samples_evaluated"), (right, "seconds")):
        for line, (_, curve) in zip(axes.lines, test.groupby("size"), strict=True):
            assert list(line.get_xdata()) == list(curve[x]) and list(line.get_ydata()) == list(curve["bound"])


def test_full_vb_shows_both_predictive_bounds_and_map():
    rows = itertools.product(("aevb", "full_vb"), (3, 10), (100, 1000), ("train", "test"))
    names = ("bound", "bound_sampled", "bound_at_mean")
    last = pd.DataFrame([
        {"algorithm": algorithm, "n_latent": z, "n_train": n, "split": split, **{name: RNG.normal() for name in names}}
        for algorithm, z, n, split in rows
    ])  # fmt: skip
    for axes, n_latent in zip(charts.full_vb(last).axes, (3, 10), strict=True):
        of = last[last["n_latent"] == n_latent]
        expected = {tuple(curve["bound"]) for _, curve in of[of["algorithm"] == "aevb"].groupby("split")}
        for name in names[1:]:
            expected |= {tuple(curve[name]) for _, curve in of[of["algorithm"] == "full_vb"].groupby("split")}
        assert {tuple(line.get_ydata()) for line in axes.lines} == expected and len(expected) == 6
