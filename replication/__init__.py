"""A replication of "Auto-Encoding Variational Bayes" (Kingma & Welling, arXiv:1312.6114)."""

import os

# TensorFlow reads this on import; its C++ start-up chatter would otherwise end up in notebook outputs.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

__version__ = "0.1.0"
