"""How long training takes is said before it begins, from the speed of recorded runs."""

from pathlib import Path

import pytest

from replication.config import RunConfig
from replication.runs import device, duration, records

MNIST = RunConfig(dataset="mnist", algorithm="aevb", n_latent=3, n_hidden=100, samples_total=10**7, metric="log_px")
LEAD = "To be trained: {} at a time. "
SPEED = 50_000  # samples per second of the recorded run in the middle


@pytest.fixture
def folder(tmp_path) -> Path:
    """Records of runs of unequal speed to 5e6 samples, one of them on a GPU."""
    speeds = {0: SPEED, 1: 0.5 * SPEED, 2: 2 * SPEED, 3: 100 * SPEED}
    for seed, speed in speeds.items():
        rows = [
            {"samples_evaluated": 5_000_000, "split": "test", "measure": "evaluated", "value": -1.0, "seconds": 1.0}
        ]
        contributor = {"cpu": "a processor", "device": "a GPU" if seed == 3 else "CPU"}
        facts = {"contributors": [contributor], "seconds": 5_000_000 / speed}
        records.save(MNIST.replace(seed=seed), rows, facts, tmp_path)
    return tmp_path


def test_a_duration_is_that_of_samples_over_recorded_speed_and_of_evaluations(folder, monkeypatch):
    # Fails if runs side by side count one after another, or if a GPU's speed is taken for a core's.
    monkeypatch.setattr(device, "runs_side_by_side", lambda: 2)
    one = 15 + 8 * 24 + 1e7 / SPEED
    assert duration._seconds(MNIST.replace(seed=99), folder) == pytest.approx(one), "8 evaluation points"
    said = duration.in_words([MNIST.replace(seed=seed) for seed in range(90, 94)], folder)
    minutes = f"At the speed of recorded runs that takes about {2 * one / 60:.0f} minutes."
    assert said == LEAD.format("4 runs, 2") + minutes


def test_where_no_run_is_alike_it_says_so(tmp_path, tiny):
    said = duration.in_words([tiny], tmp_path)
    assert said == LEAD.format("1 run, 1") + "How long that takes is shown as they go: no recorded run is like them."


def test_a_minibatch_of_another_size_has_another_speed(folder):
    # Fails if M = 1, a hundred times as many steps, is told the time of M = 100.
    assert duration._seconds(MNIST.replace(batch_size=1), folder) is None


def test_an_evaluation_of_fewer_datapoints_is_shorter(folder):
    # Fails if a profile that estimates log p(x) on fewer datapoints is told the time of all.
    whole, fifth = (duration._seconds(MNIST.replace(seed=99, n_evaluated=n), folder) for n in (1000, 200))
    assert whole - fifth == pytest.approx(8 * 24 * 4 / 5)


def test_what_is_recorded_already_is_taken_off(folder):
    # Fails if a run that goes on is counted from its start.
    whole, rest = duration._seconds(MNIST.replace(seed=99), folder), duration._seconds(MNIST, folder)
    assert whole - rest == pytest.approx(6 * 24 + 5e6 / SPEED), "its evaluation points are 6"


def test_one_long_run_beside_short_ones_takes_its_own_time(folder, monkeypatch):
    # Fails if the sum over the cores is told, in which the long run would be cut among them.
    monkeypatch.setattr(device, "runs_side_by_side", lambda: 2)
    long, short = MNIST.replace(seed=90, samples_total=6 * 10**7), MNIST.replace(seed=91, samples_total=100_000)
    assert duration.in_words([long, short], folder).removeprefix(LEAD.format("2 runs, 2")) == (
        duration.in_words([long], folder).removeprefix(LEAD.format("1 run, 1"))
    )


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"config": {"future": 1}}', '{"config": null}'])
def test_a_record_that_cannot_be_read_has_no_speed(folder, content):
    # Fails if training another run ends in a traceback for it.
    before = duration._seconds(MNIST.replace(seed=99), folder)
    (folder / "mnist-aevb-z3-damaged").mkdir()
    (folder / "mnist-aevb-z3-damaged" / "config.json").write_text(content)
    assert duration._seconds(MNIST.replace(seed=99), folder) == before
