"""Poses of particles that a run has never seen, by its encoder and its map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import torch

from napari_cryospin.engine.data.density import fit_map, read_map
from napari_cryospin.engine.data.star import write_star
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.files import require_absent
from napari_cryospin.engine.geometry.poses import Poses
from napari_cryospin.engine.geometry.rotations import angular_distance
from napari_cryospin.engine.inference.asking import ROUNDS, Measure, ask
from napari_cryospin.engine.inference.candidates import APART, distinct
from napari_cryospin.engine.judging.particle_fit import ParticleFit, gains_of
from napari_cryospin.engine.kernels import slicer
from napari_cryospin.engine.models.image import ImageModel
from napari_cryospin.engine.models.noise import NoiseSpectrum
from napari_cryospin.engine.models.volume import grid_of_map
from napari_cryospin.engine.refining.alignment import Alignment
from napari_cryospin.engine.run.encoder_file import read_encoder
from napari_cryospin.engine.run.homes import look_at, moved
from napari_cryospin.engine.runfolder.protected import require_not_in_use
from napari_cryospin.engine.settings import DataSettings
from napari_cryospin.engine.sums.centring import first_origins, shift_spread
from napari_cryospin.engine.sums.posteriors import posterior_scale

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

    from napari_cryospin.engine.data.observed import Observed
    from napari_cryospin.engine.data.particles import Particles
    from napari_cryospin.engine.inference.asking import Asked
    from napari_cryospin.engine.kernels import Slicer
    from napari_cryospin.engine.models.encoders.interface import Encoder
    from napari_cryospin.engine.runfolder.encoder import SavedEncoder
    from napari_cryospin.engine.runfolder.folder import RunFolder

# particles at a time
_PART = 500
# modes of a particle that are refined, and how far behind the best one they may be, nats
_MODES, _BEHIND = 3, 10.0


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
    slicer
        The map, in the box of the encoder.
    noise
        Noise of the images.
    """

    saved: SavedEncoder
    encoder: Encoder
    slicer: Slicer
    noise: NoiseSpectrum

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
        return cls(saved, encoder, slicer(grid_of_map(fitted).float().to(device)), noise)

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
        answers = _Answers(self, particles, refine=refine)
        found = []
        for part in rows.split(_PART):
            found.append(answers.of(part, origins[part], spread))
            if progress is not None:
                progress(int(part[-1]) + 1, particles.n)
        rotations, shifts, weights, scales, gains, powers = (
            torch.cat(each).cpu() for each in zip(*found, strict=True)
        )
        fit = ParticleFit.told_by(gains.T, powers, particles)
        return Inferred(Poses(rotations, shifts), weights, scales, fit)


class _Answers:
    """Answers of a part of the particles."""

    def __init__(self, known: Teachings, particles: Particles, *, refine: bool) -> None:
        box, device, noise = particles.box, particles.device, known.noise
        self._known, self._particles, self._refine = known, particles, refine
        coarse = ImageModel.within(box, known.saved.radius, device)
        self._measure = Measure(coarse, known.slicer, noise)
        self._fine = ImageModel.within(box, box / 2, device)
        self._deviation = noise.deviation(self._fine)

    def of(self, rows: Tensor, origins: Tensor, spread: float | None) -> tuple[Tensor, ...]:
        """Return rotations, shifts, weights, scales, gains (b, 2) and powers of particles."""
        particles, model = self._particles, self._fine
        images = particles.images(rows)
        asked = ask(
            self._known.encoder,
            particles,
            rows,
            self._measure,
            scales=torch.ones(len(rows), device=rows.device),
            origins=origins,
            spread=spread,
            rounds=ROUNDS,
            images=images,
        )
        seen = particles.observed(rows, model, images=images)
        poses, weights = self._refined(asked, seen) if self._refine else _chosen(asked, self._size)
        predicted = seen.ctf * model.project(self._known.slicer, poses)
        scales = torch.ones_like(weights)
        if self._known.saved.scales:
            per_noise = predicted / self._deviation**2
            cross, power = (per_noise * seen.coefficients).sum(1), (per_noise * predicted).sum(1)
            scales = posterior_scale(cross, power, scales)
        predicted *= scales[:, None]
        gains = gains_of(seen.coefficients, predicted, self._deviation**-2)
        powers = images.square().sum((1, 2))
        return poses.rotations, poses.shifts, weights, scales, gains.T, powers

    @property
    def _size(self) -> int:
        """Number of coefficients that candidates are compared by."""
        return len(self._measure.model.frequencies)

    def _refined(self, asked: Asked, seen: Observed) -> tuple[Poses, Tensor]:
        """Refine the best candidates of each mode; return the best of them, and its weight."""
        candidates, errors = asked.candidates, asked.errors
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


def _chosen(asked: Asked, size: int) -> tuple[Poses, Tensor]:
    """Return the best candidates, and the weights of all candidates around them."""
    winner = asked.errors.argmin(1)
    each = torch.arange(len(winner), device=winner.device)
    poses = asked.candidates[each, winner]
    weights = (-0.5 * size * asked.errors).softmax(1)
    near = angular_distance(asked.candidates.rotations, poses.rotations[:, None]) < APART
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
