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


def parts_of(name: str) -> list[str]:
    """Return the point groups that are parts of one, each by its name, the largest first."""
    parts = {
        "T": ["D2", "C3", "C2"],
        "O": ["T", "D4", "D3", "D2", "C4", "C3", "C2"],
        "I": ["T", "D5", "D3", "D2", "C5", "C3", "C2"],
    }
    word = symmetry_name(name)
    if word[0] in parts:
        return parts[word[0]]
    fold = int(word[1:])
    folds = [n for n in range(fold, 1, -1) if fold % n == 0]
    if word[0] == "C":
        return [f"C{n}" for n in folds if n < fold]
    cyclic = {f"C{n}" for n in folds} | ({"C2"} if fold > 1 else set())
    dihedral = [f"D{n}" for n in folds if n < fold]
    return [*dihedral, *sorted(cyclic, key=lambda each: -int(each[1:]))]
