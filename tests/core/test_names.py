from __future__ import annotations

import pytest

from bindsearch.core.space_name import SpaceName
from bindsearch.core.suggest import closest, did_you_mean


@pytest.mark.parametrize(
    ("text", "family", "member", "stem", "folder"),
    [
        ("toy", "toy", "", "toy", ""),
        ("imagebind", "imagebind", "", "imagebind", ""),
        ("openclip:ViT-B-32/openai", "openclip:", "ViT-B-32/openai", "openclip:ViT-B-32/openai", ""),
        ("clap:laion/unfused", "clap:", "laion/unfused", "clap:laion/unfused", ""),
        ("local:~/mine", "local:", "~/mine", "local:", "~/mine"),
        ("imagebind/local:/a b", "imagebind/local:", "/a b", "imagebind/local:", "/a b"),
        ("clap:local:/mine", "clap:", "local:/mine", "clap:local:", "/mine"),
        ("bound:/out", "bound:", "/out", "bound:", "/out"),
    ],
)
def test_a_space_name_has_a_family_a_member_and_a_folder(text, family, member, stem, folder):
    name = SpaceName(text)
    assert (name.family, name.member, name.stem, name.folder) == (family, member, stem, folder)
    assert not name.is_family


def test_a_bare_family_is_recognised():
    assert [SpaceName(text).is_family for text in ("clap:", "imagebind/local:", "toy", "clap:x")] == [
        True,
        True,
        False,
        False,
    ]


def test_the_folder_of_a_space_name_can_be_replaced():
    assert SpaceName("clap:local:old").with_folder("/new").text == "clap:local:/new"


def test_suggestions_are_the_most_similar_names():
    known = ["alpha", "alphas", "beta", "gamma"]
    assert closest("alpa", known, n=2) == ["alpha", "alphas"]
    assert did_you_mean("alpa", known) == " (did you mean alpha?)"
    assert did_you_mean("alpa", known, prefix="tag:", n=2) == " (did you mean tag:alpha or tag:alphas?)"


def test_nothing_is_suggested_where_no_name_is_similar():
    assert closest("zzz", ["alpha"]) == []
    assert did_you_mean("zzz", ["alpha"]) == ""
