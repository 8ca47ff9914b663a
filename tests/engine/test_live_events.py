"""What an event of poses tells of the truth."""

from __future__ import annotations

import numpy as np

from napari_cryospin.engine.events import PosesUpdated
from napari_cryospin.engine.stages import Inference


def test_who_belongs_to_no_true_map_has_no_true_pose() -> None:
    true = np.stack([np.eye(3), -np.eye(3)]).astype(np.float32)
    told = PosesUpdated(
        0,
        Inference.DIRECT,
        *(np.zeros(2),) * 12,
        truth_beside=lambda _rotations, _used: true,
        has_truth=np.array([True, False]),
    )
    found = told.truth_of(0)
    assert found is not None and np.array_equal(found, true[0])
    assert told.truth_of(1) is None
    unknown = PosesUpdated(0, Inference.DIRECT, *(np.zeros(2),) * 12)
    assert unknown.truth_of(0) is None
