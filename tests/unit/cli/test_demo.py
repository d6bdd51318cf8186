# ruff: noqa: PLC0415 - importing a command at the top would hide the module of the same name
"""The demo's configuration, and what it lets its visitor say."""

from __future__ import annotations

from pathlib import Path

from observer.config import load
from observer.sources.demo import Script


def test_the_command_line_finds_the_demo_and_may_give_it_orders(tmp_path: Path) -> None:
    from observer.cli.demo_config import for_orders

    written = tmp_path / "observer.yaml"
    written.write_text(for_orders("http://127.0.0.1:9999", "secret"))
    http = load(written).http
    assert (http.host, http.port, http.token.get_secret_value()) == ("127.0.0.1", 9999, "secret")


def test_only_the_served_model_is_acted_on_and_people_have_time_to_object(tmp_path: Path) -> None:
    from observer.cli.demo_config import Places, configuration

    script = Script.default()
    places = Places(tmp_path)
    paths = {model.name: tmp_path / f"{model.name}.reference" for model in script.models}
    config = configuration(script, places, paths, 0, "secret")
    acted = {name: model for name, model in config.models.items() if model.actions.rules}
    assert set(acted) == {"offers"}
    rollout = acted["offers"].rollout
    assert rollout is not None
    asked = [rule.approval for rule in acted["offers"].actions.rules] + [rollout.promote_approval]
    at_least = 10 * 0.5 * 3_600_000  # ten seconds, at half an hour of event time each
    assert all((one.unless_rejected_within or 0) >= at_least for one in asked)
    for target in config.targets.values():
        assert target.target().check() == []
