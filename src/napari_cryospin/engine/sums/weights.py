"""Probabilities from their logarithms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

# poses so many nats behind the best one count as being so many behind: they carry nothing, and
# products of numbers that are too small for a float are slow
_NEGLIGIBLE = 60.0


def normalised(log_p: Tensor) -> tuple[Tensor, Tensor]:
    """Return the probabilities of poses, and the logarithm of the sum of what was given.

    Parameters
    ----------
    log_p
        Logarithms of what the probabilities are proportional to, (b, …).

    Returns
    -------
    tuple
        Probabilities, (b, …), and logarithms, (b,).
    """
    (weights,), total = normalised_together([log_p])
    return weights, total


def normalised_together(log_p: list[Tensor]) -> tuple[list[Tensor], Tensor]:
    """Return what :func:`normalised` does, for points that lie in several tensors (b, …)."""
    points = [part.flatten(1) for part in log_p]
    best = torch.stack([part.amax(1) for part in points]).amax(0)[:, None]
    weights = [(part - best).clamp_(min=-_NEGLIGIBLE).exp_() for part in points]
    total = torch.stack([part.sum(1) for part in weights]).sum(0)[:, None]
    found = [w.div_(total).view_as(part) for w, part in zip(weights, log_p, strict=True)]
    return found, (best + total.log())[:, 0]
