"""The present pose of every particle, and the candidates that the heads gave."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from napari_cryospin.engine.data.member import MEMBER, OPEN, overruled
from napari_cryospin.engine.geometry.poses import Poses


@dataclass
class PoseTable:
    """State of the poses of n particles; tensors live on the training device.

    Besides its pose a particle has M candidates: what the heads gave in auto-encoding, the modes of
    its posterior in marginalisation, the hypotheses that are refined in auto-decoding.

    Parameters
    ----------
    rotations
        Present Euler matrices, (n, 3, 3).
    shifts
        Present origin shifts (x, y), pixels of the working box, (n, 2).
    scales
        Factor that the map needs to fit each image, (n,).
    membership
        Probability that each image shows the particle, (n,), of any of the classes: 1 or 0 where
        that was said by hand. It is written by :meth:`set_membership` and :meth:`say` alone.
    found_membership
        The same as the program found it last, before it was said by hand, (n,).
    by_hand
        What was said of each image, (n,) int8: that it BELONGS, that it is APART, or nothing, OPEN.
    classes
        Class whose map each is posed by, (n,).
    class_weights
        Probability of each class, (n, C); they add up to 1.
    winner
        Candidate that gave the present pose, (n,); −1 where the particle has not been seen yet.
    losses
        Present error of each particle per Fourier coefficient, (n,) float32; NaN where it has not
        been seen yet. In marginalisation and after a pose search it is in units of the noise's
        variance, which is 1 for white noise.
    candidates, candidate_shifts
        Candidates of the last visit that had any, (n, M, 3, 3) and (n, M, 2).
    candidate_losses
        Their errors, (n, M); NaN where not seen yet.
    candidate_classes
        Class whose map each is a pose of, (n, M).
    turns
        How many candidates of each head there are, one after the other: S where an encoder was
        asked at S in-plane turns.
    """

    rotations: Tensor
    shifts: Tensor
    scales: Tensor
    membership: Tensor
    classes: Tensor
    class_weights: Tensor
    found_membership: Tensor
    by_hand: Tensor
    winner: Tensor
    losses: Tensor
    candidates: Tensor
    candidate_shifts: Tensor
    candidate_losses: Tensor
    candidate_classes: Tensor
    turns: int = 1

    def __post_init__(self) -> None:
        # a state has tensors alone
        self.turns = int(self.turns)

    @classmethod
    def empty(cls, n: int, heads: int, device: torch.device, classes: int = 1) -> Self:
        """Return the table before the first visit: every pose is the identity."""
        identity = torch.eye(3, device=device)
        return cls(
            rotations=identity.repeat(n, 1, 1),
            shifts=torch.zeros(n, 2, device=device),
            scales=torch.ones(n, device=device),
            membership=torch.ones(n, device=device),
            classes=torch.zeros(n, dtype=torch.long, device=device),
            class_weights=torch.full((n, classes), 1 / classes, device=device),
            found_membership=torch.ones(n, device=device),
            by_hand=torch.full((n,), OPEN, dtype=torch.int8, device=device),
            winner=torch.full((n,), -1, device=device),
            losses=torch.full((n,), torch.nan, device=device),
            candidates=identity.repeat(n, heads, 1, 1),
            candidate_shifts=torch.zeros(n, heads, 2, device=device),
            candidate_losses=torch.full((n, heads), torch.nan, device=device),
            candidate_classes=torch.zeros(n, heads, dtype=torch.uint8, device=device),
        )

    @property
    def n_classes(self) -> int:
        """Number C of classes."""
        return self.class_weights.shape[1]

    def at(self, rows: Tensor) -> Poses:
        """Return the present poses of particles ``rows`` (m,)."""
        classes = self.classes[rows] if self.n_classes > 1 else None
        return Poses(self.rotations[rows], self.shifts[rows], classes)

    def copied(self) -> Poses:
        """Return a copy of all present poses, (n,)."""
        return self.at(torch.arange(len(self.losses), device=self.rotations.device))

    def set_at(self, rows: Tensor, poses: Poses) -> None:
        """Give particles ``rows`` (m,) other poses."""
        self.rotations[rows], self.shifts[rows] = poses.rotations, poses.shifts
        if poses.classes is not None:
            self.classes[rows] = poses.classes

    def candidates_at(self, chosen: tuple[Tensor, Tensor] | Tensor) -> Poses:
        """Return candidates of particles: all of rows (m,), or places (m,) of rows (m,) each."""
        classes = self.candidate_classes[chosen].long() if self.n_classes > 1 else None
        return Poses(self.candidates[chosen], self.candidate_shifts[chosen], classes)

    def set_candidates(self, rows: Tensor, poses: Poses, errors: Tensor) -> None:
        """Give particles (m,) other candidates, (m, M), with their errors."""
        self.candidates[rows], self.candidate_shifts[rows] = poses.rotations, poses.shifts
        self.candidate_losses[rows] = errors
        if poses.classes is not None:
            self.candidate_classes[rows] = poses.classes.to(self.candidate_classes)

    def weigh_classes(self, rows: Tensor, behind: Tensor) -> None:
        """Tell how probable each class is by candidates that are so many nats behind, (m, M)."""
        if self.n_classes > 1:
            found, places = torch.zeros_like(self.class_weights[rows]), self.candidate_classes[rows]
            weights = (-behind).softmax(1)
            self.class_weights[rows] = found.scatter_add_(1, places.long(), weights)

    def set_membership(self, rows: Tensor, found: Tensor) -> None:
        """Take in what the program has found of particles ``rows`` (m,): probabilities (m,)."""
        by_hand = self.by_hand[rows]
        self.found_membership[rows] = found.where(by_hand == OPEN, self.found_membership[rows])
        self.membership[rows] = overruled(found, by_hand)

    def say(self, rows: Tensor, said: int) -> bool:
        """Say by hand that particles ``rows`` (m,) belong, or do not; OPEN takes that back.

        Returns whether that changes anything.
        """
        if bool((self.by_hand[rows] == said).all()):
            return False
        self.by_hand[rows] = said
        self._heed()
        return True

    def _heed(self) -> None:
        self.membership = overruled(self.found_membership, self.by_hand)

    @property
    def members(self) -> Tensor:
        """Which images are likely to show the particle, bool, (n,)."""
        return self.membership >= MEMBER

    def of_class(self, number: int) -> PoseTable:
        """Return the same poses, with the memberships of a class alone."""
        one = torch.ones_like(self.class_weights[:, :1])
        return replace(
            self,
            membership=self.membership * (self.classes == number),
            classes=torch.zeros_like(self.classes),
            class_weights=one,
            candidate_classes=torch.zeros_like(self.candidate_classes),
        )

    def reset(self) -> None:
        """Forget all poses, in place; what was said by hand stays."""
        n, heads = self.candidate_losses.shape
        new = self.empty(n, heads, self.rotations.device, self.n_classes)
        vars(self).update(vars(new) | {"turns": self.turns, "by_hand": self.by_hand})
        self._heed()

    def with_candidates(self, n: int, turns: int = 1) -> None:
        """Make room for ``n`` candidates of every particle, in place of those there are.

        ``turns`` of them, one after the other, are of one head.
        """
        table = self.empty(len(self.losses), n, self.rotations.device)
        self.candidates, self.candidate_shifts = table.candidates, table.candidate_shifts
        self.candidate_losses, self.winner = table.candidate_losses, table.winner
        self.candidate_classes = table.candidate_classes
        self.turns = turns

    def forget_candidates(self, part: Tensor) -> None:
        """Forget the candidates of some particles, bool, (n,), in place."""
        self.candidate_losses[part], self.winner[part] = torch.nan, -1

    def head_share(self, used: Tensor) -> tuple[float, ...]:
        """Return the share of the used particles (n,) seen so far that each head has won, (M,)."""
        seen = self.winner[used & (self.winner >= 0)] // self.turns
        counts = torch.bincount(seen, minlength=self.candidate_losses.shape[1] // self.turns)
        return tuple((counts / max(len(seen), 1)).tolist())

    def class_share(self, used: Tensor) -> tuple[float, ...]:
        """Return the share of the used particles (n,) that are of each class; none of one map."""
        if self.n_classes == 1:
            return ()
        counts = torch.bincount(self.classes[used], minlength=self.n_classes)
        return tuple((counts / counts.sum().clamp(min=1)).tolist())

    def go_back_to(self, state: dict[str, Tensor]) -> None:
        """Take up an earlier :meth:`state`; what has been said by hand since stays said."""
        by_hand = self.by_hand
        self.load(state)
        self.by_hand = by_hand
        self._heed()

    def load(self, state: dict[str, Tensor]) -> None:
        """Restore :meth:`state`, in place."""
        state = with_hand(state)
        vars(self).update({name: tensor.clone() for name, tensor in state.items()})
        # earlier versions had one candidate of each head
        self.turns = int(state.get("turns", 1))

    def state(self) -> dict[str, Tensor]:
        """Return the tensors by name, for a checkpoint."""
        return vars(self) | {"turns": torch.tensor(self.turns)}

    def compact_state(self) -> dict[str, Tensor]:
        """Return :meth:`state` without the candidates: in their place stand those of nobody seen.

        These are one particle's for all of them, which takes no room on disk.
        """
        n, heads = self.candidate_losses.shape
        nobody = self.empty(1, heads, self.rotations.device)
        candidates = (
            *("candidates", "candidate_shifts"),
            *("candidate_losses", "candidate_classes"),
        )
        shared = {name: getattr(nobody, name)[:, :1] for name in candidates}
        return self.state() | {
            name: value.expand(n, heads, *value.shape[2:]) for name, value in shared.items()
        }


def with_hand(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a state with what earlier versions did not have: memberships that are said by hand."""
    if "by_hand" in state:
        return state
    membership = state["membership"]
    by_hand = torch.full_like(membership, OPEN, dtype=torch.int8)
    return state | {"found_membership": membership, "by_hand": by_hand}
