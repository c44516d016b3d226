from __future__ import annotations

import hashlib
import io
import json
import sys
from pathlib import Path

import pytest
from weights_server import serve

from bindsearch.cli import main
from bindsearch.spaces.catalogue import CATALOGUE, SpaceWeights, WeightFile

CONTENT = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server(monkeypatch):
    with serve({"/tower.bin": CONTENT}) as served:
        yield served


@pytest.fixture
def trial(server, monkeypatch):
    """A space with weights on a local server, under a licence that forbids commercial use."""

    def register(sha256=SHA256):
        file = WeightFile("tower.bin", len(CONTENT), address=f"{server.address}/tower.bin", sha256=sha256)
        weights = SpaceWeights("trial", (file,), "CC-BY-NC-4.0", False, "By attribution, not for commercial use.")
        monkeypatch.setitem(CATALOGUE, "trial", weights)
        return weights

    register()
    return register


@pytest.fixture
def get(capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO())

    def get(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main(["spaces", "get", *words])
        return status, *capsys.readouterr()

    return get


def test_licence_is_shown_and_file_is_fetched(trial, get, server):
    status, out, err = get("trial", "--accept-licence")
    name, _, path = out.strip().partition(": ")
    assert (status, name) == (0, "tower.bin")
    assert Path(path).read_bytes() == CONTENT
    assert err.startswith("trial: licence CC-BY-NC-4.0, not for commercial use. By attribution")
    server.requests.clear()
    assert get("trial")[:2] == (0, out)  # nothing is asked or fetched again
    assert server.requests == []


def test_json_has_file_path_and_licence(trial, get):
    status, out, _ = get("trial", "--accept-licence", "--json", "--quiet")
    record = json.loads(out)
    assert status == 0
    assert (record["space"], record["file"], record["licence"], record["commercial"]) == (
        "trial",
        "tower.bin",
        "CC-BY-NC-4.0",
        False,
    )
    assert Path(record["path"]).read_bytes() == CONTENT


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("answer", "status"), [("y\n", 0), ("yes\n", 0), ("n\n", 1), ("\n", 1), ("", 1)])
def test_terminal_asks_for_the_licence(trial, get, server, monkeypatch, answer, status):
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    found, _, err = get("trial")
    assert found == status
    assert "Accept the licence of trial (CC-BY-NC-4.0)? [y/N]" in err
    assert bool(server.requests) == (status == 0)


def failing(get, *words: str, status: int = 1) -> str:
    """Run a command that fails with a status; return the last line of stderr."""
    ended, out, err = get(*words)
    assert (ended, out) == (status, "")
    return err.splitlines()[-1]


def test_nothing_is_fetched_without_consent(trial, get, server):
    assert failing(get, "trial") == (
        "bindsearch: trial was not fetched because its licence (CC-BY-NC-4.0) was not accepted; --accept-licence "
        "accepts it without asking"
    )
    assert server.requests == []


def test_commercial_refuses_noncommercial_weights(trial, get, server):
    assert failing(get, "trial", "--commercial", "--accept-licence") == (
        "bindsearch: trial is refused because --commercial was given: licence CC-BY-NC-4.0, not for "
        "commercial use. By attribution, not for commercial use."
    )
    assert server.requests == []


def test_offline_reports_what_is_missing(trial, get, server):
    assert failing(get, "trial", "--offline") == (
        "bindsearch: trial needs tower.bin (1.02 MB), which is not on this machine, and network access is off: "
        "`bindsearch spaces get trial` fetches it, or put it at ~/data/bindsearch/weights/trial/tower.bin; it comes "
        f"from {server.address}/tower.bin"
    )
    assert server.requests == []


def test_interrupted_download_is_reported_and_resumed(trial, get, server):
    server.stop_after = 500_000
    assert failing(get, "trial", "--accept-licence") == (
        f"bindsearch: {server.address}/tower.bin stopped after 500,000 of 1,024,000 bytes; the 500,000 bytes "
        "that arrived are kept: run the command again to continue"
    )
    server.stop_after = None
    assert get("trial")[0] == 0
    assert server.requests[-1] == ("GET", "/tower.bin", "bytes=500000-")


def test_wrong_sha256_is_refused(trial, get, server):
    trial(sha256="0" * 64)
    assert failing(get, "trial", "--accept-licence") == (
        f"bindsearch: {server.address}/tower.bin differs from what was published: its SHA-256 is "
        f"{SHA256}, not {'0' * 64}; it was not used"
    )


def test_unknown_name_suggests_similar_names(get):
    message = failing(get, "imagebnd", status=2)
    assert message == "bindsearch: no weights are known for 'imagebnd'; did you mean imagebind?"


@pytest.mark.parametrize(
    ("name", "follows"),
    [
        ("bound:", "a folder, as in bound:~/models/mine"),
        ("local:", "a folder, as in local:~/models/mine"),
        ("clap:local:", "a folder, as in clap:local:~/models/mine"),
        ("imagebind/local:", "a folder, as in imagebind/local:~/models/mine"),
        ("clap:", "a repository of the hub, as in clap:laion/clap-htsat-unfused"),
        ("openclip:", "MODEL/TAG, as in openclip:ViT-B-32/laion2b_s34b_b79k (`bindsearch spaces --all` lists them)"),
    ],
)
def test_family_alone_reports_its_syntax(get, name, follows):
    assert failing(get, name, status=2) == f"bindsearch: {name} is a family of spaces: add {follows}"


def test_invalid_member_reports_the_syntax_of_its_family(get):
    assert failing(get, "clap:unfused", status=2) == (
        "bindsearch: no weights are known for 'clap:unfused': clap: is followed by a repository of the hub, as in "
        "clap:laion/clap-htsat-unfused"
    )
    assert failing(get, "smell:roses", status=2).startswith("bindsearch: no weights are known for 'smell:roses'; ")


def test_missing_folder_is_reported(get, tmp_path):
    for family in ("bound:", "clap:local:", "imagebind/local:"):
        assert failing(get, f"{family}{tmp_path}/gone") == (
            f"bindsearch: {family}{tmp_path}/gone: the folder {tmp_path}/gone does not exist"
        )


def test_built_in_space_needs_no_files(get):
    assert get("toy") == (0, "toy is included in bindsearch: nothing to fetch\n", "")
    assert get("toy", "--json") == (0, "", "")


def test_local_space_needs_no_files(get, tmp_path):
    name = f"imagebind/local:{tmp_path}"
    assert get(name, "--quiet")[:2] == (0, "")
    assert get(name)[1] == f"{name} is in the folder that its name gives: nothing to fetch\n"


def test_pattern_without_match_is_reported(capsys):
    assert main(["spaces", "--all", "no such model"]) == 1
    assert "no space of a family matches 'no such model'" in capsys.readouterr().err


def test_terminal_shows_download_progress(trial, monkeypatch, capsys):
    from bindsearch.cli import spaces_get

    class Shown(Terminal):
        pass

    shown = Shown()
    monkeypatch.setattr(sys, "stderr", shown)
    meter = spaces_get._ProgressLine("tower.bin", quiet=False)
    monkeypatch.setattr(spaces_get.time, "monotonic", lambda: 1e9)
    meter.show(500_000, 2_000_000)
    assert shown.getvalue().endswith("tower.bin  25% of 2 MB")
    meter.show(2_000_000, 2_000_000)
    assert shown.getvalue().endswith("tower.bin  100% of 2 MB\n")


# A library for commercial use -------------------------------------------------------------------------------------


@pytest.fixture
def for_research(monkeypatch):
    """A space that must not be used commercially."""
    from dataclasses import replace

    from bindsearch.encoders.toy.encoder import ToyEncoder

    from bindsearch.registry import SPACES

    class Research(ToyEncoder):
        spec = replace(ToyEncoder.spec, name="research", licence="CC-BY-NC-4.0", commercial=False)

    monkeypatch.setattr("bindsearch.encoders.toy.encoder.Research", Research, raising=False)
    monkeypatch.setitem(SPACES, "research", "bindsearch.encoders.toy.encoder:Research")


def test_commercial_library_refuses_noncommercial_spaces(for_research, samples, tmp_path, capsys):
    photos, library = str(samples / "photos" / "night"), str(tmp_path / "own.library")
    command = ["index", photos, "-l", library, "--quiet"]
    assert main([*command, "--space", "research", "--commercial"]) == 1
    assert capsys.readouterr().err == (
        "bindsearch: space research is refused because the library is for commercial use and the licence of its "
        "weights is CC-BY-NC-4.0; `bindsearch spaces` lists other spaces\n"
    )
    assert not Path(library).exists()
    assert main([*command, "--commercial"]) == 0
    assert main(command) == 0
    assert json.loads((Path(library) / "library.json").read_text())["commercial"] is True
    assert main(["migrate", "-l", library, "--space", "research", "--quiet"]) == 1
    assert "space research is refused" in capsys.readouterr().err


def test_noncommercial_licence_is_shown_on_use(for_research, samples, tmp_path, capsys):
    """Also where the weights came from the hub's cache, for which no licence was accepted."""
    command = ["index", str(samples / "photos" / "night"), "-l", str(tmp_path / "own.library")]
    terms = "licence CC-BY-NC-4.0, not for commercial use"
    assert main([*command, "--space", "research"]) == 0
    assert f"space research: {terms}\n" in capsys.readouterr().err
    assert main([*command, "--quiet"]) == 0
    assert capsys.readouterr().err == ""
    assert main(["status", "-l", command[-1]]) == 0
    assert f"research, 96 dimensions, {terms}\n" in capsys.readouterr().out
    assert main(["migrate", "-l", command[-1], "--space", "toy", "--quiet"]) == 0
    assert main(["status", "-l", command[-1], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["licence"] == "MIT"
    assert main(["migrate", "-l", command[-1], "--rollback", "--quiet"]) == 0
    assert json.loads(Path(command[-1], "library.json").read_text())["licence"] == terms.removeprefix("licence ")


def test_noncommercial_library_cannot_become_commercial(for_research, samples, tmp_path, capsys):
    photos, library = str(samples / "photos" / "night"), str(tmp_path / "own.library")
    assert main(["index", photos, "-l", library, "--quiet", "--space", "research"]) == 0
    assert main(["index", photos, "-l", library, "--quiet", "--commercial"]) == 1
    assert "space research is refused" in capsys.readouterr().err
    assert json.loads((Path(library) / "library.json").read_text())["commercial"] is False
