"""`make verdict`: every curve and claim of the paper and what our records say of it, as text, JSON or README table."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from replication import paths
from replication.config import RunConfig
from replication.errors import ReplicationError
from replication.paper import claims, experiments, names, readings, verdict
from replication.runs import records

README = paths.ROOT / "README.md"
MARKERS = ("<!-- verdict: written by `python -m replication verdict --readme` -->", "<!-- /verdict -->")


class Summary(NamedTuple):
    """What the records at paper scale say: the table of `verdict.compare_with_paper` per figure, claims, processors."""

    comparisons: dict[int, pd.DataFrame]
    claims: pd.DataFrame
    cpus: list[str]

    @property
    def curves(self) -> dict[int, pd.DataFrame]:
        """The verdict on each of the paper's curves."""
        return {figure: verdict.judge(table, figure) for figure, table in self.comparisons.items()}

    @property
    def counts(self) -> Counter:
        """How many curves are in each of verdict.CLASSES."""
        return sum((Counter(table["verdict"]) for table in self.curves.values()), Counter())


def load(settings: experiments.Settings) -> Summary:
    """The summary of a profile's records, with all seeds; raises ReplicationError when a figure has none."""
    found = recorded(settings, readings.seeds(settings))
    for figure, runs in found.items():
        if not runs:
            folder = paths.runs(settings.profile)
            raise ReplicationError(
                f"There is no record of figure {figure} on {', '.join(settings.datasets)} in {folder}: restore it, "
                "train the runs, or choose other datasets; the verdict needs figures 2 and 3."
            )
    compared = {figure: verdict.compare_with_paper(records.curves(runs), figure) for figure, runs in found.items()}
    tables = [
        claims.above(compared[2]),
        claims.samples_needed(compared[2]),
        claims.gap(compared[2]),
        claims.collapsed(compared[2], found[2]),
        claims.orderings(compared[3]),
    ]
    cpus = sorted({cpu for runs in found.values() for run in runs for cpu in run.cpus})
    return Summary(compared, pd.concat(tables, ignore_index=True), cpus)


def recorded(settings: experiments.Settings, more: Sequence[RunConfig] = ()) -> dict[int, list[records.Record]]:
    """The records of figures 2 (with `more` runs of it) and 3 that are there."""
    wanted = {2: [*experiments.figure2(settings), *more], 3: experiments.figure3(settings)}
    return {figure: records.existing(configs, settings.profile) for figure, configs in wanted.items()}


def final_values(settings: experiments.Settings) -> dict[int, pd.DataFrame]:
    """Per figure that has records: the last value of every curve and the paper's there [nats]."""
    columns = ["tolerance", "n_seeds"]
    return {
        figure: verdict.final_values(records.curves(runs), figure).drop(columns=columns)
        for figure, runs in recorded(settings).items()
        if runs
    }


def as_json(summary: Summary) -> str:
    """One object per curve and per claim."""
    curves = [item for figure, table in summary.comparisons.items() for item in verdict.as_objects(table, figure)]
    claims = summary.claims.round(3).astype(object).where(summary.claims.notna(), None)
    return json.dumps({"counts": summary.counts, "curves": curves, "claims": claims.to_dict("records")}, indent=1)


def as_text(summary: Summary) -> str:
    """The tables for a terminal."""
    blocks = [headline(summary)]
    for figure, table in summary.curves.items():
        rows = table.assign(samples_evaluated=table["samples_evaluated"].map(names.scientific))
        rows["n_seeds"] = rows["n_seeds"].fillna(0).astype(int)
        blocks.append(
            f"{names.FIGURES[figure]}, at the furthest evaluation point that both have\n"
            + rows.to_string(index=False, float_format="{:.1f}".format, na_rep="-")
        )
    at = summary.claims["samples_evaluated"].map(names.scientific)
    blocks.append(
        "The paper's claims\n"
        + summary.claims.assign(samples_evaluated=at).to_string(index=False, float_format="{:.2f}".format, na_rep="-")
    )
    return "\n\n".join(blocks)


def headline(summary: Summary) -> str:
    """The counts in a sentence."""
    counts = ", ".join(f"{summary.counts[word]} {word}" for word in verdict.CLASSES)
    tolerances = ", ".join(
        f"{verdict.tolerance(figure, dataset):.3g} nats for {names.DATASETS[dataset]} in figure {figure}"
        for figure, dataset in ((2, "mnist"), (2, "frey_face"), (3, "mnist"))
    )
    return f"Of the paper's {sum(summary.counts.values())} curves: {counts} (the tolerances: {tolerances})."


def as_markdown(summary: Summary) -> str:
    """The README's tables: curves and claims; then seeds and machines."""
    table = counted(summary.claims)
    return "\n\n".join([
        f"**{headline(summary)}**",
        *(_panels(table, figure, names.FIGURES[figure]) for figure, table in summary.curves.items()),
        "Ours, in brackets the paper's, after so many training samples: the furthest at which both are compared.",
        _markdown([[*table], *table.to_numpy().tolist()]),
        _provenance(summary),
    ])  # fmt: skip


def _panels(table: pd.DataFrame, figure: int, title: str) -> str:
    """A row per panel of the figure, a column per algorithm and split."""
    panel = verdict.PANELS[figure][0][1]
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
    """A row per claim: where it holds, and the range of what it measures, ours and the paper's."""
    rows = []
    for claim, cases in table.groupby("claim", sort=False):
        fails = [f"{row['panel']} ({row['split']})" for _, row in cases[~cases["holds"].astype(bool)].iterrows()]
        holds = f"{len(cases) - len(fails)} of {len(cases)}" + (f"; not {', '.join(fails)}" if fails else "")
        rows.append([claim, holds, *(_range(cases[source]) for source in claims.SOURCES)])
    return pd.DataFrame(rows, columns=["what the paper says", "holds", "ours", "the paper's curves"])


def _range(values: pd.Series) -> str:
    low, high = values.min(), values.max()
    return "not drawn" if np.isnan(low) else f"{low:.2f}" if low == high else f"{low:.2f} to {high:.2f}"


def _provenance(summary: Summary) -> str:
    several = summary.comparisons[2].query("n_seeds > 1")
    panels = several.groupby(["dataset", "n_latent"])["n_seeds"].max()
    seeds = ", ".join(f"{names.panel(dataset, 'n_latent', size)}: {n} seeds" for (dataset, size), n in panels.items())
    return f"Seeds: {seeds or 'one each'}; elsewhere one. Trained on {'; '.join(summary.cpus)}, a core per run."


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


def write_readme(summary: Summary) -> None:
    """Renew the table between the README's markers."""
    before, _, after = readme_block(README.read_text())
    README.write_text(f"{before}{MARKERS[0]}\n{as_markdown(summary)}\n{MARKERS[1]}{after}")
