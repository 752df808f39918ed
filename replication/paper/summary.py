"""`make verdict`: every curve and claim of the paper beside the recorded runs, as text, JSON or the README's table."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from replication import paths
from replication.config import RunConfig
from replication.errors import ReplicationError
from replication.paper import claims, experiments, readings, verdict
from replication.runs import records

README = paths.ROOT / "README.md"
MARKERS = ("<!-- verdict: written by `python -m replication verdict --readme` -->", "<!-- /verdict -->")
WORDS = ("reproduced", "better", "worse", "not run")


class Statement(NamedTuple):
    """What the records at paper scale say: `beside` has the table of `verdict.beside` for figures 2 and 3.

    `tried` has, per other reading of the paper, the table of `readings.two_readings` on MNIST.
    """

    beside: dict[int, pd.DataFrame]
    claims: pd.DataFrame
    cpus: list[str]
    tried: dict[str, pd.DataFrame]

    @property
    def curves(self) -> dict[int, pd.DataFrame]:
        """The verdict on each of the paper's curves."""
        return {figure: verdict.judged(table, figure) for figure, table in self.beside.items()}

    @property
    def counts(self) -> Counter:
        """How many curves have each verdict."""
        return sum((Counter(table["verdict"]) for table in self.curves.values()), Counter())

    @property
    def causes(self) -> pd.DataFrame:
        """The reading that explains each curve of figure 2 that is worse."""
        return readings.causes(self.curves[2].query("verdict == 'worse'"), self.tried)


def load(settings: experiments.Settings) -> Statement:
    """The statement on a profile's records, with all seeds; raises ReplicationError when a figure has none."""
    found = recorded(settings, readings.seeds(settings))
    for figure, runs in found.items():
        if not runs:
            folder = paths.runs(settings.profile)
            raise ReplicationError(
                f"There is no record of figure {figure} on {', '.join(settings.datasets)} in {folder}: restore it, "
                "train the runs, or choose other datasets; the verdict needs figures 2 and 3."
            )
    beside = {figure: verdict.beside(records.curves(runs), figure) for figure, runs in found.items()}
    tables = [
        claims.above(beside[2]),
        claims.samples_needed(beside[2]),
        claims.gap(beside[2]),
        claims.collapsed(beside[2], found[2]),
        claims.orderings(beside[3]),
    ]
    cpus = sorted({cpu for runs in found.values() for run in runs for cpu in run.cpus})
    return Statement(beside, pd.concat(tables, ignore_index=True), cpus, _other_readings(settings, found[2]))


def recorded(settings: experiments.Settings, more: Sequence[RunConfig] = ()) -> dict[int, list[records.Record]]:
    """The records of figures 2 (with `more` runs of it) and 3 that are there."""
    wanted = {2: [*experiments.figure2(settings), *more], 3: experiments.figure3(settings)}
    return {figure: records.existing(configs, settings.profile) for figure, configs in wanted.items()}


def _other_readings(settings: experiments.Settings, figure2: list[records.Record]) -> dict[str, pd.DataFrame]:
    """Where a reading has several stepsizes, the paper's rule chooses."""
    ours = [run for run in figure2 if run.config.dataset == "mnist" and run.config.seed == settings.seed]
    found = {name: records.existing(runs, "paper") for name, runs in readings.of_mnist(settings).items()}
    return {
        name: readings.two_readings(ours, readings.by_rule(others, readings.SAMPLES_STEPSIZE[2]))
        for name, others in found.items()
        if others
    }


def final_values(settings: experiments.Settings) -> dict[int, pd.DataFrame]:
    """Per figure that has records: the last value of every curve beside the paper's [nats]."""
    columns = ["tolerance", "n_seeds"]
    return {
        figure: verdict.final_values(records.curves(runs), figure).drop(columns=columns)
        for figure, runs in recorded(settings).items()
        if runs
    }


def as_json(statement: Statement) -> str:
    """One object per curve, per claim and per cause of a worse curve."""
    curves = [item for figure, table in statement.beside.items() for item in verdict.as_objects(table, figure)]
    tables = {"claims": statement.claims.round(3), "causes": statement.causes.round(2)}
    objects = {name: table.astype(object).where(table.notna(), None) for name, table in tables.items()}
    rows = {name: table.to_dict("records") for name, table in objects.items()}
    return json.dumps({"counts": statement.counts, "curves": curves, **rows}, indent=1)


def as_text(statement: Statement) -> str:
    """The tables for a terminal."""
    blocks = [headline(statement)]
    for figure, table in statement.curves.items():
        rows = table.assign(samples_evaluated=table["samples_evaluated"].map(verdict.scientific))
        rows["n_seeds"] = rows["n_seeds"].fillna(0).astype(int)
        blocks.append(
            f"Figure {figure}, at the furthest common mark [nats]\n"
            + rows.to_string(index=False, float_format="{:.1f}".format, na_rep="-")
        )
    causes = statement.causes
    blocks.append(f"{in_words(causes)}\n{causes_as_text(causes)}")
    at = statement.claims["samples_evaluated"].map(verdict.scientific)
    blocks.append(
        "The paper's claims\n"
        + statement.claims.assign(samples_evaluated=at).to_string(index=False, float_format="{:.2f}".format, na_rep="-")
    )
    return "\n\n".join(blocks)


def headline(statement: Statement) -> str:
    """The counts in a sentence."""
    counts = ", ".join(f"{statement.counts[word]} {word}" for word in WORDS)
    tolerances = (
        f"within {verdict.tolerance(2, 'mnist'):g} nats on MNIST in figure 2, {verdict.tolerance(3, 'mnist'):g} in "
        f"figure 3, {verdict.tolerance(2, 'frey_face'):.0f} on Frey Face"
    )
    return f"Of the paper's {sum(statement.counts.values())} curves: {counts} (reproduced: {tolerances})."


def in_words(causes: pd.DataFrame) -> str:
    """How many of the worse curves another reading explains."""
    if causes.empty:
        return "No curve of figure 2 is worse."
    names = Counter(causes.loc[causes["explains"], "reading"])
    which = ": " + ", ".join(f"{name} ({count})" for name, count in names.most_common()) if names else ""
    return (
        f"Of the {len(causes)} curves of figure 2 that are worse, {names.total()} are within the tolerance "
        f"under another reading of the paper{which}."
    )


def causes_as_text(causes: pd.DataFrame) -> str:
    """The table of `readings.causes` for reading."""
    if causes.empty:
        return ""
    at = causes["samples_evaluated"].map(verdict.scientific)
    return causes.assign(samples_evaluated=at).to_string(index=False, float_format="{:.1f}".format)


def as_markdown(statement: Statement) -> str:
    """The README's tables: curves and claims; then seeds and machines."""
    titles = {2: "Figure 2: the lower bound [nats]", 3: "Figure 3: log p(x) [nats]"}
    table = counted(statement.claims)
    return "\n\n".join([
        f"**{headline(statement)}**",
        *(_panels(table, figure, titles[figure]) for figure, table in statement.curves.items()),
        "Ours, in brackets the paper's, after so many training samples: the furthest mark that both have reached. "
        + in_words(statement.causes),
        _markdown([[*table], *table.to_numpy().tolist()]),
        _provenance(statement),
    ])  # fmt: skip


def _panels(table: pd.DataFrame, figure: int, title: str) -> str:
    """A row per panel of the figure, a column per algorithm and split."""
    panel = verdict.PANELS[figure][0][1]
    symbol = {"n_latent": "Nz", "n_train": "N"}[panel]
    columns = [(a, s) for a in claims.NAMES if a in set(table["algorithm"]) for s in ("train", "test")]
    rows = [[title, *(f"{claims.NAMES[algorithm]}, {split}" for algorithm, split in columns)]]
    for (dataset, size), cells in table.groupby(["dataset", panel]):
        of = {(row["algorithm"], row["split"]): row for _, row in cells.iterrows()}
        name = f"{claims.NAMES[dataset]}, {symbol} = {size}"
        rows.append([name, *(_cell(of[column]) for column in columns)])
    return _markdown(rows)


def _cell(row: pd.Series) -> str:
    if row["verdict"] == "not run":
        return "not run"
    at = verdict.scientific(row["samples_evaluated"])
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


def _provenance(statement: Statement) -> str:
    several = statement.beside[2].query("n_seeds > 1")
    panels = several.groupby(["dataset", "n_latent"])["n_seeds"].max()
    seeds = ", ".join(f"{claims.NAMES[d]}, Nz = {z}: {n} seeds" for (d, z), n in panels.items())
    return f"Seeds: {seeds or 'one each'}; elsewhere one. Trained on {'; '.join(statement.cpus)}, a core per run."


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


def write_readme(statement: Statement) -> None:
    """Renew the table between the README's markers."""
    before, _, after = readme_block(README.read_text())
    README.write_text(f"{before}{MARKERS[0]}\n{as_markdown(statement)}\n{MARKERS[1]}{after}")
