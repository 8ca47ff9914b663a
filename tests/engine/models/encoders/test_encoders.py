from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
import torch

from napari_cryospin.engine.geometry.rotations import angular_distance
from napari_cryospin.engine.models.encoders.choice import encoder_of
from napari_cryospin.engine.settings import ModelSettings

if TYPE_CHECKING:
    from napari_cryospin.engine.models.encoders.interface import Encoder

CPU = torch.device("cpu")


def made(kind: str, box: int = 32, **settings: object) -> Encoder:
    torch.manual_seed(0)
    return encoder_of(ModelSettings.model_validate({"encoder": kind, **settings}), box, CPU)


@pytest.mark.parametrize("kind", ["polar", "vgg"])
@pytest.mark.parametrize("box", [32, 50, 64])
def test_every_head_gives_a_pose_at_every_turn(kind: str, box: int) -> None:
    encoder = made(kind, box, heads=5, turns=8, encoder_width=8)
    images = torch.randn(3, box, box)
    seen = encoder.look(images, torch.ones(3, len(encoder.frequencies)))
    poses = encoder(seen)
    assert encoder.candidates == encoder.heads * encoder.turns
    assert poses.rotations.shape == (3, encoder.candidates, 3, 3)
    assert torch.allclose(torch.linalg.det(poses.rotations), torch.tensor(1.0), atol=1e-4)
    assert poses.shifts.shape == (3, encoder.candidates, 2)
    assert bool(poses.shifts.any()) == encoder.gives_shifts
    assert poses.shifts.abs().max() <= 0.1 * box


@pytest.mark.parametrize("kind", ["polar", "vgg"])
def test_heads_that_have_learned_nothing_say_different_poses(kind: str) -> None:
    # of uniform ones two are 126° apart; without normalisation heads began 42° to 68° apart
    encoder = made(kind, heads=4, turns=1, encoder_width=None)
    seen = encoder.look(torch.randn(64, 32, 32), torch.ones(64, len(encoder.frequencies)))
    rotations = encoder(seen).rotations.detach()
    pairs = itertools.combinations(range(4), 2)
    apart = [float(angular_distance(rotations[:, a], rotations[:, b]).mean()) for a, b in pairs]
    assert sum(apart) / len(apart) > 110


@pytest.mark.parametrize("heads", [1, 3])
def test_one_turn_is_a_part_of_all(heads: int) -> None:
    encoder = made("polar", heads=heads, turns=8).eval()
    seen = encoder.look(torch.randn(5, 32, 32), torch.ones(5, 160))
    turn = torch.tensor([0, 3, 7, 1, 4])
    everything = encoder(seen).rotations.unflatten(1, (heads, 8))
    one = encoder(seen, turn).rotations
    assert torch.allclose(one, everything[torch.arange(5), :, turn], atol=1e-5)


def test_an_image_turned_in_its_plane_has_the_same_candidates_turned() -> None:
    encoder = made("polar", heads=2, turns=32).eval().requires_grad_(False)
    image = torch.zeros(1, 32, 32)
    # by right angles an image of odd size is turned without interpolation
    image[:, 1:, 1:] = torch.randn(1, 31, 31)
    turned = torch.zeros_like(image)
    turned[:, 1:, 1:] = image[:, 1:, 1:].rot90(1, (1, 2))
    ctf = torch.ones(1, 160)
    first = encoder(encoder.look(image, ctf)).rotations.unflatten(1, (2, 32))
    second = encoder(encoder.look(turned, ctf)).rotations.unflatten(1, (2, 32))
    # one of both ways round, by a quarter of the 32 turns
    quarter = torch.tensor([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]])
    apart = [
        float((turn @ first.roll(steps, 2) - second).abs().max())
        for turn, steps in ((quarter, 8), (quarter, -8), (quarter.T, 8), (quarter.T, -8))
    ]
    assert min(apart) < 1e-3


def test_a_shift_is_taken_out_before_the_encoder_looks() -> None:
    encoder = made("polar", box=64)
    image = torch.zeros(1, 64, 64)
    image[:, 20:40, 18:44] = torch.randn(1, 10, 13).repeat_interleave(2, 1).repeat_interleave(2, 2)
    moved = image.roll((3, -5), (1, 2))
    ctf = torch.ones(1, 160)
    here = encoder.look(image, ctf)
    # the content lies at −shift: three pixels down the rows, five to the left
    there = encoder.look(moved, ctf)
    assert (here - encoder.centred(there, torch.tensor([[5.0, -3.0]]))).abs().mean() < 0.02
    wrong = encoder.centred(there, torch.tensor([[-5.0, 3.0]]))
    assert (here - wrong).abs().mean() > 0.3


def test_a_larger_box_shows_the_same_rings() -> None:
    y, x = torch.meshgrid(torch.arange(64) - 32.0, torch.arange(64) - 32.0, indexing="ij")
    blobs = torch.exp(-((x - 6) ** 2 + (y + 4) ** 2) / 60) + torch.exp(-(x**2 + (y - 9) ** 2) / 90)
    small, large = made("polar", box=32), made("polar", box=64)
    ctf = torch.ones(1, 160)
    fine = large.look(blobs[None], ctf)
    coarse = small.look(blobs[None, ::2, ::2], ctf)
    assert torch.allclose(fine[:, :5], coarse[:, :5], atol=0.02)


def test_a_ctf_of_the_other_sign_changes_nothing() -> None:
    encoder = made("polar")
    image = torch.randn(2, 32, 32)
    ctf = torch.rand(2, 160) - 0.5
    assert torch.allclose(encoder.look(image, ctf), encoder.look(-image, -ctf), atol=1e-5)


def test_the_papers_encoder_has_the_papers_size() -> None:
    encoder = made("vgg", 128, heads=7, encoder_width=64, shifts=False)
    millions = sum(p.numel() for p in encoder.parameters()) / 1e6
    # Table 2 of the paper states 13.0 M for the whole model
    assert 10 < millions < 22
