"""The tables of the benchmark: what was measured is read as it was written, and is not measured again."""

import pandas as pd
import pytest

from replication import benchmark
from replication.errors import RecordError

TO_BOUND = pd.DataFrame({"contender": "engine", "seed": [0], "bound": -120.0, "seconds": 9.5, "samples": 100_000})


def test_a_table_that_is_not_what_was_measured_is_an_error(tmp_path):
    # Fails if new facts may stand beside an old table, or if half a measurement ends in a traceback.
    benchmark.write("peers", pd.DataFrame({"samples_per_second": [1.0]}), tmp_path)
    (tmp_path / "peers.csv").write_text("samples_per_second\n2\n")
    with pytest.raises(RecordError, match=r"peers\.csv is not what was written"):
        benchmark.read_part("peers", tmp_path)
    (tmp_path / "peers.json").write_text("{")
    with pytest.raises(RecordError, match=r"peers\.json is damaged"):
        benchmark.read_part("peers", tmp_path)


def test_seconds_to_a_bound_are_measured_once_for_a_commit_and_a_machine(tmp_path, monkeypatch):
    # Fails if an interrupted measurement starts anew, or if one of another commit stands for this one.
    monkeypatch.setattr(benchmark, "installed", lambda: ["engine", "sgemm"])
    monkeypatch.setattr(benchmark, "_started", lambda *_: pytest.fail("it measures"))
    benchmark.write("to_bound", TO_BOUND, tmp_path)
    pd.testing.assert_frame_equal(benchmark.to_bound(tmp_path, tmp_path), TO_BOUND, check_dtype=False)

    machine = benchmark._machine()
    monkeypatch.setattr(benchmark, "_machine", lambda: machine | {"commit": "another"})
    with pytest.raises(pytest.fail.Exception, match="it measures"):
        benchmark.to_bound(tmp_path, tmp_path)
