"""The colours, each with one meaning in all figures; they stay apart for colour-blind readers.

The distance of the colours that meet in one figure, simulated for the three kinds of colour blindness, is held by a
test.
"""

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import LinearSegmentedColormap, to_rgb

Colour = tuple[float, float, float]

# An algorithm has its colour in every figure; the estimator by which AEVB learns has AEVB's.
ALGORITHMS = {"aevb": "#0072B2", "wake_sleep": "#E07B00", "mcem": "#3A0F4F", "full_vb": "#C9A0DC"}
ESTIMATORS = {
    "sgvb_b": ALGORITHMS["aevb"],
    "sgvb_a": "#6CC5F0",
    "score_function": "#7A0000",
    "score_function_baseline": "#E06C75",
}
MARKERS = {"sgvb_b": "o", "sgvb_a": "s", "score_function": "^", "score_function_baseline": "D"}
NEUTRAL = "0.35"  # what belongs to no algorithm: baselines, data, the decoder
WHITE = 0.55  # the share of white in a pale colour
POINTER = "#D81B60"  # where the reader of the explorer is
# The colour map of ours minus the paper's: brown below, teal above; its darkest ends look alike without red or green.
DIFFERENCES = LinearSegmentedColormap.from_list("differences", colormaps["BrBG"](np.linspace(0.1, 0.9, 256)))
LABELS = "petroff10"  # matplotlib's colours for ten classes


def pale(colour: str) -> Colour:
    """The colour mixed with white: the paper's curve beside ours."""
    red, green, blue = (WHITE + (1 - WHITE) * part for part in to_rgb(colour))
    return red, green, blue


def shades(colour: str, n: int) -> list[Colour]:
    """The colour from dark to pale: sizes of one algorithm's runs, the smallest first."""
    ramp = LinearSegmentedColormap.from_list("shades", ["black", colour, "white"])
    return [to_rgb(shade) for shade in ramp(np.linspace(0.2, 0.8, n))]
