"""``symmetrise``: another run that goes on from the end of one with the symmetry of its map."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 (typer reads the annotations)
from typing import Annotated

import typer

from napari_cryospin.cli.folders import named_folder, require_named


def symmetrise(
    run: Annotated[Path, typer.Argument(help="Folder of the run to go on from.")],
    symmetry: Annotated[
        str | None,
        typer.Option(help="Point group, such as C4; by default the one that the verdict names."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Run folder to make; by default RUN_GROUP.", parser=named_folder, metavar="PATH"
        ),
    ] = None,
    no_run: Annotated[
        bool, typer.Option("--no-run", help="Only make the run folder; resume it later.")
    ] = False,
) -> None:
    """Go on from a run with the symmetry of its map: turned to its axes, all poses found anew."""
    from napari_cryospin.cli.app import told_plainly

    with told_plainly():
        from napari_cryospin.cli.run import follow
        from napari_cryospin.engine.run.reconstruction import Reconstruction
        from napari_cryospin.engine.run.symmetrising import make_symmetrised
        from napari_cryospin.engine.runfolder.symmetry import found_symmetry, symmetrised_name
        from napari_cryospin.engine.symmetry_names import symmetry_name

        require_named(out)
        run = run.absolute()
        group = symmetry_name(symmetry) if symmetry is not None else found_symmetry(run)
        out = symmetrised_name(run, group) if out is None else out.absolute()
        make_symmetrised(run, group, out)
        typer.echo(f"{run.name} goes on with {group} in {out}.")
        if not no_run:
            raise typer.Exit(follow(Reconstruction.resume(out)))
