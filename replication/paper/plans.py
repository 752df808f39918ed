"""What is asked for: a profile, a seed, datasets, a reading and changed settings of the runs, checked."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from replication.config import DATASETS, ConfigError, IncompatibleError, RunConfig
from replication.paper import readings
from replication.paper.profiles import PROFILES, SIZES, Sizes, standard_datasets
from replication.paper.readings import Reading

OVERRIDES_SYNTAX = (
    "Write overrides = {'initialisation': 'fan_in'} in a notebook, and for papermill -y 'overrides: {initialisation: "
    "fan_in}'."
)
MAX_SUFFIX = 150  # characters
SET_OTHERWISE = {
    "dataset": "choose by the parameter datasets.",
    "seed": "it is a parameter of its own.",
    "metric": "what is evaluated follows from what a figure shows.",
}


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
        """Tells figures of other datasets, another seed, reading or assumption apart from the standard ones.

        A long one ends in a hash: most disks refuse names beyond 255 bytes.
        """
        changes = {} if self.datasets == standard_datasets(self.profile) else {"datasets": "+".join(self.datasets)}
        changes |= {} if self.reading is readings.STANDARD else {"reading": self.reading.name}
        changes |= ({"seed": self.seed} if self.seed else {}) | dict(self.overrides)
        suffix = "".join(f"-{name}={value}" for name, value in changes.items())
        if len(suffix) <= MAX_SUFFIX:
            return suffix
        return f"{suffix[:MAX_SUFFIX]}-{hashlib.sha256(suffix.encode()).hexdigest()[:8]}"


def without_effect(plan: Plan) -> str:
    """That the reading which is asked for changes no run of some datasets, as a line; nothing where it does."""
    read = {dataset for _, dataset, _ in plan.reading.choices}
    untouched = [name for name in plan.datasets if name not in read]
    if plan.reading is readings.STANDARD or not untouched:
        return ""
    return (
        f"reading = {plan.reading.name!r} has no effect on {' and '.join(untouched)}: the readings are of the paper's "
        "figures, which do not show these images."
    )


def make_plan(
    profile: str,
    seed: int = 0,
    datasets: str | Sequence[str] | None = None,
    reading: str = readings.STANDARD.name,
    overrides: Mapping[str, Any] | None = None,
) -> Plan:
    """A checked plan; `datasets` as a list or comma-separated, `overrides` maps RunConfig fields to values.

    Raises ConfigError for a value that is unknown or of the wrong type.
    """
    if not isinstance(profile, str) or profile not in PROFILES:
        known = ", ".join(f"{name} ({text})" for name, text in PROFILES.items())
        raise ConfigError(f"Unknown profile {profile!r}. The profiles are {known}.")
    names = _names(standard_datasets(profile) if datasets is None else datasets)
    if missing := [name for name in names if name not in SIZES[profile].figure2_samples]:
        raise ConfigError(f"Profile {profile} does not run on {missing[0]}: choose another profile or dataset.")
    if isinstance(seed, float):  # a notebook gives it to numpy, which takes no fraction
        raise ConfigError(f"seed: {seed!r} is not written as a whole number, such as -p seed 2 for papermill.")
    chosen = readings.reading(reading)
    run = RunConfig(dataset=names[0], algorithm="aevb", n_latent=2, n_hidden=1, samples_total=1, seed=seed)
    return Plan(profile, run.seed, names, chosen, _checked({} if overrides is None else overrides, run))


def _names(datasets: str | Sequence[str]) -> tuple[str, ...]:
    """Each dataset once."""
    names = datasets.split(",") if isinstance(datasets, str) else datasets
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise ConfigError(
            f"datasets = {datasets!r} is no list of names. Write datasets = 'mnist,digits' in a notebook, "
            "and for papermill -p datasets mnist,digits."
        )
    stripped = tuple(dict.fromkeys(name.strip() for name in names))
    if unknown := [name for name in stripped or ("",) if name not in DATASETS]:
        raise ConfigError(f"Unknown dataset {unknown[0]!r}. The datasets are {', '.join(DATASETS)}.")
    return stripped


def _checked(overrides: Mapping[str, Any], run: RunConfig) -> dict[str, Any]:
    """The overrides, of which each is a setting of a run, as the run has it: 5.0 images are 5."""
    if not isinstance(overrides, Mapping) or not all(isinstance(name, str) for name in overrides):
        raise ConfigError(f"overrides = {overrides!r} do not map settings to values. {OVERRIDES_SYNTAX}")
    for name, instead in SET_OTHERWISE.items():
        if name in overrides:
            raise ConfigError(f"{name} is no override: {instead}")
    try:
        changed = run.replace(**overrides)
    except IncompatibleError:
        return dict(overrides)  # some runs of an experiment may admit them: the others are left out, with a line
    except ConfigError as error:
        raise ConfigError(f"{error}\n{OVERRIDES_SYNTAX}") from None
    return {name: getattr(changed, name) for name in overrides}
