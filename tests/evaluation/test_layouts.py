"""Every layout is recognised and read correctly."""

from __future__ import annotations

from pathlib import Path

import pytest
from evaluation import example_sets

from bindsearch.errors import BadQuery
from bindsearch.evaluation.dataset import Dataset
from bindsearch.evaluation.layouts import LAYOUTS, read


def only(path: Path, layout: str | None = None) -> Dataset:
    (dataset,) = read([path], layout=layout)
    return dataset


def words(dataset: Dataset) -> dict[str, tuple[str, ...]]:
    return {example.media.name: example.words for example in dataset.examples}


@pytest.mark.parametrize("short", [False, True])
def test_esc50(tmp_path, short):
    found = only(example_sets.esc50(tmp_path / "ESC-50", short=short))
    assert (found.layout, found.modality, found.truth) == ("esc50", "audio", "classes")
    assert found.labels == ("clock tick", "sea waves")
    assert words(found)[f"1-{example_sets.RECORDINGS[0][0]}-A-0.wav"] == ("clock tick",)
    lines_of_table = [(one, other, other) for one, other in example_sets.RECORDINGS]
    assert [example.recording for example in found.examples] == [each for both in lines_of_table for each in both]
    assert found.examples[0].media.read()[:4] == b"RIFF"


def test_urbansound8k(tmp_path):
    rows = [
        {"slice_file_name": f"{fold}-3-0-0.wav", "fsID": fold, "fold": fold, "class": "dog_bark"} for fold in (9, 10)
    ]
    for row in rows:
        example_sets.tone(tmp_path / "audio" / f"fold{row['fold']}" / row["slice_file_name"], 440)
    example_sets.table(tmp_path / "metadata" / "UrbanSound8K.csv", rows)
    found = only(tmp_path)
    assert found.layout == "urbansound8k"
    assert words(found) == {"9-3-0-0.wav": ("dog bark",), "10-3-0-0.wav": ("dog bark",)}
    assert [example.media.name for example in found.part("dev").examples] == ["10-3-0-0.wav"]


def test_clotho(tmp_path):
    row = {"file_name": "rain, hard.wav"} | {f"caption_{number}": f"rain {number}" for number in range(1, 6)}
    example_sets.tone(tmp_path / "evaluation" / "rain, hard.wav", 440)
    example_sets.table(tmp_path / "clotho_captions_evaluation.csv", [row])
    found = only(tmp_path)
    assert (found.layout, found.truth) == ("clotho", "captions")
    assert words(found) == {"rain, hard.wav": tuple(f"rain {number}" for number in range(1, 6))}


@pytest.mark.parametrize("name", ["{}.wav", "Y{}.wav", "{}_30.wav", "{}_30000_40000.flac"])
def test_audiocaps(tmp_path, name):
    rows = [
        {"audiocap_id": number, "youtube_id": "aB-c_1", "start_time": 30, "caption": f"a dog, {number}"}
        for number in (1, 2)
    ]
    example_sets.tone(tmp_path / "test" / name.format("aB-c_1"), 440)
    example_sets.table(tmp_path / "test.csv", rows)
    found = only(tmp_path)
    assert found.layout == "audiocaps"
    assert words(found) == {name.format("aB-c_1"): ("a dog, 1", "a dog, 2")}


def test_vggsound(tmp_path):
    example_sets.lines(tmp_path / "vggsound.csv", ['abc,12,"dog barking, outside",test', "xyz,1,cat purring,train"])
    example_sets.tone(tmp_path / "audio" / "abc_000012.wav", 440)
    example_sets.tone(tmp_path / "audio" / "xyz_000001.wav", 440)
    found = only(tmp_path)
    assert (found.layout, found.labels) == ("vggsound", ("cat purring", "dog barking, outside"))
    assert words(found) == {"abc_000012.wav": ("dog barking, outside",)}


def test_audioset(tmp_path):
    example_sets.lines(
        tmp_path / "class_labels_indices.csv", ["index,mid,display_name", '0,/m/1,"Speech, male"', "1,/m/2,Dog"]
    )
    example_sets.lines(
        tmp_path / "eval_segments.csv", ["# example_sets", 'abc, 30.000, 40.000, "/m/1,/m/2"', 'xyz, 0, 10, "/m/2"']
    )
    example_sets.tone(tmp_path / "Yabc.wav", 440)
    found = only(tmp_path)
    assert (found.layout, found.labels) == ("audioset", ("Dog", "Speech, male"))
    assert words(found) == {"Yabc.wav": ("Speech, male", "Dog")}
    assert "1 files of the table are missing" in found.notes[0]


SPLIT = ["image,caption,split", "1.jpg,a red thing,train", '1.jpg,"red, as it is",train', "2.jpg,blue,dev"]
BARRED = ["image_name| comment_number| comment", "1.jpg| 0| a red thing", "1.jpg| 1| red, as it is", "2.jpg| 0| blue"]


@pytest.mark.parametrize(
    ("table", "lines_of_table"),
    [
        ("captions.txt", ["image,caption", "1.jpg,a red thing", '1.jpg,"red, as it is"', "2.jpg,blue"]),
        ("captions.csv", SPLIT),
        ("Flickr8k.token.txt", ["1.jpg#0\ta red thing", "1.jpg#1\tred, as it is", "2.jpg#0\tblue"]),
        ("results.csv", BARRED),
    ],
)
def test_flickr(tmp_path, table, lines_of_table):
    example_sets.lines(tmp_path / table, lines_of_table)
    for name, colour in (("1.jpg", "red"), ("2.jpg", "blue")):
        example_sets.picture(tmp_path / "Images" / name, colour)
    found = only(tmp_path)
    assert (found.layout, found.modality, found.truth) == ("flickr", "image", "captions")
    assert words(found) == {"1.jpg": ("a red thing", "red, as it is"), "2.jpg": ("blue",)}
    held = [example.media.name for example in found.part("dev").examples]
    assert held == (["2.jpg"] if "split" in lines_of_table[0] else ["1.jpg", "2.jpg"])


def test_coco(tmp_path):
    root = example_sets.coco(tmp_path)
    assert words(only(root)) == {"000002.jpg": ("blue",), "000001.jpg": ("red",)}
    assert words(only(root / "annotations" / "captions_val2017.json")) == words(only(root))


def test_imagenet(tmp_path):
    for number in ("n00000001", "n00000002"):
        example_sets.picture(tmp_path / "val" / number / f"{number}_3.jpg", "red")
    example_sets.lines(
        tmp_path / "LOC_synset_mapping.txt", ["n00000001 tench, Tinca tinca", "n00000002 hen", "n00000003 ox"]
    )
    found = only(tmp_path / "val")
    assert (found.layout, found.labels) == ("imagenet", ("hen", "ox", "tench"))
    assert words(found) == {"n00000001_3.jpg": ("tench",), "n00000002_3.jpg": ("hen",)}


def test_imagenet_without_names_asks_for_a_list(tmp_path):
    example_sets.picture(tmp_path / "n00000001" / "3.jpg", "red")
    with pytest.raises(BadQuery, match="LOC_synset_mapping"):
        read([tmp_path])


def test_imagenet_samples_by_name(tmp_path):
    example_sets.picture(tmp_path / "n00000001_great_white_shark.jpg", "red")
    assert words(only(tmp_path)) == {"n00000001_great_white_shark.jpg": ("great white shark",)}


@pytest.mark.parametrize("tarred", [False, True])
def test_caltech101(tmp_path, tarred):
    classes = {"BACKGROUND_Google": ["grey"], "Faces_easy": ["pink"], "water_lilly": ["white"], "chair": ["red"]}
    root = example_sets.folders(tmp_path / "101", classes)
    if tarred:
        example_sets.pack(root / "images.tar", {f"{name}/0.png": root / name / "0.png" for name in classes})
    found = only(root)
    assert (found.layout, found.labels) == ("caltech101", ("chair", "face", "water lily"))
    assert len(found.examples) == 3


def test_folders(tmp_path):
    found = only(example_sets.folders(tmp_path / "things", {"red_apple": ["red", "darkred"], "sky": ["blue"]}))
    assert (found.layout, found.name, found.labels) == ("folders", "things", ("red apple", "sky"))
    assert [example.words[0] for example in found.examples] == ["red apple", "red apple", "sky"]


def test_ignored_files_are_noted(tmp_path):
    root = example_sets.folders(tmp_path / "things", {"apple": ["red"], "sky": ["blue"]})
    assert only(root).notes == ()
    example_sets.tone(root / "rain" / "a.wav", 110)
    for name in ("notes.txt", "more.TXT", "README"):
        (root / "sky" / name).write_text("what is this?", encoding="utf-8")
    assert only(root).notes == (
        "4 files are ignored, because only images in folders are measured: 2 .txt, 1 .wav, 1 without extension",
    )


def test_folders_of_sounds(tmp_path):
    for name, hertz in (("hum", 110), ("whistle", 2000)):
        example_sets.tone(tmp_path / name / "a.wav", hertz)
    assert (only(tmp_path).modality, only(tmp_path).labels) == ("audio", ("hum", "whistle"))


def test_named_sounds_by_manifest(tmp_path):
    rows = [
        {"name": "birds (2)", "image": "", "audio": "audio/birds2.wav"},
        {"name": "cow", "image": "images/cow.png", "audio": "audio/cow.wav"},
    ]
    files = {row["audio"]: example_sets.tone(tmp_path / row["audio"], 440) for row in rows}
    files["images/cow.png"] = example_sets.picture(tmp_path / "images" / "cow.png", "brown")
    example_sets.pack(tmp_path / "media.tar", files)
    example_sets.table(tmp_path / "manifest.csv", rows)
    sounds, pictures = read([tmp_path])
    assert words(sounds) == {"birds2.wav": ("birds",), "cow.wav": ("cow",)}
    assert (pictures.modality, words(pictures)) == ("image", {"cow.png": ("cow",)})


def test_named_sounds_by_file_name(tmp_path):
    for name in ("rain_on_roof-2.wav", "wind (1).wav", "808.wav"):
        example_sets.tone(tmp_path / name, 440)
    assert {example.words[0] for example in only(tmp_path).examples} == {"rain on roof", "wind", "808"}
    assert only(tmp_path).notes == ()
    (tmp_path / "notes.txt").write_text("recorded in May", encoding="utf-8")
    assert only(tmp_path).notes == ("1 file is ignored, because only sounds and videos are measured: 1 .txt",)


def test_a_folder_of_data_sets_gives_all_of_them(tmp_path):
    example_sets.esc50(tmp_path / "a" / "ESC-50")
    example_sets.folders(tmp_path / "photos", {"red": ["red"], "blue": ["blue"]})
    assert [dataset.layout for dataset in read([tmp_path])] == ["esc50", "folders"]
    (tmp_path / "again").symlink_to(tmp_path / "photos")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert sorted(dataset.layout for dataset in read([tmp_path])) == ["esc50", "folders"]


def test_an_unknown_layout_lists_the_known_ones(tmp_path):
    (tmp_path / "readme.txt").write_text("nothing here")
    with pytest.raises(BadQuery) as error:
        read([tmp_path])
    assert all(f"  {name} " in str(error.value) for name in LAYOUTS)
    with pytest.raises(BadQuery, match=r"no layout is called 'esc'.*esc50"):
        read([tmp_path], layout="esc")


def test_a_layout_can_be_forced(tmp_path):
    root = example_sets.folders(
        tmp_path / "101", {"BACKGROUND_Google": ["grey"], "Faces_easy": ["pink"], "Leopards": ["tan"]}
    )
    assert only(root).layout == "caltech101"
    assert only(root, "folders").labels == ("BACKGROUND Google", "Faces easy", "Leopards")


@pytest.mark.parametrize("layout", sorted(set(LAYOUTS) - {"names", "imagenet", "caltech101"}))
def test_a_forced_layout_says_what_it_needs(tmp_path, layout):
    with pytest.raises(BadQuery, match="this layout needs"):
        read([tmp_path], layout=layout)


def test_a_table_without_its_media_is_an_error(tmp_path):
    example_sets.lines(tmp_path / "captions.txt", ["image,caption", "1.jpg,a red thing"])
    with pytest.raises(BadQuery, match=r"none of its media: 1\.jpg"):
        read([tmp_path])


def test_a_limit_spreads_over_the_set(tmp_path):
    found = only(example_sets.folders(tmp_path, {"a": ["red"] * 4, "b": ["blue"] * 4})).first(4)
    assert [example.words[0] for example in found.examples] == ["a", "a", "b", "b"]
