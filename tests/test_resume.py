"""A run that is killed loses nothing but time."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from replication.config import RunConfig
from replication.runs import checkpoints, training

RUN = """
import sys
from pathlib import Path
from replication.runs import training
from replication.config import RunConfig
training.CHUNK_SECONDS = 0.02
training.train(RunConfig.model_validate_json(sys.argv[1]), Path(sys.argv[2]), checkpoint_seconds=0)
"""


def test_killed_run_resumes_to_the_same_bits(tiny, tmp_path):
    # Fails if a checkpoint is written in place, or if the curve or the state comes back incomplete.
    config = tiny.replace(algorithm="wake_sleep", samples_total=110_000)
    whole = tmp_path  # trained in this process, in chunks of another length
    training.train(config, whole)
    killed = tmp_path / "killed"
    process = _start(config, killed)
    _wait_for(_checkpoint(config, killed), process)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (killed / config.run_id / "curve.csv").exists() or _last_mark(killed, config) < 110_000
    assert _start(config, killed).wait(timeout=120) == 0
    with np.load(_checkpoint(config, whole)) as one, np.load(_checkpoint(config, killed)) as other:
        leaves = [name for name in one.files if name.startswith("leaf")]
        assert len(leaves) > 10
        for name in leaves:
            np.testing.assert_array_equal(one[name], other[name])
    columns = slice(0, -1)  # all but the seconds
    curves = [[row.split(",")[columns] for row in _curve(folder, config)] for folder in (whole, killed)]
    assert curves[0] == curves[1]


def _processes_of(folder: Path) -> list[str]:
    """The processes that were started with the folder in their environment and are alive."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(folder).encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue  # it ended meanwhile, or belongs to somebody else
    return found


def _start(config: RunConfig, folder: Path) -> subprocess.Popen:
    environment = {**os.environ, "REPLICATION_CACHE_DIR": str(folder / "cache")}
    command = [sys.executable, "-c", RUN, config.model_dump_json(), str(folder)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)


def _checkpoint(config: RunConfig, folder: Path) -> Path:
    return folder / "cache" / "checkpoints" / f"v{checkpoints.ENGINE_VERSION}" / f"{config.run_id}.npz"


def _wait_for(file: Path, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while not file.exists():
        assert process.poll() is None and time.monotonic() < deadline, "the run ended before it could be killed"
        time.sleep(0.002)


def _curve(folder: Path, config: RunConfig) -> list[str]:
    return (folder / config.run_id / "curve.csv").read_text().splitlines()


def _last_mark(folder: Path, config: RunConfig) -> int:
    return int(_curve(folder, config)[-1].split(",")[0])


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
    first_mark = tmp_path / "runs" / endless.run_id / "curve.csv"
    _wait_for(first_mark, parent)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 20
    while left := _processes_of(tmp_path):
        assert time.monotonic() < deadline, f"still running: {left}"
        time.sleep(0.2)
