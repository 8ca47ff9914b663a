from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.engine.runfolder.lock import RunLock
from napari_cryospin.engine.stages import Inference
from napari_cryospin.gui.work.mailbox import Mailbox
from napari_cryospin.gui.work.session import Session
from napari_cryospin.gui.work.states import SessionState

if TYPE_CHECKING:
    from pathlib import Path

    from pytestqt.qtbot import QtBot

    from napari_cryospin.engine.settings import Settings

# milliseconds; a wait ends as soon as it is over, also on a machine that others load
LONG = 180_000


def wait_for(qtbot: QtBot, session: Session, state: SessionState) -> None:
    qtbot.waitUntil(lambda: session.state is state, timeout=LONG)


def start(qtbot: QtBot, session: Session, settings: Settings, folder: Path) -> None:
    with qtbot.waitSignal(session.volume_updated, timeout=LONG):
        session.start(settings, folder)


def test_the_latest_in_a_mailbox_wins() -> None:
    box: Mailbox[int] = Mailbox()
    assert box.take() is None
    box.put(1)
    box.put(2)
    assert box.take() == 2
    assert box.take() is None


def test_a_table_is_read_in_the_background(
    qtbot: QtBot, session: Session, small_stack: Path
) -> None:
    with qtbot.waitSignal(session.table_changed, timeout=LONG) as caught:
        session.load(small_stack / "particles.star")
    assert caught.args[0].n_particles == 200
    assert session.table is caught.args[0]


def test_bad_input_is_one_sentence(qtbot: QtBot, session: Session, tmp_path: Path) -> None:
    messages: list[str] = []
    session.message.connect(messages.append)
    session.load(tmp_path / "absent.star")
    qtbot.waitUntil(lambda: len(messages) == 2, timeout=LONG)
    assert "absent.star" in messages[-1]
    assert "Traceback" not in messages[-1]


def test_a_run_is_paused_resumed_switched_and_kept(
    qtbot: QtBot, session: Session, settings: Settings, small_stack: Path, tmp_path: Path
) -> None:
    settings.data.truth_star = small_stack / "truth.star"
    start(qtbot, session, settings, tmp_path / "run")
    assert session.particles is not None
    session.pause()
    wait_for(qtbot, session, SessionState.PAUSED)
    with qtbot.assertNotEmitted(session.volume_updated, wait=1200):
        batches = len(session.losses)
    assert len(session.losses) == batches
    session.resume()
    wait_for(qtbot, session, SessionState.RUNNING)
    with qtbot.waitSignal(session.switched, timeout=LONG) as switched:
        session.switch()
    assert switched.args[0].by == "hand"
    qtbot.waitUntil(lambda: session.latest_volume.inference is Inference.DIRECT, timeout=LONG)
    assert session.latest_poses.truth.shape == (200, 3, 3)
    with qtbot.waitSignal(session.finished, timeout=LONG) as finished:
        session.stop(keep=True)
        assert session.state is SessionState.STOPPING
    assert finished.args[0].kept
    assert (tmp_path / "run" / "map.mrc").is_file()
    assert not session.active


def test_the_choice_of_particles_reaches_the_run(
    qtbot: QtBot, session: Session, settings: Settings, tmp_path: Path
) -> None:
    messages: list[str] = []
    session.message.connect(messages.append)
    start(qtbot, session, settings, tmp_path / "run")
    used = np.arange(200) >= 50
    session.set_used(used)
    expected = "150 of 200 particles are used from the next epoch on."
    qtbot.waitUntil(lambda: expected in messages, timeout=LONG)

    def reached() -> bool:
        poses = session.latest_poses  # none before the first ones are taken up
        return poses is not None and np.array_equal(poses.used, used)

    qtbot.waitUntil(reached, timeout=LONG)
    with pytest.raises(ValueError, match="At least 2 particles"):
        session.set_used(np.arange(200) == 0)
    session.stop(keep=False)
    wait_for(qtbot, session, SessionState.STOPPED)


def test_discarding_leaves_nothing(
    qtbot: QtBot, session: Session, settings: Settings, tmp_path: Path
) -> None:
    start(qtbot, session, settings, tmp_path / "run")
    session.stop(keep=False)
    wait_for(qtbot, session, SessionState.STOPPED)
    assert not (tmp_path / "run").exists()


def test_closing_ends_the_thread_and_leaves_a_resumable_run(
    qtbot: QtBot, session: Session, settings: Settings, tmp_path: Path
) -> None:
    start(qtbot, session, settings, tmp_path / "run")
    thread = session._thread.thread
    session.close()
    qtbot.waitUntil(thread.isFinished, timeout=LONG)
    assert RunFolder(tmp_path / "run").checkpoints()
    again = Session()
    with qtbot.waitSignal(again.volume_updated, timeout=LONG):
        again.resume_run(tmp_path / "run")
    again.close()


def test_a_failed_run_says_so_once(
    qtbot: QtBot, session: Session, settings: Settings, tmp_path: Path
) -> None:
    settings.data.stack = tmp_path / "absent.star"
    with qtbot.waitSignal(session.failed, timeout=LONG) as failed:
        session.start(settings, tmp_path / "run")
    assert "absent.star" in failed.args[0].message
    assert session.state is SessionState.FAILED
    assert not session.active


def test_a_finished_run_can_be_opened(qtbot: QtBot, session: Session, finished_run: Path) -> None:
    with qtbot.waitSignals([session.poses_updated, session.volume_updated], timeout=LONG):
        session.open_run(finished_run)
    assert len(session.history) == 4
    assert session.particles.n == 200


def test_a_run_that_is_started_meanwhile_is_not_replaced_by_an_opened_one(
    qtbot: QtBot, session: Session, settings: Settings, tmp_path: Path, finished_run: Path
) -> None:
    answered: list[object] = []
    # on the worker's thread; what it says is not heard any more
    session._follower._opener._worker.done.connect(lambda _, seen: answered.append(seen))
    session.open_run(finished_run)
    session.start(settings, tmp_path / "new")
    qtbot.waitUntil(lambda: len(answered) == 1, timeout=LONG)
    assert session.folder == tmp_path / "new"
    assert session.settings is settings


def test_a_run_that_another_process_writes_is_followed(
    qtbot: QtBot, session: Session, settings: Settings, tmp_path: Path
) -> None:
    from napari_cryospin.engine.events import EpochDone
    from napari_cryospin.engine.run.reconstruction import Reconstruction

    settings.stages[0].until = "epochs"
    settings.stages[0].epochs, settings.stages[1].epochs = 2, 1
    events = Reconstruction(settings, tmp_path / "run").run()
    while not isinstance(next(events), EpochDone):
        pass
    next(events)
    with qtbot.waitSignal(session.volume_updated, timeout=LONG):
        session.open_run(tmp_path / "run")
    assert len(session.history) == 1
    particles = session.particles
    with qtbot.waitSignals([session.epoch_done] * 2, timeout=LONG):
        list(events)
    assert [done.epoch for done in session.history] == [0, 1, 2]
    assert session.particles is particles


def test_a_folder_that_is_no_run_is_told(qtbot: QtBot, session: Session, tmp_path: Path) -> None:
    messages: list[str] = []
    session.message.connect(messages.append)
    session.open_run(tmp_path)
    qtbot.waitUntil(lambda: len(messages) == 2, timeout=LONG)
    assert "no run folder" in messages[-1]


@pytest.mark.parametrize("times", [1, 2])
def test_closing_twice_is_as_good_as_once(session: Session, times: int) -> None:
    for _ in range(times):
        session.close()
    assert not session.active


def ended(qtbot: QtBot, session: Session) -> str:
    """Return what the session says at the failure of a run."""
    said: list[str] = []
    session.message.connect(said.append)
    wait_for(qtbot, session, SessionState.FAILED)
    return said[-1]


def test_a_run_replaces_no_file_of_a_users(
    qtbot: QtBot, session: Session, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "particles.star").write_text("mine")
    session.start(settings, tmp_path)
    assert "particles.star is there already" in ended(qtbot, session)
    assert [path.name for path in tmp_path.iterdir()] == ["particles.star"]


def test_a_run_that_another_writes_is_left_to_it(
    qtbot: QtBot, session: Session, settings: Settings, tmp_path: Path
) -> None:
    RunFolder(tmp_path).create(settings)
    lock = RunLock.acquire(tmp_path)
    session.resume_run(tmp_path)
    assert "is being written by process" in ended(qtbot, session)
    lock.release()


def test_a_folder_without_a_run_is_told_as_it_is(
    qtbot: QtBot, session: Session, tmp_path: Path
) -> None:
    session.resume_run(tmp_path)
    assert ended(qtbot, session).startswith(f"{tmp_path} is no run folder")


def test_a_run_without_a_checkpoint_is_begun_again(
    qtbot: QtBot, session: Session, settings: Settings, tmp_path: Path
) -> None:
    RunFolder(tmp_path).create(settings)
    # as a process leaves it that is killed early
    (tmp_path / "lock").touch()
    with qtbot.waitSignal(session.run_started, timeout=LONG):
        session.resume_run(tmp_path)
    session.stop(keep=False)
    wait_for(qtbot, session, SessionState.STOPPED)
