"""Folders that options name."""

from __future__ import annotations

from pathlib import Path

from napari_cryospin.engine.errors import InputError

# what an empty word gives, which a path would take for the present folder
NO_FOLDER = Path()


def named_folder(word: str) -> Path:
    """Return the folder that a word names."""
    return Path(word) if word else NO_FOLDER


def require_named(out: Path | None) -> None:
    """Raise InputError for the empty word."""
    if out is NO_FOLDER:
        raise InputError("No folder was named: give one with --out.")
