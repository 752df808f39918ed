"""The authors' own estimator of log p(x), rebuilt from facts about their code of April 2014, and how far it is off.

It is appendix D with chains that live from report to report while the model is trained: few moves, one step size per
chain that never settles, and a kernel density whose kernels add to the spread of the draws. No curve is made with it.
"""

import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import tensorflow as tf
from scipy.special import logsumexp

from replication import draws
from replication.compiled import compiled
from replication.config import RunConfig
from replication.model import hmc, networks
from replication.model.marginal_likelihood import average
from replication.runs import evaluation, training
from replication.runs.checkpoints import Run
from replication.studies import brute_force, calibration
from replication.studies.brute_force import SAMPLES

INITIAL_STEP_SIZE, FACTOR = 0.001, float(np.exp(1.02))  # after each move the step size is times or over the factor
N_BURNIN, N_SAMPLES, N_LEAPFROG = 5, 50, 4
BANDWIDTHS = np.exp((np.arange(10) - 5) / 2)  # times Scott's factor
REPORTS = (1, 5)  # of fresh chains on a model that stands still: their first report and a later one


class Trained(NamedTuple):
    """A run of figure 3 under the reading `authors`, with the samples between two reports of the paper's curve."""

    algorithm: str
    n_train: int
    settings: Mapping[str, Any]
    report_every: int

    def config(self) -> RunConfig:
        """The run as far as SAMPLES."""
        return brute_force.config(self.n_train, self.algorithm, **self.settings)


TRAINED = (
    Trained("aevb", 1000, {}, 112_700),
    Trained("aevb", 50_000, {}, 1_452_500),
    Trained("wake_sleep", 1000, {"log_var_factor": 0.1}, 738_200),
    Trained("wake_sleep", 50_000, {"learning_rate": 0.02, "warm_up_steps": 0, "log_var_factor": 0.1}, 905_600),
)
SETTINGS_OF_KNOWN = {**calibration.SETTINGS, "reports": REPORTS}
SETTINGS_OF_TRAINED = {
    "runs": {run.config().run_id: run.report_every for run in TRAINED},
    "samples": SAMPLES,
    "reports": REPORTS,
}


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


def on_trained_models() -> pd.DataFrame:
    """The authors' estimate beside the two of figure 3, on the same datapoints of the models of TRAINED.

    Per algorithm, n_train, split, `chains` and number of the report, means over datapoints in nats: `authors`,
    `appendix_d`, `importance`, and `difference`, authors minus importance sampling, with its standard error and its
    lowest and highest twentieth. `failed` datapoints are in no mean. Chains are "fresh", from the encoder at the end
    of training, or "living": from the encoder after the first step, and taken on from report to report while it trains.
    """
    return pd.DataFrame([row for run in TRAINED for row in _on_trained_model(run)])


def living(config: RunConfig, report_every: int) -> tuple[networks.Params, int, dict[str, tuple[np.ndarray, Chains]]]:
    """A run's parameters at its end, the number of reports on the way, and per split the last: log p(x), the chains.

    The first report is after one step, as in the paper's figures, and the last at the end.
    """
    engine = training.Engine(config, training.dataset(config.dataset, config.preparation))
    run, reports = Run(engine.initial_state), dict[str, tuple[np.ndarray, Chains]]()
    n_steps, every = config.samples_total // config.samples_per_step, report_every // config.samples_per_step
    steps = [1, *range(every, n_steps, every)]
    for number, step in enumerate([*steps, n_steps], start=1):
        while run.step < step:
            run, _ = engine.advance(run, step)
        params = run.state.params
        for split, x in engine.x_eval.items():
            seed_pair = _seed_pair(config, split)
            chains = reports[split][1] if split in reports else _from_the_encoder(params, x, seed_pair)
            seed_of_report = draws.fold_in(draws.fold_in(seed_pair, "living"), number)
            reports[split] = report(networks.log_joint, (params.decoder,), x, chains, seed_of_report)
    return params, number, reports


def _errors(model: calibration.KnownModel, seed: int) -> list[np.ndarray]:
    seed_pair = draws.stream(seed, model.n_latent, "evaluation", "authors_estimator")
    x, exact = model.sample(draws.fold_in(seed_pair, "data"))
    chains = start(draws.normal(draws.fold_in(seed_pair, "start"), [len(x), model.n_latent]))
    model_of_x = model.log_joint, model.parameters, x
    return [log_px - exact for log_px in _reports(*model_of_x, chains, draws.fold_in(seed_pair, "chains"))]


def _on_trained_model(run: Trained) -> list[dict]:
    config = run.config()
    params, n_reports, reports = living(config, run.report_every)
    rows = []
    for split, x in evaluation.datapoints(config, training.dataset(config.dataset, config.preparation)).items():
        seed_pair = _seed_pair(config, split)
        model = networks.log_joint, (params.decoder,), x
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*unreliable")  # some of a thousand: notebook 3 counts them
            paper, check, _ = evaluation.estimate_log_px(*model, config.n_latent, draws.fold_in(seed_pair, "ours"))
        fresh = _reports(*model, _from_the_encoder(params, x, seed_pair), draws.fold_in(seed_pair, "chains"))
        estimates = [("fresh", number, log_px) for number, log_px in zip(REPORTS, fresh, strict=True)]
        for chains, number, authors in [*estimates, ("living", n_reports, reports[split][0])]:
            there = ~np.isnan(authors)
            difference = (authors - check.log_px)[there]
            rows.append({
                "algorithm": config.algorithm,
                "n_train": config.n_train,
                "split": split,
                "chains": chains,
                "report": number,
                "authors": authors[there].mean(),
                "appendix_d": paper.log_px[there].mean(),
                "importance": check.log_px[there].mean(),
                "difference": difference.mean(),
                "difference_se": difference.std(ddof=1) / len(difference) ** 0.5,
                "low": np.quantile(difference, 0.05),
                "high": np.quantile(difference, 0.95),
                "failed": int(np.sum(~there)),
            })  # fmt: skip
    return rows


def _seed_pair(config: RunConfig, split: str) -> tf.Tensor:
    return draws.stream(0, config.n_train, "evaluation", "authors_estimator", split)


def _from_the_encoder(params: networks.Params, x: tf.Tensor, seed_pair: tf.Tensor) -> Chains:
    q_z_given_x = networks.encode(params.encoder, x)
    eps = draws.normal(draws.fold_in(seed_pair, "start"), q_z_given_x.mean().shape)
    return start(q_z_given_x.mean() + q_z_given_x.stddev() * eps)


def _reports(
    log_joint: Callable, parameters: tuple, x: tf.Tensor, chains: Chains, seed_pair: tf.Tensor
) -> list[np.ndarray]:
    """log p(x) [N] at each of REPORTS, the chains going on from one to the next."""
    estimates = []
    for number in range(1, max(REPORTS) + 1):
        log_px, chains = report(log_joint, parameters, x, chains, draws.fold_in(seed_pair, number))
        estimates += [log_px] if number in REPORTS else []
    return estimates


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
