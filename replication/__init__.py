"""A replication of "Auto-Encoding Variational Bayes" (Kingma & Welling, arXiv:1312.6114)."""

import os
import sys
from contextlib import suppress
from io import UnsupportedOperation

# What a process of this package is started with, as far as its user has not set it.
ENVIRONMENT = {
    # TensorFlow reads these on import. Its C++ would otherwise say more; and Keras 3, which TensorFlow Probability does
    # not use, would take a third of the time of every start.
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_USE_LEGACY_KERAS": "1",
    # XLA reads this when it first compiles. Without it, it copies the decoder's largest matrix in every step.
    "XLA_FLAGS": "--xla_cpu_copy_insertion_use_region_analysis=true",
}
for name, value in ENVIRONMENT.items():
    os.environ.setdefault(name, value)

# TensorFlow's C++ greets on import, which no setting silences. In a notebook it would do so in the output of the first
# cell: a kernel leads file descriptor 2 there. `fileno` is where it led before, the terminal or the server's log.
if "ipykernel" in sys.modules:
    with suppress(UnsupportedOperation):  # below pytest, a kernel leads nothing there
        os.dup2(sys.stderr.fileno(), 2)

__version__ = "0.1.0"
