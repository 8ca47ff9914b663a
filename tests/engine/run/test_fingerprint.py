"""A run goes on with its own particles and settings, or one sentence says what differs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from napari_cryospin.engine.data.image_store import InMemory
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.run.fingerprint import fingerprint_of, require_particles
from napari_cryospin.engine.runfolder.fingerprint import Fingerprint, binding_settings
from napari_cryospin.engine.stages import DirectStage
from particle_images import all_images, with_images

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_cryospin.engine.data.particles import Particles
    from napari_cryospin.engine.settings import Settings


@pytest.fixture
def fingerprint(particles: Particles, settings: Settings) -> Fingerprint:
    """The fingerprint after its way through JSON."""
    figures = fingerprint_of(particles, settings).figures()
    return Fingerprint.from_figures(json.loads(json.dumps(figures)))


def test_the_same_particles_are_known_again(
    fingerprint: Fingerprint, particles: Particles, settings: Settings
) -> None:
    require_particles(fingerprint, particles)
    fingerprint.require_settings(settings, Path("settings.toml"))
    # another processor rounds otherwise
    noise = 1 + 1e-5 * torch.randn(
        all_images(particles).shape, generator=torch.Generator().manual_seed(0)
    )
    require_particles(fingerprint, with_images(particles, all_images(particles) * noise))


def test_bright_images_are_known_again_by_sixteen_bits(
    particles: Particles, settings: Settings
) -> None:
    bright = with_images(particles, 100 * all_images(particles))
    fingerprint = fingerprint_of(bright, settings)
    require_particles(fingerprint, with_images(bright, all_images(bright).half().float()))
    with pytest.raises(InputError, match="1 of 200 images"):
        require_particles(fingerprint, one_other_image(bright))
    with pytest.raises(InputError, match="the CTF of 1 of 200 particles"):
        require_particles(fingerprint, other_ctf(bright))


def test_the_place_of_the_files_does_not_matter(
    fingerprint: Fingerprint, particles: Particles
) -> None:
    table = replace(particles.table, source=Path("moved.star"), stacks=(Path("moved.mrcs"),))
    require_particles(fingerprint, replace(particles, table=table))


def taken(particles: Particles, rows: np.ndarray) -> Particles:
    places = torch.from_numpy(rows)
    return replace(
        particles,
        rows=particles.rows[rows],
        store=InMemory(all_images(particles)[places]),
        ctf_parameters=particles.ctf_parameters[places],
    )


def one_other_image(particles: Particles) -> Particles:
    images = all_images(particles).clone()
    images[7] = images[7].flip(0)
    return with_images(particles, images)


def other_ctf(particles: Particles) -> Particles:
    parameters = particles.ctf_parameters.clone()
    parameters[3, 0] += 100
    return replace(particles, ctf_parameters=parameters)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            lambda particles: taken(particles, np.arange(150)),
            "there were 200 particles, and now .* 150",
        ),
        (lambda particles: taken(particles, np.arange(200)[::-1].copy()), "in another order"),
        (lambda particles: taken(particles, np.roll(np.arange(200), 1)), "in another order"),
        (lambda particles: with_images(particles, -all_images(particles)), "200 of 200 images"),
        (one_other_image, "1 of 200 images"),
        (other_ctf, "the CTF of 1 of 200 particles"),
        (lambda particles: replace(particles, ctf_parameters=None), "the CTF of 200 of 200"),
        (lambda particles: replace(particles, pixel_size=4.1), "was 4 Å, and now is 4.1 Å"),
    ],
)
def test_other_particles_are_told(
    fingerprint: Fingerprint,
    particles: Particles,
    change: Callable[[Particles], Particles],
    told: str,
) -> None:
    with pytest.raises(InputError, match=told) as refused:
        require_particles(fingerprint, change(particles))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("data.box", 48),
        ("data.max_particles", 100),
        ("data.contrast", "black"),
        ("data.mask_diameter", 100.0),
        ("model.heads", 5),
        ("model.shifts", False),
        ("model.loss", "absolute"),
        ("seed", 7),
        ("starts", 3),
        ("held_out", 0.2),
        ("direct.hypotheses", 3),
        ("direct.volume_update", "closed form"),
    ],
)
def test_a_setting_that_shapes_the_run_must_stay(
    fingerprint: Fingerprint, settings: Settings, where: str, value: object
) -> None:
    settings.set(where, value)
    with pytest.raises(InputError, match=r"run/settings\.toml: setting '.*' was .* set it back"):
        fingerprint.require_settings(settings, Path("run/settings.toml"))


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("data.stack", Path("elsewhere.star")),
        ("data.truth_star", None),
        ("device", "cpu"),
        ("threads", 7),
        ("checkpoint_minutes", 1.0),
        ("direct.epochs", 50),
        ("direct.learning_rate_pose", 0.01),
        ("amortized.until", "hand"),
    ],
)
def test_other_settings_may_change(
    fingerprint: Fingerprint, settings: Settings, where: str, value: object
) -> None:
    settings.set(where, value)
    fingerprint.require_settings(settings, Path("settings.toml"))


def test_stages_may_be_added_but_not_taken_away(
    fingerprint: Fingerprint, settings: Settings
) -> None:
    settings.stages = [*settings.stages, DirectStage(epochs=1)]
    fingerprint.require_settings(settings, Path("settings.toml"))
    settings.stages = settings.stages[:1]
    with pytest.raises(InputError, match="is gone"):
        fingerprint.require_settings(settings, Path("settings.toml"))


def test_settings_of_another_version_do_not_matter(
    fingerprint: Fingerprint, settings: Settings
) -> None:
    older = {name: value for name, value in fingerprint.settings.items() if name != "model.scales"}
    newer = {**fingerprint.settings, "model.colour": "blue"}
    assert "model.scales" in binding_settings(settings)
    for kept in (older, newer):
        replace(fingerprint, settings=kept).require_settings(settings, Path("settings.toml"))


@pytest.mark.parametrize(
    "figures",
    [
        {},
        {"settings": {}, "pixel_size": 1.0, "particles": 3, "signatures": "AAAA"},
        {"settings": {}, "pixel_size": 1.0, "particles": 1, "signatures": "?"},
        {"settings": 3, "pixel_size": 1.0, "particles": 0, "signatures": ""},
    ],
)
def test_a_damaged_fingerprint_is_told(figures: dict[str, object]) -> None:
    with pytest.raises(InputError, match="does not tell what the run was made of"):
        Fingerprint.from_figures(figures)
