"""Choosing the device and saying what it is."""

from __future__ import annotations

import os

import torch

from napari_cryospin.engine.errors import InputError


def find_device(name: str) -> torch.device:
    """Return the device of a setting: ``auto`` takes the first GPU, or the CPU.

    Raises
    ------
    InputError
        If there is no such device on this computer.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"The device '{name}' cannot be used on this computer: choose auto or cpu."
        ) from error
    if device.type not in ("cpu", "cuda"):
        raise InputError(f"The device '{name}' is not supported: choose auto, cpu or cuda.")
    return device


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def use_threads(wanted: int | None) -> tuple[str, ...]:
    """Compute on so many CPU threads, at most one for each core; None leaves them as they are.

    Returns
    -------
    tuple of str
        A note, where there are fewer cores.
    """
    if wanted is None:
        return ()
    cores = usable_cores()
    torch.set_num_threads(min(wanted, cores))
    if wanted <= cores:
        return ()
    return (f"{wanted} threads were asked for: the run uses {cores}, as many as there are cores.",)


def describe_device(device: torch.device) -> str:
    """Return a readable name: the GPU's, or the CPU with its number of threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"CPU, {threads} thread{'s' if threads > 1 else ''}"
