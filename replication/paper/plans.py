"""What is asked for: a profile, a seed, datasets, a reading and changed settings of the runs, checked."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from replication.config import DATASETS, ConfigError
from replication.paper import readings
from replication.paper.profiles import PROFILES, SIZES, Sizes, standard_datasets
from replication.paper.readings import Reading


class Plan(NamedTuple):
    """What the runs of every experiment follow: see `make_plan`."""

    profile: str
    seed: int
    datasets: tuple[str, ...]
    reading: Reading
    overrides: Mapping[str, Any]

    @property
    def sizes(self) -> Sizes:
        """How much the profile does."""
        return SIZES[self.profile]

    @property
    def figure_suffix(self) -> str:
        """Tells figures of other datasets, another seed, reading or assumption apart from the standard ones."""
        changes = {} if self.datasets == standard_datasets(self.profile) else {"datasets": "+".join(self.datasets)}
        changes |= {} if self.reading is readings.CLOSEST else {"reading": self.reading.name}
        changes |= ({"seed": self.seed} if self.seed else {}) | dict(self.overrides)
        return "".join(f"-{name}={value}" for name, value in changes.items())


def make_plan(
    profile: str,
    seed: int = 0,
    datasets: str | Sequence[str] | None = None,
    reading: str = readings.CLOSEST.name,
    overrides: Mapping[str, Any] | None = None,
) -> Plan:
    """A checked plan; `datasets` as a list or comma-separated, `overrides` maps RunConfig fields to values.

    Raises ConfigError for an unknown profile, dataset or reading; a wrong override is refused when the runs are made.
    """
    if profile not in PROFILES:
        known = ", ".join(f"{name} ({text})" for name, text in PROFILES.items())
        raise ConfigError(f"Unknown profile {profile!r}. The profiles are {known}.")
    if datasets is None:
        datasets = standard_datasets(profile)
    names = tuple(name.strip() for name in datasets.split(",")) if isinstance(datasets, str) else tuple(datasets)
    if not names or (unknown := [name for name in names if name not in DATASETS]):
        raise ConfigError(f"Unknown dataset {unknown[0] if names else ''!r}. The datasets are {', '.join(DATASETS)}.")
    if missing := [name for name in names if name not in SIZES[profile].figure2_samples]:
        raise ConfigError(f"Profile {profile} does not run on {missing[0]}: choose another profile or dataset.")
    return Plan(profile, seed, names, readings.reading(reading), overrides or {})
