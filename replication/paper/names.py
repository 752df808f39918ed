"""What datasets, algorithms, estimators and figures are called in text and pictures."""

import re
import textwrap
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pandas as pd

from replication.config import LEFT_OUT_OF_NAMES

DATASETS = {"mnist": "MNIST", "frey_face": "Frey Face", "digits": "Digits (not MNIST)"}
ALGORITHMS = {"aevb": "AEVB", "wake_sleep": "wake-sleep", "mcem": "Monte Carlo EM", "full_vb": "full VB"}
ESTIMATORS = {
    "sgvb_b": "SGVB B",
    "sgvb_a": "SGVB A",
    "score_function": "score function",
    "score_function_baseline": "score function, baseline",
}
FIGURES = {"bound": "Figure 2: the lower bound [nats]", "log_px": "Figure 3: log p(x) [nats]"}
SYMBOLS = {"bound": "Nz", "log_px": "N"}

WIDTH = 78  # columns of a line of text
CONTINUED = re.compile(r"  (\S[^\s-]*-?)")

CHOICES: dict[str, str | dict[str, str]] = {  # a setting of a run and its value in words
    "estimator": ESTIMATORS,
    "batch_size": "M = {}",
    "n_mc_samples": "L = {}",
    "learning_rate": "learning rate {}",
    "preparation": {"authors": "the authors' images and split"},
    "initialisation": {
        "paper_variance": "N(0, 0.01) as a variance",
        "fan_in": "start of the authors' newest code",
        "near_zero": "start of the authors' code of April 2014",
    },
    "hidden_units": {"softplus": "softplus units"},
    "targets": {"binarised": "binary targets"},
    "pixel_variance": {"shared": "one variance for all pixels"},
    "dreams": {"mean": "mean dreams"},
    "log_var_factor": "encoder's log variance at {}",
    "decoder_log_var_factor": "decoder's log variance at {}",
    "warm_up_steps": "{} warm-up steps",
    "weight_prior": "precision {} of the weights' prior",
    "prior_on": {"authors": "the authors' choice of weights with a prior"},
    "weight_noise": {"local": "noise on the units' inputs"},
    "samples_counted": {"all_passes": "leapfrog steps count"},
    "metric": {"log_px": "log p(x)"},
    "n_evaluated": "log p(x) on {} datapoints",
    "seed": "seed {}",
}


def choice(settings: Mapping[str, Any]) -> str:
    """In which settings a run differs from the paper's words, as a reader says it."""
    words = [setting(name, value) for name, value in settings.items() if value != LEFT_OUT_OF_NAMES[name]]
    return ", ".join(words) or "the text"


def setting(name: str, value: Any) -> str:
    """A setting that departs from the paper's words, as a reader says it."""
    said = CHOICES[name]
    return said.format(value) if isinstance(said, str) else said[value]


def warm_up(steps: int) -> str:
    """How many steps move no weight, as a reader says it."""
    return setting("warm_up_steps", steps) if steps else "no warm-up"


def panel(metric: str, dataset: str, size: int) -> str:
    """A panel of figure 2 or 3, such as "MNIST, Nz = 20"."""
    return f"{DATASETS[dataset]}, {SYMBOLS[metric]} = {size}"


def scientific(samples: float) -> str:
    """A number of samples as a reader writes it, to three digits: 3000000 as 3e6; nothing where there is none."""
    if samples != samples:
        return ""
    mantissa, _, exponent = f"{samples:.2e}".partition("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def range_in_words(low: float, high: float, write: Callable[[float], str]) -> str:
    """Two numbers as "low to high", or as one where they read the same."""
    return write(low) if write(low) == write(high) else f"{write(low)} to {write(high)}"


def markdown(table: pd.DataFrame) -> str:
    """A table of text as Markdown, without its index."""
    return table.to_markdown(index=False, disable_numparse=True)


def in_lines(sentences: Iterable[str]) -> str:
    """Sentences below each other, none wider than a terminal."""
    return "\n".join(textwrap.fill(sentence, WIDTH, subsequent_indent="  ") for sentence in sentences)


def one_per_line(text: str) -> str:
    """The inverse of `in_lines`, for a page that breaks lines at its own width; other lines stay as they are."""
    above, *others = text.split("\n")
    joined = above
    for line in others:
        part = CONTINUED.match(line)  # it stands on a line of its own only where it had no room above
        if part and len(above) + (not above.endswith("-")) + len(part[1]) > WIDTH:
            joined += line[2:] if above.endswith("-") else line[1:]
        else:
            joined += f"\n{line}"
        above = line
    return joined
