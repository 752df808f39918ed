"""Runs side by side, one process and one core each."""

import multiprocessing
import os
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.managers import SyncManager
from pathlib import Path
from queue import Empty, Queue

from replication.config import RunConfig
from replication.errors import ReplicationError
from replication.progress import bar

POLL_SECONDS = 1.0


def train_all(configs: list[RunConfig], folder: Path, n_workers: int | None = None) -> None:
    """Train every run, a run per core; one progress bar over all samples.

    A run that fails leaves the others alone; raises ReplicationError with every failure at the end.
    """
    n_workers = min(n_workers or os.cpu_count() or 1, len(configs))
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


def _die_with_parent() -> None:
    """End a worker when the process that started it is gone, killed or not: nobody waits for its run any more."""
    parent = multiprocessing.parent_process()
    threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()


def _train_one(config: RunConfig, folder: Path, reports: Queue) -> None:
    with _quiet():
        from replication.runs import training  # imports TensorFlow, in the worker only

        training.use_one_core()
    training.train(config, folder, lambda samples, bound: reports.put((config.run_id, samples, bound)))


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
    samples_of = {}
    with bar(total, "sample") as progress:
        while not all(future.done() for future in futures):
            try:
                run_id, samples, bound = reports.get(timeout=POLL_SECONDS)
            except Empty:
                continue
            progress.update(samples - samples_of.get(run_id, 0))
            samples_of[run_id] = samples
            progress.set_postfix_str(f"{sum(f.done() for f in futures)} runs done, {run_id}: {bound:.1f} nats")
