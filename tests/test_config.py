"""RunConfig refuses what cannot run, and names runs stably."""

import json

import pytest
from pydantic import Field

from replication import paths
from replication.config import LEFT_OUT_OF_NAMES, ConfigError, RunConfig

GOOD = {"dataset": "mnist", "algorithm": "aevb", "n_latent": 20, "n_hidden": 500, "samples_total": 1000}


def test_a_training_set_of_one_datapoint_is_refused():
    # Its evaluation has no standard error: the run ended as diverged, with advice on its learning rate.
    with pytest.raises(ConfigError, match="n_train: Input should be greater than 1, not 1"):
        RunConfig(dataset="digits", algorithm="aevb", n_latent=2, n_hidden=8, samples_total=1, n_train=1)


def test_run_id_is_readable_and_stable():
    # A changed id would orphan every committed record.
    assert RunConfig(**GOOD).run_id == "mnist-aevb-z20-h500-n50000-s0-ba991074"


def test_every_committed_record_keeps_its_name():
    # Fails if a setting that is added or a default that is changed gives a record another name.
    stored = [json.loads(file.read_text()) for file in paths.runs("paper").glob("*/config.json")]
    assert len(stored) >= 116
    for record in stored:
        assert RunConfig(**record["config"]).run_id == record["run_id"]


def test_every_setting_with_a_default_has_a_frozen_value():
    # A setting that is not in the table would enter every name, and orphan every record.
    optional = {name for name, field in RunConfig.model_fields.items() if not field.is_required()}
    assert optional == LEFT_OUT_OF_NAMES.keys()


def test_a_changed_default_gives_new_names_and_a_new_setting_does_not(monkeypatch):
    # Otherwise yesterday's records would pass for runs with today's default.
    class Later(RunConfig):
        learning_rate: float = Field(0.02)
        momentum: float = Field(0.0)

    monkeypatch.setitem(LEFT_OUT_OF_NAMES, "momentum", 0.0)
    assert Later(**GOOD).run_id == RunConfig(**GOOD, learning_rate=0.02).run_id != RunConfig(**GOOD).run_id
    assert Later(**GOOD, learning_rate=0.01).run_id == RunConfig(**GOOD).run_id
    assert Later(**GOOD, momentum=0.9).run_id != Later(**GOOD).run_id


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
    least = 1 if name == "n_train" else 0
    with pytest.raises(ConfigError, match=f"{name}.*greater than {least}"):
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
        ({"n_latent": 33, "metric": "log_px"}, "up to 32 latent variables"),
        ({"n_latent": 10**9}, "less than or equal to 100000"),
        ({"warm_up_steps": 10**19}, "warm_up_steps: .*less than 2147483648"),
        ({"samples_total": 10**30}, "samples_total: .*less than or equal to 1000000000000"),
        ({"n_trian": 5}, "unknown setting; the settings are dataset"),
        ({"n_train": 50_001}, "has 50000 training datapoints"),
        ({"dreams": "mean"}, "aevb does not use dreams, only wake_sleep: leave it at 'sampled'"),
        ({"log_var_factor": 0.1}, "aevb does not use log_var_factor"),
        (
            {"algorithm": "wake_sleep", "decoder_log_var_factor": 0.1},
            "mnist has a Bernoulli likelihood, which has no decoder_log_var_factor",
        ),
        ({"algorithm": "full_vb", "hidden_units": "softplus"}, "full_vb does not use hidden_units"),
        ({"weight_noise": "local"}, "aevb does not use weight_noise, only full_vb"),
        ({"algorithm": "full_vb", "weight_prior": 0}, "full_vb does not use weight_prior"),
        ({"weight_prior": 0, "prior_on": "authors"}, "weight_prior = 0 is no prior"),
        ({"algorithm": "mcem", "n_mc_samples": 7}, "mcem does not use n_mc_samples"),
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
