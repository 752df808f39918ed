"""What a profile does: how far each experiment is trained, and what it varies."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

PROFILES = {
    "smoke": "the smallest batch, on scikit-learn's digits",
    "quick": "every figure from scratch in minutes",
    "paper": "the paper's full scale, resumable",
}
N_LATENT_FIGURE_2 = {"mnist": (3, 5, 10, 20, 200), "frey_face": (2, 5, 10, 20), "digits": (3, 5, 10, 20, 200)}


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
    figure3_n_evaluated: int = 1000  # datapoints of each split (section 5 of the paper)
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
        figure3_n_evaluated=50,
        estimators_samples=100_000,
        minibatches_samples=100_000,
        full_vb_samples=100_000,
        variance_points=(0, 100_000),
        variance_sizes=((100, 1), (100, 2)),
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


def standard_datasets(profile: str) -> tuple[str, ...]:
    """The datasets of a profile where none are asked for."""
    return ("digits",) if profile == "smoke" else ("mnist", "frey_face")
