"""What makes a simulated stack as unkind as a microscope's."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from napari_cryospin.engine.errors import InputError

_Kind = TypeVar("_Kind", bound=StrEnum)


class Noise(StrEnum):
    """Power spectrum of the noise."""

    WHITE = "white"
    COLOURED = "coloured"


class Junk(StrEnum):
    """What an image that shows no particle shows."""

    NOISE = "noise"
    EDGE = "edge"
    BLOB = "blob"
    FRAGMENT = "fragment"
    AGGREGATE = "aggregate"
    CUT = "cut"


class Views(StrEnum):
    """Which view directions there are: all alike, around the z axis, or near the equator."""

    UNIFORM = "uniform"
    CAP = "cap"
    BELT = "belt"


def _named(kinds: type[_Kind], name: str, what: str) -> _Kind:
    """Return the member of a name, or raise InputError."""
    try:
        return kinds(name)
    except ValueError:
        raise InputError(
            f"There is no {what} of the kind {name}: choose among {', '.join(kinds)}."
        ) from None


@dataclass(frozen=True)
class Nuisances:
    """What a microscope does to particles; by default nothing.

    Parameters
    ----------
    noise
        Power spectrum of the noise: "white", or "coloured", which falls with the frequency as a
        micrograph's.
    ice
        Share of the noise's variance that is structure of the ice and goes through the CTF, 0 to 1.
    envelope
        B-factor of the CTF's envelope exp(−B k² / 4), Å².
    contrast_spread
        Standard deviation of the particles' contrast, whose mean is 1 (log-normal).
    ramp
        Standard deviation, over the stack, of linear ramps across the images; one of 1 has the
        variance of the noise.
    background
        Standard deviation of a background of low frequency, in those of the noise.
    off_centre
        Standard deviation of the shifts along each axis, as a share of the box.
    junk
        Share of the images that show no particle, 0 to 1.
    junk_kinds
        What they show, each kind as often: some of "noise", "edge", "blob", "fragment",
        "aggregate", "cut"; by default all.
    neighbours
        Share of the particles with other particles that reach into the image, 0 to 1.
    views, view_angle
        "uniform", or view directions within so many degrees of the z axis ("cap") or of the
        equator ("belt").
    defocus_error
        Standard deviation of the table's defocus around the true one, Å.
    true_amplitude_contrast
        That of the images, where the table's (0.1) is wrong.
    beads
        Share of the images with a gold bead in them, 0 to 1.
    bead_height
        Height of the beads, standard deviations of the noise.
    second_share
        Share of the second structure among the particles, 0 to 1.
    groups
        Number of optics groups: the variance of the noise doubles from one to the next, and its
        colour is another; their micrographs, of 100 particles each, have a defocus each.

    Raises
    ------
    InputError
        If there is no such noise, junk or view. The numbers are looked at by :func:`simulate`.
    """

    noise: Noise = Noise.WHITE
    ice: float = 0.0
    envelope: float = 0.0
    contrast_spread: float = 0.0
    ramp: float = 0.0
    background: float = 0.0
    off_centre: float = 0.0
    junk: float = 0.0
    junk_kinds: tuple[Junk, ...] = tuple(Junk)
    neighbours: float = 0.0
    views: Views = Views.UNIFORM
    view_angle: float = 30.0
    defocus_error: float = 0.0
    true_amplitude_contrast: float | None = None
    beads: float = 0.0
    bead_height: float = 20.0
    second_share: float = 0.3
    groups: int = 1

    def __post_init__(self) -> None:
        # by their names too: a script need not import them
        kinds = (self.junk_kinds,) if isinstance(self.junk_kinds, str) else self.junk_kinds
        named = {
            "noise": _named(Noise, self.noise, "noise"),
            "junk_kinds": tuple(_named(Junk, kind, "junk") for kind in kinds),
            "views": _named(Views, self.views, "views"),
        }
        for field, value in named.items():
            object.__setattr__(self, field, value)

    def require_possible(self) -> None:
        """Raise InputError for what no stack can have."""
        for name, most in _RANGES.items():
            value = getattr(self, name)
            if not 0 <= value <= most:
                raise InputError(
                    f"--{name.replace('_', '-')} must be from 0 to {most:g}, and {value:g} is not."
                )
        if self.junk and not self.junk_kinds:
            raise InputError("No kind of junk was named: give some with --junk-kinds.")
        if self.views != Views.UNIFORM and not 0 < self.view_angle:
            raise InputError("--view-angle must be above 0 degrees.")
        if not 1 <= self.groups <= _MOST_GROUPS:
            raise InputError(
                f"--groups must be from 1 to {_MOST_GROUPS}, and {self.groups} is not."
            )
        if self.true_amplitude_contrast is not None and not 0 <= self.true_amplitude_contrast <= 1:
            raise InputError("--true-amplitude-contrast must be from 0 to 1.")


_MOST_GROUPS = 9
_RANGES = {
    "ice": 1.0,
    "envelope": 10_000.0,
    "contrast_spread": 2.0,
    "ramp": 100.0,
    "background": 100.0,
    "off_centre": 1.0,
    "junk": 1.0,
    "neighbours": 1.0,
    "view_angle": 180.0,
    "defocus_error": 100_000.0,
    "beads": 1.0,
    "bead_height": 10_000.0,
    "second_share": 1.0,
}

REALISTIC = Nuisances(
    noise=Noise.COLOURED,
    ice=0.15,
    envelope=80.0,
    contrast_spread=0.2,
    ramp=0.15,
    background=0.15,
    off_centre=0.03,
    junk=0.12,
    neighbours=0.15,
    defocus_error=150.0,
)
"""As in a good data set after two-dimensional classes have been looked at once."""
