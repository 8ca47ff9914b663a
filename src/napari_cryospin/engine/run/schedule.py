"""When the stages of a run end: as its settings say, until somebody says otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_cryospin.engine.switch_at import ends_of

if TYPE_CHECKING:
    from napari_cryospin.engine.settings import Settings
    from napari_cryospin.engine.switch_at import SwitchAt


class Schedule:
    """The ends of a run's stages, kept in its settings.

    Parameters
    ----------
    settings
        Settings of the run; the ends of their stages are changed in place.
    """

    def __init__(self, settings: Settings) -> None:
        self._stages = settings.stages
        self._first = [{"until": stage.until, "epochs": stage.epochs} for stage in settings.stages]
        self._said: dict[int, SwitchAt] = {}

    def say(self, stage: int, at: SwitchAt | None) -> None:
        """Have a stage end otherwise from now on; None: as the settings said first."""
        self._said.pop(stage, None)
        if at is not None:
            self._said[stage] = at
        self._follow()

    def state(self) -> dict[int, SwitchAt]:
        """Return what was said, by stage, for a checkpoint."""
        return dict(self._said)

    def load_state(self, state: dict[int, SwitchAt]) -> None:
        """Restore :meth:`state`."""
        self._said = dict(state)
        self._follow()

    def _follow(self) -> None:
        for number, (stage, first) in enumerate(zip(self._stages, self._first, strict=True)):
            ends: dict[str, Any] = dict(first)
            if number in self._said:
                ends |= ends_of(self._said[number])
            for name, value in ends.items():
                setattr(stage, name, value)
