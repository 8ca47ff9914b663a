"""The settings of a branch: what may be changed in the midst of a run, and what that means."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal

from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.run.schedule import Schedule
from napari_cryospin.engine.runfolder.fingerprint import binding_settings, flat_settings
from napari_cryospin.engine.stages import Inference
from napari_cryospin.engine.switch_at import SwitchAt, ends_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from napari_cryospin.engine.runfolder.clock import Clock
    from napari_cryospin.engine.settings import Settings
    from napari_cryospin.engine.stages import Stage

BranchSwitch = SwitchAt | Literal["now"]

_NEW_RUN = "start a new run for that"
_EARLIER = "branch from an earlier epoch"
# with these the state of a stage goes on, though they shape what comes of it
_GOES_ON = ("batch_size",)


@dataclass(frozen=True)
class Plan:
    """What a branch does.

    Parameters
    ----------
    settings, clock
        Its settings, and where it begins.
    anew
        Whether the present stage begins anew, on the map and the poses that there are.
    alone
        Whether it goes on with the present start of the first stage alone.
    """

    settings: Settings
    clock: Clock
    anew: bool
    alone: bool


def plan_branch(
    settings: Settings,
    state: dict[str, Any],
    clock: Clock,
    *,
    switch_at: BranchSwitch | None,
    changes: Mapping[str, Any],
    switch_back: bool,
    symmetrise: str | None = None,
) -> Plan:
    """Return what a branch does; parameters as for :func:`.branching.make_branch`.

    Parameters
    ----------
    settings
        Settings of the run.
    state
        The checkpoint to begin from.
    clock
        Where that is.

    Raises
    ------
    InputError
        If a change cannot be made there.
    """
    base = settings.model_copy(deep=True)
    Schedule(base).load_state(state.get("schedule", {}))
    before: dict[str, Any] = state["fingerprint"]["settings"]
    if switch_back:
        clock = _encode_again(base, clock)
        before = binding_settings(base)
    if symmetrise is not None:
        clock = _decode_again(base, state, clock)
        base.set("model.symmetry", symmetrise)
        before = binding_settings(base)
    after = base.model_copy(deep=True)
    for where, value in changes.items():
        after.set(_from_now_on(where, after, clock), value)
        after.require_known(where, where)
    _require_past_as_it_was(base, after, clock)
    if switch_at is not None:
        _end_encoding(after, clock, switch_at)
    anew = switch_back or symmetrise is not None
    for name in _changed(before, binding_settings(after), clock):
        if name == "model.symmetry" and not after.stages[clock.stage].finds_axes:
            raise InputError(
                "The map does not lie on the axes of another symmetry: napari-cryospin symmetrise, "
                "or the button in Results, turns it to them."
            )
        if name == "model.classes":
            raise InputError(
                "Other classes need maps from the beginning on: start a new run with --classes "
                "(Classes in the dock); --warm-start begins it with this map and encoder."
            )
        anew = _begins_anew(name, after, state, clock) or anew
    first = clock.stage == 0 and after.n_starts > 1 and not _best_taken(state)
    alone = first and (anew or switch_at is not None)
    if alone:
        after.starts = _fewest_starts(after, clock)
        # two starts of several classes are three: the second one takes the place of the last
        clock = replace(clock, start=after.n_starts - 1)
    if anew:
        clock = replace(clock, batch=0)
    return Plan(after, clock, anew, alone)


def _encode_again(settings: Settings, clock: Clock) -> Clock:
    """Put another stage of auto-encoding, and the present one anew, after the present epoch."""
    encoding = last_encoding(settings, clock)
    if encoding is None or settings.stages[clock.stage].inference.has_heads:
        what = "has not switched yet" if encoding is None else "is auto-encoding"
        raise InputError(
            f"After epoch {clock.epoch} the run {what}: there is nothing to switch back from; "
            "branch from an epoch after the switch."
        )
    present = settings.stages[clock.stage]
    over = present.model_copy(update={"until": "epochs", "epochs": clock.stage_epoch})
    again = [settings.stages[encoding].model_copy(), present.model_copy()]
    stages = [*settings.stages[: clock.stage], over, *again, *settings.stages[clock.stage + 1 :]]
    settings.stages = stages
    return replace(clock, stage=clock.stage + 1, stage_epoch=0, batch=0)


def _decode_again(settings: Settings, state: dict[str, Any], clock: Clock) -> Clock:
    """Put auto-decoding anew after the present epoch, as the run has it or else the default."""
    if clock.stage == 0 and settings.n_starts > 1 and not _best_taken(state):
        raise InputError(
            f"After epoch {clock.epoch} the starts of the first stage are not over: a symmetry is "
            "looked for in the map that the best of them has come to."
        )
    present = settings.stages[clock.stage]
    over = present.model_copy(update={"until": "epochs", "epochs": clock.stage_epoch})
    found = (stage for stage in reversed(settings.stages) if _decodes(stage))
    default = (stage for stage in type(settings)().stages if _decodes(stage))
    again = next(chain(found, default))
    settings.stages = [*settings.stages[: clock.stage], over, again.model_copy()]
    return replace(clock, stage=clock.stage + 1, stage_epoch=0, batch=0)


def _decodes(stage: Stage) -> bool:
    """Whether a stage is auto-decoding that heeds a symmetry."""
    return stage.inference.is_fine and stage.heeds("symmetry")


def last_encoding(settings: Settings, clock: Clock) -> int | None:
    """Return the last stage with an encoder, up to the present one; None where there was none."""
    stages = settings.stages[: clock.stage + 1]
    return max((i for i, stage in enumerate(stages) if stage.inference.has_heads), default=None)


def _from_now_on(where: str, settings: Settings, clock: Clock) -> str:
    """Return a dotted name with the stage that an inference stands for from now on."""
    name, _, rest = where.partition(".")
    if not rest or name not in Inference.registered():
        return where
    for number in range(clock.stage, len(settings.stages)):
        if settings.stages[number].inference == name:
            return f"stages.{number}.{rest}"
    return where


def _end_encoding(settings: Settings, clock: Clock, at: BranchSwitch) -> None:
    """Have the stage of auto-encoding end otherwise."""
    number = next(
        (i for i in range(clock.stage, len(settings.stages)) if _encodes(settings.stages[i])), None
    )
    if number is None or (at == "now" and number != clock.stage):
        raise InputError(
            f"After epoch {clock.epoch} the run is past auto-encoding, which has no end to move: "
            f"{_EARLIER}, or switch back."
            if number is None
            else f"After epoch {clock.epoch} auto-encoding is still to come: say after how many of "
            "its epochs it ends."
        )
    if at in ("now", "auto") or isinstance(at, int):
        _require_next(settings, number)
    stage, done = settings.stages[number], clock.stage_epoch if number == clock.stage else 0
    if at == "now":
        if done == 0:
            raise InputError(
                "Auto-encoding has just begun: nothing would come of ending it now; let it have "
                "an epoch at least."
            )
        at = done
    if isinstance(at, int) and at < max(done, 1):
        raise InputError(
            f"Auto-encoding has had {done} epochs after epoch {clock.epoch} of the run, and cannot "
            f"end after {at}: {_EARLIER}."
        )
    for name, value in ends_of(at).items():
        setattr(stage, name, value)


def _require_next(settings: Settings, number: int) -> None:
    if number + 1 == len(settings.stages):
        raise InputError(
            "No stage comes after auto-encoding, so there is nothing to switch to: start a new run "
            "with one."
        )


def _encodes(stage: Stage) -> bool:
    return stage.inference.has_heads


def _require_past_as_it_was(base: Settings, after: Settings, clock: Clock) -> None:
    """Raise InputError where a change is about a stage that is over, or takes the present away."""
    if clock.stage >= len(after.stages):
        raise InputError(
            f"The run is in stage {clock.stage + 1} after epoch {clock.epoch}, and there are only "
            f"{len(after.stages)}: leave the stages up to it."
        )
    before, now = dict(flat_settings(base)), dict(flat_settings(after))
    for name in before.keys() | now.keys():
        stage = _stage_of(name)
        if stage is None or stage >= clock.stage:
            continue
        if before.get(name) != now.get(name):
            raise InputError(
                f"Setting '{name}' is about stage {stage + 1}, which is over after epoch "
                f"{clock.epoch}: {_EARLIER}."
            )


def _changed(before: Mapping[str, Any], after: Mapping[str, Any], clock: Clock) -> Iterator[str]:
    """Yield the names of settings that are others, of this stage and the run's."""
    for name in sorted(before.keys() | after.keys()):
        stage = _stage_of(name)
        if stage is None or stage == clock.stage:
            # another version has settings that this one does not know, and the other way round
            both = name in before and name in after
            if both and before[name] != after[name]:
                yield name


def _begins_anew(name: str, settings: Settings, state: dict[str, Any], clock: Clock) -> bool:
    """Return whether another value of a setting has the stage begin anew; InputError if it cannot.

    With the others that may be changed the state goes on.
    """
    section, _, own = name.partition(".")
    stage = settings.stages[clock.stage]
    if section == "model":
        if not any(own in each.reads for each in settings.stages[clock.stage :]):
            raise InputError(
                f"Setting '{name}' is heeded by no stage after epoch {clock.epoch}: {_EARLIER}, or "
                "switch back."
            )
        return own in stage.reads
    if section == "stages":
        own = own.partition(".")[2]
        if own == "inference":
            raise InputError(
                f"Stage {clock.stage + 1} is under way after epoch {clock.epoch} and keeps its "
                "inference: add a stage after it instead."
            )
        if own not in _GOES_ON:
            return True
    elif name == "starts":
        _require_starts(settings, state, clock)
    elif section == "data" or name != "seed":
        raise InputError(
            f"Setting '{name}' shapes the particles and the map from the beginning: {_NEW_RUN}."
            if section == "data"
            else f"Setting '{name}' is settled when a run begins: {_NEW_RUN}."
        )
    if name != "starts" and _in_midst(state):
        raise InputError(
            f"The checkpoint after epoch {clock.epoch} lies in the midst of the next one, which "
            f"setting '{name}' has shaped: {_EARLIER}."
        )
    return False


def _require_starts(settings: Settings, state: dict[str, Any], clock: Clock) -> None:
    if clock.stage > 0 or _best_taken(state):
        raise InputError(f"The starts of the first stage are over: {_EARLIER}, or {_NEW_RUN}.")
    if settings.n_starts <= clock.start:
        raise InputError(
            f"The run is in start {clock.start + 1} after epoch {clock.epoch}: give 'starts' at "
            f"least {_fewest_starts(settings, clock)}, or {_EARLIER}."
        )


def _fewest_starts(settings: Settings, clock: Clock) -> int:
    """Return the least setting with which the start that a run is in is one of its starts."""
    fewest = settings.model_copy(update={"starts": 1})
    while fewest.n_starts <= clock.start:
        fewest.starts += 1
    return fewest.starts


def _in_midst(state: dict[str, Any]) -> bool:
    return bool(state["clock"]["batch"]) or state.get("begun") == state["clock"]["epoch"]


def _best_taken(state: dict[str, Any]) -> bool:
    starts = state["starts"]
    return bool(starts) and not starts[0]["maps"]


def _stage_of(name: str) -> int | None:
    """Return the stage, from 0, that a flat name is about; None for the run's settings."""
    section, _, rest = name.partition(".")
    return int(rest.partition(".")[0]) if section == "stages" else None
