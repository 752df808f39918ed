"""What is measured beside the runs, each a table: how much gradients vary, how far log p(x) can be trusted."""
