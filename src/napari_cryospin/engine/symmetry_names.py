"""The names of point groups, as RELION has them; what they are is said by ``geometry.symmetry``."""

from __future__ import annotations

import re

from napari_cryospin.engine.errors import InputError

_MOST_FOLD = 100
_NAME = re.compile(r"(?P<kind>[CD])(?P<fold>[1-9]\d{0,2})|T|O|I[12]?")


def symmetry_name(name: str) -> str:
    """Return the name of a point group in capital letters.

    Raises
    ------
    InputError
        If there is no such group.
    """
    found = _NAME.fullmatch(name.strip().upper())
    if found is None or int(found["fold"] or 1) > _MOST_FOLD:
        raise InputError(
            f"There is no symmetry {name}: choose Cn or Dn (n up to {_MOST_FOLD}), T, O, I1 or I2."
        )
    return found.group()
