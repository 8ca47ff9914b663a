"""Putting a particle table into words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from napari_cryospin.engine.data.table import OpticsGroup, ParticleTable


def describe_table(table: ParticleTable) -> list[tuple[str, str]]:
    """Return what was understood of a particle table, as (name, value) for the user."""
    optics = table.optics
    return [
        ("Particles", f"{table.n_particles:,}"),
        ("Box", _all(optics, "box", "{:d} px")),
        ("Pixel size", _all(optics, "pixel_size", "{:.4g} Å")),
        ("Extent", f"{table.box * table.pixel_size:.0f} Å"),
        ("Voltage", _all(optics, "voltage", "{:g} kV")),
        ("Spherical aberration", _all(optics, "spherical_aberration", "{:g} mm")),
        ("Amplitude contrast", _all(optics, "amplitude_contrast", "{:g}")),
        ("Defocus", _defocus(table)),
        ("Contrast", "white particles" if table.particles_are_white else "black particles"),
        ("Known poses", _known(table)),
    ]


def _all(optics: tuple[OpticsGroup, ...], field: str, form: str) -> str:
    values = list(dict.fromkeys(getattr(group, field) for group in optics))
    return ", ".join("not stated" if value is None else form.format(value) for value in values)


def _defocus(table: ParticleTable) -> str:
    if table.defocus is None:
        return "none: images are used without CTF"
    both = np.concatenate((table.defocus.u, table.defocus.v)) / 1e4
    return f"{both.min():.2f} to {both.max():.2f} µm"


def _known(table: ParticleTable) -> str:
    known = {"rotations": table.rotations, "shifts": table.shifts}
    names = [name for name, value in known.items() if value is not None]
    return " and ".join(names) + " (not used)" if names else "no"
