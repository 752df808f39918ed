"""One table of curves: which run a row is of, what it measures, and where two curves are compared."""

import numpy as np
import pandas as pd
import pytest

from replication import paths
from replication.config import RunConfig
from replication.errors import ReplicationError
from replication.runs import checkpoints, curves, training
from replication.runs.points import evaluation_points, point_of
from replication.runs.records import Record

AEVB = RunConfig(
    dataset="digits", algorithm="aevb", n_latent=3, n_hidden=8, n_train=297, metric="log_px", samples_total=250_000
)
MCEM = AEVB.replace(algorithm="mcem", batch_size=297)


def record(config: RunConfig, samples: tuple[int, ...], value: float = -25.0, split: str = "test") -> Record:
    rows = [
        {"samples_evaluated": at, "split": split, "measure": "evaluated", "value": value, "se": 1.0} for at in samples
    ]
    return Record(config, pd.DataFrame(rows), {})


def test_a_point_a_step_beside_is_the_same_point():
    # 5 updates on 297 datapoints make steps of 1485 samples. Fails if two algorithms have no point in common, or if
    # two points that differ become one.
    assert point_of("log_px", np.array([100_980, 250_965]), 1485).tolist() == [100_000, 250_000]
    assert point_of("bound", np.array([100_160, 125_200, 130_000, 1_000_000]), 313).tolist() == [
        100_000, 125_000, 130_000, 1_000_000,
    ]  # fmt: skip
    assert point_of("bound", np.array([4000]), 100).tolist() == [4000]


def test_the_last_common_point_is_that_of_the_shortest_run_and_counts_runs_not_rows():
    table = curves.table([
        record(AEVB, (100_000, 250_000)), record(MCEM, (100_980,)), record(AEVB.replace(seed=1), (100_000, 250_000)),
    ])  # fmt: skip
    common = curves.last_common(table)
    assert len(common) == 3 and set(common["point"]) == {100_000}
    assert set(curves.last(table)["point"]) == {100_000, 250_000}
    alone = curves.last_common(table, alike=["algorithm"])
    assert alone.set_index("algorithm")["point"].to_dict() == {"aevb": 250_000, "mcem": 100_000}
    assert curves.last_common(curves.table([record(AEVB, (250_000,)), record(MCEM, (100_980,))])).empty


def test_a_run_that_is_given_twice_counts_once():
    # Two copies of one record would look like two seeds.
    twice = curves.table([record(AEVB, (100_000,)), record(AEVB.replace(samples_total=100_000), (100_000,))])
    assert len(twice) == 1
    with pytest.raises(ReplicationError, match="no record"):
        curves.table([])


def test_what_the_paper_reports_on_train_is_the_running_mean_and_the_model_is_evaluated_at_the_end(tiny, tmp_path):
    # Fails if the two are taken for each other: a running mean of a young run contains its start.
    table = curves.table([training.train(tiny, tmp_path)])
    assert table[["split", "measure"]].to_numpy().tolist() == [
        ["train", "running_mean"], ["train", "evaluated"], ["test", "evaluated"],
    ]  # fmt: skip
    assert curves.as_reported(table)["measure"].tolist() == ["running_mean", "evaluated"]
    train, test = curves.evaluated(table)["value"]
    (mean, _) = curves.as_reported(table)["value"]
    assert mean < train - 2, "4,000 samples include the start"
    assert abs(train - test) < 2, "after 40 steps nothing is overfitted"


def test_a_run_that_goes_on_has_the_record_of_one_that_was_never_shorter(tiny, tmp_path):
    # Fails if a row stays that only the end of the shorter run had: 130,000 is no point of the grid, and 125,000 has
    # the model on train as long as it is the end.
    for i, ends in enumerate(((200_000,), (125_000, 200_000), (130_000, 200_000))):
        checkpoints.path(tiny).unlink(missing_ok=True)
        for end in ends:
            again = training.train(tiny.replace(samples_total=end), tmp_path / str(i))
        if i == 0:
            at_once = again
        assert again.facts["numbers_sha256"] == at_once.facts["numbers_sha256"], ends
    assert at_once.curve["samples_evaluated"].unique().tolist() == evaluation_points("bound", 200_000)


def test_every_committed_record_is_of_the_table(tmp_path):
    # Fails if a record has another word for a split, a measure or a value.
    files = sorted((paths.DATA / "runs").glob("*/curve.csv"))
    assert len(files) >= 116
    for file in files:
        curve = pd.read_csv(file)
        assert set(curve["split"]) <= set(curves.SPLITS) and set(curve["measure"]) <= set(curves.MEASURES), file
        assert not curve.duplicated(["samples_evaluated", "split", "measure"]).any(), file
        assert curve["value"].notna().all(), file
