"""The random numbers of a run: streams told apart by name and number, all from one seed.

Streams of different names share nothing, so that what is drawn more or less of one thing changes no
other. The start of a stream is a hash that is the same on every platform and device.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Iterator


def stream_seed(seed: int, name: str, *numbers: int) -> int:
    """Return the number that a stream starts from, below 2⁶⁴.

    Parameters
    ----------
    seed
        Seed of the run, not negative.
    name
        What is drawn, such as "order".
    numbers
        Which one of that name, such as the epoch; none of them negative.
    """
    sequence = np.random.SeedSequence([seed, crc32(name.encode()), len(numbers), *numbers])
    return int(sequence.generate_state(1, np.uint64)[0])


def stream(
    seed: int, name: str, *numbers: int, device: torch.device | str = "cpu"
) -> torch.Generator:
    """Return the generator of a stream; see :func:`stream_seed`.

    A generator on the CPU draws the same everywhere; one on a GPU starts from the same number.
    """
    return torch.Generator(device).manual_seed(stream_seed(seed, name, *numbers))


@contextmanager
def torch_draws_from(seed: int, name: str, *numbers: int) -> Iterator[None]:
    """Let torch's own generator on the CPU draw from a stream, and be as it was afterwards.

    For what takes no generator, such as the weights of a new layer.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(stream_seed(seed, name, *numbers))
        yield
