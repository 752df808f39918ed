"""A finished or running run on disk: `config.json`, `curve.csv` and `weights.npz` in a folder named by its run_id."""

import hashlib
import importlib.metadata
import io
import json
import platform
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from replication import paths
from replication.config import RunConfig
from replication.errors import RecordError
from replication.files import write_atomically

WEIGHTS = "weights.npz"
PACKAGES = ("tensorflow", "tensorflow-probability", "numpy")


class Record(NamedTuple):
    """A run as recorded: the curve has one row per mark and split, bounds in nats per datapoint."""

    config: RunConfig
    curve: pd.DataFrame
    facts: dict

    @property
    def samples_evaluated(self) -> int:
        """How far the run has come."""
        return int(self.curve["samples_evaluated"].max())


def save(
    config: RunConfig, rows: Sequence[dict], facts: dict, folder: Path, weights: Mapping[str, np.ndarray] | None = None
) -> Record:
    """Write the record of a run, replacing a shorter one at once; a longer one stays. Returns the one that is there.

    Raises RecordError when the disk refuses, or when the record that is there is damaged.
    """
    curve = pd.DataFrame(rows)
    endless = config.replace(samples_total=sys.maxsize)
    earlier = load(endless, folder)
    if earlier is not None and earlier.samples_evaluated > curve["samples_evaluated"].max():
        return load(config, folder)
    text = curve.to_csv(index=False, float_format="%.4f")
    facts = {**facts, **environment(), "curve_sha256": sha256(text.encode())}
    stored = _pack(config, weights) if weights else b""
    if stored:
        facts["weights_sha256"] = sha256(stored)
    content = {"run_id": config.run_id, "config": config.model_dump(), **facts}

    def write(target: Path) -> None:
        target.mkdir()
        (target / "curve.csv").write_text(text)
        (target / "config.json").write_text(json.dumps(content, indent=2) + "\n")
        if stored:
            (target / WEIGHTS).write_bytes(stored)

    write_atomically(folder / config.run_id, write)
    return Record(config, curve, facts)


def load(config: RunConfig, folder: Path) -> Record | None:
    """The record of a run up to `config.samples_total`, or None.

    Raises RecordError for a damaged one, and for one whose first mark lies beyond.
    """
    place = folder / config.run_id
    if not (place / "config.json").exists():
        return None
    try:
        facts = json.loads((place / "config.json").read_text())
        text = (place / "curve.csv").read_text()
    except (OSError, ValueError) as error:
        raise RecordError(f"The record {place} is damaged ({error}). Delete the folder, then run again.") from error
    if sha256(text.encode()) != facts.get("curve_sha256"):
        raise RecordError(
            f"{place / 'curve.csv'} is not what the run wrote: its hash differs from the one in config.json. "
            "Restore it from version control, or delete the folder and run again."
        )
    curve = pd.read_csv(place / "curve.csv")
    # A run ends with a whole step, so its last mark may lie up to one step beyond.
    within = curve["samples_evaluated"] < config.samples_total + config.samples_per_step
    if not within.any():
        raise RecordError(
            f"{place} begins at {curve['samples_evaluated'].min():,} samples, beyond the {config.samples_total:,} "
            "that are asked for: set samples_total to at least that."
        )
    return Record(config, curve[within], facts)


def load_weights(config: RunConfig, folder: Path) -> dict[str, np.ndarray]:
    """The parameters at the furthest mark of a recorded run, by name, as float32.

    Raises RecordError when they are missing, damaged, or those of another configuration.
    """
    record, file = load(config, folder), folder / config.run_id / WEIGHTS
    again = f"Delete {file.parent} and train the run again, or restore the file from version control."
    if record is None or not file.exists():
        raise RecordError(f"There are no weights of {config.run_id} in {folder}. {again}")
    stored = file.read_bytes()
    try:
        with np.load(io.BytesIO(stored)) as content:
            run_id = str(content["run_id"])
            weights = {name: content[name].astype(np.float32) for name in content.files if name != "run_id"}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise RecordError(f"{file} is truncated or damaged ({error}). {again}") from error
    if run_id != config.run_id:
        raise RecordError(f"{file} holds the weights of {run_id}, not of {config.run_id}. {again}")
    if sha256(stored) != record.facts.get("weights_sha256"):
        raise RecordError(f"{file} is not what the run wrote: its hash differs from the one in config.json. {again}")
    return weights


def is_complete(config: RunConfig, folder: Path) -> bool:
    """Whether the record reaches `config.samples_total`."""
    record = load(config, folder)
    return record is not None and record.samples_evaluated >= config.samples_total


def existing(configs: Iterable[RunConfig], profile: str) -> list[Record]:
    """The records of a profile that are there, each run once; raises RecordError for a damaged one."""
    found = (load(config, paths.runs(profile)) for config in dict.fromkeys(configs))
    return [record for record in found if record]


def curves(records: list[Record], *settings: str) -> pd.DataFrame:
    """All curves below each other, with the columns of the configuration that tell them apart, and other `settings`."""
    identity = ("dataset", "algorithm", "n_latent", "n_train", "seed", *settings)
    return pd.concat(
        [record.curve.assign(**{name: getattr(record.config, name) for name in identity}) for record in records],
        ignore_index=True,
    )


def last_rows(curves: pd.DataFrame) -> pd.DataFrame:
    """The rows of every run's last mark."""
    run = ["dataset", "algorithm", "n_latent", "n_train", "seed"]
    return curves[curves["samples_evaluated"] == curves.groupby(run)["samples_evaluated"].transform("max")]


def _pack(config: RunConfig, weights: Mapping[str, np.ndarray]) -> bytes:
    """The bytes of an npz in half precision, which moves a bound by far less than its standard error."""
    largest = np.finfo(np.float16).max
    halves = {n: w.astype(np.float16) if np.abs(w).max() < largest else w for n, w in weights.items()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, run_id=config.run_id, **halves)
    return buffer.getvalue()


def sha256(content: bytes) -> str:
    """The hash by which a file is known to be what was written."""
    return hashlib.sha256(content).hexdigest()


def environment() -> dict:
    """Machine, versions and commit: what a reader needs to repeat a number."""
    versions = {package: importlib.metadata.version(package) for package in PACKAGES}
    return {"cpu": _cpu(), "python": platform.python_version(), "packages": versions, "commit": _commit()}


def _cpu() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    found = subprocess.run(command, cwd=paths.ROOT, capture_output=True, text=True)
    return found.stdout.strip() or "unknown"
