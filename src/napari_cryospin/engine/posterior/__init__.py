"""Posteriors of the poses of single particles, refined: what the explorer shows."""
