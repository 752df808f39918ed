"""A Slurm of one node on this machine, started as root and ended again."""

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

TEMPLATE = Path(__file__).with_suffix(".conf")
CONFIGURATION = Path("/etc/slurm/slurm.conf")  # $SLURM_CONF does not reach the steps of a job


@contextmanager
def one_node(folder: Path) -> Iterator[None]:
    """Slurm with this machine as its only node, as long as the block runs; state and logs are in the folder."""
    assert not CONFIGURATION.exists(), f"{CONFIGURATION} is there: this machine has a Slurm of its own."
    with ExitStack() as stack:
        for name in ("state", "spool"):
            (folder / name).mkdir(parents=True)
        key = folder / "munge.key-file"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        hardware = re.search(r"CPUs=\S+.*RealMemory=\d+", _said("slurmd", "-C"))
        CONFIGURATION.parent.mkdir(exist_ok=True)
        stack.callback(CONFIGURATION.unlink, missing_ok=True)
        CONFIGURATION.write_text(
            TEMPLATE.read_text().format(host=socket.gethostname(), folder=folder, hardware=hardware[0])
        )
        kinds = ("socket", "key-file", "pid-file", "seed-file", "log-file")
        munge = [f"--{kind}={folder}/munge.{kind}" for kind in kinds]
        _start(stack, folder, "munged", "--foreground", "--force", *munge)
        _wait_until(lambda: (folder / "munge.socket").exists(), folder)
        _start(stack, folder, "slurmctld", "-D")
        _start(stack, folder, "slurmd", "-D")
        stack.callback(_cancel_all)
        _wait_until(lambda: _said("sinfo", "--noheader", "--format=%T") == "idle", folder)
        yield


def jobs(state: str) -> dict[str, str]:
    """The jobs in a state: their numbers, and what Snakemake says of each."""
    lines = _said("squeue", "--noheader", f"--states={state}", "--format=%i %k").splitlines()
    return dict(line.split(maxsplit=1) for line in lines)


def cancel(job: str) -> None:
    """As a user or an administrator does."""
    subprocess.run(["scancel", job], check=True)


def _said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def _start(stack: ExitStack, folder: Path, name: str, *options: str) -> None:
    program = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    assert program, f"{name} is not installed: apt-get install slurm-wlm munge"
    log = stack.enter_context((folder / f"{name}.log").open("w"))
    process = subprocess.Popen([program, *options], stdout=log, stderr=log)
    stack.callback(_end, process)


def _end(process: subprocess.Popen) -> None:
    process.terminate()
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _cancel_all() -> None:
    subprocess.run(["scancel", "--user=root"])
    deadline = time.monotonic() + 20
    while _said("squeue", "--noheader") and time.monotonic() < deadline:
        time.sleep(0.5)


def _wait_until(is_so, folder: Path) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline, f"Slurm did not start: its logs are in {folder}"
        time.sleep(0.2)
