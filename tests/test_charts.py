"""The charts draw the numbers that they are given, in the panel where they belong."""

import itertools

import matplotlib
import numpy as np
import pandas as pd
import pytest

matplotlib.use("agg")

from replication.paper import reference, verdict
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


def texts(axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


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


def test_the_heat_map_of_readings_names_every_value_and_the_papers():
    rows = [
        {"dataset": "mnist", "algorithm": "aevb", "n_latent": 20, "initialisation": name, "learning_rate": rate,
         "ours": -120.5 - i if i < 2 else -3e12, "difference": 4.0 - i, "paper": -124.5}
        for i, (name, rate) in enumerate(itertools.product(("fan_in", "paper_sd"), (0.01, 0.02)))
    ]  # fmt: skip
    (axes,) = charts.heat_map(pd.DataFrame(rows[:3])).axes
    assert texts(axes) == ["-120.5", "-121.5", "-3e+12", "not finite"]
    assert axes.get_title().endswith("paper: -124.5") and "Nz = 20" in axes.get_title()


def test_either_reading_is_drawn_over_the_papers_curve():
    curves = pd.DataFrame([
        {"dataset": "mnist", "algorithm": "aevb", "n_latent": 20, "samples_evaluated": x, "split": split,
         "reading": reading, "bound": RNG.normal(-120)}
        for x, split, reading in itertools.product((1e6, 3e6), ("train", "test"), ("grey", "binarised"))
    ])  # fmt: skip
    paper = reference.load(2)
    (axes,) = charts.readings(curves, paper).axes
    drawn = {line.get_label(): tuple(line.get_ydata()) for line in axes.lines}
    for reading, split in itertools.product(("grey", "binarised"), ("train", "test")):
        expected = curves.query(f"reading == '{reading}' and split == '{split}'")["bound"]
        assert drawn[f"{reading} ({split})"] == tuple(expected)
    of = paper.query("dataset == 'mnist' and n_latent == 20 and algorithm == 'aevb' and split == 'test'")
    assert drawn["paper (test)"] == tuple(of["value"])


def test_the_verdict_shows_every_curve_with_its_class():
    # Fails if a row of one curve shows another's difference.
    ours = pd.DataFrame([{"dataset": "mnist", "n_latent": 20, "algorithm": "aevb", "split": "test", "bound": -120.0,
                          "bound_se": 0.3, "samples_evaluated": 1_000_000}])  # fmt: skip
    compared = verdict.compare_with_paper(ours)
    judged = verdict.judge(compared)
    train, test = charts.verdict({2: compared}, {2: judged}).axes
    names = [label.get_text() for label in train.get_yticklabels()]
    assert len(names) == 18 and names.count("MNIST, Nz = 20, AEVB") == 1
    at = names.index("MNIST, Nz = 20, AEVB")
    assert [text.get_text() for text in test.texts if text.get_position()[1] == at] == [
        f"{compared['difference'].item():+.1f}",
        "above",
    ]
    assert sum(text.get_text() == "not run" for text in (*train.texts, *test.texts)) == 35
