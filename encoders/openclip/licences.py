"""The licences of open_clip's weights, which open_clip itself does not list."""

from __future__ import annotations

from fnmatch import fnmatch
from typing import NamedTuple


class Licence(NamedTuple):
    """A licence of weights."""

    name: str
    commercial: bool
    """Whether it is known to allow commercial use."""


UNSTATED = Licence("not stated", commercial=False)

LICENCES = {
    "*/openai": Licence("MIT", commercial=True),
    "ViT-B-32/laion2b_s34b_b79k": Licence("MIT", commercial=True),
    "ViT-H-14/laion2b_s32b_b79k": Licence("MIT", commercial=True),
    "ViT-B-16/datacomp_xl_s13b_b90k": Licence("MIT", commercial=True),
    "PE-Core-*/meta": Licence("Apache-2.0", commercial=True),
    "MobileCLIP-*/datacompdr*": Licence("apple-amlr", commercial=False),
}
"""Pattern of MODEL/TAG -> licence of the weights; the first pattern that matches counts.

Only licences that were read where the weights are published. A tag often names the training images, not the
publisher, so it does not imply a licence.
"""


def licence_of(name: str) -> Licence:
    """Return the licence of the weights of MODEL/TAG; `UNSTATED` if it is not known."""
    return next((licence for pattern, licence in LICENCES.items() if fnmatch(name, pattern)), UNSTATED)
