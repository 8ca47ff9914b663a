"""The command that infers poses of particles that a run never saw."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path  # noqa: TC003 (typer reads the annotations)
from typing import Annotated, Any

import typer

from napari_cryospin.cli.options import given_settings, with_settings

# weight beyond which a pose has no rival to speak of
SURE = 0.9
# what a command that trains nothing heeds of the settings
HEEDED = (
    "device",
    "threads",
    *(
        f"data.{name}"
        for name in (
            "passthrough",
            "datadir",
            "contrast",
            "pixel_size",
            "voltage",
            "spherical_aberration",
            "amplitude_contrast",
            "max_particles",
            "particles_in",
        )
    ),
)


@partial(with_settings, only=HEEDED)
def infer(
    run: Annotated[Path, typer.Argument(help="Run folder whose auto-encoding has ended.")],
    particles: Annotated[Path, typer.Argument(help="Particles: .star, .cs or .mrcs.")],
    out: Annotated[Path, typer.Option(help="STAR file to write; it must not be there yet.")],
    refine: Annotated[
        bool, typer.Option(help="Refine the poses that the encoder proposes, each for itself.")
    ] = True,
    **settings: Any,
) -> None:
    """Give poses and weights to particles that a run never saw, by its encoder and its map."""
    from napari_cryospin.cli.app import told_plainly
    from napari_cryospin.cli.progress import task_bar
    from napari_cryospin.cli.run import with_overrides
    from napari_cryospin.cli.signals import cleaned_up

    with cleaned_up(), told_plainly():
        from napari_cryospin.engine.allocator import keep_freed
        from napari_cryospin.engine.kernels import make_ready
        from napari_cryospin.engine.run import inferring
        from napari_cryospin.engine.run.devices import find_device, use_threads
        from napari_cryospin.engine.runfolder.folder import RunFolder
        from napari_cryospin.engine.settings import Settings

        inferring.require_writable(out)
        own = RunFolder(run).settings().data
        asked = Settings(data=inferring.data_like(own, particles.absolute()))
        asked = with_overrides(asked, given_settings(settings))
        notes = list(use_threads(asked.threads))
        device = find_device(asked.device)
        known = inferring.Teachings.of(RunFolder(run), device)
        with task_bar("Reading particles") as reading:
            images = inferring.prepared(known, asked.data, device, reading)
        for note in (*notes, *images.notes):
            typer.echo(f"Note: {note}", err=True)
        keep_freed()
        make_ready(device)
        began = time.monotonic()
        with task_bar("Inferring poses") as progress:
            found = known.infer(images, refine=refine, progress=progress)
        seconds = time.monotonic() - began
        inferring.write_inferred(out, images, found, scales=known.saved.scales)
        sure = float((found.weights > SURE).float().mean())
    aside = len(images.set_aside.rows)
    typer.echo(
        f"{out}: {images.n:,} particles with their poses, {images.n / seconds:,.0f} a second; "
        f"{sure:.1%} with a weight above {SURE:g}."
    )
    if aside:
        typer.echo(f"{aside:,} particles are left out: their images cannot be used.")
