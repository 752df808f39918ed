"""`make verdict`: every curve and claim of the paper and what our records say of it, as text, JSON or Markdown."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from replication import paths
from replication.config import RunConfig
from replication.errors import ReplicationError
from replication.files import read_committed, write_atomically
from replication.paper import claims, comparison, experiments, names, reference
from replication.paper.plans import Plan, make_plan
from replication.paper.profiles import SIZES
from replication.paper.readings import READINGS, Reading
from replication.runs import curves, parallel, records
from replication.runs.curves import CURVE

README = paths.ROOT / "README.md"
# What `make verdict` writes into the README, between a line for its beginning and one for its end.
BLOCKS = {
    name: (f"<!-- {name}: written by `python -m replication verdict --readme` -->", f"<!-- /{name} -->")
    for name in ("in plain words", "verdict")
}
FIRST_CLAIMS = (claims.ABOVE, claims.SAMPLES_NEEDED, claims.GAP)


class Report(NamedTuple):
    """What the records say under a reading.

    `compared` is the table of `comparison.compare`, `judged` that of `comparison.judge`, `claims` that of
    `claims.check`. `machines` are those that trained the runs; `n_complete` of the `n_runs` are as long as planned.
    `n_without_search` have log p(x) by an older estimator, without the search for the modes of p(z|x).
    """

    reading: Reading
    compared: pd.DataFrame
    judged: pd.DataFrame
    claims: pd.DataFrame
    machines: list[str]
    n_complete: int
    n_runs: int
    n_without_search: int

    @property
    def counts(self) -> dict[str, float]:
        """`comparison.counts` over all curves."""
        return comparison.counts(self.judged)


def make_all(profile: str = "paper") -> dict[str, Report]:
    """The report of every reading that has records of both figures, by name.

    One with records of less than half of its runs is left out: it only shares them with another; where all are, the
    first is reported. Raises ReplicationError where that has no records of a figure.
    """
    plans = [make_plan(profile, reading=name) for name in READINGS]
    judged = [plan for plan in plans if _is_recorded(plan)]
    return {plan.reading.name: make(plan) for plan in judged or plans[:1]}


def make(plan: Plan) -> Report:
    """The report on a profile's records, with all seeds; raises ReplicationError when a figure has none."""
    runs = runs_of_figures(plan, experiments.other_seeds(plan))
    if missing := _figures_without_records(runs):
        raise ReplicationError(
            f"There is no record of figure {missing[0]} on {', '.join(plan.datasets)} in {paths.runs(plan.profile)}: "
            "restore it, train the runs, or choose other datasets; the verdict needs figures 2 and 3."
        )
    compared = comparison.compare(curves.table(runs))
    planned = {*experiments.figure2(plan), *experiments.figure3(plan)}
    return Report(
        plan.reading,
        compared,
        comparison.judge(compared),
        claims.check(compared, runs),
        sorted({machine for run in runs for machine in run.machines}),
        sum(run.config in planned and run.samples_evaluated >= run.config.samples_total for run in runs),
        len(planned),
        sum(run.config.metric == "log_px" and "modes" not in run.curve for run in runs),
    )


def _is_recorded(plan: Plan) -> bool:
    runs, planned = runs_of_figures(plan), {*experiments.figure2(plan), *experiments.figure3(plan)}
    return not _figures_without_records(runs) and 2 * len(runs) >= len(planned)


def _figures_without_records(runs: Sequence[records.Record]) -> list[int]:
    metrics = {run.config.metric for run in runs}
    return [figure for metric, figure in reference.FIGURES.items() if metric not in metrics]


def runs_of_figures(plan: Plan, more: Sequence[RunConfig] = ()) -> list[records.Record]:
    """The records of figures 2 and 3, and of `more` runs, that are there."""
    return records.existing([*experiments.figure2(plan), *experiments.figure3(plan), *more], plan.profile)


def last_on_test(plan: Plan) -> dict[str, pd.DataFrame]:
    """The last value of every recorded curve on test and the paper's there [nats], by the title of its figure."""
    runs = runs_of_figures(plan)
    if not runs:
        return {}
    ends = comparison.at_the_end(comparison.compare(curves.table(runs)))
    on_test = ends[ends["split"] == "test"]
    columns = [*curves.PANEL, "algorithm", "samples_evaluated", *comparison.VALUES]
    return {
        names.FIGURES[str(metric)]: comparison.for_reading(rows[columns])
        for metric, rows in on_test.groupby("metric", sort=False)
    }


def as_json(reports: Mapping[str, Report]) -> str:
    """Per reading the counts, and one object per curve and per claim."""
    return json.dumps({name: _object(report) for name, report in reports.items()}, indent=1)


def _object(report: Report) -> dict[str, Any]:
    claimed = report.claims.drop(columns=["is_at_least", "dataset"]).round(3).astype(object)
    return {
        "counts": report.counts,
        "curves": comparison.as_objects(report.compared),
        "claims": claimed.where(claimed.notna(), None).to_dict("records"),
    }


def as_text(reports: Mapping[str, Report]) -> str:
    """The readings beside each other, then every curve and claim under each, for a terminal."""
    within = "Within at the right edge\n" + by_group(reports).to_string()
    blocks = [beside_each_other(reports).to_string(), within, tolerances()]
    for name, report in reports.items():
        blocks.append(f"Reading {name}: {report.reading.sentence}\n{misses(report)}")
        for metric, judged in report.judged.groupby("metric"):
            title = (
                f"{names.FIGURES[str(metric)]}, at the furthest evaluation point that both have; along: the share of "
                f"points that are within from {names.scientific(comparison.ALONG_FROM)} on"
            )
            shown = as_shown(judged).drop(columns="se")
            blocks.append(f"{title}\n{shown.to_string(index=False, float_format='{:.2f}'.format, na_rep='-')}")
        blocks.append("The paper's claims\n" + claims.summarise(report.claims).to_string(index=False))
    return "\n\n".join(blocks)


def as_shown(judged: pd.DataFrame) -> pd.DataFrame:
    """Rows of `comparison.judge` of one figure for reading, without columns that have no use there."""
    shown = comparison.for_reading(judged.drop(columns=["point", "tolerance"]))
    return shown.assign(samples_evaluated=shown["samples_evaluated"].map(names.scientific))


def beside_each_other(reports: Mapping[str, Report]) -> pd.DataFrame:
    """The counts of each reading: a column per reading."""
    edge, along = (
        "within at the right edge",
        f"within at every point from {names.scientific(comparison.ALONG_FROM)} on",
    )
    early = [
        f"{names.scientific(until)} in figure {reference.FIGURES[metric]}"
        for metric, until in comparison.FIT_UNTIL.items()
    ]
    late, distance = f"within at every point beyond {', '.join(early)}", "mean distance [tolerances]"
    equal = comparison.at_equal_samples({name: report.compared for name, report in reports.items()})
    columns = {}
    for name, report in reports.items():
        counts = report.counts
        n, within_equal = counts["curves"], (equal[name].abs() <= equal["tolerance"]).sum()
        columns[name] = {
            edge: f"{counts['within']} of {n}",
            **{word: f"{counts[word]} of {n}" for word in ("above", "below", "too short", "not run")},
            "within by the narrower tolerance": f"{counts['within_narrow']} of {n}",
            "within at the last point that all readings have": f"{within_equal} of {len(equal)}",
            along: f"{counts['within_along']} of {n}",
            late: f"{counts['within_late']} of {counts['late']}",
            distance: "" if np.isnan(counts["distance"]) else f"{counts['distance']:.2f}",
            "runs as long as planned": f"{report.n_complete} of {report.n_runs}",
        }
    return pd.DataFrame(columns)


def by_group(reports: Mapping[str, Report]) -> pd.DataFrame:
    """How many curves of each figure, dataset and algorithm are within at the right edge: a column per reading."""
    return pd.DataFrame({
        name: {group: f"{n} of {total}" for group, (n, total) in _within_by_group(report.judged).items()}
        for name, report in reports.items()
    })  # fmt: skip


def _within_by_group(judged: pd.DataFrame) -> dict[str, tuple[int, int]]:
    return {
        f"figure {reference.FIGURES[metric]}, {names.DATASETS[dataset]}, {names.ALGORITHMS[algorithm]}": (
            int((rows["verdict"] == "within").sum()),
            len(rows),
        )
        for (metric, dataset, algorithm), rows in judged.groupby(["metric", "dataset", "algorithm"], sort=False)
    }


def tolerances() -> str:
    """The tolerances in a sentence, and how wide Frey Face's is."""
    each = ", ".join(
        f"{comparison.tolerance(metric, dataset):.3g} nats for {names.DATASETS[dataset]} in figure "
        f"{reference.FIGURES[metric]}"
        for metric, dataset in (("bound", "mnist"), ("bound", "frey_face"), ("log_px", "mnist"))
    )
    ten, twenty = (
        reference.value_at(reference.curves(dataset="frey_face", algorithm="aevb", split="test", size=n), 1e7)
        for n in (10, 20)
    )
    return (
        f"Within means no further from the paper's curve, on either side, than {each}. On Frey Face that is wide: the "
        f"paper's own curves of AEVB for 10 and 20 latent variables are {twenty - ten:.0f} nats apart on test at 1e7. "
        f"The narrower tolerance is {comparison.narrow_tolerance('bound', 'frey_face'):.3g} nats there, the same share "
        "of the range of the paper's values as MNIST's."
    )


def headline(report: Report) -> str:
    """The counts of one reading in a sentence each."""
    return names.in_lines([
        f"Under the reading {report.reading.name}, {comparison.in_words(report.counts)}",
        f"{report.counts['within_along']} are within it at every evaluation point from "
        f"{names.scientific(comparison.ALONG_FROM)} training samples on.",
    ])  # fmt: skip


def misses(report: Report) -> str:
    """How many curves end outside the tolerance; where they are, and by how much, the most numerous first."""
    outside = report.judged[report.judged["verdict"].isin(("above", "below"))]
    if outside.empty:
        return "No curve ends outside the tolerance."
    groups = [
        f"{len(rows)} of {names.ALGORITHMS[algorithm]} on {names.DATASETS[dataset]} in figure "
        f"{reference.FIGURES[metric]} ({_from_the_papers(rows['difference'])})"
        for (metric, dataset, algorithm), rows in sorted(
            outside.groupby(["metric", "dataset", "algorithm"]), key=lambda group: -len(group[1])
        )
    ]
    return f"Outside the tolerance: {parallel.counted(len(outside), 'curve')}, {', '.join(groups)}."


def _from_the_papers(differences: pd.Series) -> str:
    """By how much curves end above or below the paper's [nats]."""
    low, high = differences.min(), differences.max()
    if low > 0:
        return f"{names.range_in_words(low, high, '{:.1f}'.format)} nats above the paper's"
    if high < 0:
        return f"{names.range_in_words(-high, -low, '{:.1f}'.format)} nats below the paper's"
    return f"{low:+.1f} to {high:+.1f} nats from the paper's"


def in_plain_words(report: Report) -> str:
    """What reproduces and what does not, in four points for somebody who has read the paper's abstract."""
    above, needed, gap = (report.claims[report.claims["claim"] == claim.says] for claim in FIRST_CLAIMS)
    figure2, figure3, face = (
        comparison.tolerance(*which) for which in (("bound", "mnist"), ("log_px", "mnist"), ("bound", "frey_face"))
    )
    counts = report.counts
    points = (
        "**AEVB or wake-sleep.** After equally many training samples AEVB's lower bound is the higher one, at every "
        "point from where the paper draws both curves on, in "
        f"{claims.counted(above, with_failures=False)} pairs of curves of figure 2 (a pair on train and one on test in "
        f"each panel). In the paper's own curves it is so in {claims.counted(above, 'paper', with_failures=False)}"
        f"{claims.places_of_failures(above, 'paper')}. "
        f"{_samples_needed(claims.arrived(needed))}",
        "**More latent variables.** From one number of them to the next the gap between train and test widens by more "
        f"than {claims.WIDER:g} nat {_steps(gap)}.",
        f"**The paper's {counts['curves']} curves.** {counts['within']} of ours end close to the paper's, within a "
        f"tolerance of {figure2:g} nats on MNIST in figure 2, {figure3:g} in figure 3, {face:.0f} on Frey Face; "
        f"{counts['within_along']} are as close at every point from {names.scientific(comparison.ALONG_FROM)} training "
        f"samples on. {how_far(report)} A nat is the unit of a logarithm to the base e; all values are per image.",
        f"**What does not reproduce.** {misses(report)}",
    )
    return "\n".join(f"- {point}" for point in points)


def _samples_needed(needed: pd.DataFrame) -> str:
    """Wake-sleep's samples over AEVB's, to where our curves end and to where the paper's do, as a sentence."""
    whole = claims.of_whole_drawing(claims.SAMPLES_NEEDED)
    ours, paper = (
        " and ".join(
            f"{claims.range_in_words(cases, source, digits=1)} on {names.DATASETS[str(dataset)]}"
            for dataset, cases in table.groupby("dataset", sort=False)
        )
        for table, source in ((needed, "ours"), (whole, "paper"))
    )
    ends = needed["samples_evaluated"]
    return (
        f"To come within {claims.LESS:g} nat of the bound that wake-sleep has where our curves end, after "
        f"{names.range_in_words(ends.min(), ends.max(), names.scientific)} samples, wake-sleep takes so many times the "
        f"samples of AEVB: {ours}, in the {needed['holds'].notna().sum()} of {len(needed)} pairs that tell. In the "
        f"paper's curves, to their own ends, it is {paper}."
    )


def how_far(report: Report) -> str:
    """How many runs are as long as planned, and where the others end, in a sentence or two."""
    ends = report.compared.groupby(CURVE, as_index=False)["samples_evaluated"].max()
    said = f"{report.n_complete} of the {report.n_runs} runs are as long as planned."
    if report.n_complete == report.n_runs:
        return said
    shortest = ends.groupby("metric")["samples_evaluated"].min()
    each = [f"{names.scientific(shortest[metric])} in figure {reference.FIGURES[metric]}" for metric in shortest.index]
    return f"{said} The shortest ends at {' and '.join(each)}."


def _steps(gap: pd.DataFrame) -> str:
    """On each dataset, in how many steps to more latent variables the gap widens; in brackets in the paper's curves."""

    def widens(cases: pd.DataFrame, source: str) -> str:
        known = cases[claims.SOURCES[source]].dropna()
        return f"{known.eq(False).sum()} of {len(known)}"

    return " and ".join(
        f"in {widens(cases, 'ours')} steps on {names.DATASETS[str(dataset)]} after "
        f"{names.scientific(cases['samples_evaluated'].max())} training samples (in the paper's curves "
        f"{widens(cases, 'paper')})"
        for dataset, cases in gap.groupby("dataset", sort=False)
    )


def as_readme(reports: Mapping[str, Report]) -> str:
    """The README's table: how far the figures go, how many curves are within, on which machines; each reading."""
    table = beside_each_other(reports)
    first, *others = reports.values()
    planned = names.scientific(max(SIZES["paper"].figure2_samples.values()))
    edges = reference.curves(metric="bound").groupby("dataset")["samples_evaluated"].max()
    drawn = ", ".join(f"{names.scientific(float(f'{x:.2g}'))} on {names.DATASETS[d]}" for d, x in edges.items())
    return "\n\n".join([
        "A curve is judged at its right edge: the furthest number of training samples that our run and the paper's "
        f"drawing have in common. Runs of figure 2 are planned to {planned} samples, and the paper's curves go to "
        f"{drawn}. A shorter run is judged at its own end, so readings whose runs differ in length are compared alike "
        "only at the last point that all have. Far above the paper's curve is a miss, as is far below.",
        names.markdown(table.rename(columns="`{}`".format).reset_index(names="")),
        f"{tolerances()} The mean distance is over the evaluation points of each curve from "
        f"{names.scientific(comparison.ALONG_FROM)} samples on, then over the curves. {_provenance([first, *others])}",
    ])  # fmt: skip


def as_markdown(report: Report) -> str:
    """The tables of one reading: curves and claims; then seeds and machines."""
    return "\n\n".join([
        f"**{headline(report)}** {tolerances()}",
        *(names.markdown(_panels(judged)) for _, judged in report.judged.groupby("metric")),
        "Ours, in brackets the paper's, after so many training samples: the furthest at which both are compared.",
        names.markdown(claims.summarise(report.claims)),
        _provenance([report]),
    ])  # fmt: skip


def _panels(judged: pd.DataFrame) -> pd.DataFrame:
    """A row per panel of a figure, a column per algorithm and split."""
    cells = judged.assign(
        panel=[names.panel(*panel) for panel in judged[curves.PANEL].itertuples(index=False)],
        column=judged["algorithm"].map(names.ALGORITHMS) + ", " + judged["split"],
        cell=[_cell(row) for _, row in judged.iterrows()],
    )
    order = [f"{name}, {split}" for name in names.ALGORITHMS.values() for split in curves.SPLITS]
    wide = cells.pivot(index="panel", columns="column", values="cell").reindex(cells["panel"].unique())
    title = names.FIGURES[judged["metric"].iloc[0]]
    return wide[[column for column in order if column in wide]].reset_index(names=title)


def _cell(row: pd.Series) -> str:
    if np.isnan(row["difference"]):
        return row["verdict"]
    at = names.scientific(row["samples_evaluated"])
    return f"{row['ours']:.1f} ({row['paper']:.1f}) at {at}: {row['verdict']}"


def _provenance(reports: Sequence[Report]) -> str:
    """That no value is a mean over seeds, what an older estimator gave, and on which machines the runs were trained."""
    machines = sorted({machine for report in reports for machine in report.machines})
    older = "".join(
        f" In figure 3, {parallel.counted(report.n_without_search, 'run')} of `{report.reading.name}` ha"
        f"{'s' if report.n_without_search == 1 else 've'} log p(x) by an older estimator, which may miss modes of "
        "p(z|x) (notebook 3)."
        for report in reports
        if report.n_without_search
    )
    return (
        f"Each value is of one seed, and another seed may change a verdict (notebook 8).{older} The runs were trained "
        f"on these processors and GPUs: {', '.join(machines)}."
    )


def readme_blocks(reports: Mapping[str, Report]) -> dict[str, str]:
    """The text of each of the README's BLOCKS."""
    return {"in plain words": in_plain_words(next(iter(reports.values()))), "verdict": as_readme(reports)}


def split_readme(text: str, name: str) -> tuple[str, str, str]:
    """The README before, between and after the markers of a block; raises ReplicationError where they are missing."""
    start, end = BLOCKS[name]
    if text.count(start) != 1 or text.count(end) != 1:
        raise ReplicationError(f"README.md must have the lines {start} and {end}, each once: the text goes between.")
    before, _, rest = text.partition(start)
    between, _, after = rest.partition(end)
    return before, between, after


def write_readme(reports: Mapping[str, Report]) -> None:
    """Renew the blocks between the README's markers.

    Raises ReplicationError where there is no README, or not with these markers, and where it cannot be written.
    """
    text = read_committed(README).decode("utf-8", "surrogateescape")
    for name, block in readme_blocks(reports).items():
        before, _, after = split_readme(text, name)
        start, end = BLOCKS[name]
        text = f"{before}{start}\n{block}\n{end}{after}"
    write_atomically(README, lambda draft: draft.write_bytes(text.encode("utf-8", "surrogateescape")))
