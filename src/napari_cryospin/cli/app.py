"""The commands and their options; each loads what it needs only when it is called."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from pathlib import Path  # noqa: TC003 (typer reads the annotations)
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_cryospin.cli.branch import branch
from napari_cryospin.cli.experiment import compare, experiment
from napari_cryospin.cli.export import export
from napari_cryospin.cli.folders import NO_FOLDER, named_folder, require_named
from napari_cryospin.cli.infer import infer
from napari_cryospin.cli.options import given_settings, with_settings
from napari_cryospin.cli.simulate import simulate
from napari_cryospin.cli.symmetrise import symmetrise
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.files import is_left_over, require_absent
from napari_cryospin.engine.packages import MissingPackage

if TYPE_CHECKING:
    from collections.abc import Iterator

app = typer.Typer(
    name="napari-cryospin",
    help="cryoSPIN: ab-initio cryo-EM reconstruction, live in napari or in a terminal. "
    "Without a command, napari opens with the dock.",
    add_completion=False,
    pretty_exceptions_enable=False,
)

BAD_INPUT = 2


@contextmanager
def told_plainly() -> Iterator[None]:
    """Turn bad input, a full disk or too little memory into one sentence and exit code 2."""
    from napari_cryospin.engine.failures import known_failure

    try:
        yield
    except Exception as error:
        known = known_failure(error)
        if known is None:
            raise
        typer.echo(f"Error: {known}", err=True)
        raise typer.Exit(BAD_INPUT) from error


@app.callback(invoke_without_command=True)
def window(context: typer.Context) -> None:
    """Open napari with the cryoSPIN dock where no command is given."""
    if context.invoked_subcommand is not None:
        return
    with told_plainly():
        if not has_display():
            raise InputError(
                "There is no display for a window: use a command such as reconstruct (--help)."
            )
        from napari_cryospin.gui.launch import open_viewer

        open_viewer()


@app.command()
def demo(
    headless: Annotated[bool, typer.Option(help="Run in the terminal, without a window.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of the simulation and of the run.", min=0)] = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder to make; by default demo-run-DATE here.",
            parser=named_folder,
            metavar="PATH",
        ),
    ] = None,
) -> None:
    """Simulate a small stack and reconstruct it: in napari, or in the terminal."""
    from napari_cryospin.engine.run.demo import new_demo_folder

    folder = out or new_demo_folder()
    with told_plainly():
        require_named(out)
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder} is a file: choose a folder with --out.")
        if folder.exists() and not all(map(is_left_over, folder.iterdir())):
            raise InputError(f"{folder} is not empty: choose another folder with --out.")
        if not headless and has_display():
            try:
                from napari_cryospin.gui.launch import open_demo
            except MissingPackage as error:
                typer.echo(f"{error} The demo runs in the terminal.")
            else:
                open_demo(seed, folder)
                return
        elif not headless:
            typer.echo("There is no display: the demo runs in the terminal.")
        from napari_cryospin.cli.demo import run_demo

        raise typer.Exit(run_demo(folder, seed))


app.command()(simulate)


@app.command()
@with_settings
def reconstruct(
    stack: Annotated[
        Path | None,
        typer.Argument(
            help="Particles: .star, .cs or .mrcs; with --resume only where they were moved."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Run folder to make, or to resume.", parser=named_folder, metavar="PATH"),
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="Settings to start from; see 'presets' (default: default).")
    ] = None,
    settings_file: Annotated[
        Path | None, typer.Option("--settings", help="settings.toml to start from instead.")
    ] = None,
    switch_at: Annotated[
        str | None,
        typer.Option(help="Epochs before the switch to auto-decoding, 'auto' or 'never'."),
    ] = None,
    commands: Annotated[
        Path | None,
        typer.Option(help="commands.jsonl of a run: what was done by hand there is done again."),
    ] = None,
    resume: Annotated[bool, typer.Option(help="Go on from the run's last checkpoint.")] = False,
    symmetrise: Annotated[
        bool,
        typer.Option(
            "--symmetrise",
            help="Where the map turns out to be symmetric, go on with that in a run of its own.",
        ),
    ] = False,
    **settings: Any,
) -> None:
    """Reconstruct a map from a particle stack."""
    from napari_cryospin.cli.run import (
        follow,
        follow_on,
        new_run,
        resumed_run,
        switch_settings,
    )

    given = given_settings(settings)
    if stack is not None:
        given["data.stack"] = stack.absolute()
    with told_plainly():
        if out is None or out is NO_FOLDER:
            raise InputError("No run folder was named: give one with --out.")
        if switch_at:
            given |= switch_settings(switch_at, given.get("amortized.epochs"))
        make = resumed_run if resume else new_run
        run = make(out, preset, settings_file, given, commands)
        raise typer.Exit((follow_on if symmetrise else follow)(run))


app.command()(branch)
app.command()(symmetrise)


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    truth_star: Annotated[Path, typer.Option(help="STAR file with the true poses.")],
    truth_map: Annotated[Path, typer.Option(help="MRC file of the true map.")],
    symmetry: Annotated[
        str, typer.Option(help="Point group of the true map: poses are compared modulo it.")
    ] = "C1",
    class_number: Annotated[
        int | None,
        typer.Option(
            "--class", help="Class to compare, from 1 (the one of most true particles).", min=1
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare a run with the truth: pose error (degrees), resolution (Å), hand."""
    with told_plainly():
        from napari_cryospin.cli.report import print_evaluation
        from napari_cryospin.engine.evaluation.report import evaluate_run

        found = evaluate_run(run, truth_star, truth_map, symmetry, class_number)
        print_evaluation(found, as_json=as_json)


@app.command()
def posterior(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    particle: Annotated[
        int, typer.Option(help="Particle: its row of the particle table, from 1.", min=1)
    ],
    nside: Annotated[
        int, typer.Option(help="HEALPix nside of the grid over all poses (2, 4, 8, 16).")
    ] = 8,
    depth: Annotated[
        int, typer.Option(help="Finest nside around the modes (a power of two up to 1024).")
    ] = 64,
    low_pass: Annotated[
        float | None, typer.Option(help="Leave out what is finer, Å (nothing).", min=0)
    ] = None,
    temperature: Annotated[
        float, typer.Option(help="Divides log-probabilities (a number).", min=1e-6)
    ] = 1.0,
    epoch: Annotated[
        int | None, typer.Option(help="Recorded epoch, from 1 (the last state).", min=1)
    ] = None,
    class_number: Annotated[
        int | None,
        typer.Option("--class", help="Class whose map it is against, from 1 (its own).", min=1),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    png: Annotated[Path | None, typer.Option(help="PNG file for a Mollweide heatmap.")] = None,
) -> None:
    """Show the posterior of one particle's pose: its modes (degrees), its entropy (nats)."""
    with told_plainly():
        from napari_cryospin.cli.report import posterior_of, print_posterior

        _require_new(png, "--png")
        if png is not None:
            # before anything is computed: where the viewer is missing, it says so
            from napari_cryospin.gui.views.heatmap import write_heatmap
        found, classes = posterior_of(
            run,
            particle,
            nside=nside,
            depth=depth,
            low_pass=low_pass,
            temperature=temperature,
            epoch=epoch,
            class_number=class_number,
        )
        if png is not None:
            write_heatmap(found, png)
        print_posterior(found, particle, classes, as_json=as_json)


@app.command()
def survey(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    probes: Annotated[
        int, typer.Option(help="Number of particles that stand for all.", min=2)
    ] = 200,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    csv: Annotated[Path | None, typer.Option(help="CSV file for the figures.")] = None,
    class_number: Annotated[
        int | None,
        typer.Option("--class", help="Class that is looked at, from 1 (the largest).", min=1),
    ] = None,
) -> None:
    """Show how sure the poses are, epoch by epoch: modes, entropy (nats), what holds the truth."""
    with told_plainly():
        from napari_cryospin.cli.report import print_survey, survey_of, write_survey

        _require_new(csv, "--csv")
        found = survey_of(run, probes, class_number)
        if csv is not None:
            write_survey(found, csv)
        print_survey(found, as_json=as_json)


app.command()(export)
app.command()(infer)
app.command()(experiment)
app.command()(compare)


@app.command()
def presets() -> None:
    """List the presets: their main settings, and their stages with epochs (at most)."""
    from napari_cryospin.engine.presets import PRESETS
    from napari_cryospin.engine.settings import Settings

    for name in PRESETS:
        settings = Settings.from_preset(name)
        stages = " → ".join(
            f"{stage.inference.label} ({stage.epochs})" for stage in settings.stages
        )
        typer.echo(
            f"{name:20} box {settings.data.box} px, "
            f"shifts {'yes' if settings.model.shifts else 'no'}, {settings.model.loss} error, "
            f"starts {settings.starts}: {stages}"
        )


def _require_new(path: Path | None, option: str) -> None:
    """Refuse to replace a file, before anything is computed for it."""
    if path is not None:
        from napari_cryospin.engine.runfolder.protected import require_not_in_use

        require_absent([path], f"choose another name with {option}")
        require_not_in_use(path)


def has_display() -> bool:
    """Return whether a window can be opened."""
    if sys.platform != "linux":
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
