"""Which runs a figure has, under a plan: the paper's experiments, with only what differs from the defaults."""

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

from replication.config import DATASETS, ConfigError, IncompatibleError, RunConfig
from replication.paper.plans import Plan
from replication.paper.profiles import SIZES

MANIFOLD_SIDES = {"mnist": 20, "frey_face": 10, "digits": 20}  # images along a side of figure 4
# Adagrad's learning rate where no reading sets it: experiments that the paper did not draw, and digits.
LEARNING_RATE = {"figure2": 0.01, "figure3": 0.1, "full_vb": 0.1}
N_HIDDEN = {"mnist": 500, "frey_face": 200, "digits": 100}


def figure2(plan: Plan) -> list[RunConfig]:
    """Lower bound against training samples: AEVB and wake-sleep for each dataset and latent dimension."""
    return _runs(_figure2(plan))


def manifolds(plan: Plan) -> list[RunConfig]:
    """Figure 4: AEVB with a 2-D latent space, for each dataset."""
    return _runs(_manifolds(plan))


def samples(plan: Plan) -> list[RunConfig]:
    """Figure 5: AEVB on digits with 2 to 20 latent dimensions."""
    return _runs(_samples(plan))


def bounds(plan: Plan) -> list[RunConfig]:
    """The runs of figures 2, 4 and 5, each once."""
    return list(dict.fromkeys(_runs(_bounds(plan))))


def decoded(plan: Plan) -> list[RunConfig]:
    """Every run whose weights a notebook decodes: all of AEVB in figures 2, 4 and 5."""
    aevb = _runs(choices for choices in _bounds(plan) if choices["algorithm"] == "aevb")
    return sorted(set(aevb), key=lambda run: (run.dataset, run.n_latent))


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
            samples_total=plan.sizes.figure3_samples,
            **{
                "learning_rate": LEARNING_RATE["figure3"],
                **plan.reading.settings("figure3", dataset, algorithm, n_train),
                **({"batch_size": n_train} if algorithm == "mcem" else {}),
            },
        )
        for dataset in plan.datasets
        for n_train in plan.sizes.figure3_n_train.get(dataset, ())
        for algorithm in ("aevb", "wake_sleep", "mcem")
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
        for n_train in plan.sizes.full_vb_n_train.get(dataset, ())
        for n_latent in plan.sizes.full_vb_n_latent
        for algorithm in ("aevb", "full_vb")
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
    "9_readings": (figure2,),
}


def runs_of_notebook(name: str, plan: Plan) -> list[RunConfig]:
    """The runs that a notebook needs, each once and as far as the experiment that wants most of it."""
    return _longest(run for experiment in EXPERIMENTS_OF_NOTEBOOK[name] for run in experiment(plan))


def all_runs(plan: Plan) -> list[RunConfig]:
    """Every run of a profile, each once and as far as the experiment that wants most of it."""
    return _longest(run for name in EXPERIMENTS_OF_NOTEBOOK for run in runs_of_notebook(name, plan))


def _figure2(plan: Plan) -> list[dict]:
    return [
        _bound(plan, dataset, algorithm, n_latent)
        for dataset in plan.datasets
        for n_latent in plan.sizes.figure2_n_latent[dataset]
        for algorithm in ("aevb", "wake_sleep")
    ]


def _manifolds(plan: Plan) -> list[dict]:
    return [_bound(plan, dataset, "aevb", 2) for dataset in plan.datasets]


def _samples(plan: Plan) -> list[dict]:
    return [
        _bound(plan, dataset, "aevb", n_latent)
        for dataset in plan.datasets
        if dataset != "frey_face"
        for n_latent in plan.sizes.figure5_n_latent
    ]


def _bounds(plan: Plan) -> list[dict]:
    return [*_figure2(plan), *_manifolds(plan), *_samples(plan)]


def _one_large_model(plan: Plan, samples: int) -> list[dict]:
    """AEVB on digits with 20 latent variables, the same under every reading."""
    return [
        _choices(
            plan,
            dataset=dataset,
            algorithm="aevb",
            n_latent=20,
            n_hidden=N_HIDDEN[dataset],
            learning_rate=LEARNING_RATE["figure2"],
            samples_total=samples,
        )
        for dataset in plan.datasets
        if dataset != "frey_face"
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


def _runs(candidates: Iterable[dict]) -> list[RunConfig]:
    """The candidates that are possible; the others are left out, with a line that says why.

    Raises ConfigError when a value is wrong.
    """
    runs: list[RunConfig] = []
    reasons: dict[str, None] = {}  # an ordered set
    for choices in candidates:
        try:
            runs.append(RunConfig(**choices))
        except IncompatibleError as error:
            reasons[error.reason] = None
    for reason in reasons:
        _say_once(f"Some runs are left out: {reason}")
    return runs


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
