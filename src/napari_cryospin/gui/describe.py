"""Putting a particle table, and the stages of a run, into words."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from napari_cryospin.engine.events import EpochDone

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_cryospin.engine.data.table import OpticsGroup, ParticleTable
    from napari_cryospin.engine.events import EpochStarted


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


def stage_begins(
    history: Sequence[EpochDone], present: EpochStarted | None = None
) -> list[tuple[float, str]]:
    """Return where each stage after the first begins in a run's epochs, and its name.

    A switch by hand may lie within an epoch, which ends there. ``present`` is the epoch under way.
    """
    begins = []
    epochs: list[EpochDone | EpochStarted] = [*history]
    if present is not None and all(done.epoch < present.epoch for done in history):
        epochs.append(present)
    for before, after in itertools.pairwise(sorted(epochs, key=lambda one: one.epoch)):
        if (before.stage, before.start) != (after.stage, after.start):
            again = after.start > 0 and after.stage == 0
            # short: stages may follow each other closely
            name = f"start {after.start + 1}" if again else f"stage {after.stage + 1}"
            # the figures of the epoch before may be lost
            known = isinstance(before, EpochDone) and before.epoch + 1 == after.epoch
            begins.append((before.end if known else float(after.epoch), name))
    return begins


def stage_names(history: Sequence[EpochDone]) -> str:
    """Return the stages that a run has come to, by number, as one sentence."""
    seen = {done.stage + 1: done.inference.label for done in history}
    if not seen:
        return ""
    return f"Stages: {', '.join(f'{number} {seen[number]}' for number in sorted(seen))}."
