"""What the paper says in words about its figures 2 and 3, each claim computed from records and from the paper's curves.

Every claim takes the table of `verdict.compare_with_paper` and returns one row per panel and split: what it measures
for our curves (`ours`) and for the paper's own (`paper`, NaN where they are not drawn), at how many samples, and if
the claim `holds` for ours and `holds_in_paper` for the paper's own curves.
"""

from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from replication.paper import names, verdict
from replication.runs import curves
from replication.runs.records import Record

COLUMNS = ["claim", "panel", "split", "samples_evaluated", "ours", "paper", "holds", "holds_in_paper"]
SOURCES = ("ours", "paper")
ACTIVE = 0.01  # nats: a latent dimension with a smaller KL says nothing of x
LESS = 1.0  # nats below wake-sleep's last bound: a level that it reaches before its end
WIDER = 1.0  # nats by which a gap may widen and count as no wider
COLLAPSED = 4.0  # nats from the best independent Gaussian within which a model has learned nothing else


def _row(
    claim: str, panel: str, split: str, samples: float, measured: dict[str, float], is_true: Callable[[float], bool]
) -> dict[str, Any]:
    """One row; a claim is true or false of a number, and neither where there is none."""
    holds = [None if np.isnan(measured[source]) else bool(is_true(measured[source])) for source in SOURCES]
    values = [claim, panel, split, samples, *(measured[source] for source in SOURCES), *holds]
    return dict(zip(COLUMNS, values, strict=True))


def range_in_words(cases: pd.DataFrame, source: str, digits: int = 2) -> str:
    """The range of what a claim measures; `>=` marks a limit that a curve does not resolve."""
    low, high = cases[source].min(), cases[source].max()
    if np.isnan(low):
        return "not drawn"
    is_limit = [isinstance(sources, tuple) and source in sources for sources in cases.get("is_at_least", ())]
    limit = ">= " if any(is_limit) and high == cases[source][is_limit].max() else ""
    if f"{low:.{digits}f}" == f"{high:.{digits}f}":
        return f"{limit}{low:.{digits}f}"
    return f"{low:.{digits}f} to {limit}{high:.{digits}f}"


def above(figure2: pd.DataFrame) -> pd.DataFrame:
    """The share of the evaluation points at which AEVB's bound is above wake-sleep's.

    From the point on at which the paper draws both; ours to their end, which may lie beyond the paper's.
    """
    rows = []
    for panel, split, both in _algorithms(figure2):
        shares = {}
        from_there = both.loc[_common(both).index.min() :]
        for source in SOURCES:
            difference = (from_there[source]["aevb"] - from_there[source]["wake_sleep"]).dropna()
            shares[source] = (difference > 0).mean() if len(difference) else np.nan
        end = from_there["ours"].dropna().index.max()
        claim = "AEVB above wake-sleep, from where both are drawn on: share of evaluation points"
        rows.append(_row(claim, panel, split, end, shares, lambda share: share == 1))
    return pd.DataFrame(rows, columns=COLUMNS)


def samples_needed(figure2: pd.DataFrame) -> pd.DataFrame:
    """How many times AEVB's samples wake-sleep takes to come within LESS of its own last bound.

    At the evaluation points at which the paper draws both. Where AEVB is there at its first evaluation point already,
    the number is a lower limit: `is_at_least` names the sources for which it is.
    """
    rows = []
    for panel, split, both in _algorithms(figure2):
        factors, at_least = {}, []
        for source in SOURCES:
            common = _common(both)[source].dropna()
            factors[source] = np.nan
            if len(common):
                level = common["wake_sleep"].iloc[-1] - LESS
                factors[source] = _first_reached(common["wake_sleep"], level) / _first_reached(common["aevb"], level)
                if common["aevb"].iloc[0] >= level:
                    at_least.append(source)
        end = _common(both)["ours"].dropna().index.max()
        claim = f"samples to wake-sleep's last bound less {LESS:g} nat: wake-sleep's over AEVB's"
        row = _row(claim, panel, split, end, factors, lambda factor: factor > 1)
        rows.append({**row, "is_at_least": tuple(at_least)})
    return pd.DataFrame(rows, columns=[*COLUMNS, "is_at_least"])


def gap(figure2: pd.DataFrame) -> pd.DataFrame:
    """AEVB's bound on train minus test [nats], which superfluous latent variables do not widen by more than WIDER.

    At the furthest evaluation point of all runs of a dataset that the paper draws too; compared with the next fewer
    latent variables.
    """
    rows = []
    for dataset, gaps in gaps_by_n_latent(figure2).groupby("dataset", sort=False):
        for (_, fewer), (_, more) in zip(gaps.iloc[:-1].iterrows(), gaps.iloc[1:].iterrows(), strict=True):
            panel = names.panel(str(dataset), "n_latent", more["n_latent"])
            claim = f"train minus test no wider, within {WIDER:g} nat, than with fewer latent variables [nats]"
            row = _row(claim, panel, "both", more["samples_evaluated"], dict(more[list(SOURCES)]), lambda _: True)
            for source, holds in zip(SOURCES, ("holds", "holds_in_paper"), strict=True):
                row[holds] = (
                    None if np.isnan(more[source] + fewer[source]) else bool(more[source] <= fewer[source] + WIDER)
                )
            rows.append(row)
    return pd.DataFrame(rows, columns=COLUMNS)


def gaps_by_n_latent(figure2: pd.DataFrame) -> pd.DataFrame:
    """AEVB's bound on train minus test [nats], ours and the paper's, where all curves of a dataset have arrived.

    Only for the numbers of latent variables with both curves, and that the paper draws where it draws the dataset.
    """
    tables = []
    for dataset, runs in figure2[figure2["algorithm"] == "aevb"].groupby("dataset", sort=False):
        by_n_latent = runs.groupby("n_latent")
        is_drawn = by_n_latent["paper"].transform("count") > 0
        runs = runs[(is_drawn | ~is_drawn.any()) & (by_n_latent["split"].transform("nunique") == 2)]
        wide = runs.pivot(index=["samples_evaluated", "n_latent"], columns="split", values=list(SOURCES))
        if not {"train", "test"} <= set(runs["split"]):
            continue
        gaps = pd.DataFrame({source: wide[source]["train"] - wide[source]["test"] for source in SOURCES})
        by_samples = gaps.unstack("n_latent")
        complete = by_samples["ours"].dropna().index
        drawn = by_samples.dropna().index
        if len(complete):
            at = (drawn if len(drawn) else complete).max()
            at_end = gaps.loc[at].reset_index()
            tables.append(at_end.assign(dataset=dataset, samples_evaluated=at))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["dataset", "n_latent", *SOURCES])


def collapsed(figure2: pd.DataFrame, records: list[Record]) -> pd.DataFrame:
    """Wake-sleep's last bound on Frey Face minus that of the best independent Gaussian per pixel [nats].

    On train only: the paper's split is another one, and its test set is too small for the baseline to carry over.
    """
    baselines = [r.facts["independent_gaussian"] for r in records if "independent_gaussian" in r.facts]
    rows = []
    of = (figure2["algorithm"] == "wake_sleep") & (figure2["dataset"] == "frey_face") & (figure2["split"] == "train")
    for n_latent, curve in figure2[of].groupby("n_latent"):
        last = curve.loc[curve["samples_evaluated"].idxmax()]
        distances = {source: last[source] - baselines[0]["train"] for source in SOURCES}
        claim = f"wake-sleep is the best independent Gaussian, within {COLLAPSED:g} nats"
        panel = names.panel("frey_face", "n_latent", n_latent)
        row = _row(claim, panel, "train", last["samples_evaluated"], distances, lambda d: abs(d) <= COLLAPSED)
        rows.append(row)
    return pd.DataFrame(rows, columns=COLUMNS)


def orderings(figure3: pd.DataFrame) -> pd.DataFrame:
    """Which of two algorithms is above the other in the paper's figure 3, for every pair, and by how much [nats].

    At the furthest evaluation point at which the paper draws both curves; a pair that it does not draw within our runs
    has no row.
    """
    rows = []
    for (dataset, n_train, split), panel in figure3.groupby(["dataset", "n_train", "split"], sort=False):
        wide = panel.pivot(index="samples_evaluated", columns="algorithm", values=list(SOURCES))
        for pair in combinations([name for name in names.ALGORITHMS if name in set(panel["algorithm"])], 2):
            common = wide.loc[:, [(source, name) for source in SOURCES for name in pair]].dropna()
            if common.empty:
                continue
            end = common.index.max()
            values = common.loc[end]
            low, high = sorted(pair, key=lambda name: values["paper"][name])
            differences = {source: values[source][high] - values[source][low] for source in SOURCES}
            claim = f"{names.ALGORITHMS[high]} above {names.ALGORITHMS[low]} [nats]"
            where = names.panel(dataset, "n_train", n_train)
            rows.append(_row(claim, where, split, end, differences, lambda d: d > 0))
    return pd.DataFrame(rows, columns=COLUMNS)


def against_independent_gaussian(records: list[Record]) -> pd.DataFrame:
    """The last bound of every run on a Gaussian likelihood, and the best independent Gaussian per pixel [nats]."""
    rows = []
    for record in records:
        for split, baseline in record.facts.get("independent_gaussian", {}).items():
            last = curves.as_reported(curves.table([record])).query(f"split == '{split}'").iloc[-1]
            rows.append({
                "dataset": record.config.dataset,
                "algorithm": record.config.algorithm,
                "n_latent": record.config.n_latent,
                "split": split,
                "bound": last["value"],
                "independent Gaussian": baseline,
                "difference": last["value"] - baseline,
            })  # fmt: skip
    return pd.DataFrame(
        rows, columns=["dataset", "algorithm", "n_latent", "split", "bound", "independent Gaussian", "difference"]
    )


def _algorithms(figure2: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Per panel and split, both algorithms by samples: columns (source, algorithm)."""
    for (dataset, n_latent, split), panel in figure2.groupby(["dataset", "n_latent", "split"], sort=False):
        wide = panel.pivot(index="samples_evaluated", columns="algorithm", values=list(SOURCES))
        if {"aevb", "wake_sleep"} <= set(panel["algorithm"]):
            yield names.panel(dataset, "n_latent", n_latent), split, wide


def _common(both: pd.DataFrame) -> pd.DataFrame:
    """The evaluation points at which the paper draws both curves; all of ours where it draws none."""
    drawn = both["paper"].dropna().index
    return both.loc[drawn] if len(drawn) else both


def _first_reached(curve: pd.Series, target: float) -> float:
    """The samples at which a curve first reaches a value, interpolated in log10(samples); inf if never."""
    x, y = np.log10(curve.index.to_numpy(float)), curve.to_numpy()
    reached = np.flatnonzero(y >= target)
    if not len(reached):
        return np.inf
    i = reached[0]
    return 10 ** (x[i] if i == 0 else np.interp(target, y[i - 1 : i + 1], x[i - 1 : i + 1]))


def latent_use(records: list[Record]) -> pd.DataFrame:
    """KL(q(z_j|x) || p(z_j)) per latent dimension j, the most used first, mean over the test set [nats]."""
    kls = {record.config.n_latent: sorted(record.kl_per_dimension, reverse=True) for record in records}
    rows = [(n_latent, rank, kl) for n_latent, kl_ in sorted(kls.items()) for rank, kl in enumerate(kl_, start=1)]
    return pd.DataFrame(rows, columns=["n_latent", "rank", "kl"])


def active_units(use: pd.DataFrame) -> pd.DataFrame:
    """How many latent dimensions carry more than ACTIVE nats, per model, and the KL of all and of the others."""
    is_active = use["kl"] > ACTIVE
    groups = use.assign(active=is_active, unused=use["kl"].where(~is_active, 0)).groupby("n_latent")
    return groups.agg(active=("active", "sum"), kl=("kl", "sum"), kl_of_inactive=("unused", "sum"))


def escapes(records: list[Record]) -> pd.DataFrame:
    """Where a run on a Gaussian likelihood leaves the best independent Gaussian: the first evaluation point above.

    Above means on test and by more than a tolerance of the verdict; `above` is by how much at the end [nats].
    """
    rows = []
    for record in records:
        on_test = record.curve[record.curve["split"] == "test"]
        above = on_test["value"] - record.facts["independent_gaussian"]["test"]
        left = on_test["samples_evaluated"][above > verdict.tolerance(2, record.config.dataset)]
        end = on_test["samples_evaluated"].iloc[-1]
        rows.append([record.config.n_latent, end, left.min() if len(left) else "", round(above.iloc[-1], 1)])
    return pd.DataFrame(rows, columns=["n_latent", "trained to", "leaves at", "above"])
