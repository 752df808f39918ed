"""The errors that a user can act on; the command line prints their text without a traceback."""


class ReplicationError(Exception):
    """Base of all errors whose message says what happened, where, and what to do next."""


class DataError(ReplicationError):
    """A dataset cannot be found, downloaded or verified."""


class UnreachableError(DataError):
    """A dataset is neither on this machine nor at any mirror that answers."""


class RecordError(ReplicationError):
    """A record or checkpoint is missing, damaged or cannot be written."""


class DivergedError(ReplicationError):
    """The state of a run, or an evaluation of it, is no longer finite."""


class EstimatorError(ReplicationError, ValueError):
    """An estimator cannot be used as asked, or not with what it was given."""
