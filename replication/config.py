"""One training run as a value: a frozen, validated, documented choice of everything that decides its numbers."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from replication.errors import ReplicationError

N_MCEM_LEAPFROG, N_MCEM_UPDATES = 10, 5  # leapfrog steps to a sample of z, and weight updates with it (section 5)
# How often a step of Monte Carlo EM counts each of N datapoints, by `samples_counted`.
MCEM_PASSES = {"updates": N_MCEM_UPDATES, "all_passes": N_MCEM_LEAPFROG + N_MCEM_UPDATES}

# A run's name tells only what differs from these values. They never change, whatever the defaults become: a changed
# value would give the records of one configuration to another. A new setting enters with the value that acts as before.
LEFT_OUT_OF_NAMES = {
    "estimator": "sgvb_b",
    "batch_size": 100,
    "n_mc_samples": 1,
    "learning_rate": 0.01,
    "warm_up_steps": 0,
    "preparation": "own",
    "initialisation": "paper_sd",
    "hidden_units": "tanh",
    "targets": "grey",
    "pixel_variance": "per_pixel",
    "dreams": "sampled",
    "log_var_factor": 1.0,
    "decoder_log_var_factor": 1.0,
    "weight_prior": 1.0,
    "prior_on": "matrices",
    "weight_noise": "shared",
    "samples_counted": "updates",
    "metric": "bound",
    "n_evaluated": 1000,
    "seed": 0,
}

# The algorithms that use a setting, where not all do. With the others it must keep its default: another value would
# give another name to the same numbers.
USED_BY = {
    "hidden_units": ("aevb", "wake_sleep", "mcem"),
    "estimator": ("aevb",),
    "n_mc_samples": ("aevb", "wake_sleep", "full_vb"),
    "dreams": ("wake_sleep",),
    "log_var_factor": ("wake_sleep",),
    "decoder_log_var_factor": ("wake_sleep",),
    "weight_prior": ("aevb", "wake_sleep", "mcem"),
    "prior_on": ("aevb", "wake_sleep", "mcem"),
    "weight_noise": ("full_vb",),
    "samples_counted": ("mcem",),
}

# The warm-up of the authors' code of 28 April 2014. Parameters move from the 102nd step on: the test is "more than 100
# steps before". A step of Monte Carlo EM has 5 updates, and its parameters move from the 11th update on.
WARM_UP_STEPS = {"aevb": 101, "wake_sleep": 101, "mcem": 2}

MAX_N_LATENT_LOG_PX = 32  # the modes of p(z|x) are searched for on a grid, and numpy's arrays have so many axes
MAX_SIZE = 100_000  # of a network, a minibatch, a number of draws: beyond it no machine has the memory


class DatasetFacts(NamedTuple):
    """What a run needs to know of a dataset before it is loaded."""

    n_train: int
    image_shape: tuple[int, int]
    likelihood: str

    @property
    def n_pixels(self) -> int:
        """The dimensionality of x."""
        return self.image_shape[0] * self.image_shape[1]


DATASETS = {
    "mnist": DatasetFacts(50_000, (28, 28), "bernoulli"),
    "frey_face": DatasetFacts(1565, (28, 20), "gaussian"),
    "digits": DatasetFacts(1500, (8, 8), "bernoulli"),
}


class ConfigError(ReplicationError, ValueError):
    """A setting is unknown, of the wrong type or out of range."""


class IncompatibleError(ConfigError):
    """Each setting is possible, but not together with the others."""

    def __init__(self, reason: str):
        super().__init__(f"This run cannot be configured:\n  config: {reason}")
        self.reason = reason


class RunConfig(BaseModel):
    """Everything that decides a run's numbers; `samples_total` alone says how far it goes.

    Raises ConfigError for an unknown name, a wrong type or a value out of range; IncompatibleError where one setting
    forbids another.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    dataset: Literal["mnist", "frey_face", "digits"] = Field(description="observed variables x")
    algorithm: Literal["aevb", "wake_sleep", "mcem", "full_vb"] = Field(
        description="how encoder and decoder are learned"
    )
    preparation: Literal["own", "authors"] = Field(
        "own", description="MNIST over 255 and a split of Frey Face of our own; or the authors': over 256, their split"
    )
    n_latent: int = Field(gt=0, le=MAX_SIZE, description="dimensionality of z")
    n_hidden: int = Field(gt=0, le=MAX_SIZE, description="units in the one hidden layer of encoder and decoder")
    samples_total: int = Field(
        gt=0, le=10**12, description="training samples to evaluate; not part of the run's identity"
    )
    # One has no standard error.
    n_train: int = Field(gt=1, description="N, the first datapoints of the training set; all of them by default")
    estimator: Literal["sgvb_b", "sgvb_a", "score_function", "score_function_baseline"] = Field(
        "sgvb_b", description="estimator of the lower bound's gradient, for AEVB"
    )
    batch_size: int = Field(100, gt=0, le=MAX_SIZE, description="M, datapoints per minibatch")
    n_mc_samples: int = Field(1, gt=0, le=MAX_SIZE, description="L, samples of z per datapoint")
    learning_rate: float = Field(0.01, gt=0, description="Adagrad's learning rate, the paper's global stepsize")
    warm_up_steps: int = Field(
        0,
        ge=0,
        lt=2**31,
        description="first steps that only fill Adagrad's accumulator; 101 under the authors' warm-up of 100",
    )
    initialisation: Literal["paper_sd", "paper_variance", "near_zero", "fan_in"] = Field(
        "paper_sd",
        description="N(0, 0.01) read as s.d. 0.01, as variance 0.01, as the authors' code of April 2014 (s.d. 0.01, "
        "but zeros for the head of the encoder's log variance and, under AEVB, for the decoder's output biases), or as "
        "their newest code",
    )
    hidden_units: Literal["tanh", "softplus"] = Field(
        "tanh",
        description="hidden units of encoder and decoder: tanh as the paper says, or softplus, the default of "
        "wake-sleep's models in a state of the authors' code (anglepy b4f71a5)",
    )
    targets: Literal["grey", "binarised"] = Field(
        "grey", description="Bernoulli targets: grey values as they are, or drawn anew from them for every minibatch"
    )
    pixel_variance: Literal["per_pixel", "shared"] = Field(
        "per_pixel", description="Gaussian p(x|z): a variance for each pixel, or one for all; both functions of z"
    )
    dreams: Literal["sampled", "mean"] = Field(
        "sampled", description="wake-sleep: what the encoder sleeps on, draws from p(x|z) (authors' code) or its mean"
    )
    log_var_factor: float = Field(
        1.0, gt=0, description="wake-sleep: factor on the weights of q(z|x)'s log variance; 0.1 in the authors' code"
    )
    decoder_log_var_factor: float = Field(
        1.0, gt=0, description="wake-sleep: factor on the weights of a Gaussian p(x|z)'s log variance"
    )
    weight_prior: float = Field(
        1.0, ge=0, description="precision of the Gaussian prior on what prior_on names; 0 is none"
    )
    prior_on: Literal["matrices", "authors"] = Field(
        "matrices", description="what that prior is on: all weight matrices, or as in the authors' code of April 2014"
    )
    weight_noise: Literal["shared", "local"] = Field(
        "shared", description="full VB: one draw of the weights per step, or noise per datapoint on the units' inputs"
    )
    samples_counted: Literal["updates", "all_passes"] = Field(
        "updates",
        description="Monte Carlo EM: the training samples that a step counts as evaluated, in its 5 updates of the "
        "weights (5 N), or in its 10 leapfrog steps as well (15 N)",
    )
    metric: Literal["bound", "log_px"] = Field("bound", description="what the curve shows: the bound, or log p(x)")
    n_evaluated: int = Field(
        1000, gt=1, le=MAX_SIZE, description="the first datapoints of each split that log p(x) is estimated on"
    )
    seed: int = Field(0, ge=0, lt=2**31, description="seed of initialisation, minibatches and noise")

    def __init__(self, /, **settings: Any):
        try:
            super().__init__(**settings)
        except ValidationError as error:
            if not error.errors()[0]["loc"]:  # pydantic compares the settings only when each of them is valid
                raise IncompatibleError(_explain(error.errors()[0])) from None
            problems = [f"  {'.'.join(map(str, e['loc']))}: {_explain(e)}" for e in error.errors()]
            raise ConfigError("This run cannot be configured:\n" + "\n".join(problems)) from None

    @field_validator("*", mode="before")
    @classmethod
    def _numbers_are_numbers(cls, value: Any, info: Any) -> Any:
        is_number = cls.model_fields[info.field_name].annotation in (int, float)
        if is_number and isinstance(value, str | bool):
            raise ValueError(f"{value!r} is not a number. YAML reads 1e-4 as text: write 1.0e-4.")
        return value

    @model_validator(mode="before")
    @classmethod
    def _train_on_all_by_default(cls, settings: dict) -> dict:
        return (
            {"n_train": DATASETS[settings["dataset"]].n_train, **settings}
            if settings.get("dataset") in DATASETS
            else settings
        )

    @model_validator(mode="after")
    def _sizes_fit(self) -> "RunConfig":
        available = self.facts.n_train
        if self.n_train > available:
            raise ValueError(f"n_train = {self.n_train}, but {self.dataset} has {available} training datapoints.")
        for name, algorithms in USED_BY.items():
            if self._is_changed(name) and self.algorithm not in algorithms:
                users, default = ", ".join(algorithms), type(self).model_fields[name].default
                raise ValueError(f"{self.algorithm} does not use {name}, only {users}: leave it at {default!r}.")
        if self.estimator == "score_function_baseline" and self.n_mc_samples < 2:
            raise ValueError("score_function_baseline needs n_mc_samples of at least 2.")
        if self.targets == "binarised" and self.facts.likelihood != "bernoulli":
            raise ValueError(f"{self.dataset} has a Gaussian likelihood: there is nothing to binarise.")
        if self.pixel_variance == "shared" and self.facts.likelihood != "gaussian":
            raise ValueError(f"{self.dataset} has a Bernoulli likelihood, which has no variance to share.")
        if self.preparation == "authors" and self.dataset == "digits":
            raise ValueError("digits have one preparation: the authors did not use them.")
        if self.prior_on != "matrices" and self.weight_prior == 0:
            raise ValueError("weight_prior = 0 is no prior: leave prior_on at 'matrices'.")
        if self._is_changed("decoder_log_var_factor") and self.facts.likelihood != "gaussian":
            raise ValueError(f"{self.dataset} has a Bernoulli likelihood, which has no decoder_log_var_factor.")
        if self._is_changed("n_evaluated") and self.metric != "log_px":
            raise ValueError("The bound is evaluated on all datapoints: leave out n_evaluated, or set metric = log_px.")
        if self.metric == "log_px" and self.n_latent > MAX_N_LATENT_LOG_PX:
            raise ValueError(
                f"log p(x) is estimated with up to {MAX_N_LATENT_LOG_PX} latent variables: lower n_latent."
            )
        if self.algorithm == "full_vb" and self.metric != "bound":
            raise ValueError("full_vb has no single decoder, so no log p(x): set metric = bound.")
        if self.algorithm == "mcem" and (self.batch_size != self.n_train or self.metric != "log_px"):
            raise ValueError("mcem has no minibatches and no bound: set batch_size = n_train and metric = log_px.")
        return self

    def _is_changed(self, name: str) -> bool:
        return getattr(self, name) != type(self).model_fields[name].default

    @property
    def samples_per_step(self) -> int:
        """How many training samples one step of the algorithm evaluates."""
        return self.batch_size * (MCEM_PASSES[self.samples_counted] if self.algorithm == "mcem" else 1)

    @property
    def facts(self) -> DatasetFacts:
        """Size and likelihood of the dataset."""
        return DATASETS[self.dataset]

    @property
    def identity(self) -> dict[str, Any]:
        """Every setting but the length: what makes it this run and no other."""
        return self.model_dump(exclude={"samples_total"})

    @property
    def run_id(self) -> str:
        """Readable and unique; a setting added later leaves existing names as they are, a changed default does not."""
        unnamed = LEFT_OUT_OF_NAMES.items()
        settings = {name: value for name, value in self.identity.items() if (name, value) not in unnamed}
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
        algorithm = self.algorithm.replace("_", "-")
        dataset = self.dataset.replace("_", "-")
        return f"{dataset}-{algorithm}-z{self.n_latent}-h{self.n_hidden}-n{self.n_train}-s{self.seed}-{digest}"

    def differences(self, stored: Mapping[str, Any]) -> str:
        """How stored settings differ from this run's, its length aside, as text; empty where they do not.

        Settings that did not exist yet when they were stored had the values of LEFT_OUT_OF_NAMES.
        """
        before, now = {**LEFT_OUT_OF_NAMES, **stored}, self.identity
        names = [name for name in {**now, **before} if name != "samples_total"]
        return ", ".join(
            f"{name} = {before.get(name)!r} instead of {now.get(name)!r}"
            for name in names
            if before.get(name) != now.get(name)
        )

    def replace(self, /, **changes: Any) -> "RunConfig":
        """The same run with some settings changed, validated anew."""
        return RunConfig(**{**self.model_dump(), **changes})


def authors_of_2014(algorithm: str) -> dict[str, Any]:
    """What the paper's graphics and its authors' code of 28 April 2014 tell of each run of an algorithm.

    That code is three days older than the version of the paper that is replicated.
    """
    return {
        "preparation": "authors",
        "initialisation": "near_zero",
        "prior_on": "authors",
        "warm_up_steps": WARM_UP_STEPS[algorithm],
    }


def _explain(error: Mapping[str, Any]) -> str:
    if error["type"] == "extra_forbidden":
        return f"unknown setting; the settings are {', '.join(RunConfig.model_fields)}"
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    return f"{error['msg']}, not {error['input']!r}"
