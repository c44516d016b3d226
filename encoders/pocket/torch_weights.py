"""Load the shipped weights into torch towers, for training and comparison. The space itself runs without torch."""

from __future__ import annotations

from pathlib import Path

from safetensors import safe_open
from torch import nn

from bindsearch.types import Modality

from .encoder import WEIGHTS, check_weights, read_model_card
from .towers import AudioTower, build_tower


def build_pretrained_audio_tower(dim: int) -> AudioTower:
    """Build the shipped audio tower for a space of any dimension, with a new head."""
    tower = AudioTower(dim=dim)
    shipped = read_tower(Modality.AUDIO).state_dict()
    statistics = {"listening.head.mean", "listening.head.scale"}  # of the features, so they hold for any head
    pretrained = {
        name: value for name, value in shipped.items() if name.startswith(("trunk.", "widen.")) or name in statistics
    }
    tower.load_state_dict(pretrained, strict=False)
    return tower


def read_tower(modality: Modality, folder: Path = WEIGHTS) -> nn.Module:
    """Load one tower, in float32, from the file with all three. Raises `MissingWeights`."""
    path = folder / "pocket.safetensors"
    check_weights(path, read_model_card(folder / "card.json")["weights"])
    with safe_open(path, framework="pt") as file:
        names = [name for name in file.keys() if name.startswith(f"{modality}.")]
        weights = {name.removeprefix(f"{modality}."): file.get_tensor(name) for name in names}
    tower = build_tower(str(modality), weights)
    tower.load_state_dict(weights)
    return tower.float().eval()
