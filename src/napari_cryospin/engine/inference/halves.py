"""Independent halves: auto-decoding of two half-sets that share nothing beyond a low frequency.

What two maps of one reconstruction have in common may be noise that both were aligned to. Here each
half-set has poses, shifts and a map of its own. Both begin with the map of the stage before below a
limit, by which each finds its poses anew; and below that limit their maps are made common after
every epoch, which keeps them in one frame; the second takes the hand of the first, where low
frequencies have none. Beyond the limit, what they agree on is in the particles: the "gold standard"
(Henderson et al. 2012; Scheres and Chen 2012).
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from napari_cryospin.engine.data.half_sets import half_sets
from napari_cryospin.engine.data.member import APART
from napari_cryospin.engine.inference.direct import DirectInference
from napari_cryospin.engine.inference.interface import PoseInference, shuffled_batches
from napari_cryospin.engine.inference.memory_needs import GRIDS, grid_bytes, sums_bytes
from napari_cryospin.engine.inference.one_hand import inverted, of_other_hand, take_other_hand
from napari_cryospin.engine.models.image import ImageModel
from napari_cryospin.engine.models.map_updates import MapUpdates
from napari_cryospin.engine.models.noise import NoiseSpectrum
from napari_cryospin.engine.models.volume import frequency_radius
from napari_cryospin.engine.stages import Inference
from napari_cryospin.engine.state.problem import evenly_spread
from napari_cryospin.engine.sums.centring import first_origins

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from napari_cryospin.engine.inference.interface import Place
    from napari_cryospin.engine.models.volume import Map
    from napari_cryospin.engine.settings import ModelSettings
    from napari_cryospin.engine.stages import DirectStage
    from napari_cryospin.engine.state.problem import Problem

# particles from which on halves are independent where nothing is said
_MANY = 1000
# frequency radius up to which the maps of the halves are made common, in units of 1/box and as a
# share of the box, at most; with less in common poses of weak particles are lost
_COMMON, _COMMON_SHARE = 10, 1 / 5
# masks, slicing and inserting mix frequencies, so that noise that is aligned to what is common
# agrees some way beyond: the halves share nothing beyond the sum of both
_MIXED = 4
# slices of such a map reach one further
_REACH = 1
# particles of a half that tell its noise at first
_TELLING = 1000
# a half, its particles in an epoch, and the sums that its maps are made of, (C, 2, (D+1)³)
_Made = tuple[DirectInference, "Tensor", "Tensor | None"]
# what earlier versions did not write down: they told noise and shifts before the first epoch
_TOLD = {"told": [True, True], "low_known": True, "centring": False}


class AutoDecoding(DirectInference):
    """What a stage of auto-decoding computes with: all particles together, or two halves."""

    @classmethod
    def of_stage(
        cls, problem: Problem, stage: DirectStage, before: PoseInference | None, start: int
    ) -> PoseInference:
        """Return the inference of a stage."""
        if independent(problem, stage):
            return IndependentHalves.of_stage(problem, stage, before, start)
        return super().of_stage(problem, stage, before, start)

    def adopt(self, state: dict[str, Any]) -> None:
        """Search poses by the noise that was known, also where that was of halves."""
        super().adopt({"noise": _noise_in(state)})

    @classmethod
    def memory_needed(
        cls, stage: DirectStage, model: ModelSettings, box: int, device: torch.device
    ) -> float:
        """Return the bytes of a batch, or of a search of all poses."""
        of_all = super().memory_needed(stage, model, box, device)
        if not _expected(model, stage):
            return of_all
        return IndependentHalves.memory_needed(stage, model, box, device)

    @classmethod
    def memory_kept(cls, stage: DirectStage, model: ModelSettings, box: int) -> float:
        """Return the bytes of the maps of the halves, where there are any."""
        own = IndependentHalves.memory_kept(stage, model, box)
        return own if _expected(model, stage) else 0.0


def _noise_in(state: dict[str, Any]) -> Tensor | None:
    """Return the noise by shell in a state of one map or of halves, (D/2,); None: it has none."""
    if "halves" not in state:
        noise = state.get("noise")
        return noise if isinstance(noise, torch.Tensor) else None
    told = zip(state["halves"], state["present"], strict=True)
    found = [half["noise"] for half, there in told if there]
    return torch.stack(found).mean(0) if found else None


def independent(problem: Problem, stage: DirectStage) -> bool:
    """Return whether a stage refines two independent halves: sums alone are made common."""
    wanted, n = problem.model.halves, problem.particles.n
    return stage.volume_update == "closed form" and (n >= _MANY if wanted is None else wanted)


def _expected(model: ModelSettings, stage: DirectStage) -> bool:
    """Return the same before the particles are counted: as if there were many."""
    return stage.volume_update == "closed form" and model.halves is not False


class IndependentHalves(PoseInference):
    """Two auto-decodings, each of one half of the particles, with a map of its own.

    The map of the problem becomes that of both together; nothing is learned from it.

    Parameters
    ----------
    problem
        Particles, map and poses.
    stage
        Settings of the stage.
    noise
        Noise of the images as known so far; white by default.
    radius
        Frequency radius that poses were found by so far, in units of 1/box. Shifts that used more
        than is to be shared are found anew before the first search.
    """

    kind = Inference.DIRECT

    def __init__(
        self,
        problem: Problem,
        stage: DirectStage,
        noise: NoiseSpectrum | None = None,
        radius: float = torch.inf,
    ) -> None:
        super().__init__(problem)
        particles, box, device = problem.particles, problem.particles.box, problem.device
        common = min(_COMMON, int(_COMMON_SHARE * box))
        self._limit = min(common + _MIXED, box // 2 - 1)
        low = ImageModel.within(box, self._limit, device)
        begins = NoiseSpectrum.white(box, device)
        begins = begins if noise is None else begins.replaced(noise, low)
        # what the particles of its first epoch then tell of each half
        self._told = [False, False]
        self._low_known = noise is not None
        self._centring = problem.model.shifts and radius > self._limit
        self._shared = (frequency_radius(box) <= common).to(device)
        self._both = MapUpdates(problem.maps, box, device, memory=1)
        self._present = [True, True]
        sets = torch.from_numpy(half_sets(particles.table.half_set, particles.rows))
        # what was known before came by the map of all particles: each half finds its poses anew
        searching = stage.model_copy(update={"searches": max(stage.searches, 1)})
        self._halves: list[DirectInference] = []
        for number in (1, 2):
            first, *others = copy.deepcopy(problem.maps)
            own = replace(
                problem,
                volume=first,
                others=tuple(others),
                part=(sets == number).to(device),
            )
            self._halves.append(DirectInference(own, searching, begins, limit=common + _REACH))

    @classmethod
    def of_stage(
        cls, problem: Problem, stage: DirectStage, before: PoseInference | None, start: int
    ) -> PoseInference:
        """Return the inference of a stage; of what was known before low frequencies are kept."""
        if before is None:
            return cls(problem, stage)
        return cls(problem, stage, before.noise, before.radius)

    @classmethod
    def memory_needed(
        cls, stage: DirectStage, model: ModelSettings, box: int, device: torch.device
    ) -> float:
        """Return the bytes of one half's batch or search, they take turns, and the other's sums."""
        # each half begins with a search of its own
        searching = stage.model_copy(update={"searches": max(stage.searches, 1)})
        of_one = DirectInference.memory_needed(searching, model, box, device)
        return of_one + sums_bytes(model, box, device)

    @classmethod
    def memory_kept(cls, stage: DirectStage, model: ModelSettings, box: int) -> float:
        """Return the bytes of the maps of both halves, with what makes them anew."""
        return 2 * GRIDS * model.classes * grid_bytes(box)

    def begin(self) -> None:
        """Give both halves the low frequencies of the map, and nothing else."""
        low = torch.where(self._shared, self.problem.grids, 0)
        for half in self._halves:
            for volume, grid in zip(half.problem.maps, low, strict=True):
                volume.assign(grid)
            half.begin()

    def _tell(self, half: DirectInference, rows: Tensor) -> None:
        """Let the first particles of a half, (m,), tell its noise, and where the middles are.

        Below the limit the noise is what was known, where any was. The shifts of all its particles
        are found as if nothing were known of them, where they were found by what is not shared.
        """
        particles, poses = self.particles, self.poses
        # nothing of those who were dropped, or said not to belong
        telling = rows[~self.problem.held_out[rows] & (poses.by_hand[rows] != APART)]
        if not len(telling):
            return
        told = particles.noise(evenly_spread(telling, _TELLING))
        if self._low_known:
            low = ImageModel.within(particles.box, self._limit, self.problem.device)
            told = told.replaced(half.noise, low)
        half.adopt({"noise": told.variance})
        if self._centring:
            own = half.problem.rows
            poses.shifts[own] = first_origins(particles, own, telling)

    @property
    def shared_radius(self) -> float | None:
        """Frequency radius beyond which the halves share nothing, in units of 1/box.

        None before both have found poses of their own.
        """
        searched = all(half.searches.at is not None for half in self._halves)
        return self._limit if searched else None

    @property
    def half_maps(self) -> tuple[tuple[Map, ...], tuple[Map, ...]]:
        """The maps of the halves, C of each."""
        one, two = self._halves
        return one.problem.maps, two.problem.maps

    @property
    def radius(self) -> float:
        """Frequency radius of the low-pass filter, in units of 1/box."""
        return self._halves[0].radius

    @property
    def noise(self) -> NoiseSpectrum:
        """Noise of the images, the mean of what those halves know that have any particles."""
        known = [half.noise.variance for half in self._there]
        return NoiseSpectrum(torch.stack(known).sum(0) / len(known))

    @property
    def over(self) -> bool:
        """Whether the modes of both have settled."""
        return all(half.over for half in self._there)

    @property
    def _there(self) -> list[DirectInference]:
        """The halves that have any particles in use which a map may learn from; else both."""
        found = zip(self._halves, self._present, strict=True)
        return [half for half, there in found if there] or self._halves

    def set_place(self, place: Place) -> None:
        """Follow the stage's schedules."""
        for half in self._halves:
            half.set_place(place)

    @property
    def searches_left(self) -> int:
        """How many later epochs of the stage are known to begin with a search of poses."""
        return max(half.searches_left for half in self._halves)

    def _rows(self, rows: Tensor) -> list[Tensor]:
        """Return those of particles ``rows`` (m,) that are in each half."""
        return [rows[_part(half.problem)[rows]] for half in self._halves]

    def begin_epoch(self, place: Place, rows: Tensor) -> Iterator[tuple[int, int]]:
        """Look for outliers, and search poses, in each half."""
        parts = self._rows(rows)
        self._present = [bool((~self.problem.held_out[part]).any()) for part in parts]
        for number, (half, part) in enumerate(zip(self._halves, parts, strict=True)):
            if len(part) and not self._told[number]:
                self._tell(half, part)
                self._told[number] = True
        for number, (half, part) in enumerate(zip(self._halves, parts, strict=True), 1):
            for done in half.begin_epoch(place, part) if len(part) else ():
                self.preparing = f"{half.preparing}, half {number}"
                yield done

    def batches(self, rows: Tensor, order: torch.Generator) -> list[Tensor]:
        """Return the rows of all batches of an epoch, each of one half, in turn."""
        size = self._halves[0].stage.batch_size
        made = [
            shuffled_batches(part, size, order) if len(part) else [] for part in self._rows(rows)
        ]
        longest = max(map(len, made))
        return [own[place] for place in range(longest) for own in made if place < len(own)]

    def train_batch(self, rows: Tensor) -> float:
        """Take the pose steps on particles ``rows``, which are of one half."""
        return self._halves[0 if _part(self._halves[0].problem)[rows[0]] else 1].train_batch(rows)

    def end_epoch(self, rows: Tensor) -> None:
        """Make the maps of the halves anew, and make them common below the limit."""
        made = [
            (half, part, half.collected(part))
            for half, part in zip(self._halves, self._rows(rows), strict=True)
            if len(part)
        ]
        made = self._of_one_hand(made)
        sums = [inserted for *_, inserted in made if inserted is not None]
        # of a half whose particles are all held out no map is made, and none is missed
        whole = len(sums) == len(self._there)
        total = torch.stack(sums).sum(0) if whole else None
        for half, part, inserted in made:
            own = inserted
            if inserted is not None and total is not None:
                own = torch.where(self._shared, total, inserted)
            half.finish_epoch(part, own)
        if total is not None:
            self._both(total, self.noise)

    def _of_one_hand(self, made: list[_Made]) -> list[_Made]:
        """Return halves with their sums; the second one takes the hand of the first."""
        if len(made) < 2 or any(inserted is None for *_, inserted in made):
            return made
        first, (half, part, inserted) = made
        assert first[-1] is not None and inserted is not None
        least = int(frequency_radius(self.particles.box)[self._shared.cpu()].max()) + 1
        for number, (one, other) in enumerate(zip(first[-1], inserted, strict=True)):
            if of_other_hand(one, other, least):
                take_other_hand(self.poses, half.hypotheses, half.problem.rows, number)
                inserted = inserted.clone()
                inserted[number] = inverted(other)
        return [first, (half, part, inserted)]

    def state(self) -> dict[str, Any]:
        """Return what both halves know, for a checkpoint."""
        return {
            "halves": [half.state() for half in self._halves],
            "maps": [[each.state_dict() for each in half.problem.maps] for half in self._halves],
            "both": self._both.state(),
            "present": self._present,
            "told": self._told,
            "low_known": self._low_known,
            "centring": self._centring,
        }

    def completed(self, state: dict[str, Any]) -> dict[str, Any]:
        """Return a state with what earlier versions did not have."""
        return _TOLD | state

    def adopt(self, state: dict[str, Any]) -> None:
        """Search poses by the noise that was known below the limit: nothing else may be shared."""
        known = _noise_in(state)
        if known is None:
            return
        low = ImageModel.within(self.particles.box, self._limit, self.problem.device)
        for half in self._halves:
            begins = half.noise.replaced(NoiseSpectrum(known), low)
            half.adopt({"noise": begins.variance})
        self._low_known = True

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state`."""
        state = self.completed(state)
        told = zip(self._halves, state["halves"], state["maps"], strict=True)
        for half, own, maps in told:
            half.load_state(own)
            for volume, held in zip(half.problem.maps, maps, strict=True):
                volume.load_state_dict(held)
        self._both.load_state(state["both"])
        self._present, self._told = list(state["present"]), list(state["told"])
        self._low_known, self._centring = state["low_known"], state["centring"]


def _part(problem: Problem) -> Tensor:
    """Return which particles are in a half, (n,)."""
    assert problem.part is not None
    return problem.part
