"""Ways in which a run folder can be damaged, or be no run folder at all."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Damage = Callable[[Path], object]

GARBAGE = bytes(range(256)) * 8
HEADER = "epoch,inference,stage,start,loss,seconds,head_share\n"


def last(folder: Path, part: str, suffix: str) -> Path:
    return sorted((folder / part).glob(f"epoch_*{suffix}"))[-1]


def checkpoint(change: Callable[[dict[str, Any]], Any], *, all_of_them: bool = False) -> Damage:
    """Return the damage that changes what checkpoints hold."""

    def damage(folder: Path) -> None:
        paths = sorted((folder / "checkpoints").glob("*.pt"))
        for path in paths if all_of_them else paths[-1:]:
            state = torch.load(path, weights_only=True)
            changed = change(state)
            torch.save(state if changed is None else changed, path)

    return damage


def poses(**changes: Callable[[torch.Tensor], torch.Tensor]) -> Damage:
    def change(state: dict[str, Any]) -> None:
        for name, of in changes.items():
            state["poses"][name] = of(state["poses"][name])

    return checkpoint(change)


def text(name: str, content: str | bytes) -> Damage:
    def damage(folder: Path) -> None:
        data = content.encode() if isinstance(content, str) else content
        (folder / name).write_bytes(data)

    return damage


def edit(name: str, old: str, new: str) -> Damage:
    def damage(folder: Path) -> None:
        path = folder / name
        before = path.read_text()
        assert old in before
        path.write_text(before.replace(old, new))

    return damage


def whole(part: str, suffix: str, of: Callable[[bytes], bytes]) -> Damage:
    """Return the damage that changes the bytes of the newest file of a part."""

    def damage(folder: Path) -> None:
        path = last(folder, part, suffix)
        path.write_bytes(of(path.read_bytes()))

    return damage


def flip(data: bytes) -> bytes:
    changed = bytearray(data)
    changed[len(changed) // 2] ^= 0x40
    return bytes(changed)


def filled(value: float) -> Callable[[bytes], bytes]:
    """Return the change of a map that gives every other voxel of it a value."""

    def change(data: bytes) -> bytes:
        voxels = np.frombuffer(data, np.float32, offset=1024).copy()
        voxels[::2] = value
        return data[:1024] + voxels.tobytes()

    return change


def a_folder(name: str) -> Damage:
    def damage(folder: Path) -> None:
        path = folder / name
        if path.is_file():
            path.unlink()
        path.mkdir(exist_ok=True)
        (path / "inside").write_text("")

    return damage


def a_link(name: str, target: str) -> Damage:
    def damage(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(target)

    return damage


def a_pipe(name: str) -> Damage:
    def damage(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)

    return damage


def without(*names: str) -> Damage:
    def damage(folder: Path) -> None:
        for name in names:
            path = folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return damage


def named(part: str, suffix: str, *names: str) -> Damage:
    """Return the damage that lays files of strange names beside ours."""

    def damage(folder: Path) -> None:
        for name in names:
            shutil.copy(last(folder, part, suffix), folder / part / f"{name}{suffix}")

    return damage


def record(**changes: Any) -> Damage:
    def damage(folder: Path) -> None:
        path = last(folder, "poses", ".npy")
        table = np.load(path)
        for name, value in changes.items():
            table[name] = value
        np.save(path, table)

    return damage


STRANGE = (
    "epoch_x",
    "epoch_",
    "epoch_99999999999999999999",
    "epoch_7",
    "epoch_٠٠٠٧",
    "x",
    "epoch_-001",
)

# what only those who look at a run need: it goes on, whatever became of these
OF_VIEWERS: dict[str, Damage] = {
    "metrics-binary": text("metrics.csv", GARBAGE),
    "metrics-empty": text("metrics.csv", b""),
    "metrics-zeros": text("metrics.csv", bytes(1000)),
    "metrics-half": lambda folder: os.truncate(
        folder / "metrics.csv", (folder / "metrics.csv").stat().st_size - 20
    ),
    "metrics-other-table": text("metrics.csv", "a,b\n1,2\n"),
    "metrics-twice-a-column": text("metrics.csv", "epoch,epoch,inference,loss\n0,0,direct,1\n"),
    "metrics-words": edit("metrics.csv", "0,marginal,1,1", "zero,marginal,one,1"),
    "metrics-negative": edit("metrics.csv", "0,marginal,1,1", "-5,marginal,0,0"),
    "metrics-huge": edit("metrics.csv", "0,marginal,1,1", "99999999999999999999999,marginal,1,1"),
    "metrics-kind": edit("metrics.csv", "marginal", "guessed"),
    "metrics-older": text("metrics.csv", HEADER + "0,marginal,1,1,0.9,1.0,1.0\n"),
    "metrics-folder": a_folder("metrics.csv"),
    "metrics-link": a_link("metrics.csv", "nowhere"),
    "metrics-pipe": a_pipe("metrics.csv"),
    "metrics-endless": a_link("metrics.csv", "/dev/zero"),
    "metrics-missing": without("metrics.csv"),
    "events-binary": text("events.jsonl", GARBAGE),
    "events-half": lambda folder: os.truncate(folder / "events.jsonl", 333),
    "events-folder": a_folder("events.jsonl"),
    "events-link": a_link("events.jsonl", "elsewhere.txt"),
    "events-missing": without("events.jsonl"),
    "verdict-binary": text("verdict.json", GARBAGE),
    "verdict-empty": text("verdict.json", b""),
    "verdict-list": text("verdict.json", "[1, 2]"),
    "verdict-deep": text("verdict.json", "[" * 100_000),
    "verdict-words": text(
        "verdict.json", '{"outcome": "converged", "reasons": ["a"], "gain": "much"}'
    ),
    "verdict-older": text(
        "verdict.json", '{"outcome": "converged", "reasons": ["a"], "in_a_mode": 0.5}'
    ),
    "verdict-folder": a_folder("verdict.json"),
    "fsc-folder": a_folder("fsc.csv"),
    "fsc-binary": text("fsc.csv", GARBAGE),
    "map-folder": a_folder("map.mrc"),
    "half-map-folder": a_folder("half1.mrc"),
    "star-folder": a_folder("particles.star"),
    "map-binary": text("map.mrc", GARBAGE),
    "map-cut": lambda folder: os.truncate(folder / "map.mrc", 5000),
    "map-empty": text("map.mrc", b""),
    "star-binary": text("particles.star", GARBAGE),
    "star-empty": text("particles.star", b""),
    "volume-binary": whole("volumes", ".mrc", lambda _: GARBAGE),
    "volume-cut": whole("volumes", ".mrc", lambda data: data[:5000]),
    "volume-huge": whole("volumes", ".mrc", filled(5e33)),
    "volume-large": whole("volumes", ".mrc", filled(9e14)),
    "volume-zero": whole("volumes", ".mrc", lambda data: data[:1024] + bytes(len(data) - 1024)),
    "volume-folder": a_folder("volumes/epoch_0001.mrc"),
    "volumes-strange-names": named("volumes", ".mrc", *STRANGE),
    "volumes-missing": without("volumes"),
    "volumes-file": lambda folder: (without("volumes")(folder), text("volumes", b"")(folder)),
    "poses-binary": whole("poses", ".npy", lambda _: GARBAGE),
    "poses-cut": whole("poses", ".npy", lambda data: data[:-9]),
    "poses-zeros": record(quaternion=0),
    "poses-inference": record(inference=9),
    "poses-nan": record(shift=np.nan),
    "poses-unused": record(used=False),
    "poses-folder": a_folder("poses/epoch_0001.npy"),
    "poses-link": a_link("poses/epoch_0001.npy", "nowhere"),
    "poses-strange-names": named("poses", ".npy", *STRANGE),
    "poses-missing": without("poses"),
    "fingerprint-binary": text("fingerprint.json", GARBAGE),
    "fingerprint-deep": text("fingerprint.json", "[" * 100_000),
    "fingerprint-pipe": a_pipe("fingerprint.json"),
    "lock-binary": text("lock", GARBAGE),
    "lock-empty": text("lock", b""),
    "lock-deep": text("lock", "[" * 4000),
    "all-for-viewers-missing": without(
        "metrics.csv", "events.jsonl", "verdict.json", "fsc.csv", "volumes", "poses", "map.mrc"
    ),
}

# the last checkpoint cannot be used: the one before is
OF_THE_LAST_CHECKPOINT: dict[str, Damage] = {
    "binary": whole("checkpoints", ".pt", lambda _: GARBAGE),
    "empty": whole("checkpoints", ".pt", lambda _: b""),
    "cut": whole("checkpoints", ".pt", lambda data: data[: len(data) // 2]),
    "one-bit": whole("checkpoints", ".pt", flip),
    "a-tensor": checkpoint(lambda _: torch.zeros(3)),
    "a-list": checkpoint(lambda _: [1, 2]),
    "other-names": checkpoint(lambda _: {"weights": torch.zeros(3)}),
    "only-a-version": checkpoint(lambda state: {"version": state["version"]}),
    "other-version": checkpoint(lambda state: state.update(version=1)),
    "version-of-words": checkpoint(lambda state: state.update(version="new")),
    "no-clock": checkpoint(lambda state: state.pop("clock")),
    "clock-of-words": checkpoint(lambda state: state["clock"].update(epoch="one")),
    "clock-beyond": checkpoint(lambda state: state["clock"].update(stage=7)),
    "clock-negative": checkpoint(lambda state: state["clock"].update(epoch=-1)),
    "fewer-particles": poses(rotations=lambda value: value[:-1]),
    "poses-doubled": poses(rotations=lambda value: value.double()),
    "poses-nan": poses(rotations=lambda value: value * torch.nan),
    "poses-flat": poses(rotations=lambda value: value.flatten()),
    "winners-below": poses(winner=lambda value: value - 99),
    "classes-beyond": poses(classes=lambda value: value + 7),
    "maps-of-others": checkpoint(lambda state: state["maps"].append(state["maps"][0])),
    "map-nan": checkpoint(
        lambda state: state["maps"][0].update(
            {name: value * torch.nan for name, value in state["maps"][0].items()}
        )
    ),
    "map-smaller": checkpoint(
        lambda state: state["maps"][0].update(
            {n: v[:-1] if v.ndim == 3 else v for n, v in state["maps"][0].items()}
        )
    ),
    "used-none": checkpoint(lambda state: state.update(used=torch.zeros(40, dtype=torch.bool))),
    "used-numbers": checkpoint(lambda state: state.update(used=torch.ones(40))),
    "inference-none": checkpoint(lambda state: state.update(inference=None)),
    "inference-empty": checkpoint(lambda state: state.update(inference={})),
    "inference-of-others": checkpoint(
        lambda state: state["inference"].update(rotations=torch.zeros(3))
    ),
    "starts-of-words": checkpoint(lambda state: state.update(starts=["one"])),
    "a-folder": a_folder("checkpoints/epoch_0002.pt"),
    "a-pipe": a_pipe("checkpoints/epoch_0002.pt"),
    "a-link": a_link("checkpoints/epoch_0002.pt", "nowhere"),
    "strange-names": named("checkpoints", ".pt", *STRANGE),
}

# the run cannot go on: a sentence
BEYOND_RESUME: dict[str, Damage] = {
    "settings-binary": text("settings.toml", GARBAGE),
    "settings-empty": text("settings.toml", b""),
    "settings-words": text("settings.toml", "preset = [["),
    "settings-unknown": text("settings.toml", 'colour = "blue"\n'),
    "settings-deep": text("settings.toml", "a = " + "[" * 5_000),
    "settings-box": edit("settings.toml", "box = 32", "box = 33"),
    "settings-folder": a_folder("settings.toml"),
    "settings-pipe": a_pipe("settings.toml"),
    "settings-link": a_link("settings.toml", "nowhere"),
    "settings-endless": a_link("settings.toml", "/dev/zero"),
    "settings-missing": without("settings.toml"),
    "lock-folder": a_folder("lock"),
    "lock-pipe": a_pipe("lock"),
    "lock-link": a_link("lock", "nowhere"),
    "stack-gone": edit("settings.toml", "particles.star", "absent.star"),
    "checkpoints-of-others": checkpoint(lambda _: torch.zeros(3), all_of_them=True),
    "checkpoints-other-version": checkpoint(
        lambda state: state.update(version=1), all_of_them=True
    ),
}

# no run folder at all
FOREIGN: dict[str, Damage] = {
    "nothing": lambda folder: shutil.rmtree(folder),
    "empty": lambda folder: (shutil.rmtree(folder), folder.mkdir()),
    "a-file": lambda folder: (shutil.rmtree(folder), folder.write_bytes(GARBAGE)),
    "relion-job": lambda folder: (
        shutil.rmtree(folder),
        folder.mkdir(),
        (folder / "job.star").write_text("data_job\n\n_rlnJobTypeLabel relion.refine3d\n"),
        (folder / "run_it025_data.star").write_text("data_particles\n"),
    ),
}
