from __future__ import annotations

import pytest
import torch

from napari_cryospin.engine.run.training import Training


@pytest.fixture
def sure_poses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Verdicts that take all poses for right: measuring that takes longer than a short run.

    For tests of what a run computes on its way; it is measured in other tests.
    """
    monkeypatch.setattr(Training, "pose_confidence", lambda _: torch.ones(50))
