"""What a batch on a cluster costs beside its training: `python tests/cluster_overhead.py`, as root, minutes on 2 cores.

Measured on a Slurm of one node, for docs/cluster.md.
"""

import ctypes
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import slurm
import test_cluster
from small_project import replace_runs

from replication.runs.parallel import counted

N_LONG, N_SHORT = 1000, 8
PR_SET_CHILD_SUBREAPER = 36
COMMAND = [sys.executable, "-m", "snakemake", "--profile", "profiles/slurm", "--config", "profile=smoke"]


def start(tree: Path, *options: str) -> subprocess.Popen:
    """The batch; what it prints goes to a log."""
    environment = {**os.environ, "PYTHONPATH": str(tree), "REPLICATION_CACHE_DIR": str(tree / "checkpoints")}
    with (tree / "log").open("a") as log:
        return subprocess.Popen([*COMMAND, *options], cwd=tree, env=environment, stdout=log, stderr=log)


def cpu_seconds() -> float:
    """Of all processes that this one has waited for, the jobs of Slurm included: it adopts them."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def until(is_so: Callable[[], bool]) -> float:
    """Wait; the seconds that it took."""
    start = time.monotonic()
    while not is_so():
        time.sleep(0.2)
    return time.monotonic() - start


def long_runs(tree: Path) -> None:
    """How fast Snakemake finds out what to do and submits it; the node takes no job meanwhile."""
    replace_runs(
        tree,
        '[RunConfig(dataset="digits", algorithm="aevb", n_latent=2, n_hidden=8, seed=seed, samples_total=10**7)'
        f" for seed in range({N_LONG})]",
    )
    host = os.uname().nodename
    before, began = cpu_seconds(), time.monotonic()
    assert start(tree, "--dry-run", "--quiet").wait() == 0
    print(f"Dry run of {N_LONG} runs: {time.monotonic() - began:.0f} s, {cpu_seconds() - before:.0f} CPU-s", flush=True)
    subprocess.run(["scontrol", "update", f"nodename={host}", "state=drain", "reason=measurement"], check=True)
    batch, before = start(tree, "--jobs", str(N_LONG)), cpu_seconds()
    to_first = until(lambda: len(slurm.jobs("pending")) >= 1)
    to_last = until(lambda: len(slurm.jobs("pending")) >= N_LONG)
    batch.send_signal(signal.SIGINT)
    to_end = until(lambda: batch.poll() is not None)
    print(f"First of {N_LONG} jobs in the queue after {to_first:.0f} s, the last {to_last:.0f} s later")
    print(f"After Ctrl-C no job is left after {to_end:.0f} s; Snakemake, sbatch: {cpu_seconds() - before:.0f} CPU-s")
    assert not slurm.jobs("pending")
    subprocess.run(["scontrol", "update", f"nodename={host}", "state=resume"], check=True)


def short_runs(tree: Path, shared: bool) -> None:
    """What a job costs beside its training: runs of one step, each alone or all in one job."""
    replace_runs(
        tree,
        '[RunConfig(dataset="digits", algorithm="aevb", n_latent=20, n_hidden=100, seed=seed, samples_total=100)'
        f" for seed in range({N_SHORT})]",
    )
    if not shared:
        module = tree / "replication/batch/cluster.py"
        module.write_text(re.sub(r"^SHARED_MINUTES = .*", "SHARED_MINUTES = 0", module.read_text(), flags=re.MULTILINE))
    batch = start(tree)
    assert batch.wait() == 0, (tree / "log").read_text()
    before = cpu_seconds()
    n_jobs = adopted()
    each = (cpu_seconds() - before) / N_SHORT
    print(
        f"{N_SHORT} runs of one step in {counted(n_jobs, 'job')}: {each:.1f} CPU-s per run",
        flush=True,
    )


def adopted() -> int:
    """Wait for the ended jobs of Slurm, which are this process's children now: their batch scripts and their steps."""
    n_jobs = len(slurm.jobs("completed"))
    time.sleep(2)
    while os.waitpid(-1, os.WNOHANG)[0]:
        pass
    return n_jobs


if __name__ == "__main__":
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    with tempfile.TemporaryDirectory() as folder:
        for shared in (False, True):
            name = "shared" if shared else "alone"
            with slurm.one_node(Path(folder) / f"slurm-{name}"):
                short_runs(test_cluster.copy(Path(folder) / name), shared)
        with slurm.one_node(Path(folder) / "slurm"):
            long_runs(test_cluster.copy(Path(folder) / "long"))
