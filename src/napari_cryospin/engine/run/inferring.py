"""Poses of particles that a run has never seen, by its encoder and its map."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Self

import torch

from napari_cryospin.engine.data.class_columns import class_columns
from napari_cryospin.engine.data.density import fit_map, read_map
from napari_cryospin.engine.data.star import write_star
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.files import require_absent
from napari_cryospin.engine.inference.candidates import outlying
from napari_cryospin.engine.kernels import slicer_of
from napari_cryospin.engine.models.noise import NoiseSpectrum
from napari_cryospin.engine.models.volume import HartleyVolume, grid_of_map
from napari_cryospin.engine.random_streams import stream
from napari_cryospin.engine.run.answers import MODES, Answers, Inferred, Told
from napari_cryospin.engine.run.encoder_file import read_encoder
from napari_cryospin.engine.run.homes import look_at, moved
from napari_cryospin.engine.runfolder.class_files import maps_of_classes
from napari_cryospin.engine.runfolder.protected import require_not_in_use
from napari_cryospin.engine.settings import DataSettings, ModelSettings
from napari_cryospin.engine.state.pose_table import PoseTable
from napari_cryospin.engine.state.problem import Problem
from napari_cryospin.engine.sums.centring import first_origins, shift_spread
from napari_cryospin.engine.sums.finding_members import find_members
from napari_cryospin.engine.sums.membership import FEWEST
from napari_cryospin.engine.sums.search import search_modes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

    from napari_cryospin.engine.data.particles import Particles
    from napari_cryospin.engine.kernels import Slicer
    from napari_cryospin.engine.models.encoders.interface import Encoder
    from napari_cryospin.engine.models.volume import Map
    from napari_cryospin.engine.runfolder.encoder import SavedEncoder
    from napari_cryospin.engine.runfolder.folder import RunFolder

# particles at a time
_PART = 500


@dataclass(frozen=True)
class Teachings:
    """What a run has come to: encoder, map and noise.

    Parameters
    ----------
    saved, encoder
        The encoder, and what is told of it.
    volume
        The map, in the box of the encoder.
    noise
        Noise of the images.
    outliers
        Whether outliers are looked for.
    """

    saved: SavedEncoder
    encoder: Encoder
    maps: tuple[Map, ...]
    noise: NoiseSpectrum
    outliers: bool = True

    @cached_property
    def slicer(self) -> Slicer:
        """What reads the maps."""
        return slicer_of(torch.stack([each.grid().detach() for each in self.maps]))

    @classmethod
    def of(cls, folder: RunFolder, device: torch.device) -> Self:
        """Read them from a run folder.

        Raises
        ------
        InputError
            If the folder holds no run, no encoder or no map, or one of them is damaged.
        """
        saved, encoder = read_encoder(folder, device)
        maps = folder.maps()
        if not maps:
            raise InputError(
                f"{folder.path} holds no map yet: wait for the end of its first epoch."
            )
        held = tuple(_held(path, saved, device) for path in maps_of_classes(maps[-1]))
        noise = NoiseSpectrum(torch.tensor(saved.noise, device=device))
        return cls(saved, encoder, held, noise, folder.settings().model.outliers)

    @torch.no_grad()
    def infer(
        self,
        particles: Particles,
        *,
        refine: bool = True,
        progress: Callable[[int, int], None] | None = None,
    ) -> Inferred:
        """Infer the poses of particles of the encoder's box.

        Parameters
        ----------
        particles
            The n particles.
        refine
            Refine the poses that the encoder proposes, at all frequencies; else they are its own.
        progress
            Called with the number of particles done and their total; it may raise to end the work.
        """
        rows = torch.arange(particles.n, device=particles.device)
        origins, spread = torch.zeros(particles.n, 2, device=particles.device), None
        if self.saved.shifts and not self.encoder.gives_shifts:
            origins = first_origins(particles, rows, rows)
            spread = shift_spread(origins)
        answers, found = Answers(self, particles, refine=refine), []
        for part in rows.split(_PART):
            found.append(answers.first(part, origins[part], spread))
            if progress is not None:
                progress(int(part[-1]) + 1, particles.n)
        told = Told.join(found)
        if refine:
            self._search(particles, told, answers)
        return replace(told.inferred(particles), membership=self._membership(particles, told))

    def _membership(self, particles: Particles, told: Told) -> Tensor | None:
        """Return how probable it is that the images show the particle, (n,)."""
        if not self.outliers or particles.n < FEWEST:
            return None
        rows = torch.arange(particles.n, device=particles.device)
        search = find_members(self._problem(particles, told), rows, self.noise)
        while True:
            try:
                next(search)
            except StopIteration as done:
                found: Tensor = done.value.cpu()
                return found

    def _search(self, particles: Particles, told: Told, answers: Answers) -> None:
        """Search all poses for particles that are in doubt: the encoder may have missed theirs."""
        rows = (told.several | outlying(told.errors)).nonzero().flatten()
        if not len(rows):
            return
        problem = self._problem(particles, told)
        poses = problem.poses
        for _ in search_modes(problem, rows, MODES, self.noise):
            pass
        for part in rows.split(_PART):
            candidates, errors = poses.candidates_at(part), poses.candidate_losses[part]
            answer = answers.again(part, candidates, errors)
            told.improve(part, answer)

    def _problem(self, particles: Particles, told: Told) -> Problem:
        poses = PoseTable.empty(particles.n, 0, particles.device, len(self.maps))
        poses.shifts[:], poses.scales[:] = told.poses.shifts, told.scales
        nobody = torch.zeros(particles.n, dtype=torch.bool, device=particles.device)
        model = ModelSettings(shifts=self.saved.shifts)
        first, *others = self.maps
        return Problem(particles, first, poses, nobody, model, 0, tuple(others))


def _held(path: Path, saved: SavedEncoder, device: torch.device) -> Map:
    """Return the map of a file at the encoder's box."""
    volume, pixel_size = read_map(path)
    fitted = torch.from_numpy(fit_map(volume, pixel_size, saved.box, saved.pixel_size))
    held = HartleyVolume(saved.box, torch.ones(saved.box), stream(0, "map", 0)).to(device)
    held.assign(grid_of_map(fitted).float().to(device))
    return held


def data_like(data: DataSettings, stack: Path) -> DataSettings:
    """Return the data settings for particles that are to be prepared as those of a run were."""
    return DataSettings(
        stack=stack,
        box=data.box,
        mask_diameter=data.mask_diameter,
        contrast=data.contrast,
        particles_in=data.particles_in,
    )


def require_writable(out: Path) -> None:
    """Raise InputError where a file cannot be the star file to write."""
    if out.suffix.lower() != ".star":
        raise InputError(f"{out} is no name for a star file: let it end with .star.")
    require_absent([out], "choose another name with --out")
    require_not_in_use(out)
    if not out.absolute().parent.is_dir():
        raise InputError(f"There is no folder {out.absolute().parent} to write {out.name} into.")


def prepared(
    known: Teachings,
    data: DataSettings,
    device: torch.device,
    progress: Callable[[int, int], None] | None = None,
) -> Particles:
    """Return particles as the encoder of a run is used to them.

    Parameters
    ----------
    known
        The encoder.
    data
        The particles; the box is that of the encoder, whatever is said here.
    device
        Where they are to be.
    progress
        Called with the number of images read and their total, where they have to be.

    Raises
    ------
    InputError
        If they cannot be read, or brought to the width and the box of the encoder's.
    """
    data = data.model_copy(update={"box": known.saved.box})
    return moved(look_at(data, progress=progress, extent=known.saved.extent), device)


def write_inferred(out: Path, particles: Particles, found: Inferred, *, scales: bool) -> None:
    """Write what was inferred of particles as a star file: the user's own table, with poses.

    Raises
    ------
    InputError
        If the file is there by now, or cannot be written.
    """
    require_absent([out], "choose another name with --out")
    classes = found.poses.classes
    try:
        write_star(
            out,
            particles.table,
            particles.rows,
            rotations=found.poses.rotations.double().numpy(),
            shifts=(found.poses.shifts * particles.pixel_size).double().numpy(),
            scales=found.scales.numpy() if scales else None,
            membership=None if found.membership is None else found.membership.numpy(),
            log_likelihood=found.fit.log_likelihood.numpy(),
            explained=found.fit.explained.numpy(),
            pose_weights=found.weights.numpy(),
            more=class_columns(None if classes is None else classes.numpy()),
        )
    except OSError as error:
        raise InputError(f"{out} could not be written: {error.strerror or error}.") from error


def infer(
    folder: RunFolder,
    particles: Path,
    out: Path,
    *,
    refine: bool = True,
    device: torch.device | str = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> Inferred:
    """Write the poses of particles that a run never saw, by its encoder and its map.

    Parameters
    ----------
    folder
        The run: its auto-encoding has ended.
    particles
        ``.star``, ``.cs`` or ``.mrcs``.
    out
        The star file to write; it must not be there.
    refine, progress
        As for :meth:`Teachings.infer`.
    device
        Where it is computed.

    Raises
    ------
    InputError
        If the run has no encoder, the particles cannot be used, or the file cannot be written.
    """
    device = torch.device(device)
    require_writable(out)
    known = Teachings.of(folder, device)
    images = prepared(known, data_like(folder.settings().data, particles), device)
    found = known.infer(images, refine=refine, progress=progress)
    write_inferred(out, images, found, scales=known.saved.scales)
    return found
