"""The batch chooses its datasets openly, and the command line prints errors without a traceback."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from replication import __main__, benchmark, exported, paths, published
from replication.batch import dependencies, local, notebooks
from replication.config import RunConfig
from replication.errors import DataError, RecordError, ReplicationError
from replication.exported import runner
from replication.paper import notebook, rates
from replication.paper.experiments import all_runs, estimators, figure3, full_vb
from replication.paper.plans import Plan, make_plan
from replication.runs import parallel, records, training

SMOKE = make_plan("smoke")
NOTEBOOKS = set(notebooks.names())


@pytest.fixture
def no_network(tmp_path, monkeypatch):
    monkeypatch.setattr(published, "MNIST_MIRRORS", ("http://127.0.0.1:9/",))
    monkeypatch.setattr(published, "FREY_FACE_MIRRORS", {"frey_rawface.mat": "http://127.0.0.1:9/frey_rawface.mat"})
    monkeypatch.setattr(paths, "DATA", tmp_path)
    monkeypatch.delenv("REPLICATION_DATA_DIR", raising=False)


def test_unreachable_mnist_falls_back_loudly(no_network, capsys):
    assert local.reachable_datasets() == ["digits"]
    printed = capsys.readouterr()
    assert "MNIST CANNOT BE REACHED" in printed.out and "no connection" in printed.err


def test_damaged_mnist_does_not_fall_back(no_network, tmp_path):
    # Substituting another dataset would hide the damage.
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / "train-images-idx3-ubyte.gz").write_bytes(b"half a file")
    with pytest.raises(DataError, match="truncated or altered"):
        local.reachable_datasets()


def test_both_datasets_when_they_are_there(load_or_skip):
    load_or_skip("mnist")
    load_or_skip("frey_face")
    assert local.reachable_datasets() == ["mnist", "frey_face"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--profile", "fast"], "Unknown profile 'fast'"),
        (["notebooks", "--only", "9"], "There is no notebook 9"),
        (["execute", "nonsense", "--profile", "smoke"], "There is no notebook nonsense"),
        (["export", "/dev/null/x", "--profile", "smoke", "--seed", "1312"], "/dev/null is no folder"),
        (["collect", "/dev/null"], "/dev/null is no exported folder"),
        (["benchmark", "--rounds", "0"], "would measure nothing"),
        (["benchmark", "--only", ""], "The benchmark has no part ''. Its parts are peers"),
        (["train", "--profile", "smoke", "--jobs", "-3"], "-3 jobs side by side would do nothing"),
        (["reproduce", "--profile", "smoke", "--jobs", "0"], "0 jobs side by side would do nothing"),
        (["train", "--profile", "smoke", "--only", "nonsense"], "has no run nonsense. Its runs are:\n  digits-"),
    ],
)
def test_command_line_errors_are_one_message(arguments, message):
    command = [sys.executable, "-m", "replication", *arguments]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 1 and message in run.stderr and "Traceback" not in run.stderr
    assert "InitializeLog" not in run.stderr, "TensorFlow's C++ greets"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_what_cannot_be_printed_is_one_message():
    # A full disk under stdout. Fails if the user sees a traceback, or success.
    for arguments in (["verdict", "--json"], ["--help"]):
        with Path("/dev/full").open("w") as full:
            command = [sys.executable, "-m", "replication", *arguments]
            run = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
        assert run.returncode == 1 and run.stderr == "The output cannot be written: No space left on device.\n"


def test_a_reader_that_has_gone_is_no_error():
    # As `| head` does. Fails if the user sees a traceback of a broken pipe.
    script = "from replication import __main__ as it; it.app = lambda: print('x' * 10**6); it.main()"
    writer = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    writer.stdout.close()
    assert writer.stderr.read() == "" and writer.wait() == 1


def test_runs_that_are_named_twice_are_trained_once(monkeypatch):
    plan = make_plan("smoke")
    one, other, *_ = all_runs(plan)
    monkeypatch.setattr(records, "is_complete", lambda config, folder: False)
    named = f"{one.run_id}, {other.run_id},{one.run_id}"
    assert __main__._todo("smoke", named, None, plan.reading.name, 0) == [one, other]


@pytest.mark.parametrize(
    ("n_rounds", "seconds"), [(0, 1.0), (-1, 1.0), (1, 0.0), (1, -1.0), (1, float("nan")), (1, float("inf"))]
)
def test_a_number_that_would_measure_nothing_is_refused(monkeypatch, n_rounds, seconds):
    # Fails if the tables get rates of no steps, or if the benchmark never ends.
    monkeypatch.setattr(benchmark, "_mnist", lambda: pytest.fail("it began to measure"))
    with pytest.raises(ReplicationError, match="would measure nothing, or never end"):
        benchmark.run(["peers"], n_rounds, seconds)


def _smoke_in_a_notebook() -> None:
    notebook.make_plan("smoke", 0, None, "authors", {})


@pytest.mark.parametrize("place", ["figures", "runs", "tables"])
@pytest.mark.parametrize(
    "begin",
    [
        lambda: local.reproduce("smoke", "authors", 1),
        _smoke_in_a_notebook,
        lambda: __main__.train("smoke", None, None, "authors", 0, 1, None),
    ],
    ids=["the batch", "a notebook", "training"],
)
def test_a_file_in_the_way_of_a_folder_is_said_before_the_training(monkeypatch, tmp_path, begin, place):
    # Fails if somebody trains for hours to be told then that the figure has no place.
    monkeypatch.setattr(paths, "out", lambda profile: tmp_path / "out")
    monkeypatch.setattr(parallel, "work_off", lambda *arguments: pytest.fail("it began to train"))
    monkeypatch.setattr(paths, place, lambda profile: tmp_path / "file" / "below")
    (tmp_path / "file").touch()
    with pytest.raises(RecordError, match=f"{tmp_path}/file is no folder. Give that file another name"):
        begin()


@pytest.mark.parametrize("profile", [None, 3, ["paper"], "../../elsewhere", "fast"])
def test_an_exported_folder_of_no_known_profile_is_refused(tmp_path, profile):
    # Fails with a traceback, or with records outside of the project.
    (tmp_path / runner.JOBS).write_text(json.dumps([{"run_id": "a-run", "profile": profile}]))
    with pytest.raises(RecordError, match="says no profile that is known here"):
        exported.profile_of(tmp_path)


def test_a_folder_in_the_place_of_what_came_back_is_said(tmp_path):
    # Fails with a traceback, and the other runs are not collected.
    (tmp_path / runner.JOBS).write_text(json.dumps([{"run_id": "a-run", "profile": "quick"}]))
    (tmp_path / runner.TRAINED / "a-run.npz").mkdir(parents=True)
    with pytest.raises(RecordError, match=r"Runs recorded: 0\. These are not:\na-run: .*directory"):
        exported.collect(tmp_path, tmp_path / "records")


def _pressed(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("begin", "message"),
    [
        (lambda: local.reproduce("smoke", "authors", 1), "Stopped. 0 of"),
        (
            lambda: __main__.train("smoke", None, None, "authors", 0, 1, None),
            "Stopped. Runs go on from their last check",
        ),
    ],
    ids=["the batch", "training"],
)
def test_ctrl_c_says_how_to_go_on(monkeypatch, tmp_path, begin, message):
    # Fails if the key ends in a traceback, which does not tell that the checkpoints are kept.
    monkeypatch.setattr(paths, "out", lambda profile: tmp_path / "out")
    monkeypatch.setattr(parallel, "work_off", _pressed)
    with pytest.raises(ReplicationError, match=message):
        begin()


def _record(config: RunConfig, folder: Path, samples: int) -> None:
    rows = [
        {"samples_evaluated": samples, "split": split, "measure": "evaluated", "value": -30.0, "seconds": 1.0}
        for split in ("train", "test")
    ]
    records.save(config, rows, {"contributors": []}, folder)


def _finish(tree: Path, plan: Plan) -> None:
    """Every run of a plan gets a record, and every notebook counts as executed with what is asked for."""
    _python("dependencies.note_parameters(plan)", plan, tree)
    for config in all_runs(plan):
        _record(config, _runs(tree, plan), config.samples_total)
    for file in (tree / "notebooks").glob("[0-9]_*.ipynb"):
        shutil.copy(file, tree / "out" / plan.profile)


def _runs(tree: Path, plan: Plan) -> Path:
    return tree / paths.runs(plan.profile).relative_to(paths.ROOT)


def _python(script: str, plan: Plan, tree: Path) -> str:
    """What a script prints that knows the plan."""
    imports = "from replication.batch import dependencies, local; from replication.paper.plans import make_plan"
    script = f"{imports}\nplan = make_plan({plan.profile!r}, datasets={plan.datasets!r})\n{script}"
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    run = subprocess.run([sys.executable, "-c", script], cwd=tree, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.fixture
def finished_batch(project) -> Path:
    """A copy of the project in which every run of the profile smoke has a record, and every notebook was executed."""
    _finish(project, SMOKE)
    return project


def _outputs_to_make(tree: Path, plan: Plan) -> set[str]:
    """What Snakemake would make, as its dry run lists it."""
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--cores", "1", "--config", f"profile={plan.profile}"]
    command.append(f"datasets={','.join(plan.datasets)}")
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    run = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    return set(re.findall(rf"^ +output: out/{plan.profile}/(.*)$", run.stdout + run.stderr, re.MULTILINE))


def _jobs_to_do(tree: Path, plan: Plan) -> list[str]:
    """What a batch on this machine would do."""
    script = "dependencies.note_parameters(plan); print(*(job.name for job in local.jobs(plan)))"
    return _python(script, plan, tree).split()


@pytest.mark.slow
def test_the_batch_makes_what_is_missing_and_nothing_else(finished_batch):
    # Fails if a marker file stands for a deleted record, or if a record that is too short is taken for complete
    # or deleted before it is extended, or if a complete record is trained again because its file is new.
    runs = finished_batch / "out/smoke/runs"
    assert _outputs_to_make(finished_batch, SMOKE) == set() and _jobs_to_do(finished_batch, SMOKE) == []
    deleted, short = full_vb(SMOKE)[-1], estimators(SMOKE)[1]  # of two jobs
    shutil.rmtree(runs / deleted.run_id)
    shutil.rmtree(runs / short.run_id)
    _record(short, runs, 1000)
    wanted = {f"runs/{deleted.run_id}/config.json", f"extended/{short.run_id}-{short.samples_total}"}
    assert _outputs_to_make(finished_batch, SMOKE) == {*wanted, "6_full_vb.ipynb", "1_estimators.ipynb"}
    assert _jobs_to_do(finished_batch, SMOKE) == [short.run_id, "1_estimators", deleted.run_id, "6_full_vb"]


def test_an_executed_notebook_that_is_damaged_is_executed_again(finished_batch):
    # Fails if what an editor or a full disk left of it counts as done.
    (finished_batch / "out/smoke/5_samples.ipynb").write_text("{")
    assert _jobs_to_do(finished_batch, SMOKE) == ["5_samples"]


def test_notebooks_that_bring_no_run_come_last():
    # Fails if one that needs many runs, all of them another's, is done before one that brings some.
    runs_of = {"0_method": ["a"], "2_lower_bound": ["a", "b"], "6_full_vb": ["c"], "8_verdict": ["a", "b"]}
    assert list(local._in_order(runs_of)) == ["2_lower_bound", "6_full_vb", "0_method", "8_verdict"]


def test_runs_that_share_a_job_are_made_by_one(finished_batch):
    # Fails if each of them gets a job of its own, or if a notebook does not wait for the job of its run.
    first, *_, last = figure3(SMOKE)
    for run in (first, last):
        shutil.rmtree(finished_batch / "out/smoke/runs" / run.run_id)
    assert _outputs_to_make(finished_batch, SMOKE) == {
        f"runs/{last.run_id}/config.json",
        "3_marginal_likelihood.ipynb",
        "8_verdict.ipynb",
    }


@pytest.mark.slow
def test_a_changed_figure_executes_the_notebooks_again(finished_batch):
    # Otherwise a broken figure stays unseen: the old notebook looks as if it had been drawn by the new code.
    figures = finished_batch / "replication/plots/figures.py"
    figures.write_text(figures.read_text() + "\nraise RuntimeError\n")
    _touch(figures)
    assert _outputs_to_make(finished_batch, SMOKE) == {f"{name}.ipynb" for name in NOTEBOOKS}
    todo = _jobs_to_do(finished_batch, SMOKE)
    assert todo[:2] == [local.FIRST, local.LONGEST] and {*todo} == NOTEBOOKS


def _touch(file: Path, seconds: float = 1.0) -> None:
    """Make a file newer than the notebooks: the file system's clock is too coarse to tell its moment from theirs."""
    os.utime(file, (time.time() + seconds,) * 2)


@pytest.mark.slow
def test_notebooks_of_other_datasets_are_executed_again(project, load_or_skip):
    # Fails if what was executed on digits, while MNIST could not be reached, passes for the paper's figures.
    on_digits, on_mnist = (make_plan("quick", datasets=datasets) for datasets in ("digits", "mnist"))
    for config in all_runs(on_mnist):
        _record(config, _runs(project, on_mnist), config.samples_total)
    _finish(project, on_digits)
    assert _jobs_to_do(project, on_digits) == []
    assert {*_jobs_to_do(project, on_mnist)} == NOTEBOOKS
    load_or_skip("mnist")  # as Snakemake does
    assert _outputs_to_make(project, on_mnist) == {f"{name}.ipynb" for name in NOTEBOOKS}


@pytest.mark.slow
def test_a_newer_record_or_table_that_a_notebook_shows_executes_it_again_and_no_other(finished_batch):
    # Fails if notebook 9_readings shows fewer runs than were tried, or notebook 3 another table than is there.
    tried = rates.candidates()[0]
    _record(tried, finished_batch / "data/runs", tried.samples_total)
    curve = finished_batch / "data/runs" / tried.run_id / records.CURVE
    table = finished_batch / "data/tables/log_px_accuracy-0/table.csv"
    table.parent.mkdir(parents=True)
    table.touch()
    for seconds, notebooks_to_do in ((-60.0, set()), (1.0, {"9_readings", "3_marginal_likelihood"})):
        for file in (curve, table):
            _touch(file, seconds)
        assert {*_jobs_to_do(finished_batch, SMOKE)} == notebooks_to_do
    assert _outputs_to_make(finished_batch, SMOKE) == {f"{name}.ipynb" for name in notebooks_to_do}


@pytest.mark.parametrize("notebook", sorted(NOTEBOOKS))
def test_the_batch_knows_of_every_notebook_that_shows_other_records_or_tables(notebook):
    # Fails if a notebook begins to show what its runs are not, and the batch takes it for current when that is newer.
    source = (paths.NOTEBOOKS / f"{notebook}.ipynb").read_text(encoding="utf-8")
    assert ("records.existing(" in source or "report.make" in source) == (notebook in dependencies.OTHER_RECORDS)
    assert ("load_or_compute(" in source or "first_iterations(" in source) == (notebook in dependencies.TABLES)


def test_a_copy_of_a_notebook_is_left_alone_and_a_missing_one_is_said(monkeypatch, tmp_path):
    # Jupyter's "Duplicate" makes 2_lower_bound-Copy1.ipynb. Fails if the batch ends with a KeyError for either.
    monkeypatch.setattr(paths, "NOTEBOOKS", tmp_path)
    for name in (*NOTEBOOKS, "2_lower_bound-Copy1", "1_of_my_own"):
        (tmp_path / f"{name}.ipynb").touch()
    assert {*notebooks.names()} == NOTEBOOKS
    (tmp_path / "2_lower_bound.ipynb").unlink()
    with pytest.raises(RecordError, match=r"2_lower_bound.ipynb is missing. Restore it from version control"):
        notebooks.names()


def test_clean_keeps_what_no_command_makes_again(tmp_path):
    # Fails if hours of a GPU, trained elsewhere and not collected yet, go with the batch's notebooks.
    shutil.copy(paths.ROOT / "Makefile", tmp_path)
    trained, executed = (tmp_path / "out" / name for name in ("for-the-gpu/trained/a.npz", "quick/2_lower_bound.ipynb"))
    for file in (trained, executed):
        file.parent.mkdir(parents=True)
        file.touch()
    subprocess.run(["make", "clean"], cwd=tmp_path, check=True, capture_output=True)
    assert trained.exists() and not executed.parent.exists()


def test_the_batch_tells_training_from_a_record_rewritten_from_its_checkpoint(tiny, tmp_path, monkeypatch):
    # Fails if a run whose checkpoint was finished counts as trained.
    monkeypatch.setattr(parallel.device, "configure", lambda: None)  # too late in this process
    training.train(tiny, tmp_path / "deleted")  # leaves a finished checkpoint
    jobs = [parallel.training_job(config, tmp_path / "runs") for config in (tiny, tiny.replace(seed=1))]
    costs = {job.name: job.work(lambda samples, bound: None, *job.arguments) for job in jobs}
    assert records.is_complete(tiny, tmp_path / "runs")
    trained = costs[tiny.replace(seed=1).run_id]
    assert trained.steps == records.require(tiny.replace(seed=1), tmp_path / "runs").facts["seconds"]
    assert 0 < trained.core_seconds < 600
    assert parallel.costs_in_words(costs) == (
        f"Trained 1 run ({trained.core_seconds:.0f} core-seconds; "
        f"their steps, since they began, {trained.steps:.0f} s). "
        "Wrote the record of 1 run from the finished checkpoint, without training."
    )


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs a system with CPU affinity")
@pytest.mark.skipif(os.cpu_count() == 1, reason="needs two cores")
def test_the_default_number_of_jobs_is_that_of_the_cores_which_the_process_may_use():
    # In a Slurm job or a container, os.cpu_count() says what the machine has: too many workers share few cores.
    script = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
    script += "from replication.runs import device; print(device.runs_side_by_side())"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.stdout.strip() == "1", run.stderr
