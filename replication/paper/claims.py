"""What the paper says of its figures 2 and 3, in words or by its curves: claims, each measured on ours and on its own.

Add a claim to CLAIMS: what it says, what is measured, and when that means that the claim holds. `check` does the rest:
a row per claim, panel and split, with the value for our curves (`ours`) and for the paper's own (`paper`, NaN where
they are not drawn), at how many samples, and whether the claim `holds` for ours and `holds_in_paper` for the paper's.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import permutations
from typing import NamedTuple

import numpy as np
import pandas as pd

from replication.paper import names, reference
from replication.runs.curves import CURVE, PANEL
from replication.runs.points import evaluation_points
from replication.runs.records import Record

COLUMNS = ["claim", "dataset", "panel", "split", "samples_evaluated", "ours", "paper", "holds", "holds_in_paper"]
SOURCES = {"ours": "holds", "paper": "holds_in_paper"}
LESS = 1.0  # nats below wake-sleep's bound at the end: a level that it reaches before
WIDER = 1.0  # nats by which a gap may widen and count as no wider
COLLAPSED = 4.0  # nats from the best independent Gaussian within which a model has learned nothing else


class Measured(NamedTuple):
    """One number of a claim: in which panel and on which split, after how many samples, ours and the paper's.

    `against` are the numbers that it is held to, where the claim compares two; `at_least` names the sources whose
    number is a lower limit only, `not_asked` those for which nothing is decided: by the choice of the panels, or since
    two values are too close.
    """

    panel: tuple
    split: str
    samples: float
    values: Mapping[str, float]
    against: Mapping[str, float] = {}
    at_least: tuple[str, ...] = ()
    not_asked: tuple[str, ...] = ()


class Claim(NamedTuple):
    """A sentence of the paper about one metric: `measure(curves, records)`, and when a number `holds`.

    `curves` is the table of `comparison.compare`; `holds(value, against)` is asked of ours and of the paper's alike.
    """

    says: str
    metric: str
    measure: Callable[[pd.DataFrame, list[Record]], Iterable[Measured]]
    holds: Callable[[float, float], bool]


def check(compared: pd.DataFrame, records: Iterable[Record] = (), claims: Iterable[Claim] = ()) -> pd.DataFrame:
    """A row per claim, panel and split, with COLUMNS and `is_at_least`; all of CLAIMS by default.

    `compared` is the table of `comparison.compare`, `records` those of the runs in it.
    """
    runs = list(records)
    rows = []
    for claim in claims or CLAIMS:
        curves = compared[compared["metric"] == claim.metric]
        for measured in claim.measure(curves, runs):
            values = {source: measured.values[source] for source in SOURCES}
            verdicts = {column: _holds(claim, measured, source) for source, column in SOURCES.items()}
            rows.append({
                "claim": claim.says, "dataset": measured.panel[1], "panel": names.panel(*measured.panel),
                "split": measured.split, "samples_evaluated": measured.samples, **values, **verdicts,
                "is_at_least": measured.at_least,
            })  # fmt: skip
    return pd.DataFrame(rows, columns=[*COLUMNS, "is_at_least"])


def _holds(claim: Claim, measured: Measured, source: str) -> bool | None:
    """A claim is true or false of a number, and neither where there is none, or a lower limit that does not decide."""
    value, against = measured.values[source], measured.against.get(source, 0.0)
    if np.isnan(value + against) or source in measured.not_asked:
        return None
    holds = bool(claim.holds(value, against))
    return None if source in measured.at_least and not holds else holds


def _share_above(figure2: pd.DataFrame, records: list[Record]) -> Iterator[Measured]:
    """From the point on at which the paper draws both; ours to their end, which may lie beyond the paper's."""
    for panel, split, both in _of_both_algorithms(figure2):
        from_there = both.loc[_common(both).index.min() :]
        shares = {}
        for source in SOURCES:
            difference = (from_there[source]["aevb"] - from_there[source]["wake_sleep"]).dropna()
            shares[source] = (difference > 0).mean() if len(difference) else np.nan
        yield Measured(panel, split, from_there["ours"].dropna().index.max(), shares)


def _samples_needed(figure2: pd.DataFrame, records: list[Record]) -> Iterator[Measured]:
    """At the evaluation points at which the paper draws both, up to the end of ours: the longer, the larger the factor.

    Where AEVB is there at its first evaluation point already, the number is a lower limit.
    """
    for panel, split, both in _of_both_algorithms(figure2):
        factors, at_least = dict.fromkeys(SOURCES, np.nan), []
        for source in SOURCES:
            common = _common(both)[source].dropna()
            if len(common):
                level = common["wake_sleep"].iloc[-1] - LESS
                factors[source] = _first_reached(common["wake_sleep"], level) / _first_reached(common["aevb"], level)
                if common["aevb"].iloc[0] >= level:
                    at_least.append(source)
        end = np.nanmax([_common(both)[source].dropna().index.max() for source in SOURCES])
        yield Measured(panel, split, end, factors, at_least=tuple(at_least))


def _gaps(figure2: pd.DataFrame, records: list[Record]) -> Iterator[Measured]:
    """The gap of each model, held to that of the model with the next fewer latent variables."""
    for dataset, gaps in gaps_by_n_latent(figure2).groupby("dataset", sort=False):
        for (_, fewer), (_, more) in zip(gaps.iloc[:-1].iterrows(), gaps.iloc[1:].iterrows(), strict=True):
            panel = ("bound", dataset, more["n_latent"])
            values, against = ({source: row[source] for source in SOURCES} for row in (more, fewer))
            yield Measured(panel, "both", more["samples_evaluated"], values, against)


def gaps_by_n_latent(figure2: pd.DataFrame) -> pd.DataFrame:
    """AEVB's bound on train minus test [nats], ours and the paper's, where all curves of a dataset have arrived.

    Only for the numbers of latent variables with both curves, and that the paper draws where it draws the dataset.
    """
    tables = [pd.DataFrame(columns=["n_latent", *SOURCES, "dataset", "samples_evaluated"])]
    for dataset, runs in figure2[figure2["algorithm"] == "aevb"].groupby("dataset", sort=False):
        by_n_latent = runs.groupby("size")
        is_drawn = by_n_latent["paper"].transform("count") > 0
        runs = runs[(is_drawn | ~is_drawn.any()) & (by_n_latent["split"].transform("nunique") == 2)]
        if runs.empty:
            continue
        wide = runs.pivot(index=["point", "size"], columns="split", values=list(SOURCES))
        gaps = pd.DataFrame({source: wide[source]["train"] - wide[source]["test"] for source in SOURCES})
        by_point = gaps.unstack("size")
        complete, drawn = by_point["ours"].dropna().index, by_point.dropna().index
        if len(complete):
            end = (drawn if len(drawn) else complete).max()
            at_end = gaps.loc[end].reset_index().rename(columns={"size": "n_latent"})
            tables.append(at_end.assign(dataset=dataset, samples_evaluated=end))
    filled = [table for table in tables if len(table)]
    return pd.concat(filled, ignore_index=True) if filled else tables[0]


def _from_independent_gaussian(figure2: pd.DataFrame, records: list[Record]) -> Iterator[Measured]:
    """On train only, at the end of wake-sleep's runs on Frey Face.

    The split of the reading `text` is not the paper's, and the test set is too small for the baseline to carry over.
    """
    baselines = [run.facts["independent_gaussian"] for run in records if "independent_gaussian" in run.facts]
    is_meant = (figure2["algorithm"] == "wake_sleep") & (figure2["dataset"] == "frey_face")
    for panel, curve in figure2[is_meant & (figure2["split"] == "train")].groupby(PANEL):
        last = curve.loc[curve["point"].idxmax()]
        distances = {source: last[source] - baselines[0]["train"] for source in SOURCES}
        yield Measured(panel, "train", last["point"], distances)


def _difference(high: str, low: str) -> Callable[[pd.DataFrame, list[Record]], Iterator[Measured]]:
    """One algorithm's value minus another's at the furthest point at which the paper draws both and has it on top.

    By LESS or more: what is closer has no order, and of ours that are closer nothing is asked.
    """

    def measure(figure3: pd.DataFrame, records: list[Record]) -> Iterator[Measured]:
        for (*panel, split), rows in figure3.groupby([*PANEL, "split"], sort=False):
            wide = rows.pivot(index="point", columns="algorithm", values=list(SOURCES))
            if not {high, low} <= set(rows["algorithm"]):
                continue
            common = wide.loc[:, [(source, name) for source in SOURCES for name in (high, low)]].dropna()
            if common.empty:
                continue
            end = common.loc[common.index.max()]
            differences = {source: end[source][high] - end[source][low] for source in SOURCES}
            if differences["paper"] >= LESS:
                not_asked = ("paper",) if abs(differences["ours"]) >= LESS else tuple(SOURCES)
                yield Measured(tuple(panel), split, common.index.max(), differences, not_asked=not_asked)

    return measure


CLAIMS = [
    Claim(
        "AEVB above wake-sleep, from where both are drawn on: share of evaluation points",
        "bound", _share_above, lambda share, _: share == 1,
    ),
    Claim(
        f"samples to wake-sleep's bound at our curves' end, less {LESS:g} nat: wake-sleep's over AEVB's",
        "bound", _samples_needed, lambda factor, _: factor > 1,
    ),
    Claim(
        f"train minus test no wider, within {WIDER:g} nat, than with fewer latent variables [nats]",
        "bound", _gaps, lambda gap, fewer: gap <= fewer + WIDER,
    ),
    Claim(
        f"wake-sleep is the best independent Gaussian, within {COLLAPSED:g} nats",
        "bound", _from_independent_gaussian, lambda distance, _: abs(distance) <= COLLAPSED,
    ),
    *(
        Claim(
            f"{names.ALGORITHMS[high]} above {names.ALGORITHMS[low]} where the paper's end so, by {LESS:g} nat or more",
            "log_px", _difference(high, low), lambda difference, _: difference > 0,
        )
        for high, low in permutations(("aevb", "wake_sleep", "mcem"), 2)
    ),
]  # fmt: skip
ABOVE, SAMPLES_NEEDED, GAP, COLLAPSE, *ORDERINGS = CLAIMS


def arrived(cases: pd.DataFrame) -> pd.DataFrame:
    """The cases of SAMPLES_NEEDED in which our AEVB comes to wake-sleep's bound; elsewhere the factor is 0."""
    return cases[cases["ours"] > 0]


def of_whole_drawing(claim: Claim) -> pd.DataFrame:
    """`check` of a claim about the paper's curves alone, as far as they are drawn: `paper` is theirs, `ours` NaN."""
    tables = []
    for key, curve in reference.curves(metric=claim.metric).groupby(CURVE):
        points = np.array(evaluation_points(claim.metric, int(curve["samples_evaluated"].max())))
        values = {"ours": np.nan, "paper": reference.value_at(curve, points)}
        of_curve = {**dict(zip(CURVE, key, strict=True)), "point": points, "samples_evaluated": points, **values}
        tables.append(pd.DataFrame(of_curve).dropna(subset=["paper"]))
    return check(pd.concat(tables, ignore_index=True), claims=[claim])


def range_in_words(cases: pd.DataFrame, source: str, digits: int = 2) -> str:
    """The range of what a claim measures; "at least" marks a limit that a curve does not resolve.

    A limit that does not decide whether the claim holds is left out, as it is in `counted`.
    """
    limits, holds = cases["is_at_least"].map(lambda sources: source in sources), cases[SOURCES[source]]
    cases = cases[~limits.astype(bool) | holds.notna()]
    low, high = cases[source].min(), cases[source].max()
    if np.isnan(low):
        return "not drawn"
    is_limit = [source in sources for sources in cases["is_at_least"]]
    limit = "at least " if any(is_limit) and high == cases[source][is_limit].max() else ""
    if f"{low:.{digits}f}" == f"{high:.{digits}f}":
        return f"{limit}{low:.{digits}f}"
    return f"{low:.{digits}f} to {limit}{high:.{digits}f}"


def counted(cases: pd.DataFrame, source: str = "ours", with_failures: bool = True) -> str:
    """In how many cases a claim holds, and where it does not, such as "3 of 4, not MNIST, Nz = 3 (test)"."""
    known = cases[cases[SOURCES[source]].notna()]
    if known.empty:
        return "-"
    n = int(known[SOURCES[source]].astype(bool).sum())
    return f"{n} of {len(known)}" + (failures(cases, source) if with_failures else "")


def failures(cases: pd.DataFrame, source: str = "ours") -> str:
    """Where a claim does not hold, such as ", not MNIST, Nz = 3 (test)"; empty where it holds everywhere."""
    failed = cases[cases[SOURCES[source]].eq(False)]
    places = [f"{row['panel']} ({row['split']})" for _, row in failed.iterrows()]
    return f", not {', '.join(places)}" if places else ""


def places_of_failures(cases: pd.DataFrame, source: str = "ours") -> str:
    """Where a claim does not hold, by dataset and split, such as ", not in 4 on Frey Face (train)"."""
    failed = cases[cases[SOURCES[source]].eq(False)].groupby(["dataset", "split"], sort=False).size()
    places = [f"{n} on {names.DATASETS[dataset]} ({split})" for (dataset, split), n in failed.items()]
    return f", not in {', '.join(places)}" if places else ""


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """A row per claim of `check`: where it holds in ours and in the paper's own curves, and the range of its values."""
    rows = [
        [claim, counted(cases), range_in_words(cases, "ours"), counted(cases, "paper"), range_in_words(cases, "paper")]
        for claim, cases in table.groupby("claim", sort=False)
    ]
    columns = ["claim", "holds", "ours", "holds in the paper's curves", "the paper's"]
    return pd.DataFrame(rows, columns=columns)


def _of_both_algorithms(figure2: pd.DataFrame) -> Iterator[tuple[tuple, str, pd.DataFrame]]:
    """Per panel and split, AEVB and wake-sleep by samples at common points: columns (source, algorithm)."""
    for (*panel, split), rows in figure2.groupby([*PANEL, "split"], sort=False):
        if {"aevb", "wake_sleep"} <= set(rows["algorithm"]):
            wide = rows.pivot(index="point", columns="algorithm", values=list(SOURCES))
            yield tuple(panel), split, wide.set_axis(rows.groupby("point")["samples_evaluated"].max())


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
