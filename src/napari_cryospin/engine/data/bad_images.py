"""Images that cannot be used are set aside, and the dust of others is replaced, as they are read.

Thresholds are relative to what is usual in the stack, told by medians: a few images cannot move
them, and stacks of any noise, contrast and molecule have their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_cryospin.engine.data.dust import replace_dust
from napari_cryospin.engine.data.set_aside import Reason, SetAside
from napari_cryospin.engine.data.usual import height, is_number, level
from napari_cryospin.engine.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from napari_cryospin.engine.data.table import ParticleTable
    from napari_cryospin.engine.data.usual import Usual

# images that tell what is usual
_SAMPLE = 64
# dust is so many times higher than images usually are, and at least so many standard deviations
_DUST, _LEAST_DUST = 3.0, 10.0
# an image with a larger share of dust, or a smaller share of pixels that differ, is lost
_MOST_DUST, _LEAST_CONTENT = 0.1, 1e-3
# At working size, good images are at most 2.2 times as high and 2.6 times as strong as is usual in
# their stack (eight molecules at signal-to-noise ratios of 0.03 to 10, and real ones). Beads that
# do harm are at least ten times as high.
_HIGHEST, _STRONGEST = 4.0, 5.0
# optics groups with fewer images are judged by what is usual in the whole stack, more mildly: their
# pixels may hold more signal
_FEWEST, _MILDER = 20, 3.0


class Inspection:
    """Judges images as they are read, and remembers what it found.

    Parameters
    ----------
    table
        The particle table.
    rows
        Rows of the table that were to be used, (n,).

    Attributes
    ----------
    reasons
        A :class:`~.set_aside.Reason` for each, (n,).
    replaced
        Number of pixels that were replaced in each, (n,).
    """

    def __init__(self, table: ParticleTable, rows: NDArray[np.int64]) -> None:
        self._table, self._rows = table, rows
        self.reasons = np.full(len(rows), int(Reason.NONE))
        self.replaced = np.zeros(len(rows), dtype=np.int64)
        self._unit = torch.ones(len(rows))
        self._height, self._power = torch.zeros(len(rows)), torch.zeros(len(rows))

    def mend(
        self, part: NDArray[np.int64], raw: Tensor, usual: Usual, diameter: float
    ) -> tuple[NDArray[np.int64], Tensor]:
        """Replace dust, and leave out what cannot be used.

        Parameters
        ----------
        part
            Which of the rows, (m,).
        raw
            Their images, (m, N, N); changed in place.
        usual
            What is usual among them.
        diameter
            Diameter of the particles, pixels.

        Returns
        -------
        part, raw
            Those that can be used.
        """
        lowest, highest = raw.flatten(1).aminmax(dim=1)
        lacking = ~(is_number(lowest) & is_number(highest))
        missing = {i: self._take_missing(part[i], raw[i]) for i in _places(lacking)}
        centre, noise = level(raw, diameter)
        unit = self._unit[part] = usual.unit(noise)
        threshold = max(_LEAST_DUST, _DUST * usual.height) * unit
        suspect = lacking | (height(lowest, highest, centre) > threshold)
        for i in _places(suspect):
            raw[i] = missing.get(i, raw[i])
            self._mend_one(part[i], raw[i], float(centre[i]), float(noise[i]), float(threshold[i]))
            lowest[i], highest[i] = raw[i].aminmax()
        usable = self.reasons[part] == Reason.NONE
        blank = _blank(raw, lowest, highest, centre, noise).numpy() & usable
        self.reasons[part[blank]] = Reason.BLANK
        usable &= ~blank
        return (part, raw) if usable.all() else (part[usable], raw[torch.from_numpy(usable)])

    def _take_missing(self, row: int, image: Tensor) -> Tensor:
        """Fill values that are no numbers, for now; return the image as it was."""
        before, finite = image.clone(), is_number(image)
        if (~finite).sum() > _MOST_DUST * image.numel():
            self.reasons[row] = Reason.NOT_FINITE
        image[~finite] = image[finite].median() if finite.any() else 0
        return before

    def _mend_one(
        self, row: int, image: Tensor, centre: float, noise: float, threshold: float
    ) -> None:
        if self.reasons[row] != Reason.NONE:
            return
        seed = int(self._table.image_index[self._rows[row]])
        mended, replaced = replace_dust(image.numpy(), centre, noise, threshold, seed)
        if replaced > _MOST_DUST * image.numel():
            self.reasons[row] = Reason.DUST
        image.copy_(torch.from_numpy(mended))
        self.replaced[row] = replaced

    def measure(self, part: NDArray[np.int64], images: Tensor, scale: Tensor) -> None:
        """Remember heights and powers of images at working size.

        Parameters
        ----------
        part
            Which of the rows, (m,).
        images
            Shape (m, D, D).
        scale
            What the raw images have been divided by, (m,).
        """
        unit = (scale / self._unit[part]).float()
        flat = images.flatten(1)
        self._height[part] = flat.abs().amax(1) * unit
        self._power[part] = flat.square().mean(1) * unit.square()

    def set_beads_aside(self, groups: NDArray[np.int64]) -> None:
        """Set aside images that outshine what is usual in their optics group, (n,)."""
        here = self.reasons == Reason.NONE
        for group in np.unique(groups[here]):
            members = here & (groups == group)
            few = members.sum() < min(_FEWEST, here.sum())
            judges, mildness = torch.from_numpy(here if few else members), _MILDER if few else 1.0
            outshines = torch.zeros(len(here), dtype=torch.bool)
            for value, most in ((self._height, _HIGHEST), (self._power, _STRONGEST)):
                outshines |= value > mildness * most * value[judges].median()
            self.reasons[members & outshines.numpy()] = Reason.BEAD

    def kept(self) -> NDArray[np.int64]:
        """Return which of the rows are used, (k,).

        Raises
        ------
        InputError
            If so many are set aside that next to none is left.
        """
        kept = np.flatnonzero(self.reasons == Reason.NONE)
        if len(kept) < min(2, len(self._rows)):
            raise InputError(
                f"{self._table.source}: {self.set_aside().sentence()}, and too few are left for a "
                "map; check the image files, or extract the particles again."
            )
        return kept

    def set_aside(self) -> SetAside:
        """Return which particles are set aside."""
        places = np.flatnonzero(self.reasons != Reason.NONE)
        return SetAside(self._rows[places], self.reasons[places], len(self._rows))

    def notes(self) -> list[str]:
        """Return sentences for the user."""
        aside = self.set_aside()
        mended = self.replaced[self.reasons == Reason.NONE]
        said = [aside.sentence()] if len(aside.rows) else []
        if mended.any():
            images, pixels = int((mended > 0).sum()), int(mended.sum())
            said.append(
                f"{images} image{'s' * (images > 1)} had wild pixels replaced ({pixels} "
                f"pixel{'s' * (pixels > 1)})"
            )
        notes = ["; ".join(said) + "."] if said else []
        return notes + ([aside.warning] if aside.warning else [])


def sample(members: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Return members, at most so many, evenly spread, that tell what is usual among them."""
    number = min(len(members), most, _SAMPLE)
    return members[np.linspace(0, len(members) - 1, number).astype(np.int64)]


def _places(which: Tensor) -> list[int]:
    places: list[int] = which.nonzero().flatten().tolist()
    return places


def _blank(raw: Tensor, lowest: Tensor, highest: Tensor, centre: Tensor, noise: Tensor) -> Tensor:
    """Return which images (n, N, N) hold one value, up to rounding and all but a few pixels."""
    rounding = 4 * torch.finfo(raw.dtype).eps * torch.maximum(lowest.abs(), highest.abs())
    blank: Tensor = highest - lowest <= rounding
    for i in _places(noise == 0):
        blank[i] |= bool((raw[i] != centre[i]).float().mean() < _LEAST_CONTENT)
    return blank
