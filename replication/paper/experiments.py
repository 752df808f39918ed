"""Which runs a figure has, under a plan: the paper's experiments, with only what differs from the defaults."""

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

from replication.config import DATASETS, ConfigError, IncompatibleError, RunConfig
from replication.paper.plans import Plan
from replication.paper.profiles import SIZES
from replication.paper.readings import STANDARD

MANIFOLD_SIDES = {"mnist": 20, "frey_face": 10, "digits": 20}  # images along a side of figure 4
# Adagrad's learning rate where no reading sets it: experiments that the paper did not draw, and digits.
LEARNING_RATE = {"figure2": 0.01, "figure3": 0.1, "full_vb": 0.1}
SEEDS = (0, 1, 2)
N_HIDDEN = {"mnist": 500, "frey_face": 200, "digits": 100}


def figure2(plan: Plan) -> list[RunConfig]:
    """Lower bound against training samples: AEVB and wake-sleep for each dataset and latent dimension."""
    return _runs(
        _bound(plan, dataset, algorithm, n_latent)
        for dataset in plan.datasets
        for n_latent in _sizes(plan, "n_latent", plan.sizes.figure2_n_latent[dataset])
        for algorithm in _some(plan, "algorithm", "aevb", "wake_sleep")
    )


def manifolds(plan: Plan) -> list[RunConfig]:
    """Figure 4: AEVB with a 2-D latent space, for each dataset."""
    return _runs(
        _bound(plan, dataset, algorithm, n_latent)
        for dataset in plan.datasets
        for n_latent in _some(plan, "n_latent", 2)
        for algorithm in _some(plan, "algorithm", "aevb")
    )


def samples(plan: Plan) -> list[RunConfig]:
    """Figure 5: AEVB on digits with 2 to 20 latent dimensions."""
    return _runs(
        _bound(plan, dataset, algorithm, n_latent)
        for dataset in plan.datasets
        if dataset != "frey_face"
        for n_latent in _sizes(plan, "n_latent", plan.sizes.figure5_n_latent)
        for algorithm in _some(plan, "algorithm", "aevb")
    )


def other_seeds(plan: Plan) -> list[RunConfig]:
    """One panel of figure 2 for each dataset, both algorithms, with the other seeds."""
    panels = {"mnist": 20, "frey_face": 10}
    runs = [run for run in figure2(plan) if panels.get(run.dataset) == run.n_latent]
    return [run.replace(seed=seed) for run in runs for seed in SEEDS if seed != plan.seed]


def decoded(plan: Plan) -> list[RunConfig]:
    """Every run whose weights a notebook decodes: all of AEVB in figures 2, 4 and 5."""
    aevb = {run for run in figure2(plan) + manifolds(plan) + samples(plan) if run.algorithm == "aevb"}
    return sorted(aevb, key=lambda run: (run.dataset, run.n_latent))


def figure3(plan: Plan) -> list[RunConfig]:
    """Marginal likelihood against training samples: AEVB, wake-sleep and MCEM, few and many training datapoints.

    Only on images with a Bernoulli likelihood, as in the paper: 100 hidden units, 3 latent variables.
    """
    return _runs(
        _choices(
            plan,
            dataset=dataset,
            algorithm=algorithm,
            n_latent=3,
            n_hidden=100,
            n_train=n_train,
            metric="log_px",
            n_evaluated=plan.sizes.figure3_n_evaluated,
            samples_total=plan.sizes.figure3_samples,
            **{
                "learning_rate": LEARNING_RATE["figure3"],
                **plan.reading.settings("figure3", dataset, algorithm, n_train),
                **({"batch_size": n_train} if algorithm == "mcem" else {}),
            },
        )
        for dataset in plan.datasets
        if dataset in plan.sizes.figure3_n_train
        for n_train in _sizes(plan, "n_train", plan.sizes.figure3_n_train[dataset])
        for algorithm in _some(plan, "algorithm", "aevb", "wake_sleep", "mcem")
    )


def estimators(plan: Plan) -> list[RunConfig]:
    """AEVB with each estimator of the gradient; the baseline of the score function needs a second sample."""
    _refuse_overrides(plan, "estimator", "n_mc_samples")
    return _runs(
        {**choices, "estimator": name, "n_mc_samples": 2 if name == "score_function_baseline" else 1}
        for choices in _one_large_model(plan, plan.sizes.estimators_samples)
        for name in ("sgvb_b", "sgvb_a", "score_function_baseline", "score_function")
    )


def gradient_variance(profile: str) -> dict[str, Any]:
    """After how many samples, at which sizes (M, L) and from how many pairs the gradient's variance is estimated."""
    sizes = SIZES[profile]
    return {
        "points": sizes.variance_points,
        "sizes": sizes.variance_sizes,
        "n_pairs": sizes.variance_pairs,
        "profile": profile,
    }


def first_bernoulli(datasets: Sequence[str]) -> str:
    """The first dataset whose pixels have a Bernoulli likelihood; raises ConfigError where there is none."""
    names = [name for name in datasets if DATASETS[name].likelihood == "bernoulli"]
    if not names:
        raise ConfigError("This needs a dataset with a Bernoulli likelihood: datasets = 'mnist' or 'digits'.")
    return names[0]


def minibatches(plan: Plan) -> list[RunConfig]:
    """AEVB with M datapoints per minibatch and L samples each."""
    _refuse_overrides(plan, "batch_size", "n_mc_samples")
    return _runs(
        {**choices, "batch_size": m, "n_mc_samples": n}
        for choices in _one_large_model(plan, plan.sizes.minibatches_samples)
        for m, n in plan.sizes.minibatches_sizes
    )


def full_vb(plan: Plan) -> list[RunConfig]:
    """Appendix F against MAP: AEVB with a point estimate and with a posterior of the decoder's weights."""
    return _runs(
        _choices(
            plan,
            dataset=dataset,
            algorithm=algorithm,
            n_latent=n_latent,
            n_hidden=100,
            n_train=n_train,
            learning_rate=LEARNING_RATE["full_vb"],
            samples_total=plan.sizes.full_vb_samples,
            **({"weight_noise": "local"} if algorithm == "full_vb" else {}),
        )
        for dataset in plan.datasets
        if dataset in plan.sizes.full_vb_n_train
        for n_train in _sizes(plan, "n_train", plan.sizes.full_vb_n_train[dataset])
        for n_latent in _sizes(plan, "n_latent", plan.sizes.full_vb_n_latent)
        for algorithm in _some(plan, "algorithm", "aevb", "full_vb")
    )


# Which experiments a notebook shows, by the name of its file.
EXPERIMENTS_OF_NOTEBOOK: dict[str, tuple[Callable[[Plan], list[RunConfig]], ...]] = {
    "0_method": (figure2,),
    "1_estimators": (estimators, minibatches),
    "2_lower_bound": (figure2,),
    "3_marginal_likelihood": (figure3,),
    "4_manifolds": (manifolds,),
    "5_samples": (samples, decoded),
    "6_full_vb": (full_vb,),
    "7_explorer": (decoded,),
    "8_verdict": (figure2, figure3),
    "9_graphics": (),
    "9_readings": (figure2,),
}


def say_where_unread(experiment: Callable[[Plan], list[RunConfig]], plan: Plan) -> None:
    """Print that the reading which is asked for changes no run of an experiment; nothing where it does.

    Nothing either where the plan has said so of all its datasets.
    """
    if {dataset for _, dataset, _ in plan.reading.choices}.isdisjoint(plan.datasets):
        return
    if plan.reading is not STANDARD and experiment(plan) == experiment(plan._replace(reading=STANDARD)):
        name, standard = plan.reading.name, STANDARD.name
        _say_once(f"reading = {name!r} has no effect on these runs: they are the same under {standard!r}.")


def runs_of_notebook(name: str, plan: Plan) -> list[RunConfig]:
    """The runs that a notebook needs, each once and as far as the experiment that wants most of it."""
    return _longest(run for experiment in EXPERIMENTS_OF_NOTEBOOK[name] for run in experiment(plan))


def all_runs(plan: Plan) -> list[RunConfig]:
    """Every run of a profile, each once and as far as the experiment that wants most of it."""
    return _longest(run for name in EXPERIMENTS_OF_NOTEBOOK for run in runs_of_notebook(name, plan))


def _one_large_model(plan: Plan, samples: int) -> list[dict]:
    """AEVB on digits with 20 latent variables, the same under every reading."""
    return [
        _choices(
            plan,
            dataset=dataset,
            algorithm=algorithm,
            n_latent=20,
            n_hidden=N_HIDDEN[dataset],
            learning_rate=LEARNING_RATE["figure2"],
            samples_total=samples,
        )
        for dataset in plan.datasets
        if dataset != "frey_face"
        for algorithm in _some(plan, "algorithm", "aevb")
    ]


def _bound(plan: Plan, dataset: str, algorithm: str, n_latent: int) -> dict:
    standard = {
        "n_hidden": N_HIDDEN[dataset],
        "learning_rate": LEARNING_RATE["figure2"],
        "samples_total": plan.sizes.figure2_samples[dataset],
    }
    read = plan.reading.settings("figure2", dataset, algorithm, n_latent)
    return _choices(plan, dataset=dataset, algorithm=algorithm, n_latent=n_latent, **{**standard, **read})


def _choices(plan: Plan, **choices: Any) -> dict:
    return {"seed": plan.seed, **choices, **plan.overrides}


def _sizes(plan: Plan, name: str, standard: Sequence[int]) -> Sequence[int]:
    """What an experiment runs through, or the one size that is asked for instead."""
    return (plan.overrides[name],) if name in plan.overrides else standard


def _some(plan: Plan, name: str, *values: str | int) -> tuple[Any, ...]:
    """What an experiment is about, or the one of it that is asked for; a line says so where it has none such."""
    if name not in plan.overrides:
        return values
    asked = plan.overrides[name]
    if asked not in values:
        _say_once(f"Some runs are left out: they are about {name} = {' or '.join(map(str, values))}, not {asked}.")
    return tuple(value for value in values if value == asked)


def _runs(candidates: Iterable[dict]) -> list[RunConfig]:
    """Each of the candidates that are possible once; the others are left out, with a line that says why.

    Raises ConfigError when a value is wrong.
    """
    runs: dict[RunConfig, None] = {}  # an ordered set
    reasons: dict[str, None] = {}
    for choices in candidates:
        try:
            runs[RunConfig(**choices)] = None
        except IncompatibleError as error:
            reasons[error.reason] = None
    for reason in reasons:
        _say_once(f"Some runs are left out: {reason}")
    return list(runs)


def _refuse_overrides(plan: Plan, *varied: str) -> None:
    """Raise ConfigError for an override of what an experiment varies: it could not take effect."""
    if names := [name for name in varied if name in plan.overrides]:
        raise ConfigError(f"This experiment varies {', '.join(names)} itself: leave it out of the overrides.")


@cache
def _say_once(line: str) -> None:
    """A notebook asks for the same runs several times."""
    print(line)


def forget_what_was_said() -> None:
    """Say anew which runs are left out."""
    _say_once.cache_clear()


def _longest(runs: Iterable[RunConfig]) -> list[RunConfig]:
    longest: dict[str, RunConfig] = {}
    for run in runs:
        known = longest.setdefault(run.run_id, run)
        longest[run.run_id] = max(known, run, key=lambda candidate: candidate.samples_total)
    return list(longest.values())
