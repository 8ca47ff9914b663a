"""Which point groups a map may have, of all kinds and wherever its axes lie."""

from __future__ import annotations

import numpy as np
import pytest

from assemblies import assembly, turned_away
from napari_cryospin.engine.geometry.symmetry import point_group
from napari_cryospin.engine.geometry.symmetry_search import likely_groups

# of groups that a map has, and that it has not
HAS, HAS_NOT = 0.9, 0.85


@pytest.mark.parametrize("name", ["C2", "C5", "C12", "D3", "D7", "T", "O", "I"])
def test_the_largest_group_of_a_map_is_told_from_larger_ones(name: str) -> None:
    rng = np.random.default_rng(1)
    volume = turned_away(assembly(name))
    volume = volume + rng.normal(0, 0.1, volume.shape).astype(np.float32)
    found = dict(likely_groups(volume))
    assert found[name].correlation > HAS
    for other, frame in found.items():
        if len(point_group(other)) > len(point_group(name)):
            assert frame.correlation < HAS_NOT, other


def test_a_map_without_symmetry_has_no_group() -> None:
    volume = turned_away(assembly("C1", seed=3))
    assert all(frame.correlation < HAS_NOT for _, frame in likely_groups(volume))


def test_groups_that_are_no_larger_are_left_out() -> None:
    volume = turned_away(assembly("D2"))
    assert {"C2", "D2"} <= dict(likely_groups(volume)).keys()
    assert not {"C2", "C3", "C4", "D2"} & dict(likely_groups(volume, 4)).keys()
