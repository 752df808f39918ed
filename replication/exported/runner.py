"""Train exported runs, one process each: `python3 runner.py --help`. Needs numpy and jaxlib, not this package.

Every run stops at --seconds and goes on from there when started again. Many runs share a GPU only where NVIDIA's
multi-process service runs (`nvidia-cuda-mps-control -d`); without it they take turns, which gains nothing.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).resolve().parent
JOBS, ARRAYS, PROGRAMS, TRAINED = "jobs.json", "arrays.npz", "programs", "trained"
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
    chosen = options.parse_args()
    jobs = {job["run_id"]: job for job in json.loads((FOLDER / JOBS).read_text())}
    if chosen.run:
        train(jobs[chosen.run], time.time() + chosen.seconds, chosen.until, chosen.platform)
        return
    flags = XLA_FLAGS if chosen.platform == "cuda" else ""
    environment = {**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false", "XLA_FLAGS": flags}
    (FOLDER / "autotuned").mkdir(exist_ok=True)
    processes = {
        run_id: subprocess.Popen([sys.executable, __file__, *sys.argv[1:], "--run", run_id], env=environment)
        for run_id in jobs
    }
    failed = [run_id for run_id, process in processes.items() if process.wait()]
    if failed:
        sys.exit(f"Failed, for the reason above: {', '.join(failed)}. The same command goes on with the others.")


class Device:
    """A processor of JAX's that runs programs of StableHLO."""

    def __init__(self, name: str):
        import jax
        from jax._src.lib import xla_client

        jax.config.update("jax_enable_x64", True)
        self._device = jax.devices(name)[0]
        self._put, self._xla = jax.device_put, xla_client
        self.kind = self._device.device_kind

    def put(self, array: Any) -> Any:
        """The array on the device."""
        return self._put(array, self._device)

    def load(self, program: Path) -> Callable[..., list]:
        """A function of arrays on the device, of the compiled program."""
        devices = self._xla.DeviceList((self._device,))
        executable = self._device.client.compile_and_load(program.read_text(), devices, self._xla.CompileOptions())

        def call(*arguments) -> list:
            outputs = executable.execute_sharded(list(arguments)).disassemble_into_single_device_arrays()
            return [output[0] for output in outputs]

        return call


def train(job: dict, deadline: float, until: float, platform_name: str) -> None:
    """Train one run to its end, the deadline or `until`, evaluated at its points on the way, and save where it is."""
    file = FOLDER / TRAINED / f"{job['run_id']}.npz"
    arrays = np.load(FOLDER / ARRAYS)
    progress, state, evaluated = _load(job, file, arrays)
    points = {int(step): noise for step, noise in job["points"].items()}
    limit = until / job["samples_per_step"]
    targets = [step for step in sorted({*points, *job["marks"]}) if progress["step"] < step <= limit]
    if not targets or progress["first_bad"] >= 0:
        return

    device = Device(platform_name)
    steps, bound = (device.load(FOLDER / PROGRAMS / job[name]) for name in ("steps", "bound"))
    x_train, x_test, seed = (
        device.put(x) for x in (arrays[job["x_train"]], arrays[job["x_test"]], np.int64(job["seed"]))
    )
    state, evaluated = [device.put(leaf) for leaf in state], [device.put(leaf) for leaf in evaluated]
    before = progress["step"], progress["seconds"]
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
            progress["rows"].append({"step": target, **row, "seconds": progress["seconds"]})
    progress["environment"] = _environment(device)
    _save(file, progress, state, evaluated)
    rate = (progress["step"] - before[0]) * job["samples_per_step"] / max(progress["seconds"] - before[1], 1e-9)
    bound_now = f"{progress['rows'][-1]['bound']:.2f} nats on test" if progress["rows"] else "not evaluated yet"
    samples = progress["step"] * job["samples_per_step"]
    print(f"{job['run_id']}: {samples:,} samples, {bound_now}, {rate:,.0f} samples/s", flush=True)


def _load(job: dict, file: Path, arrays: Any) -> tuple[dict, list, list]:
    """Where the run is: its progress, its state, and the weights that were last evaluated."""
    if not file.exists():
        state = [arrays[name] for name in job["state"]]
        progress = {"step": 0, "sums": [[0, 0.0, 0.0]], "rows": [], "seconds": 0.0, "first_bad": -1}
        return progress, state, state[1 : 1 + job["n_params"]]
    with np.load(file) as saved:
        state = [saved[f"leaf_{i}"] for i in range(len(job["state"]))]
        return json.loads(str(saved["progress"])), state, [saved[f"evaluated_{i}"] for i in range(job["n_params"])]


def _save(file: Path, progress: dict, state: list, evaluated: list) -> None:
    leaves: dict[str, Any] = {f"leaf_{i}": np.asarray(leaf) for i, leaf in enumerate(state)}
    leaves |= {f"evaluated_{i}": np.asarray(leaf) for i, leaf in enumerate(evaluated)}
    file.parent.mkdir(exist_ok=True)
    new = file.with_suffix(".new")
    with new.open("wb") as stream:
        np.savez(stream, progress=json.dumps(progress), **leaves)
    new.replace(file)


def _evaluate(terms: list) -> dict[str, float]:
    """The columns of a row from log p(x|z) and the KL per datapoint."""
    log_px_given_z, kl = (np.asarray(term) for term in terms)
    elbo = (log_px_given_z - kl).astype(np.float64)
    return {
        "bound": float(elbo.mean()),
        "bound_se": float(elbo.std(ddof=1) / len(elbo) ** 0.5),
        "reconstruction": float(np.mean(log_px_given_z, dtype=np.float64)),
        "kl": float(np.mean(kl, dtype=np.float64)),
    }


def _environment(device: Device) -> dict:
    """What a record says of this machine."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.processor(),
        "device": device.kind if device.kind != "cpu" else "CPU",
        "python": platform.python_version(),
        "packages": {"jaxlib": importlib.metadata.version("jaxlib"), "numpy": np.__version__},
    }


if __name__ == "__main__":
    main()
