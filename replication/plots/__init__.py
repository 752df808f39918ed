"""DataFrames and arrays in, matplotlib figures out; nothing is computed here.

They look alike on every machine: importing this sets matplotlib's own defaults, whatever a user's matplotlibrc says.
"""

import matplotlib.style

matplotlib.style.use("default")
