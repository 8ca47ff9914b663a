"""Making a run from options, and following it to its end."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import typer

from napari_cryospin.cli.progress import Follower
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.run.events import Failed
from napari_cryospin.engine.settings import Settings
from napari_cryospin.engine.stages import Inference

if TYPE_CHECKING:
    from pathlib import Path
    from types import FrameType

    from napari_cryospin.engine.run.reconstruction import Reconstruction

_FAILED, _BAD_INPUT = 1, 2
_DEFAULT_PRESET = "default"
# of auto-encoding, while its criterion does not end it
_MOST_EPOCHS = 100


def new_run(
    out: Path, preset: str | None, settings_file: Path | None, given: dict[str, Any]
) -> Reconstruction:
    """Return a new run from a preset or a settings file, with the given settings over it."""
    from napari_cryospin.engine.run.reconstruction import Reconstruction

    if "data.stack" not in given and settings_file is None:
        raise InputError("No particles were named: give a .star, .cs or .mrcs file.")
    if preset is not None and settings_file is not None:
        raise InputError("A run starts from --preset or from --settings: leave one of them out.")
    start = (
        Settings.from_preset(preset or _DEFAULT_PRESET)
        if settings_file is None
        else Settings.from_toml(settings_file)
    )
    settings = with_overrides(start, given)
    if settings.data.truth_map is not None and settings.data.truth_star is None:
        raise InputError("A true map is aligned by the true poses: name them with --truth-star.")
    return Reconstruction(settings, out.absolute())


def resumed_run(out: Path, given: dict[str, Any]) -> Reconstruction:
    """Return a run that goes on in its folder, with its own settings."""
    from napari_cryospin.engine.run.reconstruction import Reconstruction

    if given.keys() - {"data.stack"}:
        raise InputError("A resumed run keeps its settings: leave the other options out.")
    run = Reconstruction.resume(out.absolute())
    own, named = run.settings.data.stack, given.get("data.stack")
    if named is not None and (own is None or named.resolve() != own.resolve()):
        raise InputError(f"The run in {out} is one of {own}, not of {named}: leave the stack out.")
    return run


def with_overrides(settings: Settings, given: dict[str, Any]) -> Settings:
    """Return settings with values set by their dotted names.

    Raises
    ------
    InputError
        If a value is out of range or of the wrong kind, or heads are given without an encoder.
    """
    if "model.heads" in given:
        # only an encoder has heads: without one nobody would hear of them
        settings.first(Inference.AMORTIZED)
    for where, value in given.items():
        settings.set(where, value)
    return settings


def switch_settings(switch_at: str, epochs_encode: int | None) -> dict[str, Any]:
    """Return what ``--switch-at`` says of the auto-encoding stage, by dotted names.

    Raises
    ------
    InputError
        If it is none of a number, "auto" and "never".
    """
    if switch_at.isdecimal():
        return {"amortized.epochs": int(switch_at), "amortized.until": "epochs"}
    if switch_at == "auto":
        # the few epochs of a preset are not for a criterion to wait in
        return {"amortized.until": "criterion", "amortized.epochs": epochs_encode or _MOST_EPOCHS}
    if switch_at == "never":
        return {"amortized.until": "hand"}
    raise InputError(f"--switch-at takes a number of epochs, 'auto' or 'never', not '{switch_at}'.")


def follow(run: Reconstruction) -> int:
    """Show a run to its end and return the exit code.

    Ctrl-C once stops the run and keeps it; twice aborts.
    """

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        follower.line("Stopping after this batch; what is done is kept …")
        run.controls.stop(keep=True)

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        with Follower() as follower:
            for event in run.run():
                follower.show(event)
    finally:
        signal.signal(signal.SIGINT, before)
    if isinstance(event, Failed):
        typer.echo(f"Error: {event.message}", err=True)
        if event.bad_input:
            return _BAD_INPUT
        typer.echo(f"The details are in {run.folder.events_path}", err=True)
        return _FAILED
    return 0
