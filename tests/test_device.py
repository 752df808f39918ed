"""A run has one thread; on a GPU, which runs share, it takes only the memory that it needs."""

import subprocess
import sys

import pytest
import tensorflow as tf

from replication.config import ConfigError
from replication.runs import device

# What TensorFlow says after `configure`, in a process of its own, since it fixes its threads at the first use.
SETTINGS = """
import tensorflow as tf
from replication.runs import device
device.configure()
tf.constant(1.0) + 1
print(tf.config.threading.get_intra_op_parallelism_threads(), tf.config.threading.get_inter_op_parallelism_threads())
print(all(tf.config.experimental.get_memory_growth(gpu) for gpu in tf.config.list_physical_devices("GPU")))
"""


@pytest.mark.slow
def test_a_run_has_one_thread_and_takes_no_more_of_a_gpu_than_it_needs():
    # Fails if runs side by side take each other's cores, or, on a machine with a GPU, if the first takes all of it.
    run = subprocess.run([sys.executable, "-c", SETTINGS], capture_output=True, text=True)
    assert run.stdout.split() == ["1", "1", "True"], run.stderr[-2000:]


def test_every_gpu_that_is_there_grows(monkeypatch):
    # Fails if a GPU is left out, or keeps TensorFlow's default of all its memory. No GPU is needed: its list is given,
    # and the setting is taken down instead of made.
    gpus = [tf.config.PhysicalDevice(f"/physical_device:GPU:{i}", "GPU") for i in range(2)]
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: gpus if kind == "GPU" else [])
    growing = {}
    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", growing.__setitem__)
    for threads in ("set_intra_op_parallelism_threads", "set_inter_op_parallelism_threads"):
        monkeypatch.setattr(tf.config.threading, threads, lambda n: None)  # too late in this process
    device.configure()
    assert growing == dict.fromkeys(gpus, True)


def test_a_run_per_core_and_a_stated_number_on_a_gpu():
    # Fails if a machine with a GPU and many cores fills its memory with runs, or one without leaves cores idle.
    assert device.at_most_side_by_side(64, has_gpu=False) == 64
    assert device.at_most_side_by_side(64, has_gpu=True) == device.RUNS_ON_A_GPU
    assert device.at_most_side_by_side(2, has_gpu=True) == 2


@pytest.mark.parametrize("asked", [0, -2, -3])
def test_a_number_of_jobs_that_would_do_nothing_is_refused(asked):
    # Such a batch trained nothing, executed nothing and ended as if all were done. -1 is all cores, as elsewhere.
    assert device.runs_side_by_side(-1) == device.runs_side_by_side() >= 1 and device.runs_side_by_side(3) == 3
    with pytest.raises(ConfigError, match=f"{asked} jobs side by side would do nothing"):
        device.runs_side_by_side(asked)


def test_without_a_visible_gpu_no_core_stays_idle(monkeypatch):
    # Fails if a hidden GPU counts. It cannot fail the other way round on a machine that has none.
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert device.runs_side_by_side() == device.at_most_side_by_side(device.joblib.cpu_count(), has_gpu=False)


def test_the_device_in_a_record_is_the_one_that_tensorflow_computes_on():
    # Fails if a record names a processor where a GPU computed, or the other way round.
    assert (device.name() == "CPU") == (not tf.config.list_physical_devices("GPU"))
