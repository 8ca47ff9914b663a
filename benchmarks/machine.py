"""What a benchmark's table says of the machine and the versions it was made with."""

from __future__ import annotations

import os
import platform
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def description() -> str:
    """Return a line on processor, cores, load, and versions."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [x for x in cpuinfo.read_text().splitlines() if x.startswith("model name")]
        model = names[0].split(":")[1].strip() if names else model
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "not known"
    packages = ", ".join(filter(None, map(_package, ("torch", "numpy", "napari"))))
    return (
        f"{date.today()}, {model}, {os.cpu_count()} cores, load {load} at the start, "
        f"Python {platform.python_version()}, {packages}"
    )


def _package(name: str) -> str:
    """Return name and version of a package; nothing where it is not installed."""
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return ""


def load_of(machine: str) -> str:
    """Return the load that a description tells."""
    return machine.split("load ")[1].split(" ")[0]


def write_table(name: str, title: str, lines: list[str], machine: str) -> None:
    """Write a Markdown table to ``results/NAME.md`` and print it."""
    text = "\n".join([f"# {title}", "", f"Machine: {machine}.", "", *lines, ""])
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text(text, encoding="utf-8")
    print(text)
