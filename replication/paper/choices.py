"""What each choice does: the runs that were tried, how far each is from the paper's early curves, and what is chosen.

Fit early, judge late: the distance is taken up to FIT_UNTIL samples, and the verdict judges beyond. A choice is the
same for all panels of a dataset and algorithm.
"""

import io
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import Any

import pandas as pd

from replication import paths
from replication.config import RunConfig
from replication.files import read_verified
from replication.paper import names, reference
from replication.paper.comparison import FIT_UNTIL, compare
from replication.paper.experiments import figure2, figure3
from replication.paper.plans import Plan, make_plan
from replication.paper.readings import AUTHORS_WAKE_SLEEP, Reading
from replication.runs import curves
from replication.runs.curves import CURVE
from replication.runs.records import Record, existing

LEARNING_RATES = (0.01, 0.02, 0.1)  # the paper's three
FIT_FROM = 500_000
SEEDS = (0, 1, 2)
AS_CLOSE = 0.05  # tolerances: candidates that are no further apart count as equal, and the first one is chosen
NO_READING = Reading("", "", {})
FIRST_ITERATIONS_SHA256 = "cf046813d242b8c12ecd5509c0f4cdb941fed24e04821156555c51243ea8b997"

STARTS = ({"initialisation": "paper_variance"}, {"initialisation": "fan_in"})
PARTS = tuple({name: value} for name, value in AUTHORS_WAKE_SLEEP.items())
SLOW_DECODER = {**AUTHORS_WAKE_SLEEP, "decoder_log_var_factor": 0.1}
# What can be tried beside the learning rates, in order of preference; {} is what the paper's words say.
CANDIDATES: dict[tuple[str, str, str], Sequence[Mapping[str, Any]]] = {
    ("figure2", "mnist", "aevb"): ({}, *STARTS, {"targets": "binarised"}),
    ("figure2", "mnist", "wake_sleep"): ({}, AUTHORS_WAKE_SLEEP, *PARTS, *STARTS, {"dreams": "mean"}),
    ("figure2", "frey_face", "aevb"): (
        *({"batch_size": m} for m in (100, 200, 313, 500)),
        *STARTS,
        {"pixel_variance": "shared"},
    ),
    ("figure2", "frey_face", "wake_sleep"): tuple(
        {"batch_size": m, **changes}
        for m in (100, 313)
        for changes in ({}, AUTHORS_WAKE_SLEEP, SLOW_DECODER, *PARTS, *STARTS)
    ),
    ("figure3", "mnist", "aevb"): (
        *({}, {"batch_size": 500}, {"warm_up_steps": 100}, *STARTS),
        {"batch_size": 500, "initialisation": "fan_in"},
    ),
    ("figure3", "mnist", "wake_sleep"): ({}, AUTHORS_WAKE_SLEEP, *STARTS),
    ("figure3", "mnist", "mcem"): ({}, *STARTS),
}
VARIED = (
    "learning_rate",
    *dict.fromkeys(name for choices in CANDIDATES.values() for choice in choices for name in choice),
)


def candidates() -> list[RunConfig]:
    """Every run that could be tried, up to FIT_UNTIL, in order of preference, with all seeds."""
    plain = make_plan("paper")._replace(reading=NO_READING)
    runs = {"figure2": figure2(plain), "figure3": figure3(plain)}
    return [
        run.replace(**{**changes, "learning_rate": rate, "seed": seed, "samples_total": FIT_UNTIL[run.metric]})
        for figure, runs_of_figure in runs.items()
        for run in runs_of_figure
        for changes, rate, seed in product(
            CANDIDATES.get((figure, run.dataset, run.algorithm), ()), LEARNING_RATES, SEEDS
        )
    ]


def tried(records: Iterable[Record]) -> pd.DataFrame:
    """How far each candidate is from the paper's curves between FIT_FROM and FIT_UNTIL, in tolerances of the verdict.

    `distance` is the mean over panels of the mean absolute difference, `above` the same with its sign; on test for the
    bound, on both splits for log p(x). `panels` counts the curves, `is_complete` says that every one that the paper
    draws early is there to FIT_UNTIL: only such a candidate can be chosen.
    """
    groups: dict[tuple, list[Record]] = {}
    for record in records:
        config = record.config
        choice = tuple((name, getattr(config, name)) for name in VARIED)
        if config.algorithm == "mcem":  # its batch is the training set, which is no choice
            choice = tuple((name, 100 if name == "batch_size" else value) for name, value in choice)
        groups.setdefault((config.metric, config.dataset, config.algorithm, choice), []).append(record)
    drawn = _drawn_early()
    all_panels = _panels(list(groups.values()))
    rows = []
    for number, (metric, dataset, algorithm, choice) in enumerate(groups):
        panels = all_panels[all_panels["choice"] == number]
        if panels.empty:
            continue
        setting = dict(choice)
        words = names.choice({name: setting[name] for name in VARIED if name != "learning_rate"})
        reached = panels[panels["until"] >= FIT_UNTIL[metric]]
        rows.append({
            "metric": metric, "dataset": dataset, "algorithm": algorithm, "choice": words,
            "learning_rate": setting["learning_rate"],
            "distance": panels["distance"].mean(), "above": panels["above"].mean(),
            "until": panels["until"].min(), "panels": len(panels), "seeds": panels["n_seeds"].max(),
            "is_complete": len(reached) == drawn[metric, dataset, algorithm], "settings": setting,
        })  # fmt: skip
    table = pd.DataFrame(rows)
    return table.assign(is_chosen=table.index.isin(chosen(table).index))


def for_reading(table: pd.DataFrame) -> pd.DataFrame:
    """The table of `tried` with its names in words, the closest of each dataset and algorithm first."""
    shown = table.drop(columns=["metric", "settings"]).assign(
        dataset=table["dataset"].map(names.DATASETS),
        algorithm=table["algorithm"].map(names.ALGORITHMS),
        until=table["until"].map(names.scientific),
    )
    blocks = [block.sort_values("distance") for _, block in shown.groupby(["dataset", "algorithm"], sort=False)]
    return pd.concat(blocks) if blocks else shown


def what_is_chosen(table: pd.DataFrame) -> str:
    """What is chosen of the candidates and how close it is, a line per figure, dataset and algorithm."""
    return names.in_lines(
        f"Figure {reference.FIGURES[row['metric']]}, {names.DATASETS[row['dataset']]}, "
        f"{names.ALGORITHMS[row['algorithm']]}: {row['choice']}, learning rate {row['learning_rate']:g}, "
        f"{row['distance']:.2f} tolerances from the paper's early curves."
        for _, row in table[table["is_chosen"]].iterrows()
    )


def _panels(choices: Sequence[list[Record]]) -> pd.DataFrame:
    """Per choice and curve of the paper that is drawn early: distance and signed distance [tolerances], how far, seeds.

    `choice` is the number of the choice in `choices`, each of which has the records of its runs.
    """
    ours = [curves.table(runs).assign(choice=number) for number, runs in enumerate(choices)]
    table = compare(pd.concat(ours), by=["choice"])
    is_early = (table["point"] >= FIT_FROM) & (table["point"] <= table["metric"].map(FIT_UNTIL))
    table = table[is_early & counts_in_the_search(table)].dropna(subset=["difference"])
    relative = table["difference"] / table["tolerance"]
    grouped = table.assign(distance=relative.abs(), above=relative).groupby(["choice", *CURVE])
    return grouped.agg(
        distance=("distance", "mean"),
        above=("above", "mean"),
        until=("point", "max"),
        n_seeds=("n_seeds", "max"),
    ).reset_index()


def counts_in_the_search(table: pd.DataFrame) -> pd.Series:
    """Curves of the bound count on test only: on train the paper's are running means over its own reports."""
    return (table["metric"] != "bound") | (table["split"] == "test")


def _drawn_early() -> dict[tuple[str, str, str], int]:
    """How many of the paper's curves of a metric, dataset and algorithm are drawn at FIT_UNTIL."""
    drawn = reference.curves()
    drawn = drawn[counts_in_the_search(drawn)]
    begins = drawn.groupby(CURVE)["samples_evaluated"].min().reset_index()
    early = begins[begins["samples_evaluated"] <= begins["metric"].map(FIT_UNTIL)]
    return early.groupby(["metric", "dataset", "algorithm"]).size().to_dict()


def chosen(table: pd.DataFrame) -> pd.DataFrame:
    """Of the complete candidates the closest, per dataset and algorithm; the first of those that are AS_CLOSE to it.

    The minibatch of a dataset is chosen on AEVB's curves, and wake-sleep's have the same where that was tried.
    """
    rows: list[pd.Series] = []
    batch_size: dict[tuple[str, str], int] = {}
    complete = table[table["is_complete"]]
    for (metric, dataset, algorithm), candidates in complete.groupby(["metric", "dataset", "algorithm"], sort=False):
        if algorithm == "wake_sleep" and (metric, dataset) in batch_size:
            wanted = batch_size[metric, dataset]
            same = candidates[[settings["batch_size"] == wanted for settings in candidates["settings"]]]
            candidates = candidates if same.empty else same
        row = candidates[candidates["distance"] <= candidates["distance"].min() + AS_CLOSE].iloc[0]
        if algorithm == "aevb":
            batch_size[metric, dataset] = row["settings"]["batch_size"]
        rows.append(row)
    return pd.DataFrame(rows)


def first_iterations(metric: str) -> pd.DataFrame:
    """Every run of a figure (figure 4's with those of 2) with each learning rate, after its first iterations.

    `value` is the bound, or log p(x), of the model at that point on train, `se` its standard error over datapoints
    [nats]; on MNIST over the first 10,000 images (log p(x): 1000). From the records at commit f8bc51c, which evaluated
    the bound on train; later ones have the running mean, in which the first iterations are the transient. Raises
    RecordError where the file is not the one that was made of them.
    """
    table = pd.read_csv(io.BytesIO(read_verified(paths.FIRST_ITERATIONS, FIRST_ITERATIONS_SHA256)))
    return table[table["figure"] == reference.FIGURES[metric]].reset_index(drop=True)


def chosen_learning_rates(table: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Per run: its value on train [nats] after the first iterations with each learning rate, and the one to choose.

    The paper chose by "performance on the training set in the first few iterations". Here: the largest learning
    rate whose value is not below the best by more than the best's standard error. `by`: the settings that tell runs
    apart; `table` is that of `first_iterations`.
    """
    wide = table.pivot(index=list(by), columns="learning_rate", values="value")
    best = table.loc[table.groupby(list(by))["value"].idxmax()].set_index(list(by))
    is_as_good = wide.ge(best["value"] - best["se"], axis=0)
    return wide.assign(se=best["se"], chosen=is_as_good.apply(lambda row: row.index[row].max(), axis=1))


def seeds(chosen: Plan) -> list[RunConfig]:
    """One panel of figure 2 for each dataset, both algorithms, with the other seeds."""
    panels = {"mnist": 20, "frey_face": 10}
    runs = [run for run in figure2(chosen) if panels.get(run.dataset) == run.n_latent]
    return [run.replace(seed=seed) for run in runs for seed in SEEDS if seed != chosen.seed]


def tried_runs() -> list[Record]:
    """The records of `candidates` that are there."""
    return existing(candidates(), "paper")
