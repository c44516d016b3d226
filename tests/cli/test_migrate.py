from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.usefixtures("plugin_space_registered")


def test_migrate_then_roll_back(run, own):
    migrated = run("migrate", "--space", "plugin")
    assert (migrated.status, migrated.err) == (0, "")
    assert migrated.lines[0] == "3 embedded"
    assert migrated.lines[2] == "switched to space plugin; `bindsearch migrate --rollback` returns to toy"
    record = json.loads(run("status", "--json").out)
    assert (record["space"], record["previous"]["space"], record["pending"]) == ("plugin", "toy", None)
    assert any(line.startswith("previous    space toy, ") and "--drop-old" in line for line in run("status").lines)
    returned = run("migrate", "--rollback")
    assert returned.lines == ["returned to space toy; `bindsearch index` embeds files that were added or changed since"]
    freed = json.loads(run("migrate", "--drop-old", "--json").out)["freed"]
    assert freed > 0
    assert json.loads(run("status", "--json").out)["previous"] is None
    assert run("migrate", "--rollback").status == 1


def test_missing_files_are_listed_and_prevent_the_switch(run, own):
    moved = (own / "night" / "campfire.jpg").rename(own / "moved.jpg")
    incomplete = run("migrate", "--space", "plugin")
    assert incomplete.status == 3
    assert incomplete.lines[0] == "2 embedded"
    assert incomplete.lines[2] == "not switched: searches still use space toy, because files are missing"
    assert incomplete.err == "1 file could not be embedded:\n  night/campfire.jpg: file not found\n"
    assert any(line.startswith("pending     space plugin: 2 of 3 files") for line in run("status").lines)
    record = json.loads(run("migrate", "--json").out)
    assert (record["switched"], record["done_before"], list(record["missing"])) == (
        False,
        2,
        [str(own / "night" / "campfire.jpg")],
    )
    forced = run("migrate", "--allow-missing")
    assert forced.status == 3
    assert forced.lines[2].startswith("switched to space plugin")
    assert any(line.startswith("missing     1 file could not be migrated") for line in run("status").lines)
    moved.rename(own / "night" / "campfire.jpg")
    assert run("index").lines[0].startswith("1 added")


def test_migration_can_be_cancelled(run, own):
    (own / "night" / "campfire.jpg").unlink()
    assert run("migrate", "--space", "plugin", "--quiet").out == ""
    assert run("migrate", "--cancel").out.startswith("freed ")
    assert run("migrate").err.startswith("bindsearch: no migration is under way")
    assert run("migrate").status == 2


def test_actions_exclude_each_other(run, own):
    assert run("migrate", "--space", "plugin", "--rollback").status == 2
    assert run("migrate", "--drop-old", "--cancel").status == 2


def test_compare_shows_both_spaces(run, own):
    alone = run("compare", "fire")
    assert alone.status == 1
    assert "has only the space toy" in alone.err
    old = [json.loads(line)["path"] for line in run("search", "fire", "--json").lines]
    run("migrate", "--space", "plugin")
    new = [json.loads(line)["path"] for line in run("search", "fire", "--json").lines]
    shown = run("compare", "fire")
    assert shown.lines[0].split() == ["plugin", "(current)", "toy", "(previous)", "was"]
    rows = [line.split() for line in shown.lines[1:-1]]
    assert [str(own / row[1]) for row in rows] == new
    assert [str(own / row[2]) for row in rows] == old
    assert [int(row[3]) for row in rows] == [new.index(path) + 1 for path in old]
    assert shown.lines[-1] == "3 of 3 results are in both lists"
    record = json.loads(run("compare", "fire", "-k", "1", "--json").out)
    assert [(side["space"], side["edition"]) for side in record["results"]] == [
        ("plugin", "current"),
        ("toy", "previous"),
    ]
    assert [[hit["path"] for hit in side["hits"]] for side in record["results"]] == [new[:1], old[:1]]
    assert record["shared"] == int(new[0] == old[0])


def test_compare_takes_every_kind_of_query(run, own):
    run("migrate", "--space", "plugin", "--quiet")
    for words in (["night/campfire.jpg", "-", "snow"], ["2:fire", "+", "text:night"]):
        both = json.loads(run("compare", *words, "--ext", "jpg", "--raw", "--json").out)["results"][0]["hits"]
        one = [json.loads(line) for line in run("search", *words, "--ext", "jpg", "--raw", "--json").lines]
        assert both == one
    assert run("compare", "fire", "--ext", "wav").err == "bindsearch: nothing found in either space\n"


def test_compare_marks_the_pending_space_as_incomplete(run, own):
    (own / "night" / "campfire.jpg").unlink()
    run("migrate", "--space", "plugin", "--quiet")
    shown = run("compare", "fire")
    assert shown.lines[0].split() == ["toy", "(current)", "plugin", "(pending)", "was"]
    assert shown.lines[-1] == "2 of 3 results are in both lists; plugin is not complete yet"


def test_compare_cuts_long_paths_to_fit_the_line(run, own):
    long = own / "night" / ("a" * 90 + ".jpg")
    (own / "night" / "campfire.jpg").rename(long)
    run("index")
    run("migrate", "--space", "plugin", "--quiet")
    lines = run("compare", "fire").lines
    assert max(map(len, lines)) <= 100
    assert sum("a…a" in line for line in lines) >= 1
