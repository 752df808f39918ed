"""RunConfig refuses what cannot run, and names runs stably."""

import pytest

from replication.config import ConfigError, RunConfig

GOOD = {"dataset": "mnist", "algorithm": "aevb", "n_latent": 20, "n_hidden": 500, "samples_total": 1000}


def test_run_id_is_readable_and_stable():
    # A changed id would orphan every committed record.
    assert RunConfig(**GOOD).run_id == "mnist-aevb-z20-h500-n50000-s0-ba991074"


def test_run_id_ignores_length_and_tells_everything_else_apart():
    # If the length entered, a longer run could not continue a shorter one.
    config = RunConfig(**GOOD)
    assert config.replace(samples_total=5000).run_id == config.run_id
    changes = {"seed": 1, "learning_rate": 0.02, "initialisation": "fan_in", "n_train": 10, "weight_prior": 0.0}
    changes |= {"batch_size": 50, "n_mc_samples": 2, "warm_up_steps": 100, "algorithm": "wake_sleep"}
    ids = {config.replace(**{name: value}).run_id for name, value in changes.items()}
    assert len(ids | {config.run_id}) == len(changes) + 1


def test_spelling_out_a_default_is_the_same_run():
    assert RunConfig(**GOOD, n_train=50_000, learning_rate=0.01).run_id == RunConfig(**GOOD).run_id


@pytest.mark.parametrize("name", ["n_latent", "n_hidden", "samples_total", "n_train", "batch_size", "n_mc_samples"])
@pytest.mark.parametrize("value", [0, -3])
def test_sizes_are_positive(name, value):
    with pytest.raises(ConfigError, match=f"{name}.*greater than 0"):
        RunConfig(**{**GOOD, name: value})


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"learning_rate": "1e-4"}, "write 1.0e-4"),
        ({"learning_rate": -0.1}, "greater than 0"),
        ({"learning_rate": float("nan")}, "finite"),
        ({"samples_total": 10.5}, "integer"),
        ({"n_latent": True}, "not a number"),
        ({"dataset": "cifar"}, "'mnist', 'frey_face' or 'digits'"),
        ({"algorithm": "vae"}, "'aevb'"),
        ({"n_trian": 5}, "unknown setting; the settings are dataset"),
        ({"n_train": 50_001}, "has 50000 training datapoints"),
        ({"dreams": "mean"}, "does not dream"),
        ({"log_var_factor": 0.1}, "has no log_var_factor"),
        ({"pixel_variance": "shared"}, "no variance to share"),
        ({"dataset": "frey_face", "targets": "binarised"}, "nothing to binarise"),
    ],
)
def test_wrong_settings_say_what_to_write(setting, message):
    with pytest.raises(ConfigError, match=message):
        RunConfig(**{**GOOD, **setting})


def test_whole_floats_count_as_integers():
    # papermill's command line reads 1e6 as a float.
    assert RunConfig(**{**GOOD, "samples_total": 1e6}).samples_total == 1_000_000
