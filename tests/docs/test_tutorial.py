"""The tutorial, from its first command to the alert that it ends with."""

from __future__ import annotations

import pytest

from tests.docs.pages import blocks
from tests.docs.runner import Reader, differs
from tests.services.process import free_port


@pytest.mark.services
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_from_an_empty_directory_to_the_first_alert(kafka, topic_name, tmp_path):
    ports = {f"localhost:{told}": f"127.0.0.1:{free_port()}" for told in (9464, 9090, 9093, 9095)}
    predictions, labels = topic_name("predictions"), topic_name("labels")
    served, receiver = (ports[f"localhost:{told}"].partition(":")[2] for told in (9464, 9095))
    instead = {  # what is not as on the reader's machine: ports, and names of topics
        "owner: growth}": f"owner: growth}}\nhttp: {{port: {served}}}",
        "transport=transport)": f'transport=transport, topic="{predictions}", labels_topic="{labels}")',
        "localhost:9092": kafka.bootstrap,
        "topic: predictions": f"topic: {predictions}",
        "topic: labels": f"topic: {labels}",
        "events/predictions.jsonl": f"events/{predictions}.jsonl",  # called as the topic
        "events/labels.jsonl": f"events/{labels}.jsonl",
        **ports,
        '("localhost", 9095)': f'("127.0.0.1", {receiver})',
    }
    with Reader(tmp_path, instead) as reader:
        reader.follow(blocks("docs/tutorial.md"))


def test_output_is_compared():
    assert differs("a  b\nc\nd\n", "a b\n…\nd\n") is None
    assert differs("a=1, b=2\n", "…b=2…\n") is None
    assert differs("a\n", "b\n") is not None
    assert differs("a\nb\n", "a\n") is not None
