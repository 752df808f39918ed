"""A batch that is stopped, killed or fails: the same command goes on, and the terminal says why."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import nbformat
import processes
import pytest

from replication.config import RunConfig

RUNS = [
    RunConfig(dataset="digits", algorithm="aevb", n_latent=n_latent, n_hidden=8, samples_total=samples)
    for n_latent, samples in ((2, 100_000), (3, 3_000_000))
]
PARAMETERS = 'profile, seed, datasets, reading, overrides = "paper", 0, None, "closest", {}'
COMMAND = [sys.executable, "-m", "replication", "reproduce", "--profile", "smoke", "--jobs", "1"]


@pytest.fixture
def small_batch(project, monkeypatch):
    """A copy of the project whose profile smoke is one notebook, with the given runs and source."""

    def make(runs: list[RunConfig], source: str) -> Path:
        experiments = project / "replication/paper/experiments.py"
        settings = [run.model_dump() for run in runs]
        experiments.write_text(
            experiments.read_text()
            + f"\n\ndef figure2(settings):\n    return [RunConfig(**choices) for choices in {settings}]\n"
            + '\nEXPERIMENTS_OF_NOTEBOOK = {"2_lower_bound": (figure2,)}\n'
        )
        for notebook in (project / "notebooks").glob("*.ipynb"):
            notebook.unlink()
        cells = [nbformat.v4.new_code_cell(code) for code in (PARAMETERS, source)]
        cells[0].metadata["tags"] = ["parameters"]
        notebook = nbformat.v4.new_notebook(cells=cells)
        notebook.metadata["kernelspec"] = {"name": "python3", "language": "python", "display_name": "Python 3"}
        nbformat.write(notebook, project / "notebooks/2_lower_bound.ipynb")
        return project

    monkeypatch.setenv("PYTHONPATH", str(project))
    return make


def _curve(tree: Path, run: RunConfig) -> Path:
    return tree / "out/smoke/runs" / run.run_id / "curve.csv"


def test_after_ctrl_c_in_a_terminal_nothing_runs_and_the_same_command_goes_on(small_batch, tmp_path):
    # Fails if a lock is left that refuses the next call, if a worker outlives the batch or answers the key itself with
    # a traceback, or if the run starts anew: the seconds of its first rows would be others.
    tree = small_batch(RUNS, "print(profile, datasets)")
    terminal = processes.Terminal(COMMAND, cwd=tree)
    processes.wait_for(_curve(tree, RUNS[1]), terminal.process)
    terminal.press_ctrl_c()
    assert terminal.end() == 1
    processes.assert_all_end(tmp_path)
    bar, _, last = terminal.shown.rstrip().rpartition("\n")
    assert last.startswith("Stopped. 1 of 2 runs are complete, the others keep their last checkpoint")
    assert "sample/s, 1 of 3 jobs done" in bar and "Traceback" not in bar
    first_rows = _curve(tree, RUNS[1]).read_text()
    again = subprocess.run(COMMAND, cwd=tree, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert "Trained 1 run" in again.stdout and "Executed 1 notebook." in again.stdout
    assert _curve(tree, RUNS[1]).read_text().startswith(first_rows)
    executed = (tree / "out/smoke/2_lower_bound.ipynb").read_text()
    assert "smoke digits" in executed
    once_more = subprocess.run(COMMAND, cwd=tree, capture_output=True, text=True)
    assert "Nothing to do" in once_more.stdout, once_more.stderr


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


def test_a_notebook_that_fails_shows_its_last_lines_and_its_log(small_batch):
    # Fails if the user is sent to a log for the reason, or cannot find it.
    tree = small_batch([], "from pathlib import Path\nPath('nowhere/to/be/found').read_text()")
    run = subprocess.run(COMMAND, cwd=tree, capture_output=True, text=True, env={**os.environ, "TERM": "dumb"})
    assert run.returncode == 1
    log = tree / "out/smoke/logs/2_lower_bound.log"
    assert "No such file or directory: 'nowhere/to/be/found'" in run.stderr and f"Its log: {log}" in run.stderr
    assert "nowhere/to/be/found" in log.read_text()
    assert run.stderr.rstrip().endswith("What was done is kept: run the same command again to do the rest.")
    assert not (tree / "out/smoke/2_lower_bound.ipynb").exists()
