"""The contenders: each trains the same VAE on the same shapes and reports samples/s of several windows.

`python -m replication.benchmark.contenders NAME SECONDS` prints a list of rates.
"""

import json
import sys
import time
from collections.abc import Callable

import numpy as np

N, N_PIXELS, N_HIDDEN, N_LATENT, M = 10_000, 784, 500, 20, 100
N_WINDOWS = 5


def images() -> np.ndarray:
    """Random grey values [N, 784]: no rate depends on what is in the pictures."""
    return np.random.default_rng(0).random((N, N_PIXELS), dtype=np.float32)


def rates(steps: Callable[[int], object], seconds: float) -> list[float]:
    """Samples/s of N_WINDOWS windows that share `seconds`, after a warm-up that compiles and calibrates."""
    steps(10)
    start = time.perf_counter()
    steps(50)
    n_steps = max(10, int(50 * seconds / N_WINDOWS / (time.perf_counter() - start)))
    found = []
    for _ in range(N_WINDOWS):
        start = time.perf_counter()
        steps(n_steps)
        found.append(n_steps * M / (time.perf_counter() - start))
    return found


def engine(seconds: float) -> list[float]:
    """This project's compiled loop on one core."""
    from replication import data
    from replication.config import RunConfig
    from replication.runs import device, training

    device.configure()
    config = RunConfig(
        dataset="mnist", algorithm="aevb", n_latent=N_LATENT, n_hidden=N_HIDDEN, n_train=N, samples_total=N
    )
    x = images()
    built = training.Engine(config, data.Dataset("random", x, x[:M]))
    return rates(lambda n: float(built.run_steps(built.initial_state, n)[1][0]), seconds)


def keras_fit(seconds: float) -> list[float]:
    """The VAE as a Keras user would write it, trained by `fit` with its defaults."""
    import keras

    class VAE(keras.Model):
        def __init__(self):
            super().__init__()
            self.encoder = keras.layers.Dense(N_HIDDEN, "tanh")
            self.moments = keras.layers.Dense(2 * N_LATENT)
            self.decoder = keras.Sequential([keras.layers.Dense(N_HIDDEN, "tanh"), keras.layers.Dense(N_PIXELS)])
            self.noise = keras.random.SeedGenerator(0)

        def call(self, x):
            ops = keras.ops
            mean, log_var = ops.split(self.moments(self.encoder(x)), 2, axis=-1)
            z = mean + ops.exp(log_var / 2) * keras.random.normal(ops.shape(mean), seed=self.noise)
            self.add_loss(0.5 * ops.mean(ops.sum(mean**2 + ops.exp(log_var) - 1 - log_var, axis=-1)))
            return self.decoder(z)

    def reconstruction_loss(x, logits):
        return keras.ops.sum(keras.ops.softplus(logits) - x * logits, axis=-1)

    model, x = VAE(), images()
    model.compile(keras.optimizers.Adagrad(0.01), loss=reconstruction_loss)

    def steps(n: int) -> None:
        for begin in range(0, n, N // M):
            size = min(n - begin, N // M) * M
            model.fit(x[:size], x[:size], batch_size=M, epochs=1, verbose=0)

    return rates(steps, seconds)


def sgemm(seconds: float) -> list[float]:
    """Only the matrix products of a step, forward and backward: what no engine on one core can beat."""
    from threadpoolctl import threadpool_limits

    shapes = [(N_PIXELS, N_HIDDEN), (N_HIDDEN, 2 * N_LATENT), (N_LATENT, N_HIDDEN), (N_HIDDEN, N_PIXELS)]
    rng = np.random.default_rng(0)
    layers = [(rng.random((M, i), "f"), rng.random((i, o), "f"), rng.random((M, o), "f")) for i, o in shapes]

    def steps(n: int) -> None:
        for _ in range(n):
            for i, (inputs, w, gradient) in enumerate(layers):
                inputs @ w
                inputs.T @ gradient
                if i:  # nobody needs the gradient with respect to the pixels
                    gradient @ w.T

    with threadpool_limits(1):
        return rates(steps, seconds)


def pytorch(seconds: float) -> list[float]:
    """The VAE as a PyTorch user would write it, eager."""
    import torch
    from torch import nn

    encoder, moments = nn.Sequential(nn.Linear(N_PIXELS, N_HIDDEN), nn.Tanh()), nn.Linear(N_HIDDEN, 2 * N_LATENT)
    decoder = nn.Sequential(nn.Linear(N_LATENT, N_HIDDEN), nn.Tanh(), nn.Linear(N_HIDDEN, N_PIXELS))
    parameters = [*encoder.parameters(), *moments.parameters(), *decoder.parameters()]
    optimiser = torch.optim.Adagrad(parameters, 0.01)
    x_train = torch.from_numpy(images())

    def steps(n: int) -> None:
        for _ in range(n):
            x = x_train[torch.randint(N, (M,))]
            mean, log_var = moments(encoder(x)).chunk(2, dim=-1)
            z = mean + torch.exp(log_var / 2) * torch.randn_like(mean)
            kl = 0.5 * (mean**2 + log_var.exp() - 1 - log_var).sum()
            loss = nn.functional.binary_cross_entropy_with_logits(decoder(z), x, reduction="sum") + kl
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()

    return rates(steps, seconds)


def jax(seconds: float) -> list[float]:
    """The VAE in JAX, compiled, many steps per call through `lax.scan`."""
    import jax
    import jax.numpy as jnp

    x_train = jnp.asarray(images())
    shapes = [(N_PIXELS, N_HIDDEN), (N_HIDDEN, 2 * N_LATENT), (N_LATENT, N_HIDDEN), (N_HIDDEN, N_PIXELS)]
    params = [(0.01 * jax.random.normal(jax.random.key(i), s), jnp.zeros(s[1])) for i, s in enumerate(shapes)]
    sums = jax.tree.map(jnp.zeros_like, params)

    def loss(params, x, eps):
        (w1, b1), (w2, b2), (w3, b3), (w4, b4) = params
        mean, log_var = jnp.split(jnp.tanh(x @ w1 + b1) @ w2 + b2, 2, axis=-1)
        z = mean + jnp.exp(log_var / 2) * eps
        logits = jnp.tanh(z @ w3 + b3) @ w4 + b4
        kl = 0.5 * jnp.sum(mean**2 + jnp.exp(log_var) - 1 - log_var)
        return jnp.sum(jax.nn.softplus(logits) - x * logits) + kl

    def step(carry, key):
        params, sums = carry
        key_x, key_eps = jax.random.split(key)
        x = x_train[jax.random.randint(key_x, (M,), 0, N)]
        gradient = jax.grad(loss)(params, x, jax.random.normal(key_eps, (M, N_LATENT)))
        sums = jax.tree.map(lambda s, g: s + g**2, sums, gradient)
        params = jax.tree.map(lambda p, g, s: p - 0.01 * g * jax.lax.rsqrt(s + 1e-8), params, gradient, sums)
        return (params, sums), None

    scan = jax.jit(lambda keys: jax.lax.scan(step, (params, sums), keys)[0][0][0][1])
    return rates(lambda n: scan(jax.random.split(jax.random.key(0), n)).block_until_ready(), seconds)


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](float(sys.argv[2]))))
