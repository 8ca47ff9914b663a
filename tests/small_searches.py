"""Searches and judgements so small that a run of a test takes a second.

They take most of the time of a short run. What they find is tested where they are at full size, in
`tests/engine/inference` and by the verdicts of `tests/engine/run/test_verdict.py`.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

_SMALL = {
    "geometry.symmetry_axes._NSIDE": 1,
    "geometry.symmetry_search._LEAST": 1.1,
    "geometry.symmetry_search._NSIDE": 1,
    "judging.confidence._MOST_RADIUS": 6.0,
    "refining.alignment._STEPS": 2,
    "judging.centring._PARTICLES": 20,
    "judging.evidence._RADIUS": 4,
    "judging.mates._PROMISING": 1.1,
    "judging.misfit._PARTICLES": 100,
    "judging.pixel_size._PARTICLES": 20,
    "judging.same_maps._NSIDE": 1,
    "judging.same_maps._REFINED": 1,
    "judging.variability._STARTS": 1,
    "judging.variability._STEPS": 1,
    "sums.finding_members._RADIUS": 4,
    "sums.search._RADIUS": 4,
    "sums.wide_look._WEIGHED": 4,
    "posterior.noise.PROBES": 8,
}


@contextmanager
def made_small(more: dict[str, float] | None = None) -> Iterator[None]:
    """Make searches and judgements small, and set more constants of the engine, by dotted name."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (_SMALL | (more or {})).items():
            patch.setattr(f"napari_cryospin.engine.{name}", value)
        yield
