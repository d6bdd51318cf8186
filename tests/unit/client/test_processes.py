"""Forks, the end of a process, and what an import needs."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ENV = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def run(code: str, *arguments: object) -> subprocess.CompletedProcess:
    """A Python process of its own."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code), *map(str, arguments)],
        env=ENV, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done


def events(folder: Path, topic: str = "predictions") -> list[dict]:
    return [json.loads(line) for line in (folder / f"{topic}.jsonl").read_text().splitlines()]


BLOCKED = (
    "numpy", "scipy", "pandas", "pyarrow", "pydantic", "msgspec", "confluent_kafka", "sklearn", "detectors",
    "httpx", "yaml", "prometheus_client", "asyncio",
)  # fmt: skip


def test_the_import_needs_nothing_that_is_heavy(tmp_path):
    """With every heavy package forbidden: import, wrap, log, and end."""
    code = f"""
        import sys
        from importlib.abc import MetaPathFinder

        class Refuse(MetaPathFinder):
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] in {BLOCKED!r}:
                    raise ModuleNotFoundError(f"{{name}} is blocked", name=name)

        sys.meta_path.insert(0, Refuse())
        from observer.client import FileTransport, PredictionLogger
        ours = {{".".join(name.split(".")[:2]) for name in sys.modules if name.startswith("observer.")}}
        assert ours == {{"observer.client", "observer.clock"}}, ours
        with PredictionLogger("m", transport=FileTransport(sys.argv[1])) as logger:
            logger.log({{"x": 1}}, 1)
            logger.log_frame({{"x": [1, 2]}}, [1, 2])
    """
    run(code, tmp_path)
    assert len(events(tmp_path)) == 3


def test_without_pyarrow_kafka_gets_json():
    code = """
        import sys
        sys.modules["pyarrow"] = None
        from observer.client import KafkaTransport, PredictionLogger
        logger = PredictionLogger("m", transport=KafkaTransport("127.0.0.1:1", "kafka-python"))
        assert logger.format == "json", logger.format
        try:
            PredictionLogger("m", transport=KafkaTransport("127.0.0.1:1"), format="arrow")
        except ImportError as error:
            assert "pyarrow" in str(error)
        else:
            raise AssertionError
    """
    run(code)


@pytest.mark.parametrize("missing", [("kafka",), ("confluent_kafka",), ("kafka", "confluent_kafka")])
def test_the_kafka_library_is_the_one_asked_for_or_the_one_installed(missing):
    code = """
        import importlib.machinery, sys
        real = importlib.machinery.PathFinder.find_spec
        missing = sys.argv[1].split(",")
        finder = lambda name, path=None, target=None: None if name in missing else real(name, path, target)
        importlib.machinery.PathFinder.find_spec = finder
        from observer.client import KafkaTransport
        modules = {"kafka": "kafka-python", "confluent_kafka": "confluent-kafka"}
        installed = [name for module, name in modules.items() if module not in missing]
        for name in modules.values():
            try:
                assert KafkaTransport("b:1", name).library == name in installed or name in installed
            except ImportError as error:
                assert name not in installed and name in str(error)
            else:
                assert name in installed
        try:
            assert KafkaTransport("b:1").library == installed[-1]
        except ImportError as error:
            assert not installed and str(error).startswith("no library for Kafka is installed; install ml-")
        try:
            KafkaTransport("b:1", "pykafka")
        except ValueError as error:
            assert "accepted: 'confluent-kafka', 'kafka-python'" in str(error)
    """
    run(code, ",".join(missing))


SCRIPT = """
    import os, sys
    from observer.client import FileTransport, PredictionLogger
    logger = PredictionLogger("m", transport=FileTransport(sys.argv[1]), linger=30)
"""


def test_the_end_of_a_process_flushes(tmp_path):
    run(SCRIPT + "    logger.log({'x': 1}, 1)\n    logger.log({'x': 2}, 2)", tmp_path)
    assert [event["prediction"] for event in events(tmp_path)] == [1, 2]


def test_an_exception_at_the_end_flushes_too(tmp_path):
    code = SCRIPT + "    logger.log({'x': 1}, 1)\n    raise SystemExit(0)"
    run(code, tmp_path)
    assert len(events(tmp_path)) == 1


def test_a_forked_process_sends_its_own_events_and_no_others(tmp_path):
    """As a server does that loads the model first: before the fork one event is logged and not yet sent."""
    code = (
        SCRIPT
        + """
    logger.log({"x": 0}, 0)
    children = []
    for number in range(1, 4):
        child = os.fork()
        if not child:
            assert logger.stats().logged == 0
            logger.log({"x": number}, number)
            sys.exit(0)
        children.append(child)
    for child in children:
        assert os.waitpid(child, 0)[1] == 0
    logger.log({"x": 9}, 9)
    """
    )
    run(code, tmp_path)
    found = events(tmp_path)
    assert sorted(event["prediction"] for event in found) == [0, 1, 2, 3, 9]
    assert len({event["id"] for event in found}) == 5


def test_a_fork_while_others_log(tmp_path):
    """A lock held by a thread that the child does not have must not stop the child."""
    code = (
        SCRIPT
        + """
    import threading
    stop = threading.Event()
    def work():
        while not stop.is_set():
            logger.log({"x": 0}, 0)
    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(20):
        child = os.fork()
        if not child:
            logger.log({"x": 1}, 1)
            logger.close(20)
            os._exit(0 if logger.stats().delivered == 1 else 1)
        assert os.waitpid(child, 0)[1] == 0
    stop.set()
    for thread in threads:
        thread.join()
    assert logger.flush(20)
    """
    )
    run(code, tmp_path)
    found = events(tmp_path)
    assert sum(event["prediction"] for event in found) == 20
    assert len({event["id"] for event in found}) == len(found)


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_children_of_multiprocessing_flush_at_their_end(tmp_path, method):
    (tmp_path / "job.py").write_text(
        textwrap.dedent(
            """
            import multiprocessing, sys
            from observer.client import FileTransport, PredictionLogger
            logger = PredictionLogger("m", transport=FileTransport(sys.argv[1]), linger=30)
            def work(number):
                logger.log({"x": number}, number)
            if __name__ == "__main__":
                context = multiprocessing.get_context(sys.argv[2])
                processes = [context.Process(target=work, args=(number,)) for number in range(2)]
                for process in processes:
                    process.start()
                for process in processes:
                    process.join()
                    assert process.exitcode == 0
            """
        )
    )
    done = subprocess.run(
        [sys.executable, tmp_path / "job.py", tmp_path, method],
        env=ENV, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert sorted(event["prediction"] for event in events(tmp_path)) == [0, 1]


def test_a_signal_handler_may_log(tmp_path):
    code = (
        SCRIPT
        + """
    import signal
    signal.signal(signal.SIGALRM, lambda *_: logger.log({"x": 1}, 1))
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    for _ in range(10_000):
        logger.log({"x": 0}, 0)
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert logger.flush(45), logger.stats()
    stats = logger.stats()
    assert stats.logged == stats.delivered >= 10_000, stats
    """
    )
    run(code, tmp_path)
