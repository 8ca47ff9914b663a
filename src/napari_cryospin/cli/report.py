"""Printing what a run found: its evaluation, and the posterior of a particle."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import numpy as np
import typer

from napari_cryospin.engine.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from napari_cryospin.engine.evaluation.report import Evaluation
    from napari_cryospin.engine.inference.posterior import ParticlePosterior

_TOP = 5
_HEATMAP_WIDTH = 1200
# decades of probability below the maximum that the heatmap shows
_DECADES = 6.0


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


def posterior_of(run: Path, particle: int, nside: int) -> ParticlePosterior:
    """Return the posterior of a particle of a run against its map.

    Raises
    ------
    InputError
        If the run has no map, the particle does not exist, or nside is no power of two.
    """
    from napari_cryospin.engine.inference.posterior import PosteriorExplorer, PosteriorOptions
    from napari_cryospin.engine.run.folder import RunFolder
    from napari_cryospin.engine.run.snapshot import read_snapshot

    if nside < 1 or nside > 32 or nside & (nside - 1):
        raise InputError(f"--nside must be 1, 2, 4, 8, 16 or 32, not {nside}.")
    snapshot = read_snapshot(RunFolder(run))
    stack = snapshot.stack
    if particle >= stack.n:
        raise InputError(f"There is no particle {particle}: the run has 0 to {stack.n - 1}.")
    explorer = PosteriorExplorer(stack, PosteriorOptions(nside=nside))
    shifts = snapshot.poses.shifts / stack.pixel_size
    explorer.set_volume(snapshot.volume.volume, shifts)
    return explorer.particle(particle, shifts[particle])


def print_posterior(found: ParticlePosterior, *, as_json: bool) -> None:
    """Print a posterior's summary as JSON or in words."""
    import healpy

    from napari_cryospin.engine.geometry.rotations import euler_from_matrices

    order = np.argsort(found.direction_probability)[::-1][:_TOP]
    tilt, rot = (np.degrees(angle) for angle in healpy.pix2ang(found.nside, order))
    directions = [
        {"rot_deg": float(r), "tilt_deg": float(t), "probability": float(p)}
        for r, t, p in zip(rot, tilt, found.direction_probability[order], strict=True)
    ]
    best = [float(angle) for angle in euler_from_matrices(found.best_rotation)]
    if as_json:
        summary = {
            "particle": found.particle,
            "nside": found.nside,
            "entropy_nats": found.entropy,
            "effective_number_of_poses": math.exp(found.entropy),
            "best_rot_tilt_psi_deg": best,
            "top_directions": directions,
        }
        typer.echo(json.dumps(summary, indent=2))
        return
    typer.echo(f"particle {found.particle}: entropy {found.entropy:.2f} nats")
    typer.echo("best pose: rot {:.1f}°, tilt {:.1f}°, psi {:.1f}°".format(*best))
    for row in directions:
        typer.echo(
            f"direction rot {row['rot_deg']:7.1f}°, tilt {row['tilt_deg']:6.1f}°: "
            f"probability {row['probability']:.4f}"
        )


def write_heatmap(found: ParticlePosterior, path: Path) -> None:
    """Write the probability of directions as a Mollweide heatmap, log₁₀ over six decades."""
    import healpy
    from healpy.projector import MollweideProj
    from napari.utils.colormaps import ensure_colormap
    from PIL import Image

    probability = found.direction_probability
    log_p = np.log10(np.maximum(probability / probability.max(), 10**-_DECADES))
    # the dock's map: longitude grows to the right, as on a globe seen from outside
    projection = MollweideProj(xsize=_HEATMAP_WIDTH, flipconv="geo")
    image = projection.projmap(log_p, lambda x, y, z: healpy.vec2pix(found.nside, x, y, z))
    # outside the ellipse healpy gives minus infinity; its first row is the south
    inside = np.isfinite(image)[::-1]
    shown = np.where(inside, 1 + image[::-1] / _DECADES, 0)
    colours = ensure_colormap("magma").map(shown.ravel()).reshape(*shown.shape, 4)
    colours[~inside] = 1
    try:
        Image.fromarray((255 * colours).astype(np.uint8)).save(path, format="PNG")
    except OSError as error:
        raise InputError(f"{path} could not be written: {error.strerror}.") from error
