"""Which settings have an option of ``reconstruct`` of their own, and what it is called."""

from __future__ import annotations

from napari_cryospin.engine.stages import Inference

_FIRST = {
    "data.box": "--box",
    "model.heads": "--heads",
}
_LATER = {
    "starts": "--starts",
    "warm_start": "--warm-start",
    "model.shifts": "--shifts",
    "model.symmetry": "--symmetry",
    "model.classes": "--classes",
    "model.outliers": "--outliers",
    "model.halves": "--halves",
    "data.max_particles": "--max-particles",
    "data.particles_in": "--particles-in",
    "device": "--device",
    "threads": "--threads",
    "seed": "--seed",
    "data.passthrough": "--passthrough",
    "data.datadir": "--datadir",
    "data.voltage": "--voltage",
    "data.spherical_aberration": "--cs",
    "data.amplitude_contrast": "--amplitude-contrast",
    "data.pixel_size": "--pixel-size",
    "data.contrast": "--contrast",
    "data.truth_star": "--truth-star",
    "data.truth_map": "--truth-map",
}


def flags() -> dict[str, str]:
    """Return the options by the dotted names of their settings, in the order of the help.

    Every inference has one for the epochs of its first stage.
    """
    epochs = {
        f"{inference}.epochs": f"--epochs-{inference.option}"
        for inference in Inference.registered()
    }
    return _FIRST | epochs | _LATER


def opposite(flag: str) -> str:
    """Return the option that says no where ``flag`` says yes."""
    return f"--no-{flag.removeprefix('--')}"
