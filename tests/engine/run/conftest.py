from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from napari_cryospin.engine.inference.switching import SwitchCriterion
from napari_cryospin.engine.run.training import Training

if TYPE_CHECKING:
    from napari_cryospin.engine.settings import Settings


@pytest.fixture
def unjudged(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of a run that nothing judges, for tests that steer it.

    Judging its map and its poses takes most of the time of a short run.
    """
    settings.held_out = 0.0
    monkeypatch.setattr(SwitchCriterion, "measure", lambda *_: None)
    return settings


@pytest.fixture
def sure_poses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Verdicts that take all poses for right: measuring that takes longer than a short run.

    For tests of what a run computes on its way; it is measured in other tests.
    """
    monkeypatch.setattr(Training, "pose_confidence", lambda _: torch.ones(50))
