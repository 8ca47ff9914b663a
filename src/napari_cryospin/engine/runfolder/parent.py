"""``parent.json``: the run that a branch was made of, from which epoch, and what was changed."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.files import real, replacing
from napari_cryospin.engine.runfolder.reading import Unreadable, read_small

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_cryospin.engine.runfolder.folder import RunFolder

_LARGEST = 2**20


class Parent(BaseModel):
    """Which run a branch was made of; it may have gone since.

    Parameters
    ----------
    path, relative
        Its folder when the branch was made: absolute, and from the folder of the branch.
    run
        What tells the run from others wherever it is: a digest of its ``fingerprint.json``.
    epoch
        Epochs that both have in common.
    switch_at, switch_back, changes, symmetrise
        As for :func:`~napari_cryospin.engine.run.branching.make_branch`.
    """

    model_config = ConfigDict(frozen=True)

    path: Path
    relative: Path
    run: str
    epoch: int = Field(ge=0)
    switch_at: int | str | None = None
    switch_back: bool = False
    changes: dict[str, Any] = Field(default_factory=dict)
    symmetrise: str | None = None

    @classmethod
    def of(
        cls,
        parent: RunFolder,
        out: Path,
        epoch: int,
        switch_at: int | str | None,
        switch_back: bool,
        changes: Mapping[str, Any],
        symmetrise: str | None = None,
    ) -> Self:
        """Return what a branch in the folder ``out`` knows of its parent."""
        path = real(parent.path)
        return cls(
            path=path,
            relative=Path(os.path.relpath(path, real(out))),
            run=run_id(parent),
            epoch=epoch,
            switch_at=switch_at,
            switch_back=switch_back,
            changes=dict(changes),
            symmetrise=symmetrise,
        )

    def found_from(self, branch: Path) -> Path | None:
        """Return where the parent is now, seen from the folder of the branch; None: it has gone.

        Folders that were moved together are found, too.
        """
        from napari_cryospin.engine.runfolder.folder import RunFolder

        for path in (self.path, Path(os.path.normpath(real(branch) / self.relative))):
            if run_id(RunFolder(path)) == self.run:
                return path
        return None

    def sentence(self) -> str:
        """Return in words what the run is a branch of, and what is another in it."""
        changed = [f"{name} = {value}" for name, value in self.changes.items()]
        if self.switch_back:
            changed.insert(0, "back to auto-encoding")
        if self.switch_at is not None:
            changed.append(f"switch at {self.switch_at}")
        if self.symmetrise is not None:
            changed.insert(0, f"map and poses turned to the axes of {self.symmetrise}")
        words = f", with {', '.join(changed)}" if changed else ", with nothing changed"
        return f"A branch of {self.path.name} after epoch {self.epoch}{words}."

    def write(self, path: Path) -> None:
        """Write a ``parent.json``."""
        with replacing(path) as temporary:
            text = json.dumps(self.model_dump(mode="json"), indent=2, ensure_ascii=False)
            temporary.write_text(text + "\n", encoding="utf-8")


def read_parent(folder: RunFolder) -> Parent | None:
    """Return what a branch knows of its parent; None for a run that is no branch.

    Raises
    ------
    InputError
        If ``parent.json`` is damaged.
    """
    path = folder.parent_path
    try:
        return Parent.model_validate_json(read_small(path, _LARGEST))
    except FileNotFoundError:
        return None
    except Unreadable as error:
        raise InputError(f"{path} {error}.") from error
    except ValidationError as error:
        raise InputError(f"{path} is damaged: delete it, and the run is no branch.") from error


def notes_on_branch(folder: RunFolder) -> tuple[str, ...]:
    """Return a note that says what a run is a branch of; none where it is no branch."""
    try:
        parent = read_parent(folder)
    except InputError as error:
        return (str(error),)
    return () if parent is None else (parent.sentence(),)


def run_id(folder: RunFolder) -> str:
    """Return what tells a run from others: of its particles, its settings, and its parent."""
    digest = hashlib.sha256()
    for path in (folder.fingerprint_path, folder.parent_path):
        try:
            digest.update(path.read_bytes() if path.is_file() else b"-")
        except OSError:
            digest.update(b"-")
    return digest.hexdigest()[:16]
