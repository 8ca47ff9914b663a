"""What the explorer asks for, without a run: no posterior against the map of another class."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cryospin.engine.events import VolumeUpdated
from napari_cryospin.engine.stages import Inference
from napari_cryospin.gui.explorer.posterior_feed import PosteriorFeed
from napari_cryospin.gui.explorer.state import Explorer
from told_poses import poses_of_classes

if TYPE_CHECKING:
    import pytest

    from napari_cryospin.gui.work.session import Session


def maps(n: int) -> VolumeUpdated:
    one = np.zeros((4, 4, 4), np.float32)
    return VolumeUpdated(0, Inference.DIRECT, one, 4.0, (one,) * (n - 1))


def test_no_particle_is_asked_of_the_map_of_another_class(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.particles = SimpleNamespace(n=3, rows=np.arange(3), pixel_size=4.0)
    explorer = Explorer(session)
    feed = PosteriorFeed(explorer, lambda: True)
    asked: list[tuple[int, int]] = []

    def ask(_particles: Any, _volume: Any, particle: int, *others: Any) -> None:
        asked.append((particle, others[-1]))

    monkeypatch.setattr(feed.service, "ask", ask)
    explorer.volume, explorer.poses = maps(1), poses_of_classes([0, 2, 1], 3)
    explorer.choose(1)
    assert not asked and feed.lacks_map == 2
    # the maps that go with the poses come: it is asked in its turn
    explorer.volume = maps(3)
    explorer.volume_changed.emit(explorer.volume)
    feed.refresh()
    assert asked == [(1, 2)] and feed.lacks_map is None
    explorer.choose(0)
    assert asked[1:] == [(0, 0)]
