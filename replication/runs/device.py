"""Where a run computes: on a core of its own, or on the first GPU, which runs share. The one place that decides it."""

import importlib.util
import os
from pathlib import Path

import joblib

from replication.config import ConfigError

RUNS_ON_A_GPU = 4  # not measured with TensorFlow; what was measured is in docs/gpu.md


def configure() -> None:
    """Settings of a process that trains one run beside others; to be called before TensorFlow computes anything.

    One thread, and on each GPU only as much memory as the run needs, where TensorFlow would take all of it.
    """
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)


def name() -> str:
    """What a record says that it was trained on: the name of the first GPU, or CPU."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    return tf.config.experimental.get_device_details(gpus[0])["device_name"] if gpus else "CPU"


def runs_side_by_side(asked: int = -1) -> int:
    """How many runs to train at once: as many as are asked for, where -1 means as many as this machine has room for.

    Raises ConfigError for any other number below 1.
    """
    if asked == -1:
        return at_most_side_by_side(joblib.cpu_count(), _has_gpu())
    if asked < 1:
        raise ConfigError(f"{asked} jobs side by side would do nothing: ask for 1 or more, or for -1, a job per core.")
    return asked


def at_most_side_by_side(n_cores: int, has_gpu: bool) -> int:
    """A run per core; on a GPU no more than RUNS_ON_A_GPU, since each holds some of its memory."""
    return min(n_cores, RUNS_ON_A_GPU) if has_gpu else n_cores


def _has_gpu() -> bool:
    """Whether TensorFlow will find a GPU: told without importing it, which takes seconds and prints greetings."""
    is_hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    can_use_one = importlib.util.find_spec("nvidia") is not None  # the libraries of the extra `gpu`
    return can_use_one and not is_hidden and any(Path("/dev").glob("nvidia[0-9]*"))
