"""The bound on train: the mean of the minibatches' bound over the last samples, wherever a run was cut."""

import numpy as np
import pytest

from replication import data
from replication.config import RunConfig
from replication.runs import checkpoints, running_mean, training


def sums_of(objectives: np.ndarray, samples_per_step: int, cuts: set[int] = frozenset()) -> tuple:
    """What training keeps, where calls end at every mark and at `cuts`."""
    totals, squares = np.cumsum(objectives), np.cumsum(objectives**2)
    sums, step = running_mean.START, 0
    while step < len(objectives):
        ends = [running_mean.next_mark(step, samples_per_step), len(objectives), *(cut for cut in cuts if cut > step)]
        step = min(ends)
        now = running_mean.Sums(step, totals[step - 1], squares[step - 1])
        sums = running_mean.append(sums, now, samples_per_step)
    return sums


@pytest.mark.parametrize(
    ("samples_per_step", "n_steps"), [(100, 10_000), (100, 2500), (313, 3195), (313, 2716), (20, 40_000)]
)
def test_the_mean_goes_over_the_last_report(samples_per_step, n_steps):
    # Against numpy on all objectives. Fails if the window is of another length, or begins with a run. After 2716 steps
    # of 313 the report begins 799 steps back, since a mark lies a step beside: one of 798 would begin at the next mark.
    objectives = np.random.default_rng(0).normal(np.linspace(-500, -100, n_steps), 3)
    found = running_mean.bound(sums_of(objectives, samples_per_step), samples_per_step)
    window = objectives[-(running_mean.REPORT_SAMPLES // samples_per_step + 1) :]
    assert found["value"] == pytest.approx(window.mean(), abs=400 / n_steps)  # a mark may lie a step beside
    assert found["se"] == pytest.approx(window.std() / len(window) ** 0.5, rel=0.01)


def test_before_the_first_report_the_mean_goes_over_all_minibatches():
    objectives = np.linspace(-300, -200, 1000)
    assert running_mean.bound(sums_of(objectives, 100), 100)["value"] == pytest.approx(objectives.mean())


@pytest.mark.parametrize("samples_per_step", [100, 313])
def test_where_a_run_is_cut_does_not_matter(samples_per_step):
    # Fails if the window begins at the end of an earlier run instead of at a mark; and the sums must not pile up.
    objectives = np.random.default_rng(1).normal(-100, 3, 9000)
    whole, cut = (sums_of(objectives, samples_per_step, cuts) for cuts in (set(), {7, 1234, 8999}))
    assert whole == cut and len(whole) < 10


def test_train_is_the_mean_over_the_minibatches_of_the_run(tmp_path):
    # Against the steps one by one. Fails if the curve's train row shows another model's or another split's bound.
    config = RunConfig(dataset="digits", algorithm="aevb", n_latent=2, n_hidden=8, samples_total=1500)
    row = training.train(config, tmp_path).curve.query("measure == 'running_mean'").iloc[-1]
    engine = training.Engine(config, data.load("digits"))
    run, objectives = checkpoints.Run(engine.initial_state), []
    for step in range(1, 16):
        run, objective = engine.advance(run, step)
        objectives.append(objective)
    assert row["value"] == pytest.approx(np.mean(objectives), abs=1e-4)
    assert row["se"] == pytest.approx(np.std(objectives) / 14**0.5, abs=1e-3)
