"""The answers at the head of the notebooks hold for any records, those of the smallest batch included."""

import pandas as pd
import pytest

from replication.config import RunConfig
from replication.paper import answers
from replication.runs.records import Record


def _pair(gap_of_map: float, gap_of_full_vb: float) -> list[Record]:
    """A run of MAP and one of full VB whose bounds on train are that much above those on test."""
    runs = []
    for algorithm, gap in (("aevb", gap_of_map), ("full_vb", gap_of_full_vb)):
        config = RunConfig(
            dataset="digits", algorithm=algorithm, n_latent=3, n_hidden=8, n_train=100, samples_total=1000
        )
        rows = [
            {
                "samples_evaluated": 1000,
                "split": split,
                "measure": "evaluated",
                "value": bound,
                "bound_sampled": bound,
                "seconds": 1.0,
            }
            for split, bound in (("train", -30.0), ("test", -30.0 - gap))
        ]
        runs.append(Record(config, pd.DataFrame(rows), {}))
    return runs


@pytest.mark.parametrize(
    ("gaps", "answer"),
    [
        ((8.0, 2.0), "at best 25% of it (Digits, not MNIST, Nz = 3, N = 100), at worst 25%"),
        ((0.5, 2.0), "MAP's gap between train and test is nowhere above 1 nat"),
    ],
)
def test_full_vb_is_answered_with_and_without_a_gap_to_narrow(gaps, answer):
    # Fails if the share of a gap that is not there is taken for a finding, or if the notebook stops with an error.
    assert answer in " ".join(answers.full_vb(_pair(*gaps)).split())
