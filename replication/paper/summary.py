"""`make verdict`: every curve and claim of the paper and what our records say of it, as text, JSON or README table."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from replication import paths
from replication.config import RunConfig
from replication.errors import ReplicationError
from replication.paper import choices, claims, experiments, names, reference, verdict
from replication.paper.plans import Plan, make_plan
from replication.paper.profiles import SIZES
from replication.paper.readings import READINGS, Reading
from replication.runs import curves, records

README = paths.ROOT / "README.md"
MARKERS = ("<!-- verdict: written by `python -m replication verdict --readme` -->", "<!-- /verdict -->")


class Summary(NamedTuple):
    """What the records say under a reading: `verdict.compare_with_paper` per figure, claims, machines, samples.

    `machines` are those that trained the runs; `n_complete` of the `n_runs` are as long as planned.
    """

    reading: Reading
    comparisons: dict[int, pd.DataFrame]
    claims: pd.DataFrame
    machines: list[str]
    n_complete: int
    n_runs: int

    @property
    def curves(self) -> dict[int, pd.DataFrame]:
        """The verdict on each of the paper's curves."""
        return {figure: verdict.judge(table, figure) for figure, table in self.comparisons.items()}

    @property
    def counts(self) -> dict[str, float]:
        """`verdict.counts` over both figures."""
        return verdict.counts(self.curves.values())


def load_all(profile: str = "paper") -> dict[str, Summary]:
    """The summary of every reading, by name."""
    return {name: load(make_plan(profile, reading=name)) for name in READINGS}


def load(plan: Plan) -> Summary:
    """The summary of a profile's records, with all seeds; raises ReplicationError when a figure has none."""
    found = recorded(plan, choices.seeds(plan))
    for figure, runs in found.items():
        if not runs:
            folder = paths.runs(plan.profile)
            raise ReplicationError(
                f"There is no record of figure {figure} on {', '.join(plan.datasets)} in {folder}: restore it, "
                "train the runs, or choose other datasets; the verdict needs figures 2 and 3."
            )
    compared = {
        figure: verdict.compare_with_paper(curves.as_reported(curves.table(runs)), figure)
        for figure, runs in found.items()
    }
    tables = [
        claims.above(compared[2]),
        claims.samples_needed(compared[2]),
        claims.gap(compared[2]),
        claims.collapsed(compared[2], found[2]),
        claims.orderings(compared[3]),
    ]
    machines = sorted({machine for runs in found.values() for run in runs for machine in run.machines})
    planned = {*experiments.figure2(plan), *experiments.figure3(plan)}
    n_complete = sum(
        run.config in planned and run.samples_evaluated >= run.config.samples_total
        for runs in found.values()
        for run in runs
    )
    return Summary(
        plan.reading, compared, pd.concat(tables, ignore_index=True), machines, n_complete,
        len(planned),
    )  # fmt: skip


def recorded(plan: Plan, more: Sequence[RunConfig] = ()) -> dict[int, list[records.Record]]:
    """The records of figures 2 (with `more` runs of it) and 3 that are there."""
    wanted = {2: [*experiments.figure2(plan), *more], 3: experiments.figure3(plan)}
    return {figure: records.existing(configs, plan.profile) for figure, configs in wanted.items()}


def final_values(plan: Plan) -> dict[int, pd.DataFrame]:
    """Per figure that has records: the last value of every curve and the paper's there [nats]."""
    columns = ["tolerance", "n_seeds", "in_seed_sds"]
    return {
        figure: verdict.final_values(curves.as_reported(curves.table(runs)), figure).drop(columns=columns)
        for figure, runs in recorded(plan).items()
        if runs
    }


def as_json(summaries: Mapping[str, Summary]) -> str:
    """Per reading the counts, and one object per curve and per claim."""
    return json.dumps({name: _object(found) for name, found in summaries.items()}, indent=1)


def _object(found: Summary) -> dict[str, Any]:
    curves = [item for figure, table in found.comparisons.items() for item in verdict.as_objects(table, figure)]
    claims = found.claims.drop(columns="is_at_least").round(3).astype(object)
    return {
        "counts": found.counts,
        "curves": curves,
        "claims": claims.where(claims.notna(), None).to_dict("records"),
    }


def as_text(summaries: Mapping[str, Summary]) -> str:
    """The readings side by side, then every curve and claim under each, for a terminal."""
    within = "Within at the right edge\n" + by_group(summaries).to_string()
    blocks = [side_by_side(summaries).to_string(), within, tolerances()]
    for name, found in summaries.items():
        blocks.append(f"Reading {name}: {found.reading.sentence}\n{most_misses(found)}")
        for figure, table in found.curves.items():
            rows = table.assign(samples_evaluated=table["samples_evaluated"].map(names.scientific))
            rows["n_seeds"] = rows["n_seeds"].fillna(0).astype(int)
            rows = rows.drop(columns=["se", "tolerance"])
            title = (
                f"{names.FIGURES[figure]}, at the furthest evaluation point that both have; along: the share of points "
                f"that are within from {names.scientific(verdict.ALONG_FROM)} on"
            )
            blocks.append(f"{title}\n{rows.to_string(index=False, float_format='{:.2f}'.format, na_rep='-')}")
        blocks.append("The paper's claims\n" + counted(found.claims).to_string(index=False))
    return "\n\n".join(blocks)


def side_by_side(summaries: Mapping[str, Summary]) -> pd.DataFrame:
    """The counts of each reading: a column per reading."""
    edge, along = "within at the right edge", f"within at every point from {names.scientific(verdict.ALONG_FROM)} on"
    late, distance = "within at every point beyond the search's limit", "mean distance [tolerances]"
    columns = {}
    for name, found in summaries.items():
        counts = found.counts
        n = counts["curves"]
        columns[name] = {
            edge: f"{counts['within']} of {n}",
            **{word: f"{counts[word]} of {n}" for word in ("above", "below", "not run")},
            along: f"{counts['within_along']} of {n}",
            late: f"{counts['within_late']} of {counts['late']}",
            distance: f"{counts['distance']:.2f}",
            "runs as long as planned": f"{found.n_complete} of {found.n_runs}",
        }
    return pd.DataFrame(columns)


def by_group(summaries: Mapping[str, Summary]) -> pd.DataFrame:
    """How many curves of each figure, dataset and algorithm are within at the right edge: a column per reading."""
    return pd.DataFrame(
        {
            name: {
                f"figure {figure}, {names.DATASETS[dataset]}, {names.ALGORITHMS[algorithm]}": (
                    f"{(curves['verdict'] == 'within').sum()} of {len(curves)}"
                )
                for figure, table in found.curves.items()
                for (dataset, algorithm), curves in table.groupby(["dataset", "algorithm"], sort=False)
            }
            for name, found in summaries.items()
        }
    )


def tolerances() -> str:
    """The tolerances in a sentence, and how wide Frey Face's is."""
    each = ", ".join(
        f"{verdict.tolerance(figure, dataset):.3g} nats for {names.DATASETS[dataset]} in figure {figure}"
        for figure, dataset in ((2, "mnist"), (2, "frey_face"), (3, "mnist"))
    )
    of = reference.load(2).query("dataset == 'frey_face' and algorithm == 'aevb' and split == 'test'")
    ten, twenty = (reference.value_at(of[of["n_latent"] == n], 1e7) for n in (10, 20))
    return (
        f"Within means no further from the paper's curve, on either side, than {each}. On Frey Face that is wide: the "
        f"paper's own curves of AEVB for 10 and 20 latent variables are {twenty - ten:.0f} nats apart on test at 1e7."
    )


def headline(found: Summary) -> str:
    """The counts of one reading in a sentence."""
    counts = found.counts
    words = ", ".join(f"{counts[word]} {word}" for word in verdict.CLASSES)
    return names.in_lines(
        [
            f"Reading {found.reading.name}: of the paper's {counts['curves']} curves, {words} at the right edge; "
            f"{counts['within_along']} within at every evaluation point from {names.scientific(verdict.ALONG_FROM)} on."
        ]
    )


def most_misses(found: Summary) -> str:
    """Where the most misses are, in a sentence: from when on, and by how much at the right edge."""
    judged = pd.concat([table.assign(figure=figure) for figure, table in found.curves.items()])
    misses = judged[judged["verdict"].isin(("above", "below"))]
    if misses.empty:
        return "No curve is above or below."
    group = ["figure", "dataset", "algorithm"]
    (figure, dataset, algorithm), of = max(misses.groupby(group), key=lambda item: len(item[1]))
    panel = verdict.PANELS[figure]
    every = found.comparisons[figure].merge(of[panel], on=panel)
    is_outside = every["difference"].abs() > every["tolerance"]
    outside = every[is_outside & (every["samples_evaluated"] >= verdict.ALONG_FROM)]
    first = outside.groupby(panel)["samples_evaluated"].min()
    low, high = of["difference"].min(), of["difference"].max()
    return (
        f"Of the {len(misses)} misses {len(of)} are {names.ALGORITHMS[algorithm]} on {names.DATASETS[dataset]} in "
        f"figure {figure}: ours leave the tolerance after {names.scientific(first.min())} to "
        f"{names.scientific(first.max())} samples, and are {low:+.1f} to {high:+.1f} nats from the paper's at the "
        "right edge."
    )


def as_readme(summaries: Mapping[str, Summary]) -> str:
    """The README's block: how far the figures go, how many curves are within, on which machines; both readings."""
    table = side_by_side(summaries)
    first, *others = summaries.values()
    counts = first.counts
    others_too = ", ".join(f"{other.counts['within']} under `{other.reading.name}`" for other in others)
    planned = names.scientific(max(SIZES["paper"].figure2_samples.values()))
    edges = reference.load(2).groupby("dataset")["samples_evaluated"].max()
    drawn = ", ".join(f"{names.scientific(float(f'{x:.2g}'))} on {names.DATASETS[d]}" for d, x in edges.items())
    header = ["", *(f"`{name}`" for name in table)]
    return "\n\n".join([
        f"Of the paper's {counts['curves']} curves {counts['within']} are within a tolerance at the right edge "
        f"under the reading `{first.reading.name}` ({others_too}); far above counts as a miss, too. The right edge is "
        f"the furthest point that both have: runs of figure 2 are planned to {planned} training samples, the paper's "
        f"curves go to {drawn}; a shorter run is judged where it ends. {most_misses(first)}",
        _markdown([header, *([name, *row] for name, row in zip(table.index, table.to_numpy().tolist(), strict=True))]),
        f"{tolerances()} {_provenance([first, *others])}",
    ])  # fmt: skip


def as_markdown(found: Summary) -> str:
    """The tables of one reading: curves and claims; then seeds and machines."""
    claims = counted(found.claims)
    return "\n\n".join([
        f"**{headline(found)}** {tolerances()}",
        *(_panels(table, figure, names.FIGURES[figure]) for figure, table in found.curves.items()),
        "Ours, in brackets the paper's, after so many training samples: the furthest at which both are compared.",
        _markdown([[*claims], *claims.to_numpy().tolist()]),
        _provenance([found]),
    ])  # fmt: skip


def _panels(table: pd.DataFrame, figure: int, title: str) -> str:
    """A row per panel of the figure, a column per algorithm and split."""
    panel = verdict.PANELS[figure][1]
    columns = [(a, s) for a in names.ALGORITHMS if a in set(table["algorithm"]) for s in ("train", "test")]
    rows = [[title, *(f"{names.ALGORITHMS[algorithm]}, {split}" for algorithm, split in columns)]]
    for (dataset, size), cells in table.groupby(["dataset", panel]):
        of = {(row["algorithm"], row["split"]): row for _, row in cells.iterrows()}
        rows.append([names.panel(dataset, panel, size), *(_cell(of[column]) for column in columns)])
    return _markdown(rows)


def _cell(row: pd.Series) -> str:
    if row["verdict"] == "not run":
        return "not run"
    at = names.scientific(row["samples_evaluated"])
    return f"{row['ours']:.1f} ({row['paper']:.1f}) at {at}: {row['verdict']}"


def counted(table: pd.DataFrame) -> pd.DataFrame:
    """A row per claim: where it holds in ours and in the paper's own curves, and the range of what it measures."""
    rows = []
    for claim, cases in table.groupby("claim", sort=False):
        holds = [_holds(cases, column) for column in ("holds", "holds_in_paper")]
        rows.append(
            [claim, holds[0], claims.range_in_words(cases, "ours"), holds[1], claims.range_in_words(cases, "paper")]
        )
    return pd.DataFrame(
        rows, columns=["what the paper says", "holds", "ours", "holds in the paper's curves", "the paper's"]
    )


def _holds(cases: pd.DataFrame, column: str) -> str:
    known = cases[cases[column].notna()]
    fails = [f"{row['panel']} ({row['split']})" for _, row in known[~known[column].astype(bool)].iterrows()]
    return f"{len(known) - len(fails)} of {len(known)}" + (f"; not {', '.join(fails)}" if fails else "")


def _provenance(summaries: Sequence[Summary]) -> str:
    """How many seeds the judged values of the first have, and on which machines all were trained."""
    first = summaries[0]
    several = int((pd.concat(first.curves.values())["n_seeds"] > 1).sum())
    machines = sorted({machine for found in summaries for machine in found.machines})
    seeds = (
        f"{several} of the values under `{first.reading.name}` are means over seeds, the others are of one seed."
        if several
        else "Each value is of one seed."
    )
    return f"{seeds} The runs were trained on these processors and GPUs: {', '.join(machines)}."


def _markdown(rows: list[list[str]]) -> str:
    header, *body = ("| " + " | ".join(row) + " |" for row in rows)
    return "\n".join([header, "|" + "---|" * len(rows[0]), *body])


def readme_block(text: str) -> tuple[str, str, str]:
    """The README before, between and after the markers; raises ReplicationError where they are missing."""
    start, end = MARKERS
    if text.count(start) != 1 or text.count(end) != 1:
        raise ReplicationError(f"README.md must have the lines {start} and {end}, each once: the table goes between.")
    before, _, rest = text.partition(start)
    between, _, after = rest.partition(end)
    return before, between, after


def write_readme(summaries: Mapping[str, Summary]) -> None:
    """Renew the block between the README's markers."""
    before, _, after = readme_block(README.read_text())
    README.write_text(f"{before}{MARKERS[0]}\n{as_readme(summaries)}\n{MARKERS[1]}{after}")
