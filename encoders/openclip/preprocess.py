"""What open_clip does with a picture before its towers see it, part for part, without torch.

A prepared picture stays in bytes: the towers scale and centre it, on the device, in the same order of float32
operations as open_clip's own transform. So the values are the same to the last bit, a waiting picture takes a fourth
of the memory, and the decoding threads do nothing but resize.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image, Resampling, new

OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)
_FILTERS = {"bicubic": Resampling.BICUBIC, "bilinear": Resampling.BILINEAR, "random": Resampling.BICUBIC}

Pixels = NDArray[np.uint8]
"""*Shape:* (height, width, 3)"""


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How pictures become pixels; the fields are those of open_clip's `preprocess_cfg`."""

    size: tuple[int, int] = (224, 224)
    """Height and width."""
    mean: tuple[float, ...] = OPENAI_MEAN
    std: tuple[float, ...] = OPENAI_STD
    interpolation: str = "bicubic"
    resize_mode: str = "shortest"
    fill_color: int = 0

    @classmethod
    def of(cls, told: Mapping[str, Any], size: int | tuple[int, int]) -> Preprocessing:
        """Read what open_clip says of weights; what it leaves out is as OpenAI had it. Raises `ValueError`."""
        known = {key: told[key] for key in cls.__dataclass_fields__ if told.get(key) is not None and key != "size"}
        for name in ("mean", "std"):
            value = known.get(name)
            if value is not None:
                known[name] = (float(value),) * 3 if isinstance(value, int | float) else tuple(map(float, value))
        made = cls(**known | {"size": (size, size) if isinstance(size, int) else tuple(size)})
        if made.interpolation not in _FILTERS or made.resize_mode not in ("shortest", "longest", "squash"):
            raise ValueError(f"resizing by {made.interpolation!r} and {made.resize_mode!r} is not known")
        return made

    def as_json(self) -> dict[str, Any]:
        """Plain values, for the fingerprint."""
        return asdict(self)

    def __call__(self, picture: Image) -> Pixels:
        """Resize, and cut out the middle where the mode says so."""
        if self.resize_mode == "squash":
            shaped = self._resize(picture, self.size)
        elif self.resize_mode == "longest":
            shaped = _centre_crop(
                self._resize(picture, self._scaled_size(picture, longest=True)), self.size, self.fill_color
            )
        elif self.size[0] == self.size[1]:
            shaped = _centre_crop(self._resize(picture, _scale_shorter_side(picture, self.size[0])), self.size, 0)
        else:  # open_clip always takes the bicubic filter here
            scaled = self._scaled_size(picture, longest=False)
            shaped = _centre_crop(picture.resize(scaled[::-1], Resampling.BICUBIC), self.size, 0)
        return np.array(shaped.convert("RGB"), np.uint8)

    def _resize(self, picture: Image, size: tuple[int, int]) -> Image:
        return picture.resize(size[::-1], _FILTERS[self.interpolation])

    def _scaled_size(self, picture: Image, *, longest: bool) -> tuple[int, int]:
        """Scale so that the picture just fits, or just covers."""
        ratios = picture.height / self.size[0], picture.width / self.size[1]
        ratio = max(ratios) if longest else min(ratios)
        return max(1, round(picture.height / ratio)), max(1, round(picture.width / ratio))


def _scale_shorter_side(picture: Image, side: int) -> tuple[int, int]:
    """Scale so that the shorter side is `side`; the longer one is cut off to a whole number, as torchvision does."""
    shorter, longer = sorted(picture.size)
    other = int(side * longer / shorter)
    return (side, other) if picture.width >= picture.height else (other, side)


def _centre_crop(picture: Image, size: tuple[int, int], fill: int) -> Image:
    """Cut out the middle; what is missing at the sides is filled."""
    height, width = size
    short = max(0, width - picture.width), max(0, height - picture.height)
    if any(short):
        page = new(picture.mode, (picture.width + short[0], picture.height + short[1]), (fill,) * 3)
        page.paste(picture, (short[0] // 2, short[1] // 2))
        picture = page
    top, left = round((picture.height - height) / 2.0), round((picture.width - width) / 2.0)
    return picture.crop((left, top, left + width, top + height))
