"""Random draws as functions of (seed, step), so that a run can be stopped and resumed without a trace.

All use Philox: inside a compiled function on a CPU, TensorFlow's default generator takes 50 times as long.
"""

import zlib

import tensorflow as tf

# One independent stream per purpose: two draws of one step must never share their numbers.
STREAMS = (
    *("minibatch", "eps", "dream_z", "dream_x", "initialisation", "evaluation", "chains", "samples", "weights"),
    *("targets", "gradient_variance"),
)
MAX_STREAMS = 64  # fixed, so that a new purpose leaves the numbers of the others as they are


def stream(seed: tf.Tensor | int, step: tf.Tensor | int, name: str, *parts: str | int | tf.Tensor) -> tf.Tensor:
    """The seed pair [2] of one purpose at one step; `parts` name streams within it, such as the split it is for.

    Every draw of a run gets its seed pair here, or from `fold_in` of such a pair: no two uses share their numbers.
    """
    counter = tf.cast(step, tf.int64) * MAX_STREAMS + STREAMS.index(name)
    return fold_in(tf.stack([tf.cast(seed, tf.int64), counter]), *parts)


def fold_in(seed_pair: tf.Tensor, *parts: str | int | tf.Tensor) -> tf.Tensor:
    """A seed pair [2] of its own for each name or number within a stream."""
    for part in parts:
        number = zlib.crc32(part.encode()) if isinstance(part, str) else part
        seed_pair = tf.random.experimental.stateless_fold_in(seed_pair, tf.cast(number, tf.int64), alg="philox")
    return seed_pair


def normal(seed_pair: tf.Tensor, shape) -> tf.Tensor:
    """Standard normal draws, float32."""
    return tf.random.stateless_normal(shape, seed_pair, alg="philox")


def uniform(seed_pair: tf.Tensor, shape) -> tf.Tensor:
    """Uniform draws on [0, 1), float32."""
    return tf.random.stateless_uniform(shape, seed_pair, alg="philox")


def bernoulli(seed_pair: tf.Tensor, mean: tf.Tensor) -> tf.Tensor:
    """0 or 1 with the given mean, float32."""
    return tf.cast(uniform(seed_pair, tf.shape(mean)) < mean, tf.float32)


def indices(seed_pair: tf.Tensor, n: int, size: int) -> tf.Tensor:
    """`size` indices of datapoints below n, with replacement: a uniform minibatch as in eq. 8."""
    return tf.random.stateless_uniform([size], seed_pair, maxval=n, dtype=tf.int32, alg="philox")
