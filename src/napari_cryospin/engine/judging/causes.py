"""Why a map does not explain the particles: what is looked at, and which cause it speaks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_cryospin.engine.judging.centring import Centring, centring
from napari_cryospin.engine.judging.mates import Mates, find_mates
from napari_cryospin.engine.judging.variability import Variability, variability
from napari_cryospin.engine.models.volume import map_of_grid
from napari_cryospin.engine.runfolder.verdict import Cause

if TYPE_CHECKING:
    from napari_cryospin.engine.judging.evidence import Judgement
    from napari_cryospin.engine.judging.halves import HalfMaps
    from napari_cryospin.engine.judging.misfit import Misfit
    from napari_cryospin.engine.judging.others import Others
    from napari_cryospin.engine.state.problem import Problem

# what a map leaves unexplained of the signal, over what it explains: more than the first is looked
# into, more than the second is too much whatever the cause
DOUBTFUL, UNEXPLAINED = 0.02, 0.05
# particles are off-centre where shifts gain so many nats, and are so large, pixels
_SHIFT_GAIN, _SHIFT_RMS = 2.5, 0.3
# there are several structures where a component gains so many nats, its humps are so far apart, and
# the smaller one holds so much
_VARIABILITY_GAIN, _APART, _LEAST_SHARE = 1.5, 2.0, 0.05
# a map that looks symmetric may be an average of mates where it leaves more of a usual particle
_AVERAGED = 0.005
# images that do not fit are a cause where they are at least so many: of a map that explains the
# others, and of one that does not
_OUTLIERS, _MANY = 0.02, 0.1


@dataclass(frozen=True)
class Findings:
    """What was looked at.

    Parameters
    ----------
    misfit
        What the map leaves unexplained; None where that cannot be told.
    centring
        What shifts gain; None where they are estimated.
    mates
        Turns after which the map looks the same.
    variability
        How particles differ from the map; None where the map explains them.
    strangers
        Share of the images that are not likely to show the particle, and have no part in the rest.
    others
        What a map of those images comes to; None where they are few.
    """

    misfit: Misfit | None
    centring: Centring | None
    mates: Mates
    variability: Variability | None
    strangers: float = 0.0
    others: Others | None = None

    @property
    def outliers(self) -> float:
        """Share of the images that do not show the particle, or hold far less of it than others."""
        others = 0.0 if self.misfit is None else self.misfit.outliers
        return self.strangers + (1 - self.strangers) * others

    @property
    def doubtful(self) -> bool:
        """Whether the map leaves so much unexplained that causes are worth looking for."""
        return self.strangers >= _OUTLIERS or (
            self.misfit is not None and self.misfit.value > DOUBTFUL
        )

    @property
    def unexplained(self) -> bool:
        """Whether the map leaves too much of the signal unexplained."""
        return self.misfit is not None and self.misfit.value > UNEXPLAINED

    @property
    def mixed(self) -> bool:
        """Whether the map looks the same from mate to mate, and the particles do not."""
        if self.misfit is None or len(self.mates.turns) == 1:
            return False
        return self.unexplained or self.misfit.typical > _AVERAGED

    @property
    def several(self) -> bool:
        """Whether the particles show two structures."""
        if self.others_show_one:
            return True
        found = self.variability
        if found is None or found.gain < _VARIABILITY_GAIN:
            return False
        humps = found.humps
        return humps.apart > _APART and min(humps.shares) > _LEAST_SHARE

    @property
    def others_show_one(self) -> bool:
        """Whether the images that do not belong show a structure of their own."""
        return self.others is not None and self.others.show_a_structure

    @property
    def shares(self) -> tuple[float, float] | None:
        """Shares of the particles of two structures, the larger one first; None: there are none."""
        if self.others_show_one and self.others is not None:
            other = self.strangers * self.others.explained
            return max(1 - other, other), min(1 - other, other)
        return None if self.variability is None else self.variability.humps.shares

    @property
    def off_centre(self) -> bool:
        """Whether shifts gain much, and more than a second structure does."""
        found, other = self.centring, self.variability
        if found is None or found.gain < _SHIFT_GAIN or found.rms < _SHIFT_RMS:
            return False
        if self.others_show_one:
            return False
        return other is None or not self.several or found.gain > other.gain

    @property
    def only_some_do_not_fit(self) -> bool:
        """Whether the map explains all but some images that show no such particle."""
        found = self.misfit
        if found is None or found.without_worst > UNEXPLAINED or self.outliers < _OUTLIERS:
            return False
        return found.value > UNEXPLAINED or self.strangers >= _OUTLIERS

    @property
    def many_do_not_fit(self) -> bool:
        """Whether so many images do not fit that they spoil the map for the others."""
        return self.unexplained and self.outliers >= _MANY

    @property
    def cause(self) -> Cause | None:
        """The cause that the findings speak for, if any; too little signal is none of them."""
        if self.off_centre:
            return Cause.OFF_CENTRE
        if self.mixed:
            return Cause.MATES
        if self.several:
            return Cause.SEVERAL_STRUCTURES
        if self.only_some_do_not_fit or self.many_do_not_fit:
            return Cause.OUTLIERS
        return None


def look_for_causes(
    problem: Problem,
    halves: HalfMaps,
    misfit: Misfit | None,
    judged: Judgement,
    strangers: float = 0.0,
    others: Others | None = None,
) -> Findings:
    """Look for what is at fault, in half a minute at most.

    Parameters
    ----------
    problem
        Particles, map and poses.
    halves
        The half-maps.
    misfit
        What the map leaves unexplained.
    judged
        What the held-out particles say of the map.
    strangers
        Share of the images that are not likely to show the particle.
    others
        What a map of these comes to.
    """
    one, two = (map_of_grid(grid).cpu().numpy() for grid in halves.grids)
    mates = find_mates(judged.modes.cpu().numpy(), judged.mode_weights.cpu().numpy(), (one, two))
    doubtful = Findings(misfit, None, mates, None, strangers).doubtful
    return Findings(
        misfit,
        None if problem.model.shifts else centring(problem, halves),
        mates,
        variability(problem, halves, problem.seed) if doubtful else None,
        strangers,
        others,
    )
