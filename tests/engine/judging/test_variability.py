"""Two structures in a stack: found, told apart, and not seen where there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from napari_cryospin.engine.data.belonging import belonging
from napari_cryospin.engine.judging import variability as module
from napari_cryospin.engine.judging.variability import two_humps, variability

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_cryospin.engine.judging.halves import HalfMaps
    from napari_cryospin.engine.state.problem import Problem

Solved = tuple["Problem", "HalfMaps"]


def test_two_structures_are_told_apart(
    solved: Callable[..., Solved], molecule: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one lacks what lies on one side of the first."""
    monkeypatch.setattr(module, "_STARTS", 1)
    second = molecule.copy()
    second[:, :, 18:] = 0
    problem, halves = solved(second=second, second_share=0.4)
    found = variability(problem, halves, seed=0)
    assert found.gain > 3
    assert found.humps.apart > 2
    assert found.humps.shares[0] == pytest.approx(0.6, abs=0.12)
    one = belonging(problem.particles.table)
    truth = problem.particles.table.source.with_name("truth.star")
    from napari_cryospin.engine.data.star import read_star

    one = belonging(read_star(truth))[found.rows.numpy()]
    places = found.places.numpy()
    right = np.mean((places > np.median(places)) == one)
    assert max(right, 1 - right) > 0.8


def test_one_structure_has_no_component(
    solved: Callable[..., Solved], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_STARTS", 1)
    found = variability(*solved(), seed=0)
    assert found.gain < 1


@pytest.mark.parametrize("share", [0.2, 0.5, 0.7])
def test_humps_have_their_shares(share: float) -> None:
    rng = np.random.default_rng(0)
    values = np.where(rng.random(2000) < share, rng.normal(-2, 0.5, 2000), rng.normal(1, 0.7, 2000))
    found = two_humps(values)
    assert found.shares[0] == pytest.approx(max(share, 1 - share), abs=0.04)
    assert found.apart > 3


def test_a_single_hump_is_not_two() -> None:
    assert two_humps(np.random.default_rng(1).normal(size=1000)).apart < 2
    assert two_humps(torch.ones(50).numpy()).apart < 2
