"""The blocks that a written STAR file begins from: the user's own, or new ones of what is known.

RELION 3.1 and later start on them: what its programs cannot do without (an optics block, the sizes
of the images, micrograph names) is added where the table lacks it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from napari_cryospin.engine.data.original import CryosparcOriginal, StarOriginal
from napari_cryospin.engine.data.texts import numbers_of, rows_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from napari_cryospin.engine.data.table import OpticsGroup, ParticleTable

OPTICS, PARTICLES = "optics", "particles"
_GROUP = "rlnOpticsGroup"
# RELION's programs do not start without voltage and Cs. With an amplitude contrast of 1 and no Cs,
# its CTF at no defocus is 1: the images are taken as they are.
_NO_LENS = {"rlnVoltage": 300.0, "rlnSphericalAberration": 0.0, "rlnAmplitudeContrast": 1.0}
_LENS: dict[str, Callable[[OpticsGroup], float | None]] = {
    "rlnVoltage": lambda group: group.voltage,
    "rlnSphericalAberration": lambda group: group.spherical_aberration,
    "rlnAmplitudeContrast": lambda group: group.amplitude_contrast,
}
_SIZES: dict[str, Callable[[OpticsGroup], Any]] = {
    "rlnImagePixelSize": lambda group: group.pixel_size,
    "rlnImageSize": lambda group: group.box,
    "rlnImageDimensionality": lambda _: 2,
}
# what RELION 3.1 reads in the optics block and RELION 3.0 wrote for every particle
_OF_A_GROUP = (
    "rlnBeamTiltX",
    "rlnBeamTiltY",
    "rlnMtfFileName",
    "rlnMicrographOriginalPixelSize",
    "rlnMagMat00",
    "rlnMagMat01",
    "rlnMagMat10",
    "rlnMagMat11",
    "rlnOddZernike",
    "rlnEvenZernike",
    "rlnCtfDataAreCtfPremultiplied",
    "rlnCtfDataArePhaseFlipped",
)
_TOLERANCE = 1e-5


def first_blocks(
    table: ParticleTable, rows: NDArray[np.int64]
) -> tuple[dict[str, pd.DataFrame], str | None]:
    """Return the blocks of a STAR file with these rows of a table, before poses are written.

    Parameters
    ----------
    table
        The particle table.
    rows
        Rows of the table, shape (n,).

    Returns
    -------
    blocks
        By name, with ``optics`` and ``particles``; the user's own values are texts.
    remark
        A sentence where values had to be made up for RELION to start, or None.
    """
    original = table.original
    if isinstance(original, StarOriginal):
        blocks = _own_blocks(original, table, rows)
    else:
        blocks = {OPTICS: pd.DataFrame(), PARTICLES: _new_particles(table, rows)}
    if not len(blocks[OPTICS]):
        blocks[OPTICS] = _new_optics(blocks[PARTICLES], table, rows)
    remark = _complete(blocks, table, rows)
    return blocks, remark


def _own_blocks(
    original: StarOriginal, table: ParticleTable, rows: NDArray[np.int64]
) -> dict[str, pd.DataFrame]:
    """Return the user's blocks in their order, with an optics block, empty where there is none."""
    blocks: dict[str, pd.DataFrame] = {}
    for name, frame in original.blocks.items():
        if name == original.particles:
            # before RELION 3.1 the block had another name, or none
            blocks.setdefault(OPTICS, original.blocks.get(OPTICS, pd.DataFrame()).copy())
            blocks[PARTICLES] = rows_of(frame, rows)
        else:
            blocks[name] = frame.copy()
    return blocks


def _new_particles(table: ParticleTable, rows: NDArray[np.int64]) -> pd.DataFrame:
    columns: dict[str, Any] = {
        "rlnImageName": [""] * len(rows),
        _GROUP: table.optics_index[rows] + 1,
    }
    if table.defocus is not None:
        columns |= {
            "rlnDefocusU": table.defocus.u[rows],
            "rlnDefocusV": table.defocus.v[rows],
            "rlnDefocusAngle": table.defocus.angle[rows],
            "rlnPhaseShift": table.defocus.phase_shift[rows],
        }
    if isinstance(table.original, CryosparcOriginal):
        columns |= _picked(table.original, rows)
    return pd.DataFrame(columns)


def _picked(original: CryosparcOriginal, rows: NDArray[np.int64]) -> dict[str, Any]:
    """Return the micrographs and where on them the particles are, as far as cryoSPARC says."""
    fields, names = original.fields, "location/micrograph_path"
    if names not in fields:
        return {}
    raw = fields[names][rows].tolist()
    texts = [x.decode("utf-8", "replace") if isinstance(x, bytes) else str(x) for x in raw]
    columns: dict[str, Any] = {"rlnMicrographName": [text.lstrip(">") for text in texts]}
    places = ("location/center_x_frac", "location/center_y_frac", "location/micrograph_shape")
    if all(name in fields for name in places):
        x, y, shape = (fields[name][rows].astype(np.float64) for name in places)
        columns |= {"rlnCoordinateX": x * shape[:, 1], "rlnCoordinateY": y * shape[:, 0]}
    return columns


def _new_optics(
    particles: pd.DataFrame, table: ParticleTable, rows: NDArray[np.int64]
) -> pd.DataFrame:
    """Return an optics block; particles keep group numbers of their own where these fit."""
    index = table.optics_index[rows]
    numbers = _numbers(particles)
    if numbers is None or any(len(np.unique(index[numbers == n])) > 1 for n in np.unique(numbers)):
        numbers = index + 1
        particles[_GROUP] = numbers
    groups, first = np.unique(numbers, return_index=True)
    columns = {_GROUP: groups, "rlnOpticsGroupName": [table.optics[index[i]].name for i in first]}
    for name in _OF_A_GROUP:
        if name in particles and all(
            particles[name][numbers == group].nunique() == 1 for group in groups
        ):
            columns[name] = particles[name].iloc[first].to_numpy()
    return pd.DataFrame(columns)


def _numbers(particles: pd.DataFrame) -> NDArray[np.int64] | None:
    if _GROUP not in particles:
        return None
    return _group_numbers(particles)


def _group_numbers(block: pd.DataFrame) -> NDArray[np.int64]:
    return numbers_of(block[_GROUP]).astype(np.int64)


def _complete(
    blocks: dict[str, pd.DataFrame], table: ParticleTable, rows: NDArray[np.int64]
) -> str | None:
    """Add what RELION needs and the blocks lack; return a remark on what was made up."""
    particles, optics = blocks[PARTICLES], blocks[OPTICS]
    _name_the_only_group(optics, particles)
    optics = blocks[OPTICS] = _used_first(optics, particles)
    numbers, own = _group_numbers(optics), _group_numbers(particles)
    used = {int(n): table.optics_index[rows[np.argmax(own == n)]] for n in np.unique(own)}
    # a group without particles is described as the first one: nobody reads it
    groups = [table.optics[used.get(int(n), table.optics_index[rows[0]])] for n in numbers]
    if "rlnOpticsGroupName" not in optics:
        optics["rlnOpticsGroupName"] = [group.name for group in groups]
    for name, of in (_LENS | _SIZES).items():
        values = [of(group) for group in groups]
        if name not in optics and None not in values:
            optics[name] = values
    for name, of in (_LENS | {"rlnImagePixelSize": _SIZES["rlnImagePixelSize"]}).items():
        _as_used(optics, particles, own, name, table, rows, of)
    if "rlnMicrographName" not in particles:
        # as objects: pandas' own texts hold no names that are not UTF-8
        names = np.array([stack.name for stack in table.stacks], dtype=object)
        particles["rlnMicrographName"] = pd.Series(names[table.stack_index[rows]], dtype=object)
    return _with_lens(optics)


def _name_the_only_group(optics: pd.DataFrame, particles: pd.DataFrame) -> None:
    """Give its number to the one optics group of a table, which may have left it out."""
    given = optics if _GROUP in optics else particles
    number = given[_GROUP].iloc[0] if _GROUP in given else 1
    for block in (optics, particles):
        if _GROUP not in block:
            block[_GROUP] = [number] * len(block)


def _used_first(optics: pd.DataFrame, particles: pd.DataFrame) -> pd.DataFrame:
    """Return the groups with particles before those without: RELION's reference fits the first."""
    used = np.isin(_group_numbers(optics), _group_numbers(particles))
    return optics.iloc[np.argsort(~used, kind="stable")].reset_index(drop=True)


def _as_used(
    optics: pd.DataFrame,
    particles: pd.DataFrame,
    own: NDArray[np.int64],
    name: str,
    table: ParticleTable,
    rows: NDArray[np.int64],
    of: Callable[[OpticsGroup], float | None],
) -> None:
    """Write a value that the user gave in place of the table's; equal ones keep their text.

    ``own`` are the group numbers of the particles, shape (n,).
    """
    values = np.array([np.nan if of(g) is None else of(g) for g in table.optics], np.float64)
    wanted = values[table.optics_index[rows]]
    if np.isnan(wanted).any():
        return
    if name in particles:
        stated = numbers_of(particles[name])
    elif name in optics:
        known = _group_numbers(optics)
        order = np.argsort(known)
        stated = numbers_of(optics[name])[order][np.searchsorted(known[order], own)]
    else:
        return
    if np.allclose(stated, wanted, rtol=_TOLERANCE, atol=0):
        return
    if name in particles:
        particles[name] = wanted
    else:
        first = {int(n): wanted[np.argmax(own == n)] for n in np.unique(own)}
        pairs = zip(_group_numbers(optics), optics[name], strict=True)
        optics[name] = pd.Series([first.get(int(n), text) for n, text in pairs], dtype=object)


def _with_lens(optics: pd.DataFrame) -> str | None:
    if all(name in optics for name in ("rlnVoltage", "rlnSphericalAberration")):
        return None
    made_up = {name: value for name, value in _NO_LENS.items() if name not in optics}
    for name, value in made_up.items():
        optics[name] = value
    return (
        f"{', '.join(made_up)} are not known: they are placeholders, without which RELION does not "
        "start, for a CTF of 1."
    )
