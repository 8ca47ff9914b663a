"""The names of all that a run writes, and the versions of what it writes in a format of its own."""

from __future__ import annotations

import re

SETTINGS = "settings.toml"
FINGERPRINT = "fingerprint.json"
COMMANDS = "commands.jsonl"
EVENTS = "events.jsonl"
METRICS = "metrics.csv"
SET_ASIDE = "set_aside.csv"
PARENT = "parent.json"
LOCK = "lock"

MAP = "map.mrc"
HALF_MAPS = ("half1.mrc", "half2.mrc")
FULL_SIZE_MAP = "map_fullsize.mrc"
STAR = "particles.star"
FSC = "fsc.csv"
VERDICT = "verdict.json"

VOLUMES = "volumes"
POSES = "poses"
CHECKPOINTS = "checkpoints"
BRANCH_POINTS = "branch_points"
# the folders within, each with a file per epoch, and the suffix of these
PARTS = {VOLUMES: ".mrc", POSES: ".npy", CHECKPOINTS: ".pt", BRANCH_POINTS: ".pt"}

# the folder of the encoder, and what is in it
ENCODER = "encoder"
ENCODER_SETTINGS = "encoder.toml"
ENCODER_WEIGHTS = "weights.pt"
IN_ENCODER = (ENCODER_WEIGHTS, ENCODER_SETTINGS)

# what is written before the first checkpoint ...
BEGINNING = (SETTINGS, FINGERPRINT, COMMANDS, EVENTS, METRICS, SET_ASIDE, PARENT)
# ... and after the last
RESULTS = (MAP, *HALF_MAPS, STAR, FSC, VERDICT)
# patterns of further maps
MORE_RESULTS = (FULL_SIZE_MAP, "map_class*.mrc", "half[12]_*.mrc")

# patterns of what has the name of an epoch
OF_AN_EPOCH = "epoch_*"
IN_PARTS = {part: f"{OF_AN_EPOCH}{suffix}" for part, suffix in PARTS.items()}
MAP_OF_AN_EPOCH = f"epoch_[0-9]*{PARTS[VOLUMES]}"
_EPOCH = re.compile(r"epoch_([0-9]{4,8})")

# of checkpoints; another one cannot be read. The other files are read as far as they are known
CHECKPOINT_VERSION = 8


def of_epoch(epoch: int, suffix: str) -> str:
    """Return the name of the file of an epoch, from 0, such as ``epoch_0007.npy``."""
    return f"epoch_{epoch:04d}{suffix}"


def epoch_of(name: str, suffix: str) -> int | None:
    """Return the epoch whose file has a name; None where it is none that :func:`of_epoch` gives."""
    match = _EPOCH.fullmatch(name.removesuffix(suffix))
    if match is None:
        return None
    epoch = int(match[1])
    # of two names for one number only the shorter one is written
    return epoch if name == of_epoch(epoch, suffix) else None
