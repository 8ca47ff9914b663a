"""When a stage ends and the next one begins, as people say it: after K epochs, auto, never."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.stages import MOST

if TYPE_CHECKING:
    from napari_cryospin.engine.stages import Stage

SwitchAt = int | Literal["auto", "never"]

# of a stage, while its criterion does not end it
MOST_EPOCHS = 100


def ends_of(at: SwitchAt, epochs: int | None = None) -> dict[str, Any]:
    """Return the settings of a stage, by name, that have it end when somebody says.

    Parameters
    ----------
    at
        Epochs of the stage; "auto": its criterion; "never": nobody but the user, by hand.
    epochs
        Its epochs at most, where its criterion ends it.
    """
    if at == "auto":
        # the few epochs of a preset are not for a criterion to wait in
        return {"until": "criterion", "epochs": epochs or MOST_EPOCHS}
    if at == "never":
        return {"until": "hand"}
    return {"until": "epochs", "epochs": at}


def end_of(stage: Stage) -> SwitchAt:
    """Return when a stage ends: what :func:`ends_of` makes its settings of."""
    if stage.until == "criterion":
        return "auto"
    return "never" if stage.until == "hand" else stage.epochs


def when(at: SwitchAt | None) -> str:
    """Return in words when a stage ends; None: as its settings say."""
    if isinstance(at, int):
        return f"after {at} of its epochs"
    if at is None:
        return "as its settings say"
    return "by its criterion" if at == "auto" else "by hand alone"


def switch_at_of(word: str, more: str = "") -> SwitchAt:
    """Return what a word of a command line says; ``more`` names what else it may be.

    Raises
    ------
    InputError
        If it is none of a number, "auto" and "never".
    """
    if word.isdecimal() and int(word) <= MOST:
        return int(word)
    if word == "auto":
        return "auto"
    if word == "never":
        return "never"
    raise InputError(
        f"--switch-at takes a number of epochs{more}, 'auto' or 'never', not '{word}'."
    )
