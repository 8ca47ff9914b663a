"""``branch``: another run up to an epoch, and other settings from there on."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from napari_cryospin.cli.folders import NO_FOLDER, named_folder
from napari_cryospin.engine.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable


def branch(
    run: Annotated[Path, typer.Argument(help="Folder of the run to branch from, finished or not.")],
    at: Annotated[
        int | None,
        typer.Option(help="Epochs that both runs have in common; without it they are listed."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Run folder to make.", parser=named_folder, metavar="PATH"),
    ] = None,
    switch_at: Annotated[
        str | None,
        typer.Option(
            help="End auto-encoding with that epoch ('now'), after so many epochs of it, by its "
            "criterion ('auto'), or 'never'; by default as in the run.",
            metavar="now|K|auto|never",
        ),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Another setting from then on, by its name in settings.toml; can be repeated.",
            metavar="NAME=VALUE",
        ),
    ] = None,
    switch_back: Annotated[
        bool,
        typer.Option(
            "--switch-back", help="Auto-encode again on the present map, then switch again."
        ),
    ] = False,
    no_run: Annotated[
        bool, typer.Option("--no-run", help="Only make the branch; resume it later.")
    ] = False,
) -> None:
    """Branch a run: as it was up to an epoch, with other settings from there on."""
    from napari_cryospin.cli.app import told_plainly

    with told_plainly():
        from napari_cryospin.cli.run import follow
        from napari_cryospin.engine.run.branching import branch_epochs, make_branch
        from napari_cryospin.engine.run.reconstruction import Reconstruction
        from napari_cryospin.engine.runfolder.branch_points import no_branch_point

        epochs = branch_epochs(run)
        if at is None:
            raise InputError(f"{no_branch_point(run, None, epochs).removesuffix('.')} (--at).")
        if out is None or out is NO_FOLDER:
            raise InputError("No run folder was named: give one with --out.")
        out = out.absolute()
        make_branch(
            run,
            at,
            out,
            switch_at=_switch(switch_at),
            changes=_settings(changes or ()),
            switch_back=switch_back,
        )
        if no_run:
            typer.echo(
                f"The branch is in {out}: napari-cryospin reconstruct --out {out} --resume runs it."
            )
            return
        raise typer.Exit(follow(Reconstruction.resume(out)))


def _switch(word: str | None) -> int | Literal["now", "auto", "never"] | None:
    from napari_cryospin.engine.switch_at import switch_at_of

    if word is None:
        return None
    return "now" if word == "now" else switch_at_of(word, ", 'now'")


def _settings(words: Iterable[str]) -> dict[str, Any]:
    """Return settings by dotted name from words such as ``model.heads=8``."""
    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise InputError(f"--set takes NAME=VALUE, such as model.heads=8, not '{word}'.")
        found[name.strip()] = _value(name.strip(), value.strip())
    return found


def _value(name: str, text: str) -> Any:
    """Return a value as in settings.toml, where quotes may be left out; none unsets it."""
    if not text:
        return None
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        value = text
    # files lie where the command is called
    return str(Path(value).absolute()) if isinstance(value, str) and _is_file(name) else value


def _is_file(name: str) -> bool:
    from napari_cryospin.engine.setting_fields import setting_field

    try:
        return issubclass(setting_field(name).type, Path)
    except (KeyError, AttributeError, TypeError):
        return False
