"""Memberships in the table of poses: what is said by hand overrules what is found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

import napari_cryospin
from napari_cryospin.engine.data.member import APART, BELONGS, OPEN, overruled
from napari_cryospin.engine.state.pose_table import PoseTable

CPU = torch.device("cpu")


def rows(*numbers: int) -> torch.Tensor:
    return torch.tensor(numbers)


def test_what_is_said_overrules_what_is_found_and_can_be_taken_back() -> None:
    table = PoseTable.empty(4, 1, CPU)
    table.set_membership(rows(0, 1, 2), torch.tensor([0.2, 0.3, 0.9]))
    assert table.say(rows(0), BELONGS) and table.say(rows(2, 3), APART)
    assert torch.equal(table.membership, torch.tensor([1, 0.3, 0, 0]))
    assert table.members.tolist() == [True, False, False, False]
    # found again, and still overruled
    table.set_membership(rows(0, 1, 2), torch.tensor([0.1, 0.4, 0.8]))
    assert torch.equal(table.membership, torch.tensor([1, 0.4, 0, 0]))
    assert not table.say(rows(2), APART)
    # as it was before it was said, until it is found again
    assert table.say(rows(0, 2, 3), OPEN)
    assert torch.equal(table.membership, torch.tensor([0.2, 0.4, 0.9, 1]))


def test_it_outlives_another_start_and_the_way_back_to_one() -> None:
    table = PoseTable.empty(3, 2, CPU)
    table.set_membership(rows(0, 1, 2), torch.tensor([0.2, 0.3, 0.9]))
    table.say(rows(0), BELONGS)
    before = {name: value.clone() for name, value in table.state().items()}
    table.reset()
    assert table.membership.tolist() == [1, 1, 1] and table.by_hand.tolist() == [BELONGS, 0, 0]
    table.say(rows(0), OPEN)
    table.say(rows(1), APART)
    table.go_back_to(before)
    assert torch.equal(table.membership, torch.tensor([0.2, 0, 0.9]))
    table.load(before)
    assert torch.equal(table.membership, torch.tensor([1, 0.3, 0.9]))
    assert table.by_hand.tolist() == [BELONGS, OPEN, OPEN]


def test_arrays_are_overruled_as_tensors_are() -> None:
    found, said = np.array([0.2, 0.5, 0.7], np.float32), np.array([1, 0, -1], np.int8)
    assert np.array_equal(overruled(found, said), np.array([1, 0.5, 0], np.float32))
    assert overruled(found, said).dtype == np.float32


def test_memberships_are_written_through_the_table_alone() -> None:
    """Who writes past it would write over what a person has said."""
    engine = Path(napari_cryospin.__file__).parent / "engine"
    past = [
        str(path.relative_to(engine))
        for path in engine.rglob("*.py")
        if "poses.membership[" in (text := path.read_text(encoding="utf-8"))
        and any(
            "poses.membership[" in line.split(" = ")[0]
            for line in text.splitlines()
            if " = " in line
        )
    ]
    assert past == []
