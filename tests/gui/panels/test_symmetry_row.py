"""Going on with the symmetry of a run by one click, in a real window."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt

from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.engine.runfolder.parent import read_parent
from napari_cryospin.gui.work.states import SessionState

if TYPE_CHECKING:
    from pathlib import Path

    import pytest
    from pytestqt.qtbot import QtBot

    from napari_cryospin.gui.dock import CryoSpinDock

# milliseconds; a wait ends as soon as it is over, also on a machine that others load
LONG = 180_000


def opened(qtbot: QtBot, dock: CryoSpinDock, run: Path, symmetry: str | None) -> None:
    """Open a finished run whose verdict names a symmetry."""
    folder = RunFolder(run)
    verdict = folder.verdict()
    assert verdict is not None
    said = "The map looks D2-symmetric about the axis (x, y, z) = (0.00, 0.00, 1.00)."
    folder.write_verdict(replace(verdict, symmetry=symmetry, reasons=(*verdict.reasons, said)))
    with qtbot.waitSignal(dock.session.run_opened, timeout=LONG):
        dock.session.open_run(run)
    dock.tabs.setCurrentWidget(dock.results)
    qtbot.waitUntil(lambda: "Verdict" in dock.results.summary.text(), timeout=LONG)


def test_one_click_goes_on_with_the_symmetry(
    qtbot: QtBot, shared_dock: CryoSpinDock, copied_run: Path
) -> None:
    dock, row = shared_dock, shared_dock.results.symmetry
    opened(qtbot, dock, copied_run, "D2")
    qtbot.waitUntil(row.button.isVisible, timeout=LONG)
    assert "D2-symmetric about the axis" in dock.results.summary.text()
    assert row.button.text() == "Go on with D2"
    before = (copied_run / "map.mrc").read_bytes()
    qtbot.mouseClick(row.button, Qt.MouseButton.LeftButton)
    out = copied_run.with_name(f"{copied_run.name}_D2")
    qtbot.waitUntil(lambda: dock.session.folder == out, timeout=LONG)
    qtbot.waitUntil(lambda: dock.session.state is SessionState.RUNNING, timeout=LONG)
    # while it runs, nothing is offered
    assert not row.isVisible()
    parent = read_parent(RunFolder(out))
    assert parent is not None and parent.symmetrise == "D2"
    settings = RunFolder(out).settings()
    assert settings.model.symmetry == "D2" and len(settings.stages) == 3
    assert (copied_run / "map.mrc").read_bytes() == before
    dock.session.stop(keep=False)
    qtbot.waitUntil(lambda: not dock.session.active, timeout=LONG)


def test_a_part_of_the_group_can_be_chosen(
    qtbot: QtBot, shared_dock: CryoSpinDock, copied_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dock, row = shared_dock, shared_dock.results.symmetry
    opened(qtbot, dock, copied_run, "D2")
    assert [row.group.itemText(i) for i in range(row.group.count())] == ["D2", "C2"]
    row.group.setCurrentText("C2")
    assert row.button.text() == "Go on with C2"
    wished: list[object] = []
    monkeypatch.setattr(row.brancher, "make", wished.append)
    # a run of that name is there already
    copied_run.with_name(f"{copied_run.name}_C2").mkdir()
    qtbot.mouseClick(row.button, Qt.MouseButton.LeftButton)
    (wish,) = wished
    assert (wish.run, wish.symmetrise) == (copied_run, "C2")
    assert wish.out == copied_run.with_name(f"{copied_run.name}_C2-2")


def test_nothing_is_offered_where_no_symmetry_was_found(
    qtbot: QtBot, shared_dock: CryoSpinDock, copied_run: Path
) -> None:
    opened(qtbot, shared_dock, copied_run, None)
    assert shared_dock.results.symmetry.isHidden()
