"""Other readings of what the paper leaves open, and other seeds: their runs, and what each reading changes."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from replication.config import RunConfig
from replication.paper import verdict
from replication.paper.experiments import LEARNING_RATES, Settings, bounds, figure2, figure3
from replication.runs.records import Record, existing
from replication.runs.records import curves as curves_of

RUN = ("dataset", "algorithm", "n_latent")  # what tells the runs of figure 2 apart
LOW_LEARNING_RATES = LEARNING_RATES[:2]  # with which wake-sleep does not diverge
SAMPLES_LEARNING_RATE = {2: 200_000, 3: 250_000}  # "in the first few iterations", per figure
INITIALISATIONS = ("paper_sd", "paper_variance", "fan_in")
PANELS = {"mnist": 20, "frey_face": 10}  # the latent dimension at which readings and seeds are compared
SAMPLES_GRID = 500_000
SAMPLES_LIKELIHOODS = 3_000_000
SAMPLES_PARTS = 1_000_000
SAMPLES_FIGURE_3 = 5_000_000  # where the paper's curves are all drawn
SEEDS = (1, 2)  # in addition to 0
# Wake-sleep in the authors' code: its encoder (anglepy, MLBN_Inverse), and 100 updates that only accumulate.
AUTHORS_WAKE_SLEEP = {"log_var_factor": 0.1, "warm_up_steps": 100}


def learning_rates(settings: Settings, figure: int = 2) -> list[RunConfig]:
    """The first iterations of every run of a figure (figure 4's with those of 2) with each learning rate."""
    runs = figure3(settings) if figure == 3 else bounds(settings)
    return [
        run.replace(learning_rate=rate, samples_total=SAMPLES_LEARNING_RATE[figure])
        for run in runs
        for rate in LEARNING_RATES
    ]


def initialisations(settings: Settings) -> list[RunConfig]:
    """Initialisation x learning rate: one panel of figure 2 for each dataset, both algorithms."""
    return [
        run.replace(initialisation=initialisation, learning_rate=rate, samples_total=SAMPLES_GRID)
        for run in _panels(settings)
        for initialisation in INITIALISATIONS
        for rate in LEARNING_RATES
    ]


def likelihoods(settings: Settings) -> list[RunConfig]:
    """p(x|z) read in two ways: grey values or binarised targets; a variance per pixel or one for all."""
    other = {"mnist": {"targets": "binarised"}, "frey_face": {"pixel_variance": "shared"}}
    return [
        run.replace(samples_total=SAMPLES_LIKELIHOODS, **reading)
        for run in _panels(settings)
        if run.algorithm == "aevb"
        for reading in ({}, other[run.dataset])
    ]


def of_mnist(settings: Settings) -> dict[str, list[RunConfig]]:
    """Other readings of the runs of figure 2 on MNIST that stay below the paper, by name."""
    in_code = {f"authors' code, {rate}": authors_wake_sleep(settings, "mnist", rate) for rate in LOW_LEARNING_RATES}
    starts = {initialisation: other_starts(settings, initialisation) for initialisation in INITIALISATIONS[1:]}
    return {**in_code, **starts, "mean dreams": mean_dreams(settings)}


def other_starts(settings: Settings, initialisation: str) -> list[RunConfig]:
    """The runs of figure 2 on MNIST that stay below the paper, with another initialisation.

    With the low learning rates: the paper's rule chooses between them.
    """
    behind = _of(settings, "mnist", "wake_sleep") + [run for run in _of(settings, "mnist", "aevb") if run.n_latent == 3]
    return [
        run.replace(learning_rate=rate, initialisation=initialisation) for run in behind for rate in LOW_LEARNING_RATES
    ]


def authors_wake_sleep(settings: Settings, dataset: str, learning_rate: float) -> list[RunConfig]:
    """Wake-sleep of figure 2 as the authors' code has it."""
    return [
        run.replace(learning_rate=learning_rate, **AUTHORS_WAKE_SLEEP) for run in _of(settings, dataset, "wake_sleep")
    ]


def parts_of_authors_wake_sleep(settings: Settings, dataset: str) -> list[RunConfig]:
    """Wake-sleep with the most latent variables of a dataset: with neither, each and both of AUTHORS_WAKE_SLEEP."""
    each = [{name: value} for name, value in AUTHORS_WAKE_SLEEP.items()]
    return [
        run.replace(learning_rate=rate, samples_total=SAMPLES_PARTS, **part)
        for run in _of(settings, dataset, "wake_sleep")[-1:]
        for part in ({}, *each, AUTHORS_WAKE_SLEEP)
        for rate in LOW_LEARNING_RATES
    ]


def mean_dreams(settings: Settings) -> list[RunConfig]:
    """Wake-sleep on MNIST whose encoder sleeps on the mean of p(x|z), grey as the data are."""
    return [run.replace(dreams="mean") for run in _of(settings, "mnist", "wake_sleep")]


def shared_variance(settings: Settings) -> list[RunConfig]:
    """AEVB on Frey Face with one variance for all pixels."""
    return [run.replace(pixel_variance="shared") for run in _of(settings, "frey_face", "aevb")]


def figure3_readings(settings: Settings) -> list[RunConfig]:
    """The runs of figure 3 with the other learning rates, and with the initialisation of the authors' code."""
    runs = figure3(settings)
    readings: list[dict[str, Any]] = [{"learning_rate": rate} for rate in LEARNING_RATES]
    readings.append({"learning_rate": 0.02, "initialisation": "fan_in"})
    others = (run.replace(samples_total=SAMPLES_FIGURE_3, **reading) for reading in readings for run in runs)
    return [other for other in others if other.run_id not in {run.run_id for run in runs}]


def seeds(settings: Settings) -> list[RunConfig]:
    """One panel of figure 2 for each dataset, both algorithms, with the other seeds."""
    return [run.replace(seed=seed) for run in _panels(settings) for seed in SEEDS]


def _panels(settings: Settings) -> list[RunConfig]:
    return [run for run in figure2(settings) if PANELS.get(run.dataset) == run.n_latent]


def _of(settings: Settings, dataset: str, algorithm: str) -> list[RunConfig]:
    return [run for run in figure2(settings) if (run.dataset, run.algorithm) == (dataset, algorithm)]


def chosen_learning_rates(records: list[Record], by: Sequence[str] = RUN) -> pd.DataFrame:
    """Per run: its curve on train [nats] after the first iterations with each learning rate, and the one to choose.

    The paper chose by "performance on the training set in the first few iterations". Here: the largest learning
    rate whose value is not below the best by more than the best's standard error over datapoints. `by`: the settings
    that tell runs apart.
    """
    rows = []
    for record in records:
        on_train, metric = record.curve[record.curve["split"] == "train"].iloc[-1], record.config.metric
        run = [getattr(record.config, name) for name in by]
        rows.append([*run, record.config.learning_rate, on_train[metric], on_train[f"{metric}_se"]])
    table = pd.DataFrame(rows, columns=[*by, "learning_rate", "value", "se"])
    wide = table.pivot(index=list(by), columns="learning_rate", values="value")
    best = table.loc[table.groupby(list(by))["value"].idxmax()].set_index(list(by))
    is_as_good = wide.ge(best["value"] - best["se"], axis=0)
    return wide.assign(se=best["se"], chosen=is_as_good.apply(lambda row: row.index[row].max(), axis=1))


def until(records: list[Record], samples: int) -> list[Record]:
    """The records as they were after so many training samples."""
    return [run._replace(curve=run.curve[run.curve["samples_evaluated"] <= samples]) for run in records]


def by_rule(records: list[Record], samples: int) -> list[Record]:
    """Those of the records whose learning rate the paper's rule chooses, after so many training samples."""
    chosen = chosen_learning_rates(until(records, samples))["chosen"]
    return [
        record
        for record in records
        if record.config.learning_rate == chosen[tuple(getattr(record.config, name) for name in RUN)]
    ]


def figure3_table(records: list[Record], millions: float) -> pd.DataFrame:
    """log p(x) after so many samples under different learning rates and initialisations, and the paper's [nats]."""
    tables = [
        verdict.marginal_likelihoods(curves_of([record]), (millions,)).assign(
            learning_rate=record.config.learning_rate, initialisation=record.config.initialisation
        )
        for record in records
    ]
    rows = ["n_train", "algorithm", "initialisation", "learning_rate"]
    return pd.concat(tables).pivot(index=rows, columns="split", values=["ours", "paper", "difference"])


def explained(readings: pd.DataFrame) -> pd.DataFrame:
    """Per curve: the lowest and highest of our readings, the paper's value [nats], and whether it lies between."""
    long = readings.stack("split").groupby(["n_train", "algorithm", "split"])
    table = long.agg(lowest=("ours", "min"), highest=("ours", "max"), paper=("paper", "first")).dropna()
    return table.assign(between=table["paper"].between(table["lowest"], table["highest"]))


def closeness(readings: pd.DataFrame) -> pd.DataFrame:
    """How far each reading is from the paper: mean and maximum absolute difference [nats] over so many curves."""
    distance = readings["difference"].stack().abs().groupby(["n_train", "initialisation", "learning_rate"])
    return distance.agg(["mean", "max", "count"])


def distances(records: list[Record], settings: Sequence[str] = ("initialisation",)) -> pd.DataFrame:
    """The last bound on test under each learning rate and choice of `settings`, and the paper's [nats].

    `distance` is the mean absolute difference to the paper's curves over all evaluation points, train and test.
    """
    rows = []
    for record in records:
        compared = verdict.compare_with_paper(curves_of([record]))
        last = compared[compared["split"] == "test"].iloc[-1]
        rows.append({
            **{name: getattr(record.config, name) for name in (*RUN, *settings)},
            "learning_rate": record.config.learning_rate,
            **last[["samples_evaluated", "ours", "paper", "difference"]],
            "distance": compared["difference"].abs().mean(),
        })  # fmt: skip
    return pd.DataFrame(rows)


def favoured(grid: pd.DataFrame, chosen: pd.DataFrame) -> pd.DataFrame:
    """How far each initialisation is from the paper's curves, with the learning rates chosen by the paper's rule.

    `chosen` is the table of `chosen_learning_rates` by RUN and initialisation. Per dataset and algorithm the `distance`
    of `distances` [nats], and over all of them its mean in units of the verdict's tolerance; the closest first.
    """
    keys = [*RUN, "initialisation"]
    rows = grid.merge(chosen["chosen"].reset_index(), on=keys).query("learning_rate == chosen")
    rows = rows.assign(overall=rows["distance"] / [verdict.tolerance(2, dataset) for dataset in rows["dataset"]])
    wide = rows.pivot(index="initialisation", columns=["dataset", "algorithm"], values="distance")
    wide["overall", ""] = rows.groupby("initialisation")["overall"].mean()
    return wide.sort_values(("overall", ""))


def compared(settings: Settings, records: list[Record]) -> dict[str, pd.DataFrame]:
    """Per reading of `of_mnist` that has records, its table of `two_readings` against `records` of figure 2.

    Where a reading has runs with several learning rates, the paper's rule chooses.
    """
    ours = [run for run in records if run.config.dataset == "mnist" and run.config.seed == settings.seed]
    found = {name: existing(runs, "paper") for name, runs in of_mnist(settings).items()}
    return {
        name: two_readings(ours, by_rule(others, SAMPLES_LEARNING_RATE[2])) for name, others in found.items() if others
    }


def two_readings(records: list[Record], others: list[Record]) -> pd.DataFrame:
    """Each curve of figure 2 under two readings: ours minus the paper's [nats] at the furthest common point."""
    keys, _ = verdict.PANELS[2]
    both = verdict.compare_with_paper(curves_of(records)).merge(
        verdict.compare_with_paper(curves_of(others)),
        on=[*keys, "samples_evaluated", "paper", "tolerance"],
        suffixes=("", "_other"),
    )
    common = both.dropna(subset=["paper"])
    furthest = common.loc[common.groupby(keys)["samples_evaluated"].idxmax()]
    columns = [*keys, "samples_evaluated", "paper", "difference", "difference_other", "tolerance"]
    return furthest[columns].reset_index(drop=True)


def two_readings_as_text(table: pd.DataFrame, names: tuple[str, str]) -> str:
    """The table of `two_readings` under the readings' names, and how many curves are within the verdict's tolerance."""
    columns = dict(zip(("difference", "difference_other"), names, strict=True))
    named = table.rename(columns=columns)
    within = named[list(names)].abs().le(named["tolerance"], axis=0).sum()
    counts = ", ".join(f"{count} with {name}" for name, count in within.items())
    shown = named.drop(columns="tolerance").to_string(index=False, float_format="{:.1f}".format)
    return f"{shown}\nwithin the tolerance, of {len(table)} curves: {counts}\n"
