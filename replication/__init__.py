"""A replication of "Auto-Encoding Variational Bayes" (Kingma & Welling, arXiv:1312.6114)."""

import os

# What a process of this package is started with, as far as its user has not set it.
ENVIRONMENT = {
    # TensorFlow reads these on import. Its C++ start-up chatter would otherwise end up in notebook outputs; and Keras
    # 3, which TensorFlow Probability does not use, would take a third of the time of every start.
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_USE_LEGACY_KERAS": "1",
    # XLA reads this when it first compiles. Without it, it copies the decoder's largest matrix in every step.
    "XLA_FLAGS": "--xla_cpu_copy_insertion_use_region_analysis=true",
}
for name, value in ENVIRONMENT.items():
    os.environ.setdefault(name, value)

__version__ = "0.1.0"
