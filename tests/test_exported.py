"""Exported runs: what the runner trains with JAX alone is what the engine trains, and nothing else becomes a record."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import processes
import pytest

from replication import exported
from replication.errors import RecordError, ReplicationError
from replication.exported import runner
from replication.runs import provenance, records, training

pytestmark = pytest.mark.benchmark  # JAX compiles each program anew, in a process of its own


def run(folder, *options: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(folder / "runner.py"), "--platform", "cpu", *options]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize(
    "settings",
    [{"samples_total": 150_000, "batch_size": 313}, {"samples_total": 100_000, "algorithm": "wake_sleep"}],
)
def test_a_run_that_was_trained_elsewhere_is_the_engine_s(tiny, tmp_path, settings):
    # Fails if the program, its initial state, minibatches, noise, running mean or evaluation points are not the
    # engine's. XLA of another version rounds in another way: after 1500 steps that moves a bound by less than 0.01.
    config = tiny.replace(**settings)
    exported.write([config], tmp_path / "out", "quick")
    stopped = run(tmp_path / "out", "--until", "100000")  # with M = 313 that point lies a part of a step beyond
    assert stopped.returncode == 0, stopped.stderr
    assert config.samples_total == 100_000 or "not evaluated" not in stopped.stdout
    finished = run(tmp_path / "out", "--run", config.run_id)
    assert finished.returncode == 0, finished.stderr
    (found,) = exported.collect(tmp_path / "out", tmp_path / "records")
    expected = training.train(config, tmp_path / "expected")

    assert config.samples_total <= found.samples_evaluated < config.samples_total + config.batch_size
    keys = ["samples_evaluated", "split", "measure"]
    assert found.curve[keys].equals(expected.curve[keys]) and list(found.curve) == list(expected.curve)
    values = ["value", "se", "reconstruction", "kl"]
    np.testing.assert_allclose(found.curve[values], expected.curve[values], atol=0.02)
    (contributor,) = found.facts["contributors"]
    assert contributor["device"] == "CPU" and {"jaxlib", "tensorflow"} <= set(contributor["packages"])
    assert contributor["commit"] == provenance.environment()["commit"]
    weights = records.load_weights(config, tmp_path / "records"), records.load_weights(config, tmp_path / "expected")
    for name in weights[1]:
        np.testing.assert_allclose(weights[0][name], weights[1][name], atol=0.02)


def test_a_run_that_was_stopped_early_has_a_record_up_to_its_last_evaluation(tiny, tmp_path):
    # Fails if the weights are those of a later step than the last row, or if nothing is said of a run without a row.
    config = tiny.replace(samples_total=200_000)
    exported.write([config], tmp_path / "out", "quick")
    run(tmp_path / "out", "--until", "90000")
    with pytest.raises(RecordError, match="evaluation point"):
        exported.collect(tmp_path / "out", tmp_path / "records")
    run(tmp_path / "out", "--until", "155000")
    (found,) = exported.collect(tmp_path / "out", tmp_path / "records")
    assert found.samples_evaluated == 125_000


def test_weights_that_do_not_give_the_bound_are_refused(tiny, tmp_path):
    # Fails if what comes back is believed: here one bias of the decoder is another.
    config = tiny.replace(samples_total=100_000)
    exported.write([config], tmp_path / "out", "quick")
    assert run(tmp_path / "out").returncode == 0
    file = tmp_path / "out" / runner.TRAINED / f"{config.run_id}.npz"
    with np.load(file) as content:
        arrays = dict(content)
    last = max((name for name in arrays if name.startswith("evaluated_")), key=lambda name: int(name.split("_")[1]))
    np.savez(file, **{**arrays, last: arrays[last] + 0.1})
    with pytest.raises(RecordError, match="here and"):
        exported.collect(tmp_path / "out", tmp_path / "records")
    assert not (tmp_path / "records").exists()


@pytest.mark.parametrize("profile", ["quick", "paper"])
def test_an_exported_folder_knows_its_profile(tiny, tmp_path, profile):
    # Fails if short runs become records at paper scale.
    exported.write([tiny], tmp_path / "out", profile)
    assert exported.profile_of(tmp_path / "out") == profile
    jobs = tmp_path / "out" / runner.JOBS
    jobs.write_text(
        json.dumps([{name: job[name] for name in job if name != "profile"} for job in json.loads(jobs.read_text())])
    )
    with pytest.raises(RecordError, match="says no profile"):
        exported.profile_of(tmp_path / "out")


def test_sums_of_adagrad_that_overflow_end_a_run(tiny, tmp_path):
    # Fails if the runner accepts what the engine refuses: the weights and the bound may still be finite.
    exported.write([tiny.replace(samples_total=100_000)], tmp_path / "out", "quick")
    (job,) = json.loads((tmp_path / "out" / runner.JOBS).read_text())
    with np.load(tmp_path / "out" / runner.ARRAYS) as content:
        arrays = dict(content)
    sums = job["state"][-1]
    (tmp_path / "out" / runner.JOBS).write_text(json.dumps([{**job, "state": [*job["state"][:-1], "infinite"]}]))
    np.savez(tmp_path / "out" / runner.ARRAYS, **arrays, infinite=np.full_like(arrays[sums], np.inf))
    assert "diverged at step" in run(tmp_path / "out").stderr


def test_a_run_that_diverges_is_named_and_leaves_the_others_alone(tiny, tmp_path):
    # Fails if a run with weights that are not finite goes on or becomes a record, or if it keeps others from theirs.
    good = tiny.replace(samples_total=100_000)
    bad = good.replace(seed=1)
    exported.write([bad, good], tmp_path / "out", "quick")
    jobs = {job["run_id"]: job for job in json.loads((tmp_path / "out" / runner.JOBS).read_text())}
    with np.load(tmp_path / "out" / runner.ARRAYS) as content:
        arrays = dict(content)
    weights = jobs[bad.run_id]["state"][1]  # of the encoder's hidden layer, the first after the step
    np.savez(tmp_path / "out" / runner.ARRAYS, **{**arrays, weights: np.full_like(arrays[weights], np.nan)})
    both = run(tmp_path / "out")
    assert both.returncode == 1 and f"{bad.run_id} diverged at step 0" in both.stderr
    assert f"{bad.run_id} diverged" in run(tmp_path / "out", "--run", bad.run_id).stderr
    with pytest.raises(RecordError, match=rf"Runs recorded: 1\. These are not:\n{bad.run_id}: diverged at step 0"):
        exported.collect(tmp_path / "out", tmp_path / "records")
    assert records.is_complete(good, tmp_path / "records")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_killed_runner_ends_its_runs_and_goes_on(tiny, tmp_path, how):
    # Fails if runs go on without their parent, or if what was saved is lost.
    config = tiny.replace(samples_total=10**9)
    exported.write([config], tmp_path / "out", "quick")
    run(tmp_path / "out", "--until", "100000")
    command = [sys.executable, str(tmp_path / "out" / "runner.py"), "--platform", "cpu"]
    environment = {**os.environ, "MARKER": str(tmp_path)}
    process = subprocess.Popen(command, env=environment, start_new_session=True, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while len(processes.with_environment(tmp_path)) < 2:
        assert time.monotonic() < deadline, "the runner starts no process for its run"
        time.sleep(0.05)
    process.send_signal(how)
    assert "Traceback" not in process.communicate(timeout=60)[1]
    processes.assert_all_end(tmp_path)
    (found,) = exported.collect(tmp_path / "out", tmp_path / "records")
    assert found.samples_evaluated >= 100_000


def test_programs_of_another_version_are_refused(tiny, tmp_path, monkeypatch):
    # Fails if what other code trained becomes a record of this one.
    config = tiny.replace(samples_total=100_000)
    exported.write([config], tmp_path / "out", "quick")
    assert run(tmp_path / "out").returncode == 0
    monkeypatch.setattr(exported, "_as_exported", lambda program: "another program")
    with pytest.raises(RecordError, match="another version"):
        exported.collect(tmp_path / "out", tmp_path / "records")


def test_what_cannot_go_is_said(tiny, tmp_path):
    # Fails if a run of figure 3, which needs more programs, is exported without them; or if a folder is overwritten.
    with pytest.raises(ReplicationError, match="bound"):
        exported.write([tiny.replace(metric="log_px")], tmp_path / "out", "quick")
    with pytest.raises(ReplicationError, match="none is left"):
        exported.write([], tmp_path / "out", "quick")
    with pytest.raises(RecordError, match="no exported folder"):
        exported.collect(tmp_path / "out", tmp_path / "records")
    exported.write([tiny], tmp_path / "out", "quick")
    with pytest.raises(ReplicationError, match="exists"):
        exported.write([tiny], tmp_path / "out", "quick")
    unknown = run(tmp_path / "out", "--run", "nobody")
    assert unknown.returncode == 1 and tiny.run_id in unknown.stderr
