"""open_clip's models through our path give what open_clip gives, and what is wrong with a file is said."""

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

torch = pytest.importorskip("torch", reason=models.WHY)
open_clip = pytest.importorskip("open_clip", reason=models.WHY)

from bindsearch.encoders.openclip import model_source, towers  # noqa: E402
from bindsearch.encoders.openclip.encoder import OpenClipEncoder, local  # noqa: E402
from bindsearch.encoders.openclip.preprocess import Preprocessing  # noqa: E402
from bindsearch.encoders.shared import device as devices, file_hash, local_cache  # noqa: E402

RNG = np.random.default_rng(7)
SIZES = [(32, 32), (640, 480), (480, 641), (33, 200), (1000, 31), (7, 5), (1, 1)]
PICTURES = [Image.fromarray(RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)) for width, height in SIZES]
PIECES = [Piece(Modality.IMAGE, picture) for picture in PICTURES]
TEXTS = ["a dog barks", "Rain on a roof!", "", "word " * 60]
IMAGE, TEXT = Modality.IMAGE, Modality.TEXT


def seen(encoder, pieces=PIECES):
    return encoder.encode(IMAGE, [encoder.prepare(piece) for piece in pieces])


def read(encoder, texts=TEXTS):
    return encoder.encode(TEXT, [encoder.prepare(Piece(TEXT, text)) for text in texts])


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def plain(tmp_path):
    return models.saved(tmp_path / "plain", models.random_model(models.PLAIN), models.PLAIN)


# Pictures as open_clip prepares them --------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("size", [(32, 32), (48, 30), (30, 48)])
def test_pictures_are_prepared_to_the_last_bit_as_open_clip_does(mode, interpolation, size):
    told = {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.25, 0.3), "interpolation": interpolation, "resize_mode": mode}
    told |= {"fill_color": 99}
    ours = Preprocessing.of(told, size)
    square = size[0] if size[0] == size[1] else size
    theirs = open_clip.transform.image_transform_v2(open_clip.transform.PreprocessCfg(size=square, **told), False)
    centre = towers._pixel_normaliser(ours)
    for picture in PICTURES:
        if mode == "longest" and min(picture.size) == 31:
            continue  # the other side would have no pixel left: open_clip fails there
        pixels = ours(picture)
        assert pixels.dtype == np.uint8
        batch = centre(torch.from_numpy(pixels)[None], torch.float32)
        assert torch.equal(batch[0], theirs(picture)), picture.size


def test_a_mode_that_is_not_known_is_refused():
    with pytest.raises(ValueError, match="cover"):
        Preprocessing.of({"resize_mode": "cover"}, 32)


# Towers as open_clip runs them --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", models.KINDS)
def test_every_kind_of_model_gives_what_open_clip_gives(kind, tmp_path):
    config = models.KINDS[kind]
    folder = models.saved(tmp_path, models.random_model(config), config, preprocess={"mean": [0.5] * 3})
    whole, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    words = open_clip.get_tokenizer(f"local-dir:{folder}")
    encoder = local(str(folder))
    with torch.inference_mode():
        pictures = whole.eval().encode_image(torch.stack([transform(picture) for picture in PICTURES]))
        texts = whole.encode_text(words(TEXTS))
    np.testing.assert_allclose(unit(seen(encoder)), unit(pictures.numpy()), atol=1e-5)
    np.testing.assert_allclose(unit(read(encoder)), unit(texts.numpy()), atol=1e-5)


def test_a_frame_is_a_picture(plain):
    encoder = local(str(plain))
    frames = [encoder.prepare(Piece(Modality.VIDEO, picture)) for picture in PICTURES]
    assert np.array_equal(encoder.encode(Modality.VIDEO, frames), seen(encoder))


def test_it_has_no_ears(plain):
    encoder = local(str(plain))
    assert Modality.AUDIO not in encoder.spec.modalities
    with pytest.raises(SpaceError, match="cannot hear"):
        encoder.prepare(media.tone(440))


@pytest.mark.parametrize("kind", models.KINDS)
def test_an_empty_tower_takes_no_memory(kind):
    for part in (towers.IMAGE, towers.TEXT):
        tower = towers.build_empty(models.KINDS[kind], part)
        assert all(each.is_meta for each in tower.parameters())
        assert not any(each.is_meta for name, each in tower.named_buffers() if "running" not in name)
        assert next(tower.parameters(), None) is not None


def test_modules_that_others_make_meanwhile_keep_their_memory():
    with towers._parameters_on_meta():
        assert torch.nn.Linear(2, 2).weight.is_meta
    assert not torch.nn.Linear(2, 2).weight.is_meta


def test_a_tower_reads_only_what_is_its_own(plain):
    """The other tower's tensors may be missing: so they are never read."""
    from safetensors.torch import load_file, save_file

    file = plain / models.WEIGHTS
    whole = load_file(file)
    pictures, texts = seen(local(str(plain))), read(local(str(plain)))
    save_file({name: each for name, each in whole.items() if not name.startswith("visual.")}, file)
    half = local(str(plain))
    assert np.array_equal(read(half), texts)
    with pytest.raises(SpaceError, match=r"lacks .*name the model"):
        seen(half)
    save_file({name: each for name, each in whole.items() if name.startswith("visual.")}, file)
    assert np.array_equal(seen(local(str(plain))), pictures)


# Files of weights ---------------------------------------------------------------------------------------------------


def tensors(folder):
    from safetensors.torch import load_file

    return load_file(folder / models.WEIGHTS)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_checkpoint_holds_the_same_however_it_is_written(plain, tmp_path, legacy, wrapped):
    state = tensors(plain)
    if wrapped:
        state = {"epoch": 3, "state_dict": {f"module.{name}": each for name, each in state.items()}}
    folder = tmp_path / "pickled"
    folder.mkdir()
    (folder / "open_clip_config.json").write_text((plain / "open_clip_config.json").read_text())
    torch.save(state, folder / "open_clip_pytorch_model.bin", _use_new_zipfile_serialization=not legacy)
    assert np.array_equal(seen(local(str(folder))), seen(local(str(plain))))
    assert np.array_equal(read(local(str(folder))), read(local(str(plain))))


class Hostile:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_a_hostile_pickle_is_refused_and_does_nothing(plain, tmp_path, how):
    (plain / models.WEIGHTS).unlink()
    victim, file = tmp_path / "victim", plain / "open_clip_pytorch_model.bin"
    bait = {"visual.proj": Hostile(victim)}
    if how == "torch":
        torch.save(bait, file)
    else:
        file.write_bytes(pickle.dumps(bait, protocol=2))
    with pytest.raises(DamagedWeights, match="could run code"):
        read(local(str(plain)))
    assert not victim.exists()


def test_damage_is_said(plain):
    file = plain / models.WEIGHTS
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DamagedWeights, match=r"is damaged.*fetch it again"):
        read(local(str(plain)))
    file.rename(plain / "model.pth")
    with pytest.raises(DamagedWeights, match=r"model\.pth"):
        read(local(str(plain)))


def test_weights_of_another_model_are_refused(plain, tmp_path):
    wide = models.PLAIN | {"vision_cfg": models.EYE | {"width": 32}}
    other = models.saved(tmp_path / "other", models.random_model(wide), wide)
    (other / models.WEIGHTS).replace(plain / models.WEIGHTS)
    with pytest.raises(SpaceError, match="another model's weights"):
        seen(local(str(plain)))


def test_the_hash_of_a_large_file_is_remembered_until_it_changes(monkeypatch, tmp_path):
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
    assert file_hash.sha256_of(file) == first  # it was not read again


def test_a_damaged_memory_is_no_memory(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    local_cache.write_cache("weights", "a", 1)
    local_cache.write_cache("weights", "b", 2)
    assert local_cache.read_cache("weights") == {"a": 1, "b": 2}
    next(tmp_path.rglob("weights.json")).write_text("[")
    assert local_cache.read_cache("weights") == {}


# What a space is ----------------------------------------------------------------------------------------------------


def test_the_fingerprint_follows_weights_and_preprocessing(plain, tmp_path):
    model = models.random_model(models.PLAIN)
    told = [
        local(str(plain)),
        local(str(models.saved(tmp_path / "same", model, models.PLAIN))),
        local(str(models.saved(tmp_path / "squash", model, models.PLAIN, preprocess={"resize_mode": "squash"}))),
        local(str(models.saved(tmp_path / "quick", model, models.QUICK))),
        local(str(models.saved(tmp_path / "other", models.random_model(models.PLAIN, seed=1), models.PLAIN))),
    ]
    prints = [encoder.spec.fingerprint for encoder in told]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 4


def test_the_licence_is_the_one_that_the_folder_names(plain, tmp_path):
    assert not local(str(plain)).spec.commercial
    free = models.saved(
        tmp_path / "free", models.random_model(models.PLAIN), models.PLAIN, license="MIT", commercial=True
    )
    assert (local(str(free)).spec.licence, local(str(free)).spec.commercial) == ("MIT", True)


def test_a_relative_path_is_kept_whole(plain, monkeypatch):
    monkeypatch.chdir(plain.parent)
    assert load_space("local:plain").spec.name == f"local:{plain}"


def test_a_folder_without_a_configuration_says_what_to_name(tmp_path):
    with pytest.raises(MissingWeights, match=r"openclip:MODEL/local:PATH"):
        load_space(f"local:{tmp_path}")
    (tmp_path / "open_clip_config.json").write_text("{}")
    with pytest.raises(SpaceError, match="no configuration"):
        load_space(f"local:{tmp_path}")
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": models.PLAIN}))
    with pytest.raises(MissingWeights, match=r"open_clip_model\.safetensors"):
        load_space(f"local:{tmp_path}")


# Models and tags that open_clip lists -------------------------------------------------------------------------------


@pytest.fixture
def listed(monkeypatch, tmp_path):
    """A small model that open_clip lists with a tag, as if it were one of its own; give the hub's cache."""
    tag = {"hf_hub": "nobody/tiny/", "url": "", "mean": (0.5,) * 3, "std": (0.5,) * 3, "resize_mode": "squash"}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny-ViT", {"first": tag | {"quick_gelu": True}})
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny-ViT", models.PLAIN)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def put_into_cache(hub: Path, file: Path) -> Path:
    repo = hub / "models--nobody--tiny"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text("abc")
    kept = repo / "snapshots" / "abc" / file.name
    kept.parent.mkdir(parents=True)
    kept.write_bytes(file.read_bytes())
    return kept


def test_weights_that_are_missing_say_all_there_is_to_say(listed):
    with pytest.raises(MissingWeights) as caught:
        load_space("openclip:tiny-ViT/first")
    said = str(caught.value)
    size = towers.parameter_bytes(models.PLAIN)
    for part in (
        "open_clip_model.safetensors",
        f"(up to {size / 1e6:.0f} MB)",
        "hub repository nobody/tiny",
        "bindsearch spaces get openclip:tiny-ViT/first",
        "openclip:tiny-ViT/first/local:PATH",
    ):
        assert part in said


def test_weights_come_from_the_cache_with_all_that_belongs_to_their_tag(listed, plain):
    put_into_cache(listed, plain / models.WEIGHTS)
    encoder = load_space("openclip:tiny-ViT/first")
    quick = models.saved(
        plain.parent / "quick",
        models.random_model(models.PLAIN),
        models.QUICK,
        preprocess={"mean": 0.5, "std": 0.5, "resize_mode": "squash"},
    )
    assert np.array_equal(seen(encoder), seen(local(str(quick))))
    assert np.array_equal(read(encoder), read(local(str(quick))))
    assert not np.allclose(read(encoder), read(local(str(plain))), atol=1e-3)
    by_hand = load_space(f"openclip:tiny-ViT/first/local:{plain}")
    assert by_hand.spec.fingerprint == encoder.spec.fingerprint


def test_weights_can_be_put_where_ours_lie(listed, plain, monkeypatch, tmp_path):
    monkeypatch.setenv("BINDSEARCH_WEIGHTS", str(tmp_path / "own"))
    own = tmp_path / "own" / "openclip--tiny-ViT--first"
    own.mkdir(parents=True)
    (plain / models.WEIGHTS).replace(own / models.WEIGHTS)
    assert model_source.require_weights("tiny-ViT", "first") == own / models.WEIGHTS


def test_other_weights_of_a_known_model_are_prepared_for_as_openais(listed, plain):
    encoder = load_space(f"openclip:tiny-ViT/local:{plain / models.WEIGHTS}")
    assert encoder.spec.name == f"openclip:tiny-ViT/local:{plain / models.WEIGHTS}"
    assert np.array_equal(seen(encoder), seen(local(str(plain))))


@pytest.mark.parametrize(
    "name", ["ViT-B-23/openai", "ViT-B-32/opnai", "ViT-B-32", "ViT-B-32/", "ViT-B-32/local:", "ViT-B-32/openai/x"]
)
def test_a_name_that_open_clip_does_not_list_offers_the_nearest(name):
    with pytest.raises(UnknownSpace, match=r"ViT-B-32.*bindsearch spaces --all"):
        load_space(f"openclip:{name}")


def test_all_that_open_clip_lists_is_listed_and_understood():
    from bindsearch.registry import members

    names = {member.name for member in members("openclip:")}
    assert names == {f"openclip:{model}/{tag}" for model, tag in open_clip.list_pretrained()}
    for model, tag in open_clip.list_pretrained():
        told, config = open_clip.get_pretrained_cfg(model, tag), open_clip.get_model_config(model)
        made = Preprocessing.of(told, config["vision_cfg"].get("image_size", 224))
        assert made.mean == tuple(told["mean"])
        assert model_source._file_names(told)


# Words --------------------------------------------------------------------------------------------------------------


def with_tokenizer(folder, model, name="nobody/words"):
    config = models.PLAIN | {"text_cfg": models.READER | {"hf_tokenizer_name": name, "vocab_size": 49_408}}
    return models.saved(folder, model, config)


def test_a_tokenizer_that_is_not_here_is_named(listed, tmp_path):
    encoder = local(str(with_tokenizer(tmp_path / "m", models.random_model(models.PLAIN))))
    with pytest.raises(MissingWeights, match=r"tokenizer\.json from hub repository nobody/words"):
        read(encoder)
    assert seen(encoder).shape == (len(PIECES), 24)


def test_a_tokenizer_in_the_folder_is_taken(tmp_path):
    pytest.importorskip("transformers", reason="tokenizers of the hub need transformers")
    from tokenizers import Tokenizer, models as kinds, pre_tokenizers

    folder = with_tokenizer(tmp_path / "m", models.random_model(models.PLAIN))
    vocabulary = {"[PAD]": 0, "[UNK]": 1, "a": 2, "dog": 3, "barks": 4}
    words = Tokenizer(kinds.WordLevel(vocabulary, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.save(str(folder / "tokenizer.json"))
    told = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]", "unk_token": "[UNK]"}
    (folder / "tokenizer_config.json").write_text(json.dumps(told))
    numbers = local(str(folder)).prepare(Piece(TEXT, "a dog barks loudly"))
    assert numbers.tolist() == [2, 3, 4, 1] + [0] * 20


def test_a_text_tower_of_the_hubs_is_built_from_its_configuration_alone(listed, tmp_path):
    pytest.importorskip("transformers", reason="text towers of the hub need transformers")
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    folder = tmp_path / "m"
    folder.mkdir()
    told = {"model_type": "roberta", "vocab_size": 99, "pad_token_id": 1, **shape}
    (folder / "config.json").write_text(json.dumps(told))
    text = {"hf_model_name": str(folder), "hf_model_pretrained": False, "hf_pooler_type": "mean_pooler"}
    whole = models.random_model(models.PLAIN | {"custom_text": True, "text_cfg": text})
    models.saved(folder, whole, models.PLAIN | {"text_cfg": text | {"hf_model_name": "nobody/roberta"}})
    encoder = local(str(folder))
    numbers = RNG.integers(3, 99, (3, 12))
    with torch.inference_mode():
        theirs = whole.encode_text(torch.from_numpy(numbers)).numpy()
    np.testing.assert_allclose(encoder.encode(TEXT, list(numbers)), theirs, atol=1e-5)
    (folder / "config.json").unlink()
    with pytest.raises(MissingWeights, match=r"config\.json from hub repository nobody/roberta"):
        local(str(folder)).encode(TEXT, list(numbers))


def test_what_a_text_tower_needs_beside_its_weights_is_named():
    def beside(model):
        return [
            (each.repository, each.name) for each in model_source._text_tower_files(open_clip.get_model_config(model))
        ]

    assert beside("ViT-B-32") == []
    assert beside("ViT-B-16-SigLIP2")[:2] == [
        ("timm/ViT-B-16-SigLIP2", "tokenizer.json"),
        ("timm/ViT-B-16-SigLIP2", "tokenizer_config.json"),
    ]
    assert ("roberta-base", "config.json") in beside("roberta-ViT-B-32")


def test_words_put_where_the_message_says_are_found(plain, monkeypatch, tmp_path):
    told = json.loads((plain / "open_clip_config.json").read_text())
    told["model_cfg"]["text_cfg"]["hf_tokenizer_name"] = "nobody/words"
    (plain / "open_clip_config.json").write_text(json.dumps(told))
    with pytest.raises(MissingWeights) as caught:
        local(str(plain)).prepare(Piece(TEXT, "a"))
    own = Path(str(caught.value).split("put it into ")[1].split(" or ")[0])
    own.mkdir(parents=True)
    (own / "tokenizer.json").write_text("{}")
    with pytest.raises(DamagedWeights, match="no tokenizer that can be used"):
        local(str(plain)).prepare(Piece(TEXT, "a"))


def test_a_tokenizer_that_is_a_program_is_not_run(plain, tmp_path):
    pytest.importorskip("transformers", reason="tokenizers of the hub need transformers")
    told = json.loads((plain / "open_clip_config.json").read_text())
    text = told["model_cfg"]["text_cfg"]
    text |= {"hf_tokenizer_name": "nobody/words", "tokenizer_kwargs": {"trust_remote_code": True}}
    (plain / "open_clip_config.json").write_text(json.dumps(told))
    words = {"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["own.Own", None]}}
    (plain / "tokenizer_config.json").write_text(json.dumps(words))
    (plain / "own.py").write_text(f"open({str(tmp_path / 'victim')!r}, 'w')\nclass Own: pass\n")
    with pytest.raises(DamagedWeights, match="no tokenizer that can be used"):
        local(str(plain)).prepare(Piece(TEXT, "a"))
    assert not (tmp_path / "victim").exists()


def test_a_vision_tower_elsewhere_is_not_fetched(plain):
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
def test_a_licence_is_that_of_who_published_the_weights(name, licence):
    assert model_source.licence_of(name) == licence


# Device and dtype ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bfloat16", "float16"])
def test_shorter_numbers_say_nearly_the_same(plain, monkeypatch, name):
    exact = local(str(plain))
    pictures, texts = unit(seen(exact)), unit(read(exact))
    monkeypatch.setenv("BINDSEARCH_DTYPE", name)
    short = local(str(plain))
    rough, rough_texts = seen(short), read(short)
    assert rough.dtype == np.float32
    assert not np.array_equal(unit(rough), pictures)
    assert ((unit(rough) * pictures).sum(axis=1) > 0.999).all()
    assert ((unit(rough_texts) * texts).sum(axis=1) > 0.999).all()


def test_a_tower_worth_it_is_tried_once(plain, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(devices, "MIN_PARAMETERS", 0)
    monkeypatch.setattr(devices, "reduced_precision", lambda kind: torch.bfloat16)
    first = local(str(plain))
    vectors = read(first)
    known = local_cache.read_cache("dtypes")
    assert [key.split()[:2] for key in known] == [[first.spec.fingerprint, "text"]]
    monkeypatch.setattr(towers, "measure_dtype", None)  # a second trial would fail
    assert np.array_equal(read(local(str(plain))), vectors)


@pytest.mark.parametrize(
    ("rough", "chosen"),
    [([1.0, 0.01], "bfloat16"), ([1.0, 0.2], "float32"), ([float("nan"), 0.0], "float32")],
)
def test_shorter_numbers_that_say_something_else_are_not_taken(monkeypatch, tmp_path, rough, chosen):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(devices, "reduced_precision", lambda kind: torch.bfloat16)
    monkeypatch.setattr(devices, "MIN_SPEEDUP", 0)
    given = {torch.float32: torch.tensor([[1.0, 0.0]]), torch.bfloat16: torch.tensor([rough])}
    dtype = devices.measure_dtype("key", given.__getitem__, lambda dtype: None)
    assert str(dtype) == f"torch.{chosen}"


def test_a_device_that_is_not_there_is_said(monkeypatch):
    devices.device.cache_clear()
    monkeypatch.setenv("BINDSEARCH_DEVICE", "warp")
    try:
        with pytest.raises(SpaceError, match="BINDSEARCH_DEVICE=warp"):
            devices.device()
    finally:
        devices.device.cache_clear()


def test_an_encoder_says_what_its_pieces_cost(plain):
    encoder = local(str(plain))
    assert isinstance(encoder, OpenClipEncoder)
    assert encoder.cost(IMAGE) == encoder.cost(Modality.VIDEO) == 32 * 32
    assert encoder.cost(TEXT) == 24
