"""A real Kafka broker: one KRaft node, from Maven's artifacts on Java 17, else in Docker, else one you name.

`python -m tests.services.kafka` runs one until Ctrl-C; with `--fetch` it only fetches what that needs.
"""

from __future__ import annotations

import base64
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.services.maven import fetch, jars
from tests.services.process import Process, Server, ServiceError, accepts, free_port

ADDRESS = "OBSERVER_TEST_KAFKA"
POM = Path(__file__).with_name("kafka.pom.xml")
START_SECONDS = 90.0


class KafkaBroker(Server):
    """One broker on loopback, or the broker whose address stands in `OBSERVER_TEST_KAFKA`.

    Parameters
    ----------
    properties : mapping of str to str
        Broker settings on top of, or instead of, those written here.
    heap : str
        The Java heap's limit.
    """

    def __init__(self, properties: Mapping[str, str] | None = None, heap: str = "512m") -> None:
        self._external = os.environ.get(ADDRESS)
        self._port = free_port()
        self._controller_port = free_port()
        self.bootstrap = self._external or f"127.0.0.1:{self._port}"
        self._properties = dict(properties or {})
        self._heap = heap
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._process: Process | None = None
        self._runtime: _Runtime | None = None

    @property
    def can_restart(self) -> bool:
        """Whether this broker is ours to kill."""
        return not self._external

    def start(self) -> None:
        """Start on the data left by an earlier start, if any; return once every partition has a leader."""
        if self._external:
            if not self._answers():
                raise ServiceError(f"{ADDRESS}={self._external}: no Kafka broker answers there")
            return
        if self._process is not None:
            raise ServiceError("this broker is running already")
        folder = self._path()
        try:
            if self._runtime is None:
                self._runtime = self._prepare(folder)
            command = self._runtime.command("server", str(folder / "server.properties"))
            self._process = Process(command, folder / "server.log")
            self._process.wait_until(lambda: accepts(self._port) and self._answers(), START_SECONDS)
        except BaseException:
            self.stop()
            raise

    def kill(self) -> None:
        """End the broker as `kill -9` does; its data stays for `start`."""
        if self._external:
            raise ServiceError(f"a broker given by {ADDRESS} cannot be killed or restarted from here")
        if self._process is not None and self._runtime is not None:
            self._runtime.kill(self._process)
            self._process = None

    def restart(self) -> None:
        """`kill -9`, then start again on the same data and port."""
        self.kill()
        self.start()

    def stop(self) -> None:
        """End the broker and remove its data; nothing happens to a broker that is not ours."""
        if not self._external:
            self.kill()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None
            self._runtime = None

    def create_topic(self, name: str, partitions: int = 1, **config: str) -> str:
        """Create the topic, wait until its partitions can be used, and return its name."""
        admin = self._admin()
        new = NewTopic(name, num_partitions=partitions, replication_factor=1, config=config)
        admin.create_topics([new])[name].result(timeout=30)
        for _ in range(300):
            topics = admin.list_topics(timeout=10).topics
            found = topics[name].partitions if name in topics else {}
            if len(found) == partitions and all(one.leader >= 0 for one in found.values()):
                return name
            admin.poll(0.05)
        raise ServiceError(f"topic {name} of {self.bootstrap} has no leader after its creation")

    def log(self) -> str:
        """The end of the broker's log."""
        return self._process.tail() if self._process else ""

    def _admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 2})

    def _answers(self) -> bool:
        try:
            seen = self._admin().list_topics(timeout=2)
        except KafkaException:
            return False
        leaders = [one.leader for topic in seen.topics.values() for one in topic.partitions.values()]
        return bool(seen.brokers) and all(leader >= 0 for leader in leaders)

    def _path(self) -> Path:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="observer-kafka-")
        return Path(self._folder.name)

    def _prepare(self, folder: Path) -> _Runtime:
        """Find a runtime, write the settings and format the storage."""
        runtime = _runtime(folder, self._heap)
        properties = folder / "server.properties"
        settings = self._settings(folder / "data") | self._properties
        properties.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        # The first byte is fixed: an id that began with "-" would be taken for an option.
        cluster = base64.urlsafe_b64encode(b"o" + uuid.uuid4().bytes[1:]).decode().rstrip("=")
        command = runtime.command("storage", "format", "-t", cluster, "-c", str(properties))
        done = subprocess.run(command, capture_output=True, text=True, timeout=START_SECONDS, check=False)
        if done.returncode:
            raise ServiceError(f"Kafka's storage cannot be formatted:\n{done.stdout}{done.stderr}")
        return runtime

    def _settings(self, data: Path) -> dict[str, str]:
        broker, controller = f"127.0.0.1:{self._port}", f"127.0.0.1:{self._controller_port}"
        return {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@{controller}",
            "listeners": f"PLAINTEXT://{broker},CONTROLLER://{controller}",
            "advertised.listeners": f"PLAINTEXT://{broker}",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": str(data),
            "log.retention.ms": "-1",  # events carry times of long ago
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "4",
            "group.initial.rebalance.delay.ms": "0",
            # After a kill the controller waits for an election, and refuses the broker until its old
            # session ends; alone on loopback neither need last long.
            "controller.quorum.election.timeout.ms": "200",
            "controller.quorum.fetch.timeout.ms": "400",
            "broker.session.timeout.ms": "1000",
            "broker.heartbeat.interval.ms": "250",
        }


class _Runtime(Protocol):
    """Runs Kafka's two programs."""

    def command(self, program: str, *arguments: str) -> list[str]:
        """The command line of `server` or `storage`."""

    def kill(self, process: Process) -> None:
        """End a server as `kill -9` does."""


class _Java:
    CLASSES: Mapping[str, str] = {"server": "kafka.Kafka", "storage": "kafka.tools.StorageTool"}

    def __init__(self, java: str, jars: Path, heap: str) -> None:
        self._start = [
            java,
            f"-Xmx{heap}",
            "-XX:+UseSerialGC",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        ]
        self._start += ["-Dorg.slf4j.simpleLogger.showDateTime=true", "-cp", f"{jars}/*"]

    def command(self, program: str, *arguments: str) -> list[str]:
        return [*self._start, self.CLASSES[program], *arguments]

    def kill(self, process: Process) -> None:
        process.kill()


class _Docker:
    SCRIPTS: Mapping[str, str] = {"server": "kafka-server-start.sh", "storage": "kafka-storage.sh"}

    def __init__(self, docker: str, folder: Path, heap: str) -> None:
        self._docker = docker
        self._folder = folder
        self._heap = heap
        self._name = folder.name

    def command(self, program: str, *arguments: str) -> list[str]:
        where = [
            "--network",
            "host",
            "--user",
            f"{os.getuid()}:{os.getgid()}",
            "-v",
            f"{self._folder}:{self._folder}",
        ]
        environment = ["-e", f"KAFKA_HEAP_OPTS=-Xmx{self._heap}", "-e", f"LOG_DIR={self._folder}/logs"]
        image = f"apache/kafka:{_version()}"
        script = f"/opt/kafka/bin/{self.SCRIPTS[program]}"
        name = f"{self._name}-{program}"
        return [self._docker, "run", "--rm", "--name", name, *where, *environment, image, script, *arguments]

    def kill(self, process: Process) -> None:
        name = f"{self._name}-server"
        subprocess.run([self._docker, "kill", name], capture_output=True, timeout=60, check=False)
        process.kill()


def _runtime(folder: Path, heap: str) -> _Runtime:
    java = shutil.which("java")
    if java and _java_version(java) >= 17 and (jars(POM, "kafka").is_dir() or shutil.which("mvn")):
        return _Java(java, fetch(POM, "kafka"), heap)
    docker = shutil.which("docker")
    if (
        docker
        and subprocess.run([docker, "info"], capture_output=True, timeout=60, check=False).returncode == 0
    ):
        return _Docker(docker, folder, heap)
    raise ServiceError(
        "no Kafka broker can be started: install Java 17 or later and Maven (Debian: default-jre-headless"
        f" and maven), or run a Docker engine, or set {ADDRESS} to the address of a broker tests may write to"
    )


def _version() -> str:
    found = re.search(r"<artifactId>kafka_[\d.]+</artifactId>\s*<version>([\d.]+)</version>", POM.read_text())
    if found is None:
        raise ServiceError(f"{POM} names no version of Kafka")
    return found[1]


def _java_version(java: str) -> int:
    said = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=60, check=False).stderr
    found = re.search(r'version "(\d+)', said)
    return int(found[1]) if found else 0


def main() -> None:
    """Fetch, or run a broker until a signal."""
    if "--fetch" in sys.argv[1:]:
        print(fetch(POM, "kafka"))
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with KafkaBroker() as broker:
        print(f"Kafka answers at {broker.bootstrap}; Ctrl-C ends it", flush=True)
        try:
            signal.pause()
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()
