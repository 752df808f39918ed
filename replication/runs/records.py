"""A finished or running run on disk: `config.json`, `curve.csv` and `weights.npz` in a folder named by its run_id."""

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from replication import paths
from replication.config import LEFT_OUT_OF_NAMES, ConfigError, RunConfig
from replication.errors import RecordError
from replication.files import Bundle, Hash, locked, sha256

INDEX, CURVE, WEIGHTS = "config.json", "curve.csv", "weights.npz"
OF_LAST_ROW = ("kl_per_dimension", "weights_sha256")  # facts that say nothing of an earlier point of the run


class Record(NamedTuple):
    """A run as recorded: the curve has the rows of `runs/curves.py` without what the configuration says already."""

    config: RunConfig
    curve: pd.DataFrame
    facts: dict

    @property
    def samples_evaluated(self) -> int:
        """How far the curve goes."""
        return int(self.curve["samples_evaluated"].max())

    @property
    def machines(self) -> list[str]:
        """Every kind of processor, or of GPU, that computed a part of the run."""
        devices = [(c.get("device", "CPU"), c["cpu"]) for c in self.facts.get("contributors", [])]
        return list(dict.fromkeys(cpu if device == "CPU" else device for device, cpu in devices))

    @property
    def commits(self) -> list[str]:
        """Every commit that computed a part of the run; `-dirty` where its source was changed."""
        return list(dict.fromkeys(contributor["commit"] for contributor in self.facts.get("contributors", [])))

    @property
    def kl_per_dimension(self) -> list[float]:
        """KL(q(z_j|x) || p(z_j)) of each latent dimension j at the end of the run, mean over the test set [nats].

        Raises RecordError where the record has none, or goes beyond what is asked for.
        """
        if "kl_per_dimension" not in self.facts:
            raise RecordError(
                f"How much each latent dimension says is recorded at the end of a run with an encoder only, not of "
                f"{self.config.run_id} after {self.samples_evaluated:,} samples. Where samples_total is overridden, "
                "leave it out; or choose the length of another profile."
            )
        return self.facts["kl_per_dimension"]


def save(
    config: RunConfig, rows: Sequence[dict], facts: dict, folder: Path, weights: Mapping[str, np.ndarray] | None = None
) -> Record:
    """Write the record of a run, replacing a shorter one at once; a longer one stays. Returns the one that is there.

    `facts` and `weights` are those at the last row. Raises RecordError when the disk refuses, or when the record that
    is there is damaged or of another configuration.
    """
    curve = pd.DataFrame(rows)
    curve["seconds"] = curve.pop("seconds")  # the last column: _numbers_sha256 leaves it out
    files = {CURVE: curve.to_csv(index=False, float_format="%.4f").encode()}
    if weights:
        files[WEIGHTS] = _pack(config, weights)
    bundle = _bundle(config, folder)
    with locked(bundle.folder):
        earlier = _read(config, folder)
        if earlier is None or earlier[0].samples_evaluated <= curve["samples_evaluated"].max():
            bundle.write({"run_id": config.run_id, "config": config.model_dump(), **facts}, files)
    return require(config, folder)


def load(config: RunConfig, folder: Path) -> Record | None:
    """The record of a run up to `config.samples_total`, or None.

    Raises RecordError for a damaged one, for one of another configuration, and for one that begins beyond.
    """
    stored = _read(config, folder)
    if stored and not _within(config, stored[0]).any():
        raise RecordError(
            f"The record of {config.run_id} in {folder} begins at {stored[0].curve['samples_evaluated'].min():,} "
            f"samples, beyond the {config.samples_total:,} that are asked for. Set samples_total to at least that, or "
            "leave it out; or ask for another seed: without a record, it is trained to any length."
        )
    return _up_to(config, stored[0]) if stored else None


def begins_beyond(config: RunConfig, folder: Path) -> bool:
    """Whether there is a record, but with no evaluation point up to `config.samples_total`."""
    stored = _read(config, folder)
    return stored is not None and not _within(config, stored[0]).any()


def require(config: RunConfig, folder: Path) -> Record:
    """The record of a run as `load` gives it; raises RecordError where there is none."""
    record = load(config, folder)
    if record is None:
        raise _missing(config, folder)
    return record


def load_weights(config: RunConfig, folder: Path) -> dict[str, np.ndarray]:
    """The parameters at the last row of a recorded run, by name, as float32.

    Raises RecordError when they are missing or damaged, or belong to more samples than `config.samples_total`.
    """
    stored = _read(config, folder, WEIGHTS)
    if stored is None:
        raise _missing(config, folder)
    record, weights = stored
    if not _within(config, record).all():
        raise RecordError(
            f"{folder / config.run_id / WEIGHTS} are the weights after {record.samples_evaluated:,} samples, beyond "
            f"the {config.samples_total:,} that are asked for. Ask for as many, or train the run into another folder."
        )
    with np.load(io.BytesIO(weights)) as content:
        return {name: content[name].astype(np.float32) for name in content.files if name != "run_id"}


def is_complete(config: RunConfig, folder: Path) -> bool:
    """Whether the record reaches `config.samples_total`: the one answer to whether a run must be trained."""
    stored = _read(config, folder)
    return stored is not None and stored[0].samples_evaluated >= config.samples_total


def _read(config: RunConfig, folder: Path, *more: str) -> tuple[Record, bytes] | None:
    """The whole record, however long, and the bytes of one more of its files if named; None where there is none."""
    bundle = _bundle(config, folder)
    stored = bundle.read(CURVE, *more)
    if stored is None:
        return None
    facts, (curve, *others) = stored
    if not isinstance(facts.get("config"), dict):
        raise RecordError(f"{bundle.folder / INDEX} is damaged: it names no configuration. {bundle.cure}")
    if newer := ", ".join(sorted({*facts["config"]} - {*RunConfig.model_fields})):
        raise RecordError(
            f"The record {bundle.folder} has settings that this version does not know: {newer}. A newer version wrote "
            "it: use that one."
        )
    if differences := config.differences(facts["config"]):
        _refuse_unknown_values(bundle.folder, facts["config"])
        raise RecordError(f"The record {bundle.folder} is of another run: {differences}. {bundle.cure}")
    return Record(config, pd.read_csv(io.BytesIO(curve)), facts), b"".join(others)


def _refuse_unknown_values(folder: Path, stored: Mapping[str, Any]) -> None:
    """Raise RecordError where a stored configuration is none of this version."""
    try:
        RunConfig(**{**LEFT_OUT_OF_NAMES, **stored})
    except ConfigError as error:
        raise RecordError(
            f"The record {folder} has a value that this version does not know. {error}\nUse the version that wrote it, "
            "or restore it from version control."
        ) from None


def _within(config: RunConfig, record: Record) -> pd.Series:
    """Which rows lie within `config.samples_total`; a run ends with a whole step, so up to one step beyond it."""
    return record.curve["samples_evaluated"] < config.samples_total + config.samples_per_step


def _up_to(config: RunConfig, record: Record) -> Record:
    """The record as it was at `config.samples_total`: without rows from beyond, and without facts of the last row."""
    within = _within(config, record)
    if within.all():
        return record
    curve = record.curve[within]
    facts = {name: value for name, value in record.facts.items() if name not in OF_LAST_ROW}
    samples, seconds = curve["samples_evaluated"].max(), curve["seconds"].max()
    contributors = [c for c in record.facts.get("contributors", []) if c["from_samples"] < samples]
    return Record(config, curve, facts | {"seconds": seconds, "contributors": contributors})


def _missing(config: RunConfig, folder: Path) -> RecordError:
    return RecordError(f"There is no record of {config.run_id} in {folder}: train the run, or restore its folder.")


def _bundle(config: RunConfig, folder: Path) -> Bundle:
    hashes = {CURVE: Hash("numbers_sha256", _numbers_sha256), WEIGHTS: Hash("weights_sha256")}
    return Bundle(folder / config.run_id, INDEX, hashes)


def _numbers_sha256(curve: bytes) -> str:
    """The hash of a curve without its last column, the seconds: `sed 's/,[^,]*$//' curve.csv | sha256sum`."""
    return sha256(re.sub(rb",[^,\n]*$", b"", curve, flags=re.MULTILINE))


def existing(configs: Iterable[RunConfig], profile: str) -> list[Record]:
    """The records of a profile that have a point up to `samples_total`, each run once.

    Raises RecordError for a damaged one.
    """
    stored = ((config, _read(config, paths.runs(profile))) for config in dict.fromkeys(configs))
    return [_up_to(config, each[0]) for config, each in stored if each and _within(config, each[0]).any()]


def _pack(config: RunConfig, weights: Mapping[str, np.ndarray]) -> bytes:
    """The bytes of an npz: in half precision, which moves a bound of AEVB by far less than its standard error.

    Wake-sleep's stay as they are: its narrow q(z|x) and p(x|z) do not bear it.
    """
    largest = 0 if config.algorithm == "wake_sleep" else np.finfo(np.float16).max
    packed: dict[str, Any] = {n: w.astype(np.float16) if np.abs(w).max() < largest else w for n, w in weights.items()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, run_id=config.run_id, **packed)
    return buffer.getvalue()
