"""Settings: environment variables with the prefix `EVENTSOURCE_`, `__` between the levels, and a `.env` file.

Nothing is read at import: `Settings()` reads. Secrets are redacted in every repr, log and dump.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from eventsource.errors import SettingsError

REDACTED = "**********"
_SECRET = re.compile(r"password|secret|jaas|token|private|credential|ssl\.key\.pem|\.key$|passphrase|oauthbearer\.config", re.I)


def redact_url(url: str) -> str:
    """The URL with its password replaced."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    user = parts.username or ""
    host = parts.hostname or ""
    port = f":{parts.port}" if parts.port else ""
    return urlunsplit((parts.scheme, f"{user}:{REDACTED}@{host}{port}", parts.path, parts.query, ""))


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in redacted(self).items())})"

    __str__ = __repr__


class KafkaSettings(_Section):
    """How to reach Kafka."""

    bootstrap_servers: str = Field("127.0.0.1:9092", description="Brokers to begin with, `host:port`, comma-separated.")
    client: dict[str, str] = Field(
        default_factory=dict,
        description="Kafka client settings, passed to librdkafka untouched: `EVENTSOURCE_KAFKA__CLIENT__SASL_PASSWORD` sets "
        "`sasl.password`.",
    )
    replication_factor: int | None = Field(
        None, ge=1, description="Replicas of each topic that `topics apply` makes. Unset: three, or as many as there are brokers."
    )
    request_timeout_seconds: float = Field(10.0, gt=0, description="How long to wait for the broker before giving up.")
    session_timeout_seconds: float = Field(
        6.0, gt=0, description="How long a worker may be silent before others take its partitions (classic group protocol)."
    )
    transaction_timeout_seconds: float = Field(
        10.0, gt=1, description="How long the broker lets a transaction of a dead worker stand before it ends it."
    )

    @field_validator("client")
    @classmethod
    def _dotted(cls, client: dict[str, str]) -> dict[str, str]:
        return {key.lower().replace("_", "."): value for key, value in client.items()}

    def client_config(self) -> dict[str, Any]:
        """What every Kafka client is made with. Holds secrets: never log it."""
        return {"bootstrap.servers": self.bootstrap_servers, **self.client}


class PostgresSettings(_Section):
    """How to reach Postgres."""

    url: str = Field(
        "postgresql://postgres@127.0.0.1:5432/postgres", description="Where read models live: a libpq URL, `postgresql://…`."
    )
    connect_timeout_seconds: float = Field(5.0, gt=0, description="How long to wait for a connection.")
    statement_timeout_seconds: float = Field(60.0, gt=0, description="How long one statement of a consumer may take.")

    @field_validator("url")
    @classmethod
    def _scheme(cls, url: str) -> str:
        scheme, separator, rest = url.partition("://")
        if not separator or scheme.partition("+")[0] not in ("postgresql", "postgres"):
            raise ValueError("a libpq URL is wanted: postgresql://user:password@host:5432/database")
        return f"postgresql://{rest}"


class ClientSettings(_Section):
    """The command client."""

    max_in_flight: int = Field(10_000, ge=1, description="Requests without an answer yet, at most; more wait or are told.")
    timeout_seconds: float = Field(30.0, gt=0, description="How long `send` waits for an answer unless told otherwise.")


class WorkerSettings(_Section):
    """Workers: command handling and projections."""

    batch_size: int = Field(2_000, ge=1, description="Commands handled in one transaction, at most.")
    projection_batch_size: int = Field(5_000, ge=1, description="Events folded into one Postgres transaction, at most.")
    deduplication_window_hours: float = Field(
        24.0, gt=0, description="How long a command id is remembered, unless the aggregate says `forever`."
    )
    max_event_bytes: int = Field(900_000, ge=1_000, description="The largest record that a worker writes, in bytes.")
    health_host: str = Field("127.0.0.1", description="Where `/live` and `/ready` are served.")
    health_port: int = Field(8086, ge=0, le=65_535, description="The port of `/live` and `/ready`; 0 takes a free one.")
    drain_seconds: float = Field(20.0, gt=0, description="How long a worker may take to finish its batches on SIGTERM.")


class Settings(BaseSettings):
    """All settings. `Settings()` reads the environment and `.env`; `load_settings` adds an error that says what to do."""

    model_config = SettingsConfigDict(
        env_prefix="EVENTSOURCE_",
        env_nested_delimiter="__",
        env_file=".env",
        env_file_encoding="utf-8",
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    namespace: str = Field("", description="Goes before the app's name in every topic, group, transactional id and database schema.")
    kafka: KafkaSettings = Field(default_factory=KafkaSettings)
    postgres: PostgresSettings = Field(default_factory=PostgresSettings)
    client: ClientSettings = Field(default_factory=ClientSettings)
    worker: WorkerSettings = Field(default_factory=WorkerSettings)

    def __repr__(self) -> str:
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in redacted(self).items())})"

    __str__ = __repr__


def redacted(settings: BaseModel) -> dict[str, Any]:
    """The settings as plain values with every secret replaced: what may be shown."""
    shown: dict[str, Any] = {}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, BaseModel):
            shown[name] = redacted(value)
        elif isinstance(value, Mapping):
            shown[name] = {key: REDACTED if _SECRET.search(str(key)) else item for key, item in value.items()}
        elif isinstance(value, str) and "://" in value:
            shown[name] = redact_url(value)
        else:
            shown[name] = value
    return shown


def load_settings(env_file: Path | None = None) -> Settings:
    """Reads the settings. Raises `SettingsError` naming each variable that is wrong, never its value."""
    try:
        return Settings(_env_file=env_file) if env_file is not None else Settings()
    except ValidationError as error:
        problems = "; ".join(
            f"EVENTSOURCE_{'__'.join(str(part) for part in problem['loc']).upper()}: {problem['msg']}" for problem in error.errors()
        )
        raise SettingsError(f"settings are wrong: {problems}; correct them in the environment or in .env") from None

