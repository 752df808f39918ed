"""A setting that the words of a notebook tell is the one that the code has."""

import inspect

import nbformat
import numpy as np
import pytest

from replication import paths
from replication.config import MCEM_PASSES, N_MCEM_LEAPFROG, N_MCEM_UPDATES
from replication.model import hmc, marginal_likelihood, modes
from replication.paper import comparison, evidence, rates
from replication.runs import evaluation
from replication.studies import authors_estimator, calibration, inference_gap

APPENDIX_D = {name: it.default for name, it in inspect.signature(marginal_likelihood.appendix_d).parameters.items()}
FIT_UNTIL = {metric: f"{samples / 1e6:g} million" for metric, samples in comparison.FIT_UNTIL.items()}

WORDS = {
    "3_marginal_likelihood": [
        f"{N_MCEM_LEAPFROG} leapfrog steps of Hamiltonian Monte Carlo for every datapoint",
        f"then {N_MCEM_UPDATES} updates of the weights with the sample",
        f"evaluates every datapoint {MCEM_PASSES['all_passes']} times: in {N_MCEM_LEAPFROG} leapfrog steps and in "
        f"{N_MCEM_UPDATES} updates of the weights",
        f"from a grid of {modes.GRID_SIZE:,} points",
        f"a search from {modes.GRID_SIZE:,} points finds",
        f"if its mass is within {modes.NEGLIGIBLE:g} nats of the largest",
        f"{APPENDIX_D['n_samples']} draws from the posterior of every datapoint, a density $q(z)$ fitted to one half",
        f"{APPENDIX_D['n_burnin']} moves, of which {0.8 * APPENDIX_D['n_burnin']:g} tune the step size",
        {3: "every third move"}[hmc.N_MOVES_PER_SAMPLE],
        {(0.2, 1.0): "between a fifth of the tuned one and all of it"}[hmc.JITTER],
        f"the trajectories of {APPENDIX_D['n_leapfrog']} leapfrog steps",
        f"with {min(calibration.DIMENSIONS)} to {max(calibration.DIMENSIONS)} latent variables",
        f"over {calibration.N_SEEDS} seeds",
        f"{authors_estimator.N_BURNIN} moves, then {authors_estimator.N_SAMPLES}, each of them a draw",
        f"times or over $e^{{{np.log(authors_estimator.FACTOR):g}}}$ after every move",
        f"{authors_estimator.N_SAMPLES // 2} neighbouring draws",
    ],
    "5_samples": [
        f"more than {evidence.ACTIVE:g} nats",
        f"for {inference_gap.N_IMAGES} images of each split",
    ],
    "6_full_vb": [f"the prior up to {evaluation.PRUNED:g} nats"],
    "8_verdict": [f"beyond {comparison.FIT_UNTIL['bound']:.0e} in figure 2".replace("e+0", "e")],
    "9_readings": [
        f"from {rates.FIT_FROM:,.0f} samples up to {FIT_UNTIL['bound']} (figure 2, on test) and {FIT_UNTIL['log_px']}",
        f"the paper's curve on test up to {FIT_UNTIL['bound']} samples",
        f"within {rates.AS_CLOSE:g} tolerances of it",
        f"a step of Monte Carlo EM has {N_MCEM_UPDATES} updates",
    ],
}


@pytest.mark.parametrize("notebook", WORDS)
def test_settings_in_words_are_those_of_the_code(notebook):
    # Fails if a setting changes, or its sentence, and not the other.
    cells = nbformat.read(paths.NOTEBOOKS / f"{notebook}.ipynb", as_version=4).cells
    words = " ".join(" ".join(cell.source.split()) for cell in cells if cell.cell_type == "markdown")
    assert [said for said in WORDS[notebook] if said not in words] == []
