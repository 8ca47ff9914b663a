"""The commands ``experiment`` and ``compare``: many runs of one plan, runs beside each other."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 (typer reads the annotations)
from typing import TYPE_CHECKING, Annotated

import typer

from napari_cryospin.cli.folders import NO_FOLDER, named_folder
from napari_cryospin.engine.errors import InputError

if TYPE_CHECKING:
    from napari_cryospin.engine.experiments.cells import Cell
    from napari_cryospin.engine.experiments.execution import ExperimentRun

_FAILED, _BAD_INPUT = 1, 2


def experiment(
    file: Annotated[
        Path,
        typer.Argument(
            help="Plan: a TOML file with lists of stack, preset, seed, switch_at and settings."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder to make, or to go on in: a run folder per cell, and results.csv.",
            parser=named_folder,
            metavar="PATH",
        ),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="CPU threads (all).", min=1, max=2**31 - 1)
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Only list the cells, and how many epochs they take.")
    ] = False,
) -> None:
    """Run an experiment: all that its lists multiply out to, what is common only once.

    Given again with the same folder it goes on: what has finished is passed over.
    """
    from napari_cryospin.cli.app import told_plainly

    with told_plainly():
        from napari_cryospin.engine.experiments.cells import cells_of
        from napari_cryospin.engine.experiments.plan import Experiment

        found = Experiment.from_toml(file)
        cells = cells_of(found)
        if plan:
            _list(cells)
            return
        if out is None or out is NO_FOLDER:
            raise InputError("No folder was named: give one with --out.")
        from napari_cryospin.engine.experiments.execution import ExperimentRun

        raise typer.Exit(_follow(ExperimentRun(found, out.absolute(), threads=threads)))


def compare(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, or folders of experiments.")],
    out: Annotated[
        Path | None, typer.Option(help="File for the table, instead: .csv or .tsv.")
    ] = None,
) -> None:
    """Compare runs: a table with the settings that differ and the figures of each."""
    from napari_cryospin.cli.app import told_plainly

    with told_plainly():
        from napari_cryospin.engine.experiments.comparison import (
            in_order,
            read_records,
            table_of,
            tree_of,
        )
        from napari_cryospin.engine.experiments.results import write_table

        _require_table(out)
        records, notes = read_records(runs)
        for note in notes:
            typer.echo(f"Note: {note}", err=True)
        if not records:
            raise InputError("There is no run to compare.")
        lines = list(in_order(tree_of(records)))
        columns, rows = table_of([record for _, record in lines])
        if out is not None:
            write_table(out, columns, rows)
            typer.echo(f"The table is in {out}")
            return
        for row, (depth, _) in zip(rows, lines, strict=True):
            row["run"] = f"{'  ' * (depth - 1)}└ {row['run']}" if depth else row["run"]
        _print(columns, rows)


def _require_table(out: Path | None) -> None:
    """Refuse another kind of file, and to replace one."""
    if out is None:
        return
    from napari_cryospin.engine.files import require_absent
    from napari_cryospin.engine.runfolder.protected import require_not_in_use

    if out.suffix.lower() not in (".csv", ".tsv"):
        raise InputError(f"{out.name}: tables are written as .csv or .tsv.")
    require_absent([out], "choose another name with --out")
    require_not_in_use(out)


def _print(columns: tuple[str, ...], rows: list[dict[str, str]]) -> None:
    """Print one line a run, however narrow the terminal is."""
    lines = [columns, *(tuple(row.get(name, "") for name in columns) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        fields = (field.ljust(width) for field, width in zip(line, widths, strict=True))
        typer.echo("  ".join(fields).rstrip())


def _list(cells: list[Cell]) -> None:
    from napari_cryospin.engine.experiments.estimate import plan_sentence

    for cell in cells:
        typer.echo(cell.name)
    typer.echo(plan_sentence(cells))


def _follow(run: ExperimentRun) -> int:
    """Show an experiment to its end and return the exit code.

    Ctrl-C ends it after the present batch (130); a cell that failed makes it 1.
    """
    from napari_cryospin.cli.progress import ExperimentFollower
    from napari_cryospin.cli.signals import obeyed, shown_to_the_end
    from napari_cryospin.engine.events import Failed
    from napari_cryospin.engine.experiments.events import ExperimentFinished

    with (
        ExperimentFollower() as follower,
        obeyed(run.controls, follower.line, results=False) as caught,
    ):
        event = shown_to_the_end(run.run(), follower.show)
    if isinstance(event, Failed):
        typer.echo(f"Error: {event.message}", err=True)
        return _BAD_INPUT if event.bad_input else _FAILED
    if caught.code == 0 and isinstance(event, ExperimentFinished) and event.n_failed:
        return _FAILED
    return caught.code
