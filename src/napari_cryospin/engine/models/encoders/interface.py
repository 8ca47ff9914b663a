"""What every encoder does: it looks at particles, and its heads propose poses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.geometry.poses import Poses


class Encoder(nn.Module, ABC):
    """A network with M heads, asked at S in-plane turns of each image.

    A particle has K = M · S candidates, those of the first head first: candidate ``h · S + s`` is
    what head h says of the image turned by s steps, turned back.

    Parameters
    ----------
    box
        Side D of the images, pixels.
    heads
        Number of heads M.
    turns
        Number of in-plane turns S.

    Attributes
    ----------
    gives_shifts
        Whether the heads give in-plane shifts; else particles are centred before it looks.
    """

    gives_shifts: bool

    def __init__(self, box: int, heads: int, turns: int) -> None:
        super().__init__()
        self.box, self.heads, self.turns = box, heads, turns
        self.register_buffer("frequencies", torch.zeros(0, 2), persistent=False)

    frequencies: Tensor
    """Frequencies (kx, ky) at which it asks for the CTF, in units of 1/box, (P, 2)."""

    @property
    def candidates(self) -> int:
        """Number K of poses that it proposes of a particle."""
        return self.heads * self.turns

    @abstractmethod
    def look(self, images: Tensor, ctf: Tensor) -> Tensor:
        """Return what is seen of images; it holds nothing that is learned.

        Parameters
        ----------
        images
            Standardised images, (n, D, D).
        ctf
            Their CTFs at ``frequencies``, (n, P).
        """

    def centred(self, seen: Tensor, origins: Tensor) -> Tensor:
        """Return what is seen of images once they are moved by origin shifts, pixels, (n, 2)."""
        return seen

    @abstractmethod
    def forward(self, seen: Tensor, turn: Tensor | None = None) -> Poses:
        """Return candidate poses; shifts are beside the origins that the images were centred by.

        Parameters
        ----------
        seen
            What :meth:`look` or :meth:`centred` returned, for n images.
        turn
            Turn of each, (n,), in 0 … S − 1, as a whole number; None asks at all of them.

        Returns
        -------
        Poses
            (n, K), or (n, M) at one turn each.
        """
