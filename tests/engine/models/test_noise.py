from __future__ import annotations

import torch

from napari_cryospin.engine.models.image import ImageModel
from napari_cryospin.engine.models.noise import NoiseSpectrum, mean_power


def noise_of(images: torch.Tensor) -> torch.Tensor:
    model = ImageModel.within(32, 16)
    power = mean_power(model.coefficients(images))
    return NoiseSpectrum.of_residuals(power, model, 1.0).variance


def test_clean_images_are_all_averaged() -> None:
    values = torch.randn(100, 50, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(mean_power(values), values.square().mean(0))


def test_a_few_outshining_images_do_not_set_the_noise() -> None:
    images = torch.randn(200, 32, 32, generator=torch.Generator().manual_seed(0))
    clean = noise_of(images)
    images[::50, 10:14, 10:14] += 60
    assert (noise_of(images) / clean - 1).abs().max() < 0.05
