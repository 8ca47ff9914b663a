"""What is said by hand while a recorded epoch is looked at, without a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_cryospin.engine.data.member import APART, BELONGS, OPEN
from napari_cryospin.engine.events import PosesUpdated, VolumeUpdated
from napari_cryospin.engine.stages import Inference
from napari_cryospin.gui.explorer.state import Explorer
from told_poses import told_poses

if TYPE_CHECKING:
    from pathlib import Path

    from napari_cryospin.gui.work.session import Session

MAP = VolumeUpdated(0, Inference.DIRECT, np.zeros((4, 4, 4), np.float32), 4.0)


@pytest.fixture
def explorer(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Explorer:
    """The explorer at a recorded epoch of a run of four particles; one was said to be apart."""
    # nothing is written
    monkeypatch.setattr(session.by_hand._later, "submit", lambda _: None)
    monkeypatch.setattr(Explorer, "_read", lambda *_: None)
    session.folder, by_hand = tmp_path, np.array([OPEN, APART, OPEN, OPEN], np.int8)
    explorer = Explorer(session)
    session._show_poses(told_poses(4, by_hand=by_hand, found_membership=np.ones(4, np.float32)))
    explorer.show_epoch(0)
    recorded = told_poses(4, membership=np.array([0.6, 0.7, 0.8, 0.9], np.float32))
    explorer._on_read((0, MAP, recorded))
    return explorer


def test_what_was_said_is_shown_on_a_recorded_epoch(explorer: Explorer) -> None:
    assert explorer.poses.by_hand.tolist() == [OPEN, APART, OPEN, OPEN]
    assert explorer.poses.membership.tolist() == pytest.approx([0.6, 0, 0.8, 0.9])


def test_what_is_said_is_shown_at_once(explorer: Explorer) -> None:
    told: list[PosesUpdated] = []
    explorer.poses_changed.connect(told.append)
    by_hand = explorer.session.by_hand
    by_hand.say(np.array([0, 3]), BELONGS)
    assert told == [explorer.poses]
    assert explorer.poses.by_hand.tolist() == [BELONGS, APART, OPEN, BELONGS]
    assert explorer.poses.membership.tolist() == pytest.approx([1, 0, 0.8, 1])
    by_hand.undo()
    by_hand.say(np.array([1]), OPEN)
    assert explorer.poses.membership.tolist() == pytest.approx([0.6, 0.7, 0.8, 0.9])
    # training tells other poses: those of the epoch stay
    explorer.session._show_poses(told_poses(4, epoch=7, by_hand=np.zeros(4, np.int8)))
    assert explorer.poses.epoch == 0 and len(told) == 3
