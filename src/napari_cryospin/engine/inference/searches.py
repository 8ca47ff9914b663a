"""When auto-decoding searches poses over the whole grid, and whose."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from napari_cryospin.engine.geometry.poses import Poses
from napari_cryospin.engine.geometry.rotations import angular_distance
from napari_cryospin.engine.inference.candidates import doubt

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.stages import DirectStage
    from napari_cryospin.engine.state.problem import Problem

# share of the particles in doubt from which on nobody is sure: the map is none yet
_MOST = 0.35
# poses are searched once more where fewer particles than this share change modes in an epoch, ...
_QUIET = 0.02
# ... candidates of more than this share are of several modes ...
_WORTH = 0.02
# ... and the further search before has given more than this share another mode
_FOUND = 0.01
# an angle that is one of modes, degrees
_OTHER_MODE = 10.0


class Searches:
    """The searches of a stage of auto-decoding.

    The first one is at the beginning. A stage of so many epochs spaces the others evenly. One that
    ends by its criterion makes them when poses have settled: the map is better by then than the one
    that the poses were found by, and what was missed can be found. Where the doubtful particles
    alone are searched, it does so only while there is much doubt, and while searches change poses.
    Epochs are those of the inference that asks: it may begin in the midst of the stage, or, of a
    half that has no particles in use, count none of them.

    Parameters
    ----------
    problem
        Particles, map and poses.
    stage
        Settings of the stage.
    radius
        Frequency radius that the candidates which it begins with were judged by, in units of 1/box.
    limit
        Frequency radius of the first search at most, in units of 1/box. Where there is one, no pose
        of before counts: every particle is searched when it is first used.

    Attributes
    ----------
    at
        Epoch that began with a search last; None before one.
    """

    def __init__(
        self, problem: Problem, stage: DirectStage, radius: float, limit: float = math.inf
    ) -> None:
        self._problem, self._stage, self._radius, self._limit = problem, stage, radius, limit
        n, device = problem.particles.n, problem.device
        self._doubtful = torch.ones(n, dtype=torch.bool, device=device)
        self._known = torch.full((n,), math.isinf(limit), device=device)
        self._done = 0
        self._further = False
        self._before: Poses | None = None
        self.at: int | None = None

    def begin(self) -> None:
        """Find who is in doubt at the stage's beginning."""
        if self._stage.searched == "doubtful" and math.isinf(self._limit):
            several, outlying = doubt(self._problem, self._radius)
            found = several | outlying
            self._doubtful = found | (self._share(found) > _MOST)

    @property
    def limit(self) -> float:
        """Frequency radius of the next search at most, in units of 1/box."""
        return self._limit if self.at is None else math.inf

    @property
    def _planned(self) -> set[int]:
        """Epochs that begin with a search, as far as is known beforehand."""
        stage = self._stage
        if stage.until == "criterion":
            return {0} if stage.searches else set()
        return {n * stage.epochs // stage.searches for n in range(stage.searches)}

    def after(self, epoch: int) -> int:
        """Return how many epochs after this one are known to begin with a search."""
        return sum(due > epoch for due in self._planned) + self._further

    def due(self, epoch: int) -> bool:
        """Return whether an epoch begins with a search that was not made yet."""
        # a run that was stopped right after its search goes on from there
        return epoch != self.at and (self._further or epoch in self._planned)

    def chosen(self, rows: Tensor) -> Tensor:
        """Return which of particles ``rows`` are searched, (≤ m,)."""
        return rows[(self._doubtful | ~self._known)[rows]]

    def unknown(self, rows: Tensor) -> Tensor:
        """Return which of particles ``rows`` must be searched whatever is due, (≤ m,)."""
        return rows[~self._known[rows]]

    def found(self, rows: Tensor) -> None:
        """Note that particles ``rows`` (m,) have been searched."""
        self._known[rows] = True

    def made(self, epoch: int) -> None:
        """Note that the search of an epoch has been made."""
        self.at, self._done, self._further = epoch, self._done + 1, False

    def go_on(self, changed: float, radius: float) -> bool:
        """Return whether the next epoch begins with another search.

        Parameters
        ----------
        changed
            Share of the particles that have changed their mode in the last epoch.
        radius
            Frequency radius that the candidates were judged by, in units of 1/box.
        """
        stage = self._stage
        possible = stage.until == "criterion" and self._done < stage.searches
        if not (possible and changed < _QUIET):
            return False
        if stage.searched == "doubtful":
            several, outlying = doubt(self._problem, radius)
            # poses that were found by low frequencies alone are worth another look in any case
            first = not math.isinf(self._limit) and self._done == 1
            if not (first or (self._share(several) > _WORTH and self._found_much)):
                return False
            self._doubtful = several | outlying
        self._before, self._further = self._problem.poses.copied(), True
        return True

    @property
    def _found_much(self) -> bool:
        """Whether enough particles have another mode than they had before the last search."""
        if self._before is None:
            return True
        members, group = self._members.nonzero().flatten(), self._problem.group
        present = self._problem.poses.at(members)
        return changed_share(self._before[members], present, group) > _FOUND

    @property
    def _members(self) -> Tensor:
        members, part = self._problem.members, self._problem.part
        if bool(members.any()):
            return members
        return torch.ones_like(members) if part is None else part

    def _share(self, chosen: Tensor) -> float:
        """Return the share of those who belong that are among some (n,)."""
        return float(chosen[self._members].float().mean())

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint needs."""
        return {
            "doubtful": self._doubtful,
            "known": self._known,
            "done": self._done,
            "further": self._further,
            "before": None if self._before is None else vars(self._before),
            "at": self.at,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state`."""
        self._doubtful, self._done, self.at = state["doubtful"], state["done"], state["at"]
        self._further, before = state["further"], state["before"]
        self._before = None if before is None else Poses(**before)
        self._known = state["known"]


def changed_share(before: Poses, after: Poses, group: Tensor | None = None) -> float:
    """Return the share of poses (n,) in another mode, and no mate's, or of another map."""
    changed = angular_distance(before.rotations, after.rotations, group) > _OTHER_MODE
    if before.classes is not None and after.classes is not None:
        changed |= before.classes != after.classes
    return float(changed.float().mean())
