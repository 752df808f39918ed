"""How fast the engine is beside Keras, PyTorch, JAX and plain matrix products: tables and a figure in one command.

Contenders take turns in rounds, so that a busy minute of the machine meets all of them.
"""

import importlib.metadata
import importlib.util
import io
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd

import replication
from replication import data, paths
from replication.benchmark import contenders
from replication.config import DATASETS, RunConfig
from replication.errors import ReplicationError, UnreachableError
from replication.files import Bundle, Hash
from replication.paper import names
from replication.plots import charts, figures
from replication.runs import parallel, provenance

CONTENDERS = {
    "engine": "this engine",
    "jax": "JAX, scan",
    "pytorch": "PyTorch, eager",
    "pytorch_compiled": "PyTorch, compiled",
    "keras_fit": "Keras fit",
    "sgemm": "numpy sgemm, the matrix products alone",
}
FOLDER = paths.DATA / "tables" / "benchmark"
FIGURE = paths.figures("paper") / "benchmark.svg"
PACKAGES = {"jax": "jax", "pytorch": "torch", "pytorch_compiled": "torch"}  # of the extra `benchmark`
ALL_CORES, RUN_PER_CORE = "one process, all cores", "a run per core"
TITLES = {
    "peers": "Samples per second",
    "to_bound": "Seconds to a bound on test",
    "growth": "How the engine's samples per second change with the sizes",
}
BOUND, LONGEST = -110.0, 900.0  # nats on test; seconds after which a contender is given up
SETTINGS: dict[str, Any] = {"n_latent": 20, "n_hidden": 500, "batch_size": 100, "learning_rate": 0.02}
GROWTH = {"n_latent": (2, 20, 200), "n_hidden": (100, 200, 500, 1000), "batch_size": (20, 100, 500, 2500)}
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def run(
    parts: Sequence[str],
    n_rounds: int,
    seconds: float,
    folder: Path = FOLDER,
    figure: Path = FIGURE,
) -> None:
    """Measure the parts, write a table for each into `folder`, and draw the figure from the tables that are there.

    Raises ReplicationError for an unknown part, and where the rounds or their seconds would measure nothing.
    """
    if unknown := set(parts) - set(TITLES):
        raise ReplicationError(
            f"The benchmark has no part {', '.join(map(repr, unknown))}. Its parts are {', '.join(TITLES)}."
        )
    if n_rounds < 1 or not 0 < seconds < math.inf:
        raise ReplicationError(
            f"{n_rounds} rounds of {seconds:g} s would measure nothing, or never end: "
            "ask for 1 round or more, and for a number of seconds above 0."
        )
    if missing := sorted({package for package in PACKAGES.values() if not _is_installed(package)}):
        print(f"Left out, not installed: {', '.join(missing)}. pip install -e '.[benchmark]' installs them.")
    measure = {
        "peers": lambda inputs: peers(inputs, n_rounds, seconds),
        "growth": lambda inputs: growth(inputs, n_rounds, seconds),
        "to_bound": lambda inputs: to_bound(inputs, folder),
    }
    dataset = _mnist()
    with tempfile.TemporaryDirectory() as inputs:
        write_inputs(Path(inputs), dataset or _grey_noise())
        for part in parts:
            if part == "to_bound" and not dataset:
                continue
            table = measure[part](Path(inputs))
            write(part, table, folder)
            print(f"\n{TITLES[part]}\n{table.to_string(index=False)}")
    draw(folder, figure)
    print(f"\nThe tables are in {folder}, the figure is {figure}.")


def peers(inputs: Path, n_rounds: int, seconds: float) -> pd.DataFrame:
    """Samples/s, start and memory: a row per contender and arrangement.

    Where runs go side by side, samples/s are their sum, start and memory those of the slowest and of the largest.
    """
    rows = []
    arrangements: dict[str, Sequence[int | None]] = {ALL_CORES: [None], RUN_PER_CORE: _cores()}
    for arrangement, cores in arrangements.items():
        with ExitStack() as stack:
            started = {name: stack.enter_context(_started(name, inputs, cores)) for name in installed()}
            rates: dict[str, list[float]] = {name: [] for name in started}
            for _ in range(n_rounds):
                for name, processes in started.items():
                    rates[name].append(_samples_per_second(processes, seconds))
            for name, processes in started.items():
                rows.append({
                    "contender": name, "arrangement": arrangement, "processes": len(cores), **_summary(rates[name]),
                    "seconds_to_first_step": max(process.start_seconds for process in processes),
                    "peak_mb_each": max(process.peak_bytes for process in processes) / 1e6,
                })  # fmt: skip
    return pd.DataFrame(rows)


def growth(inputs: Path, n_rounds: int, seconds: float) -> pd.DataFrame:
    """Samples/s of the engine on one core where one size differs from SETTINGS, and of 1, 2, ... runs side by side."""
    cores = _cores()
    cases = [(name, value, cores[:1], {name: value}) for name, values in GROWTH.items() for value in values]
    cases += [("side_by_side", n, cores[:n], {}) for n in range(1, len(cores) + 1)]
    rows = []
    for varied, value, places, changes in cases:
        with _started("engine", inputs, places, changes) as processes:
            rates = [_samples_per_second(processes, seconds) for _ in range(n_rounds)]
        rows.append({"varied": varied, "value": value, **_summary(rates)})
    return pd.DataFrame(rows)


def to_bound(inputs: Path, folder: Path) -> pd.DataFrame:
    """Seconds of training until BOUND on test, a run per core with a seed each; empty where LONGEST did not suffice.

    The table is written after each contender; one that was measured with this commit on this machine is kept.
    """
    earlier = read_part("to_bound", folder)
    is_of_here = earlier and _machine().items() <= earlier[1].items()
    rows = earlier[0].to_dict("records") if earlier and is_of_here else []
    for name in installed():
        if name == "sgemm" or name in {row["contender"] for row in rows}:
            continue
        with _started(name, inputs, _cores()) as processes:
            for seed, answer in enumerate(_ask_all(processes, f"to_bound {BOUND} {LONGEST}")):
                reached = {"bound": BOUND, "seconds": answer["seconds"], "samples": answer["samples"]}
                rows.append({"contender": name, "seed": seed, **reached})
        write("to_bound", pd.DataFrame(rows), folder)
    return pd.DataFrame(rows)


def installed() -> list[str]:
    """The contenders that can run here."""
    return [name for name in CONTENDERS if name not in PACKAGES or _is_installed(PACKAGES[name])]


def write_inputs(folder: Path, dataset: data.Dataset) -> None:
    """The images that all contenders read."""
    np.save(folder / "x_train.npy", dataset.x_train)
    np.save(folder / "x_test.npy", dataset.x_test)


def _mnist() -> data.Dataset | None:
    try:
        return data.load("mnist")
    except UnreachableError as error:
        print(f"{error}\nSo there are no seconds to a bound, and samples/s are those of random grey values.")
        return None


def _grey_noise() -> data.Dataset:
    rng, facts = np.random.default_rng(0), DATASETS["mnist"]
    return data.Dataset("noise", *(rng.random((n, facts.n_pixels), np.float32) for n in (facts.n_train, 1000)))


def _initial(inputs: Path, n_latent: int, n_hidden: int) -> Path:
    """The weights that all contenders start from, as a run of the engine would draw them."""
    with parallel.without_greetings():
        import tensorflow as tf

        from replication.model import networks

    file = inputs / f"initial-{n_latent}-{n_hidden}.npz"
    if not file.exists():
        config = RunConfig(dataset="mnist", algorithm="aevb", n_latent=n_latent, n_hidden=n_hidden, samples_total=1)
        params = networks.init_params(config, tf.constant(config.seed, tf.int64))
        np.savez(file, allow_pickle=False, **networks.to_arrays(params))
    return file


def write(part: str, table: pd.DataFrame, folder: Path) -> None:
    """A table, and beside it the date, the machine and the versions."""
    facts = {"date": f"{datetime.now(UTC):%Y-%m-%d}", **_machine()}
    _bundle(part, folder).write(facts, {f"{part}.csv": table.to_csv(index=False, float_format="%.6g").encode()})


def read_part(part: str, folder: Path = FOLDER) -> tuple[pd.DataFrame, dict] | None:
    """A table and its facts, or None where the part has not been measured; raises RecordError for a damaged one."""
    stored = _bundle(part, folder).read(f"{part}.csv")
    if stored is None:
        return None
    facts, (table,) = stored
    return pd.read_csv(io.BytesIO(table)), facts


def _bundle(part: str, folder: Path) -> Bundle:
    return Bundle(folder, f"{part}.json", {f"{part}.csv": Hash("table_sha256")})


def draw(folder: Path, figure: Path) -> None:
    """The figure of the tables that are there: contenders and growth."""
    measured = {part: read_part(part, folder) for part in ("peers", "growth")}
    tables = {part: table_and_facts[0] for part, table_and_facts in measured.items() if table_and_facts}
    drawn = charts.benchmark(tables.get("peers"), tables.get("growth"), CONTENDERS)
    figures.save(drawn, [figure])


def as_markdown(folder: Path = FOLDER) -> str:
    """The tables as the site shows them, each with its machine."""
    parts = [_part_as_markdown(part, read_part(part, folder)) for part in TITLES]
    picture = ["![Samples per second, by contender and by size](../figures/benchmark.svg)\n"] if FIGURE.exists() else []
    return "\n".join(picture + parts)


def _part_as_markdown(part: str, measured: tuple[pd.DataFrame, dict] | None) -> str:
    title = f"## {TITLES[part]}\n\n"
    if measured is None:
        return f"{title}Not measured yet: `python -m replication benchmark --only {part}`.\n"
    table, facts = measured
    if "contender" in table:
        table = table.assign(contender=table["contender"].map(CONTENDERS))
    versions = ", ".join(f"{name} {version}" for name, version in facts["packages"].items())
    where = f"{facts['date']}, {facts['cpu']}, {facts['cores']} cores, commit {facts['commit']}; {versions}."
    cells = table.astype(object).map(_as_text).rename(columns=lambda name: name.replace("_", " "))
    return f"{title}{names.markdown(cells)}\n\n{where}\n"


def _samples_per_second(processes: list["_Process"], seconds: float) -> float:
    return sum(answer["samples_per_second"] for answer in _ask_all(processes, f"rate {seconds}"))


def _as_text(cell: Any) -> str:
    if isinstance(cell, str):
        return cell
    if pd.isna(cell):
        return "not reached"
    return f"{cell:,.0f}" if cell == int(cell) or cell >= 100 else f"{cell:.1f}"


def _summary(rates: list[float]) -> dict:
    middle = statistics.median(rates)
    return {"samples_per_second": middle, "lowest": min(rates), "highest": max(rates), "rounds": len(rates)}


def _machine() -> dict:
    """Commit, processor, cores and the versions of every contender."""
    environment = provenance.environment()
    peers = {name: importlib.metadata.version(name) for name in ("keras", *PACKAGES.values()) if _is_installed(name)}
    return {**environment, "cores": joblib.cpu_count(), "packages": {**environment["packages"], **peers}}


def _is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _cores() -> list[int]:
    """The cores that this process may use."""
    return sorted(os.sched_getaffinity(0))[: joblib.cpu_count()]


def _ask_all(processes: list["_Process"], command: str) -> list[dict]:
    """The answers of processes that work side by side."""
    for process in processes:
        process.ask(command)
    return [process.answer() for process in processes]


@contextmanager
def _started(
    name: str, inputs: Path, cores: Sequence[int | None], changes: Mapping[str, int] | None = None
) -> Iterator[list["_Process"]]:
    """Processes of a contender, one after the other, a seed each; they end with the block."""
    processes: list[_Process] = []
    try:
        for seed, core in enumerate(cores):
            processes.append(_Process(name, inputs, core, seed, changes or {}))
        yield processes
    finally:
        for process in processes:
            process.process.kill()
            process.process.wait()


class _Process:
    """A contender in a process of its own, pinned to `core`, or with all cores where it is None."""

    def __init__(self, name: str, inputs: Path, core: int | None, seed: int, changes: Mapping[str, int]):
        self.name = name
        settings = {**SETTINGS, **changes}
        task = {
            "folder": str(inputs), "initial": _initial(inputs, settings["n_latent"], settings["n_hidden"]).name,
            "batch_size": settings["batch_size"], "learning_rate": settings["learning_rate"], "seed": seed,
            "on_one_core": core is not None, "started": time.time(),
        }  # fmt: skip
        env = dict(os.environ) | (ONE_THREAD if core is not None else {})
        if name != "engine":  # a peer starts as its users would start it
            env = {key: value for key, value in env.items() if key not in replication.ENVIRONMENT}
        self.errors = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, contenders.__file__, name, json.dumps(task)], env=env, encoding="utf-8",
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
            preexec_fn=None if core is None else lambda: os.sched_setaffinity(0, {core}),
        )  # fmt: skip
        self.peak_bytes = 0
        self.start_seconds = self.answer()["start_seconds"]

    def ask(self, command: str) -> None:
        """Give a command; `answer` waits for what comes of it."""
        assert self.process.stdin is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def answer(self) -> dict:
        """The next line of the process; raises ReplicationError, with what it printed, where it ended instead."""
        assert self.process.stdout is not None
        if line := self.process.stdout.readline():
            answer = json.loads(line)
            self.peak_bytes = answer["peak_bytes"]
            return answer
        self.process.wait()
        self.errors.seek(0)
        raise ReplicationError(f"The contender {self.name} failed:\n{self.errors.read()[-2000:]}")
