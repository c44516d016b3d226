from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from bindsearch.encoders.pocket.encoder import IMAGE_SIDE, PocketEncoder
from bindsearch.encoders.pocket.spectrogram import BANDS, RATE, WINDOW_SAMPLES, spectrogram
from bindsearch.encoders.pocket.wordpiece import UNKNOWN_TOKEN, WordPieceTokenizer
from PIL import Image

from bindsearch.errors import MissingWeights
from bindsearch.types import Modality, Piece

VOCABULARY = ["[PAD]", "[UNK]", "a", "dog", "bark", "##ing", "##s", "cafe", ",", "!", "run"]


def tone(hertz: float, seconds: float = 2.0) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE)) / RATE)).astype(np.float32)


# Tokenizer --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("A dog, barking!", ["a", "dog", ",", "bark", "##ing", "!"]),
        ("Café dogs", ["cafe", "dog", "##s"]),
        ("runabout a", ["run", "[UNK]", "a"]),
        ("日本", ["[UNK]"]),
        ("", []),
        ("x" * 100, ["[UNK]"]),
    ],
)
def test_tokenizer_splits_text_into_the_longest_pieces(text, pieces):
    assert WordPieceTokenizer(VOCABULARY).encode(text) == [VOCABULARY.index(piece) for piece in pieces]


def test_unknown_token_is_its_line_in_the_vocabulary(tmp_path):
    (tmp_path / "words.txt").write_text("\n".join(VOCABULARY), encoding="utf-8")
    tokenizer = WordPieceTokenizer.from_file(tmp_path / "words.txt")
    assert len(tokenizer) == len(VOCABULARY)
    assert tokenizer.encode("zebra") == [UNKNOWN_TOKEN]


# Spectrograms -----------------------------------------------------------------------------------------------------


def test_tone_peaks_in_its_band():
    bands = [int(spectrogram(tone(hertz)).mean(axis=0).argmax()) for hertz in (200, 1000, 4000)]
    assert bands == sorted(bands)
    edges = np.linspace(1127 * np.log(1 + 125 / 700), 1127 * np.log(1 + 7500 / 700), BANDS + 2)
    centres = 700 * (np.exp(edges[1:-1] / 1127) - 1)
    for band, hertz in zip(bands, (200, 1000, 4000), strict=True):
        assert abs(centres[band] - hertz) < 0.06 * hertz + 25


def test_twice_the_amplitude_adds_log_2_to_the_band():
    quiet, loud = spectrogram(tone(1000)), spectrogram(2 * tone(1000))
    band = int(quiet.mean(axis=0).argmax())
    assert np.allclose((loud - quiet)[:190, band], np.log(2) / 2, atol=1e-3)


def test_short_sound_is_repeated_and_silence_is_finite():
    half = tone(1000, 1.0)
    assert np.array_equal(spectrogram(half), spectrogram(np.concatenate([half, half])))
    assert np.isfinite(spectrogram(np.zeros(0, np.float32))).all()
    assert np.ptp(spectrogram(np.zeros(WINDOW_SAMPLES, np.float32))) == 0


# The encoder ------------------------------------------------------------------------------------------------------


def test_missing_weights_are_reported(tmp_path):
    with pytest.raises(
        MissingWeights, match=r"card\.json cannot be read: the weights of the pocket space are not installed"
    ):
        PocketEncoder(tmp_path)


def write_random_model(folder: Path) -> Path:
    """Write a model with random weights, and return the folder."""
    torch = pytest.importorskip("torch", reason="the towers need torch")
    save = pytest.importorskip("safetensors.torch", reason="the weights are safetensors")
    from bindsearch.encoders.pocket import towers as towers

    torch.manual_seed(0)
    modules = {
        "image": towers.ImageTower(),
        "text": towers.TextTower(towers.TextConfig(len(VOCABULARY), length=32)),
        "audio": towers.AudioTower(),
    }
    weights = {
        f"{modality}.{name}": value for modality, tower in modules.items() for name, value in tower.state_dict().items()
    }
    float16 = {name: value.half() if value.is_floating_point() else value for name, value in weights.items()}
    save.save_file(float16, folder / "pocket.safetensors")
    (folder / "words.txt").write_text("\n".join(VOCABULARY), encoding="utf-8")
    digest = hashlib.sha256((folder / "pocket.safetensors").read_bytes()).hexdigest()
    (folder / "card.json").write_text(json.dumps({"dim": 256, "weights": digest}))
    return folder


IMAGES = [
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (100 + 40 * seed, 120, 3), dtype=np.uint8))
    for seed in range(4)
]
PIECES = {
    Modality.IMAGE: [Piece(Modality.IMAGE, image) for image in IMAGES],
    Modality.TEXT: [Piece(Modality.TEXT, text) for text in ("a dog", "dogs barking, a dog!", "", "a " * 90)],
    Modality.AUDIO: [
        Piece(Modality.AUDIO, tone(hertz, seconds)) for hertz, seconds in ((90, 2), (900, 2), (5000, 0.3))
    ],
}


def test_vectors_do_not_depend_on_the_batch_or_the_run(tmp_path):
    encoder = PocketEncoder(write_random_model(tmp_path))
    for modality, pieces in PIECES.items():
        prepared = [encoder.prepare(piece) for piece in pieces]
        together = encoder.encode(modality, prepared)
        alone = np.concatenate([encoder.encode(modality, [one]) for one in prepared])
        assert together.dtype == np.float32
        assert together.shape == (len(pieces), 256)
        scale = np.abs(together).max()
        assert np.abs(together - alone).max() < 1e-5 * scale
        assert np.array_equal(encoder.encode(modality, prepared), together)


def test_video_frame_is_encoded_as_an_image(tmp_path):
    encoder = PocketEncoder(write_random_model(tmp_path))
    frame = encoder.prepare(Piece(Modality.VIDEO, IMAGES[0]))
    assert frame.shape == (3, IMAGE_SIDE, IMAGE_SIDE)
    vectors = encoder.encode(Modality.VIDEO, [frame])
    assert np.array_equal(vectors, encoder.encode(Modality.IMAGE, [encoder.prepare(PIECES[Modality.IMAGE][0])]))


def test_changed_weights_are_rejected(tmp_path):
    encoder = PocketEncoder(write_random_model(tmp_path))
    with (tmp_path / "pocket.safetensors").open("ab") as file:
        file.write(b"x")
    with pytest.raises(MissingWeights, match="is not the file that its model card"):
        encoder.encode(Modality.TEXT, [encoder.prepare(PIECES[Modality.TEXT][0])])


def test_spec_loads_neither_weights_nor_torch(tmp_path):
    (tmp_path / "card.json").write_text(json.dumps({"dim": 256, "weights": "none"}))
    source = (
        "import sys; from pathlib import Path; from bindsearch.encoders.pocket.encoder import PocketEncoder;"
        f"spec = PocketEncoder(Path({str(tmp_path)!r})).spec; print(spec.dim, 'torch' in sys.modules)"
    )
    completed = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert completed.stdout.split() == ["256", "False"]


def test_encoding_text_does_not_load_torch(tmp_path):
    source = (
        "import sys; from pathlib import Path; from bindsearch.encoders.pocket.encoder import PocketEncoder;"
        "from bindsearch.types import Modality, Piece;"
        f"encoder = PocketEncoder(Path({str(write_random_model(tmp_path))!r}));"
        "row = encoder.encode(Modality.TEXT, [encoder.prepare(Piece(Modality.TEXT, 'a dog'))]);"
        "print(row.shape[1], 'torch' in sys.modules)"
    )
    completed = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert completed.stdout.split() == ["256", "False"]


def test_numpy_text_tower_equals_the_torch_module():
    torch = pytest.importorskip("torch", reason="the towers need torch")
    from bindsearch.encoders.pocket.text_tower import NumpyTextTower
    from bindsearch.encoders.pocket.towers import TextConfig, TextTower

    torch.manual_seed(0)
    tower = TextTower(TextConfig(500)).eval()
    for parameter in tower.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    rng = np.random.default_rng(0)
    tokens = np.zeros((40, 32), np.int64)
    for row, length in zip(tokens, rng.integers(1, 33, len(tokens)), strict=True):
        row[:length] = rng.integers(1, 500, length)
    with torch.inference_mode():
        expected = tower(torch.from_numpy(tokens)).numpy()
    vectors = NumpyTextTower({name: value.numpy() for name, value in tower.state_dict().items()})(tokens)
    assert vectors.dtype == np.float32
    assert np.abs(vectors - expected).max() < 1e-5 * np.abs(expected).max()
