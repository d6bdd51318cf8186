"""Files on disks and in object storage: the only door to fsspec."""

# ruff: noqa: PLC0415 - fsspec and what it imports are there only where URLs are read

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from pydantic import JsonValue, Secret

from observer.errors import ConfigError, Retryable
from observer.sources.files import find

Options = Mapping[str, Secret[dict[str, JsonValue]]]
"""Protocol -> keywords of its fsspec file system, which may be secrets."""

_USER = re.compile(r"(?<=://)[^/@\s]*@")
_QUERY = re.compile(r"(://[^\s?'\"]*)\?[^\s'\"]*")
_NO_GLOB = {"http", "https"}


def is_url(path: str) -> bool:
    """Whether it is a URL, not a path."""
    return "://" in path


def shown(text: str) -> str:
    """The text without what its URLs may hold of secrets: users, passwords, signatures."""
    return _QUERY.sub(r"\1?***", _USER.sub("***@", text))


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file.

    Attributes
    ----------
    place : str
        Where `Storage.open` finds it.
    name : str
        What people may see of that.
    state : str
        Another one says that it was written again.
    """

    place: str
    name: str
    state: str


class Storage:
    """Files by path, or by a URL of any protocol that fsspec knows.

    Credentials come from the environment, as each protocol's package finds them, or from `options`. They
    are in no message: what a failing library says is told without them.
    """

    def __init__(self, options: Options | None = None) -> None:
        self._options = {name: held.get_secret_value() for name, held in (options or {}).items()}
        self._secrets = sorted({*_texts(list(self._options.values()))}, key=len, reverse=True)

    def find(self, pattern: str) -> list[StoredFile]:
        """The files that a path, a URL or a glob names, by name.

        Raises
        ------
        ConfigError
            fsspec, or the package of the protocol, is missing, or the protocol is not known.
        Permanent
            No file of the disk has the name.
        Retryable
            No stored one has, or the store does not answer.
        """
        if not is_url(pattern):
            try:
                return [_on_disk(path) for path in find(pattern)]
            except OSError as error:  # it was there a moment ago
                raise self._explained(pattern, error) from None
        system, place = self._system(pattern)
        protocol = pattern.partition("://")[0]
        try:
            system.invalidate_cache()  # else a listing, once made, is all that is ever seen
            if protocol not in _NO_GLOB and any(sign in place for sign in "*[?"):
                found = {
                    str(path): info
                    for path, info in system.glob(place, detail=True).items()
                    if info.get("type") == "file"
                }
            else:
                found = {place: system.info(place)}
        except Exception as error:
            raise self._explained(pattern, error) from None
        if not found:
            raise Retryable(f"no file matches {shown(pattern)}")
        return [
            StoredFile(
                f"{protocol}://{path}" if "://" not in path else path,
                self._named(protocol, path),
                _state(info),
            )
            for path, info in sorted(found.items())
        ]

    def open(self, file: StoredFile) -> IO[bytes]:
        """Open it for reading; raises `Retryable` when it cannot be."""
        try:
            if not is_url(file.place):
                return Path(file.place).open("rb")
            system, place = self._system(file.place)
            opened: IO[bytes] = system.open(place, "rb")
        except ConfigError:
            raise
        except Exception as error:
            raise self._explained(file.place, error) from None
        return opened

    def fetch(self, pattern: str, folder: Path) -> str:
        """Copy stored files into a folder; the path, or glob, of the copies. Errors are those of `find`."""
        for number, file in enumerate(self.find(pattern)):
            last = file.name.partition("?")[0].rpartition("/")[2]
            copy = str(folder / f"{number:06d}-{last}")
            if not is_url(file.place):
                shutil.copyfile(file.place, copy)
                continue
            system, place = self._system(file.place)
            try:
                system.get_file(place, copy)
            except Exception as error:
                raise self._explained(file.place, error) from None
        copies = list(folder.iterdir())
        return str(copies[0] if len(copies) == 1 else folder / "*")

    def hidden(self, text: str) -> str:
        """The text without secrets."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return shown(text)

    def _named(self, protocol: str, path: str) -> str:
        return self.hidden(path if "://" in path else f"{protocol}://{path}")

    def _system(self, url: str) -> tuple[Any, str]:
        protocol = url.partition("://")[0]
        try:
            from fsspec.core import url_to_fs
        except ImportError:
            told = "reading URLs takes fsspec: pip install 'ml-observer[storage]'"
            raise ConfigError([f"{shown(url)}: {told}"]) from None
        try:
            system, place = url_to_fs(url, **self._options.get(protocol, {}))
        except Exception as error:
            raise ConfigError([f"{shown(url)}: {self._said(error)}"]) from None
        return system, str(place)

    def _explained(self, url: str, error: Exception) -> Retryable:
        said = self._said(error)
        for secret in _of_url(url):
            said = said.replace(secret, "***")
        return Retryable(f"{self.hidden(url)}: cannot be read: {said}")

    def _said(self, error: Exception) -> str:
        said = " ".join(str(error).split())[:500]
        if isinstance(error, FileNotFoundError):
            return "there is no such file"
        if isinstance(error, PermissionError):
            refused = f"access is refused ({self.hidden(said)})"
            return f"{refused}; credentials are looked for in the environment and under `storage`"
        return self.hidden(said) or type(error).__name__


def _on_disk(path: Path) -> StoredFile:
    status = path.stat()
    return StoredFile(str(path), str(path), f"{status.st_size} {status.st_mtime_ns}")


def _state(info: Mapping[str, Any]) -> str:
    """What changes when a stored file does, whatever its protocol calls it."""
    told = (info.get(key) for key in ("size", "ETag", "etag", "mtime", "LastModified", "updated", "created"))
    return " ".join(map(str, told))


def _of_url(url: str) -> list[str]:
    """User, password and query of a URL, as libraries repeat them."""
    parts = urlsplit(url)
    user = parts.netloc.rpartition("@")[0]
    return [text for text in (user, parts.password, parts.query) if text]


def _texts(value: Any) -> Iterator[str]:
    """Texts among nested values long enough to be secrets."""
    if isinstance(value, str):
        if len(value) >= 4:
            yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)
