"""Faults of every kind: the terminal says why, the same command completes, and every record is the undisturbed one.

`make test-faults` runs these. KILLS, 20 unless told otherwise, is the number of kills at random moments.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import numpy as np
import processes
import pytest
from small_project import replace_runs

from replication import paths
from replication.config import RunConfig

pytestmark = pytest.mark.faults

KILLS = int(os.environ.get("KILLS", "20"))
RUNS = [
    RunConfig(dataset="digits", algorithm="aevb", n_latent=n_latent, n_hidden=8, samples_total=samples)
    for n_latent, samples in ((2, 100_000), (3, 3_000_000))
]
PARAMETERS = 'profile, seed, datasets, reading, overrides = "paper", 0, None, "authors", {}'
TRAINING = """
from replication.paper import experiments, notebook
from replication.runs.load_or_train import load_or_train
plan = notebook.make_plan(profile, seed, datasets, reading, overrides)
load_or_train(experiments.figure2(plan), plan.profile)
"""
PYTHON = [sys.executable, "-m"]
COMMAND = [*PYTHON, "replication", "reproduce", "--profile", "smoke", "--jobs", "1"]
COMMANDS = {
    "the batch": COMMAND,
    "training": [*PYTHON, "replication", "train", "--profile", "smoke", "--jobs", "1"],
    "papermill": [
        *PYTHON, "papermill", "notebooks/2_lower_bound.ipynb", "out.ipynb",
        "--cwd", "notebooks", "-p", "profile", "smoke",
    ],
}  # fmt: skip


@pytest.fixture
def small_batch(project, monkeypatch):
    """A copy of the project whose profile smoke is one notebook, with the given runs and source."""

    def make(runs: list[RunConfig], source: str) -> Path:
        replace_runs(project, f"[RunConfig(**choices) for choices in {[run.model_dump() for run in runs]}]")
        cells = [nbformat.v4.new_code_cell(code) for code in (PARAMETERS, source)]
        cells[0].metadata["tags"] = ["parameters"]
        notebook = nbformat.v4.new_notebook(cells=cells)
        notebook.metadata["kernelspec"] = {"name": "python3", "language": "python", "display_name": "Python 3"}
        nbformat.write(notebook, project / "notebooks/2_lower_bound.ipynb")
        return project

    monkeypatch.setenv("PYTHONPATH", str(project))
    return make


@pytest.fixture
def undisturbed(small_batch) -> tuple[Path, dict[str, tuple[str, str]]]:
    """A small batch whose notebook trains what is missing, and the hashes of its records; nothing of it is left."""
    tree = small_batch(RUNS, TRAINING)
    _run(COMMAND, tree)
    hashes = _hashes(tree)
    _clean(tree)
    return tree, hashes


def _run(command: list[str], tree: Path) -> str:
    """What the command prints; it must succeed."""
    run = subprocess.run(command, cwd=tree, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def _hashes(tree: Path) -> dict[str, tuple[str, str]]:
    """Of each record, the hashes of its curve, the seconds left out, and of its weights."""
    facts = {run.run_id: json.loads((_curve(tree, run).parent / "config.json").read_text()) for run in RUNS}
    return {run_id: (of["numbers_sha256"], of["weights_sha256"]) for run_id, of in facts.items()}


def _clean(tree: Path) -> None:
    for folder in (tree / "out", Path(os.environ["REPLICATION_CACHE_DIR"])):
        shutil.rmtree(folder, ignore_errors=True)


def _curve(tree: Path, run: RunConfig) -> Path:
    return tree / "out/smoke/runs" / run.run_id / "curve.csv"


def test_kills_at_random_moments(undisturbed, tmp_path, record_property):
    # Fails if a kill leaves a half record, a checkpoint that leads elsewhere, a lock, or a process that goes on.
    tree, expected = undisturbed
    rng = np.random.default_rng()
    seconds = {}
    for name, command in COMMANDS.items():
        start = time.monotonic()
        _run(command, tree)
        seconds[name] = time.monotonic() - start
        assert _hashes(tree) == expected, name
        _clean(tree)
    in_time = compared = different = 0
    for kill in range(KILLS):
        name = list(COMMANDS)[kill % 3]
        how = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)[kill // 3 % 3]
        moment = rng.uniform(0, seconds[name])
        terminal = processes.Terminal(COMMANDS[name], cwd=tree)
        time.sleep(moment)
        in_time += terminal.process.poll() is None
        if how == signal.SIGINT:
            terminal.press_ctrl_c()
        else:
            terminal.process.send_signal(how)
        terminal.end()
        processes.assert_all_end(tmp_path)
        _run(COMMANDS[name], tree)
        found = _hashes(tree)
        compared += len(found)
        different += sum(found[run_id] != expected[run_id] for run_id in expected)
        assert not different, f"{name}, {how.name} after {moment:.2f} s"
        _clean(tree)
    said = f"kills {KILLS}, of them before the end {in_time}; records compared {compared}, different {different}"
    record_property("said", said)
    assert in_time


def _fails_until_repaired(spoil: str, repair: str, tree: Path, afterwards: str = "true") -> str:
    """Run the batch on spoiled mounts, where it must fail, and after their repair, where it must complete.

    Returns what it says on stderr.
    """
    batch = " ".join(COMMAND)
    script = f"{spoil} || exit 97\n{batch} && exit 98\n{repair} && {batch} && {afterwards}"
    run = subprocess.run([*_in_a_namespace(), "sh", "-c", script], cwd=tree, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stderr


def _in_a_namespace() -> list[str]:
    """What starts a command that may mount: nobody else sees its mounts, and they end with it."""
    command = ["unshare", "-rm"]
    if shutil.which("unshare") is None or subprocess.run([*command, "true"], capture_output=True).returncode:
        pytest.skip("needs the right to mount in a namespace of its own")
    return command


@pytest.mark.parametrize("folder", ["out", "cache"])
def test_a_full_disk_stops_the_batch_with_its_cure_and_space_lets_it_complete(undisturbed, folder):
    # Fails if a half file is taken for a whole one, or if job after job fails for the same reason.
    tree, expected = undisturbed
    disk = tree / "out" if folder == "out" else Path(os.environ["REPLICATION_CACHE_DIR"])
    kept = tree / "kept"
    said = _fails_until_repaired(
        f"mkdir -p {disk} && mount -t tmpfs -o size=16k tmpfs {disk}",
        f"mount -o remount,size=100m {disk}",
        tree,
        afterwards=f"cp -r out {kept}",
    )
    assert "No space left on device" in said
    assert said.count(" failed:\n") == 1
    shutil.rmtree(tree / "out", ignore_errors=True)
    kept.rename(tree / "out")
    assert _hashes(tree) == expected


def test_a_clone_that_cannot_be_written_says_so_and_completes_when_it_can(undisturbed):
    # Fails if the user sees a traceback of Python's, or not which folder it is.
    tree, expected = undisturbed
    said = _fails_until_repaired(
        f"mount --bind . {tree} && mount -o remount,bind,ro {tree} && cd {tree}",
        f"mount -o remount,bind,rw {tree}",
        tree,
    )
    assert "Read-only file system" in said and f"{tree}/out" in said and "Traceback" not in said
    assert _hashes(tree) == expected


def test_a_notebook_in_a_clone_that_is_read_only_shows_its_figure_and_goes_on(project):
    # As a clone that students share on a teaching server. Fails if the notebook ends at the figure that has no place,
    # if nobody is told, or if reading a record or a table wants to write.
    for recorded in ("runs", "tables"):
        shutil.copytree(paths.DATA / recorded, project / "data" / recorded)
    elsewhere = project.parent / "out.ipynb"
    script = (
        f"mount --bind . {project} && mount -o remount,bind,ro {project} && cd {project}/notebooks && ! touch x "
        f"&& {sys.executable} -m papermill 2_lower_bound.ipynb {elsewhere}"
    )
    environment = {**os.environ, "PYTHONPATH": str(project), "REPLICATION_RECORDED_ONLY": "1"}
    run = subprocess.run(
        [*_in_a_namespace(), "sh", "-c", script], cwd=project, env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr[-2000:]
    outputs = [output for cell in nbformat.read(elsewhere, as_version=4).cells for output in cell.get("outputs", [])]
    said = "".join(output.text for output in outputs if output.get("name") == "stderr")
    assert f"The figure is not saved: {project}/figures/figure2.svg cannot be written (Read-only file system)." in said
    assert any("image/png" in output.get("data", {}) for output in outputs)


def test_after_ctrl_c_in_a_terminal_nothing_runs_and_the_same_command_goes_on(small_batch, tmp_path):
    # Fails if a lock is left that refuses the next call, if a worker outlives the batch or answers the key itself with
    # a traceback, or if the run starts anew: the seconds of its first rows would be others.
    runs = [RUNS[0], RUNS[1].replace(samples_total=10_000_000)]  # long enough to be stopped on a busy machine, too
    tree = small_batch(runs, "print(profile, datasets)")
    terminal = processes.Terminal(COMMAND, cwd=tree)
    processes.wait_for(_curve(tree, runs[1]), terminal.process)
    terminal.press_ctrl_c()
    assert terminal.end() == 1, terminal.shown
    processes.assert_all_end(tmp_path)
    bar, _, last = terminal.shown.rstrip().rpartition("\n")
    assert last.startswith("Stopped. 1 of 2 runs are complete, the others keep their last checkpoint")
    assert "sample/s, 1 of 3 jobs done" in bar and "Traceback" not in bar
    first_rows = _curve(tree, runs[1]).read_text()
    again = _run(COMMAND, tree)
    assert "Trained 1 run" in again and "Executed 1 notebook." in again
    assert _curve(tree, runs[1]).read_text().startswith(first_rows)
    executed = (tree / "out/smoke/2_lower_bound.ipynb").read_text()
    assert "smoke digits" in executed
    assert "Nothing to do" in _run(COMMAND, tree)


def test_a_batch_waits_for_one_that_runs_and_goes_on_when_that_one_is_killed(small_batch, tmp_path):
    # Fails if a dead batch is taken for one that runs, or if two of them do the same work at once.
    tree = small_batch(RUNS, "print(profile)")
    first = subprocess.Popen(COMMAND, cwd=tree, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    processes.wait_for(_curve(tree, RUNS[1]), first)
    second = subprocess.Popen(COMMAND, cwd=tree, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert f"Another process writes {tree / 'out/smoke'}: waiting" in second.stderr.readline()
    first.kill()
    assert first.wait() == -signal.SIGKILL
    said, errors = second.communicate(timeout=120)
    assert second.returncode == 0, errors
    assert "Trained 1 run" in said and "Executed 1 notebook." in said
    processes.assert_all_end(tmp_path)


def test_what_snakemake_started_ends_with_it(small_batch, tmp_path):
    # Fails if a run, or the kernel of a notebook, goes on for hours after Snakemake was killed, unseen.
    endless = RUNS[1].replace(samples_total=10**9)
    tree = small_batch([endless], "import time\ntime.sleep(1000)")
    command = [*PYTHON, "snakemake", "--cores", "1", "--config", "profile=smoke"]

    def kill_once_there(file: Path) -> None:
        snakemake = subprocess.Popen(command, cwd=tree, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        processes.wait_for(file, snakemake)
        snakemake.kill()
        snakemake.wait()
        processes.assert_all_end(tmp_path)
        subprocess.run([*command, "--unlock"], cwd=tree, check=True, capture_output=True)

    kill_once_there(_curve(tree, endless))
    small_batch([], "import pathlib, time\npathlib.Path('is_executed').touch()\ntime.sleep(1000)")
    kill_once_there(tree / "notebooks/is_executed")


def test_a_batch_whose_work_is_not_there_at_its_end_has_not_succeeded(small_batch):
    # Fails if the exit status says what the jobs said, and not what there is. -1 jobs are all cores.
    tree = small_batch(RUNS[:1], "import shutil\nfrom replication import paths\nshutil.rmtree(paths.runs('smoke'))")
    run = subprocess.run([*COMMAND[:-1], "-1"], cwd=tree, capture_output=True, text=True)
    assert "Trained 1 run" in run.stdout and "Executed 1 notebook." in run.stdout, run.stderr
    assert run.returncode == 1 and f"Not trained: {RUNS[0].run_id}." in run.stderr


def test_a_notebook_that_fails_shows_its_last_lines_and_its_log_and_is_kept(small_batch):
    # Fails if the user is sent to a log for the reason, or cannot find it; or if what the notebook showed is lost.
    tree = small_batch([], "from pathlib import Path\nprint('so far')\nPath('nowhere/to/be/found').read_text()")
    run = subprocess.run(COMMAND, cwd=tree, capture_output=True, text=True, env={**os.environ, "TERM": "dumb"})
    assert run.returncode == 1
    log = tree / "out/smoke/logs/2_lower_bound.log"
    assert "No such file or directory: 'nowhere/to/be/found'" in run.stderr and f"Its log: {log}" in run.stderr
    assert "nowhere/to/be/found" in log.read_text()
    assert run.stderr.rstrip().endswith("What was done is kept: run the same command again to do the rest.")
    assert not (tree / "out/smoke/2_lower_bound.ipynb").exists()
    draft = nbformat.read(tree / "out/smoke/logs/2_lower_bound.ipynb", as_version=4)
    outputs = draft.cells[-1].outputs
    assert outputs[0].text == "so far\n" and outputs[-1].ename == "FileNotFoundError" and outputs[-1].traceback
