"""The same runs under other readings of what the paper leaves open, and under other seeds; all at paper scale."""

from replication.config import RunConfig
from replication.experiments import Settings, figure2, figure3, manifolds

STEPSIZES = (0.01, 0.02, 0.1)  # the paper's: one of them per run, "based on performance on the training set"
SLOW = STEPSIZES[:2]  # with which wake-sleep does not diverge
SAMPLES_STEPSIZE = {2: 200_000, 3: 250_000}  # "in the first few iterations", per figure
INITIALISATIONS = ("paper_sd", "paper_variance", "fan_in")
PANELS = {"mnist": 20, "frey_face": 10}  # the latent dimension at which readings and seeds are compared
SAMPLES_GRID = 500_000
SAMPLES_LIKELIHOODS = 3_000_000
SAMPLES_PARTS = 1_000_000
SAMPLES_FIGURE_3 = 5_000_000  # where the paper's curves are all drawn
SEEDS = (1, 2)  # beside 0
# Wake-sleep in the authors' code: its encoder (anglepy, MLBN_Inverse), and 100 updates that only accumulate.
AUTHORS_WAKE_SLEEP = {"log_var_factor": 0.1, "warm_up_steps": 100}


def stepsizes(settings: Settings, figure: int = 2) -> list[RunConfig]:
    """The first iterations of every run of a figure (figure 4's with those of 2) with each of the paper's stepsizes."""
    runs = figure3(settings) if figure == 3 else figure2(settings) + manifolds(settings)
    return [
        run.replace(learning_rate=stepsize, samples_total=SAMPLES_STEPSIZE[figure])
        for run in dict.fromkeys(runs)
        for stepsize in STEPSIZES
    ]


def grid(settings: Settings) -> list[RunConfig]:
    """Initialisation x stepsize: one panel of figure 2 for each dataset, both algorithms."""
    return [
        run.replace(initialisation=initialisation, learning_rate=stepsize, samples_total=SAMPLES_GRID)
        for run in _panels(settings)
        for initialisation in INITIALISATIONS
        for stepsize in STEPSIZES
    ]


def likelihoods(settings: Settings) -> list[RunConfig]:
    """p(x|z) read in two ways: grey values or binarised targets; a variance per pixel or one for all."""
    other = {"mnist": {"targets": "binarised"}, "frey_face": {"pixel_variance": "shared"}}
    return [
        run.replace(samples_total=SAMPLES_LIKELIHOODS, **reading)
        for run in _panels(settings)
        if run.algorithm == "aevb"
        for reading in ({}, other[run.dataset])
    ]


def of_mnist(settings: Settings) -> dict[str, list[RunConfig]]:
    """Other readings of the runs of figure 2 on MNIST that stay below the paper, by name."""
    in_code = {f"authors' code, {stepsize}": authors_wake_sleep(settings, "mnist", stepsize) for stepsize in SLOW}
    starts = {initialisation: other_starts(settings, initialisation) for initialisation in INITIALISATIONS[1:]}
    return {**in_code, **starts, "mean dreams": mean_dreams(settings)}


def other_starts(settings: Settings, initialisation: str) -> list[RunConfig]:
    """The runs of figure 2 on MNIST that stay below the paper, with another initialisation.

    With the slow stepsizes: the paper's rule chooses between them.
    """
    behind = _of(settings, "mnist", "wake_sleep") + [run for run in _of(settings, "mnist", "aevb") if run.n_latent == 3]
    return [run.replace(learning_rate=stepsize, initialisation=initialisation) for run in behind for stepsize in SLOW]


def authors_wake_sleep(settings: Settings, dataset: str, stepsize: float) -> list[RunConfig]:
    """Wake-sleep of figure 2 as the authors' code has it."""
    return [run.replace(learning_rate=stepsize, **AUTHORS_WAKE_SLEEP) for run in _of(settings, dataset, "wake_sleep")]


def parts_of_authors_wake_sleep(settings: Settings, dataset: str) -> list[RunConfig]:
    """Wake-sleep with the most latent variables of a dataset: with neither, each and both of AUTHORS_WAKE_SLEEP."""
    each = [{name: value} for name, value in AUTHORS_WAKE_SLEEP.items()]
    return [
        run.replace(learning_rate=stepsize, samples_total=SAMPLES_PARTS, **part)
        for run in _of(settings, dataset, "wake_sleep")[-1:]
        for part in ({}, *each, AUTHORS_WAKE_SLEEP)
        for stepsize in SLOW
    ]


def mean_dreams(settings: Settings) -> list[RunConfig]:
    """Wake-sleep on MNIST whose encoder sleeps on the mean of p(x|z), grey as the data are."""
    return [run.replace(dreams="mean") for run in _of(settings, "mnist", "wake_sleep")]


def shared_variance(settings: Settings) -> list[RunConfig]:
    """AEVB on Frey Face with one variance for all pixels."""
    return [run.replace(pixel_variance="shared") for run in _of(settings, "frey_face", "aevb")]


def figure3_readings(settings: Settings) -> list[RunConfig]:
    """The runs of figure 3 with the other stepsizes, and with the initialisation of the authors' code."""
    runs = figure3(settings)
    readings = [{"learning_rate": stepsize} for stepsize in STEPSIZES]
    readings.append({"learning_rate": 0.02, "initialisation": "fan_in"})
    others = (run.replace(samples_total=SAMPLES_FIGURE_3, **reading) for reading in readings for run in runs)
    return [other for other in others if other.run_id not in {run.run_id for run in runs}]


def seeds(settings: Settings) -> list[RunConfig]:
    """One panel of figure 2 for each dataset, both algorithms, with the other seeds."""
    return [run.replace(seed=seed) for run in _panels(settings) for seed in SEEDS]


def _panels(settings: Settings) -> list[RunConfig]:
    return [run for run in figure2(settings) if PANELS.get(run.dataset) == run.n_latent]


def _of(settings: Settings, dataset: str, algorithm: str) -> list[RunConfig]:
    return [run for run in figure2(settings) if (run.dataset, run.algorithm) == (dataset, algorithm)]
