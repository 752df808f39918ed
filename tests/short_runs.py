"""Three short runs and a hash of their weights, which says whether two processors agree to the last bit.

`python tests/short_runs.py` prints them for this processor, `ONEDNN_MAX_CPU_ISA=AVX2 python tests/short_runs.py` as on
one without AVX-512. What is known so far is in portable_hashes.json.
"""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

N_STEPS = 200
RUNS = {
    "mnist aevb": {"dataset": "mnist", "algorithm": "aevb", "n_latent": 20, "n_hidden": 500},
    "mnist wake_sleep": {"dataset": "mnist", "algorithm": "wake_sleep", "n_latent": 20, "n_hidden": 500},
    "frey_face aevb": {"dataset": "frey_face", "algorithm": "aevb", "n_latent": 10, "n_hidden": 200},
}


def train() -> dict[str, dict]:
    """The mean objective over the steps, in nats, and the start of the weights' SHA-256 for each run."""
    import tensorflow as tf

    from replication import data
    from replication.config import RunConfig
    from replication.runs import device, training

    device.configure()
    found = {}
    for name, settings in RUNS.items():
        config = RunConfig(**settings, samples_total=100 * N_STEPS)
        engine = training.Engine(config, data.load(config.dataset, config.preparation))
        state, (total, _), _ = engine.run_steps(engine.initial_state, N_STEPS)
        weights = b"".join(leaf.numpy().tobytes() for leaf in tf.nest.flatten(state.params))
        found[name] = {"objective": float(total) / N_STEPS, "weights": hashlib.sha256(weights).hexdigest()[:16]}
    return found


def train_with(isa: str | None) -> dict[str, dict]:
    """`train` in a new process with ONEDNN_MAX_CPU_ISA as given: TensorFlow reads it, and the threads, only once."""
    env = {name: value for name, value in os.environ.items() if name != "ONEDNN_MAX_CPU_ISA"}
    env |= {"ONEDNN_MAX_CPU_ISA": isa} if isa else {}
    done = subprocess.run([sys.executable, __file__], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def processor() -> tuple[str, str, set[str]]:
    """Maker, name and instruction sets of this processor as Linux tells them; empty elsewhere."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().split("\n\n")[0].splitlines() if path.exists() else []
    facts = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return facts.get("vendor_id", ""), facts.get("model name", ""), set(facts.get("flags", "").split())


if __name__ == "__main__":
    print(json.dumps(train(), indent=2))
