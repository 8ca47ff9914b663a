"""Printing what a run found: its evaluation, and the posterior of a particle."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import typer

from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.files import replacing
from napari_cryospin.engine.stages import Inference

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from napari_cryospin.engine.data.particles import Particles
    from napari_cryospin.engine.evaluation.report import Evaluation
    from napari_cryospin.engine.posterior.of_particles import ParticlePosterior
    from napari_cryospin.engine.run.survey import EpochSurvey


class OfClasses(NamedTuple):
    """Class of a particle of a run of several, and the one whose map is looked at, from 1."""

    own: int
    asked: int

    @property
    def words(self) -> str:
        """What is said of them behind the particle."""
        asked = "" if self.asked == self.own else f", against the map of class {self.asked}"
        return f" of class {self.own}{asked}"


def print_evaluation(found: Evaluation, *, as_json: bool) -> None:
    """Print an evaluation as JSON or as a table."""
    figures = found.figures()
    if as_json:
        typer.echo(json.dumps(figures, indent=2))
        return
    for name, value in figures.items():
        shown = (
            "not known" if value is None else f"{value:.3f}" if isinstance(value, float) else value
        )
        typer.echo(f"{name:30} {shown}")


def posterior_of(
    run: Path,
    particle: int,
    *,
    nside: int,
    depth: int,
    low_pass: float | None,
    temperature: float,
    epoch: int | None,
    class_number: int | None = None,
) -> tuple[ParticlePosterior, OfClasses | None]:
    """Return the posterior of a particle of a run against one of its maps, and which of several.

    Parameters
    ----------
    run
        The run folder.
    particle
        Row of the particle table, from 1.
    nside, depth, temperature
        As in :class:`~napari_cryospin.engine.posterior.of_particles.PosteriorOptions`.
    low_pass
        Å, or None.
    epoch
        Recorded epoch, from 1; the last state by default.
    class_number
        Class whose map it is against, from 1; the particle's own by default.

    Raises
    ------
    InputError
        If the run has no map, the particle, the epoch or the class does not exist, or a number is
        no power of two.
    """
    from napari_cryospin.engine.posterior.of_particles import ParticlePosteriors
    from napari_cryospin.engine.posterior.options import SHIFT_EXTENT, PosteriorOptions
    from napari_cryospin.engine.run.asked_class import in_class, map_of, number_of_classes
    from napari_cryospin.engine.run.snapshot import read_epoch, read_snapshot
    from napari_cryospin.engine.runfolder.class_files import require_class
    from napari_cryospin.engine.runfolder.folder import RunFolder

    _require_power_of_two("--nside", nside, 16)
    _require_power_of_two("--depth", depth, 1024)
    snapshot = read_snapshot(RunFolder(run))
    print_notes(snapshot.notes)
    particles, volume, poses = snapshot.particles, snapshot.volume, snapshot.poses
    place = _place_of(particle, particles)
    if epoch is not None:
        volume, poses = read_epoch(RunFolder(run), epoch - 1, particles, snapshot.truth)
    radius = None if not low_pass else particles.box * particles.pixel_size / low_pass
    if radius is not None and radius < 1:
        raise InputError(
            f"--low-pass {low_pass:g} Å leaves nothing: the box is only "
            f"{particles.box * particles.pixel_size:.0f} Å wide."
        )
    options = PosteriorOptions(
        nside=nside,
        depth=depth,
        radius=radius,
        temperature=temperature,
        shift_extent=SHIFT_EXTENT if snapshot.settings.model.shifts else 0.0,
    )
    posteriors = ParticlePosteriors(particles, options)
    shifts = poses.shifts / particles.pixel_size
    if class_number is not None:
        require_class(class_number, number_of_classes(poses))
    if poses.classes is None:
        posteriors.set_volume(volume.volume, shifts, scales=poses.scales)
        return posteriors.particle(place, shifts[place]), None
    own = int(poses.classes[place])
    asked = own if class_number is None else class_number - 1
    of = np.flatnonzero(in_class(poses, asked))
    posteriors.set_volume(map_of(volume, asked), shifts, scales=poses.scales, of=of)
    return posteriors.particle(place, shifts[place]), OfClasses(own + 1, asked + 1)


def _place_of(number: int, particles: Particles) -> int:
    """Return the place in the working stack of a particle, given its row of the table from 1."""
    (found,) = np.nonzero(particles.rows == number - 1)
    if len(found):
        return int(found[0])
    if 1 <= number <= particles.table.n_particles:
        raise InputError(f"Particle {number} of the table takes no part in this run.")
    raise InputError(
        f"There is no particle {number}: the table has 1 to {particles.table.n_particles:,}."
    )


def _require_power_of_two(name: str, value: int, most: int) -> None:
    if value < 1 or value > most or value & (value - 1):
        raise InputError(f"{name} must be a power of two from 1 to {most}, not {value}.")


def print_posterior(
    found: ParticlePosterior, particle: int, classes: OfClasses | None = None, *, as_json: bool
) -> None:
    """Print a summary of the posterior of a particle, by its row from 1, as JSON or in words."""
    from napari_cryospin.engine.geometry.euler import euler_from_matrices
    from napari_cryospin.engine.posterior.modes import MODE_WEIGHT

    angles = euler_from_matrices(found.modes)
    modes = [
        {
            "weight": float(weight),
            "distance_to_first_deg": float(distance),
            "rot_tilt_psi_deg": [float(angle) for angle in own],
        }
        for weight, distance, own in zip(
            found.mode_weights, found.mode_distances, angles, strict=True
        )
    ]
    best = [float(angle) for angle in euler_from_matrices(found.best_rotation)]
    if as_json:
        summary = {
            "particle": particle,
            "nside": found.nside,
            "finest_nside": found.fine.nside,
            "entropy_nats": found.entropy,
            "effective_number_of_poses": math.exp(found.entropy),
            "best_rot_tilt_psi_deg": best,
            "number_of_modes": found.n_modes,
            "modes": modes,
            "ordering": "RING",
            "view_directions": _shares(found),
        }
        if classes is not None:
            summary |= {"class": classes.own, "class_of_map": classes.asked}
        typer.echo(json.dumps(summary, indent=2))
        return
    typer.echo(
        f"particle {particle}{'' if classes is None else classes.words}: "
        f"entropy {found.entropy:.2f} nats, "
        f"{found.n_modes} mode{'' if found.n_modes == 1 else 's'} of at least {MODE_WEIGHT:.0%}"
    )
    typer.echo("best pose: rot {:.1f}°, tilt {:.1f}°, psi {:.1f}°".format(*best))
    for number, (mode, own) in enumerate(zip(modes, angles, strict=True)):
        typer.echo(
            f"mode {chr(ord('A') + number)}: weight {mode['weight']:.4f}, "
            f"{mode['distance_to_first_deg']:5.1f}° from A, "
            "rot {:.1f}°, tilt {:.1f}°, psi {:.1f}°".format(*own)
        )


def _shares(found: ParticlePosterior) -> list[float]:
    """Return the probabilities of the view directions, 12 nside² in RING order; their sum is 1."""
    probability = found.direction_probability
    return [float(share) for share in probability / probability.sum()]


def survey_of(run: Path, probes: int, class_number: int | None = None) -> list[EpochSurvey]:
    """Return the figures of all recorded epochs of a run.

    Parameters
    ----------
    run
        The run folder.
    probes
        Number of particles that stand for all.
    class_number
        Class whose particles are looked at, from 1; the largest by default.

    Raises
    ------
    InputError
        If there is no run, no such class, nobody in it in any epoch, no recorded epoch, or none
        that can be read.
    """
    from napari_cryospin.cli.progress import task_bar
    from napari_cryospin.engine.run.asked_class import largest_class, number_of_classes
    from napari_cryospin.engine.run.snapshot import read_snapshot
    from napari_cryospin.engine.run.survey import EmptyClass, survey_epoch
    from napari_cryospin.engine.runfolder.class_files import require_class
    from napari_cryospin.engine.runfolder.folder import RunFolder
    from napari_cryospin.engine.runfolder.records import recorded_epochs

    folder = RunFolder(run)
    snapshot = read_snapshot(folder)
    print_notes(snapshot.notes)
    if class_number is not None:
        require_class(class_number, number_of_classes(snapshot.poses))
    of_class = largest_class(snapshot.poses) if class_number is None else class_number - 1
    epochs = recorded_epochs(folder)
    if not epochs:
        raise InputError(f"{run} has recorded no poses: it was made by an earlier version.")
    found: list[EpochSurvey] = []
    problems: list[str] = []
    with task_bar("Looking at epochs") as report:
        for place, epoch in enumerate(epochs):
            report(place, len(epochs))
            try:
                known = (folder, epoch, snapshot.particles, snapshot.truth)
                found.append(survey_epoch(*known, probes=probes, of_class=of_class))
            except EmptyClass as nobody:
                found.append(nobody.survey)
            except InputError as error:
                problems.append(str(error))
        report(len(epochs), len(epochs))
    if not found:
        raise InputError(problems[0])
    if all(one.empty for one in found):
        raise InputError(f"No particle is of class {of_class + 1} in any epoch that can be read.")
    print_notes(f"{text.rstrip('.')}: the epoch is left out." for text in problems)
    return found


def print_notes(notes: Iterable[str]) -> None:
    """Print what is damaged and was left out, beside the results."""
    for note in dict.fromkeys(notes):
        typer.echo(f"Note: {note}", err=True)


def print_survey(found: list[EpochSurvey], *, as_json: bool) -> None:
    """Print the figures of epochs as JSON or as a table."""
    if as_json:
        typer.echo(json.dumps([one.figures() for one in found], indent=2))
        return
    if (number := found[0].class_number) is not None:
        typer.echo(f"Particles of class {number}, relative to its map (--class chooses another).")
    typer.echo(
        "epoch  inference        modes>1  entropy  pair       winner in   covered     weights off  "
        "truth in    best   any\n"
        "                            (%)   (nats)  (°, %)     best mode   (random)    (truth)      "
        "candidates  mode   mode"
    )
    for one in found:
        if one.empty:
            label = Inference(one.inference).label
            typer.echo(f"{one.epoch + 1:5d}  {label:15}  nobody is in the class")
            continue
        pair = "" if math.isnan(one.pair_angle) else f"{one.pair_angle:.0f}, "
        typer.echo(
            f"{one.epoch + 1:5d}  {Inference(one.inference).label:15}  "
            f"{100 * one.multimodal:6.0f}  {one.entropy:7.2f}  "
            f"{pair + f'{100 * one.pair_share:.0f}':9}  "
            f"{_percent(one.winner_in_best_mode):>9}   {_covered(one):11} "
            f"{_off(one):11} {_percent(one.candidates_hold_truth):>11} "
            f"{_percent(one.best_mode_holds_truth):>6} {_percent(one.modes_hold_truth):>6}"
        )


def write_survey(found: list[EpochSurvey], path: Path) -> None:
    """Write the figures of epochs as CSV.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    import pandas as pd

    try:
        with replacing(path) as temporary:
            pd.DataFrame([one.figures() for one in found]).to_csv(temporary, index=False)
    except OSError as error:
        raise InputError(f"{path} could not be written: {error.strerror}.") from error


def _covered(one: EpochSurvey) -> str:
    """Return what the heads cover of the posterior, and as many random poses, in percent."""
    if one.coverage is None:
        return "–"
    return f"{_percent(one.coverage)} ({_percent(one.random_coverage)})"


def _off(one: EpochSurvey) -> str:
    """Return by how much the heads' weights are off, and that against the truth, in percent."""
    if one.truth_calibration_error is None:
        return _percent(one.calibration_error)
    return f"{_percent(one.calibration_error)} ({_percent(one.truth_calibration_error)})"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.0f}"
