from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import pytest

from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.runfolder import lock, names
from napari_cryospin.engine.runfolder.lock import Owner, RunLock, is_lock, read_owner

if TYPE_CHECKING:
    from pathlib import Path

HOLD = """
import sys, time
from pathlib import Path
from napari_cryospin.engine.runfolder.lock import RunLock
lock = RunLock.acquire(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(100)
"""


@pytest.fixture(params=["flock", "no flock"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways of locking: a file system with flock, and one without."""
    if request.param == "no flock":
        monkeypatch.setattr(lock, "fcntl", None)
    elif lock.fcntl is None:
        pytest.skip("this system has no flock")
    return str(request.param)


def hold(folder: Path) -> subprocess.Popen[str]:
    """Start a process that holds the lock of a folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def write_owner(folder: Path, owner: Owner) -> None:
    (folder / names.LOCK).write_text(json.dumps(asdict(owner)))


def test_a_second_writer_is_refused_and_told_of_the_first(tmp_path: Path, kind: str) -> None:
    held = RunLock.acquire(tmp_path)
    with pytest.raises(InputError, match=f"process {os.getpid()} on {held.owner.host}"):
        RunLock.acquire(tmp_path)
    held.release()
    held.release()
    assert not list(tmp_path.iterdir())
    RunLock.acquire(tmp_path).release()


def test_a_killed_process_keeps_no_lock(tmp_path: Path, kind: str) -> None:
    with hold(tmp_path) as process:
        with pytest.raises(InputError, match=f"process {process.pid} on "):
            RunLock.acquire(tmp_path)
        process.kill()
        process.wait()
    assert read_owner(tmp_path / names.LOCK).pid == process.pid
    held = RunLock.acquire(tmp_path)
    assert read_owner(tmp_path / names.LOCK) == held.owner
    held.release()
    assert not list(tmp_path.iterdir())


def test_a_pid_that_was_given_again_is_no_owner(tmp_path: Path, kind: str) -> None:
    write_owner(tmp_path, replace(Owner.present(), started="1"))
    RunLock.acquire(tmp_path).release()


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"pid": 1}', "\0\0"])
def test_a_lock_that_names_nobody_is_taken(tmp_path: Path, kind: str, content: str) -> None:
    (tmp_path / names.LOCK).write_text(content)
    RunLock.acquire(tmp_path).release()


def test_another_host_keeps_its_lock_while_it_gives_signs_of_life(
    tmp_path: Path, kind: str
) -> None:
    write_owner(tmp_path, replace(Owner.present(), host="node17", pid=4242))
    with pytest.raises(InputError, match=r"process 4242 on node17.*delete .*lock"):
        RunLock.acquire(tmp_path)
    assert read_owner(tmp_path / names.LOCK).host == "node17"
    long_ago = time.time() - 3600
    os.utime(tmp_path / names.LOCK, (long_ago, long_ago))
    RunLock.acquire(tmp_path).release()


def test_a_held_lock_gives_signs_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "_HEARTBEAT", 0.01)
    held = RunLock.acquire(tmp_path)
    os.utime(held.path, (0, 0))
    deadline = time.monotonic() + 30
    while held.path.stat().st_mtime < 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert held.path.stat().st_mtime > 1
    held.release()


def test_who_lost_the_lock_is_told(tmp_path: Path) -> None:
    held = RunLock.acquire(tmp_path)
    held.require_held()
    write_owner(tmp_path, replace(Owner.present(), host="node17"))
    with pytest.raises(InputError, match=r"taken over by process .* on node17"):
        held.require_held()
    held.release()
    assert read_owner(tmp_path / names.LOCK).host == "node17"


def test_a_link_in_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / names.LOCK).symlink_to(precious)
    assert not is_lock(tmp_path / "run" / names.LOCK)
    with pytest.raises(InputError, match="cannot be written"):
        RunLock.acquire(tmp_path / "run")
    assert precious.read_text() == "mine"


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written: No such file"):
        RunLock.acquire(tmp_path / "absent")


def _try(folder: Path, without: bool, go: object, found: object) -> None:
    if without:
        lock.fcntl = None
    go.wait()
    try:
        held = RunLock.acquire(folder)
    except InputError:
        found.put(None)
        return
    found.put(held.owner.token)
    time.sleep(60)


@pytest.mark.parametrize("dead", [True, False])
def test_one_of_many_takes_a_lock(tmp_path: Path, kind: str, dead: bool) -> None:
    """All of them find the same dead owner, or none, at the same time."""
    if dead:
        write_owner(tmp_path, replace(Owner.present(), started="1"))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([lock.__name__])
    go, found = context.Event(), context.Queue()
    arguments = (tmp_path, kind == "no flock", go, found)
    processes = [context.Process(target=_try, args=arguments) for _ in range(6)]
    for process in processes:
        process.start()
    go.set()
    tokens = [found.get(timeout=120) for _ in processes]
    assert sum(token is not None for token in tokens) == 1
    for process in processes:
        process.kill()
        process.join()


def test_threads_that_come_and_go_are_never_two(tmp_path: Path, kind: str) -> None:
    inside, most, taken = [0], [0], [0]
    guard = threading.Lock()

    def come_and_go() -> None:
        for _ in range(60):
            try:
                held = RunLock.acquire(tmp_path)
            except InputError:
                continue
            with guard:
                inside[0] += 1
                taken[0] += 1
                most[0] = max(most[0], inside[0])
            time.sleep(0.0005)
            with guard:
                inside[0] -= 1
            held.release()

    threads = [threading.Thread(target=come_and_go) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]
    assert taken[0] >= 8
