"""The charts draw the numbers that they are given, in the panel where they belong."""

import itertools

import matplotlib
import numpy as np
import pandas as pd
import pytest

matplotlib.use("agg")

from replication.paper.changes import NO_CHANGE
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
        {"dataset": "mnist", "samples_evaluated": x, "seconds": x / 10, "split": split, "estimator": name,
         "batch_size": m, "n_mc_samples": n, "value": RNG.normal() - 500 * (name == "score_function")}
        for x, split, name, m, n in rows
    ])  # fmt: skip


def test_variances_and_ratios_stand_in_their_panels(variance):
    # Fails if a panel shows another column, another network, another M or another stage of the training.
    left, right = charts.gradient_variance(variance).axes
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
    # Fails if the enlarged axis reaches down to the outlier, if a panel lacks a curve, or if the curves are on train.
    one_size = training.query("batch_size == 100 and n_mc_samples == 1")
    enlarged, whole = charts.estimators(one_size).axes
    test = one_size[one_size["split"] == "test"]
    for axes in (enlarged, whole):
        for line, name in zip(axes.lines, palette.ESTIMATORS, strict=True):
            curve = test[test["estimator"] == name]
            assert list(line.get_xdata()) == list(curve["samples_evaluated"])
            assert list(line.get_ydata()) == list(curve["value"])
    assert enlarged.get_ylim()[0] > -10 and whole.get_ylim()[0] < -490
    assert "below this axis: score function" in enlarged.get_title()


def test_minibatch_sizes_differ_in_shade_and_samples_in_markers(training):
    (axes,) = charts.minibatches(training[training["estimator"] == "sgvb_b"]).axes
    test = training.query("estimator == 'sgvb_b' and split == 'test'")
    for line, (_, curve) in zip(axes.lines, test.groupby(["batch_size", "n_mc_samples"]), strict=True):
        assert list(line.get_xdata()) == list(curve["samples_evaluated"])
        assert list(line.get_ydata()) == list(curve["value"])
    looks = [(line.get_color(), line.get_markerfacecolor() == "white") for line in axes.lines]
    assert looks[0][0] == looks[1][0] != looks[2][0] and [is_open for _, is_open in looks] == [False, True] * 2


def test_full_vb_shows_both_predictive_bounds_and_map():
    rows = itertools.product(("aevb", "full_vb"), (3, 10), (100, 1000), ("train", "test"))
    names = ("value", "bound_sampled", "bound_at_mean")
    last = pd.DataFrame([
        {"dataset": "mnist", "algorithm": algorithm, "n_latent": z, "n_train": n, "split": split,
         **{name: RNG.normal() for name in names}}
        for algorithm, z, n, split in rows
    ])  # fmt: skip
    higher = last.assign(**{name: last[name] + 100 for name in names})
    figure = charts.full_vb({"changed": higher, "standard": last, "not run": last.iloc[:0]})
    panels = itertools.product((("changed", higher), ("standard", last)), (3, 10))
    for axes, ((name, table), n_latent) in zip(figure.axes, panels, strict=True):
        assert axes.get_title() == f"{name}, $N_z$ = {n_latent}"
        of = table[table["n_latent"] == n_latent]
        expected = {tuple(curve["value"]) for _, curve in of[of["algorithm"] == "aevb"].groupby("split")}
        for name in names[1:]:
            expected |= {tuple(curve[name]) for _, curve in of[of["algorithm"] == "full_vb"].groupby("split")}
        assert {tuple(line.get_ydata()) for line in axes.lines} == expected and len(expected) == 6


def test_the_standard_runs_are_dotted_in_the_colours_of_the_changed_ones(training):
    # Fails if a change has nothing beside it, if the two cannot be told apart, or if a curve has another's colour.
    made = NO_CHANGE._replace(words="changed", standard=training.assign(value=training["value"] + 10))
    one_size = training.query("batch_size == 100 and n_mc_samples == 1")
    made_of_one = made._replace(standard=made.standard.loc[one_size.index])
    of_sgvb_b = training["estimator"] == "sgvb_b"
    made_of_sizes = made._replace(standard=made.standard[of_sgvb_b])
    by_estimator, by_size = (
        charts.estimators(one_size, made_of_one),
        charts.minibatches(training[of_sgvb_b], made_of_sizes),
    )
    for axes in (*by_estimator.axes, *by_size.axes):
        lines = {line.get_label(): line for line in axes.lines}
        standard = {label.removesuffix(", standard"): line for label, line in lines.items() if "standard" in label}
        assert len(standard) == 4 and len(lines) == 8
        for label, line in standard.items():
            assert line.get_linestyle() == ":" and lines[label].get_linestyle() == "-"
            assert line.get_color() == lines[label].get_color()
            np.testing.assert_allclose(line.get_ydata(), np.array(lines[label].get_ydata()) + 10)


def test_each_dataset_has_panels_of_its_own(training):
    # Fails if one line goes through the bounds of MNIST and of digits, which lie 1000 nats higher here.
    def of_both(table: pd.DataFrame) -> pd.DataFrame:
        values = {name: table[name] + 1000 for name in ("value", "bound_sampled", "bound_at_mean") if name in table}
        return pd.concat([table, table.assign(dataset="digits", **values)])

    one_size, by_size = (
        training.query("batch_size == 100 and n_mc_samples == 1"), training.query("estimator == 'sgvb_b'")
    )  # fmt: skip
    full_vb = pd.DataFrame([
        {"dataset": "mnist", "algorithm": algorithm, "n_latent": 3, "n_train": n, "split": split, "value": -1.0,
         "bound_sampled": -2.0, "bound_at_mean": -3.0}
        for algorithm, n, split in itertools.product(("aevb", "full_vb"), (100, 1000), ("train", "test"))
    ])  # fmt: skip
    for figure in (
        charts.estimators(of_both(one_size), NO_CHANGE._replace(standard=of_both(one_size))),
        charts.minibatches(of_both(by_size)),
        charts.full_vb({"": of_both(full_vb)}),
    ):
        on_mnist, on_digits = np.split(np.array(figure.axes), 2)
        for panels, is_digits, name in ((on_mnist, False, "MNIST"), (on_digits, True, "Digits (not MNIST)")):
            for axes in panels:
                assert axes.get_title().startswith(name)
                assert axes.lines and all(len(line.get_ydata()) == 2 for line in axes.lines)
                assert {value > 300 for line in axes.lines for value in line.get_ydata()} == {is_digits}


def test_growth_has_values_on_its_logarithmic_axis():
    # Fails if the axis has no number: the speeds of one machine rarely span a power of ten.
    growth = pd.DataFrame([
        {"varied": size, "value": value, "samples_per_second": rate, "lowest": rate - 100, "highest": rate + 100}
        for size in charts.SIZES
        for value, rate in ((1, 11_000), (2, 75_000))
    ])  # fmt: skip
    figure = charts.benchmark(None, growth, {})
    figure.canvas.draw()
    axes = figure.axes[0]
    low, high = axes.get_ylim()
    labels = [tick.label1.get_text() for tick in axes.yaxis.get_major_ticks() if low <= tick.get_loc() <= high]
    assert {"20,000", "50,000"} <= set(labels)


def test_each_bar_of_the_benchmark_is_that_of_its_label():
    # Fails if labels are turned around and lengths are not.
    peers = pd.DataFrame({
        "contender": ["engine", "jax", "sgemm"], "arrangement": "a run per core", "samples_per_second": [30.0, 20, 90],
        "lowest": [29.0, 18, 85], "highest": [31.0, 25, 91],
    })  # fmt: skip
    contenders = {"engine": "this engine", "jax": "JAX", "sgemm": "matrix products"}
    (axes,) = charts.benchmark(peers, None, contenders).axes
    labels = [label.get_text() for label in axes.get_yticklabels()]
    lengths = [bar.get_width() for bar in axes.patches]
    assert dict(zip(labels, lengths, strict=True)) == {"this engine": 30, "JAX": 20, "matrix products": 90}
    assert labels[-1] == "this engine", "on top"
