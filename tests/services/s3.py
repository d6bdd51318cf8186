"""A real S3 server on loopback, which checks signatures: S3Proxy over a folder, on Java 17.

`python -m tests.services.s3 --fetch` only fetches what it needs.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import fsspec

from tests.services.maven import fetch
from tests.services.process import Process, Server, ServiceError, accepts, free_port

POM = Path(__file__).with_name("s3.pom.xml")
START_SECONDS = 60.0
_SETTINGS = """
s3proxy.endpoint={url}
s3proxy.authorization=aws-v2-or-v4
s3proxy.identity={key}
s3proxy.credential={secret}
s3proxy.ignore-unknown-headers=true
jclouds.provider=filesystem-nio2
jclouds.filesystem.basedir={data}
jclouds.identity=unused
jclouds.credential=unused
"""


class S3(Server):
    """Buckets under `url`, for whoever has `key` and `secret`."""

    key = "tests-of-observer"
    secret = "c2VjcmV0LW9mLXRlc3Rz"  # noqa: S105 - of a server that lives as long as a test

    def __init__(self) -> None:
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._process: Process | None = None

    @property
    def options(self) -> dict[str, str]:
        """Keywords of fsspec's file system."""
        return {"key": self.key, "secret": self.secret, "endpoint_url": self.url}

    def start(self) -> None:
        """Start, and return once it answers."""
        java = shutil.which("java")
        if java is None:
            raise ServiceError("S3Proxy needs Java 17 or later (Debian: default-jre-headless)")
        self._folder = tempfile.TemporaryDirectory(prefix="observer-s3-")
        folder = Path(self._folder.name)
        (folder / "data").mkdir()
        settings = folder / "s3.conf"
        settings.write_text(
            _SETTINGS.format(url=self.url, key=self.key, secret=self.secret, data=folder / "data")
        )
        jar = next(fetch(POM, "s3").glob("*.jar"))
        # It lives shortly: the first compiler will do.
        flags = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        command = [java, *flags, "-jar", str(jar), "--properties", str(settings)]
        self._process = Process(command, folder / "server.log")
        self._process.wait_until(lambda: accepts(self._port), START_SECONDS)

    def stop(self) -> None:
        """End it and remove its data."""
        # Systems without keywords, whose server the environment named, would be the next server's.
        fsspec.get_filesystem_class("s3").clear_instance_cache()
        if self._process is not None:
            self._process.kill()
            self._process = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def create_bucket(self, name: str) -> None:
        self._system().call_s3("create_bucket", Bucket=name)

    def put(self, place: str, content: bytes) -> None:
        """Write an object, as `bucket/key`."""
        self._system().pipe_file(place, content, chunksize=1 << 30)  # in one piece

    def _system(self) -> fsspec.AbstractFileSystem:
        """Not the one that is tested: fsspec shares those made with the same keywords."""
        return fsspec.filesystem("s3", **self.options, skip_instance_cache=True)


if __name__ == "__main__" and "--fetch" in sys.argv:
    print(fetch(POM, "s3"))
