"""Which images count as showing the particle, and who has the last word on that: a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray
    from torch import Tensor

    Values = TypeVar("Values", Tensor, NDArray[Any])

# from which membership on an image counts as showing the particle
MEMBER = 0.5
# what was said of an image by hand: that it belongs, that it does not; open is what the program
# finds out
BELONGS, APART, OPEN = 1, -1, 0


def overruled(membership: Values, by_hand: Values) -> Values:
    """Return memberships (m,), but 1 or 0 where it was said ``by_hand`` (m,) whether one belongs.

    This is the one place where what a person says overrules what the program finds.
    """
    heeded: Values = membership * (by_hand == OPEN) + (by_hand == BELONGS)
    return heeded
