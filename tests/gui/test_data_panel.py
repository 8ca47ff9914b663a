from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_cryospin.gui.data_panel import DataPanel

if TYPE_CHECKING:
    from pathlib import Path

    from pytestqt.qtbot import QtBot

    from napari_cryospin.gui.session import Session

LONG = 30_000


@pytest.fixture
def panel(qtbot: QtBot, session: Session) -> DataPanel:
    made = DataPanel(session)
    qtbot.addWidget(made)
    made.show()
    return made


def read(qtbot: QtBot, session: Session, panel: DataPanel, path: Path) -> None:
    panel.open(path)
    qtbot.waitUntil(lambda: session.table is not None, timeout=LONG)


def facts(panel: DataPanel) -> dict[str, str]:
    rows = range(panel.table.rowCount())
    return {panel.table.item(row, 0).text(): panel.table.item(row, 1).text() for row in rows}


def test_it_says_what_was_understood(
    qtbot: QtBot, session: Session, panel: DataPanel, small_stack: Path
) -> None:
    read(qtbot, session, panel, small_stack / "particles.star")
    said = facts(panel)
    assert (said["Particles"], said["Box"], said["Pixel size"]) == ("200", "32 px", "4 Å")
    assert (said["Voltage"], said["Spherical aberration"]) == ("300 kV", "2.7 mm")
    assert said["Known poses"] == "no"
    read(qtbot, session, panel, small_stack / "truth.star")
    assert facts(panel)["Known poses"] == "rotations and shifts (not used)"


def test_particles_are_previewed_one_by_one(
    qtbot: QtBot, session: Session, panel: DataPanel, small_stack: Path
) -> None:
    with qtbot.waitSignal(panel._reader.done, timeout=LONG):
        read(qtbot, session, panel, small_stack / "particles.star")
    first = panel.image.image.copy()
    with qtbot.waitSignal(panel._reader.done, timeout=LONG):
        panel.particle.stepUp()
    assert first.shape == (32, 32)
    assert not np.array_equal(panel.image.image, first)


def test_a_bare_stack_is_said_to_have_no_ctf(
    qtbot: QtBot, session: Session, panel: DataPanel, small_stack: Path
) -> None:
    read(qtbot, session, panel, small_stack / "particles.mrcs")
    assert "without CTF" in facts(panel)["Defocus"]
    assert panel.notes.isVisible()
    assert "CTF" in panel.notes.text()


def test_after_a_file_that_cannot_be_read_there_are_no_particles(
    qtbot: QtBot, session: Session, panel: DataPanel, small_stack: Path
) -> None:
    read(qtbot, session, panel, small_stack / "particles.star")
    assert panel.table.isVisible()
    panel.open(small_stack / "absent.star")
    # at once: nobody starts on the particles of the file before
    assert session.table is None
    with qtbot.waitSignal(session.message, timeout=LONG) as said:
        pass
    assert "absent.star" in said.args[0]
    assert session.table is None
    assert not panel.table.isVisible()
    assert not panel.preview.isVisible()


def test_a_passthrough_file_belongs_to_one_table(panel: DataPanel, tmp_path: Path) -> None:
    panel.open(tmp_path / "a.cs")
    assert panel.passthrough.isVisible()
    panel.passthrough.setText(str(tmp_path / "a_passthrough.cs"))
    panel.open(tmp_path / "a.cs")
    assert panel.passthrough_path == tmp_path / "a_passthrough.cs"
    panel.open(tmp_path / "b.cs")
    assert panel.passthrough_path is None
    panel.open(tmp_path / "c.star")
    assert not panel.passthrough.isVisible()
