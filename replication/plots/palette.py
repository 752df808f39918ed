"""The colours, each with one meaning in all figures; they stay apart for colour-blind readers.

The distance of the colours that meet in one figure, simulated for the three kinds of colour blindness, is held by a
test.
"""

from matplotlib.colors import to_rgb

# An algorithm has its colour in every figure; the estimator by which AEVB learns has AEVB's.
ALGORITHMS = {"aevb": "#0072B2", "wake_sleep": "#E07B00", "mcem": "#3A0F4F", "full_vb": "#C9A0DC"}
ESTIMATORS = {
    "sgvb_b": ALGORITHMS["aevb"],
    "sgvb_a": "#6CC5F0",
    "score_function": "#7A0000",
    "score_function_baseline": "#E06C75",
}
NEUTRAL = "0.45"  # what belongs to no algorithm: baselines, data, the decoder
DIFFERENCES = "BrBG"  # the colour map of ours minus the paper's: brown below, teal above


def pale(colour: str, share: float = 0.55) -> tuple[float, float, float]:
    """The colour mixed with so much white: the paper's curve beside ours."""
    red, green, blue = (share + (1 - share) * part for part in to_rgb(colour))
    return red, green, blue
