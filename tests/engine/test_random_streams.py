from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import pytest
import torch

from napari_cryospin.engine.random_streams import stream, stream_seed, torch_draws_from
from napari_cryospin.engine.run.training import Training

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from napari_cryospin.engine.data.particles import Particles
    from napari_cryospin.engine.settings import Settings

NAMES = ("held out", "order", "map", "samples", "encoder weights")


def test_a_stream_starts_from_the_same_number_on_every_machine() -> None:
    """What these numbers are is part of what a seed promises."""
    assert stream_seed(0, "order") == 12461857154190130237
    assert stream_seed(0, "order", 0) == 12060366453216369267
    assert stream_seed(7, "samples", 1, 12) == 6807347733490139847
    drawn = torch.rand(3, generator=stream(0, "order"), dtype=torch.float64)
    assert drawn.tolist() == [0.9422558906123237, 0.3189514867774086, 0.26173917641443856]


def test_streams_of_other_names_numbers_and_seeds_share_nothing() -> None:
    keys = [
        (seed, name, *numbers)
        for seed in range(3)
        for name in NAMES
        for numbers in ((), (0,), (1,), (2,), (0, 0), (0, 1), (1, 0))
    ]
    drawn = torch.stack([torch.randn(2000, generator=stream(*key)) for key in keys])
    agreement = torch.corrcoef(drawn).fill_diagonal_(0).abs()
    # five standard deviations of the correlation of 2000 independent numbers
    assert agreement.max() < 5 / 2000**0.5
    for one, other in combinations(range(len(keys)), 2):
        assert not set(drawn[one, :50].tolist()) & set(drawn[other, :50].tolist())


def test_held_out_choice_and_first_order_do_not_coincide(
    particles: Particles, settings: Settings
) -> None:
    assert settings.seed == 0 and particles.n >= 150
    settings.held_out = 0.4
    training = Training(particles, settings)
    held = training.held_out
    order = torch.randperm(particles.n, generator=stream(settings.seed, "order", 0))
    first = held[order[: int(held.sum())]].float().mean()
    # were they one stream, the held-out particles would be the first of the order
    assert first < 0.6
    training.begin_epoch()
    shuffled = torch.cat(training.batches())
    assert sorted(shuffled.tolist()) == (~held).nonzero().flatten().tolist()


def test_a_checkpoint_of_an_earlier_version_keeps_to_its_held_out_particles(
    particles: Particles, settings: Settings
) -> None:
    """It chose others from the same seed, and its map has learned from those of today."""
    training = Training(particles, settings)
    state = training.state()
    del state["kept_apart"]
    state["held_out"] = torch.arange(particles.n) % 5 == 0
    assert not torch.equal(state["held_out"], training.held_out)
    resumed = Training(particles, settings)
    resumed.load_state(state)
    resumed.begin_epoch()
    assert torch.equal(resumed.held_out, state["held_out"])


def test_orders_of_epochs_differ_and_repeat(particles: Particles, settings: Settings) -> None:
    training, again = Training(particles, settings), Training(particles, settings)
    orders = []
    for epoch in range(3):
        training.clock.epoch = again.clock.epoch = epoch
        orders.append(torch.cat(training.batches()))
        assert torch.equal(orders[-1], torch.cat(again.batches()))
    assert not any(torch.equal(one, other) for one, other in combinations(orders, 2))


def test_a_run_draws_nothing_from_torchs_own_generator(
    particles: Particles, settings: Settings
) -> None:
    states = []
    for own in (1, 2):
        torch.manual_seed(own)
        before = torch.get_rng_state()
        training = Training(particles, settings)
        training.begin_epoch()
        training.inference.train_batch(training.batches()[0])
        assert torch.equal(torch.get_rng_state(), before)
        states.append(training.poses.candidates)
    assert torch.equal(*states)


def test_torchs_own_generator_is_as_it_was() -> None:
    before = torch.get_rng_state()
    with pytest.raises(ZeroDivisionError), torch_draws_from(0, "encoder weights", 1):
        inside = torch.rand(3)
        _ = 1 / 0
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(inside, torch.rand(3, generator=stream(0, "encoder weights", 1)))


def test_a_stream_starts_from_the_same_number_on_every_device(
    second_device: Callable[[], AbstractContextManager[torch.device]],
) -> None:
    with second_device() as device:
        generator = stream(3, "samples", 5, device=device)
        assert generator.device.type == device.type
        assert generator.initial_seed() == stream_seed(3, "samples", 5)
