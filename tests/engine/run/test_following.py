"""A run that another process writes, as it is seen while it comes to its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_cryospin.engine.run import following
from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.engine.runfolder.standing import Doing

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_run_that_ends_while_it_is_looked_at_is_seen_to_its_end(
    copied_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or it would be called finished with the epochs that it had a moment before."""
    metrics = RunFolder(copied_run).metrics_path
    whole = metrics.read_text()
    epochs = len(whole.splitlines()) - 1
    metrics.write_text("".join(whole.splitlines(keepends=True)[:-1]))
    read, looks = following.read_snapshot, list[int]()

    def read_as_it_ends(*args: Any) -> following.Snapshot:
        snapshot = read(*args)
        looks.append(len(snapshot.history))
        if len(looks) == 1:
            metrics.write_text(whole)
        return snapshot

    monkeypatch.setattr(following, "read_snapshot", read_as_it_ends)
    seen = following.look(copied_run)
    assert looks == [epochs - 1, epochs]
    assert seen.standing.doing is Doing.FINISHED
    assert seen.snapshot is not None
    assert len(seen.snapshot.history) == seen.standing.epochs == epochs
