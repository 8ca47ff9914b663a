"""cryoSPARC particle tables (.cs), with or without a passthrough file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial.transform import Rotation

from napari_cryospin.engine.data.checks import check_table, choose_pixel_size
from napari_cryospin.engine.data.cs_fields import LENS, check_fields, read_fields, with_lens
from napari_cryospin.engine.data.given import OPTIONS, Given
from napari_cryospin.engine.data.locate import StackFinder, is_file
from napari_cryospin.engine.data.original import CryosparcOriginal
from napari_cryospin.engine.data.stack import read_header, with_missing_stacks
from napari_cryospin.engine.data.table import Defocus, OpticsGroup, ParticleTable
from napari_cryospin.engine.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_cryospin.engine.data.cs_fields import Fields

_BLOB = ("blob/path", "blob/idx", "blob/shape", "blob/psize_A")
_DEFOCUS = ("ctf/df1_A", "ctf/df2_A", "ctf/df_angle_rad")
_ABERRATIONS = (
    "ctf/shift_A",
    "ctf/tilt_A",
    "ctf/trefoil_A",
    "ctf/tetra_A",
    "ctf/anisomag",
    "ctf/bfactor",
)


def read_cs(
    path: Path, passthrough: Path | None = None, given: Given | None = None
) -> ParticleTable:
    """Read a cryoSPARC particle table; the image files need not be there, a note tells.

    Parameters
    ----------
    path
        The ``.cs`` file.
    passthrough
        The job's passthrough file, when the first does not hold all columns; rows are matched by
        ``uid``.
    given
        Where the images are, and values that win over those of the table.

    Raises
    ------
    InputError
        If a file is damaged or lacks what is needed; the message names the field.
    """
    path, given = Path(path), given or Given()
    fields = read_fields(path)
    if passthrough is not None:
        fields = _join(path, fields, passthrough)
    original = CryosparcOriginal(fields)
    fields = with_lens(fields)
    _require_blob(path, fields, passthrough)
    check_fields(path, fields)
    notes = _ignored(fields)
    names, stack_index = np.unique(_names(fields), return_inverse=True)
    stacks, moved = StackFinder(path, given.datadir).find([str(name) for name in names])
    notes += moved
    has_ctf = _has_ctf(path, fields, given, notes)
    optics, optics_index = _optics(fields, given, notes, has_ctf=has_ctf)
    pixel_sizes = np.array([group.pixel_size for group in optics])[optics_index]
    white = _particles_are_white(path, fields, notes)
    table = ParticleTable(
        source=path,
        stacks=stacks,
        stack_index=stack_index.reshape(-1),
        image_index=fields["blob/idx"].astype(np.int64),
        optics=optics,
        optics_index=optics_index,
        defocus=_defocus(fields) if has_ctf else None,
        rotations=_rotations(fields),
        shifts=_shifts(fields, pixel_sizes),
        half_set=_half_set(fields),
        particles_are_white=white,
        original=original,
    )
    if given.pixel_size is None:
        notes += _header_notes(table)
    return check_table(with_missing_stacks(replace(table, notes=tuple(dict.fromkeys(notes)))))


def _join(path: Path, fields: Fields, passthrough: Path) -> Fields:
    """Add the columns of the passthrough file, in the row order of the first file."""
    more = read_fields(passthrough)
    for file, columns in ((path, fields), (passthrough, more)):
        if "uid" not in columns:
            raise InputError(f"{file} has no column uid to match the two files by.")
    order = np.argsort(more["uid"], kind="stable")
    rows = np.searchsorted(more["uid"][order], fields["uid"]).clip(max=len(order) - 1)
    rows = order[rows]
    absent = int((more["uid"][rows] != fields["uid"]).sum())
    if absent:
        raise InputError(
            f"{passthrough} lacks {absent} of the {len(rows)} particles of {path}; choose the "
            "passthrough file of the same job."
        )
    return {name: values[rows] for name, values in more.items()} | fields


def _require_blob(path: Path, fields: Fields, passthrough: Path | None) -> None:
    missing = [name for name in _BLOB if name not in fields]
    if missing:
        where = f"{path} and its passthrough file have" if passthrough else f"{path} has"
        remedy = "it is not a particle table" if passthrough else "give the job's passthrough file"
        raise InputError(f"{where} no column {missing[0]} to find the images by; {remedy}.")


def _names(fields: Fields) -> NDArray[np.str_]:
    raw = fields["blob/path"]
    texts = raw.astype(np.str_) if raw.dtype.kind == "U" else _decoded(raw)
    return np.char.lstrip(texts, ">")


def _decoded(raw: NDArray[np.generic]) -> NDArray[np.str_]:
    try:
        return np.char.decode(raw.astype(np.bytes_), "utf-8")
    except UnicodeDecodeError:
        return np.char.decode(raw.astype(np.bytes_), "latin-1")


def _has_ctf(path: Path, fields: Fields, given: Given, notes: list[str]) -> bool:
    if not any(name in fields for name in _DEFOCUS):
        notes.append(
            "The table has no ctf columns: the images are used without CTF (a passthrough file "
            "may have them)."
        )
        return False
    missing = [name for name in _DEFOCUS if name not in fields]
    lacking = {
        name: OPTIONS[field]
        for name, field in LENS.items()
        if name not in fields and given.value(field) is None
    }
    if missing or lacking:
        remedy = "give the job's passthrough file"
        remedy += f", or {', '.join(lacking.values())}" if not missing else ""
        raise InputError(
            f"{path}: the CTF is not complete, {', '.join([*missing, *lacking])} missing; {remedy}."
        )
    return True


def _optics(
    fields: Fields, given: Given, notes: list[str], *, has_ctf: bool
) -> tuple[tuple[OpticsGroup, ...], NDArray[np.int64]]:
    """Return the groups of particles with the same imaging conditions."""
    exposure = fields.get("ctf/exp_group_id", np.zeros(len(fields["blob/idx"])))
    lens = [name for name in LENS if has_ctf and name in fields]
    columns = [exposure, fields["blob/psize_A"], fields["blob/shape"][:, 0]]
    columns += [fields[name] for name in lens]
    values, index = np.unique(
        np.stack([np.asarray(c, np.float64) for c in columns], 1), axis=0, return_inverse=True
    )
    groups = tuple(
        OpticsGroup(
            f"opticsGroup{i + 1}",
            row[1],
            int(row[2]),
            **{LENS[name]: value for name, value in zip(lens, row[3:], strict=True)},
        )
        for i, row in enumerate(values.tolist())
    )
    return given.over(groups, notes), index.reshape(-1)


def _defocus(fields: Fields) -> Defocus:
    u, v, angle = (fields[name].astype(np.float32) for name in _DEFOCUS)
    phase = fields.get("ctf/phase_shift_rad", np.zeros(len(u), np.float32))
    return Defocus(u, v, np.degrees(angle), np.degrees(phase.astype(np.float32)))


def _rotations(fields: Fields) -> NDArray[np.float64] | None:
    if "alignments3D/pose" not in fields:
        return None
    vectors = fields["alignments3D/pose"].astype(np.float64)
    # RELION's Euler matrix is the transpose of the rotation that cryoSPARC stores
    return np.asarray(Rotation.from_rotvec(-vectors).as_matrix())


def _shifts(fields: Fields, pixel_sizes: NDArray[np.float64]) -> NDArray[np.float64] | None:
    if "alignments3D/shift" not in fields:
        return None
    pixel_sizes = fields.get("alignments3D/psize_A", pixel_sizes).astype(np.float64)
    return fields["alignments3D/shift"].astype(np.float64) * pixel_sizes[:, None]


def _half_set(fields: Fields) -> NDArray[np.int64] | None:
    split = fields.get("alignments3D/split")
    return None if split is None else split.astype(np.int64) + 1


def _particles_are_white(path: Path, fields: Fields, notes: list[str]) -> bool:
    if "blob/sign" not in fields:
        notes.append("The table has no blob/sign: particles are taken to be white on disk.")
        return True
    signs = np.unique(np.sign(fields["blob/sign"]))
    if len(signs) > 1:
        raise InputError(f"{path}: blob/sign is not the same for all particles; select one sign.")
    return bool(signs[0] > 0)


def _ignored(fields: Fields) -> list[str]:
    found = [name for name in _ABERRATIONS if name in fields and np.any(fields[name])]
    return [f"Not modelled and ignored: {', '.join(found)}."] if found else []


def _header_notes(table: ParticleTable) -> list[str]:
    """Return a note where the pixel size is not that in the first image file's header."""
    notes: list[str] = []
    stack = table.stacks[table.stack_index[0]]
    if is_file(stack):
        pixel_size = table.optics[table.optics_index[0]].pixel_size
        in_header = read_header(stack).pixel_size
        choose_pixel_size(pixel_size, in_header, table.source, stack, "blob/psize_A", notes)
    return notes
