"""Records survive what happens to files: tampering, interruption, full disks."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from replication import paths
from replication.errors import RecordError
from replication.files import write_atomically
from replication.runs import checkpoints, records, training
from replication.runs.load_or_train import load_or_train

ROWS = [
    {"samples_evaluated": n, "split": split, "bound": -100.0 - n, "bound_se": 0.25, "reconstruction": -90.0 - n,
     "kl": 10.0, "seconds": 1.0}
    for n in (1000, 4000) for split in ("train", "test")
]  # fmt: skip


def test_record_comes_back_as_it_was(tiny, tmp_path):
    saved = records.save(tiny, ROWS, {"device": "CPU", "seconds": 1.0}, tmp_path)
    loaded = records.load(tiny, tmp_path)
    assert loaded.curve.equals(saved.curve)
    assert loaded.samples_evaluated == 4000 and records.is_complete(tiny, tmp_path)
    assert {"device", "seconds", "cpu", "python", "packages", "commit"} <= loaded.facts.keys()
    assert not list(tmp_path.glob(".*")), "a temporary folder was left behind"


def test_longer_record_serves_a_shorter_run(tiny, tmp_path):
    records.save(tiny, ROWS, {}, tmp_path)
    assert records.load(tiny.replace(samples_total=1000), tmp_path).samples_evaluated == 1000
    assert not records.is_complete(tiny.replace(samples_total=8000), tmp_path)


def test_a_record_that_begins_beyond_the_run_says_so(tiny, tmp_path):
    # An empty curve would surface as a NaN far away from its cause.
    records.save(tiny, ROWS[2:], {}, tmp_path)
    with pytest.raises(RecordError, match=r"begins at 4,000 samples, beyond the 1,000.*set samples_total"):
        records.load(tiny.replace(samples_total=1000), tmp_path)


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
    with pytest.raises(RecordError, match=r"not what the run wrote(.|\n)*Restore it"):
        records.load(tiny, tmp_path)


def test_half_a_record_is_an_error(tiny, tmp_path):
    records.save(tiny, ROWS, {}, tmp_path)
    (tmp_path / tiny.run_id / "curve.csv").unlink()
    with pytest.raises(RecordError, match=r"damaged(.|\n)*Delete the folder"):
        records.load(tiny, tmp_path)


def test_unwritable_folder_is_an_error_with_its_cure(tiny, tmp_path):
    (tmp_path / "runs").write_text("a file where the folder should be")
    with pytest.raises(RecordError, match=r"cannot be written(.|\n)*run the same command again"):
        records.save(tiny, ROWS, {}, tmp_path / "runs")


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


def test_recorded_only_turns_a_missing_record_into_an_error(tiny, tmp_path, monkeypatch):
    # Otherwise a notebook in CI would train for hours.
    monkeypatch.setattr(paths, "runs", lambda profile: tmp_path)
    monkeypatch.setenv("REPLICATION_RECORDED_ONLY", "1")
    with pytest.raises(RecordError, match=f"{tiny.run_id}(.|\n)*replication train --profile paper"):
        load_or_train([tiny], "paper")


def test_missing_runs_are_trained_side_by_side(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "runs", lambda profile: tmp_path)
    monkeypatch.delenv("REPLICATION_RECORDED_ONLY", raising=False)
    configs = [tiny, tiny.replace(algorithm="wake_sleep")]
    found = load_or_train(configs, "smoke")
    assert [record.config for record in found] == configs
    curves = records.curves(found)
    assert set(curves["algorithm"]) == {"aevb", "wake_sleep"} and set(curves["split"]) == {"train", "test"}


def test_one_failing_run_leaves_the_others_alone(tiny, tmp_path):
    from replication.errors import ReplicationError
    from replication.runs.parallel import train_all

    diverging = tiny.replace(learning_rate=1e30)
    with pytest.raises(ReplicationError, match=r"1 of 2 runs failed(.|\n)*not finite"):
        train_all([diverging, tiny], tmp_path)
    assert records.is_complete(tiny, tmp_path) and records.load(diverging, tmp_path) is None


def test_record_says_on_what_it_was_made(tiny, tmp_path):
    training.train(tiny, tmp_path)
    content = json.loads((tmp_path / tiny.run_id / "config.json").read_text())
    assert content["run_id"] == tiny.run_id and content["config"] == tiny.model_dump()
    assert content["device"] and content["cpu"] and content["packages"]["tensorflow"]
