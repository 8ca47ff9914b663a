"""Poses of particles that a run has never seen, by its encoder and its map."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Self

import torch

from napari_cryospin.engine.data.density import fit_map, read_map
from napari_cryospin.engine.data.star import write_star
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.files import require_absent
from napari_cryospin.engine.geometry.poses import Poses
from napari_cryospin.engine.geometry.rotations import angular_distance
from napari_cryospin.engine.inference.asking import ROUNDS, Measure, ask
from napari_cryospin.engine.inference.candidates import outlying
from napari_cryospin.engine.judging.particle_fit import ParticleFit, gains_of
from napari_cryospin.engine.kernels import slicer
from napari_cryospin.engine.models.image import ImageModel
from napari_cryospin.engine.models.noise import NoiseSpectrum
from napari_cryospin.engine.models.volume import HartleyVolume, grid_of_map
from napari_cryospin.engine.random_streams import stream
from napari_cryospin.engine.refining.alignment import Alignment
from napari_cryospin.engine.refining.candidate_modes import APART, distinct
from napari_cryospin.engine.run.encoder_file import read_encoder
from napari_cryospin.engine.run.homes import look_at, moved
from napari_cryospin.engine.runfolder.protected import require_not_in_use
from napari_cryospin.engine.settings import DataSettings, ModelSettings
from napari_cryospin.engine.state.pose_table import PoseTable
from napari_cryospin.engine.state.problem import Problem
from napari_cryospin.engine.sums.centring import first_origins, shift_spread
from napari_cryospin.engine.sums.posteriors import posterior_scale
from napari_cryospin.engine.sums.search import search_modes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

    from napari_cryospin.engine.data.observed import Observed
    from napari_cryospin.engine.data.particles import Particles
    from napari_cryospin.engine.kernels import Slicer
    from napari_cryospin.engine.models.encoders.interface import Encoder
    from napari_cryospin.engine.models.volume import Map
    from napari_cryospin.engine.runfolder.encoder import SavedEncoder
    from napari_cryospin.engine.runfolder.folder import RunFolder

# particles at a time
_PART = 500
# modes of a particle that are refined, and how far behind the best one they may be, nats
_MODES, _BEHIND = 3, 30.0


@dataclass(frozen=True)
class Inferred:
    """What is inferred of n particles; tensors on the CPU.

    Parameters
    ----------
    poses
        Their poses, (n,); shifts in working pixels.
    weights
        Weight of each pose among its rivals, (n,).
    scales
        What the map is multiplied with to fit each, (n,); ones where scales are not estimated.
    fit
        How well the map fits each at its pose.
    """

    poses: Poses
    weights: Tensor
    scales: Tensor
    fit: ParticleFit


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
    """

    saved: SavedEncoder
    encoder: Encoder
    volume: Map
    noise: NoiseSpectrum

    @cached_property
    def slicer(self) -> Slicer:
        """What reads the map."""
        return slicer(self.volume.grid().detach())

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
        volume, pixel_size = read_map(maps[-1])
        fitted = torch.from_numpy(fit_map(volume, pixel_size, saved.box, saved.pixel_size))
        noise = NoiseSpectrum(torch.tensor(saved.noise, device=device))
        held = HartleyVolume(saved.box, torch.ones(saved.box), stream(0, "map", 0)).to(device)
        held.assign(grid_of_map(fitted).float().to(device))
        return cls(saved, encoder, held, noise)

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
        answers, found = _Answers(self, particles, refine=refine), []
        for part in rows.split(_PART):
            found.append(answers.first(part, origins[part], spread))
            if progress is not None:
                progress(int(part[-1]) + 1, particles.n)
        told = _Told.join(found)
        if refine:
            self._search(particles, told, answers)
        return told.inferred(particles)

    def _search(self, particles: Particles, told: _Told, answers: _Answers) -> None:
        """Search all poses for particles that fit worse than most: the encoder may have missed."""
        rows = outlying(told.errors).nonzero().flatten()
        if not len(rows):
            return
        poses = PoseTable.empty(particles.n, 0, particles.device)
        poses.shifts[:], poses.scales[:] = told.poses.shifts, told.scales
        nobody = torch.zeros(particles.n, dtype=torch.bool, device=particles.device)
        model = ModelSettings(shifts=self.saved.shifts)
        problem = Problem(particles, self.volume, poses, nobody, model, 0)
        for _ in search_modes(problem, rows, _MODES, self.noise):
            pass
        for part in rows.split(_PART):
            candidates = Poses(poses.candidates[part], poses.candidate_shifts[part])
            answer = answers.again(part, candidates, poses.candidate_losses[part])
            told.improve(part, answer)


@dataclass(frozen=True)
class _Told:
    """What is found of particles so far, and how much of each image is left unexplained, (n,)."""

    poses: Poses
    weights: Tensor
    scales: Tensor
    gains: Tensor
    powers: Tensor
    errors: Tensor

    @classmethod
    def join(cls, parts: list[_Told]) -> Self:
        others = [
            torch.cat([getattr(part, field.name) for part in parts]) for field in fields(cls)[1:]
        ]
        rotations = torch.cat([part.poses.rotations for part in parts])
        shifts = torch.cat([part.poses.shifts for part in parts])
        return cls(Poses(rotations, shifts), *others)

    def improve(self, rows: Tensor, other: _Told) -> None:
        """Take over what is found of particles ``rows`` (m,) where it fits better."""
        better = other.errors < self.errors[rows]
        rows = rows[better]
        for name in ("rotations", "shifts"):
            getattr(self.poses, name)[rows] = getattr(other.poses, name)[better]
        for field in fields(self)[1:]:
            getattr(self, field.name)[rows] = getattr(other, field.name)[better]

    def inferred(self, particles: Particles) -> Inferred:
        fit = ParticleFit.told_by(self.gains.T, self.powers, particles)
        poses = Poses(self.poses.rotations.cpu(), self.poses.shifts.cpu())
        fit = ParticleFit(fit.log_likelihood.cpu(), fit.explained.cpu())
        return Inferred(poses, self.weights.cpu(), self.scales.cpu(), fit)


class _Answers:
    """Answers of a part of the particles."""

    def __init__(self, known: Teachings, particles: Particles, *, refine: bool) -> None:
        box, device, noise = particles.box, particles.device, known.noise
        self._known, self._particles, self._refine = known, particles, refine
        coarse = ImageModel.within(box, known.saved.radius, device)
        self._measure = Measure(coarse, known.slicer, noise)
        self._fine = ImageModel.within(box, box / 2, device)
        self._deviation = noise.deviation(self._fine)

    def first(self, rows: Tensor, origins: Tensor, spread: float | None) -> _Told:
        """Return what the encoder's candidates come to."""
        images = self._particles.images(rows)
        asked = ask(
            self._known.encoder,
            self._particles,
            rows,
            self._measure,
            scales=torch.ones(len(rows), device=rows.device),
            origins=origins,
            spread=spread,
            rounds=ROUNDS,
            images=images,
        )
        return self._told(rows, images, asked.candidates, asked.errors)

    def again(self, rows: Tensor, candidates: Poses, errors: Tensor) -> _Told:
        """Return what other candidates come to, (b, n) poses with their errors."""
        return self._told(rows, self._particles.images(rows), candidates, errors)

    def _told(self, rows: Tensor, images: Tensor, candidates: Poses, errors: Tensor) -> _Told:
        model, precision = self._fine, self._deviation**-2
        seen = self._particles.observed(rows, model, images=images)
        if self._refine:
            poses, weights = self._refined(candidates, errors, seen)
        else:
            poses, weights = _chosen(candidates, errors, self._size)
        predicted = seen.ctf * model.project(self._known.slicer, poses)
        scales = torch.ones_like(weights)
        if self._known.saved.scales:
            cross = (predicted * seen.coefficients) @ precision
            scales = posterior_scale(cross, predicted.square() @ precision, scales)
        gains = gains_of(seen.coefficients, predicted * scales[:, None], precision)
        left = seen.coefficients.square() @ precision - 2 * gains[0]
        powers = images.square().sum((1, 2))
        return _Told(poses, weights, scales, gains.T, powers, left / len(precision))

    @property
    def _size(self) -> int:
        """Number of coefficients that candidates are compared by."""
        return len(self._measure.model.frequencies)

    def _refined(self, candidates: Poses, errors: Tensor, seen: Observed) -> tuple[Poses, Tensor]:
        """Refine the best candidates of each mode; return the best of them, and its weight."""
        places = distinct(candidates.rotations, errors, _MODES)
        best = errors.gather(1, places.clamp(min=0))
        behind = 0.5 * self._size * (best - best[:, :1])
        image, mode = ((places >= 0) & (behind < _BEHIND)).nonzero(as_tuple=True)
        aligned = Alignment(
            self._fine,
            self._known.slicer,
            seen.over(self._deviation),
            numbers=image,
            shifted=self._known.saved.shifts,
        )
        refined = aligned.refine(candidates[image, places[image, mode]])
        log_p = torch.full_like(best, -torch.inf)
        log_p[image, mode] = -0.5 * len(self._fine.frequencies) * refined.errors
        number = torch.zeros_like(places)
        number[image, mode] = torch.arange(len(image), device=image.device)
        winner = log_p.argmax(1)
        poses = refined.poses[number.gather(1, winner[:, None])[:, 0]]
        # two candidates may have come to the same place
        same = angular_distance(refined.poses.rotations[number], poses.rotations[:, None]) < APART
        same.scatter_(1, winner[:, None], False)
        return poses, log_p.masked_fill(same, -torch.inf).softmax(1).amax(1)


def _chosen(candidates: Poses, errors: Tensor, size: int) -> tuple[Poses, Tensor]:
    """Return the best candidates, and the weights of all candidates around them."""
    winner = errors.argmin(1)
    poses = candidates[torch.arange(len(winner), device=winner.device), winner]
    weights = (-0.5 * size * errors).softmax(1)
    near = angular_distance(candidates.rotations, poses.rotations[:, None]) < APART
    return poses, (weights * near).sum(1)


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
    try:
        write_star(
            out,
            particles.table,
            particles.rows,
            rotations=found.poses.rotations.double().numpy(),
            shifts=(found.poses.shifts * particles.pixel_size).double().numpy(),
            scales=found.scales.numpy() if scales else None,
            log_likelihood=found.fit.log_likelihood.numpy(),
            explained=found.fit.explained.numpy(),
            pose_weights=found.weights.numpy(),
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
