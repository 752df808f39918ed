"""How fast the engine is, against Keras `fit`, a plain matrix product and whatever else is installed, in one run."""

import importlib.util
import json
import statistics
import subprocess
import sys

import joblib
import pandas as pd

from replication.errors import ReplicationError

CONTENDERS = {
    "engine": "this engine, one run on one core",
    "keras_fit": "Keras fit, all cores",
    "sgemm": "numpy sgemm at the same shapes, one core",
    "pytorch": "PyTorch eager, all cores",
    "jax": "JAX scan, all cores",
}
N_ROUNDS = 2
OPTIONAL = {"pytorch": "torch", "jax": "jax"}


def report(as_json: bool, seconds: float = 5.0) -> None:
    """Print samples/s of every installed contender and its ratio to Keras `fit` and to sgemm on one core."""
    table = measure(seconds)
    if as_json:
        print(json.dumps(table.to_dict(orient="records"), indent=2))
    else:
        print("MNIST shapes: 784 pixels, 500 hidden, 20 latent, minibatches of 100\n")
        print(table.to_string(index=False, formatters={"samples_per_second": "{:,.0f}".format}, float_format="%.2f"))


def measure(seconds: float) -> pd.DataFrame:
    """One row per contender, each in a process of its own; the better of two rounds, since a busy host only slows."""
    cores = joblib.cpu_count()
    installed = [name for name in CONTENDERS if name not in OPTIONAL or importlib.util.find_spec(OPTIONAL[name])]
    rates = dict.fromkeys(["engine", "engines", *installed], 0.0)
    for _ in range(N_ROUNDS):
        for name in rates:
            found = _rate_side_by_side("engine", cores, seconds) if name == "engines" else _rate(name, seconds)
            rates[name] = max(rates[name], found)
    names = CONTENDERS | {"engines": f"this engine, a run on each of {cores} cores"}
    return pd.DataFrame({
        "contender": [names[name] for name in rates],
        "samples_per_second": list(rates.values()),
        "times_keras_fit": [rate / rates["keras_fit"] for rate in rates.values()],
        "times_sgemm_of_one_core": [rate / rates["sgemm"] for rate in rates.values()],
    })  # fmt: skip


def _start(contender: str, seconds: float) -> subprocess.Popen:
    command = [sys.executable, "-m", "replication.benchmark.contenders", contender, str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _finish(process: subprocess.Popen) -> float:
    output, errors = process.communicate()
    if process.returncode:
        raise ReplicationError(f"The benchmark {process.args!r} failed:\n{errors[-2000:]}")
    return statistics.median(json.loads(output.splitlines()[-1]))


def _rate(contender: str, seconds: float) -> float:
    return _finish(_start(contender, seconds))


def _rate_side_by_side(contender: str, n_processes: int, seconds: float) -> float:
    return sum([_finish(process) for process in [_start(contender, seconds) for _ in range(n_processes)]])
