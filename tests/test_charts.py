"""The charts draw the numbers that they are given, in the panel where they belong."""

import itertools

import matplotlib
import numpy as np
import pandas as pd
import pytest

matplotlib.use("agg")

from replication.paper import reference, verdict
from replication.plots import charts, palette

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def variance() -> pd.DataFrame:
    rows = itertools.product((0, 1000), palette.ESTIMATORS, ((100, 1), (100, 2), (10, 1)), ("encoder", "decoder"))
    return pd.DataFrame([
        {"samples_evaluated": point, "estimator": name, "batch_size": m, "n_mc_samples": n, "network": network,
         "variance": RNG.uniform(1, 9), "variance_se": 0.1, "ratio": RNG.uniform(1, 9), "ratio_se": 0.1}
        for point, name, (m, n), network in rows
    ])  # fmt: skip


@pytest.fixture(scope="module")
def training() -> pd.DataFrame:
    rows = itertools.product((1, 2), ("train", "test"), palette.ESTIMATORS, (20, 100), (1, 5))
    return pd.DataFrame([
        {"samples_evaluated": x, "seconds": x / 10, "split": split, "estimator": name, "batch_size": m,
         "n_mc_samples": n, "bound": RNG.normal() - 500 * (name == "score_function")}
        for x, split, name, m, n in rows
    ])  # fmt: skip


def texts(axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_variances_and_ratios_stand_in_their_panels(variance):
    # Fails if a panel shows another column, another network, another M or another stage of the training.
    left, right = charts.gradient_variance(variance, variance).axes
    encoder = variance.query("network == 'encoder' and batch_size == 100").sort_values("n_mc_samples")
    for axes, column, rows in (
        (left, "variance", encoder.query("samples_evaluated == 1000")),
        (right, "ratio", encoder.query("n_mc_samples == 2")),
    ):
        drawn = [tuple(bars.lines[0].get_ydata()) for bars in axes.containers]
        assert drawn == [tuple(rows.loc[rows["estimator"] == name, column]) for name in palette.ESTIMATORS]
    assert left.get_title() == "after 1,000 training samples"
    assert [label.get_text() for label in right.get_xticklabels()] == ["0", "1e3"]


def test_no_estimator_flattens_the_others(training):
    # Fails if the upper axis reaches down to the outlier, if a panel lacks a curve, or if the curves are on train.
    one_size = training.query("batch_size == 100 and n_mc_samples == 1")
    grid = charts.estimators(one_size).axes
    test = one_size[one_size["split"] == "test"]
    for axes, x in zip(grid, ("samples_evaluated", "seconds") * 2, strict=True):
        for line, name in zip(axes.lines, palette.ESTIMATORS, strict=True):
            curve = test[test["estimator"] == name]
            assert list(line.get_xdata()) == list(curve[x]) and list(line.get_ydata()) == list(curve["bound"])
    assert grid[0].get_ylim()[0] > -10 and grid[2].get_ylim()[0] < -490
    assert "below this axis: score function" in grid[0].get_title()


def test_minibatch_sizes_differ_in_shade_and_samples_in_markers(training):
    row = charts.minibatches(training[training["estimator"] == "sgvb_b"]).axes
    test = training.query("estimator == 'sgvb_b' and split == 'test'")
    for axes, x in zip(row, ("samples_evaluated", "seconds"), strict=True):
        for line, (_, curve) in zip(axes.lines, test.groupby(["batch_size", "n_mc_samples"]), strict=True):
            assert list(line.get_xdata()) == list(curve[x]) and list(line.get_ydata()) == list(curve["bound"])
        looks = [(line.get_color(), line.get_markerfacecolor() == "white") for line in axes.lines]
        assert looks[0][0] == looks[1][0] != looks[2][0] and [is_open for _, is_open in looks] == [False, True] * 2


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
    axes, bar = charts.heat_map(pd.DataFrame(rows[:3])).axes
    assert texts(axes) == ["-120.5", "-121.5", "-3e+12", "not finite"]
    assert axes.get_title().endswith("paper: -124.5") and "Nz = 20" in axes.get_title()
    assert bar.get_ylabel() == "ours minus the paper's [nats]"


def test_a_data_set_has_one_colour_bar():
    # Fails if two heat maps of one scale have a bar each, or if another dataset's scale goes without.
    rows = [
        {"dataset": dataset, "algorithm": algorithm, "n_latent": 20, "initialisation": "fan_in", "learning_rate": 0.01,
         "ours": 0.0, "difference": 0.0, "paper": 0.0}
        for dataset, algorithm in itertools.product(("mnist", "frey_face"), ("aevb", "wake_sleep"))
    ]  # fmt: skip
    bars = [axes for axes in charts.heat_map(pd.DataFrame(rows)).axes if axes.get_label() == "<colorbar>"]
    assert [bar.get_ylim() for bar in bars] == [
        (-charts.FAR[name], charts.FAR[name]) for name in ("mnist", "frey_face")
    ]


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
