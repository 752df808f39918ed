"""A run that is killed loses nothing but time."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from processes import assert_all_end, wait_for

from replication import data, paths
from replication.config import RunConfig
from replication.errors import RecordError
from replication.runs import checkpoints, provenance, training

RUN = """
import sys
from pathlib import Path
from replication.runs import training
from replication.config import RunConfig
training.CHUNK_SECONDS = 0.02
training.train(RunConfig.model_validate_json(sys.argv[1]), Path(sys.argv[2]), checkpoint_seconds=0)
"""


@pytest.mark.faults
def test_killed_run_resumes_to_the_same_bits_in_two_processes_that_take_turns(tiny, tmp_path):
    # Fails if a checkpoint is written in place, or if the curve or the state comes back incomplete. Without a lock both
    # processes would compute the run, and each replace checkpoint and record of the other.
    config = tiny.replace(algorithm="wake_sleep", samples_total=110_000)
    whole = tmp_path  # trained in this process, in chunks of another length
    training.train(config, whole)
    killed = tmp_path / "killed"
    process = _start(config, killed)
    wait_for(_checkpoint(config, killed), process)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (killed / config.run_id / "curve.csv").exists() or _last_point(killed, config) < 110_000
    both = [_start(config, killed, stderr=subprocess.PIPE) for _ in range(2)]
    said = "".join(process.communicate(timeout=120)[1] for process in both)
    assert [process.returncode for process in both] == [0, 0] and "Another process writes" in said
    assert sorted(file.name for file in (killed / config.run_id).iterdir()) == [
        "config.json", "curve.csv", "weights.npz",
    ]  # fmt: skip
    with np.load(_checkpoint(config, whole)) as one, np.load(_checkpoint(config, killed)) as other:
        leaves = [name for name in one.files if name.startswith("leaf")]
        assert len(leaves) > 10
        for name in leaves:
            np.testing.assert_array_equal(one[name], other[name])
    columns = slice(0, -1)  # all but the seconds
    curves = [[row.split(",")[columns] for row in _curve(folder, config)] for folder in (whole, killed)]
    assert curves[0] == curves[1]


@pytest.mark.faults
def test_a_checkpoint_of_other_code_is_kept_and_not_continued(tiny, tmp_path, monkeypatch, capsys):
    # Half a curve by one algorithm and half by another would pass for a run; and hours of work must not be overwritten.
    whole = training.train(tiny, tmp_path / "whole")
    checkpoints.path(tiny).unlink()
    training.train(tiny.replace(samples_total=2000), tmp_path / "half")
    file = checkpoints.path(tiny)
    kept = file.read_bytes()
    monkeypatch.setattr(checkpoints, "fingerprint", lambda: "of other code")
    anew = training.train(tiny, tmp_path / "anew")
    assert re.search(f"starts anew.*{re.escape(str(file))}.*other code", capsys.readouterr().err)
    assert file.read_bytes() == kept
    assert set(anew.curve["samples_evaluated"]) == {4000}
    assert anew.facts["numbers_sha256"] == whole.facts["numbers_sha256"]


def test_a_run_that_was_extended_has_the_record_of_one_that_was_not(tiny, tmp_path):
    # A record has the points of the grid and the run's own end. Fails if an earlier end leaves a row: one beside the
    # grid, or on the grid the model on train, which is evaluated at the end only.
    config = tiny.replace(samples_total=200_000)
    whole = training.train(config, tmp_path / "whole")
    checkpoints.path(config).unlink()
    for samples in (130_000, 160_000):
        training.train(config.replace(samples_total=samples), tmp_path / "extended")
    extended = training.train(config, tmp_path / "extended")
    assert list(extended.curve["samples_evaluated"].unique()) == [100_000, 125_000, 160_000, 200_000]
    for name in ("numbers_sha256", "weights_sha256"):
        assert extended.facts[name] == whole.facts[name]


def _edit_checkpoint(config: RunConfig, /, **changes: object) -> None:
    """Change what the checkpoint says of itself; the state stays."""
    with np.load(checkpoints.path(config)) as content:
        arrays = dict(content)
    arrays["progress"] = json.dumps({**json.loads(str(arrays["progress"])), **changes})
    np.savez(checkpoints.path(config), **arrays)


@pytest.mark.faults
@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda file: file.write_bytes(file.read_bytes()[:1000]), "is damaged"),
        (lambda file: file.write_bytes(b""), "is damaged"),
        (lambda file: file.write_bytes(file.read_bytes().replace(b"leaf_1", b"xxxx_1")), "is damaged"),
    ],
    ids=["truncated", "empty", "altered"],
)
def test_a_damaged_checkpoint_is_set_aside_and_the_run_starts_anew(tiny, tmp_path, capsys, spoil, reason):
    # Fails if the user must delete a file by hand before the same command works, or if half a state is continued.
    undisturbed = training.train(tiny.replace(samples_total=8000), tmp_path / "undisturbed").facts
    checkpoints.path(tiny).unlink()
    training.train(tiny, tmp_path / "runs")
    spoil(checkpoints.path(tiny))
    _assert_starts_anew_to(undisturbed, tiny, tmp_path / "runs", reason, capsys)


@pytest.mark.parametrize(
    "changes", [{"step": None}, {"sums": None}, {"sums": [[1, 2]]}, {"contributors": None}], ids=str
)
def test_a_checkpoint_of_another_structure_is_set_aside(tiny, capsys, changes):
    # Fails if it ends in a traceback: the user would not know which file it is.
    engine = training.Engine(tiny, data.load("digits"))
    checkpoints.save(tiny, checkpoints.Run(engine.initial_state))
    _edit_checkpoint(tiny, **changes)
    assert checkpoints.load(tiny, engine.initial_state) is None
    assert "is damaged" in capsys.readouterr().err and not checkpoints.path(tiny).exists()


def test_a_checkpoint_that_cannot_be_read_says_so(tiny):
    engine = training.Engine(tiny, data.load("digits"))
    checkpoints.path(tiny).mkdir(parents=True)
    with pytest.raises(RecordError, match="cannot be read: Is a directory"):
        checkpoints.load(tiny, engine.initial_state)


@pytest.mark.faults
def test_a_checkpoint_of_other_settings_is_set_aside(tiny, tmp_path, capsys):
    undisturbed = training.train(tiny.replace(samples_total=8000), tmp_path / "undisturbed").facts
    _edit_checkpoint(tiny, config=tiny.replace(learning_rate=0.9).model_dump())
    reason = r"is of another run (learning_rate = 0.9 instead of 0.05"
    _assert_starts_anew_to(undisturbed, tiny, tmp_path / "runs", reason, capsys)


def _assert_starts_anew_to(undisturbed: dict, config: RunConfig, folder: Path, reason: str, capsys) -> None:
    file = checkpoints.path(config)
    spoiled = file.read_bytes()
    again = training.train(config.replace(samples_total=8000), folder).facts
    for name in ("numbers_sha256", "weights_sha256"):
        assert again[name] == undisturbed[name]
    said = capsys.readouterr().err
    assert f"starts anew: its checkpoint {file} {reason}" in said and f"is kept as {file.name}.unusable" in said
    assert file.with_name(f"{file.name}.unusable").read_bytes() == spoiled


def test_the_fingerprint_changes_with_code_and_not_with_its_prose():
    # Fails if a comment costs a run of hours its checkpoint, or if a changed computation does not.
    source = "def f(x):\n    return x + 1\n"
    prose = 'def f(x):\n    """Add one."""\n    # why\n    return (x\n      + 1)\n'
    assert checkpoints._code(source) == checkpoints._code(prose)
    assert checkpoints._code(source) != checkpoints._code(source.replace("1", "2"))
    files = {str(file.relative_to(paths.ROOT / "replication")) for file in checkpoints.sources()}
    assert {"draws.py", "model/networks.py", "model/hmc.py", "algorithms/aevb.py", "runs/evaluation.py"} <= files


def test_a_record_names_every_commit_and_processor_that_contributed(tiny, tmp_path):
    # A run that moves between machines is not reproducible to the bit on either.
    training.train(tiny.replace(samples_total=2000), tmp_path / "first")
    earlier = {"from_samples": 0, **provenance.environment(), "device": "CPU", "commit": "f00d", "cpu": "Abacus"}
    _edit_checkpoint(tiny, contributors=[earlier])
    record = training.train(tiny, tmp_path)
    assert record.commits == ["f00d", provenance.environment()["commit"]]
    assert record.machines == ["Abacus", provenance.environment()["cpu"]]
    assert [contributor["from_samples"] for contributor in record.facts["contributors"]] == [0, 2000]


def _start(config: RunConfig, folder: Path, stderr: int = subprocess.DEVNULL) -> subprocess.Popen:
    environment = {**os.environ, "REPLICATION_CACHE_DIR": str(folder / "cache")}
    command = [sys.executable, "-c", RUN, config.model_dump_json(), str(folder)]
    return subprocess.Popen(command, env=environment, stderr=stderr, text=True)


def _checkpoint(config: RunConfig, folder: Path) -> Path:
    return folder / "cache" / "checkpoints" / checkpoints.path(config).name


def _curve(folder: Path, config: RunConfig) -> list[str]:
    return (folder / config.run_id / "curve.csv").read_text().splitlines()


def _last_point(folder: Path, config: RunConfig) -> int:
    return int(_curve(folder, config)[-1].split(",")[0])


@pytest.mark.faults
def test_workers_end_with_the_process_that_started_them(tiny, tmp_path):
    # Orphans would go on computing for hours, unseen.
    script = (
        "import sys; from pathlib import Path; from replication.runs.parallel import train_all; "
        "from replication.config import RunConfig\n"
        "if __name__ == '__main__': train_all([RunConfig.model_validate_json(sys.argv[1])], Path(sys.argv[2]))"
    )
    (tmp_path / "script.py").write_text(script)
    endless = tiny.replace(samples_total=10**9)
    command = [sys.executable, tmp_path / "script.py", endless.model_dump_json(), tmp_path / "runs"]
    parent = subprocess.Popen(command, env={**os.environ, "MARKER": str(tmp_path)})
    first_point = tmp_path / "runs" / endless.run_id / "curve.csv"
    wait_for(first_point, parent)
    parent.kill()
    parent.wait()
    assert_all_end(tmp_path)


def test_a_checkpoint_takes_away_what_a_killed_writer_left(tiny):
    # Fails if each kill in the middle of a save leaves megabytes, or if another run's file goes.
    file = checkpoints.path(tiny)
    left, of_another = (file.with_name(f".{name}.4711.tmp") for name in (file.name, f"other-{file.name}"))
    file.parent.mkdir(parents=True, exist_ok=True)
    for temporary in (left, of_another):
        temporary.write_bytes(b"half a checkpoint")
    engine = training.Engine(tiny, training.dataset(tiny.dataset, tiny.preparation))
    checkpoints.save(tiny, checkpoints.Run(engine.initial_state))
    assert file.exists() and of_another.exists() and not left.exists()
