"""How a function is compiled: one XLA program for each shape of its arguments."""

from functools import partial

import tensorflow as tf

# Without AutoGraph, which would rewrite each function for seconds per process: none branches on a tensor in Python.
compiled = partial(tf.function, jit_compile=True, autograph=False)
