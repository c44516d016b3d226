from __future__ import annotations

import os
import shutil

import encoder_media as media
import numpy as np
import pytest
from bindsearch.encoders.clap.encoder import ClapEncoder
from small_clap import RATE, WINDOW_SECONDS, configuration, write_model

from bindsearch.errors import DamagedWeights, MissingWeights, SpaceError
from bindsearch.registry import load_space
from bindsearch.spaces.catalogue import find_weights
from bindsearch.spaces.space import Space
from bindsearch.types import Modality, Piece

torch = pytest.importorskip("torch", reason="the towers need torch")
transformers = pytest.importorskip("transformers", reason="CLAP needs transformers")
pytest.importorskip("safetensors", reason="the weights are safetensors")


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "fused"])
def folder(request, tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("clap"), fusion=request.param)


@pytest.fixture
def encoder(folder):
    return ClapEncoder(f"local:{folder}")


def tone(hertz, seconds=WINDOW_SECONDS):
    return media.sound(0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE))


PIECES = {
    Modality.AUDIO: [tone(300), tone(3000), tone(900, 0.3), media.silence(0)],
    Modality.TEXT: [media.text("a dog"), media.text(""), media.text("the sound of rain"), media.text("word " * 120)],
}


def encode(encoder, pieces):
    return encoder.encode(pieces[0].modality, [encoder.prepare(piece) for piece in pieces])


@pytest.mark.parametrize("modality", list(PIECES))
def test_vectors_do_not_depend_on_batch_order_or_instance(encoder, folder, modality):
    pieces = PIECES[modality]
    together = encode(encoder, pieces)
    assert together.shape == (len(pieces), encoder.spec.dim) == (len(pieces), 24)
    np.testing.assert_allclose(together, np.concatenate([encode(encoder, [piece]) for piece in pieces]), atol=1e-5)
    np.testing.assert_allclose(together, encode(encoder, pieces[::-1])[::-1], atol=1e-5)
    assert encode(ClapEncoder(f"local:{folder}"), pieces).tobytes() == together.tobytes()
    assert encoder.encode(modality, []).shape == (0, 24)


def test_vectors_equal_those_of_transformers(encoder, folder):
    model = transformers.ClapModel.from_pretrained(folder).eval()
    extractor = transformers.ClapFeatureExtractor.from_pretrained(folder)
    features = extractor([tone(300).content], sampling_rate=RATE, return_tensors="pt")
    tokens = transformers.AutoTokenizer.from_pretrained(folder)(["the sound of rain"], return_tensors="pt")
    with torch.inference_mode():
        sound = pooled(
            model.get_audio_features(features["input_features"], is_longer=torch.zeros(1, 1, dtype=torch.bool))
        )
        text = pooled(model.get_text_features(tokens["input_ids"], attention_mask=tokens["attention_mask"]))
    ours = Space(encoder).embed_pieces([tone(300), media.text("the sound of rain")])
    assert np.abs(ours[0] - torch.nn.functional.normalize(sound)[0].numpy()).max() < 1e-5
    assert np.abs(ours[1] - torch.nn.functional.normalize(text)[0].numpy()).max() < 1e-5


def pooled(output):
    return getattr(output, "pooler_output", output)


def test_recording_is_embedded_in_windows_reproducibly(encoder, tmp_path):
    from media_files import sound

    noise = np.random.default_rng(0).normal(0, 0.1, round(2.5 * RATE)).astype(np.float32)
    path = sound(tmp_path / "noise.wav", noise, rate=RATE)
    first, again = (Space(encoder).segments(path) for _ in range(2))
    assert [(start, end) for start, end, _ in first] == [(0.0, 1.0), (1.0, 2.0), (1.5, 2.5)]
    assert all(np.array_equal(one[2], two[2]) for one, two in zip(first, again, strict=True))
    assert np.abs(first[0][2] - first[1][2]).max() > 1e-4


def test_images_are_refused(encoder):
    assert encoder.spec.modalities == {Modality.AUDIO, Modality.TEXT}
    with pytest.raises(SpaceError, match="cannot embed image: it has towers for audio and text only"):
        encoder.prepare(Piece(Modality.IMAGE, media.plain_image("red").content))


def test_text_query_does_not_load_the_audio_tower(encoder):
    encode(encoder, PIECES[Modality.TEXT])
    assert list(encoder._towers) == [Modality.TEXT]


def test_repository_is_used_only_once_its_files_are_here(folder):
    with pytest.raises(MissingWeights, match=r"model\.safetensors.*spaces get clap:somebody/own-clap"):
        load_space("clap:somebody/own-clap")
    shutil.copytree(folder, find_weights("clap:somebody/own-clap").folder)
    spec = load_space("clap:somebody/own-clap").spec
    assert (spec.licence, spec.commercial) == ("not stated", False)
    assert spec.fingerprint == ClapEncoder(f"local:{folder}").spec.fingerprint


def test_fingerprint_depends_on_the_weights(folder, tmp_path):
    torch.manual_seed(5)
    transformers.ClapModel(configuration(fusion=False)).save_pretrained(shutil.copytree(folder, tmp_path / "other"))
    assert (
        ClapEncoder(f"local:{tmp_path / 'other'}").spec.fingerprint != ClapEncoder(f"local:{folder}").spec.fingerprint
    )


def test_weights_of_another_model_are_refused(folder, tmp_path):
    from safetensors.torch import load_file, save_file

    other = shutil.copytree(folder, tmp_path / "other")
    state = load_file(other / "model.safetensors")
    save_file(
        {name: tensor for name, tensor in state.items() if "projection.linear1" not in name},
        other / "model.safetensors",
    )
    with pytest.raises(
        DamagedWeights, match=r"model\.safetensors does not fit the config\.json next to it: it lacks text_projection"
    ):
        encode(ClapEncoder(f"local:{other}"), PIECES[Modality.TEXT])


class RunsOnUnpickling:
    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return (os.mkdir, (str(self.trace),))


def test_hostile_checkpoint_is_refused_and_not_run(folder, tmp_path):
    hostile = shutil.copytree(folder, tmp_path / "hostile")
    (hostile / "model.safetensors").unlink()
    torch.save({"text_model.x": RunsOnUnpickling(tmp_path / "it-ran")}, hostile / "pytorch_model.bin")
    with pytest.raises(SpaceError, match="refused"):
        encode(ClapEncoder(f"local:{hostile}"), PIECES[Modality.TEXT])
    assert not (tmp_path / "it-ran").exists()


def test_missing_file_of_a_folder_is_named(folder, tmp_path):
    with pytest.raises(MissingWeights, match=r"holds no model\.safetensors"):
        load_space(f"clap:local:{tmp_path}")
    other = shutil.copytree(folder, tmp_path / "other")
    (other / "preprocessor_config.json").unlink()
    with pytest.raises(MissingWeights, match="preprocessor_config"):
        load_space(f"clap:local:{other}")
