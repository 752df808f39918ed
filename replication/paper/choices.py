"""What each choice does: the runs that were tried, how far each is from the paper's early curves, and what is chosen.

Fit early, judge late: the distance is taken up to FIT_UNTIL samples, and the verdict judges beyond. A choice is the
same for all panels of a dataset and algorithm.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import Any

import pandas as pd

from replication import paths
from replication.config import RunConfig
from replication.paper import names, reference, verdict
from replication.paper.experiments import figure2, figure3
from replication.paper.plans import Plan, make_plan
from replication.paper.readings import AUTHORS_WAKE_SLEEP, Reading
from replication.paper.verdict import FIT_UNTIL
from replication.runs import curves
from replication.runs.records import Record, existing

LEARNING_RATES = (0.01, 0.02, 0.1)  # the paper's three
FIT_FROM = 500_000
SEEDS = (0, 1, 2)
AS_CLOSE = 0.05  # tolerances: candidates that are no further apart count as equal, and the first one is chosen
NO_READING = Reading("", "", {})

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
VARIED = ("learning_rate", *dict.fromkeys(name for of in CANDIDATES.values() for each in of for name in each))


def candidates(figure: int) -> list[RunConfig]:
    """Every run that could be tried for a figure, up to FIT_UNTIL, in order of preference, with all seeds."""
    plain = make_plan("paper")._replace(reading=NO_READING)
    runs = {2: figure2, 3: figure3}[figure](plain)
    return [
        run.replace(**{**changes, "learning_rate": rate, "seed": seed, "samples_total": FIT_UNTIL[figure]})
        for run in runs
        for changes, rate, seed in product(
            CANDIDATES.get((f"figure{figure}", run.dataset, run.algorithm), ()), LEARNING_RATES, SEEDS
        )
    ]


def tried(records: Iterable[Record], figure: int) -> pd.DataFrame:
    """How far each candidate is from the paper's curves between FIT_FROM and FIT_UNTIL, in tolerances of the verdict.

    `distance` is the mean over panels of the mean absolute difference, `above` the same with its sign; on test for
    figure 2, on both splits for figure 3. `panels` counts the curves, `is_complete` says that every one that the paper
    draws early is there to FIT_UNTIL: only such a candidate can be chosen.
    """
    groups: dict[tuple, list[Record]] = {}
    for record in records:
        config = record.config
        choice = tuple((name, getattr(config, name)) for name in VARIED)
        if config.algorithm == "mcem":  # its batch is the training set, which is no choice
            choice = tuple((name, 100 if name == "batch_size" else value) for name, value in choice)
        groups.setdefault((config.dataset, config.algorithm, choice), []).append(record)
    drawn = _early_curves(figure)
    all_panels = _panels(list(groups.values()), figure)
    rows = []
    for number, (dataset, algorithm, choice) in enumerate(groups):
        panels = all_panels[all_panels["choice"] == number]
        if panels.empty:
            continue
        setting = dict(choice)
        words = names.choice({name: setting[name] for name in VARIED if name != "learning_rate"})
        reached = panels[panels["until"] >= FIT_UNTIL[figure]]
        rows.append({
            "dataset": dataset, "algorithm": algorithm, "choice": words, "learning_rate": setting["learning_rate"],
            "distance": panels["distance"].mean(), "above": panels["above"].mean(),
            "until": panels["until"].min(), "panels": len(panels), "seeds": panels["n_seeds"].max(),
            "is_complete": len(reached) == drawn[dataset, algorithm], "settings": setting,
        })  # fmt: skip
    table = pd.DataFrame(rows)
    return table.assign(is_chosen=table.index.isin(chosen(table).index))


def as_text(table: pd.DataFrame) -> str:
    """The table of `tried` for reading, the closest first, a block per dataset and algorithm."""
    blocks = []
    for (dataset, algorithm), of in table.groupby(["dataset", "algorithm"], sort=False):
        shown = of.sort_values("distance").drop(columns=["dataset", "algorithm", "settings"])
        shown = shown.assign(**{name: shown[name].map("{:.3g}".format) for name in ("distance", "above")})
        shown["until"] = shown["until"].map(names.scientific)
        blocks.append(f"{names.DATASETS[dataset]}, {names.ALGORITHMS[algorithm]}\n{shown.to_string(index=False)}")
    return "\n\n".join(blocks)


def in_words(table: pd.DataFrame, figure: int) -> str:
    """What is chosen of a figure's candidates and how close it is, a line per dataset and algorithm."""
    return names.in_lines(
        f"Figure {figure}, {names.DATASETS[row['dataset']]}, {names.ALGORITHMS[row['algorithm']]}: {row['choice']}, "
        f"learning rate {row['learning_rate']:g}, {row['distance']:.2f} tolerances from the paper's early curves."
        for _, row in table[table["is_chosen"]].iterrows()
    )


def _panels(choices: Sequence[list[Record]], figure: int) -> pd.DataFrame:
    """Per choice and curve of the paper that is drawn early: distance and signed distance [tolerances], how far, seeds.

    `choice` is the number of the choice in `choices`, each of which has the records of its runs.
    """
    keys = verdict.PANELS[figure]
    ours = [
        curves.as_reported(curves.table(runs)).assign(
            choice=number, step=max(run.config.samples_per_step for run in runs)
        )
        for number, runs in enumerate(choices)
    ]
    table = verdict.compare_with_paper(pd.concat(ours), figure, by=["choice", "step"])
    at_limit = table["samples_evaluated"] < FIT_UNTIL[figure] + table["step"]
    table = table[at_limit & (table["samples_evaluated"] >= FIT_FROM)].dropna(subset=["difference"])
    if figure == 2:
        table = table[table["split"] == "test"]
    relative = table["difference"] / table["tolerance"]
    grouped = table.assign(distance=relative.abs(), above=relative).groupby(["choice", *keys])
    return grouped.agg(
        distance=("distance", "mean"),
        above=("above", "mean"),
        until=("samples_evaluated", "max"),
        n_seeds=("n_seeds", "max"),
    ).reset_index()


def _early_curves(figure: int) -> dict[tuple[str, str], int]:
    """How many of the paper's curves of a dataset and algorithm are drawn at FIT_UNTIL."""
    keys = verdict.PANELS[figure]
    paper = reference.load(figure)
    if figure == 2:
        paper = paper[paper["split"] == "test"]
    begins = paper.groupby(keys)["samples_evaluated"].min().reset_index()
    early = begins[begins["samples_evaluated"] <= FIT_UNTIL[figure]]
    return early.groupby(["dataset", "algorithm"]).size().to_dict()


def chosen(table: pd.DataFrame) -> pd.DataFrame:
    """Of the complete candidates the closest, per dataset and algorithm; the first of those that are AS_CLOSE to it.

    The minibatch of a dataset is chosen on AEVB's curves, and wake-sleep's have the same where that was tried.
    """
    rows: list[pd.Series] = []
    batch_size: dict[str, int] = {}
    for (dataset, algorithm), of in table[table["is_complete"]].groupby(["dataset", "algorithm"], sort=False):
        if algorithm == "wake_sleep" and dataset in batch_size:
            same = of[[settings["batch_size"] == batch_size[dataset] for settings in of["settings"]]]
            of = of if same.empty else same
        row = of[of["distance"] <= of["distance"].min() + AS_CLOSE].iloc[0]
        if algorithm == "aevb":
            batch_size[dataset] = row["settings"]["batch_size"]
        rows.append(row)
    return pd.DataFrame(rows)


def first_iterations(figure: int) -> pd.DataFrame:
    """Every run of a figure (figure 4's with those of 2) with each learning rate, after its first iterations.

    `value` is the bound, or log p(x) in figure 3, of the model at that point on train, `se` its standard error over
    datapoints [nats]; on MNIST over the first 10,000 images (figure 3: 1000). From the records at commit f8bc51c, which
    evaluated the bound on train; later ones have the running mean, in which the first iterations are the transient.
    """
    table = pd.read_csv(paths.FIRST_ITERATIONS)
    return table[table["figure"] == figure].reset_index(drop=True)


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


def recorded(figure: int) -> list[Record]:
    """The records of `candidates` that are there."""
    return existing(candidates(figure), "paper")
