from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import encoder_media as media
import numpy as np
import pytest
from bindsearch.encoders.imagebind.encoder import ImageBindEncoder
from bindsearch.encoders.imagebind.fbank import RATE

from bindsearch.errors import DamagedWeights, MissingWeights, SpaceError
from bindsearch.registry import load_space
from bindsearch.spaces.catalogue import find_weights
from bindsearch.spaces.locate import locate
from bindsearch.spaces.space import Space
from bindsearch.types import Modality, Piece

torch = pytest.importorskip("torch", reason="the towers need torch")
pytest.importorskip("open_clip", reason="images and texts need open_clip")
pytest.importorskip("safetensors", reason="the weights are safetensors")
small_imagebind = pytest.importorskip("small_imagebind", reason="the small model is written with torch")

PIECES = {
    Modality.IMAGE: [media.plain_image("red"), media.noise_image(), media.chequered_image()],
    Modality.TEXT: [media.text("a dog barks"), media.text(""), media.text("word " * 120)],
    Modality.AUDIO: [media.tone(440), media.noise(), media.sound(0.1 * np.ones(90)), media.silence(0)],
}


@pytest.fixture(scope="module")
def reference():
    return small_imagebind.Reference()


@pytest.fixture(scope="module")
def folder(reference, tmp_path_factory):
    return small_imagebind.write_model(tmp_path_factory.mktemp("imagebind"), reference)


@pytest.fixture
def encoder(folder):
    return ImageBindEncoder.local(str(folder))


def encode(encoder, pieces):
    return encoder.encode(pieces[0].modality, [encoder.prepare(piece) for piece in pieces])


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


# Equal to the published function ----------------------------------------------------------------------------------


def test_image_vectors_equal_the_reference(encoder, reference):
    pixels = np.stack([encoder.prepare(piece) for piece in PIECES[Modality.IMAGE]])
    mean, std = np.array([0.48145466, 0.4578275, 0.40821073]), np.array([0.26862954, 0.26130258, 0.27577711])
    centred = torch.tensor((pixels / 255 - mean) / std, dtype=torch.float32).permute(0, 3, 1, 2)
    expected = reference.image(centred).numpy()
    assert np.abs(unit(encoder.encode(Modality.IMAGE, list(pixels))) - expected).max() < 1e-5


def test_text_vectors_equal_the_reference(encoder, reference):
    tokens = np.stack([encoder.prepare(piece) for piece in PIECES[Modality.TEXT]])
    expected = reference.text(torch.from_numpy(tokens)).numpy()
    assert np.abs(unit(encoder.encode(Modality.TEXT, list(tokens))) - expected).max() < 1e-5
    assert (tokens.max(axis=1) == 49_407).all()  # the end token is there
    assert [int(row.argmax()) for row in tokens[1:]] == [1, 76]  # and is never cut off


def test_reference_differs_with_the_epsilon_of_open_clip(encoder, reference, monkeypatch):
    """The tests above would fail with open_clip's own epsilon."""
    tokens = np.stack([encoder.prepare(piece) for piece in PIECES[Modality.TEXT]])
    monkeypatch.setattr(small_imagebind, "LAYER_NORM_EPS", 1e-5)
    other = reference.text(torch.from_numpy(tokens)).numpy()
    assert np.abs(unit(encoder.encode(Modality.TEXT, list(tokens))) - other).max() > 1e-4


# The encoder ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("modality", list(PIECES))
def test_vectors_do_not_depend_on_batch_order_or_run(encoder, folder, modality):
    pieces = PIECES[modality]
    together = encode(encoder, pieces)
    assert together.dtype == np.float32
    assert together.shape == (len(pieces), encoder.spec.dim)
    np.testing.assert_allclose(together, np.concatenate([encode(encoder, [piece]) for piece in pieces]), atol=1e-5)
    np.testing.assert_allclose(together, encode(encoder, pieces[::-1])[::-1], atol=1e-5)
    assert encode(ImageBindEncoder.local(str(folder)), pieces).tobytes() == together.tobytes()
    assert encoder.encode(modality, []).shape == (0, encoder.spec.dim)


@pytest.mark.parametrize("name", ["bfloat16", "int8"])
def test_shorter_dtypes_give_nearly_the_same_vectors(encoder, folder, monkeypatch, name):
    exact = {modality: unit(encode(encoder, pieces)) for modality, pieces in PIECES.items()}
    monkeypatch.setenv("BINDSEARCH_DTYPE", name)
    short = ImageBindEncoder.local(str(folder))
    rough = {modality: unit(encode(short, pieces)) for modality, pieces in PIECES.items()}
    assert not np.array_equal(rough[Modality.AUDIO], exact[Modality.AUDIO])
    for modality in PIECES:
        assert ((rough[modality] * exact[modality]).sum(axis=1) >= 0.999).all()


@pytest.mark.parametrize(("min_cosine", "chosen"), [(0.999, "bfloat16"), (1.1, "float32")])
def test_dtype_of_the_audio_tower_is_measured_once(encoder, folder, monkeypatch, tmp_path, min_cosine, chosen):
    from bindsearch.encoders.shared import device as devices, local_cache

    sounds = PIECES[Modality.AUDIO]
    exact = encode(encoder, sounds)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name, value in {
        "MIN_PARAMETERS": 0,
        "MIN_SPEEDUP": 0,
        "MIN_COSINE": min_cosine,
        "reduced_precision": lambda kind: torch.bfloat16,
    }.items():
        monkeypatch.setattr(devices, name, value)
    first = encode(ImageBindEncoder.local(str(folder)), sounds)
    assert list(local_cache.read_cache("dtypes").values()) == [chosen]
    assert np.array_equal(first, exact) == (chosen == "float32")
    monkeypatch.setattr(devices, "measure_dtype", None)  # a second measurement would fail
    assert np.array_equal(encode(ImageBindEncoder.local(str(folder)), sounds), first)


def test_video_frame_is_encoded_as_an_image(encoder):
    image = PIECES[Modality.IMAGE][1]
    frame = Piece(Modality.VIDEO, image.content)
    assert np.array_equal(encode(encoder, [frame]), encode(encoder, [image]))


def test_only_the_needed_tower_is_loaded(encoder, folder, tmp_path):
    """Texts can be encoded if the file of another tower is damaged."""
    copy = shutil.copytree(folder, tmp_path / "copy")
    text_only = ImageBindEncoder.local(str(copy))
    (copy / "imagebind_audio.safetensors").write_bytes(b"")
    assert np.array_equal(encode(text_only, PIECES[Modality.TEXT]), encode(encoder, PIECES[Modality.TEXT]))
    assert list(text_only._towers) == [Modality.TEXT]
    with pytest.raises(SpaceError, match="imagebind_audio"):
        encode(text_only, PIECES[Modality.AUDIO])


def test_space_by_name_embeds_and_has_its_licence(folder):
    space = Space(load_space(f"imagebind/local:{folder}"))
    assert space.spec.name == f"imagebind/local:{folder}"
    assert (space.spec.licence, space.spec.commercial) == ("CC-BY-NC-SA-4.0", False)
    rows = space.embed_pieces([pieces[0] for pieces in PIECES.values()])
    assert np.linalg.norm(rows, axis=1) == pytest.approx(np.ones(3), abs=1e-6)


def test_fingerprint_depends_on_the_weights(folder, tmp_path):
    before = ImageBindEncoder.local(str(folder)).spec.fingerprint
    same = shutil.copytree(folder, tmp_path / "same")
    (same / "imagebind_audio.safetensors").unlink(missing_ok=True)  # so that it is extracted again
    assert ImageBindEncoder.local(str(same)).spec.fingerprint == before
    other = small_imagebind.write_model(tmp_path / "other", small_imagebind.Reference(seed=9))
    assert ImageBindEncoder.local(str(other)).spec.fingerprint != before


# Whole recordings -------------------------------------------------------------------------------------------------


def test_recording_is_embedded_to_its_end(encoder):
    noise = np.random.default_rng(0).normal(0, 0.1, (2, 7 * RATE)).astype(np.float32)
    windows = [noise.mean(axis=0)[start * RATE : (start + 2) * RATE] for start in (0, 2, 4, 5)]
    rows = encode(encoder, [media.sound(window) for window in windows])
    assert encoder.embed_recording(noise, RATE) == pytest.approx(
        unit(unit(rows).mean(axis=0, keepdims=True))[0], abs=1e-5
    )


def test_reference_clips_leave_gaps_and_windows_do_not(encoder):
    """Sound between the reference's three clips of a recording of ten seconds changes only the mean over windows."""
    quiet = np.random.default_rng(0).normal(0, 0.01, (1, 10 * RATE)).astype(np.float32)
    loud = quiet.copy()
    loud[:, int(2.5 * RATE) : int(3.5 * RATE)] *= 30
    same = (
        encoder.embed_recording(quiet, RATE, reference_clips=True),
        encoder.embed_recording(loud, RATE, reference_clips=True),
    )
    assert np.array_equal(*same)
    assert not np.allclose(encoder.embed_recording(quiet, RATE), encoder.embed_recording(loud, RATE), atol=1e-4)


def test_reference_clips_give_the_mean_of_scaled_clips(encoder):
    from bindsearch.encoders.imagebind.audio_tower import AudioTowerConfig, build_tower
    from bindsearch.encoders.imagebind.fbank import reference_clips

    noise = np.random.default_rng(1).normal(0, 0.1, (1, 7 * RATE)).astype(np.float32)
    tower = build_tower(small_imagebind.audio_checkpoint(), AudioTowerConfig(**small_imagebind.AUDIO))
    clips = torch.from_numpy(reference_clips(noise, RATE))[None]
    expected = tower.embed_recordings(clips)
    assert float(expected.norm()) < 20
    vector = encoder.embed_recording(noise, RATE, reference_clips=True)
    assert vector == pytest.approx((expected / expected.norm())[0].numpy(), abs=1e-5)


# Weights ----------------------------------------------------------------------------------------------------------


def test_missing_weights_error_names_file_size_and_command():
    with pytest.raises(MissingWeights, match=r"open_clip_model\.safetensors \(3\.94 GB\).*spaces get imagebind"):
        load_space("imagebind")


def test_audio_tower_is_extracted_from_the_checkpoint_once(folder, monkeypatch):
    own = find_weights("imagebind").folder
    own.mkdir(parents=True)
    shutil.copy(folder / "open_clip_model.safetensors", own)
    with pytest.raises(MissingWeights, match=r"imagebind_huge\.pth \(4\.8 GB\)"):
        load_space("imagebind")
    shutil.copy(folder / "imagebind_huge.pth", own)
    monkeypatch.setattr("bindsearch.encoders.imagebind.checkpoint.MODEL_CONFIG", small_imagebind.MODEL)
    first = load_space("imagebind").spec
    assert sorted(os.listdir(own)) == [
        "imagebind_audio.safetensors",
        "imagebind_huge.pth",
        "open_clip_model.safetensors",
    ]
    (own / "imagebind_huge.pth").unlink()
    assert load_space("imagebind").spec == first
    assert locate(find_weights("imagebind"), find_weights("imagebind").files[1]) is not None


def test_extracted_file_holds_the_audio_entries_only(folder):
    from safetensors import safe_open

    ImageBindEncoder.local(str(folder))
    expected = small_imagebind.audio_checkpoint()
    with safe_open(folder / "imagebind_audio.safetensors", framework="pt") as file:
        assert set(file.keys()) == set(expected)
        assert all(torch.equal(file.get_tensor(name), expected[name]) for name in expected)


class Bomb:
    """An object in a hostile checkpoint: unpickling it makes a folder."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return (os.mkdir, (str(self.trace),))


def test_hostile_checkpoint_is_rejected_without_running_code(folder, tmp_path):
    hostile = shutil.copytree(folder, tmp_path / "hostile")
    (hostile / "imagebind_audio.safetensors").unlink(missing_ok=True)
    trace = tmp_path / "code-ran"
    torch.save({"modality_heads.audio.0.weight": Bomb(trace)}, hostile / "imagebind_huge.pth")
    with pytest.raises(SpaceError, match=r"imagebind_huge\.pth is refused: .* could run code") as raised:
        ImageBindEncoder.local(str(hostile))
    assert not trace.exists()
    assert "safetensors" in str(raised.value)


def test_checkpoint_without_an_audio_tower_is_rejected(folder, tmp_path):
    other = shutil.copytree(folder, tmp_path / "other")
    (other / "imagebind_audio.safetensors").unlink(missing_ok=True)
    torch.save({"weight": torch.ones(3)}, other / "imagebind_huge.pth")
    with pytest.raises(DamagedWeights, match="holds no audio tower: it is not a checkpoint of ImageBind"):
        ImageBindEncoder.local(str(other))


def test_audio_tower_of_another_shape_is_rejected(folder, tmp_path):
    from safetensors.torch import save_file

    other = shutil.copytree(folder, tmp_path / "other")
    save_file(small_imagebind.audio_checkpoint(blocks=1), other / "imagebind_audio.safetensors")
    encoder = ImageBindEncoder.local(str(other))
    with pytest.raises(DamagedWeights, match="does not hold the audio tower"):
        encode(encoder, PIECES[Modality.AUDIO])


def test_folder_without_weights_is_reported(tmp_path):
    with pytest.raises(MissingWeights, match=r"holds no open_clip_model\.safetensors"):
        load_space(f"imagebind/local:{tmp_path}")


def test_missing_weights_are_reported_without_torch():
    source = (
        "import sys; from bindsearch.registry import load_space; from bindsearch.errors import MissingWeights\n"
        "try: load_space('imagebind')\nexcept MissingWeights: print('torch' in sys.modules)"
    )
    completed = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert completed.stdout.split() == ["False"]
