"""Whether particles that lie off-centre are told from those that do not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from napari_cryospin.engine.judging.centring import centring

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_cryospin.engine.judging.halves import HalfMaps
    from napari_cryospin.engine.state.problem import Problem


def test_shifts_gain_only_where_particles_are_off_centre(
    solved: Callable[..., tuple[Problem, HalfMaps]],
) -> None:
    found = centring(*solved(n=300))
    assert found.gain < 1.5
    assert found.rms < 0.2


def test_shifts_are_found(solved: Callable[..., tuple[Problem, HalfMaps]]) -> None:
    found = centring(*solved(n=300, off_centre=0.03))
    assert found.gain > 5
    assert found.rms == pytest.approx(0.03 * 32, rel=0.4)
