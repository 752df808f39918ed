"""Jobs side by side: which are done, in which order, and what is said of those that fail."""

import io
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import tqdm

from replication import progress
from replication.errors import ReplicationError
from replication.files import write_atomically
from replication.runs import parallel
from replication.runs.parallel import Job


def pid(report, *others) -> int:
    return os.getpid()


def die(report) -> None:
    os.write(1, b"\xff its last words\n")  # a byte that is not UTF-8, as C++ may print one
    os.kill(os.getpid(), signal.SIGKILL)


def fill_the_disk(report, target: Path) -> None:
    def write(temporary: Path) -> None:
        temporary.symlink_to("/dev/full")
        temporary.write_text("x")

    write_atomically(target, write)


def say(report, words: str) -> None:
    raise ReplicationError(words)


def sleep(report, seconds: float) -> None:
    time.sleep(seconds)


def test_one_worker_does_all_jobs_each_after_those_that_it_needs():
    # Fails if each job starts a process of its own, which takes seconds to import TensorFlow; or if a notebook does not
    # follow its runs at once.
    jobs = [Job("notebook", pid, (), needs=frozenset({"run"})), Job("run", pid, ()), Job("other", pid, ())]
    results, failures = parallel.work_off(jobs, 1)
    assert list(results) == ["run", "notebook", "other"] and len(set(results.values())) == 1 and not failures


def test_jobs_alike_go_to_one_worker_and_the_first_rank_before_all():
    # Fails if two workers compile the same programs, or if that makes figure 2 wait.
    alike = {name: Job(name, pid, (), like=name[0], rank=1) for name in ("a1", "b1", "a2", "b2")}
    alike |= {name: alike[name]._replace(needs=frozenset({before})) for before, name in (("a1", "a2"), ("b1", "b2"))}
    pids, _ = parallel.work_off([*alike.values()], 2)
    assert pids["a1"] == pids["a2"] != pids["b1"] == pids["b2"]
    results, _ = parallel.work_off([*alike.values(), Job("first", pid, (), like="b")], 1)
    assert list(results) == ["first", "b1", "b2", "a1", "a2"]


def test_a_worker_remembers_all_that_it_compiled():
    # Fails if only the last job counts: a worker that trained, executed a notebook and trained would compile anew.
    new, known = Job("new", pid, (), like="c"), Job("known", pid, (), like="a")
    assert parallel._best_for({"a", "b"}, [new, known], elsewhere=set()) == known
    assert parallel._best_for(set(), [known, new], elsewhere={"a"}) == new


def test_a_killed_job_is_named_with_the_likely_cause_and_leaves_the_others_alone(tmp_path):
    # Fails if a worker that the system kills breaks the pool, hangs it, or blames another job.
    jobs = [
        Job("killed", die, (), log=tmp_path / "killed.log"),
        Job("needs it", pid, (), needs=frozenset({"killed"})),
        Job("other", pid, ()),
    ]
    lines = []
    results, failures = parallel.work_off(jobs, 1, lambda job, outcome: lines.append(job.name))
    assert list(results) == ["other"] and list(failures) == ["killed"] and lines == ["killed", "other"]
    assert failures["killed"].reason.startswith(
        "\ufffd its last words\nIts process was killed: memory is the likely cause."
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_stops_all_jobs_at_once(tmp_path):
    # Otherwise each of the following runs would train up to its first record, only to fail there.
    jobs = [Job("endless", sleep, (1000,)), Job("full", fill_the_disk, (tmp_path / "record",)), Job("next", pid, ())]
    results, failures = parallel.work_off(jobs, 2)
    assert not results and list(failures) == ["full"]
    assert "No space left on device. Free some space" in failures["full"].reason


def test_words_about_a_full_disk_are_none():
    # Fails if the cause is looked for in what a job says: a message may quote the system, in any language.
    jobs = [Job("quotes", say, ("It said: No space left on device.",)), Job("other", pid, ())]
    results, failures = parallel.work_off(jobs, 1)
    assert list(results) == ["other"] and list(failures) == ["quotes"]


def test_the_words_of_a_failed_job_are_in_its_log_whatever_the_locale(tmp_path, monkeypatch):
    # Fails if an ASCII locale turns the reason into an error of encoding.
    for name, value in (("LC_ALL", "C"), ("PYTHONCOERCECLOCALE", "0"), ("PYTHONUTF8", "0")):
        monkeypatch.setenv(name, value)
    log = tmp_path / "log"
    _, failures = parallel.work_off([Job("job", say, ("größer als möglich",), log)], 1)
    assert failures["job"].reason == "größer als möglich" == log.read_text(encoding="utf-8").strip()


def test_a_folder_with_an_umlaut_is_named_in_a_log_whatever_the_locale(tmp_path, monkeypatch):
    # Under an ASCII locale its bytes are no text to Python. Fails if an error of encoding takes the reason's place.
    for name, value in (("LC_ALL", "C"), ("PYTHONCOERCECLOCALE", "0"), ("PYTHONUTF8", "0")):
        monkeypatch.setenv(name, value)
    folder = "/dätä".encode().decode("ascii", "surrogateescape")
    log = tmp_path / "log"
    _, failures = parallel.work_off([Job("job", say, (f"no folder {folder}",), log)], 1)
    assert failures["job"].reason == f"no folder {folder}"
    assert log.read_text(encoding="utf-8") == "no folder /dätä\n"


def test_the_speed_is_that_of_the_steps(monkeypatch):
    # A run starts and compiles for 60 s, reports its first step, or where it goes on from, then 100 samples a second.
    # Fails if the first lines tell a tenth of that, and hours for minutes.
    clock, bars, shown = [0.0], [], {}
    monkeypatch.setattr(tqdm.std, "time", lambda: clock[0])
    monkeypatch.setattr(progress, "time", SimpleNamespace(time=lambda: clock[0]))
    job = Job("job", pid, (), samples=10_000)

    def events(jobs, n_workers):
        for clock[0], samples in ((60.0, 5000), (62.0, 5200), (64.0, 5400)):
            yield job, parallel.Report(samples, -100.0)
        shown.update(bars[0].format_dict)  # the bar's last line tells another rate, over all of its time

    def bar(total: int, unit: str, initial: int = 0) -> tqdm.tqdm:
        bars.append(tqdm.tqdm(total=total, initial=initial, file=io.StringIO(), smoothing=0.02))
        return bars[0]

    monkeypatch.setattr(parallel, "_events", events)
    monkeypatch.setattr(parallel, "bar", bar)
    parallel.work_off([job], 1)
    assert shown["rate"] == pytest.approx(100) and shown["n"] == 5400 and shown["elapsed"] == 64


class InterruptedDestructor:
    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)  # Python handles the signal here, and drops what is raised


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_within_a_destructor_stops_the_jobs_all_the_same():
    # Python prints "Exception ignored" and goes on: the batch would train for hours after the key was pressed.
    jobs = [Job(name, pid, ()) for name in ("first", "second")]

    def say(job, outcome):
        InterruptedDestructor()

    with pytest.raises(KeyboardInterrupt):
        parallel.work_off(jobs, 1, say)


def test_what_was_printed_before_a_silent_block_is_kept():
    # Fails if it waits in a buffer and goes where the greetings go; or, without an output, if there is a traceback.
    script = (
        "from replication.runs import parallel\nprint('before')\n"
        "with parallel.without_greetings(): pass\nprint('after')"
    )
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = [sys.executable, "-c", script]
    assert subprocess.run(command, env=env, capture_output=True, text=True).stdout == "before\nafter\n"
    without_output = subprocess.run(f"{shlex.join(command)} >&-", shell=True, env=env, capture_output=True, text=True)
    assert without_output.returncode == 0 and not without_output.stderr


WORKERS = """
import time
from replication.runs.parallel import Job, work_off

def quick(report):
    pass

def slow(report):
    while True:
        report(1, -100.0)
        time.sleep(0.05)

if __name__ == "__main__":
    jobs = [Job("quick", quick, ()), Job("slow", slow, ())]
    work_off(jobs, 2, lambda job, outcome: print(job.name, flush=True))
"""


def test_workers_end_in_silence_when_the_one_that_started_them_is_killed(tmp_path):
    # One waits for a job, the other tells how far it is. Fails if each prints a traceback of a closed connection.
    (tmp_path / "workers.py").write_text(WORKERS)
    command = [sys.executable, str(tmp_path / "workers.py")]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert parent.stdout.readline() == "quick\n"
    time.sleep(1)  # until the other reports
    parent.terminate()
    assert "Traceback" not in parent.stderr.read(), "read until the last worker has ended"
    parent.wait()
