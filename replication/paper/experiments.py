"""The paper's experiments as lists of runs: for each figure and profile, only what differs from the defaults."""

import ast
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from IPython import get_ipython

from replication.config import DATASETS, ConfigError, IncompatibleError, RunConfig
from replication.paper import readings
from replication.paper.readings import Reading

PROFILES = {
    "smoke": "the smallest batch, on scikit-learn's digits",
    "quick": "every figure from scratch in minutes",
    "paper": "the paper's full scale, resumable",
}
N_LATENT_FIGURE_2 = {"mnist": (3, 5, 10, 20, 200), "frey_face": (2, 5, 10, 20), "digits": (3, 5, 10, 20, 200)}
MANIFOLD_SIDES = {"mnist": 20, "frey_face": 10, "digits": 20}  # images along a side of figure 4
# Adagrad's learning rate where no reading sets it: experiments that the paper did not draw, and digits.
LEARNING_RATE = {"figure2": 0.01, "figure3": 0.1, "full_vb": 0.1}
N_HIDDEN = {"mnist": 500, "frey_face": 200, "digits": 100}


class Sizes(NamedTuple):
    """How much of each experiment a profile does: training samples, and what is varied; by dataset where they differ.

    The gradient's variance is estimated after so many samples (`variance_points`), for (M, L), from pairs of gradients.
    """

    figure2_samples: Mapping[str, int]
    figure3_samples: int
    estimators_samples: int
    minibatches_samples: int
    full_vb_samples: int
    variance_points: Sequence[int]
    variance_sizes: Sequence[tuple[int, int]]
    variance_pairs: int = 10
    figure2_n_latent: Mapping[str, Sequence[int]] = N_LATENT_FIGURE_2
    figure3_n_train: Mapping[str, Sequence[int]] = {"mnist": (1000, 50_000), "digits": (200, 1500)}
    figure5_n_latent: Sequence[int] = (2, 5, 10, 20)
    minibatches_sizes: Sequence[tuple[int, int]] = ((20, 1), (20, 5), (100, 1), (100, 5), (500, 1), (500, 5))  # (M, L)
    full_vb_n_train: Mapping[str, Sequence[int]] = {"mnist": (100, 1000, 10_000, 50_000), "digits": (100, 1500)}
    full_vb_n_latent: Sequence[int] = (3,)


SIZES = {
    "smoke": Sizes(
        figure2_samples={"digits": 125_000},
        figure3_samples=50_000,
        estimators_samples=100_000,
        minibatches_samples=100_000,
        full_vb_samples=20_000,
        variance_points=(0, 20_000),
        variance_sizes=((100, 1), (100, 2)),
        figure2_n_latent={"digits": (2, 20)},
        figure3_n_train={"digits": (297,)},  # as many as there are to test: one program evaluates both
        figure5_n_latent=(2, 20),
        minibatches_sizes=((20, 1), (20, 5), (100, 1), (100, 5)),
        full_vb_n_train={"digits": (297,)},
    ),
    "quick": Sizes(
        figure2_samples={"mnist": 500_000, "frey_face": 1_000_000, "digits": 2_000_000},
        figure3_samples=250_000,
        estimators_samples=100_000,
        minibatches_samples=100_000,
        full_vb_samples=100_000,
        variance_points=(0, 100_000),
        variance_sizes=((100, 1), (100, 2), (100, 4)),
    ),
    "paper": Sizes(
        figure2_samples={"mnist": 10**8, "frey_face": 10**8, "digits": 10**7},
        figure3_samples=6 * 10**7,
        estimators_samples=10**6,
        minibatches_samples=300_000,
        full_vb_samples=3 * 10**6,
        variance_points=(0, 10**5, 10**6),
        variance_sizes=((100, 1), (100, 2), (100, 4), (100, 8)),
        variance_pairs=50,
        full_vb_n_latent=(3, 10),
    ),
}


class Settings(NamedTuple):
    """What a notebook can be told: see `settings`."""

    profile: str
    seed: int
    datasets: tuple[str, ...]
    reading: Reading
    overrides: Mapping[str, Any]

    @property
    def sizes(self) -> Sizes:
        """How much the profile does."""
        return SIZES[self.profile]

    @property
    def figure_suffix(self) -> str:
        """Tells figures of other datasets, another seed, reading or assumption apart from the standard ones."""
        changes = {} if self.datasets == _standard_datasets(self.profile) else {"datasets": "+".join(self.datasets)}
        changes |= {} if self.reading is readings.CLOSEST else {"reading": self.reading.name}
        changes |= ({"seed": self.seed} if self.seed else {}) | dict(self.overrides)
        return "".join(f"-{name}={value}" for name, value in changes.items())


def settings(
    profile: str,
    seed: int = 0,
    datasets: str | Sequence[str] | None = None,
    reading: str = readings.CLOSEST.name,
    overrides: Mapping[str, Any] | None = None,
) -> Settings:
    """Validated settings; `datasets` as a list or comma-separated, `overrides` maps RunConfig fields to values.

    Raises ConfigError for an unknown profile, dataset or reading; a wrong override is refused when the runs are made.
    """
    if profile not in PROFILES:
        raise ConfigError(f"Unknown profile {profile!r}. The profiles are {_named(PROFILES)}.")
    if datasets is None:
        datasets = _standard_datasets(profile)
    names = tuple(name.strip() for name in datasets.split(",")) if isinstance(datasets, str) else tuple(datasets)
    if not names or (unknown := [name for name in names if name not in DATASETS]):
        raise ConfigError(f"Unknown dataset {unknown[0] if names else ''!r}. The datasets are {', '.join(DATASETS)}.")
    if missing := [name for name in names if name not in SIZES[profile].figure2_samples]:
        raise ConfigError(f"Profile {profile} does not run on {missing[0]}: choose another profile or dataset.")
    return Settings(profile, seed, names, readings.reading(reading), overrides or {})


def settings_of_notebook(
    profile: str, seed: int, datasets: str | Sequence[str] | None, reading: str, overrides: Mapping[str, Any]
) -> Settings:
    """The settings that a notebook's parameters ask for.

    Raises ConfigError as `settings` does, and for a parameter of papermill that is none of them: papermill itself only
    warns of it, and the notebook would run with the default.
    """
    _say_once.cache_clear()  # notebooks of a batch share a kernel
    if unknown := [name for name in _injected_parameters() if name not in Settings._fields]:
        raise ConfigError(
            f"Unknown notebook parameter {', '.join(unknown)}. The parameters are {', '.join(Settings._fields)}; "
            "to change a setting of the runs: -y 'overrides: {initialisation: fan_in}'."
        )
    return settings(profile, seed, datasets, reading, overrides)


def figure2(settings: Settings) -> list[RunConfig]:
    """Lower bound against training samples: AEVB and wake-sleep for each dataset and latent dimension."""
    return _runs(_figure2(settings))


def manifolds(settings: Settings) -> list[RunConfig]:
    """Figure 4: AEVB with a 2-D latent space, for each dataset."""
    return _runs(_manifolds(settings))


def samples(settings: Settings) -> list[RunConfig]:
    """Figure 5: AEVB on digits with 2 to 20 latent dimensions."""
    return _runs(_samples(settings))


def bounds(settings: Settings) -> list[RunConfig]:
    """The runs of figures 2, 4 and 5, each once."""
    return list(dict.fromkeys(_runs(_bounds(settings))))


def decoded(settings: Settings) -> list[RunConfig]:
    """Every run whose weights a notebook decodes: all of AEVB in figures 2, 4 and 5."""
    aevb = _runs(choices for choices in _bounds(settings) if choices["algorithm"] == "aevb")
    return sorted(set(aevb), key=lambda run: (run.dataset, run.n_latent))


def figure3(settings: Settings) -> list[RunConfig]:
    """Marginal likelihood against training samples: AEVB, wake-sleep and MCEM, few and many training datapoints.

    Only on images with a Bernoulli likelihood, as in the paper: 100 hidden units, 3 latent variables.
    """
    return _runs(
        _choices(
            settings,
            dataset=dataset,
            algorithm=algorithm,
            n_latent=3,
            n_hidden=100,
            n_train=n_train,
            metric="log_px",
            samples_total=settings.sizes.figure3_samples,
            **{
                "learning_rate": LEARNING_RATE["figure3"],
                **settings.reading.settings("figure3", dataset, algorithm, n_train),
                **({"batch_size": n_train} if algorithm == "mcem" else {}),
            },
        )
        for dataset in settings.datasets
        for n_train in settings.sizes.figure3_n_train.get(dataset, ())
        for algorithm in ("aevb", "wake_sleep", "mcem")
    )


def estimators(settings: Settings) -> list[RunConfig]:
    """AEVB with each estimator of the gradient; the baseline of the score function needs a second sample."""
    _refuse_overrides(settings, "estimator", "n_mc_samples")
    return _runs(
        {**choices, "estimator": name, "n_mc_samples": 2 if name == "score_function_baseline" else 1}
        for choices in _one_large_model(settings, settings.sizes.estimators_samples)
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


def minibatches(settings: Settings) -> list[RunConfig]:
    """AEVB with M datapoints per minibatch and L samples each."""
    _refuse_overrides(settings, "batch_size", "n_mc_samples")
    return _runs(
        {**choices, "batch_size": m, "n_mc_samples": n}
        for choices in _one_large_model(settings, settings.sizes.minibatches_samples)
        for m, n in settings.sizes.minibatches_sizes
    )


def full_vb(settings: Settings) -> list[RunConfig]:
    """Appendix F against MAP: AEVB with a point estimate and with a posterior of the decoder's weights."""
    return _runs(
        _choices(
            settings,
            dataset=dataset,
            algorithm=algorithm,
            n_latent=n_latent,
            n_hidden=100,
            n_train=n_train,
            learning_rate=LEARNING_RATE["full_vb"],
            samples_total=settings.sizes.full_vb_samples,
            **({"weight_noise": "local"} if algorithm == "full_vb" else {}),
        )
        for dataset in settings.datasets
        for n_train in settings.sizes.full_vb_n_train.get(dataset, ())
        for n_latent in settings.sizes.full_vb_n_latent
        for algorithm in ("aevb", "full_vb")
    )


# Which experiments a notebook shows, by the name of its file.
EXPERIMENTS_OF_NOTEBOOK: dict[str, tuple[Callable[[Settings], list[RunConfig]], ...]] = {
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


def runs_of_notebook(name: str, settings: Settings) -> list[RunConfig]:
    """The runs that a notebook needs, each once and as far as the experiment that wants most of it."""
    return _longest(run for experiment in EXPERIMENTS_OF_NOTEBOOK[name] for run in experiment(settings))


def all_runs(settings: Settings) -> list[RunConfig]:
    """Every run of a profile, each once and as far as the experiment that wants most of it."""
    return _longest(run for name in EXPERIMENTS_OF_NOTEBOOK for run in runs_of_notebook(name, settings))


def _figure2(settings: Settings) -> list[dict]:
    return [
        _bound(settings, dataset, algorithm, n_latent)
        for dataset in settings.datasets
        for n_latent in settings.sizes.figure2_n_latent[dataset]
        for algorithm in ("aevb", "wake_sleep")
    ]


def _manifolds(settings: Settings) -> list[dict]:
    return [_bound(settings, dataset, "aevb", 2) for dataset in settings.datasets]


def _samples(settings: Settings) -> list[dict]:
    return [
        _bound(settings, dataset, "aevb", n_latent)
        for dataset in settings.datasets
        if dataset != "frey_face"
        for n_latent in settings.sizes.figure5_n_latent
    ]


def _bounds(settings: Settings) -> list[dict]:
    return [*_figure2(settings), *_manifolds(settings), *_samples(settings)]


def _one_large_model(settings: Settings, samples: int) -> list[dict]:
    """AEVB on digits with 20 latent variables, the same under every reading."""
    return [
        _choices(
            settings,
            dataset=dataset,
            algorithm="aevb",
            n_latent=20,
            n_hidden=N_HIDDEN[dataset],
            learning_rate=LEARNING_RATE["figure2"],
            samples_total=samples,
        )
        for dataset in settings.datasets
        if dataset != "frey_face"
    ]


def _bound(settings: Settings, dataset: str, algorithm: str, n_latent: int) -> dict:
    standard = {
        "n_hidden": N_HIDDEN[dataset],
        "learning_rate": LEARNING_RATE["figure2"],
        "samples_total": settings.sizes.figure2_samples[dataset],
    }
    read = settings.reading.settings("figure2", dataset, algorithm, n_latent)
    return _choices(settings, dataset=dataset, algorithm=algorithm, n_latent=n_latent, **{**standard, **read})


def _choices(settings: Settings, **choices: Any) -> dict:
    return {"seed": settings.seed, **choices, **settings.overrides}


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


def _refuse_overrides(settings: Settings, *varied: str) -> None:
    """Raise ConfigError for an override of what an experiment varies: it could not take effect."""
    if names := [name for name in varied if name in settings.overrides]:
        raise ConfigError(f"This experiment varies {', '.join(names)} itself: leave it out of the overrides.")


@cache
def _say_once(line: str) -> None:
    """A notebook asks for the same runs several times."""
    print(line)


def _longest(runs: Iterable[RunConfig]) -> list[RunConfig]:
    longest: dict[str, RunConfig] = {}
    for run in runs:
        known = longest.setdefault(run.run_id, run)
        longest[run.run_id] = max(known, run, key=lambda candidate: candidate.samples_total)
    return list(longest.values())


def _injected_parameters() -> list[str]:
    """The names that papermill's cell assigns, which it inserts after the parameters cell; none without papermill."""
    shell = get_ipython()
    history = shell.history_manager.input_hist_raw if shell else []
    injected = [cell for cell in history if cell.startswith("# Parameters\n")][-1:]
    assignments = [node for cell in injected for node in ast.parse(cell).body if isinstance(node, ast.Assign)]
    return [target.id for node in assignments for target in node.targets if isinstance(target, ast.Name)]


def _standard_datasets(profile: str) -> tuple[str, ...]:
    return ("digits",) if profile == "smoke" else ("mnist", "frey_face")


def _named(descriptions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} ({text})" for name, text in descriptions.items())
