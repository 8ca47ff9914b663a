"""A branch: another run up to an epoch, and other settings from there on.

What both have in common lies on the disk once: maps, poses and branch points of the epochs before
are hard links (copies where the disk has none), which neither run ever writes into: every file is
replaced as a whole. What grows line by line is copied.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Literal

import torch

from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.failures import why
from napari_cryospin.engine.files import linked, real, replacing
from napari_cryospin.engine.run.branch_settings import last_encoding, plan_branch
from napari_cryospin.engine.run.checkpoint_reading import read_checkpoint, require_clock
from napari_cryospin.engine.run.checkpoint_writing import write_checkpoint
from napari_cryospin.engine.run.turned_state import turned_state
from napari_cryospin.engine.runfolder import names
from napari_cryospin.engine.runfolder.branch_points import no_branch_point, points_of
from napari_cryospin.engine.runfolder.class_files import further_classes
from napari_cryospin.engine.runfolder.commands import Moment, write_commands
from napari_cryospin.engine.runfolder.encoder import SavedEncoder
from napari_cryospin.engine.runfolder.fingerprint import Fingerprint, binding_settings
from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.engine.runfolder.log import log_until
from napari_cryospin.engine.runfolder.metrics import write_metrics
from napari_cryospin.engine.runfolder.parent import Parent
from napari_cryospin.engine.runfolder.reading import Unreadable, numbered

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from napari_cryospin.engine.geometry.symmetry_axes import SymmetryFrame
    from napari_cryospin.engine.run.branch_settings import Plan
    from napari_cryospin.engine.runfolder.clock import Clock
    from napari_cryospin.engine.runfolder.commands import Command
    from napari_cryospin.engine.settings import Settings

_CPU = torch.device("cpu")


def make_branch(
    run: Path,
    at: int,
    out: Path,
    *,
    switch_at: int | Literal["now", "auto", "never"] | None = None,
    changes: Mapping[str, Any] | None = None,
    switch_back: bool = False,
    symmetrise: str | None = None,
    frame: SymmetryFrame | None = None,
) -> None:
    """Make the run folder of a branch, which :meth:`.Reconstruction.resume` runs to its end.

    The run may be finished, killed, or still being written: nothing of it is changed. With nothing
    changed the branch comes to the same end as the run, on one thread bit by bit.

    Parameters
    ----------
    run
        Folder of the run to branch from.
    at
        Epochs of it that the branch has in common with it, as people count them: the branch goes on
        after epoch ``at``, the first being 1. One of :func:`branch_epochs`.
    out
        Folder to make; there must be nothing in it.
    switch_at
        When auto-encoding ends: "now" with epoch ``at``; after so many epochs of its stage; "auto"
        by its criterion; "never". None leaves that as it is.
    changes
        Other settings from then on, by dotted name as for :meth:`.Settings.set`. The name of an
        inference stands for the present stage or the first one after it that has it. Learning
        rates, epochs, the size of batches and the seed hold from then on. Where a setting of the
        model or of the present stage is another (the heads, say), the stage begins anew, with the
        present map and poses and a new encoder; its epochs go on counting.
    switch_back
        Auto-encode again, on the present map and with the encoder as it was at the switch, before
        the present stage is begun anew; ``switch_at`` is then about this stage.
    symmetrise
        Point group with which auto-decoding is begun anew, map and poses turned to its axes.
    frame
        Where these axes are in the map; by default they are sought.

    Raises
    ------
    InputError
        If the run cannot be branched from there, a change cannot be made in the midst of a run, or
        something is in ``out`` already.
    """
    folder, changes = RunFolder(run), dict(changes or {})
    settings = folder.settings()
    _require_free(out, folder)
    state = read_checkpoint(_point(folder, at, ended=symmetrise is not None), _CPU)
    clock = _clock_in(state, settings, folder)
    if "fingerprint" not in state:
        raise InputError(
            f"{run} was made by a version that did not write down its particles: resume it, and "
            "branch from an epoch after that."
        )
    plan = plan_branch(
        settings,
        state,
        clock,
        switch_at=switch_at,
        changes=changes,
        switch_back=switch_back,
        symmetrise=symmetrise,
    )
    inference = state["inference"]
    if switch_back:
        inference = _encoder_at_the_switch(folder, settings, clock, at)
    fingerprint = Fingerprint.from_figures(state["fingerprint"])
    fingerprint = Fingerprint(
        binding_settings(plan.settings), fingerprint.pixel_size, fingerprint.signatures
    )
    commands = _commands_before(folder, state, clock, ends=switch_at is None and not switch_back)
    parent = Parent.of(folder, out, at, switch_at, switch_back, changes, symmetrise)
    state |= {"inference": inference, "fingerprint": fingerprint.figures(), **_edits(state, plan)}
    if symmetrise is not None:
        state |= turned_state(state, plan.settings.model.symmetry, frame)
    temporary = out.with_name(f".{out.name}.{token_hex(8)}.writing")
    try:
        temporary.mkdir(parents=True)
        branch = RunFolder(temporary)
        branch.create(plan.settings, fingerprint)
        _share(folder, branch, at)
        write_commands(branch.commands_path, commands)
        parent.write(branch.parent_path)
        write_checkpoint(branch, state, at)
        # what is there is no run before all of it is
        _put(temporary, out)
    except OSError as error:
        raise InputError(f"The branch {out} cannot be made: {why(error)}.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def branch_epochs(run: Path) -> list[int]:
    """Return the epochs after which a run can be branched from, as people count them, ascending.

    Those of its branch points, and of its last checkpoints; where one of these lies in the midst of
    an epoch, the branch goes on from there.

    Parameters
    ----------
    run
        The run folder.

    Raises
    ------
    InputError
        If the folder holds no run.
    """
    folder = RunFolder(run)
    folder.settings()
    return list(points_of(run))


def _point(folder: RunFolder, at: int, *, ended: bool) -> Path:
    """Return the file to begin from; where the run has ``ended`` then, its checkpoint goes first.

    A branch point is from before the end of its stage, of which poses and the best start come.
    """
    points = points_of(folder.path)
    if ended:
        points |= dict(numbered(folder.path, names.CHECKPOINTS))
    if at not in points:
        raise InputError(no_branch_point(folder.path, at, list(points)))
    return points[at]


def _require_free(out: Path, folder: RunFolder) -> None:
    """Raise InputError where a branch would lie in its parent, or something is there already."""
    if real(out).is_relative_to(real(folder.path)):
        raise InputError(f"{out} lies in the run that is branched from: choose another folder.")
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise InputError(f"{out} is a file: choose another folder.")
    with suppress(OSError):
        if out.is_dir() and any(out.iterdir()):
            raise InputError(f"{out} is not empty: choose another folder.")


def _clock_in(state: dict[str, Any], settings: Settings, folder: RunFolder) -> Clock:
    try:
        return require_clock(state, settings)
    except Unreadable as error:
        raise InputError(f"{folder.path} cannot be branched from: {error}.") from error


def _encoder_at_the_switch(
    folder: RunFolder, settings: Settings, clock: Clock, at: int
) -> dict[str, Any]:
    """Return the state of the last auto-encoding before an epoch, as its last epoch left it."""
    wanted = last_encoding(settings, clock)
    for number, path in reversed(folder.branch_points().items()):
        if number > at:
            continue
        state = read_checkpoint(path, _CPU)
        if state["clock"].get("stage") == wanted:
            found: dict[str, Any] = state["inference"]
            return found
    raise InputError(
        f"{folder.path} kept no branch point of its auto-encoding, and so no encoder to switch "
        "back to: run it again with 'branch_points' of at least 1."
    )


def _commands_before(
    folder: RunFolder, state: dict[str, Any], clock: Clock, *, ends: bool
) -> list[Command]:
    """Return what was done by hand before a checkpoint.

    Parameters
    ----------
    ends
        Whether a switch by hand that ended its epoch stays, and is done.
    """
    batch = clock.batch if state.get("begun") == clock.epoch else None
    here = Moment(
        epoch=clock.epoch + 1,
        stage=clock.stage + 1,
        start=clock.start + 1,
        batch=batch,
    )
    ended = clock.epoch, clock.stage + 1, clock.start + 1
    return [
        one
        for one in folder.commands()
        if one.order < here.order
        and one.command != "stop"
        and (ends or one.command != "switch" or one.order[:3] != ended)
    ]


def _edits(state: dict[str, Any], plan: Plan) -> dict[str, Any]:
    """Return what is another in the checkpoint of a branch."""
    edits: dict[str, Any] = {"clock": vars(plan.clock), "schedule": {}}
    if plan.alone:
        edits["starts"] = []
    if plan.anew:
        edits |= {"begins_anew": True, "begun": None, "losses": []}
    return edits


def _share(folder: RunFolder, branch: RunFolder, at: int) -> None:
    """Give a branch what both runs have in common: everything up to so many epochs."""
    shared = {names.VOLUMES: at - 1, names.POSES: at - 1, names.BRANCH_POINTS: at}
    for part, last in shared.items():
        for number, path in numbered(folder.path, part):
            if number <= last:
                # a run that is gone on with writes its last epochs again
                with suppress(FileNotFoundError):
                    for each in (path, *further_classes(path)):
                        linked(each, branch.path / part / each.name)
    # an encoder that was ready by then
    with suppress(InputError):
        if SavedEncoder.read(folder.path).epoch <= at:
            (branch.path / names.ENCODER).mkdir()
            for name in names.IN_ENCODER:
                linked(folder.path / names.ENCODER / name, branch.path / names.ENCODER / name)
    rows = [row for row in folder.metrics() if int(row["epoch"]) < at]
    if rows:
        write_metrics(branch.metrics_path, rows)
    with replacing(branch.events_path) as temporary:
        temporary.write_bytes(log_until(folder.events_path, at - 1))
    if folder.set_aside_path.is_file():
        with replacing(branch.set_aside_path) as temporary:
            shutil.copyfile(folder.set_aside_path, temporary)


def _put(temporary: Path, out: Path) -> None:
    """Give a folder that is whole its name."""
    # where a folder cannot take the place of an empty one
    with suppress(OSError):
        out.rmdir()
    try:
        temporary.rename(out)
    except OSError as error:
        if out.is_dir() and any(out.iterdir()):
            raise InputError(f"{out} is not empty: choose another folder.") from error
        raise
