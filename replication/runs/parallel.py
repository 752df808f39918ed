"""Jobs side by side, such as training runs: a core each, in processes that start once."""

import errno
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator, Hashable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NamedTuple

from replication.config import RunConfig
from replication.errors import ReplicationError
from replication.files import explained
from replication.progress import bar, print_as_utf8, set_aside
from replication.runs import device, records

FULL_DISK = (errno.ENOSPC, errno.EDQUOT)


class Job(NamedTuple):
    """`work(report, *arguments)`, to be done in a worker once the jobs that it `needs` are done.

    What it prints goes to `log`. Jobs of a lower `rank` come first; those that are `like` each other share compiled
    programs, so preferably one worker does them. A job that trains has `samples`, the first `samples_before` of them
    recorded already, and says where it is by `report(samples, bound)`.
    """

    name: str
    work: Callable[..., Any]
    arguments: tuple
    log: Path | None = None
    needs: frozenset[str] = frozenset()
    rank: int = 0
    like: Hashable = None
    samples: int = 0
    samples_before: int = 0


class Trained(NamedTuple):
    """What a run cost: core-seconds now, 0 where no step was left; and the seconds of its steps, since the first."""

    core_seconds: float
    steps: float


class Report(NamedTuple):
    """How far a job that trains has come."""

    samples: int
    bound: float


class Done(NamedTuple):
    """What a job returned."""

    result: Any


class Failure(NamedTuple):
    """Why a job failed: the message of a ReplicationError, a traceback, or how its process ended.

    `errno` is what the system said where it refused something.
    """

    reason: str
    errno: int | None = None


def train_all(configs: list[RunConfig], folder: Path, n_workers: int = -1) -> dict[str, Trained]:
    """Train every run, `n_workers` at once or, where that is -1, one per core. Returns what each run_id cost.

    A run that fails leaves the others alone; raises ReplicationError with every failure at the end.
    """
    jobs = [training_job(config, folder) for config in dict.fromkeys(configs)]
    costs, failures = work_off(jobs, device.runs_side_by_side(n_workers))
    if failures:
        reasons = "\n".join(f"{name}: {failure.reason}" for name, failure in failures.items())
        raise ReplicationError(f"{len(failures)} of {len(jobs)} runs failed:\n{reasons}")
    return costs


def training_job(config: RunConfig, folder: Path, log: Path | None = None, rank: int = 0) -> Job:
    """The job that trains a run; its result is a Trained."""
    record = records.load(config, folder)
    samples_before = min(record.samples_evaluated, config.samples_total) if record else 0
    evaluation = (config.dataset, config.n_latent, config.n_hidden, config.metric)
    return Job(
        config.run_id, _train, (config, folder), log, rank=rank, like=evaluation,
        samples=config.samples_total, samples_before=samples_before,
    )  # fmt: skip


def work_off(
    jobs: Sequence[Job], n_workers: int, say: Callable[[Job, Done | Failure], str | None] = lambda job, outcome: None
) -> tuple[dict[str, Any], dict[str, Failure]]:
    """Do the jobs; one progress bar over all samples. Returns results and failures by name.

    A job that fails leaves the others alone, those that need it aside; a full disk stops all. `say` makes the line that
    is printed when a job ends.
    """
    results: dict[str, Any] = {}
    failures: dict[str, Failure] = {}
    samples_of = {job.name: job.samples_before for job in jobs}
    has_begun = False
    with (
        bar(sum(job.samples for job in jobs), "sample", sum(samples_of.values())) as progress,
        closing(_events(jobs, n_workers)) as events,
        _remembered_interrupts() as interrupts,
    ):
        for job, event in events:
            if interrupts:
                raise KeyboardInterrupt
            if isinstance(event, Failure):
                failures[job.name] = event
            else:
                samples = job.samples if isinstance(event, Done) else min(event.samples, job.samples)
                if has_begun or not isinstance(event, Report):
                    progress.update(samples - samples_of[job.name])
                else:
                    set_aside(progress, samples - samples_of[job.name])
                    has_begun = True
                samples_of[job.name] = samples
            if isinstance(event, Done):
                results[job.name] = event.result
            now = f", {job.name}: {event.bound:.1f} nats" if isinstance(event, Report) else ""
            progress.set_postfix_str(f"{len(results)} of {len(jobs)} jobs done{now}")
            if not isinstance(event, Report) and (line := say(job, event)):
                progress.write(line, file=sys.stderr)
            if isinstance(event, Failure) and event.errno in FULL_DISK:
                break
    return results, failures


@contextmanager
def _remembered_interrupts() -> Iterator[list[int]]:
    """The signals of Ctrl-C so far. Each raises KeyboardInterrupt too, but that is lost where it meets a destructor."""
    signals: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # only the main thread is interrupted
        yield signals
        return

    def remember_and_raise(number: int, frame: object) -> None:
        signals.append(number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, remember_and_raise)
    try:
        yield signals
    finally:
        signal.signal(signal.SIGINT, before)


def costs_in_words(costs: Mapping[str, Trained]) -> str:
    """What `train_all` did."""
    trained = [cost for cost in costs.values() if cost.core_seconds]
    said = []
    if trained:
        now, steps = (sum(part) for part in zip(*trained, strict=True))
        price = f"{now:.0f} core-seconds; their steps, since they began, {steps:.0f} s"
        said.append(f"Trained {counted(len(trained), 'run')} ({price}).")
    if written := len(costs) - len(trained):
        said.append(f"Wrote the record of {counted(written, 'run')} from the finished checkpoint, without training.")
    return " ".join(said) or "No run was trained."


def counted(n: int, thing: str) -> str:
    """A number of things in words: 1 run, 2 runs."""
    return f"{n} {thing}" if n == 1 else f"{n} {thing}s"


def _events(jobs: Sequence[Job], n_workers: int) -> Generator[tuple[Job, Report | Done | Failure]]:
    """What becomes of the jobs. The workers end with the iterator, whatever they are doing then."""
    waiting, undone = list(jobs), {job.name for job in jobs}
    idle: list[_Worker] = []
    busy: dict[_Worker, Job] = {}
    try:
        while True:
            while len(busy) < n_workers and (ready := [job for job in waiting if not job.needs & undone]):
                idle = [worker for worker in idle if worker.process.is_alive()]
                worker = idle.pop() if idle else _Worker()
                job = _best_for(worker.did, ready, elsewhere=set().union(*(other.did for other in (*idle, *busy))))
                waiting.remove(job)
                busy[worker] = job
                worker.did |= {job.like} - {None}
                worker.connection.send(job)
            if not busy:
                return
            spoke = wait([worker.connection for worker in busy])
            for worker, job in [(worker, job) for worker, job in busy.items() if worker.connection in spoke]:
                event = worker.listen(job)
                if not isinstance(event, Report):
                    del busy[worker]
                    idle.append(worker)
                if isinstance(event, Done):
                    undone.remove(job.name)
                yield job, event
    finally:
        for worker in (*idle, *busy):
            worker.process.kill()


def _best_for(did: set[Hashable], ready: Sequence[Job], elsewhere: set[Hashable]) -> Job:
    """The first of the jobs for a worker that `did` such jobs; other workers did those that are `elsewhere`."""
    return min(ready, key=lambda job: (job.rank, job.like not in did, job.like in elsewhere))


class _Worker:
    """A process that does one job after another."""

    def __init__(self) -> None:
        self.did: set[Hashable] = set()
        context = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs,), daemon=True)
        resource_tracker.ensure_running()  # its start would unblock the signal
        # Ctrl-C reaches every process of a terminal. The one that started the workers answers it, and ends them.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()

    def listen(self, job: Job) -> Report | Done | Failure:
        """What the worker says next of its job; a failure where its process has ended."""
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            return Failure(_how_it_ended(self.process, job.log))


def _work(connection: Connection) -> None:
    parent = multiprocessing.parent_process()
    assert parent and parent.pid, "to be called in a worker"
    end_with(parent.pid)
    print_as_utf8()
    while True:
        try:
            job = connection.recv()
            connection.send(_do(job, lambda samples, bound: connection.send(Report(samples, bound))))
        except (EOFError, OSError):  # nobody is there any more
            return


def _do(job: Job, report: Callable[[int, float], None]) -> Done | Failure:
    try:
        with _output_in(job.log):
            try:
                return Done(job.work(report, *job.arguments))
            except Exception as error:
                if job.log:
                    print(_reason(error))
                raise
    except Exception as error:
        return Failure(_reason(error), _errno(error))


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, ReplicationError) else "".join(traceback.format_exception(error)).rstrip()


def _errno(error: BaseException | None) -> int | None:
    """What the system said, where its refusal is at the root of an error."""
    while error is not None:
        if isinstance(error, OSError):
            return error.errno
        error = error.__cause__ or error.__context__
    return None


def _how_it_ended(process: multiprocessing.process.BaseProcess, log: Path | None) -> str:
    """What is known of a process that ended within a job: the end of its log, and its exit code."""
    process.join()
    said = log.read_text(encoding="utf-8", errors="replace").rstrip() + "\n" if log and log.exists() else ""
    code = process.exitcode or 0
    if code == -signal.SIGKILL:
        return (
            f"{said}Its process was killed: memory is the likely cause. Run fewer jobs side by side (make JOBS=1, or "
            "--jobs 1), then run the same command again: it resumes."
        )
    return f"{said}Its process ended with {signal.Signals(-code).name if code < 0 else f'exit code {code}'}."


def end_with(parent: int) -> None:
    """End this process when the one that started it is gone, killed or not: nobody waits for its work any more."""

    def follow() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _train(report: Callable[[int, float], None], config: RunConfig, folder: Path) -> Trained:
    with without_greetings():
        from replication.runs import training  # imports TensorFlow, in the worker only

        device.configure()
    start, steps_were_left = time.process_time(), False

    def remember_and_report(samples: int, bound: float) -> None:
        nonlocal steps_were_left
        steps_were_left = True
        report(samples, bound)

    record = training.train(config, folder, remember_and_report)
    return Trained(time.process_time() - start if steps_were_left else 0.0, record.facts["seconds"])


@contextmanager
def without_greetings() -> Iterator[None]:
    """A block that imports TensorFlow: what its C++ prints then, which heeds no setting, is not shown."""
    with _output_in(Path(os.devnull)):
        yield


def _flush() -> None:
    """Write what was printed where it belongs until now."""
    for stream in (sys.stdout, sys.stderr):
        if stream:  # None where a process was started without it
            stream.flush()


@contextmanager
def _output_in(file: Path | None) -> Iterator[None]:
    """Write what this process prints, its C++ included, into a file; None leaves it where it goes."""
    if file is None:
        yield
        return
    with explained(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        stream = file.open("wb")
    _flush()
    kept = {number: os.dup(number) for number in (1, 2)}
    with stream:
        for number in kept:
            os.dup2(stream.fileno(), number)
    try:
        yield
    finally:
        try:
            _flush()
        finally:
            for number, copy in kept.items():
                os.dup2(copy, number)
                os.close(copy)
