"""Records beside each other: what a stepsize, a reading or an algorithm changes."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from replication import verdict
from replication.records import Record
from replication.records import curves as curves_of

RUN = ("dataset", "algorithm", "n_latent")
ACTIVE = 0.01  # nats: a latent dimension with a smaller KL says nothing of x


def chosen_stepsizes(records: list[Record], by: Sequence[str] = RUN) -> pd.DataFrame:
    """Per run: its curve on train [nats] after the first iterations with each stepsize, and the stepsize to choose.

    The paper chose by "performance on the training set in the first few iterations". Here: the largest stepsize whose
    value is not below the best by more than the best's standard error over datapoints. `by`: the settings that tell
    runs apart.
    """
    rows = []
    for record in records:
        on_train, metric = record.curve[record.curve["split"] == "train"].iloc[-1], record.config.metric
        run = [getattr(record.config, name) for name in by]
        rows.append([*run, record.config.learning_rate, on_train[metric], on_train[f"{metric}_se"]])
    table = pd.DataFrame(rows, columns=[*by, "stepsize", "value", "se"])
    wide = table.pivot(index=list(by), columns="stepsize", values="value")
    best = table.loc[table.groupby(list(by))["value"].idxmax()].set_index(list(by))
    is_as_good = wide.ge(best["value"] - best["se"], axis=0)
    return wide.assign(se=best["se"], chosen=is_as_good.apply(lambda row: row.index[row].max(), axis=1))


def until(records: list[Record], samples: int) -> list[Record]:
    """The records as they were after so many training samples."""
    return [run._replace(curve=run.curve[run.curve["samples_evaluated"] <= samples]) for run in records]


def by_rule(records: list[Record], samples: int) -> list[Record]:
    """Those of the records whose stepsize the paper's rule chooses, after so many training samples."""
    chosen = chosen_stepsizes(until(records, samples))["chosen"]
    return [
        record
        for record in records
        if record.config.learning_rate == chosen[tuple(getattr(record.config, name) for name in RUN)]
    ]


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


def last_marks(curves: pd.DataFrame) -> pd.DataFrame:
    """The rows of every run's last mark."""
    run = ["dataset", "algorithm", "n_latent", "n_train", "seed"]
    return curves[curves["samples_evaluated"] == curves.groupby(run)["samples_evaluated"].transform("max")]


def lost_after_best(curves: pd.DataFrame) -> pd.DataFrame:
    """The best value on test along each run of full VB or MAP, where it was, and what the run lost after it [nats]."""
    test = _without_weights(curves[curves["split"] == "test"]).sort_values("samples_evaluated")
    runs = test.groupby(["n_latent", "n_train", "algorithm"])
    best = test.loc[runs["value"].idxmax()].set_index(["n_latent", "n_train", "algorithm"]).sort_index()
    table = best[["value", "samples_evaluated"]].rename(columns={"value": "best", "samples_evaluated": "at"})
    return table.assign(lost=table["best"] - runs["value"].last())


def _without_weights(curves: pd.DataFrame) -> pd.DataFrame:
    """With a column `value`: the bound without the weights' KL; for full VB the weights are sampled."""
    return curves.assign(value=curves["bound"].where(curves["algorithm"] == "aevb", curves.get("bound_sampled")))


def full_vb(last: pd.DataFrame) -> pd.DataFrame:
    """Full VB beside MAP per number of latent variables and N: the bound without the weights' KL, and its gap.

    `last` has the last mark of every run; for full VB the weights are sampled. All in nats.
    """
    table = _without_weights(last).pivot(index=["n_latent", "n_train", "algorithm"], columns="split", values="value")
    table["gap"] = table["train"] - table["test"]
    return table.unstack("algorithm").rename(columns={"aevb": "MAP", "full_vb": "full VB"})


def full_vb_in_words(table: pd.DataFrame) -> str:
    """What full VB buys and costs, one line per number of latent variables and N, from the table of `full_vb`."""
    lines = []
    for (n_latent, n_train), row in table.iterrows():
        test, gap = (row[column, "full VB"] - row[column, "MAP"] for column in ("test", "gap"))
        verb = "gains" if test > 0 else "loses"
        change = "narrower" if gap < 0 else "wider"
        lines.append(
            f"Nz = {n_latent}, N = {n_train}: full VB {verb} {abs(test):.1f} nats on test; "
            f"its gap between train and test is {abs(gap):.1f} nats {change}."
        )
    return "\n".join(lines)


def readings(records: list[Record], millions: float) -> pd.DataFrame:
    """log p(x) after so many samples under different stepsizes and initialisations, beside the paper's [nats]."""
    tables = [
        verdict.marginal_likelihoods(curves_of([record]), (millions,)).assign(
            stepsize=record.config.learning_rate, initialisation=record.config.initialisation
        )
        for record in records
    ]
    rows = ["n_train", "algorithm", "initialisation", "stepsize"]
    return pd.concat(tables).pivot(index=rows, columns="split", values=["ours", "paper", "difference"])


def explained(readings: pd.DataFrame) -> pd.DataFrame:
    """Per curve: the lowest and highest of our readings, the paper's value [nats], and whether it lies between."""
    long = readings.stack("split").groupby(["n_train", "algorithm", "split"])
    table = long.agg(lowest=("ours", "min"), highest=("ours", "max"), paper=("paper", "first")).dropna()
    return table.assign(between=table["paper"].between(table["lowest"], table["highest"]))


def closeness(readings: pd.DataFrame) -> pd.DataFrame:
    """How far each reading is from the paper: mean and maximum absolute difference [nats] over so many curves."""
    distance = readings["difference"].stack().abs().groupby(["n_train", "initialisation", "stepsize"])
    return distance.agg(["mean", "max", "count"])


def cross_check(curves: pd.DataFrame) -> pd.DataFrame:
    """At the last mark of every run: appendix D minus importance sampling over the same datapoints, in nats."""
    last = curves.groupby(["n_train", "algorithm"])["samples_evaluated"].transform("max")
    columns = ["difference", "difference_se", "acceptance", "ess_hmc", "ess_importance", "n_unreliable"]
    return curves[curves["samples_evaluated"] == last].set_index(["n_train", "algorithm", "split"])[columns]


def grid(records: list[Record], settings: Sequence[str] = ("initialisation",)) -> pd.DataFrame:
    """The last bound on test under each stepsize and choice of `settings`, beside the paper's [nats].

    `distance` is the mean absolute difference to the paper's curves over all marks that they draw, train and test.
    """
    rows = []
    for record in records:
        beside = verdict.beside(curves_of([record]))
        last = beside[beside["split"] == "test"].iloc[-1]
        rows.append({
            **{name: getattr(record.config, name) for name in (*RUN, *settings)},
            "stepsize": record.config.learning_rate,
            **last[["samples_evaluated", "ours", "paper", "difference"]],
            "distance": beside["difference"].abs().mean(),
        })  # fmt: skip
    return pd.DataFrame(rows)


def favoured(grid: pd.DataFrame, chosen: pd.DataFrame) -> pd.DataFrame:
    """How far each initialisation is from the paper's curves, with the stepsize of each run chosen by the paper's rule.

    `chosen` is the table of `chosen_stepsizes` by RUN and initialisation. Per dataset and algorithm the `distance` of
    `grid` [nats], and over all of them its mean in units of the verdict's tolerance; the closest first.
    """
    keys = [*RUN, "initialisation"]
    rows = grid.merge(chosen["chosen"].reset_index(), on=keys).query("stepsize == chosen")
    rows = rows.assign(overall=rows["distance"] / [verdict.tolerance(2, dataset) for dataset in rows["dataset"]])
    wide = rows.pivot(index="initialisation", columns=["dataset", "algorithm"], values="distance")
    wide["overall", ""] = rows.groupby("initialisation")["overall"].mean()
    return wide.sort_values(("overall", ""))


def two_readings(records: list[Record], others: list[Record]) -> pd.DataFrame:
    """Each curve of figure 2 under two readings, ours minus the paper's [nats], at the furthest mark that all have."""
    keys, _ = verdict.PANELS[2]
    both = verdict.beside(curves_of(records)).merge(
        verdict.beside(curves_of(others)),
        on=[*keys, "samples_evaluated", "paper", "tolerance"],
        suffixes=("", "_other"),
    )
    common = both.dropna(subset=["paper"])
    furthest = common.loc[common.groupby(keys)["samples_evaluated"].idxmax()]
    columns = [*keys, "samples_evaluated", "paper", "difference", "difference_other", "tolerance"]
    return furthest[columns].reset_index(drop=True)


def two_readings_as_text(table: pd.DataFrame, names: tuple[str, str]) -> str:
    """The table of `two_readings` under the readings' names, and how many curves are within the verdict's tolerance."""
    columns = dict(zip(("difference", "difference_other"), names, strict=True))
    named = table.rename(columns=columns)
    within = named[list(names)].abs().le(named["tolerance"], axis=0).sum()
    counts = ", ".join(f"{count} with {name}" for name, count in within.items())
    shown = named.drop(columns="tolerance").to_string(index=False, float_format="{:.1f}".format)
    return f"{shown}\nwithin the tolerance, of {len(table)} curves: {counts}\n"


def causes(worse: pd.DataFrame, tried: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """For each curve of `worse`, the reading that explains it: within the tolerance of the paper, at the furthest mark.

    `tried` has a table of `two_readings` per name; `default` and `there` are ours minus the paper's [nats] with the
    default and with that reading, at the mark of its table. Where none `explains`, the closest.
    """
    keys, _ = verdict.PANELS[2]
    nothing = worse.assign(reading="", difference_other=np.nan)
    found = pd.concat([nothing, *(table.assign(reading=name) for name, table in tried.items())])
    found = found.rename(columns={"difference": "default", "difference_other": "there"})
    found["distance"] = found["there"].abs()
    found["explains"] = found["distance"] <= found["tolerance"]
    found["mark"] = found["samples_evaluated"].where(found["explains"], 0)
    first = found.sort_values(["mark", "distance"], ascending=[False, True]).drop_duplicates(keys)
    return worse[keys].merge(first[[*keys, "samples_evaluated", "default", "reading", "there", "explains"]], how="left")


def escapes(records: list[Record]) -> pd.DataFrame:
    """When a run on a Gaussian likelihood leaves the best independent Gaussian: samples at the first mark above it.

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
