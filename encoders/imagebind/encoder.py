"""The `imagebind` space: texts and sounds were each aligned with images (Girdhar et al., 2023).

    imagebind                the files that `bindsearch spaces get imagebind` fetched
    imagebind/local:FOLDER   the same files in another folder

Images and texts use open_clip's ViT-H-14, which ImageBind adopted and froze, with ImageBind's epsilon. Sound uses
ImageBind's own tower. A tower is loaded when something of its modality is first encoded.
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
"""Part of the fingerprint: change it whenever the output of `prepare` or of a tower changes."""
TEMPERATURE = 0.01
"""Temperature with which images and texts were trained; sound was trained with 0.05."""
_CHARACTERS_PER_TOKEN = 4
_TRIAL_CLIPS = 2
"""Clips with which a dtype is tried."""


class ImageBindEncoder(DeviceTowers):
    """Implements `Encoder` with ImageBind's towers."""

    def __init__(self) -> None:
        """Find the published weights, without loading a tower.

        Raises `MissingWeights`, `DamagedWeights`, `MissingExtra`.
        """
        self._use(SPACE, find_published())

    @classmethod
    def local(cls, path: str) -> ImageBindEncoder:
        """Return the encoder of the weights in a folder, without loading a tower.

        Raises `MissingWeights`, `DamagedWeights`, `MissingExtra`.
        """
        folder = Path(path).expanduser().absolute()
        encoder = cls.__new__(cls)
        encoder._use(f"{SPACE}/local:{folder}", find_in_folder(folder))
        return encoder

    def _use(self, name: str, files: ImageBindFiles) -> None:
        self._files = files
        self._preprocessing = Preprocessing.of({}, files.model["vision_cfg"]["image_size"])
        self._initialise(_describe_space(name, files, self._preprocessing))

    def cost(self, modality: Modality) -> float:
        """Return the size of one prepared piece: tokens of a text, seconds of a sound, pixels of an image."""
        if modality == Modality.TEXT:
            return float(self._context_length)
        height, width = self._preprocessing.size
        return self.spec.windowing.window if modality == Modality.AUDIO else float(height * width)

    def prepare(self, piece: Piece) -> Prepared:
        """Tokenise a text, resize an image, or compute the log-mel clip of a window of sound."""
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
        """Return the normalised mean over all windows of a recording, with its channels mixed.

        With `reference_clips`, use the three clips that the published figures were computed from: channel 0, evenly
        spaced, overlapping in short recordings. This raises `ValueError` for a recording shorter than 25 ms.
        *Shape:* (channels, n) to (dim,)
        """
        clips = make_reference_clips(waveform, rate) if reference_clips else _window_clips(waveform, rate)
        rows = self.encode(Modality.AUDIO, list(clips))
        mean = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).mean(axis=0)
        vector: Vectors = (mean / np.linalg.norm(mean)).astype(np.float32)
        return vector

    @property
    def _context_length(self) -> int:
        return int(self._files.model["text_cfg"].get("context_length", 77))

    @cached_property
    def _tokenizer(self) -> Any:
        try:
            from open_clip import SimpleTokenizer
        except ModuleNotFoundError as error:
            raise _missing_package(error) from error
        return SimpleTokenizer(context_length=self._context_length)

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
    """Return the encoder for `imagebind/local:PATH`; see `ImageBindEncoder.local`."""
    return ImageBindEncoder.local(path)


class AudioPipeline:
    """Runs the audio tower on the device."""

    def __init__(self, module: Any, dtype: Any) -> None:
        from .fast_audio_tower import prepare_tower

        self._module = prepare_tower(module, dtype)

    @classmethod
    def load(cls, files: ImageBindFiles, *, key: str) -> AudioPipeline:
        """Load the tower to the device, in the dtype that suits both.

        `key` identifies the weights in the cache of measured dtypes.
        """
        import torch

        from ..shared.device import device, known_dtype, measure_dtype

        module = load_audio_tower(files).to(device())
        dtype = known_dtype(key, sum(parameter.numel() for parameter in module.parameters()), int8=True)
        if dtype is not None:
            return cls(module, dtype)
        config = module.config
        clips = torch.randn(_TRIAL_CLIPS, 1, config.bands, config.frames, generator=torch.Generator().manual_seed(0))
        pipelines = {torch.float32: cls(module, torch.float32)}
        dtype = measure_dtype(
            key, lambda dtype: pipelines[dtype].run(clips), lambda short: pipelines.update({short: cls(module, short)})
        )
        # the trial in the shorter dtype has consumed the float32 tower
        return cls(load_audio_tower(files).to(device()), dtype) if dtype is torch.float32 else pipelines[dtype]

    def __call__(self, clips: NDArray[np.float32]) -> Vectors:
        """*Shape:* (n, 1, 128, 204) to (n, dim), float32."""
        import torch

        vectors: Vectors = self.run(torch.from_numpy(clips)).float().cpu().numpy()
        return vectors

    def run(self, clips: Any) -> Any:
        """Embed a tensor of clips, without gradients."""
        import torch

        from ..shared.device import device

        with torch.inference_mode():
            return self._module(clips.to(device()))


def _window_clips(waveform: NDArray[np.float32], rate: int) -> list[NDArray[np.float32]]:
    """Cut a recording into adjacent clips; the last one is moved back to end with the recording."""
    mono = resample(np.atleast_2d(np.asarray(waveform, np.float32)), rate).mean(axis=0)
    starts = [*range(0, len(mono) - CLIP_SAMPLES, CLIP_SAMPLES), max(0, len(mono) - CLIP_SAMPLES)]
    return [window_clip(mono[start : start + CLIP_SAMPLES]) for start in starts]


def _describe_space(name: str, files: ImageBindFiles, preprocessing: Preprocessing) -> SpaceSpec:
    length = int(files.model["text_cfg"].get("context_length", 77))
    windowing = Windowing(image_side=2 * max(preprocessing.size), passage=_CHARACTERS_PER_TOKEN * length)
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
