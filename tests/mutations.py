"""Faults that the tests must see, as a list; `make test-mutations` (run_mutations.py) puts each in and runs its tests.

The list holds only while each `old` stands in its file exactly once: test_mutations.py checks that.
"""

from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]


class Fault(NamedTuple):
    """A change of `file` in `replication/`: the text `old`, which stands there exactly once, becomes `new`."""

    name: str
    file: str
    old: str
    new: str
    tests: str  # the test files that are for it, without `tests/test_` and `.py`
    survives: str = ""


FAULTS = [
    # Wake-sleep
    Fault(
        "the sleep phase descends log q",
        "algorithms/wake_sleep.py",
        "tf.reduce_sum(bound.log_px_given_z) + tf.reduce_sum(log_qz_given_x)",
        "tf.reduce_sum(bound.log_px_given_z) - tf.reduce_sum(log_qz_given_x)",
        "algorithms",
    ),
    Fault(
        "the sleep phase climbs half of log q",
        "algorithms/wake_sleep.py",
        "+ tf.reduce_sum(log_qz_given_x)",
        "+ 0.5 * tf.reduce_sum(log_qz_given_x)",
        "algorithms",
    ),
    Fault(
        "the wake phase descends log p(x|z)",
        "algorithms/wake_sleep.py",
        "objective = tf.reduce_sum(bound.log_px_given_z)",
        "objective = -tf.reduce_sum(bound.log_px_given_z)",
        "algorithms",
    ),
    Fault(
        "the wake phase teaches the encoder, too",
        "algorithms/wake_sleep.py",
        "tf.nest.map_structure(tf.stop_gradient, encoder)",
        "encoder",
        "algorithms",
    ),
    Fault(
        "the encoder sleeps on the other kind of dreams",
        "algorithms/wake_sleep.py",
        'config.dreams == "mean"',
        'config.dreams != "mean"',
        "algorithms",
    ),
    Fault(
        "dreams share the wake phase's noise",
        "algorithms/wake_sleep.py",
        'draws.stream(seed, state.step, "dream_z")',
        'draws.stream(seed, state.step, "eps")',
        "draws",
    ),
    Fault(
        "x of a dream shares the numbers of its z",
        "algorithms/wake_sleep.py",
        'draws.stream(seed, state.step, "dream_x")',
        'draws.stream(seed, state.step, "dream_z")',
        "draws",
    ),
    Fault(
        "a log variance behind a factor keeps it",
        "algorithms/wake_sleep.py",
        "*(1 / factor for factor in factors)",
        "*factors",
        "algorithms",
    ),
    Fault(
        "wake-sleep does not count its steps",
        "algorithms/wake_sleep.py",
        "step=state.step + 1",
        "step=state.step",
        "algorithms",
    ),
    # AEVB, and what all algorithms share
    Fault(
        "AEVB has the prior with its sign reversed",
        "algorithms/aevb.py",
        "+ log_prior_of_minibatch",
        "- log_prior_of_minibatch",
        "algorithms",
    ),
    Fault(
        "AEVB climbs the minibatch's mean beside the prior's sum",
        "algorithms/aevb.py",
        "tf.reduce_sum(bound.elbo)",
        "tf.reduce_mean(bound.elbo)",
        "algorithms",
    ),
    Fault(
        "AEVB has the same noise in every step",
        "algorithms/aevb.py",
        'draws.stream(seed, state.step, "eps")',
        'draws.stream(seed, 0, "eps")',
        "draws",
    ),
    Fault(
        "AEVB learns by the likelihood alone",
        "algorithms/aevb.py",
        "objective = tf.reduce_sum(bound.elbo)",
        "objective = tf.reduce_sum(bound.log_px_given_z)",
        "algorithms",
    ),
    Fault(
        "AEVB does not count its steps",
        "algorithms/aevb.py",
        "step=state.step + 1",
        "step=state.step",
        "algorithms",
    ),
    Fault(
        "the prior of a minibatch has the weight N/M",
        "algorithms/base.py",
        "config.batch_size / config.n_train",
        "config.n_train / config.batch_size",
        "algorithms",
    ),
    Fault(
        "the prior of a minibatch is the whole prior",
        "algorithms/base.py",
        "return config.batch_size / config.n_train * log",
        "return log",
        "algorithms",
    ),
    Fault(
        "Adagrad forgets what it has accumulated",
        "algorithms/base.py",
        "lambda s, g: s + g**2",
        "lambda s, g: g**2",
        "algorithms",
    ),
    Fault(
        "Adagrad descends",
        "algorithms/base.py",
        "p + step_size * g",
        "p - step_size * g",
        "algorithms",
    ),
    Fault(
        "Adagrad's epsilon is a hundred times as large",
        "algorithms/base.py",
        "ADAGRAD_EPSILON = 1e-8",
        "ADAGRAD_EPSILON = 1e-6",
        "algorithms",
    ),
    Fault(
        "Adagrad divides by the sum instead of its root",
        "algorithms/base.py",
        "g * tf.math.rsqrt(s + ADAGRAD_EPSILON)",
        "g / (s + ADAGRAD_EPSILON)",
        "algorithms",
    ),
    Fault(
        "Adagrad's accumulator starts at 1",
        "algorithms/base.py",
        "tf.nest.map_structure(tf.zeros_like, params)",
        "tf.nest.map_structure(tf.ones_like, params)",
        "algorithms",
    ),
    Fault(
        "the warm-up lasts a step longer",
        "algorithms/base.py",
        "state.step < warm_up_steps",
        "state.step <= warm_up_steps",
        "algorithms",
    ),
    # Full VB
    Fault(
        "the weights' KL without 1/N",
        "algorithms/full_vb.py",
        "tf.nest.flatten(kl_per_weight(params.decoder))]) / n_train",
        "tf.nest.flatten(kl_per_weight(params.decoder))])",
        "full_vb",
    ),
    Fault(
        "the weights' KL is added to the bound",
        "algorithms/full_vb.py",
        "return self.log_px_given_z - self.kl - self.kl_weights",
        "return self.log_px_given_z - self.kl + self.kl_weights",
        "full_vb",
    ),
    Fault(
        "the noise of the weights is scaled by their variance",
        "algorithms/full_vb.py",
        "m + tf.exp(v / 2) * z",
        "m + tf.exp(v) * z",
        "full_vb",
    ),
    Fault(
        "the weights' KL has the entropy with its sign reversed",
        "algorithms/full_vb.py",
        "(m**2 + tf.exp(v) - 1 - v) / 2",
        "(m**2 + tf.exp(v) - 1 + v) / 2",
        "full_vb",
    ),
    Fault(
        "the local noise of a bias has its standard deviation as variance",
        "algorithms/full_vb.py",
        "tf.exp(log_var.b))(inputs**2)",
        "tf.exp(log_var.b / 2))(inputs**2)",
        "full_vb",
    ),
    Fault(
        "the local noise of a weight has |input| for its square",
        "algorithms/full_vb.py",
        "(inputs**2)",
        "(tf.abs(inputs))",
        "full_vb",
    ),
    Fault(
        "the layers share their local noise",
        "algorithms/full_vb.py",
        "tf.constant([0, layer << 32], tf.int64)",
        "tf.constant([0, 0], tf.int64)",
        "draws",
    ),
    Fault(
        "the weights share the noise of z",
        "algorithms/full_vb.py",
        'draws.stream(seed, state.step, "weights")',
        'draws.stream(seed, state.step, "eps")',
        "draws",
    ),
    Fault(
        "full VB's step ignores how the noise is drawn",
        "algorithms/full_vb.py",
        "config.n_train, config.weight_noise)",
        "config.n_train)",
        "algorithms",
    ),
    Fault(
        "full VB climbs the minibatch's mean",
        "algorithms/full_vb.py",
        "objective = tf.reduce_sum(estimate.elbo)",
        "objective = tf.reduce_mean(estimate.elbo)",
        "full_vb",
    ),
    Fault(
        "the weights begin with a standard deviation of 0.2",
        "algorithms/full_vb.py",
        "INITIAL_LOG_VAR = -6.0",
        "INITIAL_LOG_VAR = -3.0",
        "full_vb",
    ),
    # Monte Carlo EM
    Fault(
        "the M-step without the prior",
        "algorithms/mcem.py",
        "start = (of_prior,",
        "start = (tf.nest.map_structure(tf.zeros_like, of_prior),",
        "mcem",
    ),
    Fault(
        "5 leapfrog steps for 10",
        "algorithms/mcem.py",
        "state.step_size, N_MCEM_LEAPFROG,",
        "state.step_size, N_MCEM_LEAPFROG // 2,",
        "mcem",
    ),
    Fault(
        "an update less per step",
        "algorithms/mcem.py",
        "for _ in range(N_MCEM_UPDATES):",
        "for _ in range(N_MCEM_UPDATES - 1):",
        "mcem",
    ),
    Fault(
        "the first chunk's momenta are the numbers of the start",
        "algorithms/mcem.py",
        "tf.range(1, n_chunks + 1, dtype=tf.int64)",
        "tf.range(0, n_chunks, dtype=tf.int64)",
        "draws",
    ),
    Fault(
        "the chunks of different steps share their momenta",
        "algorithms/mcem.py",
        "state.step * n_chunks + i",
        "state.step + i",
        "draws",
    ),
    Fault(
        "the chains do not go on from where they are",
        "algorithms/mcem.py",
        "state._replace(z=z, step_size=",
        "state._replace(step_size=",
        "mcem",
    ),
    Fault(
        "what fills the last chunk is a datapoint, off by one",
        "algorithms/mcem.py",
        "tf.range(shape.num_elements()) < config.n_train",
        "tf.range(shape.num_elements()) <= config.n_train",
        "mcem",
    ),
    Fault(
        "what fills the last chunk has a share in the gradient",
        "algorithms/mcem.py",
        ", output_gradients=weight)",
        ")",
        "mcem",
    ),
    Fault(
        "what fills the last chunk has a share in the acceptance",
        "algorithms/mcem.py",
        "tf.reshape(is_accepted, [-1])[: config.n_train]",
        "tf.reshape(is_accepted, [-1])",
        "mcem",
    ),
    Fault(
        "the chains ignore the prior of z",
        "algorithms/mcem.py",
        "log_density = partial(log_joint, state.params.decoder, x)",
        "log_density = lambda z: decode(state.params.decoder, z).log_prob(x)",
        "mcem",
    ),
    Fault(
        "the complete data have the prior of z with its sign reversed",
        "algorithms/mcem.py",
        "return self.log_px_given_z + self.log_pz",
        "return self.log_px_given_z - self.log_pz",
        "mcem",
    ),
    Fault(
        "only the last chunk's gradient counts",
        "algorithms/mcem.py",
        "tf.nest.map_structure(tf.add, total[0], share)",
        "share",
        "mcem",
    ),
    # Hamiltonian Monte Carlo
    Fault(
        "the step size grows where moves are refused",
        "model/hmc.py",
        "acceptance > TARGET_ACCEPTANCE, step_size * factor",
        "acceptance < TARGET_ACCEPTANCE, step_size * factor",
        "hmc",
    ),
    Fault(
        "the step size moves by a tenth of the authors' factor",
        "model/hmc.py",
        "1.02 ** min(100, n_chains)",
        "1.002 ** min(100, n_chains)",
        "hmc",
    ),
    Fault(
        "chains are tuned to 60 % acceptance",
        "model/hmc.py",
        "TARGET_ACCEPTANCE = 0.9",
        "TARGET_ACCEPTANCE = 0.6",
        "hmc",
    ),
    Fault(
        "transitions do not jitter their step size",
        "model/hmc.py",
        "lambda step_size: step_size * share, tuned",
        "lambda step_size: step_size, tuned",
        "hmc",
    ),
    Fault(
        "a chain that never moved is worth all its draws",
        "model/hmc.py",
        "> 0, ess, 1.0)",
        "> 0, ess, len(z))",
        "hmc",
    ),
    # Encoder, decoder, prior
    Fault(
        "the encoder's standard deviation is its variance",
        "model/networks.py",
        "tf.exp(encoder.log_var(h) / 2)",
        "tf.exp(encoder.log_var(h))",
        "networks",
    ),
    Fault(
        "the Gaussian decoder's standard deviation is its variance",
        "model/networks.py",
        "tfd.Normal(tf.sigmoid(mean), tf.exp(log_var / 2))",
        "tfd.Normal(tf.sigmoid(mean), tf.exp(log_var))",
        "networks",
    ),
    Fault(
        "the Gaussian decoder's mean has no sigmoid",
        "model/networks.py",
        "tfd.Normal(tf.sigmoid(mean),",
        "tfd.Normal(mean,",
        "networks",
    ),
    Fault(
        "the Bernoulli likelihood is that of the opposite logits",
        "model/networks.py",
        "event * logits - tf.math.softplus(logits)",
        "event * logits - tf.math.softplus(-logits)",
        "networks",
    ),
    Fault(
        "the joint density has the prior of z with its sign reversed",
        "model/networks.py",
        "log_px_given_z + prior(z.shape[-1]).log_prob(z)",
        "log_px_given_z - prior(z.shape[-1]).log_prob(z)",
        "networks",
    ),
    Fault(
        "the weight prior is twice as narrow",
        "model/networks.py",
        "tf.nn.l2_loss(w) for w",
        "tf.reduce_sum(w**2) for w",
        "networks",
    ),
    Fault(
        "the authors' prior is on wake-sleep's biases instead of AEVB's",
        "model/networks.py",
        'config.prior_on == "authors" and config.algorithm == "aevb"',
        'config.prior_on == "authors" and config.algorithm != "aevb"',
        "networks",
    ),
    Fault(
        "all layers begin with the same numbers",
        "model/networks.py",
        'draws.stream(seed, i, "initialisation")',
        'draws.stream(seed, 0, "initialisation")',
        "networks",
    ),
    Fault(
        "N(0, 0.01) as a variance begins with 0.01 as standard deviation",
        "model/networks.py",
        "return Dense(0.1 * w, 0.1 * b)",
        "return Dense(0.01 * w, 0.01 * b)",
        "networks",
    ),
    Fault(
        "weights are scaled by the fan-in instead of its root",
        "model/networks.py",
        "w / n_in**0.5",
        "w / n_in",
        "networks",
    ),
    Fault(
        "dreams of a Bernoulli are thresholded",
        "model/networks.py",
        "return draws.bernoulli(seed_pair, mean)",
        "return tf.round(mean)",
        "networks",
    ),
    Fault(
        "dreams of a Gaussian vary by the variance",
        "model/networks.py",
        "mean + p_x_given_z.stddev() * draws",
        "mean + p_x_given_z.variance() * draws",
        "networks",
    ),
    # Estimators of the bound
    Fault(
        "the bound adds the KL",
        "model/estimators.py",
        "return self.log_px_given_z - self.kl",
        "return self.log_px_given_z + self.kl",
        "estimators",
    ),
    Fault(
        "z is mu + sigma^2 eps",
        "model/estimators.py",
        "q_z_given_x.mean() + q_z_given_x.stddev() * eps",
        "q_z_given_x.mean() + q_z_given_x.variance() * eps",
        "estimators",
    ),
    Fault(
        "the KL is taken the other way round",
        "model/estimators.py",
        "kl = tfp.distributions.kl_divergence(q_z_given_x, prior(eps.shape[-1]))",
        "kl = tfp.distributions.kl_divergence(prior(eps.shape[-1]), q_z_given_x)",
        "estimators",
    ),
    Fault(
        "L^A leaves out log p(z)",
        "model/estimators.py",
        "kl = q_z_given_x.log_prob(z) - prior(eps.shape[-1]).log_prob(z)",
        "kl = q_z_given_x.log_prob(z)",
        "estimators",
    ),
    Fault(
        "the score function differentiates through z",
        "model/estimators.py",
        "z = tf.stop_gradient(z)",
        "z = tf.identity(z)",
        "estimators",
    ),
    Fault(
        "the baseline contains the sample from which it is taken",
        "model/estimators.py",
        "lambda f: (tf.reduce_sum(f, axis=0) - f) / n_others",
        "lambda f: tf.reduce_sum(f, axis=0) / (n_others + 1)",
        "estimators",
    ),
    Fault(
        "several samples of z are summed instead of averaged",
        "model/estimators.py",
        "return Bound(tf.reduce_mean(log_px_given_z, axis=0), kl)",
        "return Bound(tf.reduce_sum(log_px_given_z, axis=0), kl)",
        "estimators",
    ),
    # Baselines and the latent space
    Fault(
        "the independent Gaussian shares its variance where each pixel has one",
        "model/baselines.py",
        '{"per_pixel": 0, "shared": None}',
        '{"per_pixel": None, "shared": 0}',
        "baselines",
    ),
    Fault(
        "the independent Gaussian has twice the constant",
        "model/baselines.py",
        "np.log(2 * np.pi) / 2",
        "np.log(2 * np.pi)",
        "baselines",
    ),
    Fault(
        "the unit square is upside down",
        "model/plane.py",
        "np.meshgrid(u, u[::-1])",
        "np.meshgrid(u, u)",
        "latent",
    ),
    Fault(
        "the KL of a latent dimension is twice as large",
        "model/latent.py",
        "np.expm1(log_var) - log_var, axis=0) / 2",
        "np.expm1(log_var) - log_var, axis=0)",
        "latent",
    ),
    Fault(
        "an interpolation runs backwards",
        "model/latent.py",
        "(1 - share) * encoder_mean(params, x_from) + share * encoder_mean(params, x_to)",
        "share * encoder_mean(params, x_from) + (1 - share) * encoder_mean(params, x_to)",
        "latent",
    ),
    # log p(x)
    Fault(
        "appendix D has its sign reversed",
        "model/marginal_likelihood.py",
        "Estimate(-log_mean_ratio,",
        "Estimate(log_mean_ratio,",
        "appendix_d",
    ),
    Fault(
        "appendix D judges q on the draws to which it was fitted",
        "model/marginal_likelihood.py",
        "in ((second, first), (first, second))",
        "in ((first, first), (second, second))",
        "appendix_d",
    ),
    Fault(
        "one reliable part of p(x) is enough",
        "model/marginal_likelihood.py",
        "total(~part.is_reliable) == 0",
        "total(part.is_reliable) > 0",
        "marginal_likelihood",
    ),
    Fault(
        "appendix D's q is wider than it says",
        "model/marginal_likelihood.py",
        "np.sqrt(NARROWER * (1 - bandwidth**2))[:, None] * _solve",
        "_solve",
        "appendix_d",
    ),
    Fault(
        "appendix D's q forgets the volume of its bandwidth",
        "model/marginal_likelihood.py",
        " - n_latent * np.log(bandwidth)",
        "",
        "appendix_d",
    ),
    Fault(
        "the mixture counts a draw of each proposal instead of all",
        "model/marginal_likelihood.py",
        "np.log(n_samples) + _log_gaussian(z, *proposal)",
        "_log_gaussian(z, *proposal)",
        "marginal_likelihood",
    ),
    Fault(
        "the mode with least mass comes first",
        "model/modes.py",
        "order = np.argsort(-log_mass, axis=0)",
        "order = np.argsort(log_mass, axis=0)",
        "modes",
    ),
    # Where and on what a run is evaluated
    Fault(
        "a run is evaluated on test as train",
        "runs/evaluation.py",
        '"train": dataset.x_train[: config.n_train]',
        '"train": dataset.x_test[: config.n_train]',
        "evaluation",
    ),
    Fault(
        "a run is evaluated on all of train",
        "runs/evaluation.py",
        "dataset.x_train[: config.n_train]",
        "dataset.x_train",
        "evaluation",
    ),
    Fault(
        "a standard error is divided by n instead of its root",
        "runs/evaluation.py",
        "len(values) ** 0.5",
        "len(values)",
        "training evaluation",
    ),
    Fault(
        "full VB's weights share the noise of z in an evaluation",
        "runs/evaluation.py",
        'draws.fold_in(seed_pair, "zeta")',
        'draws.fold_in(seed_pair, "eps")',
        "draws",
    ),
    Fault(
        "full VB is evaluated with the weights' KL of another N",
        "runs/evaluation.py",
        "config.n_latent, config.n_train, eps_seed",
        "config.n_latent, 1, eps_seed",
        "full_vb",
    ),
    Fault(
        "the reported share of pruned weights is that of the others",
        "runs/evaluation.py",
        "for kl in kl_per_weight], 0) < PRUNED",
        "for kl in kl_per_weight], 0) > PRUNED",
        "full_vb",
    ),
    # The running mean of the bound on train
    Fault(
        "the running mean goes over all minibatches",
        "runs/running_mean.py",
        "start = next(kept for kept in sums if now.step - kept.step <= longest)",
        "start = sums[0]",
        "running_mean",
    ),
    Fault(
        "the running mean divides by all steps",
        "runs/running_mean.py",
        "n = now.step - start.step",
        "n = now.step",
        "running_mean",
    ),
    Fault(
        "the running mean's error is that of the squares",
        "runs/running_mean.py",
        "/ n - mean**2, 0.0)",
        "/ n, 0.0)",
        "running_mean",
    ),
    Fault(
        "the window of the running mean is a step shorter",
        "runs/running_mean.py",
        "longest = REPORT_SAMPLES // samples_per_step + 1 ",
        "longest = REPORT_SAMPLES // samples_per_step ",
        "running_mean",
    ),
    Fault(
        "the sums are kept at every second mark",
        "runs/running_mean.py",
        "(n_marks + 1) * MARK_SAMPLES",
        "(n_marks + 2) * MARK_SAMPLES",
        "running_mean",
    ),
    # What is measured beside the runs
    Fault(
        "the best q is looked for from the encoder alone",
        "studies/inference_gap.py",
        "estimate.is_reliable, _at_mode(found)",
        "estimate.is_reliable, q",
        "inference_gap",
    ),
    Fault(
        "a gap of the approximation counts with the wrong sign",
        "studies/inference_gap.py",
        "difference(name, -1)",
        "difference(name, 1)",
        "inference_gap",
    ),
    Fault(
        "the authors' bandwidth is scored on the draws that it fits",
        "studies/authors_estimator.py",
        "kernels(second, first, bandwidth)",
        "kernels(first, first, bandwidth)",
        "authors_estimator",
    ),
    Fault(
        "the volume of the authors' kernels leaves out the bandwidth",
        "studies/authors_estimator.py",
        "np.log(bandwidth * np.sqrt(2 * np.pi))",
        "np.log(np.sqrt(2 * np.pi))",
        "authors_estimator",
    ),
    Fault(
        "the authors' burn-in is among the draws",
        "studies/authors_estimator.py",
        "moves.z[N_BURNIN:]",
        "moves.z[:N_SAMPLES]",
        "authors_estimator",
    ),
    # Datasets
    Fault(
        "MNIST's training set is the last 50,000 images",
        "data.py",
        "[:n_train], levels)",
        "[-n_train:], levels)",
        "data",
    ),
    Fault(
        "the labels are those of the last 50,000 images",
        "data.py",
        "labels_train=labels[:n_train]",
        "labels_train=labels[-n_train:]",
        "data",
    ),
    Fault(
        "the splits of Frey Face and digits are swapped",
        "data.py",
        "return order[:n_train], order[n_train:]",
        "return order[n_train:], order[:n_train]",
        "data",
    ),
    Fault(
        "the splits of Frey Face and digits are drawn anew",
        "data.py",
        "SPLIT_SEED = 1312_6114  #",
        "SPLIT_SEED = 1312_6115  #",
        "data",
    ),
    Fault(
        "the authors' scale is used for all",
        "data.py",
        '256 if preparation == "authors" else 255',
        "256",
        "data",
    ),
    Fault(
        "datapoints of train are in test",
        "data.py",
        "return order[:n_train], order[n_train:]",
        "return order[:n_train], order[n_train - 1 :]",
        "data",
    ),
]


def test_files(fault: Fault) -> list[str]:
    """Its test files, from the root of the tree."""
    return [f"tests/test_{name}.py" for name in fault.tests.split()]


def stale(fault: Fault) -> str:
    """What is no longer true of a fault's entry, as text; empty where all is."""
    text = (ROOT / "replication" / fault.file).read_text()
    if (n := text.count(fault.old)) != 1:
        return f"{fault.name}: {fault.old!r} is {n} times in {fault.file}, not once. Bring the fault up to date."
    if missing := [file for file in test_files(fault) if not (ROOT / file).is_file()]:
        return f"{fault.name}: there is no {', '.join(missing)}."
    compile(text.replace(fault.old, fault.new), fault.file, "exec")
    return ""
