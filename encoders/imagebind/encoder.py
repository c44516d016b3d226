"""The `imagebind` space: everything meets through pictures (Girdhar et al., 2023).

    imagebind                what `bindsearch spaces get imagebind` fetched
    imagebind/local:FOLDER   the same files, in a folder of one's own

Pictures and texts go through open_clip's ViT-H-14, which ImageBind took over and froze, with ImageBind's epsilon; sound
through ImageBind's own tower. A tower is read when something of its modality is encoded for the first time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from bindsearch.errors import MissingExtra
from bindsearch.ports import Prepared
from bindsearch.types import Modality, Piece, SpaceSpec, Vectors, Windowing

from ..openclip.preprocess import Preprocessing
from ..shared.lazy_towers import DeviceTowers
from .checkpoint import SPACE, ImageBindFiles, find_in_folder, find_published, load_audio_tower
from .fbank import CLIP_SAMPLES, reference_clips as make_reference_clips, resample, window_clip

PREPROCESSING_VERSION = "imagebind 1"
"""Change it with every change of what `prepare` or a tower gives."""
TEMPERATURE = 0.01
"""What pictures and texts were trained with; sound was trained with 0.05."""
_LETTERS_PER_TOKEN = 4
_TRIAL_CLIPS = 2
"""Clips of the trial of a dtype."""


class ImageBindEncoder(DeviceTowers):
    """Keeps the `Encoder` protocol with ImageBind's towers."""

    def __init__(self) -> None:
        """Find the published weights; towers wait. Raises `MissingWeights`, `DamagedWeights`, `MissingExtra`."""
        self._start(SPACE, find_published())

    @classmethod
    def local(cls, path: str) -> ImageBindEncoder:
        """Find the weights in a folder. Raises `MissingWeights`, `DamagedWeights`, `MissingExtra`."""
        folder = Path(path).expanduser().absolute()
        made = cls.__new__(cls)
        made._start(f"{SPACE}/local:{folder}", find_in_folder(folder))
        return made

    def _start(self, name: str, files: ImageBindFiles) -> None:
        self._files = files
        self._preprocessing = Preprocessing.of({}, files.model["vision_cfg"]["image_size"])
        self._initialise(_describe_space(name, files, self._preprocessing))

    def cost(self, modality: Modality) -> float:
        """Return what one prepared piece costs: tokens, seconds, or pixels."""
        if modality == Modality.TEXT:
            return float(self._length)
        height, width = self._preprocessing.size
        return self.spec.windowing.window if modality == Modality.AUDIO else float(height * width)

    def prepare(self, piece: Piece) -> Prepared:
        """Return the tokens of a text, resize a picture, turn a window of sound into its log-mel clip."""
        if isinstance(piece.content, str):
            return self._tokenizer(piece.content)[0].numpy()
        if isinstance(piece.content, Image):
            return self._preprocessing(piece.content)
        return window_clip(np.asarray(piece.content, np.float32))

    def encode(self, modality: Modality, batch: Sequence[Prepared]) -> Vectors:
        """Embed a batch of one modality. *Shape:* (len(batch), dim), float32."""
        if not batch:
            return np.empty((0, self.spec.dim), np.float32)
        kind = Modality.IMAGE if modality == Modality.VIDEO else modality
        vectors: Vectors = self._tower(kind)(np.stack(batch))
        return vectors

    def embed_recording(self, waveform: NDArray[np.float32], rate: int, *, reference_clips: bool = False) -> Vectors:
        """Embed one recording as a whole: the unit mean over its windows, all of it, all channels mixed.

        With `reference_clips` as published numbers were made: three clips of channel 0, evenly spread and perhaps
        overlapping. Raises `ValueError` for a recording below 25 ms then. *Shape:* (channels, n) to (dim,)
        """
        clips = make_reference_clips(waveform, rate) if reference_clips else _window_clips(waveform, rate)
        rows = self.encode(Modality.AUDIO, list(clips))
        mean = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).mean(axis=0)
        whole: Vectors = (mean / np.linalg.norm(mean)).astype(np.float32)
        return whole

    @property
    def _length(self) -> int:
        return int(self._files.model["text_cfg"].get("context_length", 77))

    @cached_property
    def _tokenizer(self) -> Any:
        try:
            from open_clip import SimpleTokenizer
        except ModuleNotFoundError as error:
            raise _missing_package(error) from error
        return SimpleTokenizer(context_length=self._length)

    def _load(self, kind: Modality) -> Any:
        key = self.spec.fingerprint
        try:
            if kind == Modality.AUDIO:
                return AudioPipeline.load(self._files, key=f"{key} audio")
            from ..openclip.towers import IMAGE, TEXT, load_tower

            files, tower = self._files, TEXT if kind == Modality.TEXT else IMAGE
            return load_tower(files.image_text, files.model, tower, preprocessing=self._preprocessing, key=key)
        except ModuleNotFoundError as error:
            raise _missing_package(error) from error


def local(path: str) -> ImageBindEncoder:
    """Return the encoder of the weights in a folder: what follows `imagebind/local:`. Raises as that does."""
    return ImageBindEncoder.local(path)


class AudioPipeline:
    """The audio tower at work on the device."""

    def __init__(self, module: Any, dtype: Any) -> None:
        from .fast_audio_tower import prepare_tower

        self._module = prepare_tower(module, dtype)

    @classmethod
    def load(cls, files: ImageBindFiles, *, key: str) -> AudioPipeline:
        """Load the tower to the device, in a dtype that suits it. `key` names the weights for what is measured."""
        import torch

        from ..shared.device import device, known_dtype, measure_dtype

        module = load_audio_tower(files).to(device())
        dtype = known_dtype(key, sum(each.numel() for each in module.parameters()), int8=True)
        if dtype is not None:
            return cls(module, dtype)
        shape = module.shape
        trial = torch.randn(_TRIAL_CLIPS, 1, shape.bands, shape.frames, generator=torch.Generator().manual_seed(0))
        made = {torch.float32: cls(module, torch.float32)}
        dtype = measure_dtype(
            key, lambda dtype: made[dtype].run(trial), lambda short: made.update({short: cls(module, short)})
        )
        # the trial in shorter numbers has used up the exact tower
        return cls(load_audio_tower(files).to(device()), dtype) if dtype is torch.float32 else made[dtype]

    def __call__(self, clips: NDArray[np.float32]) -> Vectors:
        """*Shape:* (n, 1, 128, 204) to (n, dim), float32."""
        import torch

        vectors: Vectors = self.run(torch.from_numpy(clips)).float().cpu().numpy()
        return vectors

    def run(self, clips: Any) -> Any:
        """Embed a tensor of clips, without a trace for gradients."""
        import torch

        from ..shared.device import device

        with torch.inference_mode():
            return self._module(clips.to(device()))


def _window_clips(waveform: NDArray[np.float32], rate: int) -> list[NDArray[np.float32]]:
    """Cut a recording into clips that lie side by side; the last one ends where it ends."""
    mono = resample(np.atleast_2d(np.asarray(waveform, np.float32)), rate).mean(axis=0)
    starts = [*range(0, len(mono) - CLIP_SAMPLES, CLIP_SAMPLES), max(0, len(mono) - CLIP_SAMPLES)]
    return [window_clip(mono[start : start + CLIP_SAMPLES]) for start in starts]


def _describe_space(name: str, files: ImageBindFiles, preprocessing: Preprocessing) -> SpaceSpec:
    length = int(files.model["text_cfg"].get("context_length", 77))
    windowing = Windowing(image_side=2 * max(preprocessing.size), passage=_LETTERS_PER_TOKEN * length)
    identity = [PREPROCESSING_VERSION, preprocessing.as_json(), str(windowing), *files.identity()]
    return SpaceSpec(
        name=name,
        dim=int(files.model["embed_dim"]),
        modalities=frozenset(Modality),
        licence="CC-BY-NC-SA-4.0",
        fingerprint=hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:32],
        summary="ImageBind: texts were paired with pictures and sounds with pictures, never texts with sounds.",
        windowing=windowing,
        temperature=TEMPERATURE,
        commercial=False,
    )


def _missing_package(error: ModuleNotFoundError) -> MissingExtra:
    return MissingExtra(f"{SPACE} needs the package {error.name!r}: pip install 'bindsearch[models]'")
