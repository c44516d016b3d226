from __future__ import annotations

import hashlib
import json
import os
import socket
from pathlib import Path

import numpy as np
import pytest
from weights_server import Served, serving

from bindsearch.errors import DamagedWeights, LicenceRefused, MissingWeights, UnknownSpace
from bindsearch.spaces import weights
from bindsearch.spaces.download import download
from bindsearch.spaces.weights import File, Weights

CONTENT = np.random.default_rng(0).bytes(3_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server():
    with serving({"/tower.bin": CONTENT}) as served:
        yield served


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("the network was touched")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)


def nobody(have: int, whole: int) -> None:
    pass


def trial(served: Served | None, *, sha256: str | None = SHA256, size: int | None = len(CONTENT)) -> Weights:
    address = served.address if served else "http://127.0.0.1:9"
    file = File("tower.bin", len(CONTENT), address=f"{address}/tower.bin", size=size, sha256=sha256)
    return Weights("trial", (file,), "CC-BY-NC-4.0", False, "Read the licence.")


def fetch(asked: Weights, **options) -> list[Path]:
    told = options.pop("told", nobody)
    accept = options.pop("accept", lambda _: True)
    return [path for _, path in weights.get(asked, accept=accept, told=lambda _: told, **options)]


# From an address --------------------------------------------------------------------------------------------------


def test_a_file_comes_whole_and_is_told_of(server, home):
    told = []
    (path,) = fetch(trial(server), told=lambda have, whole: told.append((have, whole)))
    assert path.read_bytes() == CONTENT
    assert path == home / "data" / "bindsearch" / "weights" / "trial" / "tower.bin"
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert [have for have, _ in told] == sorted(have for have, _ in told)
    assert os.listdir(path.parent) == ["tower.bin"]


def test_what_is_there_is_not_fetched_again(server):
    fetch(trial(server))
    server.asked.clear()
    assert fetch(trial(server))[0].read_bytes() == CONTENT
    assert server.asked == []


def test_what_broke_off_goes_on_where_it_stopped(server):
    server.stop_after = 1_000_000
    with pytest.raises(MissingWeights, match=r"broke off after 1,000,000 of 3,000,000 bytes; .* run it again"):
        fetch(trial(server))
    server.stop_after = None
    assert fetch(trial(server))[0].read_bytes() == CONTENT
    assert [asked for _, _, asked in server.asked] == ["", "bytes=1000000-"]


def test_a_server_without_ranges_is_asked_for_all_again(server):
    server.stop_after, server.ranges = 1_000_000, False
    with pytest.raises(MissingWeights):
        fetch(trial(server))
    server.stop_after = None
    assert fetch(trial(server))[0].read_bytes() == CONTENT


def test_a_part_that_is_whole_is_taken(server, home):
    part = weights.weights_folder() / "trial" / "tower.bin.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT)
    assert fetch(trial(server))[0].read_bytes() == CONTENT
    assert not part.exists()


def test_a_part_of_another_file_is_thrown_away(server):
    part = weights.weights_folder() / "trial" / "tower.bin.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT * 2)
    assert fetch(trial(server))[0].read_bytes() == CONTENT


def test_another_sha256_is_refused_and_names_both(server):
    wrong = "0" * 64
    with pytest.raises(DamagedWeights, match=f"sha256 is {SHA256}, not {wrong}"):
        fetch(trial(server, sha256=wrong))
    assert not list(weights.weights_folder().glob("trial/*"))


def test_another_size_is_refused_and_names_both(server):
    with pytest.raises(DamagedWeights, match=r"3,000,000 bytes, not the 3,000,001"):
        fetch(trial(server, size=3_000_001))


def test_a_file_put_there_by_hand_is_checked_too(server):
    own = weights.weights_folder() / "trial" / "tower.bin"
    own.parent.mkdir(parents=True)
    own.write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(DamagedWeights, match=r"tower\.bin is not what was published"):
        fetch(trial(server))
    assert server.asked == []


def test_a_file_that_came_out_longer_than_it_is_is_refused(server):
    server.stop_after = 1_000_000
    with pytest.raises(MissingWeights):
        fetch(trial(server, sha256=None, size=None))
    server.stop_after, server.whole = None, 2_999_996
    with pytest.raises(DamagedWeights, match=r"3,000,000 bytes, not the 2,999,996"):
        fetch(trial(server, sha256=None, size=None))
    assert not list(weights.weights_folder().glob("trial/*"))


def test_two_programs_do_not_fetch_the_same_file(server):
    fcntl = pytest.importorskip("fcntl", reason="this system locks in another way")
    part = weights.weights_folder() / "trial" / "tower.bin.part"
    part.parent.mkdir(parents=True)
    with part.open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(MissingWeights, match="is being fetched by another process"):
            fetch(trial(server))
    assert server.asked == []
    assert fetch(trial(server))[0].read_bytes() == CONTENT


def test_a_server_that_has_no_such_file_is_said(server, tmp_path):
    with pytest.raises(MissingWeights, match=r"/none\.bin cannot be fetched: the server says 404"):
        download(f"{server.address}/none.bin", tmp_path / "none.bin", told=nobody)


def test_a_server_that_is_not_there_is_said(tmp_path):
    with pytest.raises(MissingWeights, match=r"cannot be fetched: .*refused"):
        download("http://127.0.0.1:9/none.bin", tmp_path / "none.bin", told=nobody)


# Without the network ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", ["flag", "HF_HUB_OFFLINE", "BINDSEARCH_OFFLINE"])
def test_offline_says_which_file_how_large_from_where_and_where_to_put_it(said, monkeypatch, no_network, home):
    if said != "flag":
        monkeypatch.setenv(said, "1")
    with pytest.raises(MissingWeights) as raised:
        fetch(weights.KNOWN["imagebind"], offline=said == "flag")
    words = str(raised.value)
    assert "open_clip_model.safetensors (3.94 GB)" in words
    assert "put it at ~/data/bindsearch/weights/imagebind/open_clip_model.safetensors" in words
    assert "bindsearch spaces get imagebind" in words
    assert "laion/CLIP-ViT-H-14-laion2B-s32B-b79K" in words


def test_finding_and_needing_never_touch_the_network(no_network):
    for known in weights.KNOWN.values():
        assert [weights.located(known, file) for file in known.files] == [None] * len(known.files)
    with pytest.raises(MissingWeights, match=r"imagebind_huge\.pth \(4\.8 GB\)"):
        weights.need("imagebind", "imagebind_huge.pth")


def test_what_lies_there_is_found_offline(no_network):
    own = weights.weights_folder() / "imagebind" / "imagebind_huge.pth"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"x")
    assert weights.need("imagebind", "imagebind_huge.pth") == own


# Names ------------------------------------------------------------------------------------------------------------


def test_an_unknown_name_offers_the_nearest(no_network):
    with pytest.raises(UnknownSpace, match="'imagebnd'; did you mean imagebind"):
        weights.find("imagebnd")
    with pytest.raises(UnknownSpace, match="there are clap:"):
        weights.find("qqqqqq")


def test_what_ships_inside_needs_nothing():
    assert weights.find("toy").files == ()


def test_a_repository_that_nobody_described_has_no_known_licence():
    asked = weights.find("clap:somebody/own-clap")
    assert {file.repository for file in asked.files} == {"somebody/own-clap"}
    assert (asked.licence, asked.commercial) == (weights.UNKNOWN_LICENCE, False)


def test_every_known_file_says_where_it_comes_from():
    for known in weights.KNOWN.values():
        assert known.licence
        assert known.terms
        assert all(bool(file.repository) != bool(file.address) for file in known.files)
        assert all(file.origin.startswith("https://") for file in known.files)


# Licences ---------------------------------------------------------------------------------------------------------


def test_a_licence_that_is_not_accepted_lets_nothing_come(server):
    with pytest.raises(LicenceRefused, match=r"CC-BY-NC-4\.0.*--accept-licence"):
        fetch(trial(server), accept=lambda _: False)
    assert server.asked == []


def test_a_licence_is_asked_for_once(server):
    asked = []
    fetch(trial(server), accept=lambda each: bool(asked.append(each.space)) or True)
    (weights.weights_folder() / "trial" / "tower.bin").unlink()
    fetch(trial(server), accept=lambda each: bool(asked.append(each.space)) or True)
    assert asked == ["trial"]
    noted = json.loads((weights.weights_folder() / "licences.json").read_text())
    assert noted["trial"]["licence"] == "CC-BY-NC-4.0"


def test_another_licence_is_asked_for_again(server):
    fetch(trial(server))
    (weights.weights_folder() / "licences.json").write_text(json.dumps({"trial": {"licence": "MIT"}}))
    assert not weights.is_accepted(trial(server))
    (weights.weights_folder() / "licences.json").write_text("damaged")
    assert not weights.is_accepted(trial(server))


def test_for_commercial_use_only_what_allows_it_is_let_in(server):
    with pytest.raises(LicenceRefused, match=r"trial is refused.*CC-BY-NC-4\.0, not for commercial use"):
        fetch(trial(server), commercial=True)
    with pytest.raises(LicenceRefused, match="does not know its licence"):
        weights.allow(weights.find("clap:somebody/own-clap"))
    weights.allow(weights.find("clap:laion/clap-htsat-unfused"))
    assert server.asked == []


# From the hub -----------------------------------------------------------------------------------------------------

HUB_FILE = "/somebody/model/resolve/main/model.safetensors"


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub on this machine, with a cache of its own."""
    client = pytest.importorskip("huggingface_hub", reason="the hub's client is an extra")
    with serving({HUB_FILE: CONTENT}) as served:
        template = served.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(client.constants, "ENDPOINT", served.address)
        monkeypatch.setattr(client.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(client.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(client.constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        client.utils.disable_progress_bars()
        yield served


def from_hub(repository: str = "somebody/model") -> Weights:
    return Weights("trial", (File("model.safetensors", 0, repository),), "MIT", True, "Read the licence.")


def test_a_file_comes_from_the_hub_into_its_cache(hub, tmp_path):
    (path,) = fetch(from_hub())
    assert path.read_bytes() == CONTENT
    assert path.is_relative_to(tmp_path / "hub")
    hub.asked.clear()
    assert fetch(from_hub(), offline=True) == [path]
    assert hub.asked == []


def test_a_file_that_is_not_what_the_hub_says_is_refused(hub, tmp_path):
    hub.etag = "0" * 64
    with pytest.raises(DamagedWeights, match=f"sha256 is {SHA256}, not {'0' * 64}"):
        fetch(from_hub())
    assert weights.located(from_hub(), from_hub().files[0]) is None


def test_a_repository_that_is_not_on_the_hub_is_said(hub):
    with pytest.raises(
        MissingWeights, match=r"the hub has no model\.safetensors of 'laion/clap-htsat-unfuse'.*did you mean"
    ):
        fetch(from_hub("laion/clap-htsat-unfuse"))


def test_another_file_that_does_as_well_is_taken_where_the_hub_has_not_the_first(hub):
    better = File("better.safetensors", 0, "somebody/model", instead="model.safetensors")
    absent = File("words.json", 0, "somebody/model", optional=True)
    (path,) = fetch(Weights("trial", (better, absent), "MIT", True, "Read the licence."))
    assert (path.name, path.read_bytes()) == ("model.safetensors", CONTENT)
    with pytest.raises(MissingWeights, match=r"the hub has no words\.json"):
        fetch(Weights("trial", (File("words.json", 0, "somebody/model"),), "MIT", True, "Read the licence."))


def test_what_a_text_tower_needs_beside_its_weights_is_fetched_too():
    pytest.importorskip("open_clip", reason="open_clip says what it is")
    asked = weights.find("openclip:ViT-B-16-SigLIP/webli")
    needed = {file.name: file.optional for file in asked.files}
    assert needed["open_clip_model.safetensors"] is needed["tokenizer.json"] is False
    assert needed["tokenizer_config.json"] is True
    assert 8e8 < asked.files[0].about < 9e8
    assert (asked.licence, asked.commercial) == (weights.UNKNOWN_LICENCE, False)
    assert {file.name for file in weights.find("openclip:roberta-ViT-B-32/laion2b_s12b_b32k").files} > {"config.json"}


@pytest.mark.parametrize("name", ["ViT-B-16/opnai", "ViT-B-16", "ViT-B-16/"])
def test_an_unknown_model_of_open_clips_offers_the_nearest(name):
    pytest.importorskip("open_clip", reason="open_clip says what it is")
    with pytest.raises(UnknownSpace, match="did you mean openclip:ViT-B-16/"):
        weights.find(f"openclip:{name}")


def test_a_model_elsewhere_on_the_hub_is_not_asked_for(no_network):
    pytest.importorskip("open_clip", reason="it would ask the hub")
    with pytest.raises(UnknownSpace, match="'hf-hub:somebody/model'"):
        weights.find("openclip:hf-hub:somebody/model")


def test_what_lies_in_a_folder_needs_nothing_if_it_is_there(tmp_path, no_network):
    for family in ("clap:local:", "imagebind/local:", "bound:"):
        found = weights.find(f"{family}{tmp_path}")
        assert (found.files, found.commercial) == ((), False)
        with pytest.raises(MissingWeights, match="there is no folder"):
            weights.find(f"{family}{tmp_path}/none")


def test_a_model_in_a_folder_needs_the_words_that_are_not_there(tmp_path, no_network):
    pytest.importorskip("open_clip", reason="open_clip's models need it")
    text = {"context_length": 24, "hf_model_name": "somebody/tower", "hf_tokenizer_name": "somebody/words"}
    told = {"model_cfg": {"embed_dim": 8, "vision_cfg": {}, "text_cfg": text}, "license": "MIT", "commercial": True}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(told))
    with pytest.raises(MissingWeights, match="no weights are at"):
        weights.find(f"local:{tmp_path}")
    (tmp_path / "open_clip_model.safetensors").write_bytes(b"x")
    found = weights.find(f"local:{tmp_path}")
    assert [(file.repository, file.name, file.optional) for file in found.files] == [
        ("somebody/tower", "config.json", False),
        ("somebody/words", "tokenizer.json", False),
        ("somebody/words", "tokenizer_config.json", True),
        ("somebody/words", "special_tokens_map.json", True),
    ]
    assert (found.licence, found.commercial) == ("MIT", True)
    (tmp_path / "tokenizer.json").write_bytes(b"x")
    assert "tokenizer.json" not in {file.name for file in weights.find(f"local:{tmp_path}").files}


@pytest.mark.parametrize("name", ["../..", "a/../b", "a/b/c", "-a/b", "a", "ä/b"])
def test_what_is_no_repository_is_no_space(name):
    with pytest.raises(UnknownSpace):
        weights.find(f"clap:{name}")


def test_a_download_from_the_hub_that_breaks_off_is_said_and_goes_on(hub):
    hub.stop_after = 1_000_000
    with pytest.raises(MissingWeights, match="run it again to go on"):
        fetch(from_hub())
    hub.stop_after = None
    assert fetch(from_hub())[0].read_bytes() == CONTENT
