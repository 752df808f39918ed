"""One assumption changed: the runs of an experiment beside those without the change, and what it did."""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from replication import paths
from replication.config import RunConfig
from replication.paper import experiments
from replication.paper.plans import Plan
from replication.runs import curves, records
from replication.runs.load_or_train import load_or_train
from replication.runs.points import FIRST_POINT
from replication.runs.records import Record

PAIR = ["dataset", "n_latent", "n_train", "algorithm", "estimator", "batch_size", "n_mc_samples"]  # what a pair shares
ALWAYS_SHOWN = ("dataset", "algorithm")
# Seeds tell what chance does to runs of these settings.
SPREAD = [*(name for name in PAIR if name != "n_latent"), "metric", "n_hidden", "split", "point"]
Shown = Callable[[pd.DataFrame], pd.DataFrame]
NOTHING = 'No setting is changed. To change one, write overrides = {"initialisation": "fan_in"} in the second cell.'


class Change(NamedTuple):
    """What is changed, in words; the `standard` runs' curves as they are shown; the table `effect`; how many runs have
    no standard one beside them; and the standard runs that can be decoded, since their weights are recorded."""

    words: str
    standard: pd.DataFrame
    effect: pd.DataFrame
    n_alone: int
    decodable: list[Record]


def beside_standard(
    experiment: Callable[[Plan], list[RunConfig]],
    plan: Plan,
    runs: Sequence[Record],
    shown: Shown = curves.as_reported,
    to_the_end: bool = False,
) -> Change:
    """The `runs` of an experiment under a plan beside those without its overrides, which are trained if need be.

    An override that only chooses among the runs, or their length, is no change. A standard run is a record at paper
    scale, cut to the profile's length, or one of the profile: always the latter with `to_the_end`, as a cut record has
    neither weights nor what is evaluated at the end of a run. At paper scale none is trained, since that takes hours.
    A record that begins beyond that length is not cut: such a run is alone.
    Where it is the reading that changes none of the runs, a line says so.
    `shown` picks the rows of a table of curves, and their values: by default as the paper reports its own.

    `effect` has a row per pair of runs and split: both values at the last evaluation point that they have in common,
    the difference [nats per datapoint], and `by_chance`, how far two standard runs of different seeds are apart, as a
    standard deviation: root two times that over the recorded seeds of the one panel that has several. It is NaN where
    no panel of that dataset and algorithm has. The two runs of a pair share their seed, which may bring them closer.
    """
    experiments.say_where_unread(experiment, plan)
    changed = {name: value for name, value in plan.overrides.items() if not _only_chooses(experiment, plan, name)}
    if not changed:
        return NO_CHANGE
    plain = _without(plan, *changed)
    counterparts = {_pair(config, changed): config for config in experiment(plain)}
    pairs = [(run, counterparts.get(_pair(run.config, changed))) for run in runs]
    different = [(run, config) for run, config in pairs if config is None or config.run_id != run.config.run_id]
    wanted = [config for _, config in different if config]
    standard = {record.config: record for record in _recorded_or_trained(wanted, plan.profile, to_the_end)}
    spread = _spread(
        _shown([*standard.values(), *_recorded(experiments.other_seeds(_without(plain, "algorithm")))], shown)
    )
    rows = [
        {**row, **{name: run.config.model_dump()[name] for name in PAIR}}
        for run, config in different
        if config in standard
        for row in _effect(run, standard[config], spread, shown)
    ]
    words = ", ".join(f"{name} = {value}" for name, value in changed.items())
    n_alone = sum(config not in standard for _, config in different)
    decodable = [record for record in standard.values() if "weights_sha256" in record.facts]
    return Change(words, _shown(standard.values(), shown), _table(rows), n_alone, decodable)


def _only_chooses(experiment: Callable[[Plan], list[RunConfig]], plan: Plan, name: str) -> bool:
    """Whether an override says which runs are made, or how long: without it one run has several standard ones."""
    pairs = [_pair(config, [name]) for config in experiment(_without(plan, name))]
    return name == "samples_total" or len(set(pairs)) < len(pairs)


def _without(plan: Plan, *names: str) -> Plan:
    return plan._replace(overrides={name: value for name, value in plan.overrides.items() if name not in names})


def _pair(config: RunConfig, changed: Iterable[str]) -> tuple[Any, ...]:
    follows = {"batch_size"} if config.algorithm == "mcem" else set()  # it is n_train there
    return tuple(value for name, value in config.model_dump().items() if name in {*PAIR} - {*changed} - follows)


def _recorded_or_trained(configs: Sequence[RunConfig], profile: str, to_the_end: bool) -> list[Record]:
    if profile == "paper":
        return records.existing(configs, profile)
    at_paper_scale = [] if to_the_end else _recorded(configs)
    recorded = [record for record in at_paper_scale if record.samples_evaluated >= record.config.samples_total]
    known, folder = {record.config for record in recorded}, paths.runs(profile)
    missing = [config for config in configs if config not in known and not records.begins_beyond(config, folder)]
    return [*recorded, *(load_or_train(missing, profile) if missing else [])]


def _recorded(configs: Iterable[RunConfig]) -> list[Record]:
    """The records at paper scale, as they were after `samples_total`."""
    return records.existing([config for config in configs if config.samples_total >= FIRST_POINT], "paper")


def _spread(standard: pd.DataFrame) -> pd.Series:
    """The standard deviation over seeds [nats] at each evaluation point, in the panel that has several seeds."""
    return standard.groupby([*SPREAD, "n_latent"])["value"].std().dropna().groupby(SPREAD).max()


def _shown(runs: Collection[Record], shown: Shown) -> pd.DataFrame:
    columns = [*PAIR, *curves.CURVE[:-1], "n_hidden", "run_id", "split", "point", "samples_evaluated", "value"]
    return shown(curves.table(runs)) if runs else pd.DataFrame(columns=list(dict.fromkeys(columns)))


def _effect(run: Record, standard: Record, spread: pd.Series, shown: Shown) -> Iterable[dict[str, Any]]:
    for split, rows in _shown([run, standard], shown).groupby("split", sort=False):
        ends = curves.last_common(rows).set_index("run_id")
        if len(ends) < 2:  # one of them has no such curve, or none that begins before the other ends
            continue
        ours, plain = (ends.loc[record.config.run_id] for record in (run, standard))
        seeds = spread.get(tuple(plain[SPREAD]))
        yield {
            "split": split, "samples": ours["point"], "standard": plain["value"], "changed": ours["value"],
            "difference": ours["value"] - plain["value"],
            "by_chance": np.nan if seeds is None else seeds * 2**0.5,
        }  # fmt: skip


def _table(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Of what pairs share, the columns in which they differ."""
    table = pd.DataFrame(rows, columns=[*PAIR, "split", "samples", "standard", "changed", "difference", "by_chance"])
    alike = [name for name in PAIR if table[name].nunique() < 2 and name not in ALWAYS_SHOWN]
    return table.drop(columns=alike)


NO_CHANGE = Change("", _shown([], curves.as_reported), _table([]), 0, [])
