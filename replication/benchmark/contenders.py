"""The contenders: each trains the same VAE by the same rule on the same data, in a process of its own.

The work is that of AEVB here: minibatches drawn with replacement, noise drawn in the step, the sum of the bound over
the minibatch plus (M/N) log p(theta) with p(theta) = N(0, I) on weight matrices, Adagrad with its epsilon under the
root, and a guard against objectives that are not finite. Keras `fit` shuffles instead, as it does for its users.

A process is started by `replication.benchmark` with a task as JSON and answers commands on its standard input, each
answer a line of JSON. It is a script of its own: a peer's process imports nothing of this package.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ADAGRAD_EPSILON = 1e-8
LAYERS = ("encoder.hidden", "encoder.mean", "encoder.log_var", "decoder.hidden", "decoder.logits")
Arrays = dict[str, np.ndarray]


class Task(NamedTuple):
    """The data [N, D], the weights to start from, by name, and what else decides the work."""

    x_train: np.ndarray
    initial: Arrays
    batch_size: int
    learning_rate: float
    seed: int
    on_one_core: bool

    @property
    def steps_per_epoch(self) -> int:
        """The steps of one call."""
        return len(self.x_train) // self.batch_size

    @property
    def prior(self) -> float:
        """The share M/N of the weights' prior in a minibatch."""
        return self.batch_size / len(self.x_train)

    @property
    def n_latent(self) -> int:
        """The dimensionality of z."""
        return self.initial["decoder.hidden.w"].shape[0]


class Trainer(NamedTuple):
    """`epoch()` trains for N/M steps and returns when they are done; `weights()` are the weights by name."""

    epoch: Callable[[], None]
    weights: Callable[[], Arrays]


def engine(task: Task) -> Trainer:
    """This project's compiled loop."""
    from replication import data
    from replication.algorithms import base
    from replication.config import RunConfig
    from replication.model import networks
    from replication.runs import device, training

    if task.on_one_core:
        device.configure()
    config = RunConfig(
        dataset="mnist", algorithm="aevb", n_latent=task.n_latent, n_hidden=len(task.initial["encoder.hidden.b"]),
        n_train=len(task.x_train), samples_total=1, batch_size=task.batch_size, learning_rate=task.learning_rate,
        seed=task.seed,
    )  # fmt: skip
    built = training.Engine(config, data.Dataset("mnist", task.x_train, task.x_train[:1]))
    state = base.start(networks.from_arrays(task.initial))

    def epoch() -> None:
        nonlocal state
        state, _, first_bad = built.run_steps(state, task.steps_per_epoch)
        _require_finite(int(first_bad) < 0)

    return Trainer(epoch, lambda: networks.to_arrays(state.params))


def keras_fit(task: Task) -> Trainer:
    """The VAE as a Keras user would write it, trained by `fit` with its defaults."""
    import keras

    layers, n_latent = _joined(task.initial), task.n_latent
    prior = keras.regularizers.L2(task.prior / 2)

    def dense(i: int, activation: str | None = None) -> Any:
        return keras.layers.Dense(layers[i][0].shape[1], activation, kernel_regularizer=prior)

    class VAE(keras.Model):
        def __init__(self):
            super().__init__()
            self.encoder, self.moments = dense(0, "tanh"), dense(1)
            self.hidden, self.logits = dense(2, "tanh"), dense(3)
            self.noise = keras.random.SeedGenerator(task.seed)

        def call(self, x):
            ops = keras.ops
            mean, log_var = ops.split(self.moments(self.encoder(x)), 2, axis=-1)
            z = mean + ops.exp(log_var / 2) * keras.random.normal((task.batch_size, n_latent), seed=self.noise)
            logits = self.logits(self.hidden(z))
            self.add_loss(ops.sum(ops.softplus(logits) - x * logits))
            self.add_loss(0.5 * ops.sum(mean**2 + ops.exp(log_var) - 1 - log_var))
            return logits

    keras.utils.set_random_seed(task.seed)
    model = VAE()
    model(task.x_train[: task.batch_size])
    model.set_weights([array for layer in layers for array in layer])
    adagrad = keras.optimizers.Adagrad(task.learning_rate, initial_accumulator_value=0.0, epsilon=ADAGRAD_EPSILON)
    model.compile(adagrad)
    guard = keras.callbacks.TerminateOnNaN()

    def epoch() -> None:
        x = task.x_train[: task.steps_per_epoch * task.batch_size]
        history = model.fit(x, batch_size=task.batch_size, epochs=1, verbose=0, callbacks=[guard])
        _require_finite(np.isfinite(history.history["loss"][-1]))

    def weights() -> Arrays:
        return _apart(model.get_weights())

    return Trainer(epoch, weights)


def pytorch(task: Task) -> Trainer:
    """The VAE as a PyTorch user would write it, eager. PyTorch has Adagrad's epsilon outside the root."""
    import torch

    x_train, parameters, loss = _pytorch(task)
    decay = [{"params": [p for p in parameters if p.ndim == n], "weight_decay": n_of_prior}
             for n, n_of_prior in ((2, task.prior), (1, 0.0))]  # fmt: skip
    optimiser = torch.optim.Adagrad(decay, task.learning_rate, eps=ADAGRAD_EPSILON**0.5)

    def step(x):
        optimiser.zero_grad()
        value = loss(x, *parameters)
        value.backward()
        optimiser.step()
        return value.detach()

    return _pytorch_trainer(task, x_train, parameters, step)


def pytorch_compiled(task: Task) -> Trainer:
    """The same with loss, gradient and update through `torch.compile`."""
    import torch

    x_train, parameters, loss = _pytorch(task)
    sums = [torch.zeros_like(parameter) for parameter in parameters]
    compiled_loss = torch.compile(loss)

    @torch.no_grad()
    @torch.compile
    def update(gradients):
        for parameter, total, gradient in zip(parameters, sums, gradients, strict=True):
            g = gradient + task.prior * parameter if parameter.ndim == 2 else gradient
            total.addcmul_(g, g)
            parameter.addcmul_(g, torch.rsqrt(total + ADAGRAD_EPSILON), value=-task.learning_rate)

    def step(x):
        value = compiled_loss(x, *parameters)
        update(torch.autograd.grad(value, parameters))
        return value.detach()

    return _pytorch_trainer(task, x_train, parameters, step)


def _pytorch(task: Task) -> tuple:
    """The training images, the parameters and the loss."""
    import torch

    torch.manual_seed(task.seed)
    if task.on_one_core:
        torch.set_num_threads(1)

    def loss(x, w1, b1, w2, b2, w3, b3, w4, b4):
        mean, log_var = torch.addmm(b2, torch.tanh(torch.addmm(b1, x, w1)), w2).chunk(2, dim=-1)
        z = mean + torch.exp(log_var / 2) * torch.randn_like(mean)
        logits = torch.addmm(b4, torch.tanh(torch.addmm(b3, z, w3)), w4)
        kl = 0.5 * (mean**2 + log_var.exp() - 1 - log_var).sum()
        return torch.nn.functional.binary_cross_entropy_with_logits(logits, x, reduction="sum") + kl

    parameters = [torch.tensor(array, requires_grad=True) for layer in _joined(task.initial) for array in layer]
    return torch.from_numpy(task.x_train), parameters, loss


def _pytorch_trainer(task: Task, x_train: Any, parameters: list, step: Callable) -> Trainer:
    import torch

    def epoch() -> None:
        is_finite = torch.tensor(True)
        for _ in range(task.steps_per_epoch):
            is_finite &= torch.isfinite(step(x_train[torch.randint(len(x_train), (task.batch_size,))]))
        _require_finite(bool(is_finite))

    def weights() -> Arrays:
        return _apart([parameter.detach().numpy() for parameter in parameters])

    return Trainer(epoch, weights)


def jax(task: Task) -> Trainer:
    """The VAE in JAX, compiled, an epoch per call through `lax.scan`."""
    import jax
    import jax.numpy as jnp

    params = jax.tree.map(jnp.asarray, _joined(task.initial))
    state, key = (params, jax.tree.map(jnp.zeros_like, params)), jax.random.key(task.seed)

    def loss(params, x, eps):
        (w1, b1), (w2, b2), (w3, b3), (w4, b4) = params
        mean, log_var = jnp.split(jnp.tanh(x @ w1 + b1) @ w2 + b2, 2, axis=-1)
        z = mean + jnp.exp(log_var / 2) * eps
        logits = jnp.tanh(z @ w3 + b3) @ w4 + b4
        kl = 0.5 * jnp.sum(mean**2 + jnp.exp(log_var) - 1 - log_var)
        return jnp.sum(jax.nn.softplus(logits) - x * logits) + kl

    def step(carry, key):
        (params, sums), is_finite, x_train = carry
        key_x, key_eps = jax.random.split(key)
        x = x_train[jax.random.randint(key_x, (task.batch_size,), 0, len(x_train))]
        eps = jax.random.normal(key_eps, (task.batch_size, task.n_latent))
        value, gradient = jax.value_and_grad(loss)(params, x, eps)
        gradient = jax.tree.map(lambda g, p: g + task.prior * p if p.ndim == 2 else g, gradient, params)
        sums = jax.tree.map(lambda s, g: s + g**2, sums, gradient)
        params = jax.tree.map(
            lambda p, g, s: p - task.learning_rate * g * jax.lax.rsqrt(s + ADAGRAD_EPSILON), params, gradient, sums
        )
        return ((params, sums), is_finite & jnp.isfinite(value), x_train), None

    @jax.jit
    def scan(state, key, x_train):
        keys = jax.random.split(key, task.steps_per_epoch + 1)
        (state, is_finite, _), _ = jax.lax.scan(step, (state, True, x_train), keys[1:])
        return state, is_finite, keys[0]

    x_train = jnp.asarray(task.x_train)

    def epoch() -> None:
        nonlocal state, key
        state, is_finite, key = scan(state, key, x_train)
        _require_finite(bool(is_finite))

    return Trainer(epoch, lambda: _apart([np.asarray(array) for layer in state[0] for array in layer]))


def sgemm(task: Task) -> Trainer:
    """Only the matrix products of a step, forward and backward, by numpy: a measure of the processor."""
    rng = np.random.default_rng(0)
    shapes = [w.shape for w, _ in _joined(task.initial)]
    layers = [(rng.random((task.batch_size, i), "f"), rng.random((i, o), "f"), rng.random((task.batch_size, o), "f"))
              for i, o in shapes]  # fmt: skip

    def epoch() -> None:
        for _ in range(task.steps_per_epoch):
            for i, (inputs, w, gradient) in enumerate(layers):
                inputs @ w
                inputs.T @ gradient
                if i:  # nobody needs the gradient with respect to the pixels
                    gradient @ w.T

    return Trainer(epoch, lambda: task.initial)


CONTENDERS = {builder.__name__: builder for builder in (engine, jax, pytorch, pytorch_compiled, keras_fit, sgemm)}


def bound_on_test(weights: Arrays, x: np.ndarray) -> float:
    """The lower bound per datapoint of x [N, D], in nats; one evaluation for all contenders, one sample of z each."""

    def dense(name: str, inputs: np.ndarray) -> np.ndarray:
        return inputs @ weights[f"{name}.w"] + weights[f"{name}.b"]

    h = np.tanh(dense("encoder.hidden", x))
    mean, log_var = dense("encoder.mean", h), dense("encoder.log_var", h)
    z = mean + np.exp(log_var / 2) * np.random.default_rng(0).standard_normal(mean.shape, np.float32)
    logits = dense("decoder.logits", np.tanh(dense("decoder.hidden", z)))
    log_px_given_z = np.sum(x * logits - np.logaddexp(0, logits), axis=-1)
    kl = 0.5 * np.sum(mean**2 + np.exp(log_var) - 1 - log_var, axis=-1)
    return float(np.mean(log_px_given_z - kl))


def rate(trainer: Trainer, task: Task, seconds: float) -> dict:
    """Samples/s over the epochs that begin within `seconds`."""
    start, n_epochs = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        trainer.epoch()
        n_epochs += 1
    n_samples = n_epochs * task.steps_per_epoch * task.batch_size
    return {"samples_per_second": n_samples / (time.perf_counter() - start)}


def train_to(trainer: Trainer, task: Task, bound: float, x_test: np.ndarray, longest: float) -> dict:
    """Seconds of training and samples until the bound on test is reached, looked at after each epoch.

    `seconds` is None where `longest` seconds were not enough.
    """
    seconds, n_samples = 0.0, 0
    while bound_on_test(trainer.weights(), x_test) < bound:
        if seconds > longest:
            return {"seconds": None, "samples": n_samples}
        start = time.perf_counter()
        trainer.epoch()
        seconds += time.perf_counter() - start
        n_samples += task.steps_per_epoch * task.batch_size
    return {"seconds": seconds, "samples": n_samples}


def _joined(weights: Arrays) -> list[tuple[np.ndarray, np.ndarray]]:
    """The four layers as peers write them: mean and log variance of q(z|x) are one."""
    hidden, mean, log_var, *decoder = ((weights[f"{name}.w"], weights[f"{name}.b"]) for name in LAYERS)
    moments = (np.concatenate([mean[0], log_var[0]], -1), np.concatenate([mean[1], log_var[1]], -1))
    return [hidden, moments, *decoder]


def _apart(arrays: list[np.ndarray]) -> Arrays:
    """The inverse of `_joined`, from its arrays in a row: w and b of each layer."""
    hidden, moments, *decoder = zip(arrays[::2], arrays[1::2], strict=True)
    mean, log_var = zip(*(np.split(array, 2, -1) for array in moments), strict=True)
    return {
        f"{name}.{part}": array
        for name, layer in zip(LAYERS, (hidden, mean, log_var, *decoder), strict=True)
        for part, array in zip("wb", layer, strict=True)
    }


def _require_finite(is_finite: bool) -> None:
    if not is_finite:
        raise FloatingPointError("An objective is not finite.")


def _peak_bytes() -> int:
    """The largest resident memory so far. getrusage would count that of the process that started this one."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def main(name: str, settings: dict) -> None:
    """Build a contender, train an epoch, and obey commands until there are no more."""
    folder = Path(settings["folder"])
    with np.load(folder / settings["initial"]) as file:
        initial = dict(file)
    task = Task(
        np.load(folder / "x_train.npy"), initial, settings["batch_size"], settings["learning_rate"], settings["seed"],
        settings["on_one_core"],
    )  # fmt: skip
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a framework prints is no answer
    trainer = CONTENDERS[name](task)
    trainer.epoch()  # compiles
    after_first = time.time()
    trainer.epoch()
    answer = {"start_seconds": after_first - settings["started"] - (time.time() - after_first)}
    while True:
        print(json.dumps({**answer, "peak_bytes": _peak_bytes()}), file=answers, flush=True)
        command = sys.stdin.readline().split()
        if not command:
            return
        if command[0] == "rate":
            answer = rate(trainer, task, float(command[1]))
        else:
            answer = train_to(trainer, task, float(command[1]), np.load(folder / "x_test.npy"), float(command[2]))


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
