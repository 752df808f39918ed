"""What datasets, algorithms, estimators and figures are called in text and pictures."""

DATASETS = {"mnist": "MNIST", "frey_face": "Frey Face", "digits": "Digits, not MNIST"}
ALGORITHMS = {"aevb": "AEVB", "wake_sleep": "wake-sleep", "mcem": "Monte Carlo EM", "full_vb": "full VB"}
ESTIMATORS = {
    "sgvb_b": "SGVB B",
    "sgvb_a": "SGVB A",
    "score_function": "score function",
    "score_function_baseline": "score function, control variate",
}
FIGURES = {2: "Figure 2: the lower bound [nats]", 3: "Figure 3: log p(x) [nats]"}
SYMBOLS = {"n_latent": "Nz", "n_train": "N"}


def panel(dataset: str, size: str, value: int) -> str:
    """A panel of figure 2 or 3, such as "MNIST, Nz = 20"; `size` is the setting that tells a dataset's panels apart."""
    return f"{DATASETS[dataset]}, {SYMBOLS[size]} = {value}"


def scientific(samples: float) -> str:
    """A number of samples as a reader writes it: 3000000 as 3e6; nothing where there is none."""
    return "" if samples != samples else f"{samples:.0e}".replace("e+0", "e").replace("e+", "e")
