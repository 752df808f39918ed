"""The mathematics: networks, estimators of the bound and of log p(x); no files, and nothing of the paper's figures."""
