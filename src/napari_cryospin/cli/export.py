"""The command that writes a run's poses for other programs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path  # noqa: TC003 (typer reads the annotations)
from typing import Annotated

import typer


class Format(StrEnum):
    """What is written."""

    STAR = "star"
    CS = "cs"


class Which(StrEnum):
    """Which particles are written."""

    ALL = "all"
    MEMBERS = "members"
    OTHERS = "others"


def export(
    run: Annotated[Path, typer.Argument(help="Run folder, finished or interrupted.")],
    out: Annotated[Path, typer.Option(help="File to write; it must not be there yet.")],
    kind: Annotated[
        Format | None,
        typer.Option("--format", help="For RELION or for cryoSPARC (by the suffix of --out)."),
    ] = None,
    flip_hand: Annotated[
        bool,
        typer.Option(
            "--flip-hand",
            help="Poses of the other hand, and the mirrored map beside them, of each class.",
        ),
    ] = False,
    invert: Annotated[
        bool,
        typer.Option("--invert", help="Also the images with their contrast turned, as .mrcs."),
    ] = False,
    which: Annotated[
        Which,
        typer.Option(help="All particles, those that belong to the map, or the others."),
    ] = Which.ALL,
    classes: Annotated[
        str,
        typer.Option(help="Particles of these classes alone, with commas between: 1,3 [all]."),
    ] = "",
) -> None:
    """Write the last poses of a run as a RELION star file or a cryoSPARC table."""
    from napari_cryospin.cli.app import told_plainly
    from napari_cryospin.cli.progress import task_bar
    from napari_cryospin.engine.run.export import export_poses
    from napari_cryospin.engine.runfolder.folder import RunFolder

    with told_plainly(), task_bar("Writing images") as report:
        said = export_poses(
            RunFolder(run),
            out,
            kind=None if kind is None else kind.value,
            flip_hand=flip_hand,
            invert=invert,
            which=which.value,
            classes=_numbers(classes),
            progress=report,
        )
    for sentence in said:
        typer.echo(sentence)


def _numbers(text: str) -> list[int]:
    """Return the numbers of a list such as ``1,3``."""
    from napari_cryospin.engine.errors import InputError

    try:
        return [int(word) for word in text.replace(",", " ").split()]
    except ValueError:
        raise InputError(
            f"--classes {text}: give the numbers of classes, with commas between, such as 1,3."
        ) from None
