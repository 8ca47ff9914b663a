"""Mutated files for every reader: each must be read, or refused in one sentence."""
