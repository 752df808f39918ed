"""What a job of a cluster asks for, and `make cluster` on a real Slurm of one node: `make test-cluster`."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import processes
import pytest
import slurm

from replication import paths
from replication.batch import cluster
from replication.config import ConfigError, RunConfig
from replication.paper.experiments import all_runs
from replication.paper.plans import make_plan
from replication.runs import records

ALL_RUNS = all_runs(make_plan("smoke"))
RUNS = "out/smoke/runs"


def test_the_slowest_recorded_run_took_a_quarter_of_what_is_assumed_of_a_slow_core():
    # Fails if Slurm would stop a run on a core four times slower than any that recorded one.
    for record in paths.runs("paper").glob("*/config.json"):
        run = RunConfig(**json.loads(record.read_text())["config"])
        last = pd.read_csv(record.with_name(records.CURVE)).iloc[-1]
        rate = last["samples_evaluated"] / last["seconds"]
        assert rate >= 4 * cluster.SLOW_CORE[run.algorithm], run.run_id


@pytest.mark.parametrize("profile", ["smoke", "quick", "paper"])
def test_every_run_has_one_job_and_only_short_runs_share_one(profile):
    # Fails if a run is left out or trained twice, if a job of hours gets a second run, or if no job is shared.
    runs = all_runs(make_plan(profile))
    shares = cluster.shares(runs)
    assert [run for share in shares for run in share] == runs
    assert any(len(share) > 1 for share in shares)
    for share in shares:
        assert len(share) == 1 or cluster.minutes(share) <= cluster.START_MINUTES + cluster.SHARED_MINUTES
        assert cluster.minutes(share) * 60 >= sum(run.samples_total / cluster.SLOW_CORE[run.algorithm] for run in share)


@pytest.mark.parametrize("asked", [-1, 2, "yes", "0.5", None, True, False, 1.0])
def test_a_number_of_gpus_that_no_job_uses_is_refused(asked):
    # GPU=-1 was refused by Slurm once per job, GPU=yes by a traceback of Python's.
    with pytest.raises(ConfigError, match=f"GPU={asked} is neither 0 nor 1"):
        cluster.gpus(asked)


def test_without_slurm_one_sentence_comes_before_the_first_job(project, tmp_path):
    # Fails if each job is submitted, in vain, with a traceback of its own.
    command = [sys.executable, "-m", "snakemake", "--profile", "profiles/slurm", "--config", "profile=smoke"]
    without_slurm = processes.programs(tmp_path / "bin", "bash", "sh", "which", "git")  # this machine may have one
    environment = {**os.environ, "PYTHONPATH": str(project), "PATH": str(without_slurm)}
    run = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)
    assert run.returncode == 1 and "rule train" not in run.stderr + run.stdout
    assert run.stderr.splitlines()[-1] == (
        "There is no Slurm on this machine: sbatch is not found. Call it where Slurm is, or `make reproduce`."
    )


@pytest.fixture
def trees(tmp_path) -> tuple[Path, Path]:
    """Two copies of the project as a clone has it: for a batch on the cluster, and for one on this machine."""
    return copy(tmp_path / "cluster"), copy(tmp_path / "local")


@pytest.mark.cluster
def test_a_batch_on_slurm_is_cancelled_resumed_and_gives_what_this_machine_gives(trees, tmp_path):
    # Fails if the command does not work as it stands, if it does not end after a cancelled job or leaves a process of
    # it, if the same command does not do the rest or trains a complete run again, or if a job trains otherwise than a
    # process of this machine.
    on_cluster, local = trees
    with slurm.one_node(tmp_path / "slurm"):
        batch = _start("cluster", on_cluster)
        _wait_for_a_complete_record(on_cluster / RUNS, batch)
        training = [job for job, comment in slurm.jobs("running").items() if comment.startswith("rule_train")]
        slurm.cancel(training[0])
        assert batch.wait(timeout=1200) != 0
        processes.assert_all_end(on_cluster)
        cancelled = slurm.jobs("cancelled")
        kept = {file: file.stat().st_mtime_ns for file in _complete(on_cluster / RUNS)}
        assert 0 < len(kept) < len(ALL_RUNS)
        assert _start("cluster", on_cluster).wait(timeout=1200) == 0
        assert {file: file.stat().st_mtime_ns for file in kept} == kept
    assert _start("reproduce", local).wait(timeout=1200) == 0
    compared, different = _differences(on_cluster / RUNS, local / RUNS)
    print(f"jobs cancelled {len(cancelled)}, records compared {compared}, differences {len(different)}")
    assert len(cancelled) == 1 and compared == len(ALL_RUNS) and not different, different


def copy(tree: Path) -> Path:
    """The project as a clone has it, changes that are not committed included."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=paths.ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(paths.ROOT / name, tree / name)  # with its time stamp: what is installed is not older
    (tree / ".venv").symlink_to(paths.ROOT / ".venv")
    return tree


def _start(target: str, tree: Path) -> subprocess.Popen:
    command = ["make", target, "PROFILE=smoke", f"PYTHONPATH={tree}"]
    environment = {**os.environ, "REPLICATION_CACHE_DIR": str(tree / "checkpoints")}
    return subprocess.Popen(command, cwd=tree, env=environment)


def _complete(runs: Path) -> list[Path]:
    """The complete records; one that a job was cancelled in is written again."""
    return [runs / run.run_id / "config.json" for run in ALL_RUNS if records.is_complete(run, runs)]


def _wait_for_a_complete_record(runs: Path, batch: subprocess.Popen) -> None:
    while not _complete(runs):
        assert batch.poll() is None, "the batch ended before it wrote a record"
        time.sleep(0.1)


def _differences(here: Path, there: Path) -> tuple[int, list[str]]:
    """How many records both have, and what differs: any column but the seconds, any weight, any file that one lacks."""
    names = {folder.name for folder in (*here.iterdir(), *there.iterdir()) if folder.is_dir()}
    different = [
        f"{name}/{file}"
        for name in sorted(names)
        for file, content in ((records.CURVE, _without_seconds), (records.WEIGHTS, _weights))
        if content(here / name / file) != content(there / name / file)
    ]
    return len(names), different


def _without_seconds(curve: Path) -> list[str] | None:
    if not curve.exists():
        return None
    lines = curve.read_text().splitlines()
    assert lines[0].endswith(",seconds")
    return [line.rpartition(",")[0] for line in lines]


def _weights(file: Path) -> dict[str, tuple] | None:
    if not file.exists():
        return None
    with np.load(file) as content:
        return {name: (content[name].dtype.str, content[name].shape, content[name].tobytes()) for name in content.files}
