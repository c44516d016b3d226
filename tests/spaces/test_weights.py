from __future__ import annotations

import hashlib
import json
import os
import socket
from pathlib import Path

import numpy as np
import pytest
from weights_server import WeightsServer, serve

from bindsearch.core.paths import weights_folder
from bindsearch.errors import DamagedWeights, LicenceRefused, MissingWeights, UnknownSpace
from bindsearch.spaces.catalogue import CATALOGUE, UNKNOWN_LICENCE, SpaceWeights, WeightFile, find_weights
from bindsearch.spaces.download import download
from bindsearch.spaces.fetch import fetch_weights
from bindsearch.spaces.licences import is_accepted, require_commercial
from bindsearch.spaces.locate import locate, require

CONTENT = np.random.default_rng(0).bytes(3_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server():
    with serve({"/tower.bin": CONTENT}) as served:
        yield served


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("the network was touched")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)


def no_progress(have: int, whole: int) -> None:
    pass


def trial(
    served: WeightsServer | None, *, sha256: str | None = SHA256, size: int | None = len(CONTENT)
) -> SpaceWeights:
    address = served.address if served else "http://127.0.0.1:9"
    file = WeightFile("tower.bin", len(CONTENT), address=f"{address}/tower.bin", size=size, sha256=sha256)
    return SpaceWeights("trial", (file,), "CC-BY-NC-4.0", False, "Read the licence.")


def fetch(weights: SpaceWeights, **options) -> list[Path]:
    on_progress = options.pop("on_progress", no_progress)
    accept = options.pop("accept", lambda _: True)
    return [path for _, path in fetch_weights(weights, accept=accept, on_progress=lambda _: on_progress, **options)]


# From an address --------------------------------------------------------------------------------------------------


def test_download_is_complete_and_reports_progress(server, home):
    reports = []
    (path,) = fetch(trial(server), on_progress=lambda have, whole: reports.append((have, whole)))
    assert path.read_bytes() == CONTENT
    assert path == home / "data" / "bindsearch" / "weights" / "trial" / "tower.bin"
    assert reports[-1] == (len(CONTENT), len(CONTENT))
    assert [have for have, _ in reports] == sorted(have for have, _ in reports)
    assert os.listdir(path.parent) == ["tower.bin"]


def test_existing_file_is_not_downloaded_again(server):
    fetch(trial(server))
    server.requests.clear()
    assert fetch(trial(server))[0].read_bytes() == CONTENT
    assert server.requests == []


def test_interrupted_download_is_resumed(server):
    server.stop_after = 1_000_000
    with pytest.raises(MissingWeights, match=r"stopped after 1,000,000 of 3,000,000 bytes; .* run the command again"):
        fetch(trial(server))
    server.stop_after = None
    assert fetch(trial(server))[0].read_bytes() == CONTENT
    assert [range_ for _, _, range_ in server.requests] == ["", "bytes=1000000-"]


def test_without_range_support_download_restarts(server):
    server.stop_after, server.ranges = 1_000_000, False
    with pytest.raises(MissingWeights):
        fetch(trial(server))
    server.stop_after = None
    assert fetch(trial(server))[0].read_bytes() == CONTENT


def test_complete_part_file_is_used(server, home):
    part = weights_folder() / "trial" / "tower.bin.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT)
    assert fetch(trial(server))[0].read_bytes() == CONTENT
    assert not part.exists()


def test_part_of_another_file_is_discarded(server):
    part = weights_folder() / "trial" / "tower.bin.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT * 2)
    assert fetch(trial(server))[0].read_bytes() == CONTENT


def test_wrong_sha256_is_refused_and_both_are_named(server):
    wrong = "0" * 64
    with pytest.raises(DamagedWeights, match=f"SHA-256 is {SHA256}, not {wrong}"):
        fetch(trial(server, sha256=wrong))
    assert not list(weights_folder().glob("trial/*"))


def test_wrong_size_is_refused_and_both_are_named(server):
    with pytest.raises(DamagedWeights, match=r"3,000,000 bytes instead of the published 3,000,001"):
        fetch(trial(server, size=3_000_001))


def test_file_put_in_place_by_hand_is_checked(server):
    own = weights_folder() / "trial" / "tower.bin"
    own.parent.mkdir(parents=True)
    own.write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(DamagedWeights, match=r"tower\.bin differs from what was published"):
        fetch(trial(server))
    assert server.requests == []


def test_download_longer_than_announced_is_refused(server):
    server.stop_after = 1_000_000
    with pytest.raises(MissingWeights):
        fetch(trial(server, sha256=None, size=None))
    server.stop_after, server.claimed_size = None, 2_999_996
    with pytest.raises(DamagedWeights, match=r"3,000,000 bytes instead of the published 2,999,996"):
        fetch(trial(server, sha256=None, size=None))
    assert not list(weights_folder().glob("trial/*"))


def test_concurrent_download_of_same_file_is_refused(server):
    fcntl = pytest.importorskip("fcntl", reason="this system has no fcntl locks")
    part = weights_folder() / "trial" / "tower.bin.part"
    part.parent.mkdir(parents=True)
    with part.open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(MissingWeights, match="is being downloaded by another process"):
            fetch(trial(server))
    assert server.requests == []
    assert fetch(trial(server))[0].read_bytes() == CONTENT


def test_missing_file_on_server_is_reported(server, tmp_path):
    with pytest.raises(MissingWeights, match=r"/none\.bin cannot be fetched: the server responded 404"):
        download(f"{server.address}/none.bin", tmp_path / "none.bin", on_progress=no_progress)


def test_unreachable_server_is_reported(tmp_path):
    with pytest.raises(MissingWeights, match=r"cannot be fetched: .*refused"):
        download("http://127.0.0.1:9/none.bin", tmp_path / "none.bin", on_progress=no_progress)


# Without the network ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["flag", "HF_HUB_OFFLINE", "BINDSEARCH_OFFLINE"])
def test_offline_error_names_file_size_origin_and_folder(source, monkeypatch, no_network, home):
    if source != "flag":
        monkeypatch.setenv(source, "1")
    with pytest.raises(MissingWeights) as raised:
        fetch(CATALOGUE["imagebind"], offline=source == "flag")
    message = str(raised.value)
    assert "open_clip_model.safetensors (3.94 GB)" in message
    assert "put it at ~/data/bindsearch/weights/imagebind/open_clip_model.safetensors" in message
    assert "bindsearch spaces get imagebind" in message
    assert "laion/CLIP-ViT-H-14-laion2B-s32B-b79K" in message


def test_locate_and_require_use_no_network(no_network):
    for known in CATALOGUE.values():
        assert [locate(known, file) for file in known.files] == [None] * len(known.files)
    with pytest.raises(MissingWeights, match=r"imagebind_huge\.pth \(4\.8 GB\)"):
        require("imagebind", "imagebind_huge.pth")


def test_existing_file_is_found_offline(no_network):
    own = weights_folder() / "imagebind" / "imagebind_huge.pth"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"x")
    assert require("imagebind", "imagebind_huge.pth") == own


# Names ------------------------------------------------------------------------------------------------------------


def test_unknown_name_suggests_similar_names(no_network):
    with pytest.raises(UnknownSpace, match="'imagebnd'; did you mean imagebind"):
        find_weights("imagebnd")
    with pytest.raises(UnknownSpace, match="there are clap:"):
        find_weights("qqqqqq")


def test_built_in_space_needs_no_files():
    assert find_weights("toy").files == ()


def test_repository_outside_catalogue_has_unknown_licence():
    weights = find_weights("clap:somebody/own-clap")
    assert {file.repository for file in weights.files} == {"somebody/own-clap"}
    assert (weights.licence, weights.commercial) == (UNKNOWN_LICENCE, False)


def test_every_catalogue_file_has_an_origin():
    for known in CATALOGUE.values():
        assert known.licence
        assert known.terms
        assert all(bool(file.repository) != bool(file.address) for file in known.files)
        assert all(file.origin.startswith("https://") for file in known.files)


# Licences ---------------------------------------------------------------------------------------------------------


def test_without_accepted_licence_nothing_is_downloaded(server):
    with pytest.raises(LicenceRefused, match=r"CC-BY-NC-4\.0.*--accept-licence"):
        fetch(trial(server), accept=lambda _: False)
    assert server.requests == []


def test_licence_is_asked_only_once(server):
    asked = []
    fetch(trial(server), accept=lambda each: bool(asked.append(each.space)) or True)
    (weights_folder() / "trial" / "tower.bin").unlink()
    fetch(trial(server), accept=lambda each: bool(asked.append(each.space)) or True)
    assert asked == ["trial"]
    recorded = json.loads((weights_folder() / "licences.json").read_text())
    assert recorded["trial"]["licence"] == "CC-BY-NC-4.0"


def test_changed_licence_must_be_accepted_again(server):
    fetch(trial(server))
    (weights_folder() / "licences.json").write_text(json.dumps({"trial": {"licence": "MIT"}}))
    assert not is_accepted(trial(server))
    (weights_folder() / "licences.json").write_text("damaged")
    assert not is_accepted(trial(server))


def test_commercial_refuses_other_licences(server):
    with pytest.raises(LicenceRefused, match=r"trial is refused.*CC-BY-NC-4\.0, not for commercial use"):
        fetch(trial(server), commercial=True)
    with pytest.raises(LicenceRefused, match="licence unknown to bindsearch"):
        require_commercial(find_weights("clap:somebody/own-clap"))
    require_commercial(find_weights("clap:laion/clap-htsat-unfused"))
    assert server.requests == []


# From the hub -----------------------------------------------------------------------------------------------------

HUB_FILE = "/somebody/model/resolve/main/model.safetensors"


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub on this machine, with its own cache."""
    client = pytest.importorskip("huggingface_hub", reason="the hub's client is an extra")
    with serve({HUB_FILE: CONTENT}) as served:
        template = served.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(client.constants, "ENDPOINT", served.address)
        monkeypatch.setattr(client.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(client.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(client.constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        client.utils.disable_progress_bars()
        yield served


def from_hub(repository: str = "somebody/model") -> SpaceWeights:
    return SpaceWeights("trial", (WeightFile("model.safetensors", 0, repository),), "MIT", True, "Read the licence.")


def test_hub_file_is_downloaded_into_hub_cache(hub, tmp_path):
    (path,) = fetch(from_hub())
    assert path.read_bytes() == CONTENT
    assert path.is_relative_to(tmp_path / "hub")
    hub.requests.clear()
    assert fetch(from_hub(), offline=True) == [path]
    assert hub.requests == []


def test_hub_file_with_wrong_hash_is_refused(hub, tmp_path):
    hub.etag = "0" * 64
    with pytest.raises(DamagedWeights, match=f"SHA-256 is {SHA256}, not {'0' * 64}"):
        fetch(from_hub())
    assert locate(from_hub(), from_hub().files[0]) is None


def test_missing_hub_repository_is_reported(hub):
    with pytest.raises(
        MissingWeights, match=r"the hub has no model\.safetensors of 'laion/clap-htsat-unfuse'.*did you mean"
    ):
        fetch(from_hub("laion/clap-htsat-unfuse"))


def test_alternative_file_is_used_if_hub_lacks_first(hub):
    better = WeightFile("better.safetensors", 0, "somebody/model", alternative="model.safetensors")
    absent = WeightFile("words.json", 0, "somebody/model", optional=True)
    (path,) = fetch(SpaceWeights("trial", (better, absent), "MIT", True, "Read the licence."))
    assert (path.name, path.read_bytes()) == ("model.safetensors", CONTENT)
    with pytest.raises(MissingWeights, match=r"the hub has no words\.json"):
        fetch(SpaceWeights("trial", (WeightFile("words.json", 0, "somebody/model"),), "MIT", True, "Read the licence."))


def test_files_of_the_text_tower_are_required_too():
    pytest.importorskip("open_clip", reason="these spaces need open_clip")
    weights = find_weights("openclip:ViT-B-16-SigLIP/webli")
    needed = {file.name: file.optional for file in weights.files}
    assert needed["open_clip_model.safetensors"] is needed["tokenizer.json"] is False
    assert needed["tokenizer_config.json"] is True
    assert 8e8 < weights.files[0].approximate_size < 9e8
    assert (weights.licence, weights.commercial) == (UNKNOWN_LICENCE, False)
    assert {file.name for file in find_weights("openclip:roberta-ViT-B-32/laion2b_s12b_b32k").files} > {"config.json"}


@pytest.mark.parametrize("name", ["ViT-B-16/opnai", "ViT-B-16", "ViT-B-16/"])
def test_unknown_open_clip_model_suggests_similar_ones(name):
    pytest.importorskip("open_clip", reason="these spaces need open_clip")
    with pytest.raises(UnknownSpace, match="did you mean openclip:ViT-B-16/"):
        find_weights(f"openclip:{name}")


def test_hf_hub_name_is_refused_without_network(no_network):
    pytest.importorskip("open_clip", reason="open_clip would ask the hub")
    with pytest.raises(UnknownSpace, match="'hf-hub:somebody/model'"):
        find_weights("openclip:hf-hub:somebody/model")


def test_local_space_needs_no_files_if_folder_exists(tmp_path, no_network):
    for family in ("clap:local:", "imagebind/local:", "bound:"):
        found = find_weights(f"{family}{tmp_path}")
        assert (found.files, found.commercial) == ((), False)
        with pytest.raises(MissingWeights, match=r"the folder .* does not exist"):
            find_weights(f"{family}{tmp_path}/none")


def test_local_model_requires_missing_text_files(tmp_path, no_network):
    pytest.importorskip("open_clip", reason="open_clip's models need it")
    text = {"context_length": 24, "hf_model_name": "somebody/tower", "hf_tokenizer_name": "somebody/words"}
    config = {"model_cfg": {"embed_dim": 8, "vision_cfg": {}, "text_cfg": text}, "license": "MIT", "commercial": True}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(MissingWeights, match="there are no weights at"):
        find_weights(f"local:{tmp_path}")
    (tmp_path / "open_clip_model.safetensors").write_bytes(b"x")
    found = find_weights(f"local:{tmp_path}")
    assert [(file.repository, file.name, file.optional) for file in found.files] == [
        ("somebody/tower", "config.json", False),
        ("somebody/words", "tokenizer.json", False),
        ("somebody/words", "tokenizer_config.json", True),
        ("somebody/words", "special_tokens_map.json", True),
    ]
    assert (found.licence, found.commercial) == ("MIT", True)
    (tmp_path / "tokenizer.json").write_bytes(b"x")
    assert "tokenizer.json" not in {file.name for file in find_weights(f"local:{tmp_path}").files}


@pytest.mark.parametrize("name", ["../..", "a/../b", "a/b/c", "-a/b", "a", "ä/b"])
def test_invalid_repository_name_is_unknown_space(name):
    with pytest.raises(UnknownSpace):
        find_weights(f"clap:{name}")


def test_interrupted_hub_download_is_reported_and_resumed(hub):
    hub.stop_after = 1_000_000
    with pytest.raises(MissingWeights, match="run the command again to continue"):
        fetch(from_hub())
    hub.stop_after = None
    assert fetch(from_hub())[0].read_bytes() == CONTENT
