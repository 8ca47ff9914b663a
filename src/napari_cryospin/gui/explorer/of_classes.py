"""Which class a particle is of, and which map its posterior is therefore against."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_cryospin.gui.colours import class_colour, class_label

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_cryospin.engine.events import PosesUpdated


def class_of(poses: PosesUpdated | None, particle: int) -> int:
    """Return the class of a particle, from 0; 0 where there is one map."""
    return 0 if poses is None or poses.classes is None else int(poses.classes[particle])


def rows_of_class(poses: PosesUpdated | None, number: int) -> NDArray[np.int64] | None:
    """Return the rows of the particles in use of a class, from 0, (m,); None of one map."""
    if poses is None or poses.classes is None:
        return None
    return np.flatnonzero(poses.used & (poses.classes == number))


def told_of_class(number: int) -> str:
    """Return in words which particles the figures of a page are of."""
    return (
        f"Particles of class {class_label(number)}, relative to its map; Class shown, in the "
        "cryoSPIN dock, chooses another."
    )


def class_words(poses: PosesUpdated | None, particle: int) -> str:
    """Return in words which class a particle is of, with the probability of each; "" of one."""
    if poses is None or poses.classes is None or poses.class_weights is None:
        return ""
    own, weights = int(poses.classes[particle]), poses.class_weights[particle]
    others = " ".join(
        f'<span style="color: {class_colour(n)}">■</span>&nbsp;{class_label(n)}:&nbsp;{weight:.2f}'
        for n, weight in enumerate(weights)
    )
    return f"<b>Class {class_label(own)}</b> ({weights[own]:.2f}) · {others}"
