from __future__ import annotations

import json
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import plugin_space
import pytest
from media_files import passage, picture, sound, tone
from stress_migrate import kill_migrations

import bindsearch
from bindsearch.core import files
from bindsearch.errors import BadQuery, LibraryError, LicenceRefused, SpaceError, SpaceMismatch
from bindsearch.indexing import generations
from bindsearch.ingest import pipeline
from bindsearch.library import migration
from bindsearch.library.library import Library
from bindsearch.registry import SPACES
from bindsearch.spaces.space import Space
from bindsearch.storage import manifest
from bindsearch.storage.lmdb_env import LmdbEnvironment
from bindsearch.storage.manifest import read_manifest
from bindsearch.types import Modality

pytestmark = pytest.mark.usefixtures("plugin_space_registered")


@pytest.fixture
def fresh(tmp_path, media):
    """A library of the same files that was created in the plugin space."""
    with bindsearch.open(tmp_path / "fresh.library", space="plugin") as opened:
        opened.index(media)
        yield opened


QUERIES = ["About the sea.", "forest", "red"]


def contents(library: Library) -> list[object]:
    """Return all items of a library with their numbers, paths, segments and vectors."""
    return [(item, rows.tobytes()) for item, rows in library.items_with_vectors()]


def results_of(library: Library) -> list[object]:
    """Return the results of all queries, with item numbers, scores and E-values."""
    return [list(library.search(query, k=20)) for query in QUERIES]


def in_space(space: str, **changes: object) -> Space:
    """Return the plugin space with a changed specification."""
    encoder = plugin_space.PluginEncoder()
    encoder.spec = replace(encoder.spec, name=space, **changes)
    return Space(encoder)


# migrate ----------------------------------------------------------------------------------------------------------


def test_opening_in_another_space_names_both_spaces(library):
    known = bindsearch.space("toy").spec.fingerprint[:12]
    with pytest.raises(SpaceMismatch) as caught:
        bindsearch.open(library.path, space="plugin")
    for word in ("space toy", known, "not with plugin", "777777777777", "migrate --space plugin"):
        assert word in str(caught.value)


def test_migrated_library_equals_a_new_one(library, fresh):
    report = library.migrate("plugin")
    assert (report.switched, report.embedded, report.done_before, report.missing) == (True, 9, 0, {})
    assert (report.before, report.space) == ("toy", "plugin")
    assert contents(library) == contents(fresh)
    assert results_of(library) == results_of(fresh)
    assert library.status().space == "plugin"
    assert library.doctor() == []
    assert library.index().unchanged == 9


def test_migration_keeps_the_order_of_folders_and_names(tmp_path):
    folders = [tmp_path / "z", tmp_path / "a"]
    for number, name in enumerate(["a/b.png", "a-b/c.png", "a.png", "b c/d.png", "é/x.png"]):
        for place, folder in enumerate(folders):
            picture(folder / name, (20 * number, 40, 90 * place))
    with bindsearch.open(tmp_path / "1.library") as old, bindsearch.open(tmp_path / "2.library", space="plugin") as new:
        old.index(folders)
        new.index(folders)
        old.migrate("plugin")
        assert contents(old) == contents(new)


def test_migration_keeps_metadata_and_indexed_folders(library, media):
    library.index(media / "pictures", metadata={"trip": "coast"})
    gone = media / "pictures" / "red.png"
    moved = gone.rename(media.parent / "moved.png")
    library.index()
    library.migrate("plugin")
    assert {hit.path.name for hit in library.search("red", where={"trip": "coast"})} == {"green.png", "blue.png"}
    assert library.status().indexed_folders == [media]
    moved.rename(gone)
    assert library.index().added == 1
    assert {hit.path.name for hit in library.search("red", where={"trip": "coast"}, k=9)} >= {"red.png"}


def test_files_changed_since_are_embedded_as_they_are(library, fresh, media):
    picture(media / "pictures" / "red.png", "yellow", size=60)
    library.migrate("plugin")
    fresh.index()
    picture(media / "pictures" / "new.png", "white")
    assert library.index().added == 1
    fresh.index()
    assert [hit.score for hit in library.search("red", k=20)] == [hit.score for hit in fresh.search("red", k=20)]


def test_files_of_unsupported_modalities_are_counted(library):
    report = library.migrate(in_space("no-images", modalities=frozenset({Modality.AUDIO, Modality.TEXT})))
    assert report.switched
    assert report.unsupported == {"image": 3}
    assert library.status().items == 6
    library.rollback()
    assert library.status().items == 9
    assert library.index().unchanged == 9


class EncoderWithoutAudio(plugin_space.PluginEncoder):
    """Fails to encode sounds."""

    def encode(self, modality, batch):
        if modality == Modality.AUDIO:
            raise SpaceError("audio failed")
        return super().encode(modality, batch)


def test_failed_files_prevent_the_switch(library, fresh):
    report = library.migrate(Space(EncoderWithoutAudio()))
    assert not report.switched
    assert {path.name: why for path, why in report.missing.items()} == dict.fromkeys(
        ["low.wav", "middle.wav", "high.wav"], "audio failed"
    )
    assert library.status().space == "toy"
    again = library.migrate("plugin")
    assert (again.embedded, again.done_before, again.switched) == (3, 6, True)
    assert len(contents(library)) == len(contents(fresh))


# missing files ----------------------------------------------------------------------------------------------------


def test_missing_files_prevent_the_switch(library, media):
    moved = (media / "sounds").rename(media.parent / "moved")
    before = results_of(library)
    report = library.migrate("plugin")
    assert not report.switched
    assert sorted(report.missing) == sorted(media / "sounds" / path.name for path in moved.iterdir())
    assert set(report.missing.values()) == {"file not found"}
    assert results_of(library) == before
    moved.rename(media / "sounds")
    again = library.migrate()
    assert (again.switched, again.embedded, again.done_before) == (True, 6, 3)


def test_allow_missing_leaves_files_to_a_later_index(library, media):
    library.index(media, metadata={"trip": "coast"})
    moved = (media / "sounds").rename(media.parent / "moved")
    report = library.migrate("plugin", allow_missing=True)
    assert report.switched
    assert len(report.missing) == 6
    status = library.status()
    assert (status.items, status.unseen, status.files) == (3, 6, 9)
    assert library.doctor() == []
    moved.rename(media / "sounds")
    assert library.index().added == 6
    assert library.status().unseen == 0
    assert len(library.search("sea", where={"trip": "coast"}, k=20)) == 9


def test_missing_file_with_a_copy_is_not_missing(library, media):
    shutil.copy(media / "pictures" / "red.png", media / "copy.png")
    library.index()
    (media / "pictures" / "red.png").unlink()
    report = library.migrate("plugin")
    assert report.switched
    assert report.missing == {}


# killed and resumed -----------------------------------------------------------------------------------------------


def test_stopped_migration_is_resumed(library, fresh, monkeypatch):
    monkeypatch.setattr(pipeline, "MAX_COMMIT_FILES", 1)
    stops = iter([False] * 3 + [True] * 99)
    before = results_of(library)
    report = library.migrate("plugin", stop=lambda: next(stops))
    assert report.stopped
    assert not report.switched
    assert results_of(library) == before
    pending = library.status().pending
    assert pending is not None
    assert (pending.space, pending.files) == ("plugin", report.embedded)
    assert pending.bytes > 0
    assert 0 < report.embedded < 9
    again = library.migrate()
    assert (again.done_before, again.embedded) == (report.embedded, 9 - report.embedded)
    assert contents(library) == contents(fresh)


class PlantedCrash(Exception):
    """Simulates a crash at a write."""


class CrashAtWrite:
    """Raises `PlantedCrash` before or after the nth write."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._left = -1
        for owner, name in (
            (LmdbEnvironment, "write"),
            (manifest, "write_text_atomically"),
            (generations, "write_text_atomically"),
            (generations, "sync_folder"),
            (files, "sync_folder"),
            (migration, "remove_folder"),
        ):
            monkeypatch.setattr(owner, name, self._crashing(getattr(owner, name)))

    def arm(self, step: int) -> None:
        """Crash at this step."""
        self._left = step

    def disarm(self) -> bool:
        """Stop crashing; return whether the step was reached."""
        reached, self._left = self._left <= 0, -1
        return reached

    def _crashing(self, write):
        def crashing(*arguments):
            self._count()
            result = write(*arguments)
            self._count()
            return result

        return crashing

    def _count(self) -> None:
        self._left -= 1
        if self._left == 0:
            raise PlantedCrash


def three_files(folder: Path) -> Path:
    picture(folder / "red.png", "red")
    sound(folder / "low.wav", tone(80.0, 3.0))
    passage(folder / "sea.txt", "About the sea.")
    return folder


def libraries_of_both_spaces(folder: Path) -> dict[str, tuple[object, object]]:
    """Create `toy.library` and `plugin.library`; return the contents and the results of each by its space."""
    media = three_files(folder / "media")
    expected = {}
    for space in ("toy", "plugin"):
        with bindsearch.open(folder / f"{space}.library", space=space) as opened:
            opened.index(media)
            expected[space] = (contents(opened), results_of(opened))
    return expected


def library_ready_for(operation: str, folder: Path) -> Path:
    """Return a library that the operation can run on: migrated, unless it is `migrate`."""
    start = folder / "start.library"
    shutil.copytree(folder / "toy.library", start)
    if operation != "migrate":
        with bindsearch.open(start) as opened:
            opened.migrate("plugin")
    return start


def run_until_crash(library: Path, operation: str, crash: CrashAtWrite, step: int) -> tuple[bool, bool]:
    """Run an operation with a crash at a step; return whether it crashed, and whether the step was reached."""
    crashed = False
    with bindsearch.open(library) as opened:
        crash.arm(step)
        try:
            getattr(opened, operation)(*(["plugin"] if operation == "migrate" else []))
        except PlantedCrash:
            crashed = True
        return crashed, crash.disarm()


def check_after_crash(library: Path, operation: str, expected: dict[str, tuple[object, object]], step: int) -> None:
    """Check that the library is intact in one space, can complete the operation, and leaves nothing over."""
    final_space = "toy" if operation == "rollback" else "plugin"
    with bindsearch.open(library) as opened:
        space = opened.status().space
        assert (contents(opened), results_of(opened)) == expected[space], f"{operation}, step {step}"
        if space != final_space:
            done = opened.migrate("plugin").done_before if operation == "migrate" else opened.rollback()
            assert done in ("toy", *range(4))
        assert (contents(opened), results_of(opened)) == expected[final_space], f"{operation}, step {step}, completed"
        opened.doctor(repair=True)
        assert opened.doctor() == []
        assert sorted(manifest.strays(library, read_manifest(library))) == []


@pytest.mark.parametrize("operation", ["migrate", "rollback", "drop_old"])
def test_crash_at_any_write_loses_nothing(tmp_path, monkeypatch, operation):
    monkeypatch.setattr(pipeline, "MAX_COMMIT_FILES", 1)
    expected = libraries_of_both_spaces(tmp_path)
    start = library_ready_for(operation, tmp_path)
    crash, crashes, step, reached = CrashAtWrite(monkeypatch), 0, 0, True
    while reached:
        step += 1
        library = tmp_path / f"{step}.library"
        shutil.copytree(start, library)
        crashed, reached = run_until_crash(library, operation, crash, step)
        crashes += crashed
        check_after_crash(library, operation, expected, step)
        shutil.rmtree(library)
    assert crashes == step - 1
    assert crashes >= 4


@pytest.mark.skipif("sys.platform == 'win32'", reason="no kill -9")
def test_killed_migrations_end_in_the_same_library(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.syspath_prepend(str(tmp_path))
    report = kill_migrations(tmp_path, times=2, files=60, seed=1, readers=1)
    assert report.kills == 2
    assert report.problems == []
    assert report.old_hits > 0
    assert report.new_hits > 0
    assert report.other_hits == 0


# rollback ---------------------------------------------------------------------------------------------------------


def test_rollback_twice_restores_both_spaces(library, fresh):
    old = contents(library), results_of(library)
    library.migrate("plugin")
    new = contents(library), results_of(library)
    assert library.rollback() == "toy"
    assert (contents(library), results_of(library)) == old
    assert library.rollback() == "plugin"
    assert (contents(library), results_of(library)) == new
    assert library.doctor() == []


def test_rollback_after_changes_of_files(library, media):
    library.migrate("plugin")
    picture(media / "new.png", "white")
    picture(media / "pictures" / "red.png", "yellow")
    (media / "pictures" / "blue.png").rename(media / "moved.png")
    (media / "sounds" / "sea.txt").unlink()
    library.index(metadata={"trip": "coast"})
    library.rollback()
    assert "moved.png" in {hit.path.name for hit in library.search("blue", k=20)}
    assert "sea.txt" not in {hit.path.name for hit in library.search("sea", k=20)}
    report = library.index()
    assert (report.decoded, report.removed) == (2, 0)
    assert len(library.search("white", where={"trip": "coast"}, k=20)) == 9
    assert library.doctor() == []


def test_forget_applies_to_every_space(library, media):
    library.migrate("plugin")
    library.forget(media / "pictures")
    library.rollback()
    assert library.status().items == 6
    assert library.status().dormant == 0
    assert library.search("red", modality="image", k=9).searched == 0


def test_previous_space_is_kept_until_it_is_dropped(library):
    library.migrate("plugin")
    previous = library.status().previous
    assert previous is not None
    assert (previous.space, previous.files) == ("toy", 9)
    assert library.drop_old() == previous.bytes
    assert library.status().previous is None
    assert not (library.path / "ledger").exists()
    assert sorted(path.name for path in (library.path / "index").iterdir()) == ["2-plugin"]
    with pytest.raises(LibraryError, match="no previous space to return to"):
        library.rollback()
    with pytest.raises(LibraryError, match="there is no previous space"):
        library.drop_old()
    assert library.index().unchanged == 9


def test_next_migration_drops_the_previous_space(library):
    library.migrate("plugin")
    library.migrate(in_space("third"))
    status = library.status()
    assert status.previous is not None
    assert (status.space, status.previous.space) == ("third", "plugin")
    assert manifest.strays(library.path, read_manifest(library.path)) == []
    assert sorted(path.name for path in library.path.glob("ledger*")) == ["ledger-2", "ledger-3"]


def test_migrated_library_among_media_is_not_indexed(library, media):
    library.migrate("plugin")
    library.drop_old()
    shutil.copytree(library.path, media / "inside.library")
    assert library.index().unchanged == 9


# refused ----------------------------------------------------------------------------------------------------------


def test_impossible_migrations_are_refused(library):
    with pytest.raises(LibraryError, match="is already in space toy"):
        library.migrate("toy")
    with pytest.raises(BadQuery, match="no migration is under way"):
        library.migrate()
    with pytest.raises(LibraryError, match="no migration is under way"):
        library.cancel_migration()
    library.migrate("plugin", stop=lambda: True)
    with pytest.raises(LibraryError, match=r"is being migrated to space plugin.*not to third.*--cancel"):
        library.migrate(in_space("third"))
    assert library.cancel_migration() > 0
    assert library.status().pending is None
    library.migrate(in_space("third"))
    with pytest.raises(LibraryError, match="--rollback"):
        library.migrate("toy")


def test_migration_to_a_new_version_of_the_same_space(library):
    library.migrate("plugin")
    newer = in_space("plugin", fingerprint="8" * 32)
    with pytest.raises(SpaceMismatch, match=r"777777777777.*888888888888"):
        bindsearch.open(library.path, space=newer)
    library.migrate(newer)
    assert library.status().fingerprint == "8" * 32


def test_rollback_to_an_unavailable_space_changes_nothing(library, monkeypatch):
    library.migrate("plugin")
    before = read_manifest(library.path)
    monkeypatch.delitem(SPACES, "toy")
    with bindsearch.open(library.path) as other, pytest.raises(SpaceError, match="toy"):
        other.rollback()
    assert read_manifest(library.path) == before


def test_commercial_library_refuses_a_noncommercial_space(library):
    library.migrate(in_space("private", commercial=False))
    library.rollback()
    library.drop_old()
    Library.open(library.path, commercial=True).close()
    with pytest.raises(LicenceRefused, match="private"):
        library.migrate(in_space("private", commercial=False))
    assert library.status().pending is None
    library.migrate("plugin")
    assert read_manifest(library.path).commercial


def test_commercial_library_refuses_a_rollback_to_noncommercial(tmp_path, media):
    with bindsearch.open(tmp_path / "my.library", space=in_space("private", commercial=False)) as library:
        library.index(media)
        library.migrate("plugin")
        Library.open(library.path, commercial=True).close()
        with pytest.raises(LicenceRefused, match="private"):
            library.rollback()
        with pytest.raises(LicenceRefused, match="private"):
            library.compare("red")
        assert library.status().space == "plugin"


# other processes and threads --------------------------------------------------------------------------------------


def test_open_libraries_follow_a_migration(library, fresh, media):
    with bindsearch.open(library.path) as other, bindsearch.open(library.path, space="toy") as strict:
        old = results_of(other)
        library.migrate("plugin")
        assert results_of(other) == results_of(fresh)
        assert other.space.spec.name == "plugin"
        picture(media / "new.png", "white")
        assert other.index().added == 1
        assert library.index().unchanged == 10
        with pytest.raises(SpaceMismatch, match=r"plugin.*toy"):
            strict.search("red")
        library.rollback()
        assert strict.index().added == 1
        assert old != results_of(strict)


def test_concurrent_searches_never_mix_spaces(library, fresh):
    right = [results_of(library), results_of(fresh)]
    end, seen, failed = threading.Event(), [0, 0], []

    def search(opened: Library) -> None:
        while not end.is_set():
            try:
                for query, expected in zip(QUERIES, zip(*right, strict=True), strict=True):
                    seen[expected.index(list(opened.search(query, k=20)))] += 1
            except Exception as error:
                failed.append(error)
                return

    with bindsearch.open(library.path) as other:
        threads = [threading.Thread(target=search, args=(opened,)) for opened in (library, other)]
        for thread in threads:
            thread.start()
        library.migrate("plugin")
        for _ in range(6):
            library.rollback()
            end.wait(0.1)
        end.set()
        for thread in threads:
            thread.join()
    assert failed == []
    assert min(seen) > 0


# compare, doctor, upgrade -----------------------------------------------------------------------------------------


def test_compare_searches_both_spaces(library, fresh, media):
    with pytest.raises(LibraryError, match=r"only the space toy.*migrate --space"):
        library.compare("red")
    old = library.search("About the sea.", k=4)
    library.migrate("plugin", stop=lambda: True)
    incomplete = library.compare(bindsearch.SearchRequest.of("About the sea.", k=4))
    assert (incomplete.current.space, incomplete.current.edition) == ("toy", "current")
    assert (incomplete.other.space, incomplete.other.edition) == ("plugin", "pending")
    assert incomplete.current.hits == old
    library.migrate()
    comparison = library.compare(bindsearch.SearchRequest.of("About the sea.", k=4))
    assert (comparison.current.edition, comparison.other.space, comparison.other.edition) == (
        "current",
        "toy",
        "previous",
    )
    assert comparison.current.hits == fresh.search("About the sea.", k=4)
    assert comparison.other.hits == old
    paths = {hit.path for hit in comparison.current.hits}
    assert comparison.shared == sum(hit.path in paths for hit in old)
    assert comparison.current_rank(comparison.current.hits[2]) == 3
    assert json.loads(json.dumps(comparison.as_json()))["shared"] == comparison.shared


def test_compare_takes_every_kind_of_query(library, media):
    library.migrate("plugin")
    red, low = media / "pictures" / "red.png", media / "sounds" / "low.wav"
    query = bindsearch.file(red) + bindsearch.text("sea") - 0.5 * bindsearch.file(low, end=1.0)
    comparison = library.compare(bindsearch.SearchRequest.of(query, k=3, modality="image"))
    assert comparison.current.hits == library.search(query, k=3, modality="image")
    library.rollback()
    assert comparison.other.hits == library.search(query, k=3, modality="image")
    assert comparison.shared == 3
    assert library.compare(bindsearch.SearchRequest.of(red, k=1)).current.hits[0].path == red


def test_doctor_checks_every_space(library):
    library.migrate("plugin")
    with library._editions.others()["previous"].ledger.read() as snapshot:
        item = next(snapshot.items())[0]
    library._editions.others()["previous"].ledger.write(lambda txn: txn.drop_run(1))
    (library.path / "ledger-9").mkdir()
    found = library.doctor()
    assert found[0].startswith(f"space toy (previous): item {item}")
    assert found[-1].startswith("ledger-9: belongs to no edition")
    library.doctor(repair=True)
    assert library.doctor() == []
    assert not (library.path / "ledger-9").exists()


def test_manifest_of_schema_1_is_upgraded(library):
    fields = json.loads((library.path / "library.json").read_text())
    library.close()
    old = {name: fields[name] for name in ("space", "fingerprint", "dim", "created_by", "created")} | {"schema": 1}
    (library.path / "library.json").write_text(json.dumps(old))
    with bindsearch.open(library.path) as opened:
        assert opened.status().items == 9
        assert opened.migrate("plugin").switched
