"""The colours that meet in one figure stay apart for readers who are blind to red, green or blue."""

import itertools

import numpy as np
import pytest
from colorspacious import cspace_convert, deltaE
from matplotlib.colors import to_rgb

from replication.plots import palette

BLINDNESS = ("deuteranomaly", "protanomaly", "tritanomaly")
# Distances are in CAM02-UCS, where 1 is what one can just see between two large patches. Thin lines need many times
# that: 15 is half the distance of SGVB B's blue from SGVB A's.
APART = 15
PALE_APART = 10  # of the paper's curves, which lie by ours, and of shades, which are in order and have markers


def distance(one, other) -> float:
    """Of two colours as seen by the reader who tells them apart least."""
    pair = np.array([to_rgb(one), to_rgb(other)])
    spaces = [{"name": "sRGB1+CVD", "cvd_type": kind, "severity": 100} for kind in BLINDNESS]
    seen = [pair] + [np.clip(cspace_convert(pair, space, "sRGB1"), 0, 1) for space in spaces]
    return min(float(deltaE(*colours, input_space="sRGB1", uniform_space="CAM02-UCS")) for colours in seen)


def closest(colours) -> float:
    return min(distance(*pair) for pair in itertools.combinations(colours, 2))


def test_the_distance_knows_red_from_green_and_who_does_not():
    # Fails if the simulation is left out: these two differ for most readers and hardly for a deuteranope.
    red, green = "#b35a00", "#6b7d00"
    assert deltaE(to_rgb(red), to_rgb(green), input_space="sRGB1") > 25 > 15 > distance(red, green)


@pytest.mark.parametrize("colours", [palette.ALGORITHMS, palette.ESTIMATORS], ids=["algorithms", "estimators"])
def test_lines_of_one_figure_are_apart(colours):
    assert closest([*colours.values(), palette.NEUTRAL, "white"]) > APART


def test_an_algorithm_is_apart_from_the_papers_curves():
    # Full VB is left out: the paper has no curve of it, and its figure none of the paper's.
    ours = {name: colour for name, colour in palette.ALGORITHMS.items() if name != "full_vb"}
    for colour, of_paper in itertools.product(ours.values(), ours.values()):
        assert distance(colour, palette.pale(of_paper)) > APART
    assert closest([*map(palette.pale, ours.values()), "white"]) > PALE_APART


@pytest.mark.parametrize("strength", [0.5, 0.75, 1])
def test_above_is_apart_from_below(strength):
    # Fails for BrBG as it is, whose ends are one colour without red and green.
    below, above = (palette.DIFFERENCES(0.5 * (1 + sign * strength))[:3] for sign in (-1, 1))
    assert distance(below, above) > APART


def test_shades_go_from_dark_to_pale():
    # Six: the models whose use of the latent space is drawn.
    shades = palette.shades(palette.ALGORITHMS["aevb"], 6)
    lightness = cspace_convert(np.array(shades), "sRGB1", "CAM02-UCS")[:, 0]
    assert np.all(np.diff(lightness) > 0)
    assert min(distance(*pair) for pair in itertools.pairwise(shades)) > PALE_APART
