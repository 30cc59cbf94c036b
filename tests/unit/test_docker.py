"""Checks without a Docker engine: the facts that would break a build or a start."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from eventsource.settings import Settings, load_settings

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"


@pytest.fixture
def dockerfile() -> list[tuple[str, str]]:
    """Instructions and their arguments, continued lines joined."""
    text = re.sub(r"\\\n\s*", " ", (DOCKER / "Dockerfile").read_text(encoding="utf-8"))
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1].strip()) for line in lines]


@pytest.fixture
def services() -> dict[str, Any]:
    document = yaml.safe_load((DOCKER / "compose.yaml").read_text(encoding="utf-8"))
    services: dict[str, Any] = document["services"]
    assert {name for service in services.values() for name in _named_volumes(service)} == set(document["volumes"])
    return services


def _named_volumes(service: dict[str, Any]) -> list[str]:
    return [volume.partition(":")[0] for volume in service.get("volumes", []) if not volume.startswith((".", "/"))]


def _all(dockerfile: list[tuple[str, str]], instruction: str) -> list[str]:
    return [argument for name, argument in dockerfile if name == instruction]


def test_everything_in_the_image_comes_from_the_hashed_lock(dockerfile: list[tuple[str, str]]) -> None:
    installs = [run for run in _all(dockerfile, "RUN") if "pip install" in run]
    assert len(installs) == 2
    assert "--require-hashes --requirement requirements/runtime.lock" in installs[0]
    assert "--no-deps --no-build-isolation" in installs[1]


def test_what_is_copied_is_there_and_not_left_out(dockerfile: list[tuple[str, str]]) -> None:
    kept = {line[1:] for line in (DOCKER / "Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        source for copy in _all(dockerfile, "COPY") if not copy.startswith("--from") for source in copy.split()[:-1]
    }
    assert copied == kept
    assert [source for source in copied if not (ROOT / source).exists()] == []


def test_a_worker_is_not_root_and_gets_its_signals_itself(dockerfile: list[tuple[str, str]]) -> None:
    names = [name for name, _ in dockerfile]
    assert _all(dockerfile, "USER") == ["eventsource"]
    assert names.index("USER") > max(index for index, name in enumerate(names) if name in ("RUN", "COPY"))
    # The exec form: a shell in between would not pass SIGTERM on.
    assert json.loads(_all(dockerfile, "ENTRYPOINT")[0]) == ["eventsource"]


def test_the_health_pages_are_asked_where_they_are(dockerfile: list[tuple[str, str]]) -> None:
    port = Settings.model_fields["worker"].get_default(call_default_factory=True).health_port
    assert _all(dockerfile, "EXPOSE") == [str(port)]
    assert f"127.0.0.1:{port}/live" in _all(dockerfile, "HEALTHCHECK")[0]
    assert any("EVENTSOURCE_WORKER__HEALTH_HOST=0.0.0.0" in env for env in _all(dockerfile, "ENV"))


def test_the_images_are_the_official_ones_at_the_versions_that_are_tested(services: dict[str, Any]) -> None:
    assert services["kafka"]["image"] == "apache/kafka:4.3.1"
    assert services["postgres"]["image"] == "postgres:18"


def test_kafka_makes_no_topic_by_itself_and_needs_no_second_broker(services: dict[str, Any]) -> None:
    environment = services["kafka"]["environment"]
    assert environment["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"
    assert environment["KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR"] == 1
    assert environment["KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR"] == 1
    names = [listener.partition(":")[0] for listener in environment["KAFKA_LISTENERS"].split(",")]
    mapped = dict(entry.split(":") for entry in environment["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(","))
    assert set(names) == set(mapped)
    assert environment["KAFKA_INTER_BROKER_LISTENER_NAME"] in names


def test_servers_listen_on_this_machine_alone(services: dict[str, Any]) -> None:
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


@pytest.mark.parametrize("name", ["topics", "worker"])
def test_workers_are_configured_with_settings_that_exist(
    services: dict[str, Any], name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for variable, value in services[name]["environment"].items():
        monkeypatch.setenv(variable, str(value))
    settings = load_settings()
    host = settings.kafka.bootstrap_servers
    assert f"INTERNAL://{host}" in services["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    postgres = services["postgres"]["environment"]
    assert (
        f"{postgres['POSTGRES_USER']}:{postgres['POSTGRES_PASSWORD']}@postgres:5432/{postgres['POSTGRES_DB']}"
        in settings.postgres.url
    )


def test_a_worker_may_drain_before_it_is_killed(services: dict[str, Any]) -> None:
    drain = Settings.model_fields["worker"].get_default(call_default_factory=True).drain_seconds
    assert int(services["worker"]["stop_grace_period"].removesuffix("s")) > drain


def test_a_worker_starts_after_its_topics_are_made(services: dict[str, Any]) -> None:
    assert services["worker"]["depends_on"]["topics"]["condition"] == "service_completed_successfully"
    assert services["topics"]["depends_on"]["kafka"]["condition"] == "service_healthy"
