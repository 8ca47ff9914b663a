"""Write particle tables as cryoSPARC ``.cs`` files: its field names, types and shapes."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.spatial.transform import Rotation

from napari_cryospin.engine.data.original import CryosparcOriginal
from napari_cryospin.engine.files import replacing

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from napari_cryospin.engine.data.table import ParticleTable

    Fields = dict[str, NDArray[Any]]

_ALIGNMENTS = "alignments3D/"
_USER_MAY_GIVE = ("blob/psize_A", "ctf/accel_kv", "ctf/cs_mm", "ctf/amp_contrast")
_TOLERANCE = 1e-5
# what a refinement measures of its poses, and nobody has measured of these
_NOT_MEASURED = (
    *("error", "error_min", "resid_pow", "slice_pow", "image_pow", "cross_cor"),
    *("weight", "pose_ess", "shift_ess"),
)


def write_cs(
    path: Path,
    table: ParticleTable,
    rows: NDArray[np.int64],
    *,
    rotations: ArrayLike,
    shifts: ArrayLike,
    half_set: ArrayLike | None = None,
    scales: ArrayLike | None = None,
) -> None:
    """Write rows of a particle table with their poses, as cryoSPARC does.

    Of a cryoSPARC table all fields and uids are kept, and ``alignments3D`` is replaced or added;
    what it held of another alignment (errors, powers) becomes 0. Of other tables ``uid``, ``blob``
    and, where it is known, ``ctf`` are made; uids depend on image file and number only, so that
    they are the same each time. The file appears complete or not at all.

    Parameters
    ----------
    path
        The ``.cs`` file, a numpy array with a row per particle.
    table
        The particle table that the rows are from.
    rows
        Rows of the table, shape (n,).
    rotations
        RELION Euler matrices, shape (n, 3, 3).
    shifts
        Origin shifts (x, y), Å, shape (n, 2).
    half_set
        Halves (1 or 2), shape (n,); by default those of the table, or else alternating.
    scales
        ``alignments3D/alpha``: what the map is multiplied with to fit each image, shape (n,).
    """
    rows = np.asarray(rows, dtype=np.int64)
    if half_set is None:
        alternating = np.arange(len(rows)) % 2 + 1
        half_set = alternating if table.half_set is None else table.half_set[rows]
    original = table.original
    if isinstance(original, CryosparcOriginal):
        fields = {name: values[rows] for name, values in original.fields.items()}
        fields |= _as_used(fields, _blob(table, rows) | _ctf(table, rows))
        fields["blob/sign"] = _sign(table, len(rows))
    else:
        fields = _blob(table, rows) | _ctf(table, rows)
    pixel_sizes = np.array([group.pixel_size for group in table.optics], np.float32)
    alignments = _alignments(
        np.asarray(rotations, np.float64),
        np.asarray(shifts, np.float64),
        np.asarray(half_set, np.uint32) - np.uint32(1),
        np.ones(len(rows)) if scales is None else np.asarray(scales),
        pixel_sizes[table.optics_index[rows]],
    )
    for name in fields:
        if name.startswith(_ALIGNMENTS) and name not in alignments:
            fields[name] = np.zeros_like(fields[name])
    _write(Path(path), fields | alignments)


def _as_used(fields: Fields, used: Fields) -> Fields:
    """Return what the user gave in place of the table's own values."""
    found: Fields = {}
    for name in _USER_MAY_GIVE:
        if name in used and not (
            name in fields and np.allclose(fields[name], used[name], rtol=_TOLERANCE, atol=0)
        ):
            found[name] = used[name]
    return found


def _write(path: Path, fields: Fields) -> None:
    columns = [(name, values.dtype, values.shape[1:]) for name, values in fields.items()]
    array = np.empty(len(next(iter(fields.values()))), columns)
    for name, values in fields.items():
        array[name] = values
    # through a file: np.save adds .npy to any other name
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def _alignments(
    rotations: NDArray[np.float64],
    shifts: NDArray[np.float64],
    split: NDArray[np.uint32],
    scales: NDArray[Any],
    pixel_sizes: NDArray[np.float32],
) -> Fields:
    n = len(rotations)
    # RELION's Euler matrix is the transpose of the rotation that cryoSPARC stores
    poses = -Rotation.from_matrix(rotations).as_rotvec()
    fields: Fields = {
        "split": split,
        "shift": (shifts / pixel_sizes[:, None]).astype(np.float32),
        "pose": poses.astype(np.float32),
        "psize_A": pixel_sizes,
    }
    fields |= {name: np.zeros(n, np.float32) for name in _NOT_MEASURED}
    fields |= {
        "alpha": scales.astype(np.float32),
        "class_posterior": np.ones(n, np.float32),
        "class": np.zeros(n, np.uint32),
        "class_ess": np.ones(n, np.float32),
    }
    return {_ALIGNMENTS + name: values for name, values in fields.items()}


def _sign(table: ParticleTable, n: int) -> NDArray[np.float32]:
    return np.full(n, 1 if table.particles_are_white else -1, np.float32)


def _blob(table: ParticleTable, rows: NDArray[np.int64]) -> Fields:
    names = np.array([os.fsencode(stack.absolute()) for stack in table.stacks])
    index, group = table.image_index[rows], table.optics_index[rows]
    boxes = np.array([optics.box for optics in table.optics], np.uint32)[group]
    pixel_sizes = np.array([optics.pixel_size for optics in table.optics], np.float32)
    stems = [stack.name for stack in table.stacks]
    return {
        "uid": _uids([stems[i] for i in table.stack_index[rows]], index),
        "blob/path": names[table.stack_index[rows]],
        "blob/idx": index.astype(np.uint32),
        "blob/shape": np.stack((boxes, boxes), 1),
        "blob/psize_A": pixel_sizes[group],
        "blob/sign": _sign(table, len(rows)),
    }


def _uids(names: list[str], index: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return different numbers, the same each time, from the names and numbers of images."""
    seen: dict[int, None] = {}
    for name, image in zip(names, index.tolist(), strict=True):
        attempt = 0
        # an image that is there twice is two particles
        while (uid := _hash(f"{image}@{name}", attempt)) in seen:
            attempt += 1
        seen[uid] = None
    return np.fromiter(seen, np.uint64, len(seen))


def _hash(text: str, attempt: int) -> int:
    digest = hashlib.blake2b(os.fsencode(f"{text}#{attempt}"), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def _ctf(table: ParticleTable, rows: NDArray[np.int64]) -> Fields:
    if table.defocus is None:
        return {}
    n, group, defocus = len(rows), table.optics_index[rows], table.defocus
    lens = np.array(
        [(g.voltage, g.spherical_aberration, g.amplitude_contrast) for g in table.optics],
        np.float32,
    )[group].T
    fields: Fields = {
        "type": np.full(n, b"imported"),
        "exp_group_id": group.astype(np.uint32),
        **dict(zip(("accel_kv", "cs_mm", "amp_contrast"), lens, strict=True)),
        "df1_A": defocus.u[rows],
        "df2_A": defocus.v[rows],
        "df_angle_rad": np.radians(defocus.angle[rows]),
        "phase_shift_rad": np.radians(defocus.phase_shift[rows]),
        "scale": np.ones(n, np.float32),
        "scale_const": np.zeros(n, np.float32),
        **{name: np.zeros((n, 2), np.float32) for name in ("shift_A", "tilt_A", "trefoil_A")},
        **{name: np.zeros((n, 4), np.float32) for name in ("tetra_A", "anisomag")},
        "bfactor": np.zeros(n, np.float32),
    }
    return {f"ctf/{name}": values for name, values in fields.items()}
