"""The image catalogue: what the simulated instances of an image do.

A YAML file maps image patterns to entries::

    images:
      "web:*":     {entrypoint: ["{python}", "-m", "http.server"], cmd: ["8080"]}
      "db":        {root: /srv/images/db, entrypoint: [/bin/db], user: "70:70", working_dir: /data}
      "job":       {run_seconds: 3, exit_code: 1}
      "flaky":     {exits: [1, 1, 0], log: ["trying"]}
      "missing":   {pull: fail}
      "slow":      {ports: {8080: http, 9000: grpc}, listens_after_seconds: 20}
      "private":   {credentials: "robot:secret"}
      "*":         {}

A pattern is a shell pattern, with or without a tag, of a repository in full or of the last part
of its path. Exact patterns go before those with wildcards, else the first one counts.
"""

from __future__ import annotations

import base64
import hashlib
import sys
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from importlib.resources import files
from typing import Literal

import attrs
import yaml
from cattrs import Converter, transform_error
from cattrs.errors import BaseValidationError

PortProtocol = Literal["tcp", "http", "grpc"]


class CatalogueError(Exception):
    """A catalogue file does not say what it should. The text is one sentence."""


@attrs.frozen(kw_only=True)
class ImageEntry:
    """What instances of an image do. Scripted members move virtual guests, commands real ones."""

    pull: Literal["ok", "fail"] = "ok"
    """``ok``, or ``fail``: then instances stop at once, with the platform to blame."""
    credentials: str = attrs.field(default="", repr=False)
    """``user:password`` that the registry demands; empty: it shows the image to anybody."""
    pull_seconds: float | None = None
    boot_seconds: float | None = None
    run_seconds: float | None = None
    """A scripted guest exits after this; without it, it runs until it is stopped."""
    exit_code: int = 0
    exits: tuple[int, ...] = ()
    """Exit codes of the first, second … start; starts beyond the last one run like any other."""
    crash_code: int | None = None
    """Instead of an exit code, the guest's kernel ends with this stop code."""
    ignores_stop: bool = False
    """A scripted guest that has to be killed."""
    ports: Mapping[int, PortProtocol] = attrs.field(factory=dict)
    """Where a scripted guest listens, and what for."""
    listens_after_seconds: float = 0.0
    """How long a scripted guest's application takes before it does."""
    stop_exit_code: int = 0
    """Of a scripted guest that does as it is told."""
    busy_cpus: float = 0.0
    """How many CPUs a scripted guest keeps busy."""
    log: tuple[str, ...] = ()
    """Lines a scripted guest writes as it begins."""

    root: str = "/"
    """Directory with the image's files, which guests do not change. The machine's own if not set;
    others need isolation."""
    entrypoint: tuple[str, ...] | None = None
    """Run by the process runtime, before the arguments. None: it has no such image. ``{python}``
    is this interpreter, ``{guests}`` the directory of the programs that come with the simulator."""
    cmd: tuple[str, ...] = ()
    """Arguments, unless the instance has some of its own."""
    env: Mapping[str, str] = attrs.field(factory=dict)
    user: str = ""
    """A name or number, perhaps a colon and a group. The platform runs all as root: this is for
    programs that refuse to."""
    working_dir: str = ""

    def is_pulled_with(self, credentials: str) -> bool:
        """Whether a pull that shows *credentials* (in base64) gets the image."""
        demanded = base64.b64encode(self.credentials.encode()).decode()
        return self.pull == "ok" and (not self.credentials or credentials == demanded)

    def command_line(self, args: Sequence[str] | None) -> list[str]:
        """The command with *args*, or with the image's own if None."""
        return [
            *(_filled_in(word) for word in self.entrypoint or ()),
            *(self.cmd if args is None else args),
        ]


def _filled_in(word: str) -> str:
    word = word.replace("{python}", sys.executable)
    return word.replace("{guests}", str(files(__package__) / "guests"))


@attrs.frozen
class ImageName:
    """An image reference in its parts."""

    repository: str
    tag: str
    digest: str
    credentials: str = attrs.field(default="", eq=False, repr=False)
    """What is shown to its registry."""

    @classmethod
    def parse(cls, url: str, credentials: str = "") -> ImageName:
        rest = url.partition("://")[2] or url
        rest, _, digest = rest.partition("@")
        head, slash, last = rest.rpartition("/")
        base, _, tag = last.partition(":")
        return cls(head + slash + base, tag or "latest", digest, credentials)

    @property
    def resolved(self) -> str:
        """The reference as the platform stores it: with a digest, made up if none was given."""
        digest = self.digest or (
            "sha256:" + hashlib.sha256(f"{self.repository}:{self.tag}".encode()).hexdigest()
        )
        return f"{self.repository}@{digest}"

    def spellings(self) -> tuple[str, ...]:
        """What patterns are held against, from the most to the least particular."""
        base = self.repository.rpartition("/")[2]
        return (
            f"{self.repository}:{self.tag}",
            self.repository,
            f"{base}:{self.tag}",
            base,
        )


class ImageCatalogue:
    """Entries by pattern."""

    def __init__(self, entries: Mapping[str, ImageEntry]) -> None:
        self._entries = dict(entries)

    def find(self, image: ImageName) -> ImageEntry | None:
        """The entry for *image*, or None if the catalogue does not know it."""
        for spelling in image.spellings():
            if spelling in self._entries:
                return self._entries[spelling]
        for pattern, entry in self._entries.items():
            if any(fnmatchcase(spelling, pattern) for spelling in image.spellings()):
                return entry
        return None

    @classmethod
    def parse(cls, text: str) -> ImageCatalogue:
        """Read a catalogue file. Raises :class:`CatalogueError`."""
        try:
            document = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise CatalogueError(f"The image catalogue is not YAML: {error}") from error
        try:
            return cls(_CONVERTER.structure(document, _Document).images)
        except BaseValidationError as error:
            faults = "; ".join(transform_error(error, path="catalogue"))
            raise CatalogueError(f"The image catalogue is wrong: {faults}") from error

    @classmethod
    def default(cls) -> ImageCatalogue:
        """The one this package ships."""
        return cls.parse(files(__package__).joinpath("images.yaml").read_text())


@attrs.frozen(kw_only=True)
class _Document:
    images: dict[str, ImageEntry]


def _structure_words(value: object, _kind: object) -> tuple[str, ...]:
    if not isinstance(value, list):  # a string would come apart into its characters
        raise TypeError("a list is expected")
    return tuple(str(word) for word in value)


_CONVERTER = Converter(forbid_extra_keys=True)
_CONVERTER.register_structure_hook_func(lambda kind: kind == tuple[str, ...], _structure_words)
