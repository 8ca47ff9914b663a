"""Whose candidates leave doubt."""

from __future__ import annotations

import torch

from napari_cryospin.engine.geometry.rotations import exponential_map
from napari_cryospin.engine.inference.candidates import have_several_modes, outlying

SIZE = 200


def test_another_mode_counts_by_its_weight() -> None:
    turned = exponential_map(torch.deg2rad(torch.tensor([[0.0, 0, 0], [10, 0, 0], [90, 0, 0]])))
    rotations = turned.expand(4, 3, 3, 3)
    # errors behind the best one, nats: of a neighbour, and of another mode
    behind = torch.tensor([[0.0, 1, 50], [0, 50, 1], [0, 50, 6], [0, 50, 8]])
    errors = 1 + 2 * behind / SIZE
    assert have_several_modes(rotations, errors, SIZE).tolist() == [False, True, True, False]


def test_a_bad_fit_stands_out() -> None:
    errors = torch.cat((torch.linspace(0.9, 1.1, 50), torch.tensor([1.5, torch.nan])))
    found = outlying(errors)
    assert found[-2:].all() and not found[:25].any()
