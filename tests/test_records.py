"""Records survive what happens to files: tampering, interruption, full disks."""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest

matplotlib.use("agg")

import matplotlib.pyplot as plt

from replication import exported, paths
from replication.batch import local
from replication.errors import RecordError, ReplicationError
from replication.files import Bundle, Hash, write_atomically
from replication.plots import figures
from replication.runs import checkpoints, curves, parallel, records, training
from replication.runs.load_or_train import load_or_train

ROWS = [
    {"samples_evaluated": n, "split": split, "measure": "evaluated", "value": -100.0 - n, "se": 0.25,
     "reconstruction": -90.0 - n, "kl": 10.0, "seconds": 1.0}
    for n in (1000, 4000) for split in ("train", "test")
]  # fmt: skip


def names_in(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_record_comes_back_as_it_was(tiny, tmp_path):
    records.save(tiny, ROWS, {"seconds": 1.0}, tmp_path, {"w": np.ones(3)})
    loaded = records.load(tiny, tmp_path)
    assert loaded.curve.equals(pd.DataFrame(ROWS)) and loaded.facts["seconds"] == 1.0
    assert loaded.samples_evaluated == 4000 and records.is_complete(tiny, tmp_path)
    assert names_in(tmp_path / tiny.run_id) == ["config.json", "curve.csv", "weights.npz"]


def test_equal_numbers_have_equal_hashes_whatever_the_clock_said(tiny, tmp_path):
    # Otherwise two machines that agree to the bit could not be seen to.
    slow = [{**row, "seconds": 2 * row["seconds"]} for row in ROWS]
    other = [{**row, "kl": row["kl"] + 0.001} for row in ROWS]
    one, two, three = (
        records.save(tiny, rows, {}, tmp_path / str(i)).facts["numbers_sha256"]
        for i, rows in enumerate((ROWS, slow, other))
    )
    assert one == two != three


def test_longer_record_serves_a_shorter_run(tiny, tmp_path):
    contributors = [{"from_samples": n, "commit": str(n), "cpu": "a"} for n in (0, 1000)]
    facts = {"contributors": contributors, "kl_per_dimension": [1.0, 2.0], "seconds": 7.0}
    records.save(tiny, ROWS, facts, tmp_path)
    shorter = records.load(tiny.replace(samples_total=1000), tmp_path)
    assert shorter.samples_evaluated == 1000 and shorter.commits == ["0"] and shorter.facts["seconds"] == 1.0
    with pytest.raises(RecordError, match=r"recorded at the end.*after 1,000 samples.*samples_total"):
        shorter.kl_per_dimension  # noqa: B018, it is that after 4,000 samples
    assert records.load(tiny, tmp_path).kl_per_dimension == [1.0, 2.0]
    assert records.is_complete(tiny.replace(samples_total=2000), tmp_path)
    assert not records.is_complete(tiny.replace(samples_total=8000), tmp_path)


def test_a_record_of_another_configuration_is_refused_with_what_differs(tiny, tmp_path):
    # A folder that was renamed, or edited, would answer for a run that never was. Settings that did not exist yet when
    # a record was made have the value that acts as before.
    records.save(tiny, ROWS, {}, tmp_path)
    index = tmp_path / tiny.run_id / "config.json"
    content = json.loads(index.read_text())
    del content["config"]["log_var_factor"]
    index.write_text(json.dumps(content))
    assert records.load(tiny, tmp_path).samples_evaluated == 4000
    content["config"]["batch_size"] = 50
    index.write_text(json.dumps(content))
    with pytest.raises(RecordError, match="of another run: batch_size = 50 instead of 100"):
        records.load(tiny, tmp_path)


def test_a_record_that_begins_beyond_the_run_says_so(tiny, tmp_path):
    # An empty curve would surface as a NaN far away from its cause.
    records.save(tiny, ROWS[2:], {}, tmp_path)
    shorter = tiny.replace(samples_total=1000)
    with pytest.raises(
        RecordError, match=r"begins at 4,000 samples, beyond the 1,000.*Set samples_total.*another seed"
    ):
        records.load(shorter, tmp_path)
    assert records.begins_beyond(shorter, tmp_path) and not records.begins_beyond(tiny, tmp_path)


def test_a_record_that_begins_beyond_is_not_among_those_that_are_taken_where_they_are_there(
    tiny, tmp_path, monkeypatch
):
    # Fails if a notebook that shows other seeds where they are recorded ends with an error, because one is too long.
    monkeypatch.setattr(paths, "runs", lambda profile: tmp_path)
    records.save(tiny, ROWS[2:], {}, tmp_path)
    assert records.existing([tiny.replace(samples_total=1000)], "smoke") == []
    assert [record.samples_evaluated for record in records.existing([tiny, tiny], "smoke")] == [4000]


def test_later_record_replaces_the_earlier(tiny, tmp_path):
    records.save(tiny, ROWS[:2], {}, tmp_path)
    records.save(tiny, ROWS, {}, tmp_path)
    assert len(records.load(tiny, tmp_path).curve) == 4


def test_shorter_run_never_replaces_a_longer_record(tiny, tmp_path):
    # A run that starts anew, in a fresh clone say, must not shorten what is recorded.
    records.save(tiny, ROWS, {}, tmp_path)
    returned = records.save(tiny.replace(samples_total=1000), ROWS[:2], {}, tmp_path)
    assert records.load(tiny, tmp_path).samples_evaluated == 4000 and returned.samples_evaluated == 1000


def test_one_changed_digit_is_noticed(tiny, tmp_path):
    records.save(tiny, ROWS, {}, tmp_path)
    curve = tmp_path / tiny.run_id / "curve.csv"
    curve.write_text(curve.read_text().replace("-1100.0000", "-1101.0000", 1))
    with pytest.raises(RecordError, match=r"curve.csv is not what was written(.|\n)*Restore it"):
        records.load(tiny, tmp_path)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (None, "names no configuration"),
        ({"future": 1}, "does not know: future(.|\n)*use that one"),
        ({"estimator": "iwae"}, "does not know. (.|\n)*estimator(.|\n)*Use the version that wrote it"),
    ],
    ids=["none", "newer setting", "newer value"],
)
def test_a_record_without_a_configuration_or_of_a_newer_version_says_so(tiny, tmp_path, config, said):
    # Fails if its reader gets a KeyError, or the advice to delete what a newer version wrote.
    records.save(tiny, ROWS, {}, tmp_path)
    index = tmp_path / tiny.run_id / "config.json"
    content = json.loads(index.read_text())
    content["config"] = config and {**content["config"], **config}
    index.write_text(json.dumps(content))
    with pytest.raises(RecordError, match=said):
        records.load(tiny, tmp_path)


@pytest.mark.parametrize("digest", [None, 5])
def test_a_record_whose_hash_is_no_text_is_an_error(tiny, tmp_path, digest):
    records.save(tiny, ROWS, {}, tmp_path)
    index = tmp_path / tiny.run_id / "config.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), "numbers_sha256": digest}))
    with pytest.raises(RecordError, match=r"curve\.csv is not what was written"):
        records.load(tiny, tmp_path)


def test_half_a_record_is_an_error(tiny, tmp_path):
    records.save(tiny, ROWS, {}, tmp_path)
    (tmp_path / tiny.run_id / "curve.csv").unlink()
    with pytest.raises(RecordError, match=r"curve.csv is missing(.|\n)*delete the folder"):
        records.load(tiny, tmp_path)


def test_without_its_index_a_record_is_not_there_and_can_be_written_anew(tiny, tmp_path):
    # A job may find the folder, or files of an earlier attempt, and must not fail on them.
    records.save(tiny, ROWS, {}, tmp_path)
    (tmp_path / tiny.run_id / "config.json").unlink()
    assert records.load(tiny, tmp_path) is None
    assert records.save(tiny, ROWS[:2], {}, tmp_path).samples_evaluated == 1000


# Writes bundles of two files that agree with each other, 0 1 2 ..., until it is killed or has written so many.
WRITER = """
import sys; from itertools import count; from pathlib import Path
from replication.files import Bundle, Hash, locked
bundle = Bundle(Path(sys.argv[1]), "index.json", {"a": Hash("a_sha256"), "b": Hash("b_sha256")})
for i in range(int(sys.argv[2])) if len(sys.argv) > 2 else count():
    with locked(bundle.folder):
        bundle.write({"i": i}, {name: (f"{name}{i} " * 5000).encode() for name in "ab"})
"""


def read_bundle(folder: Path) -> int | None:
    """The number of the bundle that is there, after a check that all its files are of that number."""
    found = Bundle(folder, "index.json", {"a": Hash("a_sha256"), "b": Hash("b_sha256")}).read("a", "b")
    if found is None:
        return None
    facts, contents = found
    assert contents == [(f"{name}{facts['i']} " * 5000).encode() for name in "ab"]
    return facts["i"]


def start_writer(folder: Path, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", WRITER, str(folder), *arguments])


def test_a_reader_in_a_tight_loop_sees_one_record_or_the_next(tmp_path):
    # Fails if there is a moment without a record, or with files of two of them.
    folder, seen = tmp_path / "bundle", []
    writer = start_writer(folder, "800")
    while writer.poll() is None:
        seen.append(read_bundle(folder))
    numbers = [i for i in seen if i is not None]
    assert writer.returncode == 0 and len(set(numbers)) > 20
    assert numbers == sorted(numbers) and seen == [None] * (len(seen) - len(numbers)) + numbers
    assert names_in(folder) == ["a", "b", "index.json"]


def test_two_writers_leave_one_whole_record_and_nothing_else(tmp_path):
    # Without a lock one removes the files that the other is about to rename.
    folder = tmp_path / "bundle"
    writers = [start_writer(folder, "300") for _ in range(2)]
    while any(writer.poll() is None for writer in writers):
        read_bundle(folder)
    assert [writer.returncode for writer in writers] == [0, 0] and read_bundle(folder) == 299
    assert names_in(folder) == ["a", "b", "index.json"]


@pytest.mark.faults
def test_a_writer_that_is_killed_anywhere_leaves_a_whole_record(tmp_path):
    # Fails if a killed writer leaves half a record, or leavings that the next writer does not remove.
    folder, between = tmp_path / "bundle", 0
    for i in range(12):
        writer = start_writer(folder)
        before = read_bundle(folder)
        while before == read_bundle(folder) or read_bundle(folder) < 1:
            assert writer.poll() is None
        time.sleep(0.003 * i)
        writer.kill()
        writer.wait()
        between += names_in(folder) != ["a", "b", "index.json"]
        assert read_bundle(folder) >= 1
    assert between, "no writer was killed within a write"
    assert start_writer(folder, "1").wait() == 0
    assert read_bundle(folder) == 0 and names_in(folder) == ["a", "b", "index.json"]


def test_unwritable_folder_is_an_error_with_its_cure(tiny, tmp_path):
    (tmp_path / "runs").write_text("a file where the folder should be")
    with pytest.raises(RecordError, match=r"cannot be written(.|\n)*run the same command again"):
        records.save(tiny, ROWS, {}, tmp_path / "runs")


@pytest.mark.parametrize(
    "write",
    [
        lambda folder, run: write_atomically(folder / "a" / "b", lambda file: file.touch()),
        lambda folder, run: records.save(run, ROWS, {}, folder),
        lambda folder, run: local.execute("2_lower_bound", {}, folder),
        lambda folder, run: figures.save(plt.figure(), [folder / "figure.svg"]),
        lambda folder, run: exported.write([run], folder / "for-the-gpu", "quick"),
        lambda folder, run: parallel.work_off([parallel.Job("job", print, (), folder / "log")], 1)[1]["job"].reason,
    ],
    ids=["a file", "a record", "a notebook", "a figure", "an export", "a log"],
)
def test_a_file_where_a_folder_is_needed_is_named_with_its_cure(tiny, tmp_path, write):
    # As `out/smoke` or `figures/smoke` may be. Fails with a traceback, or if the reader is told to free some space.
    (tmp_path / "smoke").touch()
    try:
        said = write(tmp_path / "smoke", tiny)
    except RecordError as error:
        said = str(error)
    assert f"{tmp_path / 'smoke'} is no folder. Give that file another name, then run the same command again" in said


@pytest.mark.parametrize("content", ["[", '{"a": 1}', '[{"a": 1}]', "7"])
def test_a_damaged_list_of_exported_runs_is_said(tmp_path, content):
    (tmp_path / "jobs.json").write_text(content)
    with pytest.raises(RecordError, match=r"jobs\.json is damaged"):
        exported.collect(tmp_path, tmp_path / "records")


def test_a_folder_where_a_file_is_needed_is_said(tmp_path):
    (tmp_path / "file").mkdir()
    with pytest.raises(RecordError, match=r"it is a folder\. Give that folder another name"):
        write_atomically(tmp_path / "file", lambda file: file.touch())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk_leaves_the_old_content(tmp_path):
    target = tmp_path / "record"
    target.write_text("old")

    def write(temporary):
        temporary.symlink_to("/dev/full")
        temporary.write_text("new")

    with pytest.raises(RecordError, match="No space left on device"):
        write_atomically(target, write)
    assert target.read_text() == "old" and list(tmp_path.iterdir()) == [target]


@pytest.mark.faults
def test_disk_that_fills_up_during_a_run_keeps_the_last_checkpoint(tiny, tmp_path):
    # The kernel refuses to write more than 2 kB per file, as a full disk would; the run fails, nothing is lost.
    training.train(tiny, tmp_path)
    good = checkpoints.path(tiny).read_bytes()
    script = (
        "import resource, sys; from pathlib import Path; from replication.runs import training; "
        "from replication.config import RunConfig; resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)); "
        "training.train(RunConfig.model_validate_json(sys.argv[1]), Path(sys.argv[2]))"
    )
    longer = tiny.replace(samples_total=8000).model_dump_json()
    run = subprocess.run([sys.executable, "-c", script, longer, str(tmp_path)], capture_output=True, text=True)
    assert run.returncode and "RecordError" in run.stderr and "cannot be written: File too large" in run.stderr
    assert checkpoints.path(tiny).read_bytes() == good
    assert records.load(tiny, tmp_path).samples_evaluated == 4000
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


@pytest.mark.parametrize(("value", "is_on"), [("1", True), ("true", True), (" 1", True), ("", False), ("0", False)])
def test_recorded_only_is_on_unless_it_is_empty_or_0(monkeypatch, value, is_on):
    # Fails if a notebook of somebody who writes "true" trains for hours.
    monkeypatch.setenv("REPLICATION_RECORDED_ONLY", value)
    assert paths.is_recorded_only() == is_on


def test_recorded_only_turns_a_missing_record_into_an_error(tiny, tmp_path, monkeypatch):
    # Otherwise a notebook in CI would train for hours.
    monkeypatch.setattr(paths, "runs", lambda profile: tmp_path)
    monkeypatch.setenv("REPLICATION_RECORDED_ONLY", "1")
    with pytest.raises(RecordError, match=f"{tiny.run_id}(.|\n)*replication train --profile paper"):
        load_or_train([tiny], "paper")


@pytest.mark.slow
def test_missing_runs_are_trained_as_if_alone_and_a_failing_one_leaves_the_others_alone(tiny, tmp_path, monkeypatch):
    # One after another in one worker. A cluster trains each in a process of its own: its records must be the same.
    monkeypatch.setattr(paths, "runs", lambda profile: tmp_path / "pool")
    monkeypatch.setattr(parallel.device, "runs_side_by_side", lambda asked=-1: 1)
    configs, diverging = [tiny.replace(algorithm="wake_sleep"), tiny], tiny.replace(learning_rate=1e30)
    with pytest.raises(ReplicationError, match=r"1 of 3 runs failed(.|\n)*not finite"):
        load_or_train([diverging, *configs], "smoke")
    assert records.load(diverging, tmp_path / "pool") is None
    found = load_or_train(configs, "smoke")
    assert [record.config for record in found] == configs
    table = curves.as_reported(curves.table(found))
    assert set(table["algorithm"]) == {"aevb", "wake_sleep"} and set(table["split"]) == {"train", "test"}
    checkpoints.path(tiny).unlink()
    alone = training.train(tiny, tmp_path / "alone").facts
    for name in ("numbers_sha256", "weights_sha256"):
        assert alone[name] == found[-1].facts[name]


def test_record_says_on_what_it_was_made(tiny, tmp_path):
    training.train(tiny, tmp_path)
    content = json.loads((tmp_path / tiny.run_id / "config.json").read_text())
    assert content["run_id"] == tiny.run_id and content["config"] == tiny.model_dump()
    (contributor,) = content["contributors"]
    assert contributor["from_samples"] == 0 and contributor["packages"]["tensorflow"]
    assert all(contributor[name] for name in ("commit", "cpu", "python", "device"))
