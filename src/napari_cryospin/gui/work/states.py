"""What a session may be doing."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_cryospin.engine.runfolder.standing import Standing


class SessionState(StrEnum):
    """What the session is doing; the values are shown to the user."""

    IDLE = "Ready"
    LOADING = "Loading…"
    RUNNING = "Running"
    PAUSED = "Paused"
    STOPPING = "Stopping…"
    # another process writes the run that is shown
    FOLLOWING = "Following"
    STOPPED = "Stopped"
    FINISHED = "Finished"
    FAILED = "Failed"


ACTIVE = frozenset(
    {SessionState.LOADING, SessionState.RUNNING, SessionState.PAUSED, SessionState.STOPPING}
)


def state_of(standing: Standing) -> SessionState:
    """Return the state of a session that shows a run which it does not run itself."""
    return {
        "WRITTEN": SessionState.FOLLOWING,
        "FINISHED": SessionState.FINISHED,
        "STOPPED": SessionState.STOPPED,
        "FAILED": SessionState.FAILED,
    }[standing.doing.name]
