"""The paper's experiments as lists of runs: for each figure and profile, only what differs from the defaults."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from replication.config import DATASETS, ConfigError, RunConfig

PROFILES = {
    "smoke": "seconds, on scikit-learn's digits",
    "quick": "every figure from scratch in minutes",
    "paper": "the paper's full scale, resumable",
}
SAMPLES_FIGURE_2 = {
    "smoke": {"digits": 200_000},
    "quick": {"mnist": 300_000, "frey_face": 1_000_000, "digits": 2_000_000},
    "paper": {"mnist": 10**8, "frey_face": 10**8, "digits": 10**7},
}
MANIFOLD_SIDES = {"mnist": 20, "frey_face": 10, "digits": 20}  # images along a side of figure 4
N_LATENT_FIGURE_5 = (2, 5, 10, 20)
N_LATENT_FIGURE_2 = {"mnist": (3, 5, 10, 20, 200), "frey_face": (2, 5, 10, 20), "digits": (3, 5, 10, 20, 200)}
SAMPLES_FIGURE_3 = {"smoke": 100_000, "quick": 500_000, "paper": 6 * 10**7}
N_TRAIN_FIGURE_3 = {"mnist": (1000, 50_000), "digits": (200, 1500)}
# Gradient variance: after so many samples, for (M, L), from so many pairs of gradients.
MARKS_VARIANCE = {"smoke": (0, 20_000), "quick": (0, 100_000), "paper": (0, 10**5, 10**6)}
FEW_SIZES = ((100, 1), (100, 2), (100, 4), (10, 1), (30, 1))
SIZES_VARIANCE = {
    "smoke": FEW_SIZES,
    "quick": FEW_SIZES,
    "paper": ((100, 1), (100, 2), (100, 4), (100, 8), (10, 1), (30, 1), (300, 1), (1000, 1)),
}
N_PAIRS_VARIANCE = {"smoke": 10, "quick": 10, "paper": 50}
SAMPLES_ESTIMATORS = {"smoke": 100_000, "quick": 100_000, "paper": 10**6}
SAMPLES_MINIBATCHES = {"smoke": 100_000, "quick": 100_000, "paper": 300_000}
SAMPLES_FULL_VB = {"smoke": 20_000, "quick": 100_000, "paper": 3 * 10**6}
N_TRAIN_FULL_VB = {"mnist": (100, 1000, 10_000, 50_000), "digits": (100, 1500)}
# As `readings.chosen_learning_rates` chooses from the recorded first iterations; 0.01 for runs that are not named.
N_LATENT_FASTER = {("mnist", "aevb"): (2, 3, 5, 10, 20), ("frey_face", "wake_sleep"): (2, 5, 10, 20)}
SLOWER_FIGURE_3 = {(50_000, "wake_sleep")}  # 0.02 there, 0.1 for every other run of figure 3, by the same rule
N_HIDDEN = {"mnist": 500, "frey_face": 200, "digits": 100}


class Settings(NamedTuple):
    """What a notebook can be told: see `settings`."""

    profile: str
    seed: int
    datasets: tuple[str, ...]
    overrides: Mapping[str, Any]

    @property
    def figure_suffix(self) -> str:
        """Tells figures of other datasets, another seed or a changed assumption apart from the standard ones."""
        changes = {} if self.datasets == _standard_datasets(self.profile) else {"datasets": "+".join(self.datasets)}
        changes |= ({"seed": self.seed} if self.seed else {}) | dict(self.overrides)
        return "".join(f"-{name}={value}" for name, value in changes.items())


def settings(
    profile: str, seed: int = 0, datasets: str | Sequence[str] | None = None, overrides: Mapping[str, Any] | None = None
) -> Settings:
    """Validated settings; `datasets` as a list or comma-separated, `overrides` maps RunConfig fields to values.

    Raises ConfigError for an unknown profile or dataset; a wrong override is refused when the runs are made.
    """
    if profile not in PROFILES:
        raise ConfigError(f"Unknown profile {profile!r}. The profiles are {_named(PROFILES)}.")
    if datasets is None:
        datasets = _standard_datasets(profile)
    names = tuple(name.strip() for name in datasets.split(",")) if isinstance(datasets, str) else tuple(datasets)
    if not names or (unknown := [name for name in names if name not in DATASETS]):
        raise ConfigError(f"Unknown dataset {unknown[0] if names else ''!r}. The datasets are {', '.join(DATASETS)}.")
    if missing := [name for name in names if name not in SAMPLES_FIGURE_2[profile]]:
        raise ConfigError(f"Profile {profile} does not run on {missing[0]}: choose another profile or dataset.")
    return Settings(profile, seed, names, overrides or {})


def settings_of_notebook(namespace: Mapping[str, Any]) -> Settings:
    """The settings among a notebook's variables, to be called in the cell after the parameters.

    papermill only warns of a parameter that the notebook does not know; here it raises ConfigError.
    """
    hidden = namespace["get_ipython"]().user_ns_hidden if "get_ipython" in namespace else {}
    given = {
        name: value
        for name, value in namespace.items()
        if not name.startswith("_") and name not in hidden and _could_be_a_parameter(value)
    }
    if unknown := given.keys() - set(Settings._fields):
        raise ConfigError(
            f"Unknown notebook parameter {', '.join(sorted(unknown))}. "
            f"The parameters are {', '.join(Settings._fields)}; "
            "to change a setting of the runs: -y 'overrides: {initialisation: fan_in}'."
        )
    return settings(**given)


def figure2(settings: Settings) -> list[RunConfig]:
    """Lower bound against training samples: AEVB and wake-sleep for each dataset and latent dimension."""
    n_latents = {"digits": (3, 20)} if settings.profile == "smoke" else N_LATENT_FIGURE_2
    return [
        _bound_run(settings, dataset, algorithm, n_latent)
        for dataset in settings.datasets
        for n_latent in n_latents[dataset]
        for algorithm in ("aevb", "wake_sleep")
    ]


def manifolds(settings: Settings) -> list[RunConfig]:
    """Figure 4: AEVB with a 2-D latent space, for each dataset."""
    return [_bound_run(settings, dataset, "aevb", 2) for dataset in settings.datasets]


def samples(settings: Settings) -> list[RunConfig]:
    """Figure 5: AEVB on digits with 2 to 20 latent dimensions."""
    n_latents = (2, 20) if settings.profile == "smoke" else N_LATENT_FIGURE_5
    return [
        _bound_run(settings, dataset, "aevb", n_latent)
        for dataset in settings.datasets
        if dataset != "frey_face"
        for n_latent in n_latents
    ]


def decoded(settings: Settings) -> list[RunConfig]:
    """Every run whose weights a notebook decodes: all of AEVB in figures 2, 4 and 5."""
    runs = [*manifolds(settings), *samples(settings), *figure2(settings)]
    return sorted({run for run in runs if run.algorithm == "aevb"}, key=lambda run: (run.dataset, run.n_latent))


def figure3(settings: Settings) -> list[RunConfig]:
    """Marginal likelihood against training samples: AEVB, wake-sleep and MCEM, few and many training datapoints.

    Only on images with a Bernoulli likelihood, as in the paper: 100 hidden units, 3 latent variables.
    """
    return [
        _run(
            settings,
            dataset=dataset,
            algorithm=algorithm,
            n_latent=3,
            n_hidden=100,
            n_train=n_train,
            metric="log_px",
            samples_total=SAMPLES_FIGURE_3[settings.profile],
            learning_rate=0.02 if (n_train, algorithm) in SLOWER_FIGURE_3 else 0.1,
            **({"batch_size": n_train} if algorithm == "mcem" else {}),
        )
        for dataset in settings.datasets
        for n_train in N_TRAIN_FIGURE_3.get(dataset, ())
        for algorithm in ("aevb", "wake_sleep", "mcem")
    ]


def estimators(settings: Settings) -> list[RunConfig]:
    """AEVB with each estimator of the gradient; the baseline of the score function needs a second sample."""
    return [
        run.replace(estimator=name, n_mc_samples=2 if name == "score_function_baseline" else 1)
        for run in _one_large_model(settings, SAMPLES_ESTIMATORS[settings.profile])
        for name in ("sgvb_b", "sgvb_a", "score_function_baseline", "score_function")
    ]


def minibatches(settings: Settings) -> list[RunConfig]:
    """AEVB with M datapoints per minibatch and L samples each."""
    return [
        run.replace(batch_size=m, n_mc_samples=n)
        for run in _one_large_model(settings, SAMPLES_MINIBATCHES[settings.profile])
        for m in ((20, 100) if settings.profile == "smoke" else (20, 100, 500))
        for n in (1, 5)
    ]


def _one_large_model(settings: Settings, samples: int) -> list[RunConfig]:
    n_latent = 20
    return [
        _bound_run(settings, dataset, "aevb", n_latent).replace(samples_total=samples, learning_rate=0.01)
        for dataset in settings.datasets
        if dataset != "frey_face"
    ]


def full_vb(settings: Settings) -> list[RunConfig]:
    """Appendix F against MAP: AEVB with a point estimate and with a posterior of the decoder's weights."""
    return [
        _run(
            settings,
            dataset=dataset,
            algorithm=algorithm,
            n_latent=n_latent,
            n_hidden=100,
            n_train=n_train,
            learning_rate=0.1,
            samples_total=SAMPLES_FULL_VB[settings.profile],
            **({"weight_noise": "local"} if algorithm == "full_vb" else {}),
        )
        for dataset in settings.datasets
        for n_train in N_TRAIN_FULL_VB.get(dataset, ())
        for n_latent in ((3, 10) if settings.profile == "paper" else (3,))
        for algorithm in ("aevb", "full_vb")
    ]


def all_runs(settings: Settings) -> list[RunConfig]:
    """Every run of a profile, each once and as far as the experiment that wants most of it."""
    lists = (figure2, figure3, decoded, estimators, minibatches, full_vb)
    longest = {}
    for run in (run for runs in lists for run in runs(settings)):
        known = longest.setdefault(run.run_id, run)
        longest[run.run_id] = max(known, run, key=lambda candidate: candidate.samples_total)
    return list(longest.values())


def _bound_run(settings: Settings, dataset: str, algorithm: str, n_latent: int) -> RunConfig:
    return _run(
        settings,
        dataset=dataset,
        algorithm=algorithm,
        n_latent=n_latent,
        n_hidden=N_HIDDEN[dataset],
        learning_rate=0.02 if n_latent in N_LATENT_FASTER.get((dataset, algorithm), ()) else 0.01,
        samples_total=SAMPLES_FIGURE_2[settings.profile][dataset],
    )


def _run(settings: Settings, **choices: Any) -> RunConfig:
    return RunConfig(**{"seed": settings.seed, **choices, **settings.overrides})


def _standard_datasets(profile: str) -> tuple[str, ...]:
    return ("digits",) if profile == "smoke" else ("mnist", "frey_face")


def _could_be_a_parameter(value: Any) -> bool:
    """papermill injects text, numbers, None, and lists and dicts of these; a notebook's own results are others."""
    if isinstance(value, dict):
        return all(_could_be_a_parameter(item) for item in value.values())
    if isinstance(value, list):
        return all(_could_be_a_parameter(item) for item in value)
    return value is None or isinstance(value, str | int | float)


def _named(descriptions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} ({text})" for name, text in descriptions.items())
