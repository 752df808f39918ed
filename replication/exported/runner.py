"""Train exported runs, one process each: `python3 runner.py --help`. Needs numpy and JAX (tried: 0.10 and 0.11).

Every run saves where it is as it goes, stops at --seconds, and goes on from there when started again. Many runs share
a GPU only where NVIDIA's multi-process service runs (`nvidia-cuda-mps-control -d`); without it they take turns, which
gains nothing.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).resolve().parent
JOBS, ARRAYS, PROGRAMS, TRAINED = "jobs.json", "arrays.npz", "programs", "trained"
SAVE_SECONDS = 60.0
STOPPED = "Stopped. The same command goes on from what was saved in the last minute."
# The whole loop over steps runs on the GPU, without a word from the processor between two steps.
# XLA tries which algorithms are fast on this GPU, minutes for many programs at once, and keeps what it finds.
XLA_FLAGS = (
    "--xla_gpu_enable_command_buffer=FUSION,CUBLAS,CUBLASLT,CUSTOM_CALL,CONDITIONAL,WHILE "
    f"--xla_gpu_graph_min_graph_size=1 --xla_gpu_per_fusion_autotune_cache_dir={FOLDER / 'autotuned'}"
)


def main() -> None:
    """Train all runs side by side, or the one that is named."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=float("inf"), help="stop after so long")
    options.add_argument("--until", type=float, default=float("inf"), help="stop after so many training samples")
    options.add_argument("--platform", default="cuda", help="cuda or cpu")
    options.add_argument("--run", help="a run_id: this one alone, in this process")
    options.add_argument("--parent", type=int, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.parent:
        _end_with(chosen.parent)
    jobs = {job["run_id"]: job for job in json.loads((FOLDER / JOBS).read_text(encoding="utf-8"))}
    if chosen.run and chosen.run not in jobs:
        sys.exit(f"There is no run {chosen.run} here. The runs are:\n" + "\n".join(jobs))
    if importlib.util.find_spec("jax") is None:
        sys.exit("JAX is not installed for this Python: pip install 'jax[cuda13]', or 'jax' with --platform cpu.")
    if chosen.run:
        train(jobs[chosen.run], time.time() + chosen.seconds, chosen.until, chosen.platform)
    else:
        _train_all(list(jobs))


def _train_all(run_ids: list[str]) -> None:
    """A process for each run; all end with this one."""
    (FOLDER / "autotuned").mkdir(exist_ok=True)
    signals: list[int] = []
    for stop in (signal.SIGINT, signal.SIGTERM):  # the first is ignored otherwise by what a shell starts with &
        signal.signal(stop, lambda number, _: signals.append(number))  # no error in the middle of starting a process
    command = [sys.executable, __file__, *sys.argv[1:], "--parent", str(os.getpid()), "--run"]
    processes = {run_id: subprocess.Popen([*command, run_id]) for run_id in run_ids}
    while not signals and any(process.poll() is None for process in processes.values()):
        time.sleep(0.1)
    for process in processes.values():
        process.terminate()
    if signals:
        sys.exit(STOPPED)
    failed = [run_id for run_id, process in processes.items() if process.wait()]
    if failed:
        sys.exit(f"Failed, for the reasons above: {', '.join(failed)}. The same command goes on with the others.")


def _end_with(parent: int) -> None:
    """End this process when the one that started it is gone, killed or not: nobody waits for its work any more."""

    def follow() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


class Device:
    """A processor of JAX's that runs programs of StableHLO, by what JAX itself calls: JAX has no public door for it."""

    def __init__(self, name: str):
        if name == "cuda":  # before JAX starts, and beside what the user asks of XLA
            os.environ["XLA_FLAGS"] = f"{XLA_FLAGS} {os.environ.get('XLA_FLAGS', '')}"
            os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        import jax
        from jax._src.lib import xla_client

        jax.config.update("jax_enable_x64", True)
        try:
            self._device = jax.devices(name)[0]
        except RuntimeError as error:
            sys.exit(f"JAX finds no {name} device: {str(error).splitlines()[0]}")
        self._put, self._xla = jax.device_put, xla_client
        self.kind = self._device.device_kind

    def put(self, array: Any) -> Any:
        """The array on the device."""
        return self._put(array, self._device)

    def load(self, program: Path) -> Callable[..., list]:
        """A function of arrays on the device, of the compiled program."""
        devices, text = self._xla.DeviceList((self._device,)), program.read_text(encoding="utf-8")
        executable = self._device.client.compile_and_load(text, devices, self._xla.CompileOptions())

        def call(*arguments) -> list:
            outputs = executable.execute_sharded(list(arguments)).disassemble_into_single_device_arrays()
            return [output[0] for output in outputs]

        return call


def train(job: dict, deadline: float, until: float, platform_name: str) -> None:
    """Train one run to its end, the deadline or `until`, evaluated at its points on the way.

    Exits with a message where the run diverges: where the objective, an evaluation or the state is not finite.
    """
    file = FOLDER / TRAINED / f"{job['run_id']}.npz"
    arrays = np.load(FOLDER / ARRAYS)
    progress, state, evaluated = _load(job, file, arrays)
    if progress["first_bad"] >= 0:
        sys.exit(f"{job['run_id']} diverged at step {progress['first_bad']}.")
    points = {int(step): noise for step, noise in job["points"].items()}
    last = np.ceil(until / job["samples_per_step"])  # the step that reaches `until`, as evaluation points do
    targets = [step for step in sorted({*points, *job["marks"]}) if progress["step"] < step <= last]
    if not targets:
        return

    device = Device(platform_name)
    steps, bound = (device.load(FOLDER / PROGRAMS / job[name]) for name in ("steps", "bound"))
    x_train, x_test, seed = (
        device.put(x) for x in (arrays[job["x_train"]], arrays[job["x_test"]], np.int64(job["seed"]))
    )
    state, evaluated = [device.put(leaf) for leaf in state], [device.put(leaf) for leaf in evaluated]
    _add_contributor(progress, job, _environment(device))
    before, saved_at = (progress["step"], progress["seconds"]), time.monotonic()
    for target in targets:
        if time.time() > deadline:
            break
        start = time.perf_counter()
        n_steps, sums = np.int64(target - progress["step"]), np.float64(progress["sums"][-1][1:])
        *next_state, sums, first_bad = steps(*state, x_train, seed, device.put(n_steps), device.put(sums))
        progress["first_bad"] = int(np.asarray(first_bad))
        progress["seconds"] += time.perf_counter() - start
        if progress["first_bad"] >= 0:
            break
        state, progress["step"] = next_state, target
        progress["sums"].append([target, *np.asarray(sums).tolist()])
        if target in points:
            evaluated = state[1 : 1 + job["n_params"]]
            row = _evaluate(bound(*evaluated, x_test, device.put(np.int64(points[target]))))
            if not all(np.isfinite(np.asarray(x)).all() for x in (*row.values(), *state)):
                progress["first_bad"] = target - 1
                break
            progress["rows"].append({"step": target, **row, "seconds": progress["seconds"]})
        if time.monotonic() - saved_at > SAVE_SECONDS:
            _save(file, progress, state, evaluated)
            saved_at = time.monotonic()
    _save(file, progress, state, evaluated)
    if progress["first_bad"] >= 0:
        sys.exit(f"{job['run_id']} diverged at step {progress['first_bad']}.")
    rate = (progress["step"] - before[0]) * job["samples_per_step"] / max(progress["seconds"] - before[1], 1e-9)
    bound_now = f"{progress['rows'][-1]['value']:.2f} nats on test" if progress["rows"] else "not evaluated yet"
    samples = progress["step"] * job["samples_per_step"]
    print(f"{job['run_id']}: {samples:,} samples, {bound_now}, {rate:,.0f} samples/s", flush=True)


def _add_contributor(progress: dict, job: dict, here: dict) -> None:
    """This machine as the last of those that trained the run."""
    last = progress["contributors"][-1] if progress["contributors"] else {}
    if {**last, **here} != last:
        progress["contributors"].append({"from_samples": progress["step"] * job["samples_per_step"], **here})


def _load(job: dict, file: Path, arrays: Any) -> tuple[dict, list, list]:
    """Where the run is: its progress, its state, and the weights that were last evaluated."""
    if not file.exists():
        state = [arrays[name] for name in job["state"]]
        progress = {"step": 0, "sums": [[0, 0.0, 0.0]], "rows": [], "seconds": 0.0, "first_bad": -1}
        return {**progress, "contributors": []}, state, state[1 : 1 + job["n_params"]]
    with np.load(file) as saved:
        state = [saved[f"leaf_{i}"] for i in range(len(job["state"]))]
        return json.loads(str(saved["progress"])), state, [saved[f"evaluated_{i}"] for i in range(job["n_params"])]


def _save(file: Path, progress: dict, state: list, evaluated: list) -> None:
    """Replace what is saved at once, unless another process came further."""
    if file.exists():
        with np.load(file) as saved:
            if json.loads(str(saved["progress"]))["step"] > progress["step"]:
                return
    leaves: dict[str, Any] = {f"leaf_{i}": np.asarray(leaf) for i, leaf in enumerate(state)}
    leaves |= {f"evaluated_{i}": np.asarray(leaf) for i, leaf in enumerate(evaluated)}
    file.parent.mkdir(exist_ok=True)
    new = file.with_suffix(f".{os.getpid()}")
    with new.open("wb") as stream:
        np.savez(stream, progress=json.dumps(progress), **leaves)
    new.replace(file)


def _evaluate(terms: list) -> dict[str, float]:
    """The columns of a row from log p(x|z) and the KL per datapoint."""
    log_px_given_z, kl = (np.asarray(term) for term in terms)
    elbo = (log_px_given_z - kl).astype(np.float64)
    return {
        "value": float(elbo.mean()),
        "se": float(elbo.std(ddof=1) / len(elbo) ** 0.5),
        "reconstruction": float(np.mean(log_px_given_z, dtype=np.float64)),
        "kl": float(np.mean(kl, dtype=np.float64)),
    }


def _environment(device: Device) -> dict:
    """What a record says of this machine."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.processor(),
        "device": device.kind if device.kind != "cpu" else "CPU",
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "numpy")},
    }


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(STOPPED)
