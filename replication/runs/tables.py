"""A computed table that is no curve of a run, on disk beside what it was computed from."""

import json
import os
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from replication import paths
from replication.errors import RecordError
from replication.files import write_atomically
from replication.runs import records


def load_or_compute(
    name: str, of: Mapping[str, Any], compute: Callable[[], pd.DataFrame], profile: str
) -> pd.DataFrame:
    """The table `name` of a profile, computed where it is missing or was computed from something other than `of`.

    Raises RecordError where it would have to be computed although $REPLICATION_RECORDED_ONLY is 1, or is damaged.
    """
    place = paths.tables(profile) / f"{name}-{records.sha256(json.dumps(of, sort_keys=True).encode())[:8]}"
    if not place.exists():
        if os.environ.get("REPLICATION_RECORDED_ONLY") == "1":
            raise RecordError(
                f"REPLICATION_RECORDED_ONLY=1, but there is no table {place}. Run without it to compute it."
            )
        text = compute().to_csv(index=False, float_format="%.6g")
        facts = {"of": dict(of), **records.environment(), "table_sha256": records.sha256(text.encode())}

        def write(target) -> None:
            target.mkdir()
            (target / "table.csv").write_text(text)
            (target / "facts.json").write_text(json.dumps(facts, indent=2) + "\n")

        write_atomically(place, write)
    text = (place / "table.csv").read_text()
    if json.loads((place / "facts.json").read_text())["table_sha256"] != records.sha256(text.encode()):
        raise RecordError(
            f"{place / 'table.csv'} is not what was computed. Restore it, or delete the folder to compute it."
        )
    return pd.read_csv(place / "table.csv")
