from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.usefixtures("plugin_space_registered")


def test_there_and_back(run, own):
    there = run("migrate", "--space", "plugin")
    assert (there.status, there.err) == (0, "")
    assert there.lines[0] == "3 embedded"
    assert there.lines[2] == "space plugin answers now; toy is kept (`bindsearch migrate --rollback`)"
    record = json.loads(run("status", "--json").out)
    assert (record["space"], record["previous"]["space"], record["pending"]) == ("plugin", "toy", None)
    assert any(line.startswith("previous    space toy, ") and "--drop-old" in line for line in run("status").lines)
    back = run("migrate", "--rollback")
    assert back.lines == ["back to space toy; `bindsearch index` embeds what came since"]
    freed = json.loads(run("migrate", "--drop-old", "--json").out)["freed"]
    assert freed > 0
    assert json.loads(run("status", "--json").out)["previous"] is None
    assert run("migrate", "--rollback").status == 1


def test_missing_files_are_named_and_hold_the_switch_up(run, own):
    aside = (own / "night" / "campfire.jpg").rename(own / "aside.jpg")
    held = run("migrate", "--space", "plugin")
    assert held.status == 3
    assert held.lines[0] == "2 embedded"
    assert held.lines[2].startswith("space toy still answers")
    assert held.err == "1 file cannot be embedded now:\n  night/campfire.jpg: it is missing now\n"
    assert any(line.startswith("pending     space plugin: 2 of 3 files") for line in run("status").lines)
    record = json.loads(run("migrate", "--json").out)
    assert (record["switched"], record["done_before"], list(record["missing"])) == (
        False,
        2,
        [str(own / "night" / "campfire.jpg")],
    )
    forced = run("migrate", "--allow-missing")
    assert forced.status == 3
    assert forced.lines[2].startswith("space plugin answers now")
    assert any(line.startswith("not seen    1 file ") for line in run("status").lines)
    aside.rename(own / "night" / "campfire.jpg")
    assert run("index").lines[0].startswith("1 added")


def test_a_migration_can_be_given_up(run, own):
    (own / "night" / "campfire.jpg").unlink()
    assert run("migrate", "--space", "plugin", "--quiet").out == ""
    assert run("migrate", "--cancel").out.startswith("freed ")
    assert run("migrate").err.startswith("bindsearch: no migration is under way")
    assert run("migrate").status == 2


def test_one_thing_at_a_time(run, own):
    assert run("migrate", "--space", "plugin", "--rollback").status == 2
    assert run("migrate", "--drop-old", "--cancel").status == 2


def test_both_answers_stand_side_by_side(run, own):
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
    assert shown.lines[-1] == "3 of 3 are in both"
    record = json.loads(run("compare", "fire", "-k", "1", "--json").out)
    assert [(answer["space"], answer["edition"]) for answer in record["results"]] == [
        ("plugin", "current"),
        ("toy", "previous"),
    ]
    assert [[hit["path"] for hit in answer["hits"]] for answer in record["results"]] == [new[:1], old[:1]]
    assert record["shared"] == int(new[0] == old[0])


def test_every_kind_of_query_can_be_compared(run, own):
    run("migrate", "--space", "plugin", "--quiet")
    for words in (["night/campfire.jpg", "-", "snow"], ["2:fire", "+", "text:night"]):
        both = json.loads(run("compare", *words, "--ext", "jpg", "--raw", "--json").out)["results"][0]["hits"]
        one = [json.loads(line) for line in run("search", *words, "--ext", "jpg", "--raw", "--json").lines]
        assert both == one
    assert run("compare", "fire", "--ext", "wav").err == "bindsearch: nothing found in either space\n"


def test_what_is_coming_is_said_not_to_be_complete(run, own):
    (own / "night" / "campfire.jpg").unlink()
    run("migrate", "--space", "plugin", "--quiet")
    shown = run("compare", "fire")
    assert shown.lines[0].split() == ["toy", "(current)", "plugin", "(pending)", "was"]
    assert shown.lines[-1] == "2 of 3 are in both; plugin is not complete yet"


def test_long_paths_are_cut_in_the_middle_and_lines_fit(run, own):
    long = own / "night" / ("a" * 90 + ".jpg")
    (own / "night" / "campfire.jpg").rename(long)
    run("index")
    run("migrate", "--space", "plugin", "--quiet")
    lines = run("compare", "fire").lines
    assert max(map(len, lines)) <= 100
    assert sum("a…a" in line for line in lines) >= 1
