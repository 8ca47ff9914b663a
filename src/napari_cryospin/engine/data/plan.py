"""What working images will be before any is read, and particles once they are made."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Self

import numpy as np
import torch

from napari_cryospin.engine.data.noise_groups import NoiseFilters, NoiseGroups
from napari_cryospin.engine.data.normalise import soft_mask
from napari_cryospin.engine.data.particles import Particles
from napari_cryospin.engine.data.resize import Sizes, working_sizes

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from napari_cryospin.engine.data.image_store import ImageStore
    from napari_cryospin.engine.data.set_aside import SetAside
    from napari_cryospin.engine.data.table import ParticleTable
    from napari_cryospin.engine.settings import DataSettings


@dataclass(frozen=True)
class Prepared:
    """What preparing has found out of n images, besides themselves.

    Parameters
    ----------
    kept
        Which of them are used, ascending, (k,).
    factors
        What each of these is multiplied with once all have been seen, (k,), float32.
    set_aside
        Rows of the table that are not used.
    notes
        What the user should know of the images, one sentence each.
    noise
        Factors that give each group of images the noise of all, (G, D/2); None: they have it.
    """

    kept: NDArray[np.int64]
    factors: Tensor
    set_aside: SetAside
    notes: tuple[str, ...]
    noise: Tensor | None = None


@dataclass(frozen=True)
class Plan:
    """What the working images of particles will be.

    Parameters
    ----------
    table
        The particle table, with the contrast that is used.
    rows
        Rows of it that are to be used, (n,).
    groups
        Numbers of their optics groups, ascending.
    sizes
        Sizes on the way to the working box.
    diameter
        Diameter of the mask, Å.
    notes
        What the user should know of table and sizes, one sentence each.
    """

    table: ParticleTable
    rows: NDArray[np.int64]
    groups: NDArray[np.int64]
    sizes: Sizes
    diameter: float
    notes: tuple[str, ...]

    @classmethod
    def of(cls, table: ParticleTable, settings: DataSettings, extent: float | None = None) -> Self:
        """Return the plan for a table by the settings of working box, contrast, mask, number.

        ``extent`` (Å) is the width of the images that is wanted; by default all that there is.
        """
        # what is written of the table later tells the contrast that was used
        table = with_contrast(table, settings)
        rows = np.arange(table.n_particles)[: settings.max_particles]
        groups = np.unique(table.optics_index[rows])
        sizes, notes = working_sizes(
            [table.optics[group] for group in groups], settings.box, extent
        )
        diameter = settings.mask_diameter or sizes.box * sizes.pixel_size
        return cls(table, rows, groups, sizes, diameter, (*table.notes, *notes))

    @property
    def n(self) -> int:
        """Number of images."""
        return len(self.rows)

    @property
    def box(self) -> int:
        """Working box, pixels."""
        return self.sizes.box

    @property
    def across(self) -> float:
        """Diameter of the mask, working pixels."""
        return self.diameter / self.sizes.pixel_size

    @cached_property
    def mask(self) -> Tensor:
        """The soft mask, (D, D)."""
        return soft_mask(self.box, self.across)

    @cached_property
    def noise_groups(self) -> NoiseGroups:
        """Which of the images may have the same noise."""
        return NoiseGroups.of_table(self.table, self.rows)

    def particles(self, prepared: Prepared, store: ImageStore) -> Particles:
        """Return the particles whose images live in a store."""
        rows = self.rows[prepared.kept]
        return Particles(
            self.table,
            rows,
            store,
            self.sizes.pixel_size,
            _ctf_parameters(self.table, rows),
            float(self.mask.square().mean()),
            tuple(dict.fromkeys((*self.notes, *prepared.notes))),
            _ctf_applied(self.table, rows),
            prepared.set_aside,
            noise_filters=self._noise_filters(prepared),
        )

    def _noise_filters(self, prepared: Prepared) -> NoiseFilters | None:
        if prepared.noise is None:
            return None
        of = torch.from_numpy(self.noise_groups.of[prepared.kept])
        return NoiseFilters(prepared.noise, of)


def with_contrast(table: ParticleTable, settings: DataSettings) -> ParticleTable:
    """Return a table with the contrast of its images: as it says itself, or as the user does."""
    if settings.contrast == "as table":
        return table
    return replace(table, particles_are_white=settings.contrast == "white")


def _ctf_parameters(table: ParticleTable, rows: NDArray[np.int64]) -> Tensor | None:
    if table.defocus is None:
        return None
    defocus = table.defocus
    lens = np.array(
        [(g.voltage, g.spherical_aberration, g.amplitude_contrast) for g in table.optics],
        dtype=np.float32,
    )[table.optics_index]
    columns = (defocus.u, defocus.v, defocus.angle, defocus.phase_shift)
    return torch.from_numpy(np.column_stack((*columns, lens))[rows].astype(np.float32))


def _ctf_applied(table: ParticleTable, rows: NDArray[np.int64]) -> Tensor | None:
    applied = np.array([group.ctf_applied for group in table.optics], np.uint8)
    if table.defocus is None or not applied.any():
        return None
    return torch.from_numpy(applied[table.optics_index[rows]])
