"""The image and the compose file, as far as can be seen without Docker.

The steps of the Dockerfile that install are run in a folder; what they make is run by a user who may write
one other folder only, with the compose file's configuration and producer, on a real broker.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
import yaml

from observer.config import load
from tests.services.compose import parsed
from tests.services.helm import ROOT, template
from tests.services.process import Process, ServiceError, free_port

pytestmark = [pytest.mark.services, pytest.mark.timeout(900)]

COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
NOBODY = "10001"
"""The user of the image."""


class Stage(NamedTuple):
    """The instructions from one FROM to the next: name and what follows."""

    instructions: list[tuple[str, str]]

    def every(self, name: str) -> list[str]:
        return [rest for instruction, rest in self.instructions if instruction == name]

    @property
    def environment(self) -> dict[str, str]:
        pairs = [word.partition("=") for rest in self.every("ENV") for word in shlex.split(rest)]
        return {name: value for name, _, value in pairs}


def stages() -> list[Stage]:
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    found: list[Stage] = []
    for line in filter(None, text.splitlines()):
        name, _, rest = line.partition(" ")
        if name == "FROM":
            found.append(Stage([]))
        if found:
            found[-1].instructions.append((name, rest))
    return found


def nobody(*command: str | Path) -> list[str]:
    """The command as the image's user, who may read everything; as ourselves where we are not root."""
    if os.getuid() != 0:
        return [*map(str, command)]
    may_read = ["--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"]
    user = ["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]
    return ["setpriv", *user, *may_read, *map(str, command)]


def files(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


class Image(NamedTuple):
    """What the Dockerfile installs, and the environment of its last stage."""

    folder: Path
    environment: Mapping[str, str]
    data: Path


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    # Not in pytest's own folder, which is closed to others.
    with tempfile.TemporaryDirectory(prefix="observer-image-") as name:
        Path(name).chmod(0o755)
        yield installed_into(Path(name))


def installed_into(root: Path) -> Image:
    build, last = stages()
    source, installed, data = root / "source", root / "observer", root / "data"
    source.mkdir()
    data.mkdir()
    allowed = (ROOT / ".dockerignore").read_text().splitlines()
    uv = shutil.which("uv") or str(ROOT / ".cache/uv/bin/uv")
    # Into another folder, on this machine's Python; copies and bytecode are for images only.
    own = {name: value.replace("/opt/observer", str(installed)) for name, value in build.environment.items()}
    own |= {"UV_PYTHON": sys.executable, "UV_LINK_MODE": "hardlink", "UV_COMPILE_BYTECODE": "0"}
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | own
    ran = 0
    for name, rest in build.instructions:
        if name == "COPY":
            *names, target = rest.split()
            for each in names:
                assert f"!{each}" in allowed, f"{each} does not reach the builder"
                if (ROOT / each).is_dir():
                    ignored = shutil.ignore_patterns("__pycache__")
                    shutil.copytree(ROOT / each, source / target, ignore=ignored)
                else:
                    shutil.copy(ROOT / each, source / target)
        elif name == "RUN" and rest.startswith("uv "):
            done = subprocess.run(
                [uv, *shlex.split(rest)[1:]],
                cwd=source,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            ran += 1
    assert ran == 2
    shutil.rmtree(source)  # the last stage has the folder alone
    for path in files(installed) if os.getuid() != 0 else ():
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & ~0o222)
    if os.getuid() == 0:
        os.chown(data, int(NOBODY), int(NOBODY))
    path = (
        last.environment["PATH"].replace("/opt/observer", str(installed)).replace("$PATH", os.environ["PATH"])
    )
    return Image(installed, {**last.environment, "PATH": path}, data)


def metrics(port: int) -> str:
    return httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=20).text


@contextmanager
def running(image: Image, log: Path, *command: str | Path) -> Iterator[Process]:
    process = Process(nobody(*command), log, image.environment)
    try:
        yield process
    finally:
        process.stop(60)


@pytest.mark.slow
def test_what_the_dockerfile_installs_runs_as_nobody_and_writes_its_own_folder_only(
    image: Image, kafka, topic_name, tmp_path
) -> None:
    config = yaml.safe_load((ROOT / "examples/compose/observer.yaml").read_text())
    topics = {stream: kafka.create_topic(topic_name(stream), 4) for stream in ("predictions", "labels")}
    for stream, topic in topics.items():
        kafka.create_topic(f"{topic}.dead", 1)
        config[stream] |= {"brokers": kafka.bootstrap, "topic": topic}
    port = free_port()
    config |= {"http": {"host": "127.0.0.1", "port": port}, "state": {"path": str(image.data / "state")}}
    config["checkpoint_every"] = "1s"
    path = image.folder.parent / "observer.yaml"
    path.write_text(yaml.safe_dump(config))
    (pod,) = (one for one in template("--set", "image.repository=x") if one["kind"] == "Pod")
    (test,) = pod["spec"]["containers"]
    ask = [image.folder / "bin/python", *test["command"][1:], test["args"][0], f"http://127.0.0.1:{port}"]

    def asked() -> subprocess.CompletedProcess[str]:
        told = nobody(*ask)
        return subprocess.run(told, env=image.environment, capture_output=True, text=True, check=False)

    down = asked()
    assert down.returncode == 1
    assert [line.split()[:2] for line in down.stdout.splitlines()] == [
        ["failed", "/healthz"],
        ["failed", "/readyz"],
        ["failed", "/metrics"],
    ]
    before = files(image.folder)
    observer = image.folder / "bin/observer"
    (entry, default) = (yaml.safe_load(stages()[-1].every(name)[0]) for name in ("ENTRYPOINT", "CMD"))
    assert entry == ["observer"]
    arguments = [str(path) if one.endswith(".yaml") else one for one in default]
    producer = [
        image.folder / "bin/python",
        ROOT / "examples/compose/producer.py",
        kafka.bootstrap,
        *topics.values(),
        "6",
    ]
    log = tmp_path / "observer.log"
    with (
        running(image, log, observer, *arguments) as service,
        running(image, tmp_path / "producer.log", *producer) as writing,
    ):
        service.wait_until(lambda: asked().returncode == 0, 120)
        service.wait_until(lambda: "observer_window_end_timestamp_seconds{" in metrics(port), 120)
        assert writing.code is None, writing.tail()
    assert service.code == 0, service.tail()
    assert "stopped at checkpoint" in service.tail()
    assert files(image.folder) == before
    assert {one.name for one in (image.data / "state").iterdir()} >= {"data.mdb", "history.sqlite"}


# The compose file


def mounts() -> list[tuple[str, str, str]]:
    """Service, path on the machine and path inside, of every mount of a file or folder."""
    return [
        (name, *volume.split(":")[:2])
        for name, service in COMPOSE["services"].items()
        for volume in service.get("volumes", ())
        if volume.startswith(".")
    ]


def test_the_compose_file_is_what_compose_takes_it_for(tmp_path):
    found = parsed(ROOT / "compose.yaml")
    assert set(found["services"]) == set(COMPOSE["services"])
    assert '--topic "$topic"' in "".join(found["services"]["topics"]["command"]).replace("$$", "$")
    wrong = tmp_path / "compose.yaml"
    wrong.write_text((ROOT / "compose.yaml").read_text().replace("stop_grace_period", "stop_grace"))
    with pytest.raises(ServiceError, match="stop_grace"):
        parsed(wrong)


def test_every_mount_is_there_and_every_name_is_declared():
    services = COMPOSE["services"]
    for _, outside, _ in mounts():
        assert (ROOT / outside).exists(), outside
    for name, service in services.items():
        assert ":" in service["image"], f"{name}: an image without a tag changes by itself"
        assert set(service.get("depends_on", ())) <= set(services)
        for volume in service.get("volumes", ()):
            assert volume.startswith(".") or volume.split(":")[0] in COMPOSE["volumes"]
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:"), f"{name}: open to the network"
    assert services["observer"]["image"] == services["producer"]["image"]


def test_the_parts_find_each_other(tmp_path):
    services = COMPOSE["services"]
    config = load(ROOT / "examples/compose/observer.yaml", {})
    (made,) = re.findall(r"for topic in (.*);", services["topics"]["command"][0])
    assert config.labels is not None
    streams = (config.predictions.source, config.labels.source)
    assert made.split() == [*(s.topic for s in streams), *(s.dead_letters for s in streams)]
    assert {s.brokers for s in streams} == {"kafka:9092"}
    assert services["producer"]["entrypoint"][2:] == ["kafka:9092", *(s.topic for s in streams)]
    assert str(config.state.path.parent) == "/var/lib/observer"
    assert "state:/var/lib/observer" in services["observer"]["volumes"]

    shutil.copytree(ROOT / "examples/compose/prometheus", tmp_path / "prometheus")
    path = tmp_path / "prometheus/prometheus.yml"
    subprocess.run(["promtool", "check", "config", str(path)], check=True, capture_output=True)
    prometheus = yaml.safe_load(path.read_text())
    (job,) = prometheus["scrape_configs"]
    assert job["static_configs"] == [{"targets": [f"observer:{config.http.port}"]}]
    assert 'job="observer"' in (tmp_path / "prometheus/rules.yaml").read_text()
    (members,) = prometheus["alerting"]["alertmanagers"]
    assert members["static_configs"][0]["targets"] == ["alertmanager:9093"]

    inside = {target: ROOT / outside for name, outside, target in mounts() if name == "grafana"}
    provisioning = inside["/etc/grafana/provisioning"]
    (source,) = yaml.safe_load((provisioning / "datasources/observer.yaml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((provisioning / "dashboards/observer.yaml").read_text())["providers"]
    assert len(list(inside[provider["options"]["path"]].glob("*.json"))) == 6
