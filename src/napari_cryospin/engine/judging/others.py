"""What a map of the images that do not belong to another one comes to."""

from __future__ import annotations

from dataclasses import dataclass

# they show a structure where their map explains more than this share of them, and gains so many
# nats and standard errors more: of junk it explains none, and of noise it gains a nat or two, for
# shifts are summed over another grid than for its average
_EXPLAINED, _LEAST_GAIN, _SIGNIFICANT = 0.3, 3.0, 3.0


@dataclass(frozen=True)
class Others:
    """What a map that was made of images which do not belong to another says of them.

    Parameters
    ----------
    explained
        Share of those that judge it which it explains better than the run's map does, and than a
        spectrum of their own.
    gain, gain_error
        Mean log-likelihood of these with the map, less that with its rotational average, and its
        standard error, nats each.
    """

    explained: float
    gain: float
    gain_error: float

    @property
    def show_a_structure(self) -> bool:
        """Whether they show a structure of their own."""
        least = _LEAST_GAIN + _SIGNIFICANT * self.gain_error
        return self.explained > _EXPLAINED and self.gain > least
