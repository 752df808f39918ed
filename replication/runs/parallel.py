"""Runs side by side, one process and one core each."""

import multiprocessing
import os
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.managers import SyncManager
from pathlib import Path
from queue import Empty, Queue

import joblib

from replication.config import RunConfig
from replication.errors import ReplicationError
from replication.progress import bar

POLL_SECONDS = 1.0


def train_all(configs: list[RunConfig], folder: Path, n_workers: int | None = None) -> dict[str, float]:
    """Train every run, a run per core; one progress bar over all samples.

    Returns the core-seconds that each run_id took; 0 where the checkpoint was finished, so that no step was left.

    A run that fails leaves the others alone; raises ReplicationError with every failure at the end.
    """
    n_workers = min(n_workers or joblib.cpu_count(), len(configs))
    context = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork
    manager = SyncManager(ctx=context)
    manager.start(_die_with_parent)
    with manager, ProcessPoolExecutor(n_workers, context, _die_with_parent) as pool:
        reports = manager.Queue()
        futures = [pool.submit(_train_one, config, folder, reports) for config in configs]
        _show(sum(config.samples_total for config in configs), futures, reports)
    failures = [str(error) for future in futures if (error := future.exception())]
    if failures:
        raise ReplicationError(f"{len(failures)} of {len(configs)} runs failed:\n" + "\n".join(failures))
    return {config.run_id: future.result() for config, future in zip(configs, futures, strict=True)}


def in_words(seconds: Mapping[str, float]) -> str:
    """What `train_all` did."""
    trained = [value for value in seconds.values() if value]
    said = [f"Trained {counted(len(trained), 'run')} ({sum(trained):.0f} core-seconds)."] if trained else []
    if written := len(seconds) - len(trained):
        said.append(f"Wrote the record of {counted(written, 'run')} from the finished checkpoint, without training.")
    return " ".join(said) or "No run was trained."


def counted(n: int, thing: str) -> str:
    """A number of things in words: 1 run, 2 runs."""
    return f"{n} {thing}" if n == 1 else f"{n} {thing}s"


def _die_with_parent() -> None:
    """End a worker when the process that started it is gone, killed or not: nobody waits for its run any more."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "to be called in a worker"

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _train_one(config: RunConfig, folder: Path, reports: Queue) -> float:
    with _quiet():
        from replication.runs import training  # imports TensorFlow, in the worker only

        training.use_one_core()
    start, steps_were_left = time.process_time(), False

    def report(samples: int, bound: float) -> None:
        nonlocal steps_were_left
        steps_were_left = True
        reports.put((config.run_id, samples, bound))

    training.train(config, folder, report)
    return time.process_time() - start if steps_were_left else 0.0


@contextmanager
def _quiet() -> Iterator[None]:
    """Drop what C++ prints: TensorFlow's greetings heed no setting and would break up the progress bar."""
    kept = os.dup(2)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _show(total: int, futures: list[Future], reports: Queue) -> None:
    """Draw the bar until every run is over, a crashed worker included."""
    samples_of: dict[str, int] = {}
    with bar(total, "sample") as progress:
        while not all(future.done() for future in futures):
            try:
                run_id, samples, bound = reports.get(timeout=POLL_SECONDS)
            except Empty:
                continue
            progress.update(samples - samples_of.get(run_id, 0))
            samples_of[run_id] = samples
            progress.set_postfix_str(f"{sum(f.done() for f in futures)} runs done, {run_id}: {bound:.1f} nats")
