"""The authors' own estimator of log p(x), rebuilt from facts about their code of April 2014, and how far it is off.

It is appendix D with chains that live from report to report while the model is trained: few moves, one step size per
chain that never settles, and a kernel density whose kernels add to the spread of the draws. No curve is made with it.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd
import tensorflow as tf
from scipy.special import logsumexp

from replication import data, draws
from replication.compiled import compiled
from replication.config import RunConfig
from replication.model import hmc, networks
from replication.model.marginal_likelihood import average
from replication.runs import evaluation, training
from replication.runs.checkpoints import Run
from replication.studies import calibration

INITIAL_STEP_SIZE, FACTOR = 0.001, float(np.exp(1.02))  # after each move the step size is times or over the factor
N_BURNIN, N_SAMPLES, N_LEAPFROG = 5, 50, 4
BANDWIDTHS = np.exp((np.arange(10) - 5) / 2)  # times Scott's factor
REPORTS = (1, 10)  # on the known models: the first, from fresh chains, and a late one
REPORT_EVERY, SAMPLES = 1_000_000, 10_000_000  # training samples, on trained models
SETTINGS_OF_KNOWN = {**calibration.SETTINGS, "reports": REPORTS}


class Chains(NamedTuple):
    """What lives from report to report: z [N, n_latent], step size [N]."""

    z: tf.Tensor
    step_size: tf.Tensor


def start(z: tf.Tensor) -> Chains:
    """Chains before their first report, at z [N, n_latent]: the encoder's draw, or the prior's where there is none."""
    return Chains(z, tf.fill(z.shape[:1], INITIAL_STEP_SIZE))


def report(
    log_joint: Callable, parameters: tuple, x: tf.Tensor, chains: Chains, seed_pair: tf.Tensor
) -> tuple[np.ndarray, Chains]:
    """log p(x) [N] in nats of datapoints x [N, D], and the chains as they are after it."""
    z, log_density, chains = _draws(log_joint, parameters, x, chains, seed_pair)
    return log_px(z.numpy(), log_density.numpy()), chains


def log_px(z: np.ndarray, log_density: np.ndarray) -> np.ndarray:
    """Appendix D: 1/p(x) = E_p(z|x)[q(z) / p(x, z)] [N], of draws z [S, N, n_latent] and log p(x, z) [S, N].

    q is fitted to the first half of the draws, the other half is in the mean. NaN where the draws that a density is
    fitted to lie in a plane.
    """
    z, log_density = z.astype(np.float64), log_density.astype(np.float64)
    to_fit, others = np.split(z, [len(z) // 2])
    has_volume = _has_volume(to_fit[len(to_fit) // 2 :])
    log_q = np.full(others.shape[:2], np.nan)
    log_q[:, has_volume] = kernel_log_density(to_fit[:, has_volume], others[:, has_volume])
    return -average(log_q - log_density[len(to_fit) :])[0]


def kernel_log_density(z_fit: np.ndarray, z: np.ndarray) -> np.ndarray:
    """log q(z) [S, N] of a kernel density on z_fit [n, N, n_latent], at z [S, N, n_latent].

    The bandwidth of each datapoint is the one under which the second half of z_fit gives the first most density.
    """
    n, _, n_latent = z_fit.shape
    first, second = z_fit[: n // 2], z_fit[n // 2 :]
    bandwidths = n ** (-1 / (n_latent + 4)) * BANDWIDTHS
    scores = [kernels(second, first, bandwidth).sum(axis=0) for bandwidth in bandwidths]
    return kernels(z_fit, z, bandwidths[np.argmax(scores, axis=0)])


def kernels(z_fit: np.ndarray, z: np.ndarray, bandwidth: np.ndarray | float) -> np.ndarray:
    """log of the mean of Gaussians at z_fit [n, N, n_latent] whose covariance is bandwidth^2 times that of z_fit.

    At z [S, N, n_latent], with a bandwidth for each datapoint [N] or one for all; in nats [S, N].
    """
    centred = z_fit - z_fit.mean(axis=0)
    tril = np.linalg.cholesky(np.einsum("sni,snj->nij", centred, centred) / (len(z_fit) - 1))
    white_fit, white = (np.einsum("nij,snj->sni", np.linalg.inv(tril), part) for part in (z_fit, z))
    squared = np.sum((white[:, None] - white_fit) ** 2, axis=-1) / np.square(bandwidth)  # [S, n, N]
    log_volume = np.log(np.diagonal(tril, axis1=1, axis2=2)).sum(axis=-1)
    log_volume = log_volume + z.shape[-1] * np.log(bandwidth * np.sqrt(2 * np.pi))
    return logsumexp(-squared / 2, axis=1) - np.log(len(z_fit)) - log_volume


def on_known_models(
    models: Iterable[calibration.KnownModel] | None = None, n_seeds: int = calibration.N_SEEDS
) -> pd.DataFrame:
    """How far the estimate is from known values over seeds, all known models by default, the model standing still.

    Per model and number of the report: `bias`, the mean error in nats, with its standard error over seeds; the root
    mean square error of a datapoint, and how many datapoints of all have no estimate.
    """
    rows = []
    for model in models or calibration.known_models():
        errors = np.array([_errors(model, seed) for seed in range(n_seeds)])  # [n_seeds, reports, N]
        for i, number in enumerate(REPORTS):
            error = errors[:, i]
            rows.append({
                "model": model.name,
                "n_latent": model.n_latent,
                "report": number,
                "bias": np.nanmean(error),
                "bias_se": np.nanmean(error, axis=1).std(ddof=1) / n_seeds**0.5,
                "rms_error": np.nanmean(error**2) ** 0.5,
                "failed": int(np.isnan(error).sum()),
            })  # fmt: skip
    return pd.DataFrame(rows)


def on_trained_models(configs: Iterable[RunConfig]) -> pd.DataFrame:
    """The authors' estimate beside the two of figure 3 on AEVB's models after SAMPLES samples, on the same datapoints.

    Per n_train, split and chains: `kept` have reported every REPORT_EVERY samples since the start of training, `fresh`
    start from the encoder at the end. Means over datapoints in nats: `authors`, `appendix_d`, `importance`, and
    `difference`, authors minus importance sampling, with its standard error. `failed` datapoints are in no mean.
    """
    return pd.DataFrame([row for config in configs for row in _on_trained_model(config)])


def settings_of_trained(configs: Iterable[RunConfig]) -> dict:
    """What `on_trained_models` was computed from."""
    return {"runs": [config.run_id for config in configs], "samples": SAMPLES, "report_every": REPORT_EVERY}


def _errors(model: calibration.KnownModel, seed: int) -> list[np.ndarray]:
    seed_pair = draws.stream(seed, model.n_latent, "evaluation", "authors_estimator")
    x, exact = model.sample(draws.fold_in(seed_pair, "data"))
    chains = start(draws.normal(draws.fold_in(seed_pair, "start"), [len(x), model.n_latent]))
    errors = []
    for number in range(1, max(REPORTS) + 1):
        z, log_density, chains = _draws(
            model.log_joint, model.parameters, x, chains, draws.fold_in(seed_pair, "chains", number)
        )
        if number in REPORTS:
            errors.append(log_px(z.numpy(), log_density.numpy()) - exact)
    return errors


def _on_trained_model(config: RunConfig) -> list[dict]:
    dataset = data.load(config.dataset, config.preparation)
    engine = training.Engine(config, dataset)
    run = Run(engine.initial_state)
    x_eval = evaluation.datapoints(config, dataset)
    kept = {split: _from_encoder(run, x, split) for split, x in x_eval.items()}
    estimates = {}
    for samples in range(REPORT_EVERY, SAMPLES + 1, REPORT_EVERY):
        while run.step * config.samples_per_step < samples:
            run, _ = engine.advance(run, samples // config.samples_per_step)
        for split, x in x_eval.items():
            seed_pair = draws.stream(0, samples, "evaluation", "authors_estimator", split)
            model = networks.log_joint, (run.state.params.decoder,), x
            z, log_density, kept[split] = _draws(*model, kept[split], seed_pair)
            estimates[split] = z.numpy(), log_density.numpy()
    rows = []
    for split, x in x_eval.items():
        seed_pair = draws.stream(0, SAMPLES, "evaluation", "authors_estimator", split)
        model = networks.log_joint, (run.state.params.decoder,), x
        fresh, _ = report(*model, _from_encoder(run, x, split), draws.fold_in(seed_pair, "fresh"))
        paper, check, _ = evaluation.estimate_log_px(*model, config.n_latent, draws.fold_in(seed_pair, "ours"))
        for chains, authors in (("kept", log_px(*estimates[split])), ("fresh", fresh)):
            there = ~np.isnan(authors)
            difference = (authors - check.log_px)[there]
            rows.append({
                "n_train": config.n_train,
                "split": split,
                "chains": chains,
                "authors": authors[there].mean(),
                "appendix_d": paper.log_px[there].mean(),
                "importance": check.log_px[there].mean(),
                "difference": difference.mean(),
                "difference_se": difference.std(ddof=1) / len(difference) ** 0.5,
                "failed": int(np.sum(~there)),
            })  # fmt: skip
    return rows


def _from_encoder(run: Run, x: tf.Tensor, split: str) -> Chains:
    q_z_given_x = networks.encode(run.state.params.encoder, x)
    eps = draws.normal(draws.stream(0, run.step, "chains", split), q_z_given_x.mean().shape)
    return start(q_z_given_x.mean() + q_z_given_x.stddev() * eps)


@compiled
def _draws(
    log_joint: Callable, parameters: tuple, x: tf.Tensor, chains: Chains, seed_pair: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, Chains]:
    """N_SAMPLES draws z [S, N, n_latent] with log p(x, z) [S, N], a move apart, after N_BURNIN moves; the chains."""

    def log_density(z: tf.Tensor) -> tf.Tensor:
        return log_joint(*parameters, x, z)

    def move(chains: Chains, i: tf.Tensor) -> Chains:
        seed = draws.fold_in(seed_pair, i)
        z, info = hmc.move(log_density, chains.z, chains.step_size[:, None], N_LEAPFROG, seed)
        return Chains(z, chains.step_size * tf.where(info.is_accepted, FACTOR, 1 / FACTOR))

    moves = tf.scan(move, tf.range(N_BURNIN + N_SAMPLES), chains)
    z = moves.z[N_BURNIN:]
    return z, tf.map_fn(log_density, z), Chains(moves.z[-1], moves.step_size[-1])


def _has_volume(z: np.ndarray) -> np.ndarray:
    """Where draws z [n, N, n_latent] do not lie in a plane, [N]."""
    return np.linalg.matrix_rank(np.swapaxes(z - z.mean(axis=0), 0, 1)) == z.shape[-1]
