"""A computed table that is no curve of a run, on disk beside what it was computed from."""

import io
import json
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from replication import paths
from replication.errors import RecordError
from replication.files import Bundle, Hash, locked, sha256
from replication.runs import provenance


def load_or_compute(
    name: str, source: Mapping[str, Any], compute: Callable[[], pd.DataFrame], profile: str
) -> pd.DataFrame:
    """The table `name` of a profile, computed where it is missing or was computed from something other than `source`.

    Raises RecordError where it would have to be computed although $REPLICATION_RECORDED_ONLY is set, or is damaged.
    """
    digest = sha256(json.dumps(source, sort_keys=True).encode())[:8]
    bundle = Bundle(paths.tables(profile) / f"{name}-{digest}", "facts.json", {"table.csv": Hash("table_sha256")})
    stored = bundle.read("table.csv")
    if stored is None and paths.is_recorded_only():
        raise RecordError(
            f"REPLICATION_RECORDED_ONLY is set, but there is no table {bundle.folder}. Run without it to compute it."
        )
    if stored is None:
        with locked(bundle.folder):
            stored = bundle.read("table.csv")  # another process may have computed it meanwhile
            if stored is None:
                facts = {"of": dict(source), **provenance.environment()}
                table = compute().to_csv(index=False, float_format="%.6g").encode()
                bundle.write(facts, {"table.csv": table})
                stored = facts, [table]
    _, (table,) = stored
    return pd.read_csv(io.BytesIO(table))
