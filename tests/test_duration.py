"""How long training takes is said before it begins, from the speed of recorded runs."""

import pytest

from replication import paths
from replication.config import RunConfig
from replication.runs import device, duration, records

MNIST = RunConfig(dataset="mnist", algorithm="aevb", n_latent=3, n_hidden=100, samples_total=10**7, metric="log_px")
LEAD = "To be trained: {} at a time. "


def test_a_duration_is_that_of_samples_over_recorded_speed_and_of_evaluations(tmp_path, monkeypatch):
    # By hand: 1e7 samples at 5.8e4 per second, the middle of such records, and 8 evaluation points.
    # Fails if runs side by side count one after another, or if a GPU's speed is taken for a core's.
    monkeypatch.setattr(device, "runs_side_by_side", lambda: 2)
    one = duration._seconds(MNIST, tmp_path)
    assert one == pytest.approx(15 + 8 * 24 + 1e7 / 5.8e4, rel=0.2)
    said = duration.in_words([MNIST.replace(seed=seed) for seed in range(4)], tmp_path)
    minutes = f"At the speed of recorded runs that takes about {2 * one / 60:.0f} minutes."
    assert said == LEAD.format("4 runs, 2") + minutes


def test_where_no_run_is_alike_it_says_so(tmp_path, tiny):
    said = duration.in_words([tiny], tmp_path)
    assert said == LEAD.format("1 run, 1") + "How long that takes is shown as they go: no recorded run is like them."


def test_a_minibatch_of_another_size_has_another_speed():
    # Fails if M = 1, a hundred times as many steps, is told the time of M = 100.
    folder = paths.runs("paper")
    assert duration._seconds(MNIST.replace(batch_size=1), folder) is None
    assert duration._seconds(MNIST.replace(batch_size=500, seed=99), folder) > 0, "recorded, too"


def test_what_is_recorded_already_is_taken_off():
    # Fails if a run that goes on is counted from its start.
    folder = paths.runs("paper")
    longer = MNIST.replace(samples_total=10**9, learning_rate=0.1, initialisation="fan_in", n_train=1000)
    recorded = records.require(longer, folder).samples_evaluated
    whole, rest = duration._seconds(longer.replace(seed=99), folder), duration._seconds(longer, folder)
    assert recorded == 5_000_000  # its evaluation points are 6
    assert whole - rest == pytest.approx(6 * 24 + recorded / 5.8e4, rel=0.2)
