"""The records of an experiment: read where they are there, trained where they are missing."""

from replication import paths
from replication.config import RunConfig
from replication.errors import RecordError
from replication.runs import duration, records
from replication.runs.parallel import train_all


def load_or_train(configs: list[RunConfig], profile: str) -> list[records.Record]:
    """The records of a profile, after training those that are missing, a run per core; first it says how long.

    At paper scale a record that does not reach `samples_total` yet is taken as it is: `python -m replication train`
    extends it. Elsewhere it is what an interruption left, and is trained to its end.
    Raises RecordError for a missing record where $REPLICATION_RECORDED_ONLY is set, and where there is nothing to load.
    """
    if not configs:
        raise RecordError(
            "This experiment has no run with these settings. Choose other datasets (datasets = 'mnist'), or other "
            "overrides: a line above says which do not fit."
        )
    folder = paths.runs(profile)
    is_there = records.load if profile == "paper" else records.is_complete
    missing = [config for config in configs if not is_there(config, folder)]
    if missing and paths.is_recorded_only():
        raise RecordError(
            f"REPLICATION_RECORDED_ONLY is set, but these runs have no record in {folder}:\n"
            + "\n".join(f"  {config.run_id}" for config in missing)
            + f"\nTrain them with `python -m replication train --profile {profile}`."
        )
    if missing:
        print(duration.in_words(missing, folder))
        train_all(missing, folder)
    return [records.require(config, folder) for config in configs]
