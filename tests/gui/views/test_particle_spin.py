"""Numbers of particles: rows of the particle table, from 1, with those left out skipped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Qt

from napari_cryospin.gui.views.particle_spin import ParticleSpin

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot


def test_particles_that_take_no_part_are_skipped(qtbot: QtBot) -> None:
    spin = ParticleSpin()
    qtbot.addWidget(spin)
    assert not spin.isEnabled()
    # rows 3 and 5 of the table were set aside
    spin.set_numbers(np.array([1, 2, 4, 6]))
    chosen: list[int] = []
    spin.chosen.connect(chosen.append)
    spin.stepUp()
    spin.stepUp()
    assert (spin.value(), spin.place) == (4, 2)
    spin.stepDown()
    assert spin.value() == 2
    # one that is typed becomes the next that takes part
    spin.lineEdit().selectAll()
    qtbot.keyClicks(spin, "5")
    qtbot.keyClick(spin, Qt.Key.Key_Return)
    assert (spin.value(), spin.place) == (6, 3)
    assert chosen == [1, 2, 1, 3]
    spin.choose(100)
    assert spin.value() == 6
