"""Exported runs: what the runner trains with JAX alone is what the engine trains, and nothing else becomes a record."""

import json
import subprocess
import sys

import numpy as np
import pytest

from replication import exported
from replication.errors import RecordError, ReplicationError
from replication.exported import runner
from replication.runs import records, training

pytestmark = pytest.mark.benchmark  # JAX compiles each program anew, in a process of its own


def run(folder, *options: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(folder / "runner.py"), "--platform", "cpu", *options]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize(
    "settings", [{"samples_total": 150_000}, {"samples_total": 100_000, "algorithm": "wake_sleep"}]
)
def test_a_run_that_was_trained_elsewhere_is_the_engine_s(tiny, tmp_path, settings):
    # Fails if the program, its initial state, minibatches, noise, running mean or evaluation points are not the
    # engine's. XLA of another version rounds in another way: after 1500 steps that moves a bound by less than 0.01.
    config = tiny.replace(**settings)
    exported.write([config], tmp_path / "out")
    stopped = run(tmp_path / "out", "--until", "120000")
    assert stopped.returncode == 0, stopped.stderr
    finished = run(tmp_path / "out", "--run", config.run_id)
    assert finished.returncode == 0, finished.stderr
    (found,) = exported.collect(tmp_path / "out", tmp_path / "records")
    expected = training.train(config, tmp_path / "expected")

    assert found.samples_evaluated == config.samples_total
    keys = ["samples_evaluated", "split"]
    assert found.curve[keys].equals(expected.curve[keys]) and list(found.curve) == list(expected.curve)
    values = ["bound", "bound_se", "reconstruction", "kl"]
    np.testing.assert_allclose(found.curve[values], expected.curve[values], atol=0.02)
    (contributor,) = found.facts["contributors"]
    assert contributor["device"] == "CPU" and {"jaxlib", "tensorflow"} <= set(contributor["packages"])
    assert contributor["commit"] == records.environment()["commit"]
    weights = records.load_weights(config, tmp_path / "records"), records.load_weights(config, tmp_path / "expected")
    for name in weights[1]:
        np.testing.assert_allclose(weights[0][name], weights[1][name], atol=0.02)


def test_a_run_that_was_stopped_early_has_a_record_up_to_its_last_evaluation(tiny, tmp_path):
    # Fails if the weights are those of a later step than the last row, or if nothing is said of a run without a row.
    config = tiny.replace(samples_total=200_000)
    exported.write([config], tmp_path / "out")
    run(tmp_path / "out", "--until", "90000")
    with pytest.raises(RecordError, match="evaluation point"):
        exported.collect(tmp_path / "out", tmp_path / "records")
    run(tmp_path / "out", "--until", "155000")
    (found,) = exported.collect(tmp_path / "out", tmp_path / "records")
    assert found.samples_evaluated == 125_000


def test_weights_that_do_not_give_the_bound_are_refused(tiny, tmp_path):
    # Fails if what comes back is believed: here one bias of the decoder is another.
    config = tiny.replace(samples_total=100_000)
    exported.write([config], tmp_path / "out")
    assert run(tmp_path / "out").returncode == 0
    file = tmp_path / "out" / runner.TRAINED / f"{config.run_id}.npz"
    with np.load(file) as content:
        arrays = dict(content)
    last = max((name for name in arrays if name.startswith("evaluated_")), key=lambda name: int(name.split("_")[1]))
    np.savez(file, **{**arrays, last: arrays[last] + 0.1})
    with pytest.raises(RecordError, match="here and"):
        exported.collect(tmp_path / "out", tmp_path / "records")
    assert not (tmp_path / "records").exists()


def test_a_run_that_diverges_is_named(tiny, tmp_path):
    # Fails if a run with weights that are not finite goes on, or becomes a record.
    config = tiny.replace(samples_total=100_000)
    exported.write([config], tmp_path / "out")
    jobs = json.loads((tmp_path / "out" / runner.JOBS).read_text())
    with np.load(tmp_path / "out" / runner.ARRAYS) as content:
        arrays = dict(content)
    bias = jobs[0]["state"][2]  # of the encoder's hidden layer, the second parameter after the step
    np.savez(tmp_path / "out" / runner.ARRAYS, **{**arrays, bias: np.full_like(arrays[bias], np.nan)})
    run(tmp_path / "out")
    with pytest.raises(RecordError, match=r"diverged at step 0"):
        exported.collect(tmp_path / "out", tmp_path / "records")


def test_what_cannot_go_is_said(tiny, tmp_path):
    # Fails if a run of figure 3, which needs more programs, is exported without them; or if a folder is overwritten.
    with pytest.raises(ReplicationError, match="bound"):
        exported.write([tiny.replace(metric="log_px")], tmp_path / "out")
    exported.write([tiny], tmp_path / "out")
    with pytest.raises(ReplicationError, match="exists"):
        exported.write([tiny], tmp_path / "out")
