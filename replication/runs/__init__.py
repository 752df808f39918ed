"""A training run and its record; start reading at `training.train`."""
