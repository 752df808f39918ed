"""The benchmark measures every contender and computes its ratios from one run."""

import importlib.util
import json

import pytest

from replication import benchmark
from replication.errors import ReplicationError


def test_json_has_a_row_per_contender_with_consistent_ratios(capsys, monkeypatch):
    monkeypatch.setattr(benchmark, "N_ROUNDS", 1)
    benchmark.report(as_json=True, seconds=0.5)
    rows = {row["contender"]: row for row in json.loads(capsys.readouterr().out)}
    names = [name for key, name in benchmark.CONTENDERS.items() if _is_there(benchmark.OPTIONAL.get(key, "numpy"))]
    assert set(names) < set(rows) and len(rows) == len(names) + 1
    keras, sgemm = (rows[benchmark.CONTENDERS[key]]["samples_per_second"] for key in ("keras_fit", "sgemm"))
    for row in rows.values():
        assert row["times_keras_fit"] == pytest.approx(row["samples_per_second"] / keras)
        assert row["times_sgemm_of_one_core"] == pytest.approx(row["samples_per_second"] / sgemm)
    # Far below what is claimed, so that a busy machine passes; an engine that runs eagerly is slower still.
    assert rows[benchmark.CONTENDERS["engine"]]["times_keras_fit"] > 0.7


def test_failing_contender_is_an_error_with_its_output():
    with pytest.raises(ReplicationError, match=r"nonsense(.|\n)*failed(.|\n)*KeyError"):
        benchmark._rate("nonsense", 0.1)


def _is_there(package: str) -> bool:
    return importlib.util.find_spec(package) is not None
