"""open_clip's models give the same vectors here as in open_clip, and faulty files are reported."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import encoder_media as media
import numpy as np
import openclip_models as models
import pytest
from PIL import Image

from bindsearch.errors import DamagedWeights, MissingWeights, SpaceError, UnknownSpace, UnusableSpace
from bindsearch.registry import load_space
from bindsearch.types import Modality, Piece

torch = pytest.importorskip("torch", reason=models.SKIP_REASON)
open_clip = pytest.importorskip("open_clip", reason=models.SKIP_REASON)

from bindsearch.encoders.openclip import licences, required_files, towers, weight_location  # noqa: E402
from bindsearch.encoders.openclip.encoder import OpenClipEncoder, local  # noqa: E402
from bindsearch.encoders.openclip.preprocess import Preprocessing  # noqa: E402
from bindsearch.encoders.shared import device as devices, file_hash, local_cache  # noqa: E402

RNG = np.random.default_rng(7)
SIZES = [(32, 32), (640, 480), (480, 641), (33, 200), (1000, 31), (7, 5), (1, 1)]
IMAGES = [Image.fromarray(RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)) for width, height in SIZES]
PIECES = [Piece(Modality.IMAGE, image) for image in IMAGES]
TEXTS = ["a dog barks", "Rain on a roof!", "", "word " * 60]
IMAGE, TEXT = Modality.IMAGE, Modality.TEXT


def embed_images(encoder, pieces=PIECES):
    return encoder.encode(IMAGE, [encoder.prepare(piece) for piece in pieces])


def embed_texts(encoder, texts=TEXTS):
    return encoder.encode(TEXT, [encoder.prepare(Piece(TEXT, text)) for text in texts])


def normalised(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def plain(tmp_path):
    return models.write_model(tmp_path / "plain", models.random_model(models.PLAIN), models.PLAIN)


# Preprocessing ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("size", [(32, 32), (48, 30), (30, 48)])
def test_preprocessing_equals_open_clip_bit_for_bit(mode, interpolation, size):
    config = {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.25, 0.3), "interpolation": interpolation, "resize_mode": mode}
    config |= {"fill_color": 99}
    ours = Preprocessing.of(config, size)
    square = size[0] if size[0] == size[1] else size
    theirs = open_clip.transform.image_transform_v2(open_clip.transform.PreprocessCfg(size=square, **config), False)
    normalise = towers._pixel_normaliser(ours)
    for image in IMAGES:
        if mode == "longest" and min(image.size) == 31:
            continue  # the other side would have no pixels: open_clip fails
        pixels = ours(image)
        assert pixels.dtype == np.uint8
        batch = normalise(torch.from_numpy(pixels)[None], torch.float32)
        assert torch.equal(batch[0], theirs(image)), image.size


def test_unknown_resize_mode_is_refused():
    with pytest.raises(ValueError, match="resize mode 'cover'"):
        Preprocessing.of({"resize_mode": "cover"}, 32)


# Towers -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", models.KINDS)
def test_model_equals_open_clip(kind, tmp_path):
    config = models.KINDS[kind]
    folder = models.write_model(tmp_path, models.random_model(config), config, preprocess={"mean": [0.5] * 3})
    whole, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    tokenize = open_clip.get_tokenizer(f"local-dir:{folder}")
    encoder = local(str(folder))
    with torch.inference_mode():
        images = whole.eval().encode_image(torch.stack([transform(image) for image in IMAGES]))
        texts = whole.encode_text(tokenize(TEXTS))
    np.testing.assert_allclose(normalised(embed_images(encoder)), normalised(images.numpy()), atol=1e-5)
    np.testing.assert_allclose(normalised(embed_texts(encoder)), normalised(texts.numpy()), atol=1e-5)


def test_video_frame_equals_image(plain):
    encoder = local(str(plain))
    frames = [encoder.prepare(Piece(Modality.VIDEO, image)) for image in IMAGES]
    assert np.array_equal(encoder.encode(Modality.VIDEO, frames), embed_images(encoder))


def test_audio_is_refused(plain):
    encoder = local(str(plain))
    assert Modality.AUDIO not in encoder.spec.modalities
    with pytest.raises(SpaceError, match="cannot embed audio: it has towers for images and texts only"):
        encoder.prepare(media.tone(440))


@pytest.mark.parametrize("kind", models.KINDS)
def test_empty_tower_has_no_parameter_memory(kind):
    for tower_kind in (towers.IMAGE, towers.TEXT):
        tower = towers.build_empty(models.KINDS[kind], tower_kind)
        assert all(each.is_meta for each in tower.parameters())
        assert not any(each.is_meta for name, each in tower.named_buffers() if "running" not in name)
        assert next(tower.parameters(), None) is not None


def test_modules_built_later_have_memory():
    with towers._parameters_on_meta():
        assert torch.nn.Linear(2, 2).weight.is_meta
    assert not torch.nn.Linear(2, 2).weight.is_meta


def test_tower_reads_only_its_own_tensors(plain):
    """The tensors of the other tower may be missing, so they are not read."""
    from safetensors.torch import load_file, save_file

    file = plain / models.WEIGHTS
    whole = load_file(file)
    images, texts = embed_images(local(str(plain))), embed_texts(local(str(plain)))
    save_file({name: each for name, each in whole.items() if not name.startswith("visual.")}, file)
    text_only = local(str(plain))
    assert np.array_equal(embed_texts(text_only), texts)
    with pytest.raises(SpaceError, match=r"lacks .*name the model"):
        embed_images(text_only)
    save_file({name: each for name, each in whole.items() if name.startswith("visual.")}, file)
    assert np.array_equal(embed_images(local(str(plain))), images)


# Weight files -------------------------------------------------------------------------------------------------------


def load_tensors(folder):
    from safetensors.torch import load_file

    return load_file(folder / models.WEIGHTS)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("wrapped", [False, True])
def test_pickled_checkpoint_equals_safetensors(plain, tmp_path, legacy, wrapped):
    state = load_tensors(plain)
    if wrapped:
        state = {"epoch": 3, "state_dict": {f"module.{name}": each for name, each in state.items()}}
    folder = tmp_path / "pickled"
    folder.mkdir()
    (folder / "open_clip_config.json").write_text((plain / "open_clip_config.json").read_text())
    torch.save(state, folder / "open_clip_pytorch_model.bin", _use_new_zipfile_serialization=not legacy)
    assert np.array_equal(embed_images(local(str(folder))), embed_images(local(str(plain))))
    assert np.array_equal(embed_texts(local(str(folder))), embed_texts(local(str(plain))))


class RunsOnUnpickling:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_hostile_pickle_is_refused_and_not_run(plain, tmp_path, writer):
    (plain / models.WEIGHTS).unlink()
    victim, file = tmp_path / "victim", plain / "open_clip_pytorch_model.bin"
    checkpoint = {"visual.proj": RunsOnUnpickling(victim)}
    if writer == "torch":
        torch.save(checkpoint, file)
    else:
        file.write_bytes(pickle.dumps(checkpoint, protocol=2))
    with pytest.raises(DamagedWeights, match="could run code"):
        embed_texts(local(str(plain)))
    assert not victim.exists()


def test_damaged_file_is_named(plain):
    file = plain / models.WEIGHTS
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DamagedWeights, match=r"is damaged.*fetch it again"):
        embed_texts(local(str(plain)))
    file.rename(plain / "model.pth")
    with pytest.raises(DamagedWeights, match=r"model\.pth"):
        embed_texts(local(str(plain)))


def test_weights_of_another_model_are_refused(plain, tmp_path):
    wide = models.PLAIN | {"vision_cfg": models.VISION | {"width": 32}}
    other = models.write_model(tmp_path / "other", models.random_model(wide), wide)
    (other / models.WEIGHTS).replace(plain / models.WEIGHTS)
    with pytest.raises(SpaceError, match="holds the weights of another model: "):
        embed_images(local(str(plain)))


def test_hash_of_large_file_is_cached_until_it_changes(monkeypatch, tmp_path):
    monkeypatch.setattr(file_hash, "MIN_CACHED_BYTES", 1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = tmp_path / "weights.bin"
    file.write_bytes(b"one")
    first, stat = file_hash.sha256_of(file), file.stat()
    file.write_bytes(b"two")
    changed = file_hash.sha256_of(file)
    assert changed != first
    file.write_bytes(b"one")
    os.utime(file, ns=(stat.st_atime_ns, file.stat().st_mtime_ns + 1))
    assert file_hash.sha256_of(file) == first
    stamp = file.stat()
    file.write_bytes(b"two")
    os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert file_hash.sha256_of(file) == first  # from the cache


def test_damaged_cache_is_ignored(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    local_cache.write_cache("weights", "a", 1)
    local_cache.write_cache("weights", "b", 2)
    assert local_cache.read_cache("weights") == {"a": 1, "b": 2}
    next(tmp_path.rglob("weights.json")).write_text("[")
    assert local_cache.read_cache("weights") == {}


# Description of a space ---------------------------------------------------------------------------------------------


def test_fingerprint_depends_on_weights_and_preprocessing(plain, tmp_path):
    model = models.random_model(models.PLAIN)
    encoders = [
        local(str(plain)),
        local(str(models.write_model(tmp_path / "same", model, models.PLAIN))),
        local(str(models.write_model(tmp_path / "squash", model, models.PLAIN, preprocess={"resize_mode": "squash"}))),
        local(str(models.write_model(tmp_path / "quick", model, models.QUICK))),
        local(str(models.write_model(tmp_path / "other", models.random_model(models.PLAIN, seed=1), models.PLAIN))),
    ]
    fingerprints = [encoder.spec.fingerprint for encoder in encoders]
    assert fingerprints[0] == fingerprints[1]
    assert len(set(fingerprints)) == 4


def test_licence_is_read_from_the_configuration(plain, tmp_path):
    assert not local(str(plain)).spec.commercial
    free = models.write_model(
        tmp_path / "free", models.random_model(models.PLAIN), models.PLAIN, license="MIT", commercial=True
    )
    assert (local(str(free)).spec.licence, local(str(free)).spec.commercial) == ("MIT", True)


def test_relative_path_becomes_absolute(plain, monkeypatch):
    monkeypatch.chdir(plain.parent)
    assert load_space("local:plain").spec.name == f"local:{plain}"


def test_incomplete_folder_is_reported_with_what_it_needs(tmp_path):
    with pytest.raises(MissingWeights, match=r"openclip:MODEL/local:PATH"):
        load_space(f"local:{tmp_path}")
    (tmp_path / "open_clip_config.json").write_text("{}")
    with pytest.raises(SpaceError, match="is not a configuration of open_clip"):
        load_space(f"local:{tmp_path}")
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": models.PLAIN}))
    with pytest.raises(MissingWeights, match=r"open_clip_model\.safetensors"):
        load_space(f"local:{tmp_path}")


# Listed models ------------------------------------------------------------------------------------------------------


@pytest.fixture
def listed(monkeypatch, tmp_path):
    """Let open_clip list a small model with a tag. Return the hub's cache folder."""
    tag = {"hf_hub": "nobody/tiny/", "url": "", "mean": (0.5,) * 3, "std": (0.5,) * 3, "resize_mode": "squash"}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny-ViT", {"first": tag | {"quick_gelu": True}})
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny-ViT", models.PLAIN)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def put_into_cache(hub: Path, file: Path) -> Path:
    repo = hub / "models--nobody--tiny"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text("abc")
    cached = repo / "snapshots" / "abc" / file.name
    cached.parent.mkdir(parents=True)
    cached.write_bytes(file.read_bytes())
    return cached


def test_missing_weights_are_reported_with_origin_and_folder(listed):
    with pytest.raises(MissingWeights) as raised:
        load_space("openclip:tiny-ViT/first")
    message = str(raised.value)
    size = towers.parameter_bytes(models.PLAIN)
    for part in (
        "open_clip_model.safetensors",
        f"(up to {size / 1e6:.0f} MB)",
        "the hub repository nobody/tiny",
        "bindsearch spaces get openclip:tiny-ViT/first",
        "openclip:tiny-ViT/first/local:PATH",
    ):
        assert part in message


def test_weights_from_hub_cache_use_the_settings_of_their_tag(listed, plain):
    put_into_cache(listed, plain / models.WEIGHTS)
    encoder = load_space("openclip:tiny-ViT/first")
    quick = models.write_model(
        plain.parent / "quick",
        models.random_model(models.PLAIN),
        models.QUICK,
        preprocess={"mean": 0.5, "std": 0.5, "resize_mode": "squash"},
    )
    assert np.array_equal(embed_images(encoder), embed_images(local(str(quick))))
    assert np.array_equal(embed_texts(encoder), embed_texts(local(str(quick))))
    assert not np.allclose(embed_texts(encoder), embed_texts(local(str(plain))), atol=1e-3)
    by_hand = load_space(f"openclip:tiny-ViT/first/local:{plain}")
    assert by_hand.spec.fingerprint == encoder.spec.fingerprint


def test_weights_put_by_hand_are_found(listed, plain, monkeypatch, tmp_path):
    monkeypatch.setenv("BINDSEARCH_WEIGHTS", str(tmp_path / "own"))
    own = tmp_path / "own" / "openclip--tiny-ViT--first"
    own.mkdir(parents=True)
    (plain / models.WEIGHTS).replace(own / models.WEIGHTS)
    assert weight_location.require_weights("tiny-ViT", "first") == own / models.WEIGHTS


def test_other_weights_use_preprocessing_of_openai(listed, plain):
    encoder = load_space(f"openclip:tiny-ViT/local:{plain / models.WEIGHTS}")
    assert encoder.spec.name == f"openclip:tiny-ViT/local:{plain / models.WEIGHTS}"
    assert np.array_equal(embed_images(encoder), embed_images(local(str(plain))))


@pytest.mark.parametrize(
    "name", ["ViT-B-23/openai", "ViT-B-32/opnai", "ViT-B-32", "ViT-B-32/", "ViT-B-32/local:", "ViT-B-32/openai/x"]
)
def test_unlisted_name_suggests_similar_names(name):
    with pytest.raises(UnknownSpace, match=r"ViT-B-32.*bindsearch spaces --all"):
        load_space(f"openclip:{name}")


def test_all_listed_models_are_members_and_parse():
    from bindsearch.registry import members

    names = {member.name for member in members("openclip:")}
    assert names == {f"openclip:{model}/{tag}" for model, tag in open_clip.list_pretrained()}
    for model, tag in open_clip.list_pretrained():
        pretrained, config = open_clip.get_pretrained_cfg(model, tag), open_clip.get_model_config(model)
        preprocessing = Preprocessing.of(pretrained, config["vision_cfg"].get("image_size", 224))
        assert preprocessing.mean == tuple(pretrained["mean"])
        assert weight_location.file_names(pretrained)


# Tokenizers and text towers -----------------------------------------------------------------------------------------


def with_tokenizer(folder, model, name="nobody/words"):
    config = models.PLAIN | {"text_cfg": models.TEXT | {"hf_tokenizer_name": name, "vocab_size": 49_408}}
    return models.write_model(folder, model, config)


def test_missing_tokenizer_is_named(listed, tmp_path):
    encoder = local(str(with_tokenizer(tmp_path / "m", models.random_model(models.PLAIN))))
    with pytest.raises(MissingWeights, match=r"tokenizer\.json of the hub repository nobody/words"):
        embed_texts(encoder)
    assert embed_images(encoder).shape == (len(PIECES), 24)


def test_tokenizer_in_the_folder_is_used(tmp_path):
    pytest.importorskip("transformers", reason="tokenizers of the hub need transformers")
    from tokenizers import Tokenizer, models as tokenizer_models, pre_tokenizers

    folder = with_tokenizer(tmp_path / "m", models.random_model(models.PLAIN))
    vocabulary = {"[PAD]": 0, "[UNK]": 1, "a": 2, "dog": 3, "barks": 4}
    tokenizer = Tokenizer(tokenizer_models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]", "unk_token": "[UNK]"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    token_ids = local(str(folder)).prepare(Piece(TEXT, "a dog barks loudly"))
    assert token_ids.tolist() == [2, 3, 4, 1] + [0] * 20


def test_hub_text_tower_needs_only_its_configuration(listed, tmp_path):
    pytest.importorskip("transformers", reason="text towers of the hub need transformers")
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    folder = tmp_path / "m"
    folder.mkdir()
    config = {"model_type": "roberta", "vocab_size": 99, "pad_token_id": 1, **shape}
    (folder / "config.json").write_text(json.dumps(config))
    text = {"hf_model_name": str(folder), "hf_model_pretrained": False, "hf_pooler_type": "mean_pooler"}
    whole = models.random_model(models.PLAIN | {"custom_text": True, "text_cfg": text})
    models.write_model(folder, whole, models.PLAIN | {"text_cfg": text | {"hf_model_name": "nobody/roberta"}})
    encoder = local(str(folder))
    token_ids = RNG.integers(3, 99, (3, 12))
    with torch.inference_mode():
        theirs = whole.encode_text(torch.from_numpy(token_ids)).numpy()
    np.testing.assert_allclose(encoder.encode(TEXT, list(token_ids)), theirs, atol=1e-5)
    (folder / "config.json").unlink()
    with pytest.raises(MissingWeights, match=r"config\.json of the hub repository nobody/roberta"):
        local(str(folder)).encode(TEXT, list(token_ids))


def test_required_text_files_are_listed():
    def files_of(model):
        return [
            (each.repository, each.name) for each in required_files.text_tower_files(open_clip.get_model_config(model))
        ]

    assert files_of("ViT-B-32") == []
    assert files_of("ViT-B-16-SigLIP2")[:2] == [
        ("timm/ViT-B-16-SigLIP2", "tokenizer.json"),
        ("timm/ViT-B-16-SigLIP2", "tokenizer_config.json"),
    ]
    assert ("roberta-base", "config.json") in files_of("roberta-ViT-B-32")


def test_tokenizer_put_where_the_message_says_is_found(plain, monkeypatch, tmp_path):
    config = json.loads((plain / "open_clip_config.json").read_text())
    config["model_cfg"]["text_cfg"]["hf_tokenizer_name"] = "nobody/words"
    (plain / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(MissingWeights) as raised:
        local(str(plain)).prepare(Piece(TEXT, "a"))
    own = Path(str(raised.value).split("put it into ")[1].split(" or ")[0])
    own.mkdir(parents=True)
    (own / "tokenizer.json").write_text("{}")
    with pytest.raises(DamagedWeights, match=r"the tokenizer in .* cannot be loaded"):
        local(str(plain)).prepare(Piece(TEXT, "a"))


def test_tokenizer_with_code_is_not_run(plain, tmp_path):
    pytest.importorskip("transformers", reason="tokenizers of the hub need transformers")
    config = json.loads((plain / "open_clip_config.json").read_text())
    text = config["model_cfg"]["text_cfg"]
    text |= {"hf_tokenizer_name": "nobody/words", "tokenizer_kwargs": {"trust_remote_code": True}}
    (plain / "open_clip_config.json").write_text(json.dumps(config))
    settings = {"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["own.Own", None]}}
    (plain / "tokenizer_config.json").write_text(json.dumps(settings))
    (plain / "own.py").write_text(f"open({str(tmp_path / 'victim')!r}, 'w')\nclass Own: pass\n")
    with pytest.raises(DamagedWeights, match=r"the tokenizer in .* cannot be loaded"):
        local(str(plain)).prepare(Piece(TEXT, "a"))
    assert not (tmp_path / "victim").exists()


def test_vision_tower_on_the_hub_is_not_fetched(plain):
    config = models.TIMM | {"vision_cfg": models.TIMM["vision_cfg"] | {"timm_model_name": "hf-hub:nobody/tower"}}
    with pytest.raises(UnusableSpace, match="hf-hub:nobody/tower"):
        towers.build_empty(config, towers.IMAGE)


@pytest.mark.parametrize(
    ("name", "licence"),
    [
        ("RN50/openai", ("MIT", True)),
        ("PE-Core-B-16/meta", ("Apache-2.0", True)),
        ("MobileCLIP-S1/datacompdr", ("apple-amlr", False)),
        ("EVA01-g-14/laion400m_s11b_b41k", ("not stated", False)),
        ("ViT-B-16-SigLIP/webli", ("not stated", False)),
        ("convnext_base/laion400m_s13b_b51k", ("not stated", False)),
    ],
)
def test_licence_of_listed_weights(name, licence):
    assert licences.licence_of(name) == licence


# Device and dtype ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bfloat16", "float16"])
def test_shorter_dtype_gives_nearly_equal_vectors(plain, monkeypatch, name):
    exact = local(str(plain))
    images, texts = normalised(embed_images(exact)), normalised(embed_texts(exact))
    monkeypatch.setenv("BINDSEARCH_DTYPE", name)
    short = local(str(plain))
    short_images, short_texts = embed_images(short), embed_texts(short)
    assert short_images.dtype == np.float32
    assert not np.array_equal(normalised(short_images), images)
    assert ((normalised(short_images) * images).sum(axis=1) > 0.999).all()
    assert ((normalised(short_texts) * texts).sum(axis=1) > 0.999).all()


def test_dtype_of_large_tower_is_tried_once(plain, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(devices, "MIN_PARAMETERS", 0)
    monkeypatch.setattr(devices, "reduced_precision", lambda kind: torch.bfloat16)
    first = local(str(plain))
    vectors = embed_texts(first)
    cached = local_cache.read_cache("dtypes")
    assert [key.split()[:2] for key in cached] == [[first.spec.fingerprint, "text"]]
    monkeypatch.setattr(towers, "measure_dtype", None)  # a second trial would fail
    assert np.array_equal(embed_texts(local(str(plain))), vectors)


@pytest.mark.parametrize(
    ("rounded", "chosen"),
    [([1.0, 0.01], "bfloat16"), ([1.0, 0.2], "float32"), ([float("nan"), 0.0], "float32")],
)
def test_dtype_with_different_vectors_is_not_chosen(monkeypatch, tmp_path, rounded, chosen):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(devices, "reduced_precision", lambda kind: torch.bfloat16)
    monkeypatch.setattr(devices, "MIN_SPEEDUP", 0)
    outputs = {torch.float32: torch.tensor([[1.0, 0.0]]), torch.bfloat16: torch.tensor([rounded])}
    dtype = devices.measure_dtype("key", outputs.__getitem__, lambda dtype: None)
    assert str(dtype) == f"torch.{chosen}"


def test_missing_device_is_named(monkeypatch):
    devices.device.cache_clear()
    monkeypatch.setenv("BINDSEARCH_DEVICE", "warp")
    try:
        with pytest.raises(SpaceError, match="BINDSEARCH_DEVICE=warp: no such device on this machine"):
            devices.device()
    finally:
        devices.device.cache_clear()


def test_cost_is_pixels_or_tokens(plain):
    encoder = local(str(plain))
    assert isinstance(encoder, OpenClipEncoder)
    assert encoder.cost(IMAGE) == encoder.cost(Modality.VIDEO) == 32 * 32
    assert encoder.cost(TEXT) == 24
