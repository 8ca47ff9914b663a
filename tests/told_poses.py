"""Poses as a run tells them, made up: for tests of what shows them, without a run."""

from __future__ import annotations

from typing import Any

import numpy as np

from napari_cryospin.engine.events import PosesUpdated
from napari_cryospin.engine.stages import Inference


def told_poses(n: int, **known: Any) -> PosesUpdated:
    """Return poses of n particles in use, all alike; ``known`` are fields that are otherwise."""
    fields: dict[str, Any] = {
        "epoch": 0,
        "inference": Inference.DIRECT,
        "rotations": np.tile(np.eye(3, dtype=np.float32), (n, 1, 1)),
        "shifts": np.zeros((n, 2), np.float32),
        "winner": np.zeros(n, np.int64),
        "losses": np.ones(n, np.float32),
        "used": np.ones(n, bool),
        "candidates": np.empty((n, 0, 3, 3), np.float32),
        "candidate_shifts": np.empty((n, 0, 2), np.float32),
        "candidate_losses": np.empty((n, 0), np.float32),
        "scales": np.ones(n, np.float32),
        "membership": np.ones(n, np.float32),
        "log_likelihood": np.zeros(n, np.float32),
        "explained": np.zeros(n, np.float32),
    }
    return PosesUpdated(**fields | known)


def poses_of_classes(classes: list[int], n_classes: int, **known: Any) -> PosesUpdated:
    """Return poses of particles of these classes, from 0, as sure as can be."""
    of = np.array(classes)
    weights = np.eye(n_classes, dtype=np.float32)[of]
    return told_poses(len(of), classes=of, class_weights=weights, **known)
