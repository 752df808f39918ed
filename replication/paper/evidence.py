"""Tables that the notebooks show beside the claims: what a model uses, what it gained, and against which baseline."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from replication.config import ConfigError
from replication.paper import comparison, names, reference
from replication.runs import curves
from replication.runs.records import Record

ACTIVE = 0.01  # nats: a latent dimension with a smaller KL says nothing of x
MAP_AND_FULL_VB = {"aevb": "MAP", "full_vb": "full VB"}


def latent_use(records: Iterable[Record]) -> pd.DataFrame:
    """KL(q(z_j|x) || p(z_j)) per latent dimension j, the most used first, mean over the test set [nats]."""
    kls = {record.config.n_latent: sorted(record.facts["kl_per_dimension"], reverse=True) for record in records}
    rows = [(n_latent, rank, kl) for n_latent, kl_ in sorted(kls.items()) for rank, kl in enumerate(kl_, start=1)]
    return pd.DataFrame(rows, columns=["n_latent", "rank", "kl"])


def active_units(use: pd.DataFrame) -> pd.DataFrame:
    """How many latent dimensions carry more than ACTIVE nats, per model, and the KL of all and of the others."""
    is_active = use["kl"] > ACTIVE
    groups = use.assign(active=is_active, unused=use["kl"].where(~is_active, 0)).groupby("n_latent")
    return groups.agg(active=("active", "sum"), kl=("kl", "sum"), kl_of_inactive=("unused", "sum"))


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


def escapes(recorded: Mapping[str, Sequence[Record]]) -> pd.DataFrame:
    """Where runs on a Gaussian likelihood leave the best independent Gaussian, under each reading.

    That is the first evaluation point at which the bound on test is above it by more than a tolerance of the verdict,
    nothing where there is none; `above` is by how much at the end [nats].
    """
    rows = []
    for reading, records in recorded.items():
        for record in records:
            on_test = record.curve[record.curve["split"] == "test"]
            above = on_test["value"] - record.facts["independent_gaussian"]["test"]
            left = on_test["samples_evaluated"][above > comparison.tolerance("bound", record.config.dataset)]
            ends = [on_test["samples_evaluated"].iloc[-1], left.min()]  # NaN where it never leaves
            rows.append([reading, record.config.n_latent, *map(names.scientific, ends), above.iloc[-1]])
    return pd.DataFrame(rows, columns=["reading", "n_latent", "trained to", "leaves at", "above"])


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
    if table.empty:
        raise ConfigError("There is nothing to compare: no two runs have an evaluation on train and test in common.")
    table["gap"] = table["train"] - table["test"]
    return table.unstack("algorithm").dropna().rename(columns=MAP_AND_FULL_VB)


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
