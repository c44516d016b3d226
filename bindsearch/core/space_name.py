"""The grammar of space names."""

from __future__ import annotations

from dataclasses import dataclass

FOLDER_MARKERS = ("local:", "bound:")


@dataclass(frozen=True, slots=True)
class SpaceName:
    """The name of a space, as users type it.

        toy                        a single space
        openclip:ViT-B-32/openai   a member of a family; the family is everything up to the first colon
        local:FOLDER               a model in a folder; also imagebind/local:FOLDER, clap:local:FOLDER, bound:FOLDER

    >>> name = SpaceName("clap:local:~/models/mine")
    >>> name.family, name.member, name.stem, name.folder
    ('clap:', 'local:~/models/mine', 'clap:local:', '~/models/mine')
    """

    text: str

    @property
    def family(self) -> str:
        """The family with its colon; the whole name if it has no colon."""
        name, colon, _ = self.text.partition(":")
        return name + colon

    @property
    def member(self) -> str:
        """What follows the family; empty for a single space and for the bare name of a family."""
        return self.text.partition(":")[2]

    @property
    def is_family(self) -> bool:
        """Whether the name ends with its colon, so that the member is missing."""
        return ":" in self.text and not self.member

    @property
    def stem(self) -> str:
        """The name without the folder; the whole name if it has none."""
        return self.text[: len(self.text) - len(self.folder)]

    @property
    def folder(self) -> str:
        """The path of the folder in the name; empty if there is none."""
        places = [self.text.index(marker) + len(marker) for marker in FOLDER_MARKERS if marker in self.text]
        return self.text[min(places) :] if places else ""

    def with_folder(self, folder: object) -> SpaceName:
        """Return the name with another folder."""
        return SpaceName(f"{self.stem}{folder}")
