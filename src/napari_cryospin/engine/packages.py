"""Packages that only some parts need: a sentence says what to install where one is missing."""

from __future__ import annotations

from importlib.util import find_spec

from napari_cryospin.engine.errors import InputError


class MissingPackage(InputError, ImportError):
    """A package that an extra of this one brings is not installed."""


def require_packages(who_needs: str, *needed: tuple[str, ...]) -> None:
    """Refuse to go on without packages; none of them is imported.

    Parameters
    ----------
    who_needs
        Beginning of a sentence that the name of a package goes on.
    *needed
        Names to import; of each tuple one is enough.

    Raises
    ------
    MissingPackage
        If none of a tuple is installed.
    """
    for names in needed:
        if all(find_spec(name) is None for name in names):
            raise MissingPackage(
                f"{who_needs} {' or '.join(names)}, which is not installed here: "
                'pip install "napari-cryospin[all]" brings it.'
            )
