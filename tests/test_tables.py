"""A computed table is computed once, for what it was computed from."""

import pandas as pd
import pytest

from replication import paths
from replication.errors import RecordError
from replication.runs import tables


@pytest.fixture
def compute(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "tables", lambda profile: tmp_path / profile)
    calls = []

    def one(value: int) -> pd.DataFrame:
        return tables.load_or_compute(
            "t", {"value": value}, lambda: calls.append(value) or pd.DataFrame({"a": [value]}), "smoke"
        )

    return one, calls, tmp_path / "smoke"


def test_a_table_is_computed_once_for_each_setting(compute):
    one, calls, _ = compute
    assert [one(1)["a"].item(), one(1)["a"].item(), one(2)["a"].item()] == [1, 1, 2]
    assert calls == [1, 2]


def test_a_missing_table_is_an_error_where_only_recorded_ones_count(compute, monkeypatch):
    monkeypatch.setenv("REPLICATION_RECORDED_ONLY", "1")
    with pytest.raises(RecordError, match="there is no table"):
        compute[0](3)


def test_a_changed_table_is_refused(compute):
    one, _, folder = compute
    one(1)
    file = next(folder.glob("*/table.csv"))
    file.write_text(file.read_text().replace("1", "2"))
    with pytest.raises(RecordError, match="not what was written"):
        one(1)
