"""Making a run from options, and following it to its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from napari_cryospin.cli.progress import Follower
from napari_cryospin.cli.signals import obeyed, shown_to_the_end
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.events import Failed
from napari_cryospin.engine.flags import flags
from napari_cryospin.engine.runfolder import names
from napari_cryospin.engine.runfolder.commands import read_commands
from napari_cryospin.engine.settings import Settings
from napari_cryospin.engine.switch_at import ends_of, switch_at_of

if TYPE_CHECKING:
    from pathlib import Path

    from napari_cryospin.engine.run.reconstruction import Reconstruction

_FAILED, _BAD_INPUT = 1, 2
_DEFAULT_PRESET = "default"
# where things are, and what computes: a resumed run may be told anew
_FREE = {"device", "threads", "data.particles_in"}.union(
    f"data.{name}" for name in ("stack", "passthrough", "datadir", "truth_star", "truth_map")
)
_KEPT = "A resumed run keeps its settings: leave the other options out."


def new_run(
    out: Path,
    preset: str | None,
    settings_file: Path | None,
    given: dict[str, Any],
    commands: Path | None = None,
) -> Reconstruction:
    """Return a new run from a preset or a settings file, with the given settings over it.

    What ``commands`` says was done by hand is done again.
    """
    from napari_cryospin.engine.run.reconstruction import Reconstruction

    settings = _new_settings(preset, settings_file, given)
    if commands is not None:
        again = read_commands(commands)
        return Reconstruction(settings, out.absolute(), commands=again)
    if settings_file is not None and (by_hand := settings_file.with_name(names.COMMANDS)).exists():
        typer.echo(
            f"The run of {settings_file} was steered by hand, which is not repeated: give "
            f"--commands {by_hand} to repeat it.",
            err=True,
        )
    return Reconstruction(settings, out.absolute())


def resumed_run(
    out: Path,
    preset: str | None,
    settings_file: Path | None,
    given: dict[str, Any],
    commands: Path | None = None,
) -> Reconstruction:
    """Return a run that goes on in its folder, with its own settings and commands.

    The options that made it may be given again. Where there is nothing to resume, they begin it.
    """
    from napari_cryospin.engine.run.reconstruction import Reconstruction
    from napari_cryospin.engine.runfolder.place import Holds, what_is_in

    told = "data.stack" in given or settings_file is not None
    if told and what_is_in(out) in (Holds.NOTHING, Holds.BEGINNING):
        typer.echo(f"There is no checkpoint in {out}: the run begins.", err=True)
        return new_run(out, preset, settings_file, given, commands)
    changes = {where: value for where, value in given.items() if where in _FREE}
    run = Reconstruction.resume(out.absolute(), changes=changes)
    _require_same(run.settings, preset, settings_file, given)
    return run


def _require_same(
    own: Settings, preset: str | None, settings_file: Path | None, given: dict[str, Any]
) -> None:
    """Raise InputError where options ask for other settings than those of the run."""
    names = given.keys() - _FREE
    try:
        if preset is not None or settings_file is not None:
            wanted = _new_settings(preset, settings_file, {"data.stack": own.data.stack, **given})
            for where in _FREE:
                wanted.set(where, own.get(where))
            same = wanted == own
        else:
            same = all(own.get(where) == given[where] for where in names)
    except InputError as error:
        raise InputError(_KEPT) from error
    if not same:
        raise InputError(_KEPT)


def _new_settings(
    preset: str | None, settings_file: Path | None, given: dict[str, Any]
) -> Settings:
    if "data.stack" not in given and settings_file is None:
        raise InputError("No particles were named: give a .star, .cs or .mrcs file.")
    if preset is not None and settings_file is not None:
        raise InputError("A run starts from --preset or from --settings: leave one of them out.")
    start = (
        Settings.from_preset(preset or _DEFAULT_PRESET)
        if settings_file is None
        else Settings.from_toml(settings_file)
    )
    for where, flag in flags().items():
        if where in given:
            # what it says may have come from the switch
            switch = where == "amortized.epochs" and "amortized.until" in given
            start.require_known(where, "--switch-at" if switch else flag)
    settings = with_overrides(start, given)
    if settings.data.truth_map is not None and settings.data.truth_star is None:
        raise InputError("A true map is aligned by the true poses: name them with --truth-star.")
    return settings


def with_overrides(settings: Settings, given: dict[str, Any]) -> Settings:
    """Return settings with values set by their dotted names.

    Raises
    ------
    InputError
        If a value is out of range or of the wrong kind.
    """
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
    ends = ends_of(switch_at_of(switch_at), epochs_encode)
    return {f"amortized.{name}": value for name, value in ends.items()}


def follow(run: Reconstruction) -> int:
    """Show a run to its end and return the exit code.

    Ctrl-C once stops the run and keeps it (130), twice aborts; SIGTERM (143) and SIGHUP (129) end
    it with a checkpoint alone.
    """
    with Follower() as follower, obeyed(run.controls, follower.line) as caught:
        event = shown_to_the_end(run.run(), follower.show)
    if isinstance(event, Failed):
        typer.echo(f"Error: {event.message}", err=True)
        if event.bad_input:
            return _BAD_INPUT
        typer.echo(f"The details are in {run.folder.events_path}", err=True)
        return _FAILED
    return caught.code


def follow_on(run: Reconstruction) -> int:
    """Show a run to its end, and one that goes on with the symmetry that was found, if any.

    That one may find a larger symmetry, and is gone on with in turn.
    """
    from napari_cryospin.engine.run.reconstruction import Reconstruction
    from napari_cryospin.engine.run.symmetrising import make_symmetrised
    from napari_cryospin.engine.runfolder.place import Holds, what_is_in
    from napari_cryospin.engine.runfolder.symmetry import require_goes_on, symmetrised_name

    code, path = follow(run), run.folder.path
    verdict = run.folder.verdict() if code == 0 else None
    if verdict is None or verdict.symmetry is None:
        return code
    out = symmetrised_name(path, verdict.symmetry)
    # one that was killed, or has ended, goes on as this one did
    if what_is_in(out) is Holds.NOTHING:
        make_symmetrised(path, verdict.symmetry, out)
    else:
        require_goes_on(out, path, verdict.symmetry)
    typer.echo(f"The run goes on with {verdict.symmetry} in {out}.")
    return follow_on(Reconstruction.resume(out))
