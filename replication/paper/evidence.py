"""Tables that the notebooks show beside the claims: what a model uses, what it gained, and against which baseline."""

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from replication import paths
from replication.config import MCEM_PASSES, ConfigError
from replication.files import read_verified
from replication.paper import comparison, names, reference
from replication.paper.experiments import figure2
from replication.paper.plans import make_plan
from replication.paper.rates import FIT_FROM
from replication.paper.readings import AUTHORS, READINGS, Choice
from replication.runs import curves
from replication.runs.records import Record, existing

ACTIVE = 0.01  # nats: a latent dimension with a smaller KL says nothing of x
WAKE_SLEEP_TRIED_SHA256 = "7d1e8a53ccb287f2118f6355a8b9d099c3e3d463337630b77dcd3ec1506f4c7f"
SYMBOLS = {f"figure{number}": names.SYMBOLS[metric] for metric, number in reference.FIGURES.items()}
MAP_AND_FULL_VB = {"aevb": "MAP", "full_vb": "full VB"}


def latent_use(records: Iterable[Record]) -> pd.DataFrame:
    """KL(q(z_j|x) || p(z_j)) per latent dimension j, the most used first, mean over the test set [nats].

    `samples` is where the run ends: models of unequal training may use unequally many.
    """
    rows = [
        (record.config.n_latent, record.samples_evaluated, rank, kl)
        for record in sorted(records, key=lambda record: record.config.n_latent)
        for rank, kl in enumerate(sorted(record.kl_per_dimension, reverse=True), start=1)
    ]
    return pd.DataFrame(rows, columns=["n_latent", "samples", "rank", "kl"])


def active_units(use: pd.DataFrame) -> pd.DataFrame:
    """Per model, how many latent dimensions carry more than ACTIVE nats, and the KL of all and of the others."""
    is_active = use["kl"] > ACTIVE
    groups = use.assign(active=is_active, unused=use["kl"].where(~is_active, 0)).groupby("n_latent")
    return groups.agg(
        samples=("samples", "first"), active=("active", "sum"), kl=("kl", "sum"), kl_of_inactive=("unused", "sum")
    )


def authors_beside_the_paper(estimates: pd.DataFrame, samples: int) -> pd.DataFrame:
    """Estimates of models after so many samples, with the paper's curve there and what they are above it [nats].

    `estimates` is the table of `authors_estimator.on_trained_models`; `ours_above` is by appendix D.
    """
    drawn = dict(list(reference.curves(metric="log_px").groupby(["algorithm", "size", "split"])))
    keys = estimates[["algorithm", "n_train", "split"]].itertuples(index=False, name=None)
    paper = [reference.value_at(drawn[key], samples) for key in keys]
    return estimates.assign(
        paper=paper, ours_above=estimates["appendix_d"] - paper, authors_above=estimates["authors"] - paper
    )


def mcem_counted(runs: Mapping[str, Iterable[Record]]) -> pd.DataFrame:
    """Monte Carlo EM's runs of figure 3, by reading, beside the paper's curves, with a step counted as 5 N and as 15 N.

    Each row is judged at the right edge, as `comparison.judge` does.
    """
    rows = []
    for (reading, records), passes in product(runs.items(), MCEM_PASSES.values()):
        scaled = []
        for record in records:
            table, factor = curves.table([record]), passes * record.config.n_train / record.config.samples_per_step
            samples = (table["samples_evaluated"] * factor).round().astype(int)
            scaled.append(table.assign(samples_evaluated=samples, point=samples))
        if scaled:
            judged = comparison.judge(comparison.compare(pd.concat(scaled))).dropna(subset=["difference"])
            rows.append(judged.assign(**{"reading": reading, "a step counts": f"{passes} N"}))
    columns = ["reading", "size", "split", "a step counts", "samples_evaluated", "ours", "paper", "difference", "along"]
    table = pd.concat(rows) if rows else pd.DataFrame(columns=[*columns, "verdict"])
    order = ["reading", "size", "split", "a step counts"]
    return table[[*columns, "verdict"]].sort_values(order, ignore_index=True).rename(columns={"size": "n_train"})


def against_independent_gaussian(records: Iterable[Record]) -> pd.DataFrame:
    """The last bound of every run on a Gaussian likelihood, and the best independent Gaussian per pixel [nats]."""
    rows: list[dict[str, Any]] = []
    for record in records:
        last = curves.as_reported(curves.last(curves.table([record]))).set_index("split")["value"]
        for split, baseline in record.facts.get("independent_gaussian", {}).items():
            config, bound = record.config, last[split]
            rows.append({
                "dataset": config.dataset, "algorithm": config.algorithm, "n_latent": config.n_latent, "split": split,
                "bound": bound, "independent Gaussian": baseline, "difference": bound - baseline,
            })  # fmt: skip
    columns = ["dataset", "algorithm", "n_latent", "split", "bound", "independent Gaussian", "difference"]
    return pd.DataFrame(rows, columns=columns)


def settings_of_readings() -> pd.DataFrame:
    """The learning rates of each reading per figure, dataset and algorithm, and what `authors` sets there beside them.

    What `authors` sets for every run is left out: see `common_settings`.
    """
    common = _common_settings()
    rows = [
        {"figure": figure.removeprefix("figure"), "dataset": names.DATASETS[dataset],
         "algorithm": names.ALGORITHMS[algorithm],
         **{f"rate, {name}": _learning_rates(figure, reading.choices[figure, dataset, algorithm])
            for name, reading in READINGS.items()},
         "beside it": _beside_the_rate(figure, choice, common)}
        for (figure, dataset, algorithm), choice in AUTHORS.choices.items()
    ]  # fmt: skip
    return pd.DataFrame(rows)


def common_settings() -> str:
    """What `authors` sets for every run, in words."""
    return names.choice(dict(sorted(_common_settings())))


def _common_settings() -> set[tuple[str, Any]]:
    return set.intersection(*({*choice.settings.items()} for choice in AUTHORS.choices.values()))


def _learning_rates(figure: str, choice: Choice) -> str:
    say = "{:g}".format
    others = _of_single_panels(figure, choice, "learning_rate", say)
    return ", ".join([say(choice.settings["learning_rate"]), *others])


def _beside_the_rate(figure: str, choice: Choice, common: set[tuple[str, Any]]) -> str:
    own = {
        name: value
        for name, value in choice.settings.items()
        if name != "learning_rate" and (name, value) not in common
    }
    return ", ".join([names.choice(own), *_of_single_panels(figure, choice, "warm_up_steps", names.warm_up)])


def _of_single_panels(figure: str, choice: Choice, name: str, say: Callable[[Any], str]) -> list[str]:
    return [
        f"{say(settings[name])} with {SYMBOLS[figure]} = {size}"
        for size, settings in choice.of_size.items()
        if name in settings
    ]


def beside_each_other(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Ours minus the paper's on test [nats] under each reading, where all its runs have arrived; from `compare`."""
    rows = comparison.at_equal_samples(tables).query("split == 'test'")
    shown = pd.DataFrame({
        "panel": [names.panel(*panel) for panel in rows[["metric", "dataset", "size"]].itertuples(index=False)],
        "algorithm": rows["algorithm"].map(names.ALGORITHMS),
        "samples": rows["samples_evaluated"].map(names.scientific),
        "paper": rows["paper"],
    })  # fmt: skip
    return shown.assign(**{name: rows[name] for name in tables}, tolerance=rows["tolerance"])


def wake_sleep_tried() -> pd.DataFrame:
    """The first two points of the paper's wake-sleep on Frey Face, and of short runs with other settings [nats].

    What is not named in `changed` is as in the authors' code, with tanh units. In the rows with z = 0 the decoder alone
    was trained. `sd_of_mean_over_z` is by how much the decoder's mean moves with z, the mean over the pixels. Raises
    RecordError where the file is not the committed one; the programs that made it are not kept.
    """
    table = pd.read_csv(io.BytesIO(read_verified(paths.WAKE_SLEEP_TRIED, WAKE_SLEEP_TRIED_SHA256)))
    points = [f"{split}_{i}" for i in (1, 2) for split in ("train", "test")]
    of_paper = table.groupby("n_latent")[[f"paper_{point}" for point in points]].first().reset_index()
    of_paper.columns = ["n_latent", *points]
    tried = table[["changed", "learning_rate", "n_latent", *points, "samples_last", "test_last", "sd_of_mean_over_z"]]
    return pd.concat([of_paper.assign(changed="the paper"), tried], ignore_index=True)[tried.columns]


def units_on_frey_face() -> pd.DataFrame:
    """AEVB on Frey Face as the reading `authors` has it, with tanh and with softplus units, beside the paper's curves.

    Per n_latent: `early`, the mean distance on test as far as learning rates are chosen by it, and the differences
    (ours minus the paper's) at the last evaluation point that both units have on both splits; all in nats.
    """
    plan = make_plan("paper", reading=AUTHORS.name)
    chosen = [run for run in figure2(plan) if (run.dataset, run.algorithm) == ("frey_face", "aevb")]
    tables = [
        comparison.compare(curves.table([record])).assign(hidden_units=units)
        for units in ("tanh", "softplus")
        for record in existing([run.replace(hidden_units=units) for run in chosen], "paper")
    ]
    table = pd.concat(tables).dropna(subset=["difference"])
    common = table.groupby(["size", "hidden_units", "split"])["point"].max().groupby("size").min()
    rows = []
    for (n_latent, units), run in table.groupby(["size", "hidden_units"], sort=False):
        early = run[(run["split"] == "test") & run["point"].between(FIT_FROM, comparison.FIT_UNTIL["bound"])]
        end = run[run["point"] == common[n_latent]].set_index("split")
        rows.append([n_latent, units, early["difference"].abs().mean(), end["samples_evaluated"].max(),
                     end["difference"]["test"], end["difference"]["train"]])  # fmt: skip
    columns = ["n_latent", "hidden_units", "early", "samples", "test", "train"]
    return pd.DataFrame(rows, columns=columns).sort_values(["n_latent", "hidden_units"], ignore_index=True)


def escapes(recorded: Mapping[str, Sequence[Record]]) -> pd.DataFrame:
    """Where runs on a Gaussian likelihood leave the best independent Gaussian, under each reading.

    That is the first evaluation point at which the bound on test is above it by more than a tolerance of the verdict,
    nothing where there is none; `above` is by how much at the end [nats], `updates` how many the run has.
    """
    rows = []
    for reading, records in recorded.items():
        for record in records:
            on_test = record.curve[record.curve["split"] == "test"]
            above = on_test["value"] - record.facts["independent_gaussian"]["test"]
            left = on_test["samples_evaluated"][above > comparison.tolerance("bound", record.config.dataset)]
            ends = [on_test["samples_evaluated"].iloc[-1], left.min()]  # NaN where it never leaves
            updates = round(ends[0] / record.config.samples_per_step)
            rows.append([reading, record.config.n_latent, *map(names.scientific, ends), above.iloc[-1], updates])
    return pd.DataFrame(rows, columns=["reading", "n_latent", "trained to", "leaves at", "above", "updates"])


def against_map(evaluated: pd.DataFrame, weights: str = "sampled") -> pd.DataFrame:
    """Full VB and MAP per pair of runs (appendix F): the bound without the weights' KL, and its gap; all in nats.

    `evaluated` is a table of runs/curves.py with evaluated rows. A pair is compared at the last point that both have;
    full VB's weights are `sampled` from their posterior, or `at_mean`. Raises ConfigError where no pair is complete.
    """
    missing = set(MAP_AND_FULL_VB) - set(evaluated["algorithm"])
    if missing:
        raise ConfigError(f"There is nothing to compare: no run of {missing.pop()} fits these settings.")
    both_splits = evaluated.groupby(["run_id", "point"])["split"].transform("nunique") == 2
    common = curves.last_common(without_weights(evaluated[both_splits], weights), alike=curves.MODEL)
    table = common.pivot(index=[*curves.MODEL, "algorithm"], columns="split", values="value")
    both = table.assign(gap=table.get("train", np.nan) - table.get("test", np.nan)).unstack("algorithm").dropna()
    if both.empty or {*both.columns.unique("algorithm")} != {*MAP_AND_FULL_VB}:
        raise ConfigError("There is nothing to compare: no two runs have an evaluation on train and test in common.")
    return both.rename(columns=MAP_AND_FULL_VB)


def lost_after_best(evaluated: pd.DataFrame) -> pd.DataFrame:
    """The best value on test along each run of full VB or MAP, where it was, and what the run lost after it [nats]."""
    test = without_weights(evaluated[evaluated["split"] == "test"]).sort_values("point")
    runs = test.groupby([*curves.MODEL, "algorithm"])
    best = test.loc[runs["value"].idxmax()].set_index([*curves.MODEL, "algorithm"]).sort_index()
    table = best[["value", "samples_evaluated"]].rename(columns={"value": "best", "samples_evaluated": "at"})
    return table.assign(lost=table["best"] - runs["value"].last()).rename(index=MAP_AND_FULL_VB)


def without_weights(table: pd.DataFrame, weights: str = "sampled") -> pd.DataFrame:
    """The evaluated rows, as `value` the bound without the weights' KL; full VB's weights: `sampled` or `at_mean`."""
    evaluated = curves.evaluated(table)
    is_map = evaluated["algorithm"] == "aevb"
    return evaluated.assign(value=evaluated["value"].where(is_map, evaluated.get(f"bound_{weights}")))
