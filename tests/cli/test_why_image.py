"""`search --why-image`: the explanation of a hit as an image."""

from __future__ import annotations

import json

from PIL import Image


def test_first_hit_is_drawn(run, place, tmp_path):
    path = tmp_path / "why.png"
    ran = run("search", "blue sea", "--modality", "image", "-k", "2", "--why-image", path)
    assert ran.status == 0
    assert ran.err.startswith("bindsearch: drew the explanation of result 1 into ")
    assert ran.err.endswith("why.png\n")
    assert len(ran.lines) == 4  # header, two results, legend: nothing of the reasons in words
    found = json.loads(run("search", "blue sea", "--modality", "image", "-k", "1", "--json").out)
    with Image.open(path) as drawn, Image.open(found["path"]) as original:
        assert abs(drawn.width / drawn.height - original.width / original.height) < 0.02
    assert run("search", "blue sea", "--modality", "image", "-k", "2").out == ran.out


def test_hit_beyond_the_list_is_drawn(run, tmp_path):
    path = tmp_path / "third.png"
    ran = run("search", "birdsong", "--modality", "audio", "-k", "2", "--why-image", path, "--of", "3", "-q")
    assert (ran.status, len(ran.lines), ran.err) == (0, 2, "")
    with Image.open(path) as drawn:
        assert drawn.width == 1200


def test_why_and_why_image_combine(run, tmp_path):
    path = tmp_path / "film.jpg"
    ran = run("search", "blue sea", "--modality", "video", "-k", "1", "--why", "--why-image", path)
    assert any(line.strip().endswith("text:blue sea") for line in ran.lines)
    with Image.open(path) as drawn:
        assert drawn.format == "JPEG"


def test_key_phrase_of_a_text_is_listed(run):
    ran = run("search", "pumpkin soup", "--modality", "text", "-k", "1", "--why")
    (line,) = [line.strip() for line in ran.lines if line.strip().startswith("words  ")]
    assert "pumpkin" in line.lower().partition(", in “")[0]


def test_undrawable_hit_is_one_line(run, tmp_path):
    path = tmp_path / "why.png"
    for words, message in [
        (["pumpkin soup", "--modality", "text", "--why-image", path], "is a text, which cannot be drawn"),
        (["snow", "--why-image", path, "--of", "5000"], "there is no result 5000 to draw: the search finds "),
        (["snow", "--modality", "image", "--why-image", tmp_path / "why.xyz"], "name it something.png"),
        (["snow", "--modality", "image", "--why-image", tmp_path / "no" / "why.png"], "why.png"),
    ]:
        ran = run("search", *words)
        assert ran.status != 0
        assert message in ran.err
        assert ran.err.count("\n") == 1
        assert not path.exists()
    assert run("search", "snow", "--max-expect", "1e-30", "--why-image", path).status == 1
    assert not path.exists()
    assert run("search", "snow", "--why-image", path, "--of", "0").status == 2
