"""What the paper's drawings give away: whole minibatches, the start, the warm-up, the split."""

import matplotlib
import numpy as np
import pandas as pd
import pytest
from scipy.special import logsumexp

matplotlib.use("agg")

from replication import data, published
from replication.config import WARM_UP_STEPS, RunConfig
from replication.model import baselines, networks
from replication.paper import graphics
from replication.plots import graphics as drawings
from replication.runs import training
from replication.runs.checkpoints import Run
from replication.studies import first_steps

# The authors' code of April 2014, as far as a run of AEVB on MNIST in figure 2 goes.
AUTHORS = {
    "dataset": "mnist",
    "algorithm": "aevb",
    "n_hidden": 500,
    "samples_total": 1,
    "learning_rate": 0.02,
    "preparation": "authors",
    "initialisation": "near_zero",
    "warm_up_steps": 101,
    "prior_on": "authors",
}


@pytest.fixture(scope="module")
def starts() -> pd.DataFrame:
    return graphics.starts()


@pytest.fixture(scope="module")
def points() -> pd.DataFrame:
    return graphics.first_dashed_points()


@pytest.mark.parametrize("is_log", [True, False])
def test_an_axis_is_found_from_whole_numbers_and_from_nothing_else(is_log):
    # Abscissae of whole minibatches on an axis that is off by as much as the paper's. Fails if the fit misses the axis
    # or stops at its grid, and if so much is fitted that numbers from anywhere fit, too.
    rng = np.random.default_rng(0)
    unit, limit = (500, 6 * 10**6) if is_log else (5000, 6 * 10**7)
    true = unit * np.unique(rng.integers(10, limit // unit, 30))
    off = graphics.Axis(is_log, 6.0, 8e-6, -1.2e-5) if is_log else graphics.Axis(is_log, 3e7, -240.0, 4e-7)
    drawn = off.samples(true)
    axis = graphics.fit_axis(drawn, unit, is_log)
    assert graphics.distance(drawn, unit, axis) < 1e-3
    np.testing.assert_allclose(axis.samples(drawn), true, atol=1)
    anywhere = np.sort(rng.uniform(1000, limit, 30))
    assert graphics.distance(anywhere, unit, graphics.fit_axis(anywhere, unit, is_log)) > 0.2


@pytest.mark.parametrize(
    ("dataset", "m", "others"), [("mnist", 100, (50, 200, 500)), ("frey_face", 500, (100, 250, 313, 1000))]
)
def test_figure_2_reports_after_whole_minibatches(dataset, m, others):
    # r.m.s. 0.006 to 0.026 minibatches in every panel, where chance is 0.29. Fails with M = 313 (0.13 to 0.3), if the
    # cut of a path counts as a report, or if an axis has one number to fit: 30,000 minibatches need two.
    table = graphics.distances(2, (m, *others)).query("dataset == @dataset")
    of = table.groupby("minibatch")["distance"]
    assert of.max()[m] < 0.03
    assert all(of.min()[other] > 0.1 for other in others if m % other)
    found = graphics.largest_that_fits(table)
    assert len(found) == table["n_latent"].nunique() and set(found["minibatch"]) == {m}


def test_figure_3_reports_after_whole_minibatches_on_the_axis_of_monte_carlo_em():
    # Nothing is fitted to AEVB and wake-sleep here: 0.03 for N = 1000, 0.08 for 50,000.
    table = graphics.distances(3, (50, 100, 200, 500))
    assert table.query("minibatch == 100")["distance"].max() < 0.09
    assert table.query("minibatch > 100")["distance"].min() > 0.25
    assert list(graphics.largest_that_fits(table)["minibatch"]) == [100, 100]


def test_monte_carlo_em_reports_at_multiples_of_15_n():
    # All of 293 and 23 reports. Fails if they were at multiples of 5 N, the text's 5 updates, only.
    table = graphics.mcem_distances((5, 10, 15, 30, 45))
    assert table.query("passes == 15")["distance"].max() < 0.001
    assert table.query("passes in (10, 30, 45)")["distance"].min() > 0.1
    assert list(graphics.largest_that_fits(table, "passes")["passes"]) == [15, 15]


def test_monte_carlo_em_reports_after_its_first_step_and_every_second_one():
    # On the axis with a step of 15 N. Fails with 5 N, where the steps would be every sixth, from the third on.
    assert graphics.steps_of_mcem(50_000).split() == [str(step) for step in range(35, 81, 2)]


def test_the_first_report_of_monte_carlo_em_comes_after_a_step_that_moved_the_weights(load_or_skip):
    # By averages of p(x|z) over draws from the prior, which suffice where z hardly counts yet. Fails if the line is
    # followed to another step, or if a warm-up, or a smaller learning rate, led to the paper's value.
    load_or_skip("mnist")
    paper = graphics.reports_before_the_axes().set_index(["algorithm", "n_train"]).loc[("mcem", 1000)]
    assert paper["samples"] == 15_000 and graphics.steps_of_mcem(1000).split()[0] == "13"
    after = {
        (rate, steps): after_one_step(first_steps.MCEM.replace(learning_rate=rate, warm_up_steps=steps))
        for rate, steps in first_steps.RATES_AND_WARM_UPS
    }
    assert after[0.1, 2] == pytest.approx(-784 * np.log(2), abs=0.3)
    assert (
        abs(after[0.1, 0] - paper["train"])
        < 5
        < 30
        < min(abs(after[at] - paper["train"]) for at in after if at != (0.1, 0))
    )


def test_the_second_reports_of_figure_3_lie_half_way_to_the_third():
    # Reports come at equal times, and the first is after one minibatch. Fails if a line is followed to another report,
    # or if a cut counts as one: the gain would be 10 to 20 nats.
    before = graphics.reports_before_the_axes()
    panels = ["n_train", "algorithm"]
    third = graphics.vertices(3).query("not is_cut").groupby([*panels, "split"])[["samples_evaluated", "value"]].first()
    assert len(before) == 5
    for row in before.itertuples():
        for split in ("train", "test"):
            x, value = third.loc[(row.n_train, row.algorithm, split)]
            assert getattr(row, split) + getattr(row, f"gain_{split}") == pytest.approx(value)
            assert getattr(row, f"gain_{split}") > 35
            assert row.algorithm == "mcem" or row.samples == pytest.approx(x / 2, rel=0.05)


def after_one_step(config: RunConfig) -> float:
    """log p(x) of the training set [nats]."""
    dataset = data.load(config.dataset, config.preparation)
    run, _ = (engine := training.Engine(config, dataset)).advance(Run(engine.initial_state), 1)
    weights = networks.to_arrays(run.state.params)
    z = np.random.default_rng(0).normal(size=(2000, config.n_latent))
    h = np.tanh(z @ weights["decoder.hidden.w"] + weights["decoder.hidden.b"])
    logits = h @ weights["decoder.logits.w"] + weights["decoder.logits.b"]
    log_px_given_z = dataset.x_train[: config.n_train] @ logits.T - np.logaddexp(0, logits).sum(axis=1)
    return float(np.mean(logsumexp(log_px_given_z, axis=1) - np.log(len(z))))


def test_the_lines_of_train_and_test_meet_after_one_minibatch():
    # No M is put in. Fails if the first reports were later, or if train and test began apart.
    meetings = graphics.meetings()
    expected = meetings["dataset"].map(graphics.MINIBATCH)
    assert len(meetings) == 18
    np.testing.assert_allclose(meetings["samples"], expected, rtol=0.013)


def test_the_start_of_mnist_is_that_of_zero_weights(starts):
    # -784 ln 2, for train, test and the runs that the authors started again. Fails if a line is not continued to M, or
    # if a second run's line is taken from its second report.
    mnist = starts[starts["dataset"] == "mnist"]
    assert len(mnist) == 5 * 2 * 2 + 4 * 2
    assert mnist["start"].between(-784 * np.log(2) - 0.25, -784 * np.log(2) + 0.05).all()


def test_the_start_of_frey_face_is_computed_for_wake_sleep_and_lower_for_aevb(starts, load_or_skip):
    # Fails if AEVB's 1.8 nats are explained away, or with images over 255 (-526.4).
    load_or_skip("frey_face")
    zero = graphics.standard_gaussian(published.frey_face() / 256)
    assert zero == pytest.approx(-526.21, abs=0.01)
    below = starts[starts["dataset"] == "frey_face"].groupby("algorithm")["start"].agg(["min", "max"]) - zero
    assert below.loc["wake_sleep"].between(-0.1, 0.5).all() and below.loc["aevb"].between(-2.1, -1.6).all()


def test_aevb_starts_on_frey_face_as_softplus_units_do_with_some_seeds_and_tanh_units_with_none(starts, load_or_skip):
    # Fails if the units are not those of the run, or if the start depends on the number of latent variables.
    load_or_skip("frey_face")
    ours = first_steps.starts_of_units(first_steps.FREY_FACE["aevb"], (2, 20), range(8))
    paper = starts.query("dataset == 'frey_face' and algorithm == 'aevb'")["start"]
    assert np.ptp(ours["tanh"].to_numpy()) < 0.1 and ours["tanh"].min().min() > paper.max() + 1.5
    assert np.abs(ours["softplus", 2] - ours["softplus", 20]).max() < 0.2 < np.ptp(paper) < 0.4
    assert ours["softplus"].min().min() < paper.max() + 0.1 and np.ptp(ours["softplus", 2]) > 2


def test_the_start_on_mnist_is_that_of_tanh_units(starts, load_or_skip):
    # Fails if softplus units, which lower the start there by a nat and more, would pass for the paper's.
    load_or_skip("mnist")
    ours = first_steps.starts_of_units(RunConfig(**AUTHORS, n_latent=3), (3, 200), range(3))
    paper = starts.query("dataset == 'mnist' and algorithm == 'aevb'")["start"]
    assert ours["tanh"].min().min() > paper.min() - 0.1 and ours["softplus"].max().max() < paper.min() - 0.5


@pytest.mark.parametrize("panel", [("aevb", 3), ("aevb", 200), ("wake_sleep", 10)], ids=str)
def test_a_run_starts_where_the_paper_does(panel, starts, load_or_skip):
    # Fails with any other initialisation of ours: N(0, 0.01) as a variance is at -593 to -1147, the authors' newest
    # code at -577 to -592.
    load_or_skip("mnist")
    algorithm, n_latent = panel
    run = RunConfig(**{**AUTHORS, "algorithm": algorithm, "n_latent": n_latent})
    paper = starts.query("dataset == 'mnist' and split == 'test' and algorithm == @algorithm and n_latent == @n_latent")
    ours = first_steps.begin(run, n_steps=0).test
    assert -543.7 < ours < -543.4
    assert ours == pytest.approx(paper["start"].iloc[0], abs=0.25)


def test_every_first_dashed_point_has_room_for_the_warm_up(points):
    # 125.0 to 125.2 minibatches for wake-sleep on Frey Face, whatever the number of latent variables, and more
    # everywhere else. Fails if the count begins after the warm-up.
    room = points.set_index(["dataset", "algorithm", "n_latent"])["steps_at_start"].dropna().sort_index()
    assert len(room) == 21 and room.min() > WARM_UP_STEPS["aevb"]
    asleep = room["frey_face", "wake_sleep"]
    assert asleep.min() == room.min() and np.ptp(asleep) < 0.3
    lost = graphics.lost_at_start(points)
    assert np.ptp(lost["lost"]) < 0.002 * lost["lost"].mean()
    assert (lost["in_warm_up"] / lost["lost"]).between(0.79, 0.81).all()


def test_gaussians_of_many_splits_are_those_of_each():
    # The oracle is the baseline that the runs are compared with. Fails if train and test are exchanged, or if a
    # shuffle is not numpy's.
    x = np.random.default_rng(0).uniform(size=(60, 7)) ** 2
    found = graphics.independent_gaussians(x, (0, 5), n_train=40)
    for seed in (0, 5):
        order = np.arange(60)
        np.random.RandomState(seed).shuffle(order)
        train, test = x[order[:40]], x[order[40:]]
        expected = [baselines.independent_gaussian(train, split).mean() for split in (train, test)]
        np.testing.assert_allclose(found.loc[seed, ["train", "test"]], expected, rtol=1e-9)


def test_few_shuffles_come_as_close_to_the_plateau_as_seed_0(load_or_skip):
    load_or_skip("frey_face")
    paper, frames = graphics.plateau().mean(), published.frey_face() / 256
    seeds = graphics.independent_gaussians(frames, range(200), n_train=1565)
    off = (seeds - paper).abs()
    assert (off.loc[0] < 0.4).all()
    assert (off <= off.loc[0]).all(axis=1).mean() < 0.03


def test_a_perfect_fit_is_the_entropy_of_the_grey_values():
    # Against the sum over the pixels of each image.
    images = np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8)
    images[0, 0, 0] = 255
    for divisor in (255, 256):
        x = images / divisor
        with np.errstate(divide="ignore", invalid="ignore"):
            per_pixel = np.nan_to_num(x * np.log(x)) + np.nan_to_num((1 - x) * np.log(1 - x))
        assert graphics.perfect_fit(images, divisor).sum() == pytest.approx(per_pixel.sum() / 5)


def test_the_picture_of_the_starts_joins_each_path_to_its_start(starts):
    # Fails if a line leads to the start of another path.
    first, _ = drawings.starts(graphics.vertices(2), starts, {}).axes
    mnist = starts.query("dataset == 'mnist' and path == 0")
    marks = [line.get_xydata() for line in first.lines if line.get_marker() == "o"]
    assert sorted(mark[0, 1] for mark in marks) == sorted(mnist["start"])
    drawn = graphics.vertices(2).query("dataset == 'mnist' and path == 0 and point == 0")
    joints = {(line.get_xdata()[1], line.get_ydata()[1]) for line in first.lines if len(line.get_xdata()) == 2}
    assert joints >= set(zip(drawn["samples_evaluated"], drawn["value"], strict=True))


def test_the_picture_of_the_minibatches_dips_at_the_answer():
    candidates = range(90, 111)
    tables = {figure: graphics.distances(figure, candidates) for figure in (2, 3)}
    axes = drawings.minibatches(tables, graphics.mcem_distances(range(12, 18))).axes
    dips = [line.get_xdata()[np.argmin(line.get_ydata())] for line in (axes[i].lines[0] for i in (0, 2, 3))]
    assert dips == [100, 100, 15]


def test_the_picture_of_the_warm_up_has_each_point_in_the_row_of_its_panel(points):
    (axes,) = drawings.warm_up(points, 101).axes
    rows = [label.get_text() for label in axes.get_yticklabels()]
    assert len(rows) == 9 and {"Frey Face, Nz = 2", "MNIST, Nz = 200"} <= set(rows)
    (marks,) = axes.collections
    asleep = [x for x, row in marks.get_offsets() if rows[round(row)].startswith("Frey Face") and x < 130]
    assert len(asleep) == 4 and axes.lines[0].get_xdata()[0] == 101


def test_the_other_pictures_draw_the_numbers_that_they_are_given(starts, points):
    # Fails if train and test are exchanged, if a divisor has another's bars, or if AEVB has wake-sleep's start.
    seeds = pd.DataFrame({"train": [1.0, 2.0], "test": [3.0, 5.0]})
    left, right = drawings.splits({10: seeds, 20: seeds + 1}, seeds, seed=1).axes
    assert left.lines[1].get_xydata().tolist() == [[2, 5]] and right.lines[1].get_xydata().tolist() == [[3, 6]]
    grey = pd.Series(-np.arange(256.0), index=range(256))
    (axes,) = drawings.scale({255: grey, 256: 2 * grey}, brightest=3).axes
    assert [bar.get_height() for bar in axes.patches] == [-253, -254, -255, -506, -508, -510]
    left, right = drawings.open_questions(starts, points, {}).axes
    aevb, asleep = (line.get_ydata() for line in left.lines)
    assert max(aevb) < -527 < min(asleep) and max(right.lines[1].get_ydata()) < 126


@pytest.mark.drift
def test_the_first_dashed_points_of_three_panels_are_the_papers(record_property, load_or_skip):
    # AEVB on MNIST with 3, 5 and 10 latent variables, trained to the paper's first report with three seeds each, two
    # minutes. Fails without the warm-up (25 nats above), with a learning rate of 0.01 (10 nats above), with heads that
    # do not start at zero (6 nats below), or where the mean leaves the warm-up out.
    load_or_skip("mnist")
    panels, seeds = [3, 5, 10], range(3)
    paper = graphics.first_dashed_points().query("dataset == 'mnist' and algorithm == 'aevb'").set_index("n_latent")
    ours = np.array([[_first_dashed_point(n, paper.loc[n, "steps"], seed) for seed in seeds] for n in panels])
    difference = ours.mean(axis=1) - paper.loc[panels, "value"].to_numpy()
    spread = np.sqrt(ours.var(axis=1, ddof=1).mean())  # of one run over seeds; the paper's point is one run, too
    record_property("said", f"first dashed points, ours minus the paper's: {difference.round(2)}, s.d. {spread:.2f}")
    assert (np.abs(difference) < 3 * spread * np.sqrt(1 + 1 / len(seeds))).all()


def _first_dashed_point(n_latent: int, steps: int, seed: int) -> float:
    return first_steps.begin(RunConfig(**AUTHORS, n_latent=n_latent, seed=seed), int(steps)).mean_on_train
