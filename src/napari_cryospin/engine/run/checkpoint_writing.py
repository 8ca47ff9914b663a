"""Writing a checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from napari_cryospin.engine.files import writing

if TYPE_CHECKING:
    from pathlib import Path

    from napari_cryospin.engine.runfolder.folder import RunFolder

_KEPT = 2


def write_checkpoint(folder: RunFolder, state: dict[str, Any], epoch: int) -> Path:
    """Write a checkpoint; the last few are kept."""
    path = folder.checkpoint_path(epoch)
    with writing(path) as file:
        torch.save(state, file)
    for old in folder.checkpoints()[:-_KEPT]:
        old.unlink()
    return path
