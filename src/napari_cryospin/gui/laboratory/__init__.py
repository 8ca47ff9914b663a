"""Experiments: their design and queue; runs and branches compared."""
