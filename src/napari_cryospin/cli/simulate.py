"""The command that makes a particle stack with known truth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path  # noqa: TC003 (typer reads the annotations)
from typing import Annotated, Any

import typer

from napari_cryospin.cli.folders import named_folder, require_named
from napari_cryospin.engine.data.nuisances import REALISTIC, Junk, Noise, Nuisances, Views
from napari_cryospin.engine.errors import InputError

_NOISE, _VIEWS, _JUNK = "Noise and optics", "Views and structures", "Junk and the like"


def simulate(
    source: Annotated[Path, typer.Argument(help="PDB, mmCIF (.gz too) or MRC map.")],
    out: Annotated[
        Path,
        typer.Option(
            help="Folder for the stack and its truth.", parser=named_folder, metavar="PATH"
        ),
    ],
    n_particles: Annotated[int, typer.Option(help="Number of particles.", min=1)] = 3000,
    box: Annotated[int, typer.Option(help="Side of the images, pixels (even).", min=16)] = 128,
    pixel_size: Annotated[
        float | None,
        typer.Option(help="Å per pixel; by default what makes the molecule span two thirds."),
    ] = None,
    resolution: Annotated[
        float | None, typer.Option(help="Resolution of a map made from atoms, Å [2 pixels].")
    ] = None,
    snr: Annotated[
        float, typer.Option(help="Variance of clean images over variance of noise (a ratio).")
    ] = 0.1,
    shift_std: Annotated[
        float, typer.Option(help="Standard deviation of the shifts along x and y, Å.", min=0)
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="Random seed.", min=0)] = 0,
    realistic: Annotated[
        bool,
        typer.Option(
            "--realistic",
            help="As a microscope's: coloured noise, ice, envelope, off-centre, contrast, junk, "
            "neighbours, defocus errors; each option below still has its say.",
        ),
    ] = False,
    off_centre: Annotated[
        float | None,
        typer.Option(help="As --shift-std, as a share of the box [0; realistic: 0.03].", min=0),
    ] = None,
    noise: Annotated[
        Noise | None,
        typer.Option(
            help="Power spectrum: flat, or a micrograph's (white; realistic: coloured).",
            rich_help_panel=_NOISE,
        ),
    ] = None,
    ice: Annotated[
        float | None,
        typer.Option(
            help="Share of the noise's variance that is structure of the ice, seen through the "
            "CTF [0; realistic: 0.15].",
            rich_help_panel=_NOISE,
        ),
    ] = None,
    envelope: Annotated[
        float | None,
        typer.Option(
            help="B-factor of the CTF's envelope, Å² [0; realistic: 80].", rich_help_panel=_NOISE
        ),
    ] = None,
    contrast_spread: Annotated[
        float | None,
        typer.Option(
            help="Standard deviation of the particles' contrast around 1 [0; realistic: 0.2].",
            rich_help_panel=_NOISE,
        ),
    ] = None,
    ramp: Annotated[
        float | None,
        typer.Option(
            help="Linear ramps across images, in standard deviations of the noise "
            "[0; realistic: 0.15].",
            rich_help_panel=_NOISE,
        ),
    ] = None,
    background: Annotated[
        float | None,
        typer.Option(
            help="Background of low frequency, in standard deviations of the noise "
            "[0; realistic: 0.15].",
            rich_help_panel=_NOISE,
        ),
    ] = None,
    defocus_error: Annotated[
        float | None,
        typer.Option(
            help="Standard deviation of the table's defocus around the truth, Å "
            "[0; realistic: 150].",
            rich_help_panel=_NOISE,
        ),
    ] = None,
    true_amplitude_contrast: Annotated[
        float | None,
        typer.Option(
            help="Amplitude contrast of the images, where the table's 0.1 is wrong, 0 to 1.",
            rich_help_panel=_NOISE,
        ),
    ] = None,
    groups: Annotated[
        int | None,
        typer.Option(
            help="Optics groups, each with noise of another colour and of twice the variance of "
            "the one before, in micrographs of a defocus each [1].",
            rich_help_panel=_NOISE,
        ),
    ] = None,
    views: Annotated[
        Views | None,
        typer.Option(
            help="View directions: all alike, around the z axis, or near the equator (uniform).",
            rich_help_panel=_VIEWS,
        ),
    ] = None,
    view_angle: Annotated[
        float | None,
        typer.Option(
            help="Largest angle to the z axis (cap) or to the equator (belt), degrees [30].",
            rich_help_panel=_VIEWS,
        ),
    ] = None,
    symmetry: Annotated[
        str,
        typer.Option(
            help="Make an assembly of copies of each source: C4, D2, T, O, I1, I2, …",
            rich_help_panel=_VIEWS,
        ),
    ] = "C1",
    second: Annotated[
        Path | None,
        typer.Option(help="A second structure, as SOURCE.", rich_help_panel=_VIEWS),
    ] = None,
    second_share: Annotated[
        float | None,
        typer.Option(help="Its share of the particles, 0 to 1 [0.3].", rich_help_panel=_VIEWS),
    ] = None,
    junk: Annotated[
        float | None,
        typer.Option(
            help="Share of images that show no particle, 0 to 1 [0; realistic: 0.12].",
            rich_help_panel=_JUNK,
        ),
    ] = None,
    junk_kinds: Annotated[
        str | None,
        typer.Option(
            help=f"What they show, with commas between: {', '.join(Junk)} [all alike].",
            rich_help_panel=_JUNK,
        ),
    ] = None,
    neighbours: Annotated[
        float | None,
        typer.Option(
            help="Share of particles with others that reach into the image, 0 to 1 "
            "[0; realistic: 0.15].",
            rich_help_panel=_JUNK,
        ),
    ] = None,
    beads: Annotated[
        float | None,
        typer.Option(help="Share of images with a gold bead, 0 to 1 [0].", rich_help_panel=_JUNK),
    ] = None,
    bead_height: Annotated[
        float | None,
        typer.Option(
            help="Height of the beads, standard deviations of the noise [20].",
            rich_help_panel=_JUNK,
        ),
    ] = None,
) -> None:
    """Simulate a particle stack with known truth from a structure or a map."""
    from napari_cryospin.cli.app import told_plainly
    from napari_cryospin.cli.progress import task_bar
    from napari_cryospin.cli.signals import cleaned_up

    overrides: dict[str, Any] = {
        "noise": noise,
        "ice": ice,
        "envelope": envelope,
        "contrast_spread": contrast_spread,
        "ramp": ramp,
        "background": background,
        "off_centre": 0.0 if off_centre is None and shift_std else off_centre,
        "junk": junk,
        "neighbours": neighbours,
        "views": views,
        "view_angle": view_angle,
        "defocus_error": defocus_error,
        "true_amplitude_contrast": true_amplitude_contrast,
        "beads": beads,
        "bead_height": bead_height,
        "second_share": second_share,
        "groups": groups,
    }
    with told_plainly(), cleaned_up():
        require_named(out)
        if box % 2:
            raise InputError(f"--box must be even, and {box} is not.")
        if second is None and second_share is not None:
            raise InputError("--second-share needs a second structure: name it with --second.")
        if junk_kinds is not None:
            kinds = (word.strip() for word in junk_kinds.split(","))
            overrides["junk_kinds"] = tuple(kind for kind in kinds if kind)
        given = {name: value for name, value in overrides.items() if value is not None}
        nuisances = replace(REALISTIC if realistic else Nuisances(), **given)
        nuisances.require_possible()
        from napari_cryospin.engine import simulate as simulator

        simulator.require_new_stack(out)
        other = None
        if second is None:
            volume, used = simulator.source_map(
                source, box=box, pixel_size=pixel_size, resolution=resolution, symmetry=symmetry
            )
        else:
            volume, other, used = simulator.two_source_maps(
                source,
                second,
                box=box,
                pixel_size=pixel_size,
                resolution=resolution,
                symmetry=symmetry,
            )
        with task_bar("Simulating") as report:
            simulator.simulate(
                volume,
                out,
                n_particles=n_particles,
                pixel_size=used,
                snr=snr,
                shift_std=shift_std,
                seed=seed,
                second=other,
                nuisances=nuisances,
                progress=report,
            )
    typer.echo(f"{n_particles} particles of {box} px, {used:.4g} Å/px, in {out}")
