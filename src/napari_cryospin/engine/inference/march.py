"""The march from low to high frequency: how far the data support it, told by held-out particles."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from torch import Tensor

# a radius has settled where a check gains less than this share of all that was gained ...
_SETTLED = 0.03
# ... and after so many checks in any case
_MOST_CHECKS = 24
# checks that the next radius may speak against the march before it ends
_PATIENCE = 3
# share of the poses that go on changing; while more do, the last radius has not settled before the
# mean gain of so many checks is that of as many before
_MOVING, _WINDOW = 0.1, 4
# ... give or take this share of its standard error, most of which is that of the particles
_OF_ERROR = 0.1


@dataclass(frozen=True)
class Evidence:
    """What held-out particles say of a map: log-likelihood ratios of each, nats, (h,).

    Parameters
    ----------
    gain
        The map against its rotational average, at the frequencies in use.
    beyond
        The map's next frequencies against none.
    """

    gain: Tensor
    beyond: Tensor


class March:
    """Decides when the next radius is due.

    Parameters
    ----------
    radii
        Frequency radii, ascending.

    Attributes
    ----------
    place
        Which radius is in use.
    over
        Whether the march has ended: at its last radius, or where the data support no more.
    """

    def __init__(self, radii: list[int]) -> None:
        self.radii = radii
        self.place = 0
        self.over = False
        self._checks = 0
        self._refused = 0
        self._last: Tensor | None = None
        self._gains: list[float] = []

    @property
    def radius(self) -> int:
        """The frequency radius in use, in units of 1/box."""
        return self.radii[self.place]

    def next_radius(self, nyquist: int) -> int:
        """Return the radius after the present one, up to which the map is estimated."""
        if self.place + 1 < len(self.radii):
            return self.radii[self.place + 1]
        return min(self.radius + 2, nyquist)

    def check(self, evidence: Evidence | None, moving: float = 0.0) -> bool:
        """Take in the evidence of the present map; return whether the radius has changed.

        Parameters
        ----------
        evidence
            What held-out particles say; without any (None) every radius takes a few checks.
        moving
            Share of the particles that have come to another pose since they were seen before.
        """
        self._checks += 1
        last_radius = self.place + 1 == len(self.radii)
        settled = self._settled(evidence)
        if last_radius and evidence is not None and moving > _MOVING:
            settled = self._gains_no_more(evidence) or self._checks >= _MOST_CHECKS
        if not settled:
            return False
        if last_radius:
            self.over = True
            return False
        if evidence is not None and _mean_in_errors(evidence.beyond) < -1:
            self._refused += 1
            self.over = self._refused >= _PATIENCE
            return False
        self.place += 1
        self._checks, self._refused, self._last, self._gains = 0, 0, None, []
        return True

    def go_on(self) -> None:
        """Go on where the data supported no more: they are about to make better maps."""
        self.over, self._refused = False, 0

    def _gains_no_more(self, evidence: Evidence) -> bool:
        """Return whether the gain has risen no further of late, on average over several checks.

        A wrong map turns into the right one by way of many that are hardly better each.
        """
        gains = self._gains
        if len(gains) < 2 * _WINDOW:
            return False
        late, early = (
            sum(part) / _WINDOW for part in (gains[-_WINDOW:], gains[-2 * _WINDOW : -_WINDOW])
        )
        error = float(evidence.gain.std()) / math.sqrt(len(evidence.gain))
        return late - early < max(_SETTLED * late, _OF_ERROR * error)

    def _settled(self, evidence: Evidence | None) -> bool:
        if evidence is None:
            return self._checks >= _PATIENCE
        self._gains.append(float(evidence.gain.mean()))
        last, self._last = self._last, evidence.gain
        if self._checks >= _MOST_CHECKS:
            return True
        if last is None or len(last) != len(evidence.gain):
            return False
        step = evidence.gain - last
        error = float(step.std()) / math.sqrt(len(step))
        return float(step.mean()) < max(error, _SETTLED * float(evidence.gain.mean()))

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint needs."""
        return dict(vars(self))

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state`."""
        vars(self).update(state)


def supports(beyond: Tensor) -> bool:
    """Return whether particles say (nats each, (h,)) that a map's next frequencies are right."""
    return _mean_in_errors(beyond) > 1


def _mean_in_errors(values: Tensor) -> float:
    """Return the mean in units of its standard error."""
    error = float(values.std()) / math.sqrt(len(values))
    return float(values.mean()) / max(error, torch.finfo(torch.float32).tiny)
