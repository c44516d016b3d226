"""Tasks of the `mteb` package: its own, and tasks made from folders in the layout of BEIR.

corpus.jsonl     {"_id": "d1", "text": "...", "title": "..."} or with the path of an "image", "audio" or "video"
queries.jsonl    the same, without titles
qrels.tsv        columns query-id, corpus-id and score, with a header; also as qrels/test.tsv
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bindsearch.errors import BadQuery, MissingExtra
from bindsearch.types import Modality

MEDIA = (Modality.IMAGE, Modality.AUDIO, Modality.VIDEO)
LETTERS = {"text": "t", "image": "i", "audio": "a", "video": "v"}


def task_of(name: str) -> Any:
    """Return a task of the package by its name, or one made from a folder. Raises `BadQuery`, `MissingExtra`."""
    mteb = package()
    folder = Path(name).expanduser()
    if folder.is_dir():
        return local_task(folder)
    try:
        return mteb.get_task(name)
    except KeyError as error:
        hint = str(error.args[0] if error.args else error).splitlines()[0]
        raise BadQuery(f"{hint}; nor is it a folder with corpus.jsonl") from error


def package() -> Any:
    """Import `mteb`. Raises `MissingExtra`."""
    try:
        import mteb
    except ModuleNotFoundError as error:
        raise MissingExtra(f"this needs the package {error.name!r}: pip install 'bindsearch[mteb]'") from error
    return mteb


def local_task(folder: Path) -> Any:
    """Make a retrieval task from a folder. Raises `BadQuery`."""
    from mteb.abstasks.retrieval import AbsTaskRetrieval
    from mteb.abstasks.task_metadata import TaskMetadata

    queries, corpus = _table(folder, "queries"), _table(folder, "corpus")
    query_kinds, corpus_kinds = _kinds(queries, "queries"), _kinds(corpus, "corpus")
    modalities = [kind for kind in LETTERS if kind in (*query_kinds, *corpus_kinds)]
    task_metadata = TaskMetadata(
        name=_name(folder),
        description=f"The folder {folder.name}.",
        type="Retrieval" if modalities == ["text"] else "Any2AnyRetrieval",
        category=f"{_letters(query_kinds)}2{_letters(corpus_kinds)}",
        modalities=modalities,
        dataset={"path": str(folder), "revision": "local"},
        eval_splits=["test"],
        eval_langs=["eng-Latn"],
        main_score="ndcg_at_10",
    )
    relevant = _relevant(folder)

    class Local(AbsTaskRetrieval):  # type: ignore[misc]
        metadata = task_metadata

        def load_data(self, **kwargs: Any) -> None:
            split = {
                "queries": _dataset(queries, query_kinds, folder),
                "corpus": _dataset(corpus, corpus_kinds, folder),
                "relevant_docs": {query: dict(documents) for query, documents in relevant.items()},
                "top_ranked": None,
            }
            self.dataset = {"default": {"test": split}}
            self.data_loaded = True

    return Local()


def _name(folder: Path) -> str:
    return "".join(letter if letter.isalnum() or letter in "_-" else "_" for letter in folder.resolve().name) or "local"


def _letters(kinds: tuple[str, ...]) -> str:
    return "".join(sorted(LETTERS[kind] for kind in kinds))


def _table(folder: Path, name: str) -> list[dict[str, Any]]:
    path = folder / f"{name}.jsonl"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines if line.strip()]
        return [{**row, "_id": str(row["_id"])} for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadQuery(f"{path}: cannot be read as JSON lines with an _id each ({error})") from error


def _kinds(rows: list[dict[str, Any]], name: str) -> tuple[str, ...]:
    """Return the modalities that every row of a table has. Raises `BadQuery` if they differ."""
    kinds = {tuple(kind for kind in LETTERS if row.get(kind) is not None) for row in rows}
    if len(kinds) != 1 or kinds == {()}:
        raise BadQuery(f"all rows of {name}.jsonl need the same modalities, of {', '.join(LETTERS)}")
    return kinds.pop()


def _relevant(folder: Path) -> Mapping[str, Mapping[str, int]]:
    path = next((path for path in (folder / "qrels.tsv", folder / "qrels" / "test.tsv") if path.exists()), None)
    if path is None:
        raise BadQuery(f"{folder} has no qrels.tsv with the columns query-id, corpus-id, score")
    found: dict[str, dict[str, int]] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                found.setdefault(row["query-id"], {})[row["corpus-id"]] = int(row["score"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadQuery(f"{path}: cannot be read as columns query-id, corpus-id, score ({error})") from error
    return found


def _dataset(rows: list[dict[str, Any]], kinds: tuple[str, ...], folder: Path) -> Any:
    """Return a table in the form of the package; media stay files until they are embedded."""
    from datasets import Dataset, Features, Image, Value

    media_file = {"path": Value("string")}  # the package's own types for sound and video need extra decoders
    types = {"image": Image(), "audio": media_file, "video": media_file}
    titled = "text" in kinds and any(row.get("title") for row in rows)
    columns = {"id": Value("string")} | {kind: types.get(kind, Value("string")) for kind in kinds}
    return Dataset.from_list(
        [dict(_cells(row, kinds, folder, titled=titled)) for row in rows],
        features=Features(columns | ({"title": Value("string")} if titled else {})),
    )


def _cells(row: dict[str, Any], kinds: tuple[str, ...], folder: Path, *, titled: bool) -> Iterator[tuple[str, Any]]:
    yield "id", row["_id"]
    for kind in kinds:
        path = str(folder / row[kind]) if kind in MEDIA else ""
        yield kind, row[kind] if kind == "text" else path if kind == "image" else {"path": path}
    if titled:
        yield "title", row.get("title") or ""
