"""Point groups, by RELION's names and with RELION's axes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial.transform import Rotation

from napari_cryospin.engine.symmetry_names import symmetry_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

# scipy has two-fold axes of T along x, y, z; RELION has a three-fold one along z and a two-fold one
# in the plane of y and z
_T_AXES = np.array(
    [
        [-1 / np.sqrt(2), 1 / np.sqrt(2), 0],
        [-1 / np.sqrt(6), -1 / np.sqrt(6), 2 / np.sqrt(6)],
        [1 / np.sqrt(3), 1 / np.sqrt(3), 1 / np.sqrt(3)],
    ]
)
# scipy's icosahedron is I1; I2 is the same a quarter turn further about z
_QUARTER_TURN = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])


def point_group(name: str) -> NDArray[np.float64]:
    """Return the rotations of a point group, the identity among them, shape (g, 3, 3).

    A map has the symmetry if it is the same at ``r`` and at ``S r`` for every S, with r in
    (x, y, z). The axes are RELION's: the main axis of Cn and Dn along z, a two-fold axis of Dn
    along x; a three-fold axis of T along z, with a two-fold one in the plane of y and z; the
    four-fold axes of O along x, y, z; two-fold axes of I along x, y, z, with the five-fold axes
    nearest to z in the plane of y and z (I1) or of x and z (I2, which I means).

    Parameters
    ----------
    name
        C4, D2, T, O, I, I1, I2 and the like; small letters will do.

    Raises
    ------
    InputError
        If there is no such group.
    """
    word = symmetry_name(name)
    if word[0] in "CD":
        return np.asarray(Rotation.create_group(word, axis="Z").as_matrix())
    group = Rotation.create_group(word[0]).as_matrix()
    frames = {"T": _T_AXES, "I": _QUARTER_TURN, "I2": _QUARTER_TURN}
    frame = frames.get(word, np.eye(3))
    return np.asarray(frame @ group @ frame.T)
