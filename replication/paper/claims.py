"""What the paper says in words about its figures 2 and 3, each claim computed from records.

Every claim takes the table of `verdict.compare_with_paper` and returns one row per panel and split: what it measures
for our curves (`ours`) and for the paper's own (`paper`, NaN where they are not drawn) at the same evaluation points,
at how many samples, and whether the claim `holds` for ours.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from replication.paper import names, verdict
from replication.runs.records import Record

COLUMNS = ["claim", "panel", "split", "samples_evaluated", "ours", "paper", "holds"]
SOURCES = ("ours", "paper")
ORDERINGS = {  # of the paper's figure 3: (above, below) per number of training datapoints
    1000: (("aevb", "wake_sleep"), ("mcem", "wake_sleep")),
    50_000: (("aevb", "wake_sleep"), ("wake_sleep", "mcem")),
}
ACTIVE = 0.01  # nats: a latent dimension with a smaller KL says nothing of x
COLLAPSED = 4.0  # nats from the best independent Gaussian within which a model has learned nothing else


def above(figure2: pd.DataFrame) -> pd.DataFrame:
    """The share of the evaluation points at which AEVB's bound is above wake-sleep's."""
    rows = []
    for panel, split, both in _algorithms(figure2):
        shares = {}
        for source in SOURCES:
            difference = (both[source]["aevb"] - both[source]["wake_sleep"]).dropna()
            shares[source] = (difference > 0).mean() if len(difference) else np.nan
        end = both["ours"].dropna().index.max()
        rows.append(
            [
                "AEVB above wake-sleep: share of evaluation points",
                panel,
                split,
                end,
                *shares.values(),
                shares["ours"] == 1,
            ]
        )
    return pd.DataFrame(rows, columns=COLUMNS)


def samples_needed(figure2: pd.DataFrame) -> pd.DataFrame:
    """How many times the samples AEVB needs to reach wake-sleep's last bound wake-sleep took for it."""
    rows = []
    for panel, split, both in _algorithms(figure2):
        factors = {}
        for source in SOURCES:
            curves = both[source].dropna()
            factors[source] = curves.index.max() / _first_reached(curves) if len(curves) else np.nan
        end = both["ours"].dropna().index.max()
        claim = "wake-sleep's last bound: its samples over AEVB's"
        rows.append([claim, panel, split, end, *factors.values(), factors["ours"] > 1])
    return pd.DataFrame(rows, columns=COLUMNS)


def gap(figure2: pd.DataFrame) -> pd.DataFrame:
    """AEVB's bound on train minus test [nats], which superfluous latent variables do not widen.

    At the furthest evaluation point of all runs of a dataset; compared with the next fewer latent variables.
    """
    rows = []
    for dataset, runs in figure2[figure2["algorithm"] == "aevb"].groupby("dataset"):
        end = runs.groupby("n_latent")["samples_evaluated"].max().min()
        at_end = runs[runs["samples_evaluated"] == end]
        wide = at_end.pivot(index="n_latent", columns="split", values=list(SOURCES))
        gaps = pd.DataFrame({source: wide[source]["train"] - wide[source]["test"] for source in SOURCES})
        for fewer, n_latent in zip(gaps.index, gaps.index[1:], strict=False):
            holds = gaps.loc[n_latent, "ours"] <= gaps.loc[fewer, "ours"]
            panel = names.panel(dataset, "n_latent", n_latent)
            claim = "train minus test no wider than with fewer latent variables [nats]"
            rows.append([claim, panel, "both", end, *gaps.loc[n_latent], holds])
    return pd.DataFrame(rows, columns=COLUMNS)


def collapsed(figure2: pd.DataFrame, records: list[Record]) -> pd.DataFrame:
    """Wake-sleep's last bound on Frey Face minus that of the best independent Gaussian per pixel [nats]."""
    baselines = [r.facts["independent_gaussian"] for r in records if "independent_gaussian" in r.facts]
    rows = []
    runs = figure2[(figure2["algorithm"] == "wake_sleep") & (figure2["dataset"] == "frey_face")]
    for (n_latent, split), curve in runs.groupby(["n_latent", "split"]):
        last = curve.loc[curve["samples_evaluated"].idxmax()]
        distances = [last[source] - baselines[0][split] for source in SOURCES]
        claim = f"wake-sleep is the best independent Gaussian, within {COLLAPSED:g} nats"
        panel, end = names.panel("frey_face", "n_latent", n_latent), last["samples_evaluated"]
        rows.append([claim, panel, split, end, *distances, abs(distances[0]) <= COLLAPSED])
    return pd.DataFrame(rows, columns=COLUMNS)


def orderings(figure3: pd.DataFrame) -> pd.DataFrame:
    """The paper's orderings in figure 3 [nats], at the furthest evaluation point of all three algorithms."""
    rows = []
    for n_train, pairs in ORDERINGS.items():
        panel = figure3[figure3["n_train"] == n_train]
        if panel.empty:
            continue
        end = panel.groupby("algorithm")["samples_evaluated"].max().min()
        for split in ("train",) if n_train == 1000 else ("train", "test"):
            at_end = panel[(panel["samples_evaluated"] == end) & (panel["split"] == split)].set_index("algorithm")
            for high, low in (pair for pair in pairs if set(pair) <= set(at_end.index)):
                differences = [at_end.loc[high, source] - at_end.loc[low, source] for source in SOURCES]
                claim = f"{names.ALGORITHMS[high]} above {names.ALGORITHMS[low]} [nats]"
                name = names.panel("mnist", "n_train", n_train)
                rows.append([claim, name, split, end, *differences, differences[0] > 0])
    return pd.DataFrame(rows, columns=COLUMNS)


def against_independent_gaussian(records: list[Record]) -> pd.DataFrame:
    """The last bound of every run on a Gaussian likelihood, and the best independent Gaussian per pixel [nats]."""
    rows = []
    for record in records:
        for split, baseline in record.facts.get("independent_gaussian", {}).items():
            last = record.curve[record.curve["split"] == split].iloc[-1]
            rows.append({
                "dataset": record.config.dataset,
                "algorithm": record.config.algorithm,
                "n_latent": record.config.n_latent,
                "split": split,
                "bound": last["bound"],
                "independent Gaussian": baseline,
                "difference": last["bound"] - baseline,
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


def _first_reached(curves: pd.DataFrame) -> float:
    """The samples at which AEVB first reaches wake-sleep's last value, interpolated in log10(samples); inf if never."""
    target, x, y = curves["wake_sleep"].iloc[-1], np.log10(curves.index.to_numpy(float)), curves["aevb"].to_numpy()
    reached = np.flatnonzero(y >= target)
    if not len(reached):
        return np.inf
    i = reached[0]
    return 10 ** (x[i] if i == 0 else np.interp(target, y[i - 1 : i + 1], x[i - 1 : i + 1]))


def latent_use(records: list[Record]) -> pd.DataFrame:
    """KL(q(z_j|x) || p(z_j)) per latent dimension j, the most used first, mean over the test set [nats]."""
    kls = {record.config.n_latent: sorted(record.facts["kl_per_dimension"], reverse=True) for record in records}
    rows = [(n_latent, rank, kl) for n_latent, kl_ in sorted(kls.items()) for rank, kl in enumerate(kl_, start=1)]
    return pd.DataFrame(rows, columns=["n_latent", "rank", "kl"])


def active_units(use: pd.DataFrame) -> pd.DataFrame:
    """How many latent dimensions carry more than ACTIVE nats, per model, and the KL of all and of the others."""
    is_active = use["kl"] > ACTIVE
    groups = use.assign(active=is_active, unused=use["kl"].where(~is_active, 0)).groupby("n_latent")
    return groups.agg(active=("active", "sum"), kl=("kl", "sum"), kl_of_inactive=("unused", "sum"))


def escapes(records: list[Record]) -> pd.DataFrame:
    """Where a run on a Gaussian likelihood leaves the best independent Gaussian: the first evaluation point above.

    Above means on train and by more than a tolerance of the verdict; `above` is by how much at the end [nats].
    """
    rows = []
    for record in records:
        on_train = record.curve[record.curve["split"] == "train"]
        above = on_train["bound"] - record.facts["independent_gaussian"]["train"]
        left = on_train["samples_evaluated"][above > verdict.tolerance(2, record.config.dataset)]
        end = on_train["samples_evaluated"].iloc[-1]
        rows.append([record.config.n_latent, end, left.min() if len(left) else "", round(above.iloc[-1], 1)])
    return pd.DataFrame(rows, columns=["n_latent", "trained to", "leaves at", "above"])
