"""One assumption changed: the runs of an experiment beside those without the change, and what it did."""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from replication.config import RunConfig
from replication.paper import choices
from replication.paper.plans import Plan
from replication.runs import curves, records
from replication.runs.curves import SIZE
from replication.runs.load_or_train import load_or_train
from replication.runs.points import FIRST_POINT
from replication.runs.records import Record

PAIR = ["dataset", "n_latent", "n_train", "algorithm", "estimator", "batch_size", "n_mc_samples"]  # what a pair shares
ALWAYS_SHOWN = ("dataset", "algorithm")
SPREAD = ["metric", "dataset", "algorithm", "split", "point"]
NOTHING = 'No setting is changed. To change one, write overrides = {"initialisation": "fan_in"} in the second cell.'


class Change(NamedTuple):
    """What is changed, in words; the curves of the `standard` runs, as the paper reports its own; the table `effect`;
    and how many runs have no standard one beside them."""

    words: str
    standard: pd.DataFrame
    effect: pd.DataFrame
    n_alone: int


def beside_standard(experiment: Callable[[Plan], list[RunConfig]], plan: Plan, runs: Sequence[Record]) -> Change:
    """The `runs` of an experiment under a plan beside those without its overrides, which are trained if need be.

    An override that only chooses among the runs, or their length, is no change. A standard run is a record at paper
    scale, cut to the profile's length, or one of the profile. At paper scale none is trained, since that takes hours.

    `effect` has a row per pair of runs and split: both values at the last evaluation point that they have in common,
    the difference [nats per datapoint] and its standard error `se`. Where standard runs of that dataset and algorithm
    have several seeds, that is root two times their spread, which is what chance does to a difference on the same
    datapoints (`se_from` seeds). Elsewhere it is that of both evaluations over datapoints (`se_from` datapoints), which
    leaves out what another seed does.
    """
    chooses = {"algorithm", "samples_total", *(SIZE[run.config.metric] for run in runs)}
    changed = {name: value for name, value in plan.overrides.items() if name not in chooses}
    kept = {name: value for name, value in plan.overrides.items() if name in chooses}
    if not changed:
        return NO_CHANGE
    plain = plan._replace(overrides=kept)
    counterparts = {_pair(config, changed): config for config in experiment(plain)}
    pairs = [(run, counterparts.get(_pair(run.config, changed))) for run in runs]
    different = [(run, config) for run, config in pairs if config is None or config.run_id != run.config.run_id]
    wanted = [config for _, config in different if config]
    standard = {record.config: record for record in _recorded_or_trained(wanted, plan.profile)}
    spread = _spread([*standard.values(), *_recorded(choices.seeds(plain))])
    rows = [
        {**row, **{name: run.config.model_dump()[name] for name in PAIR}}
        for run, config in different
        if config in standard
        for row in _effect(run, standard[config], spread)
    ]
    words = ", ".join(f"{name} = {value}" for name, value in changed.items())
    n_alone = sum(config not in standard for _, config in different)
    return Change(words, _reported(standard.values()), _table(rows), n_alone)


def _pair(config: RunConfig, changed: Iterable[str]) -> tuple[Any, ...]:
    follows = {"batch_size"} if config.algorithm == "mcem" else set()  # it is n_train there
    return tuple(value for name, value in config.model_dump().items() if name in {*PAIR} - {*changed} - follows)


def _recorded_or_trained(configs: Sequence[RunConfig], profile: str) -> list[Record]:
    if profile == "paper":
        return records.existing(configs, profile)
    recorded = [record for record in _recorded(configs) if record.samples_evaluated >= record.config.samples_total]
    missing = [config for config in configs if config not in {record.config for record in recorded}]
    return [*recorded, *(load_or_train(missing, profile) if missing else [])]


def _recorded(configs: Iterable[RunConfig]) -> list[Record]:
    """The records at paper scale, as they were after `samples_total`."""
    return records.existing([config for config in configs if config.samples_total >= FIRST_POINT], "paper")


def _spread(standard: Sequence[Record]) -> pd.Series:
    """The standard deviation over seeds [nats] at each evaluation point, in the panel that has several seeds."""
    return _reported(standard).groupby([*SPREAD, "size"])["value"].std().dropna().groupby(SPREAD).max()


def _reported(runs: Collection[Record]) -> pd.DataFrame:
    columns = [*curves.CURVE, "point", "samples_evaluated", "value"]
    return curves.as_reported(curves.table(runs)) if runs else pd.DataFrame(columns=columns)


def _effect(run: Record, standard: Record, spread: pd.Series) -> Iterable[dict[str, Any]]:
    for split, rows in _reported([run, standard]).groupby("split", sort=False):
        ends = curves.last_common(rows).set_index("run_id")
        if len(ends) < 2:  # one of them has no such curve, or none that begins before the other ends
            continue
        ours, plain = (ends.loc[record.config.run_id] for record in (run, standard))
        seeds = spread.get(tuple(ours[SPREAD]))
        yield {
            "split": split, "samples": ours["point"], "standard": plain["value"], "changed": ours["value"],
            "difference": ours["value"] - plain["value"],
            "se": np.hypot(ours["se"], plain["se"]) if seeds is None else seeds * 2**0.5,
            "se_from": "datapoints" if seeds is None else "seeds",
        }  # fmt: skip


def _table(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Of what pairs share, the columns in which they differ."""
    table = pd.DataFrame(
        rows, columns=[*PAIR, "split", "samples", "standard", "changed", "difference", "se", "se_from"]
    )
    alike = [name for name in PAIR if table[name].nunique() < 2 and name not in ALWAYS_SHOWN]
    return table.drop(columns=alike)


NO_CHANGE = Change("", _reported([]), _table([]), 0)
