"""open_clip's preprocessing of images, step by step, without torch.

A prepared image stays in bytes. The towers scale and centre it on the device, in the same order of float32 operations
as open_clip's own transform. So the values are equal to the last bit, a prepared image takes a quarter of the memory
while it waits, and the decoding threads only resize.
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
    """How images are resized and normalised; the fields are those of open_clip's `preprocess_cfg`."""

    size: tuple[int, int] = (224, 224)
    """Height and width."""
    mean: tuple[float, ...] = OPENAI_MEAN
    std: tuple[float, ...] = OPENAI_STD
    interpolation: str = "bicubic"
    resize_mode: str = "shortest"
    fill_color: int = 0

    @classmethod
    def of(cls, config: Mapping[str, Any], size: int | tuple[int, int]) -> Preprocessing:
        """Return the preprocessing of a `preprocess_cfg`; fields that it lacks are as for OpenAI's weights.

        Raises `ValueError` for an unknown filter or mode.
        """
        known = {key: config[key] for key in cls.__dataclass_fields__ if config.get(key) is not None and key != "size"}
        for name in ("mean", "std"):
            value = known.get(name)
            if value is not None:
                known[name] = (float(value),) * 3 if isinstance(value, int | float) else tuple(map(float, value))
        preprocessing = cls(**known | {"size": (size, size) if isinstance(size, int) else tuple(size)})
        if preprocessing.interpolation not in _FILTERS or preprocessing.resize_mode not in (
            "shortest",
            "longest",
            "squash",
        ):
            raise ValueError(
                f"unknown interpolation {preprocessing.interpolation!r} or resize mode {preprocessing.resize_mode!r}"
            )
        return preprocessing

    def as_json(self) -> dict[str, Any]:
        """Return plain values, for the fingerprint."""
        return asdict(self)

    def __call__(self, image: Image) -> Pixels:
        """Resize to `size`; crop the centre if the mode does. *Shape:* (height, width, 3), uint8"""
        if self.resize_mode == "squash":
            resized = self._resize(image, self.size)
        elif self.resize_mode == "longest":
            resized = _centre_crop(
                self._resize(image, self._scaled_size(image, longest=True)), self.size, self.fill_color
            )
        elif self.size[0] == self.size[1]:
            resized = _centre_crop(self._resize(image, _scale_shorter_side(image, self.size[0])), self.size, 0)
        else:  # open_clip always uses the bicubic filter here
            scaled = self._scaled_size(image, longest=False)
            resized = _centre_crop(image.resize(scaled[::-1], Resampling.BICUBIC), self.size, 0)
        return np.array(resized.convert("RGB"), np.uint8)

    def _resize(self, image: Image, size: tuple[int, int]) -> Image:
        return image.resize(size[::-1], _FILTERS[self.interpolation])

    def _scaled_size(self, image: Image, *, longest: bool) -> tuple[int, int]:
        """Return the size at which the image just fits into `size` (`longest`), or just covers it."""
        ratios = image.height / self.size[0], image.width / self.size[1]
        ratio = max(ratios) if longest else min(ratios)
        return max(1, round(image.height / ratio)), max(1, round(image.width / ratio))


def _scale_shorter_side(image: Image, side: int) -> tuple[int, int]:
    """Return the size at which the shorter side is `side`; the longer one is rounded down, as in torchvision."""
    shorter, longer = sorted(image.size)
    other = int(side * longer / shorter)
    return (side, other) if image.width >= image.height else (other, side)


def _centre_crop(image: Image, size: tuple[int, int], fill: int) -> Image:
    """Crop the centre; an image that is too small is padded."""
    height, width = size
    missing = max(0, width - image.width), max(0, height - image.height)
    if any(missing):
        canvas = new(image.mode, (image.width + missing[0], image.height + missing[1]), (fill,) * 3)
        canvas.paste(image, (missing[0] // 2, missing[1] // 2))
        image = canvas
    top, left = round((image.height - height) / 2.0), round((image.width - width) / 2.0)
    return image.crop((left, top, left + width, top + height))
