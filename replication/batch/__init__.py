"""Runs and notebooks of a profile, those that are missing: on this machine, or as jobs of a cluster."""
