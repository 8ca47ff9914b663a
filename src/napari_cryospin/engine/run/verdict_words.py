"""What a verdict says, sentence by sentence: its evidence, and what can be done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_cryospin.engine.evaluation.directions import ONE_UNIT
from napari_cryospin.engine.runfolder.verdict import Cause, Outcome
from napari_cryospin.engine.settings import MOST_CLASSES

if TYPE_CHECKING:
    from napari_cryospin.engine.half_resolution import HalfResolution
    from napari_cryospin.engine.judging.evidence import Judgement
    from napari_cryospin.engine.judging.symmetry import MapSymmetry
    from napari_cryospin.engine.run.judgement import Measured

_CAUSES = {
    Cause.OFF_CENTRE: "Estimate shifts: the particles are off-centre.",
    Cause.OUTLIERS: "Look at the images that do not belong, in the table of particles.",
    Cause.MATES: (
        "If the molecule is not quite symmetric, particles went to the wrong mate as often as to "
        "the right one, and the map is an average: more particles, or a larger working box, may "
        "tell the mates apart. If it is symmetric, and flexes, any of the mates is right."
    ),
    Cause.TOO_LITTLE_SIGNAL: (
        "A particle tells too little: more particles, or less noisy ones, are needed."
    ),
}
_MEMBERS = (
    "with the particles of one of them: export --which members, or others, writes those that "
    "belong to this map, or do not."
)
_UNEXPLAINED = (
    "No cause was found among those that are looked for. Real particles that flex or are damaged "
    "leave something unexplained too: look at the map before you trust it."
)
_NOT_FOUND_AGAIN = (
    "Another start gives other poses to many particles, and nothing else tells which are right: "
    "look at the distribution of views, and run more starts (--starts)."
)
_COMPETING = "Look at the maps of both starts, and run more of them (--starts)."


def evidence(judged: Judgement, measured: Measured | None) -> tuple[str, ...]:
    """Return what was measured, in words; ``measured`` is None where there is no structure."""
    said = [
        f"The map raises the log-likelihood of {len(judged.gain)} held-out particles by "
        f"{judged.mean_gain:.2f} ± {judged.gain_error:.2f} nats each over its rotational average.",
        f"A particle tells {float(judged.information.mean()):.1f} nats of its pose.",
    ]
    if measured is None:
        return tuple(said)
    misfit = measured.findings.misfit
    if misfit is not None:
        said.append(
            f"The map explains {100 * misfit.explained:.0f} % of the signal that particles carry; "
            "97 % or more is usual."
        )
    mates, modulo = measured.findings.mates, ""
    if measured.modulo_mates:
        if measured.symmetry is None or not measured.symmetry.true:
            said.append(f"The map looks the same after certain turns: {len(mates.turns)} mates.")
        modulo = ", whichever of the mates they are at"
    said.append(
        f"{100 * measured.expected_right:.0f} % of their poses are expected to be right, if the "
        f"map is{modulo}."
    )
    if measured.agree is not None:
        said.append(
            "The two best starts agree on the poses of "
            f"{100 * measured.agree:.0f} % of the particles{modulo}."
        )
    symmetry = symmetry_words(
        measured.symmetry, symmetric=measured.symmetric, advised=measured.classes == 1
    )
    return (*said, *_findings(measured), *symmetry)


def by_halves(halves: HalfResolution | None) -> tuple[str, ...]:
    """Return what independent halves say, in words; nothing where they share poses."""
    return () if halves is None or halves.shared is None else (halves.sentence(),)


def advice(
    outcome: Outcome, cause: Cause | None, *, missed_symmetry: bool = False, classes: int = 1
) -> tuple[str, ...]:
    """Return what can be done, in words; of a symmetry that was missed that is said with it.

    ``classes`` is how many the run has.
    """
    said = []
    if cause is Cause.SEVERAL_STRUCTURES:
        said.append(_more_classes(classes))
    elif cause is not None:
        said.append(_CAUSES[cause])
    if outcome is Outcome.UNEXPLAINED and cause is None:
        said.append(_UNEXPLAINED)
    if outcome is Outcome.UNCERTAIN and cause is None and not missed_symmetry:
        said.append(_NOT_FOUND_AGAIN)
    if outcome is Outcome.COMPETING:
        said.append(_COMPETING)
    return tuple(said)


def _more_classes(classes: int) -> str:
    """Return what can be done where a class of so many shows several structures."""
    if classes == MOST_CLASSES:
        return f"Run again {_MEMBERS}"
    more = f"--classes {classes + 1}, Classes in the dock"
    return f"Run again with more classes ({more}), or {_MEMBERS}"


def contrast_warning() -> str:
    """Return what is said of a map whose density is negative."""
    return (
        "the map's density is negative: the contrast of the particles is likely to be the other "
        "one; give --contrast (black or white), or turn it on the Data tab."
    )


def pixel_size_warning(factor: float, pixel_size: float) -> str:
    """Return what is said of CTFs that fit another pixel size (Å) than the one given."""
    return (
        f"the CTFs would fit better with pixels {abs(factor - 1):.0%} "
        f"{'larger' if factor > 1 else 'smaller'} (working pixels of {factor * pixel_size:.2f} Å "
        f"instead of {pixel_size:.2f}): check the pixel size, the voltage and the defocus."
    )


def symmetry_words(
    found: MapSymmetry | None, *, symmetric: bool | None = None, advised: bool = True
) -> tuple[str, ...]:
    """Return what is said of a symmetry that the run was not told of.

    Parameters
    ----------
    found
        The symmetry; None: nothing is said.
    symmetric
        Whether the molecule has it; by default where the map has.
    advised
        Whether to say how to go on with it: of one class of several that is the others' affair too.
    """
    if found is None:
        return ()
    name, halves = found.name, ""
    if found.correlation is not None and found.allowed is not None:
        halves = f"correlation {found.correlation:.2f} after its turns, "
        halves += f"{found.allowed:.2f} between its halves without any"
    if not (found.true if symmetric is None else symmetric):
        less = "" if found.gain is None or found.gain > 0 else _likelier(found.gain)
        if found.told_apart is not None and found.told_apart > 1:
            less = f"; at their poses particles are {found.told_apart:.1f} nats less likely by it"
        elif found.true:
            less = ", but the particles differ from it"
        return (f"The map is nearly {name}-symmetric, a pseudo-symmetry: {halves}{less}.",)
    x, y, z = found.axis
    go_on = (go_on_with(name),) if advised else ()
    if found.missed and found.gain is not None:
        told = f" ({halves})" if halves else ""
        return (
            f"The particles are {found.gain:.1f} nats likelier each by a map of symmetry {name}, "
            f"which this one has not{told}: it is likely to be wrong.",
            *go_on,
        )
    along = f"about the axis (x, y, z) = ({x:.2f}, {y:.2f}, {z:.2f})".replace("-", "−")
    return (f"The map looks {name}-symmetric {along}: {halves}.", *go_on)


def go_on_with(name: str) -> str:
    """Return how to go on with the symmetry of a run."""
    return f"Go on with {name}: the button in Results, or napari-cryospin symmetrise."


def go_on_alone(name: str, number: int) -> str:
    """Return how to go on with the symmetry of one class, from 1, which not all classes have."""
    return (
        f"Not all classes have the symmetry {name} of class {number}: to go on with it, export "
        f"that class alone (export --classes {number}), and go on from a run of it."
    )


def _likelier(gain: float) -> str:
    """Return how much less likely particles are by a map that has a symmetry, in words."""
    return f"; held-out particles are {-gain:.1f} nats less likely each by a map that has it"


def views_warning(ratio: float, sampling: float, *, symmetric: bool) -> str:
    """Return what is said of a map that is not known in all directions.

    ``symmetric`` is whether the run was told of a symmetry.
    """
    said = (
        "preferred orientation limits the map: the half-maps agree far less along some directions "
        f"than along others (cone ratio {ratio:.2f}, sampling {sampling:.2f}; 1 is even). Other "
        "views, as of a tilted grid, would help; more of the same will not."
    )
    if symmetric or sampling >= ONE_UNIT:
        return said
    # all mates are as likely: particles may go to those that are known best, which makes them so
    return (
        f"{said} Or the molecule is symmetric, and all particles went to one of its units, so that "
        "the map is known from there alone: a run with its symmetry (--symmetry) tells."
    )


def _findings(measured: Measured) -> list[str]:
    """Return what was found where something was in doubt."""
    found, said = measured.findings, []
    cause = measured.cause
    if cause is Cause.OFF_CENTRE and found.centring is not None:
        said.append(
            f"Poses gain {found.centring.gain:.0f} nats each (median; less than 1 is usual) from "
            f"shifts of {found.centring.rms:.1f} working pixels."
        )
    if cause is Cause.SEVERAL_STRUCTURES and found.shares is not None:
        one, two = (round(100 * share) for share in found.shares)
        said.append(f"The particles show two structures, about {one} % and {two} %.")
        if found.others_show_one:
            said.append(
                f"This map is of {100 * (1 - found.strangers):.0f} % of the images; the others, "
                "which do not belong to it, make a map of their own."
            )
    if cause is Cause.OUTLIERS and found.misfit is not None:
        said.append(
            f"{100 * found.outliers:.0f} % of the images do not show this particle, or hold far "
            "less of it than the others, and are not counted; without the three in ten of the "
            "others that fit worst the map explains "
            f"{100 / (1 + max(found.misfit.without_worst, 0)):.0f} % of the signal."
        )
    if cause is Cause.MATES:
        if not measured.modulo_mates:
            n = len(found.mates.turns)
            said.append(f"The map looks much the same after turns to {n} mates.")
        said.append("Particles differ from it by more than noise.")
    if measured.outcome is Outcome.COMPETING:
        said.append("The held-out particles do not prefer one of them.")
    return said
