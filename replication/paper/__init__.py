"""What the paper ran, drew and said, and how our records compare."""
