"""The march: on where a radius has settled, and no further than held-out particles support."""

from __future__ import annotations

import torch

from napari_cryospin.engine.inference.march import Evidence, March


def evidence(gain: float, beyond: float = 1.0) -> Evidence:
    noise = 0.01 * torch.randn(100, generator=torch.Generator().manual_seed(0))
    return Evidence(gain + noise, beyond + noise)


def test_a_radius_is_left_when_it_has_settled() -> None:
    march = March([3, 4, 5])
    rising = [1.0, 5.0, 10.0, 12.0]
    assert not any(march.check(evidence(gain)) for gain in rising)
    assert march.radius == 3
    assert march.check(evidence(12.1))
    assert march.radius == 4
    # the next radius is judged afresh
    assert not march.check(evidence(12.1))
    assert march.check(evidence(12.1))
    assert (march.radius, march.over) == (5, False)
    march.check(evidence(20.0))
    march.check(evidence(20.1))
    assert march.over


def test_the_march_ends_where_the_next_frequencies_explain_less() -> None:
    march = March([3, 4, 5])
    for _ in range(4):
        assert not march.check(evidence(5.0, beyond=-1.0))
    assert march.over
    assert march.radius == 3


def test_a_radius_that_never_settles_is_left_in_the_end() -> None:
    march = March([3, 4])
    checks = 1
    while not march.check(evidence(float(checks**2))):
        checks += 1
    assert checks < 30


def test_the_last_radius_is_not_left_while_poses_move_and_the_gain_rises() -> None:
    """By little from check to check, as a wrong map turns into the right one."""
    march = March([3])
    rising = [4 * 1.03**check for check in range(16)]
    assert not any(march.check(evidence(gain), 0.4) or march.over for gain in rising)
    flat = 0
    while not march.over:
        march.check(evidence(rising[-1]), 0.4)
        flat += 1
    assert 2 <= flat <= 8
    # and without moving poses at once
    march = March([3])
    march.check(evidence(4.0), 0.01)
    march.check(evidence(4.05), 0.01)
    assert march.over


def test_poses_that_never_rest_do_not_keep_a_march_for_ever() -> None:
    march = March([3])
    checks = 0
    while not march.over:
        checks += 1
        march.check(evidence(1.2**checks), 0.9)
    assert checks < 30


def test_a_march_that_was_refused_can_go_on() -> None:
    march = March([3, 4, 5])
    for _ in range(4):
        march.check(evidence(5.0, beyond=-1.0))
    assert march.over
    march.go_on()
    assert not march.over and march.radius == 3
    assert march.check(evidence(5.0))
    assert march.radius == 4


def test_without_held_out_particles_the_clock_decides() -> None:
    march = March([3, 4])
    assert [march.check(None) for _ in range(3)] == [False, False, True]


def test_the_next_radius_stays_below_nyquist() -> None:
    assert March([3, 4]).next_radius(15) == 4
    assert March([14]).next_radius(15) == 15
    assert March([15]).next_radius(15) == 15


def test_the_state_comes_back() -> None:
    march, other = March([3, 4, 5]), March([3, 4, 5])
    march.check(evidence(1.0))
    other.load_state(march.state())
    assert march.check(evidence(1.0)) is other.check(evidence(1.0)) is True
    assert other.radius == 4
