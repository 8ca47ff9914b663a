"""Several starts of a run's first stage, each from another random map; the best one goes on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from napari_cryospin.engine.judging.evidence import Judgement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from napari_cryospin.engine.inference.interface import PoseInference
    from napari_cryospin.engine.models.volume import Map
    from napari_cryospin.engine.state.pose_table import PoseTable


@dataclass(frozen=True)
class Start:
    """What a start of the first stage came to: its maps, poses and inference, and how it is judged.

    ``judgement`` is None without held-out particles; ``likely`` are its likeliest poses,
    (n, k, 3, 3). ``classes`` are those of the particles, (n,); None where there is one.
    """

    maps: list[dict[str, Tensor]]
    poses: dict[str, Tensor]
    inference: dict[str, Any]
    judgement: Judgement | None
    likely: Tensor
    classes: Tensor | None = None


class Starts:
    """The starts that have ended, in order."""

    def __init__(self) -> None:
        self.ended: list[Start] = []

    def add(
        self,
        maps: Sequence[Map],
        poses: PoseTable,
        inference: PoseInference,
        judgement: Judgement | None,
    ) -> None:
        """Keep what a start has come to."""
        self.ended.append(
            Start(
                [_copied(each.state_dict()) for each in maps],
                _copied(poses.state()),
                inference.state(),
                judgement,
                inference.likely_poses(),
                poses.classes.clone() if poses.n_classes > 1 else None,
            )
        )

    def choose(self) -> None:
        """Keep of every start only what the verdict needs, once the best one goes on."""
        self.ended = [replace(start, maps=[], poses={}, inference={}) for start in self.ended]

    @property
    def chosen(self) -> bool:
        """Whether the best one goes on already."""
        return bool(self.ended) and not self.ended[0].maps

    @property
    def best(self) -> Start:
        """The start whose map explains the held-out particles best; without them the first one."""
        return max(
            self.ended,
            key=lambda start: start.judgement.mean_gain if start.judgement else 0.0,
        )

    def state(self) -> list[dict[str, Any]]:
        """Return what a checkpoint needs."""
        return [
            {
                "maps": start.maps,
                "poses": start.poses,
                "inference": start.inference,
                "judgement": None if start.judgement is None else vars(start.judgement),
                "likely": start.likely,
                "classes": start.classes,
            }
            for start in self.ended
        ]

    def load_state(self, state: list[dict[str, Any]]) -> None:
        """Restore :meth:`state`."""
        self.ended = [
            Start(
                kept["maps"],
                kept["poses"],
                kept["inference"],
                None if kept["judgement"] is None else Judgement(**kept["judgement"]),
                kept["likely"],
                kept["classes"],
            )
            for kept in state
        ]


def _copied(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in state.items()}
