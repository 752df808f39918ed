"""A referee's recount with numpy alone: nothing of the package is used, only what is stored.

`python tests/independent.py` prints, for each reading, how many of the paper's 48 curves are within, above, below, too
short and not run at the right edge, within by the narrower tolerance, all along and beyond FIT_UNTIL, and the mean
distance, from curve.csv; and the bounds on test of three models, from their shipped weights and the images.
"""

import csv
import gzip
import json
import os
import sys
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

DATA = Path(__file__).resolve().parent.parent / "data"
TOLERANCES = {(2, "mnist"): 2.0, (3, "mnist"): 2.5, (2, "frey_face"): 0.05 * (1487.19 - 320.85)}
BOTTOM = {(2, "mnist"): -150, (2, "frey_face"): 0, (3, "mnist"): -160}  # of the axes
NARROW = TOLERANCES | {(2, "frey_face"): 2.0 / (149.91 - 97.03) * (1487.19 - 320.85)}
FIT_UNTIL = {2: 3e6, 3: 5e6}
PLAIN = {"learning_rate": 0.01, "batch_size": 100, "initialisation": "paper_sd", "log_var_factor": 1.0,
         "warm_up_steps": 0, "decoder_log_var_factor": 1.0, "dreams": "sampled", "pixel_variance": "per_pixel",
         "targets": "grey", "estimator": "sgvb_b", "n_mc_samples": 1, "weight_prior": 1.0, "preparation": "own",
         "prior_on": "matrices", "hidden_units": "tanh", "samples_counted": "updates"}  # fmt: skip
# What each reading sets, written down a second time.
TEXT = {
    **{(2, "mnist", "aevb", n): {"learning_rate": 0.02} for n in (3, 5, 10, 20)},
    (2, "mnist", "aevb", 200): {},
    (2, "mnist", "wake_sleep"): {},
    (2, "frey_face", "aevb"): {},
    (2, "frey_face", "wake_sleep"): {"learning_rate": 0.02},
    (3, "mnist", "aevb"): {"learning_rate": 0.1},
    (3, "mnist", "wake_sleep", 1000): {"learning_rate": 0.1},
    (3, "mnist", "wake_sleep", 50_000): {"learning_rate": 0.02},
    (3, "mnist", "mcem"): {"learning_rate": 0.1},
}
OF_2014 = {"preparation": "authors", "initialisation": "near_zero", "prior_on": "authors", "warm_up_steps": 101}
AUTHORS = {
    (2, "mnist", "aevb"): OF_2014 | {"learning_rate": 0.02},
    (2, "mnist", "wake_sleep"): OF_2014 | {"learning_rate": 0.02, "log_var_factor": 0.1},
    (2, "frey_face", "aevb"): OF_2014 | {"learning_rate": 0.02, "batch_size": 500, "hidden_units": "softplus"},
    (2, "frey_face", "wake_sleep"): OF_2014 | {"learning_rate": 0.02, "batch_size": 500, "log_var_factor": 0.1,
                                               "hidden_units": "softplus"},
    (3, "mnist", "aevb", 1000): OF_2014 | {"learning_rate": 0.1},
    (3, "mnist", "aevb", 50_000): OF_2014 | {"learning_rate": 0.02},
    (3, "mnist", "wake_sleep", 1000): OF_2014 | {"learning_rate": 0.1, "log_var_factor": 0.1},
    (3, "mnist", "wake_sleep", 50_000): OF_2014 | {"learning_rate": 0.02, "log_var_factor": 0.1, "warm_up_steps": 0},
    (3, "mnist", "mcem", 1000): OF_2014 | {"learning_rate": 0.1, "warm_up_steps": 0, "samples_counted": "all_passes"},
    (3, "mnist", "mcem", 50_000): OF_2014 | {"learning_rate": 0.1, "warm_up_steps": 2, "samples_counted": "all_passes"},
}  # fmt: skip
READINGS = {"authors": AUTHORS, "text": TEXT}
SIZE, N_HIDDEN = {2: "n_latent", 3: "n_train"}, {"mnist": 500, "frey_face": 200}
MODELS = (("authors", "mnist", 5), ("text", "mnist", 20), ("authors", "frey_face", 10))
N_DRAWS = 4


def main() -> None:
    """Print everything as JSON."""
    runs = [json.loads(file.read_text()) | {"folder": file.parent} for file in (DATA / "runs").glob("*/config.json")]
    counts = {name: count(reading, runs) for name, reading in READINGS.items()}
    print(json.dumps({"counts": counts, "bounds": [bound(*model, runs) for model in MODELS if images(model[1])]}))


def count(reading: dict, runs: list[dict]) -> dict[str, float]:
    """The verdict's counts under a reading."""
    paper = curves_of_the_paper()
    words = ("within", "above", "below", "too short", "not run", "within_narrow", "within_along", "late", "within_late")
    counts, distances = Counter(dict.fromkeys(words, 0)), []
    for (figure, dataset, size, algorithm, split), vertices in paper.items():
        x, y = np.array(sorted(vertices)).T
        scale = np.log10 if figure == 2 else np.asarray
        ours = values(reading, runs, figure, dataset, size, algorithm, split)
        common = [at for at in sorted(ours) if x[0] <= at <= x[-1]]
        if not common:
            counts["too short" if ours else "not run"] += 1
            continue
        difference = {at: np.mean(ours[at]) - np.interp(scale(at), scale(x), y) for at in common}
        tolerance, last = TOLERANCES[figure, dataset], difference[common[-1]]
        counts["within" if abs(last) <= tolerance else "above" if last > 0 else "below"] += 1
        counts["within_narrow"] += int(abs(last) <= NARROW[figure, dataset])
        along = [abs(value) <= tolerance for at, value in difference.items() if at >= 1e6]
        counts["within_along"] += bool(along) and all(along)
        if along:
            distances.append(np.mean([abs(value) / tolerance for at, value in difference.items() if at >= 1e6]))
        late = [abs(value) <= tolerance for at, value in difference.items() if at > 1.01 * FIT_UNTIL[figure]]
        counts["late"] += bool(late)
        counts["within_late"] += bool(late) and all(late)
    return {**counts, "distance": round(float(np.mean(distances)), 6)}


def curves_of_the_paper() -> dict[tuple, list[tuple[float, float]]]:
    """The vertices of each curve within the axes, of its last path: a path begins where the pen leaves the drawing."""
    rows = list(csv.DictReader((DATA / "paper" / "paths.csv").open()))
    lowest, paper = defaultdict(float), defaultdict(list)
    vertices = []
    for row in rows:
        figure = int(row["figure"])
        panel = (figure, row["dataset"], int(float(row[SIZE[figure]])))
        x, value = float(row["samples_evaluated"]), float(row["value"])
        lowest[panel] = min(lowest[panel], value)
        vertices.append((panel, (*panel, row["algorithm"], row["split"]), x, value))
    for panel, curve, x, value in vertices:
        if value == lowest[panel]:
            paper[curve] = []
        elif value >= BOTTOM[panel[:2]]:
            paper[curve].append((x, value))
    return paper


def values(reading: dict, runs: list[dict], figure: int, dataset: str, size: int, algorithm: str, split: str) -> dict:
    """Our values by samples."""
    of_run = reading.get((figure, dataset, algorithm, size), reading.get((figure, dataset, algorithm)))
    wanted = {**PLAIN, **of_run, "dataset": dataset, "algorithm": algorithm, SIZE[figure]: size}
    if figure == 2:
        wanted |= {"n_hidden": N_HIDDEN[dataset], "metric": "bound", "n_train": {"mnist": 50_000}.get(dataset, 1565)}
    else:
        wanted |= {"n_hidden": 100, "metric": "log_px", "n_latent": 3}
        wanted |= {"batch_size": size} if algorithm == "mcem" else {}
    found = {}
    for run in runs:
        config = {**PLAIN, **run["config"]}
        if config["seed"] == 0 and all(config[name] == value for name, value in wanted.items()):
            for row in csv.DictReader((run["folder"] / "curve.csv").open()):
                measure = "running_mean" if (figure, split) == (2, "train") else "evaluated"
                if (row["split"], row["measure"]) == (split, measure):
                    found[float(row["samples_evaluated"])] = float(row["value"])
    return found


def bound(reading: str, dataset: str, n_latent: int, runs: list[dict]) -> dict:
    """The bound on test of a shipped model of AEVB, over N_DRAWS draws of eps, and what its record says."""
    of_run = READINGS[reading]
    settings = {**PLAIN, **of_run.get((2, dataset, "aevb", n_latent), of_run.get((2, dataset, "aevb"), {}))}
    wanted = {**settings, "dataset": dataset, "algorithm": "aevb", "n_latent": n_latent}
    wanted |= {"n_hidden": N_HIDDEN[dataset], "seed": 0}
    (run,) = [r for r in runs if all({**PLAIN, **r["config"]}[name] == value for name, value in wanted.items())]
    w = {name: value.astype(np.float64) for name, value in np.load(run["folder"] / "weights.npz").items()
         if name != "run_id"}  # fmt: skip
    x, rng = images(dataset, settings["preparation"])[0], np.random.default_rng(0)
    is_softplus = settings["hidden_units"] == "softplus"
    units, hidden = ((lambda a: np.logaddexp(0, a)), "hidden.softplus") if is_softplus else (np.tanh, "hidden")
    h = units(x @ w[f"encoder.{hidden}.w"] + w[f"encoder.{hidden}.b"])
    mean = h @ w["encoder.mean.w"] + w["encoder.mean.b"]
    log_var = h @ w["encoder.log_var.w"] + w["encoder.log_var.b"]
    kl = 0.5 * (mean**2 + np.exp(log_var) - 1 - log_var).sum(axis=1)
    elbo = []
    for _ in range(N_DRAWS):
        z = mean + np.exp(log_var / 2) * rng.normal(size=mean.shape)
        h = units(z @ w[f"decoder.{hidden}.w"] + w[f"decoder.{hidden}.b"])
        elbo.append(log_px_given_z(w, h, x).sum(axis=1) - kl)
    recorded = [row for row in csv.DictReader((run["folder"] / "curve.csv").open()) if row["split"] == "test"][-1]
    sd = np.sqrt(np.var(elbo, axis=0, ddof=1).mean() / len(x))  # of a mean over the test set with one draw of eps
    return {"reading": reading, "dataset": dataset, "n_latent": n_latent,
            "bound": float(np.mean(elbo)), "sd": float(sd), "recorded": float(recorded["value"])}  # fmt: skip


def log_px_given_z(w: dict, h: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Bernoulli or Gaussian, per pixel."""
    if "decoder.logits.w" in w:
        logits = h @ w["decoder.logits.w"] + w["decoder.logits.b"]
        return x * logits - np.logaddexp(0, logits)
    mean = 1 / (1 + np.exp(-(h @ w["decoder.mean.w"] + w["decoder.mean.b"])))
    log_var = h @ w["decoder.log_var.w"] + w["decoder.log_var.b"]
    return -0.5 * (np.log(2 * np.pi) + log_var + (x - mean) ** 2 / np.exp(log_var))


def images(dataset: str, preparation: str = "own") -> list[np.ndarray]:
    """The test images [N, D] in a list, or an empty one where the data are not on this machine."""
    is_authors = preparation == "authors"
    root = DATA.parent
    folders = [DATA / dataset]
    if named := os.environ.get("REPLICATION_DATA_DIR"):
        folders += [root / named, root / named / dataset]
    file = {"mnist": "t10k-images-idx3-ubyte.gz", "frey_face": "frey_rawface.mat"}[dataset]
    found = next((folder / file for folder in folders if (folder / file).is_file()), None)
    if found is None:
        return []
    if dataset == "mnist":
        return [
            np.frombuffer(gzip.decompress(found.read_bytes()), np.uint8, offset=16).reshape(-1, 784)
            / (255 + is_authors)
        ]
    from scipy.io import loadmat  # the one file format that numpy does not read

    x = loadmat(found)["ff"].T / 256
    rng = np.random.RandomState(0) if is_authors else np.random.default_rng(1312_6114)
    return [x[rng.permutation(len(x))[1565:]]]


if __name__ == "__main__":
    sys.exit(main())
