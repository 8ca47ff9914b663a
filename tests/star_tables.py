"""Small tables of RELION, written beside the stack that they name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mrcfile
import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

OPTICS = {
    "rlnOpticsGroup": "1",
    "rlnVoltage": "300",
    "rlnSphericalAberration": "2.7",
    "rlnAmplitudeContrast": "0.1",
    "rlnImagePixelSize": "2.5",
    "rlnImageSize": "16",
}
PARTICLE = {
    "rlnImageName": "000001@a.mrcs",
    "rlnOpticsGroup": "1",
    "rlnDefocusU": "15000",
    "rlnDefocusV": "14000",
    "rlnDefocusAngle": "30",
    "rlnAngleRot": "10",
    "rlnAngleTilt": "20",
    "rlnAnglePsi": "30",
    "rlnOriginXAngst": "5",
    "rlnOriginYAngst": "-2.5",
}


def block(name: str, rows: list[dict[str, str]]) -> str:
    lines = [f"data_{name}", "", "loop_", *(f"_{column}" for column in rows[0])]
    return "\n".join([*lines, *(" ".join(row.values()) for row in rows), "", ""])


def star(
    folder: Path,
    particles: list[dict[str, str]],
    optics: list[dict[str, str]] | None,
    header_pixel_size: float = 2.5,
) -> Path:
    """Write a.mrcs, six images of 16 pixels, and a table beside it."""
    with mrcfile.new(folder / "a.mrcs", overwrite=True) as file:
        file.set_data(np.random.default_rng(0).normal(size=(6, 16, 16)).astype(np.float32))
        file.voxel_size = header_pixel_size
    path = folder / "particles.star"
    text = (block("optics", optics) if optics else "") + block("particles", particles)
    path.write_text(text)
    return path


def without(row: dict[str, str], *names: str) -> dict[str, str]:
    return {name: value for name, value in row.items() if name not in names}
