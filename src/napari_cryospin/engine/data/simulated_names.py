"""The names of what a simulation writes: a particle stack, and what is true of it."""

from __future__ import annotations

IMAGES = "particles.mrcs"
TABLE = "particles.star"
TRUE_TABLE = "truth.star"
TRUE_MAP = "truth.mrc"
# where the stack shows two structures
SECOND_TRUE_MAP = "truth_class2.mrc"
