from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from bindsearch.encoders.pocket.encoder import IMAGE_SIDE, WEIGHTS, PocketEncoder
from bindsearch.encoders.pocket.spectrogram import BANDS, RATE, WINDOW_SAMPLES, spectrogram
from bindsearch.encoders.pocket.wordpiece import UNKNOWN_TOKEN, WordPieceTokenizer
from PIL import Image

from bindsearch.core.vectors import unit
from bindsearch.errors import DamagedWeights, MissingWeights
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


@pytest.fixture(scope="module")
def encoder() -> PocketEncoder:
    return PocketEncoder()


@pytest.fixture
def weights(tmp_path) -> Path:
    """Return a folder with a copy of the shipped weights."""
    return Path(shutil.copytree(WEIGHTS, tmp_path / "weights"))


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


def test_vectors_do_not_depend_on_the_batch_or_the_run(encoder):
    for modality, pieces in PIECES.items():
        prepared = [encoder.prepare(piece) for piece in pieces]
        together = encoder.encode(modality, prepared)
        alone = np.concatenate([encoder.encode(modality, [one]) for one in prepared])
        assert together.dtype == np.float32
        assert together.shape == (len(pieces), 256)
        scale = np.abs(together).max()
        assert np.abs(together - alone).max() < 1e-5 * scale
        assert np.array_equal(encoder.encode(modality, prepared), together)


def test_video_frame_is_encoded_as_an_image(encoder):
    frame = encoder.prepare(Piece(Modality.VIDEO, IMAGES[0]))
    assert frame.shape == (3, IMAGE_SIDE, IMAGE_SIDE)
    vectors = encoder.encode(Modality.VIDEO, [frame])
    assert np.array_equal(vectors, encoder.encode(Modality.IMAGE, [encoder.prepare(PIECES[Modality.IMAGE][0])]))


def test_empty_batch_has_no_vectors(encoder):
    assert encoder.encode(Modality.IMAGE, []).shape == (0, 256)


def test_fingerprint_is_that_of_earlier_versions(encoder):
    assert encoder.spec.fingerprint == "60893d918387c4c072eab6bf1154ee24"


@pytest.mark.parametrize("modality", PIECES)
def test_vectors_equal_those_of_the_torch_towers(encoder, modality):
    torch = pytest.importorskip("torch", reason="compares with the towers in torch")
    pytest.importorskip("safetensors", reason="the towers in torch read safetensors")
    from bindsearch.encoders.pocket.torch_weights import read_tower

    prepared = [encoder.prepare(piece) for piece in PIECES[modality]]
    with torch.inference_mode():
        expected = read_tower(modality)(torch.from_numpy(np.stack(prepared))).numpy()
    found = encoder.encode(modality, prepared)
    assert np.abs(unit(found) - unit(expected)).max() < 1e-5
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


def test_texts_of_every_length_equal_those_of_the_torch_tower(encoder):
    torch = pytest.importorskip("torch", reason="compares with the tower in torch")
    pytest.importorskip("safetensors", reason="the tower in torch reads safetensors")
    from bindsearch.encoders.pocket.torch_weights import read_tower

    rng = np.random.default_rng(0)
    tokens = np.zeros((64, 32), np.int64)
    for row, length in zip(tokens, [*range(1, 33)] * 2, strict=True):
        row[:length] = rng.integers(1, 27_000, length)
    with torch.inference_mode():
        expected = read_tower(Modality.TEXT)(torch.from_numpy(tokens)).numpy()
    assert np.abs(unit(encoder.encode(Modality.TEXT, list(tokens))) - unit(expected)).max() < 1e-5


# Weight files --------------------------------------------------------------------------------------------------------


def test_shipped_graphs_are_those_that_the_script_writes(weights):
    pytest.importorskip("onnx", reason="writing graphs needs onnx")
    import export_onnx

    for path in export_onnx.export(weights):
        assert path.read_bytes() == (WEIGHTS / path.name).read_bytes(), f"{path.name}: run export_onnx.py"


def test_changed_weights_are_rejected(weights):
    encoder = PocketEncoder(weights)
    with (weights / "pocket.safetensors").open("ab") as file:
        file.write(b"x")
    with pytest.raises(MissingWeights, match="is not the file that its model card"):
        encoder.encode(Modality.TEXT, [encoder.prepare(PIECES[Modality.TEXT][0])])


def test_graph_of_other_weights_is_rejected(weights):
    with (weights / "pocket.safetensors").open("ab") as file:
        file.write(b"x")
    digest = hashlib.sha256((weights / "pocket.safetensors").read_bytes()).hexdigest()
    (weights / "card.json").write_text(json.dumps({"dim": 256, "weights": digest}), encoding="utf-8")
    encoder = PocketEncoder(weights)
    with pytest.raises(MissingWeights, match=r"text\.onnx was written for other weights"):
        encoder.encode(Modality.TEXT, [encoder.prepare(PIECES[Modality.TEXT][0])])


def test_missing_and_damaged_graphs_are_reported(weights):
    encoder = PocketEncoder(weights)
    token_ids = encoder.prepare(PIECES[Modality.TEXT][0])
    (weights / "text.onnx").write_bytes(b"no graph")
    with pytest.raises(DamagedWeights, match=r"text\.onnx cannot be loaded"):
        encoder.encode(Modality.TEXT, [token_ids])
    (weights / "text.onnx").unlink()
    with pytest.raises(MissingWeights, match=r"text\.onnx is missing"):
        encoder.encode(Modality.TEXT, [token_ids])


# What is loaded -------------------------------------------------------------------------------------------------------


def test_spec_loads_neither_weights_nor_onnx_runtime(tmp_path):
    (tmp_path / "card.json").write_text(json.dumps({"dim": 256, "weights": "none"}))
    source = (
        "import sys; from pathlib import Path; from bindsearch.encoders.pocket.encoder import PocketEncoder;"
        f"spec = PocketEncoder(Path({str(tmp_path)!r})).spec; print(spec.dim, 'onnxruntime' in sys.modules)"
    )
    completed = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert completed.stdout.split() == ["256", "False"]


WITHOUT_EXTRAS = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "torchaudio", "safetensors", "onnx", "open_clip", "transformers"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocker())
import numpy as np
from PIL import Image
import bindsearch
from bindsearch.types import Modality, Piece

space = bindsearch.space("pocket")
picture = Image.new("RGB", (64, 48), "red")
sound = np.sin(np.arange(32_000) / 9).astype(np.float32)
pieces = [Piece(Modality.IMAGE, picture), Piece(Modality.VIDEO, picture), Piece(Modality.AUDIO, sound)]
print(*space.embed(["a dog"], modality="text").shape, *space.embed(pieces).shape)
"""


def test_every_modality_is_encoded_without_torch():
    completed = subprocess.run([sys.executable, "-c", WITHOUT_EXTRAS], capture_output=True, text=True, check=False)
    assert completed.stdout.split() == ["1", "256", "3", "256"], completed.stderr
