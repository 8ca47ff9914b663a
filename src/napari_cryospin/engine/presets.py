"""The presets: sequences of stages, with their settings, by name."""

from __future__ import annotations

from typing import Any

# from nothing to the right structure at low resolution
_COARSE: dict[str, Any] = {"inference": "marginal"}
# every particle's modes, at a resolution that tells them apart
_FINE: dict[str, Any] = {
    "inference": "marginal",
    "until": "epochs",
    "epochs": 1,
    "nside": 8,
    "batch_size": 1000,
}
# all modes refined, the best one winning
_REFINED: dict[str, Any] = {
    "inference": "direct",
    "until": "criterion",
    "epochs": 40,
    "batch_size": 500,
    "pose_update": "gauss-newton",
    "pose_steps": 2,
    "volume_update": "closed form",
    "hypotheses": 3,
    "searches": 1,
}
# from nothing to an encoder that knows the structure
_TAUGHT: dict[str, Any] = {
    "inference": "amortized",
    "teacher": "posterior",
    "until": "criterion",
    "epochs": 60,
    "batch_size": 250,
    "learning_rate_encoder": 5e-3,
}
# the same by likelihood alone: winner takes all
_WINNING: dict[str, Any] = {
    **_TAUGHT,
    "teacher": "likelihood",
    "batch_size": 500,
    "volume_update": "closed form",
    "guesses": 2048,
    "passes": 4,
}
# searched again where the map that has been found by then leaves much doubt
_DECODED: dict[str, Any] = {**_REFINED, "searched": "doubtful", "searches": 4}

PRESETS: dict[str, dict[str, Any]] = {
    "default": {"starts": 2, "stages": [_TAUGHT, _DECODED]},
    "quick": {
        "starts": 1,
        "data": {"box": 32, "max_particles": 3000},
        "stages": [_TAUGHT, _DECODED],
    },
    "cryospin": {"starts": 3, "stages": [_WINNING, _DECODED]},
    "marginal": {"starts": 2, "stages": [_COARSE, _FINE, _REFINED]},
    "paper-synthetic": {
        "starts": 1,
        "data": {"box": 128},
        "model": {
            "encoder": "vgg",
            "heads": 7,
            "encoder_width": 64,
            "outliers": False,
            "halves": False,
            "shifts": False,
            "loss": "absolute",
        },
        "stages": [
            {"inference": "amortized", "epochs": 7},
            {"inference": "direct", "epochs": 13},
        ],
    },
    "paper-experimental": {
        "starts": 1,
        "data": {"box": 128},
        "model": {
            "encoder": "vgg",
            "heads": 15,
            "encoder_width": 64,
            "outliers": False,
            "halves": False,
            "shifts": True,
            "loss": "absolute",
        },
        "stages": [
            {"inference": "amortized", "epochs": 15},
            {"inference": "direct", "epochs": 15},
        ],
    },
}
