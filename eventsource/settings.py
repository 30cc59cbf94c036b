"""Settings: environment variables with the prefix `EVENTSOURCE_`, `__` between the levels, and a `.env` file.

Nothing is read at import: `load_settings()` reads, and says what is wrong. Secrets are redacted in
every repr and dump (`model_dump` and its kin); to hand settings on, hand on the object.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_serializer, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError as UnreadableSetting

from eventsource.dev_servers import running_dev_file
from eventsource.errors import SettingsError
from eventsource.redaction import RedactedText, redact_url, redact_value, redacted_setting

PREFIX: Final = "EVENTSOURCE_"
ENV_FILE: Final = ".env"
# Variables with our prefix that are no settings of an app: which app, and what the command line reads.
OTHER_VARIABLES: Final = frozenset({"EVENTSOURCE_APP", "EVENTSOURCE_LOG_LEVEL", "EVENTSOURCE_LOG_FORMAT"})
_DELIMITER: Final = "__"

MAX_TRANSACTION_COMMANDS: Final = 10_000
"""No transaction handles more commands than this: how far a torn one can leave the committed offset behind."""

MAX_TIMEOUT_SECONDS: Final = 604_800
"""Seven days: commands older than that are no longer in their topic, so a longer wait finds no answer."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.model_dump().items())})"

    __str__ = __repr__


class KafkaSettings(_Section):
    """How to reach Kafka."""

    bootstrap_servers: str = Field(
        default="127.0.0.1:9092", min_length=1, description="Brokers to begin with, `host:port`, comma-separated."
    )
    client: dict[str, str] = Field(
        default_factory=dict,
        description="Kafka client settings, passed to librdkafka but for [those that the framework fixes]"
        "(production.md#settings-and-secrets): `EVENTSOURCE_KAFKA__CLIENT__SASL_PASSWORD` sets `sasl.password`.",
    )
    replication_factor: int | None = Field(
        default=None,
        ge=1,
        description="Replicas of each topic that `topics apply` makes. Unset: three, or as many as there are brokers.",
    )
    request_timeout_seconds: float = Field(
        default=10.0, gt=0, description="How long to wait for the broker before giving up."
    )
    session_timeout_seconds: float = Field(
        default=6.0,
        gt=0,
        description="How long a worker may be silent before others take its partitions (classic group protocol).",
    )
    transaction_timeout_seconds: float = Field(
        default=10.0,
        gt=1,
        description="How long the broker lets a transaction of a dead worker stand before it ends it.",
    )

    @field_validator("client")
    @classmethod
    def _dotted(cls, client: dict[str, str]) -> dict[str, str]:
        names = {key: key.lower().replace("_", ".") for key in client}
        return {names[key]: redacted_setting(names[key], value) for key, value in client.items()}

    @field_serializer("client")
    def _redacted_client(self, client: dict[str, str]) -> dict[str, str]:
        return {key: redact_value(key, value) for key, value in client.items()}

    def client_config(self) -> dict[str, Any]:
        """What every Kafka client is made with. Holds secrets: never log it."""
        return {"bootstrap.servers": self.bootstrap_servers, **self.client}


class PostgresSettings(_Section):
    """How to reach Postgres."""

    url: str = Field(
        default="postgresql://postgres@127.0.0.1:5432/postgres",
        description="Where read models live: a libpq URL, `postgresql://…`.",
    )
    connect_timeout_seconds: float = Field(default=5.0, gt=0, description="How long to wait for a connection.")
    statement_timeout_seconds: float = Field(
        default=60.0, gt=0, description="How long one statement of a consumer may take."
    )
    reader_connections: int = Field(
        default=15,
        ge=1,
        description="Connections that each reader of a read model holds, at most; more sessions wait for one.",
    )

    @field_validator("url")
    @classmethod
    def _readable(cls, url: str) -> str:
        scheme, separator, rest = url.partition("://")
        if not separator or scheme.partition("+")[0] not in ("postgresql", "postgres"):
            raise ValueError("a libpq URL is wanted: postgresql://user:password@host:5432/database")
        # libpq's own message quotes the URL, password included.
        from psycopg import ProgrammingError
        from psycopg.conninfo import conninfo_to_dict

        try:
            conninfo_to_dict(f"postgresql://{rest}")
        except ProgrammingError:
            raise ValueError(
                "libpq cannot read that URL: write postgresql://user:password@host:5432/database, with every reserved "
                "character of user and password percent-encoded (@ as %40, : as %3A, / as %2F)"
            ) from None
        url = f"postgresql://{rest}"
        shown = redact_url(url)
        return url if shown == url else RedactedText(url, shown)

    @field_serializer("url")
    def _redacted_url(self, url: str) -> str:
        return redact_url(url)


class ClientSettings(_Section):
    """The command client."""

    max_in_flight: int = Field(
        default=10_000, ge=1, description="Requests without an answer yet, at most; more wait, or raise `Backlogged`."
    )
    timeout_seconds: float = Field(
        default=30.0,
        gt=0,
        le=MAX_TIMEOUT_SECONDS,
        description="How long `send` waits for an answer unless a call names another time-out.",
    )


class WorkerSettings(_Section):
    """Workers: command handling and projections."""

    state_dir: Path | None = Field(
        default=None,
        description="Where partition owners keep their local state stores, caches of the log that may be deleted at any time. "
        "Unset: the user's state folder, such as `~/.local/state/eventsource-kafka/stores`.",
    )
    state_memory_mb: int = Field(
        default=256,
        ge=16,
        description="Memory for aggregates and command ids of one worker process, in MiB; what was not used lately is on disk alone.",
    )

    batch_size: int = Field(
        default=MAX_TRANSACTION_COMMANDS,
        ge=1,
        le=MAX_TRANSACTION_COMMANDS,
        description="Commands handled in one transaction, at most.",
    )
    projection_batch_size: int = Field(
        default=5_000, ge=1, description="Events folded into one Postgres transaction, at most."
    )
    deduplication_window_hours: float = Field(
        default=24.0,
        gt=0,
        description="How long a command id is remembered, unless the app remembers those of an aggregate forever.",
    )
    max_event_bytes: int = Field(
        default=900_000, ge=1_000, description="The largest record that a worker writes, in bytes."
    )
    health_host: str = Field(default="127.0.0.1", min_length=1, description="Where `/live` and `/ready` are served.")
    health_port: int = Field(
        default=8086, ge=0, le=65_535, description="The port of `/live` and `/ready`; 0 takes a free one."
    )
    drain_seconds: float = Field(
        default=20.0, gt=0, description="How long a worker may take to finish its batches on SIGTERM."
    )


class Settings(BaseSettings):
    """All settings. `Settings()` reads the environment and `.env`; `load_settings()` is what the framework itself uses."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter=_DELIMITER,
        env_file=ENV_FILE,
        env_file_encoding="utf-8",
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    namespace: str = Field(
        default="",
        pattern=r"^([a-z][a-z0-9]*(-[a-z0-9]+)*)?$",
        description="Goes before the app's name in every topic, group, transactional id and database schema.",
    )
    environment: Literal["auto", "production", "development"] = Field(
        default="auto",
        description="What the brokers are judged by: in `production` fewer than three replicas endanger data, in `development` they "
        "are only warned of. `auto`: production where there is more than one broker.",
    )
    kafka: KafkaSettings = Field(default_factory=KafkaSettings)
    postgres: PostgresSettings = Field(default_factory=PostgresSettings)
    client: ClientSettings = Field(default_factory=ClientSettings)
    worker: WorkerSettings = Field(default_factory=WorkerSettings)

    def __repr__(self) -> str:
        return f"Settings({', '.join(f'{name}={getattr(self, name)!r}' for name in type(self).model_fields)})"

    __str__ = __repr__


def redacted(settings: BaseModel) -> dict[str, Any]:
    """The settings as plain values with every secret replaced: what may be shown."""
    return settings.model_dump()


def load_settings(env_file: Path | None = None) -> Settings:
    """Reads the settings from the environment, from `.env` in the current folder, and from an `eventsource dev` that runs there.

    The first goes before the second and that before the third. With `env_file`, that file is read in the place of the latter
    two. Raises `SettingsError` naming each variable that is wrong or unknown, never its value, and each line that cannot be read.
    """
    if env_file is not None and not env_file.exists():
        raise SettingsError(f"{env_file} is not there: give the path of a file with settings, or none")
    files = setting_files() if env_file is None else [env_file]
    try:
        sources = variable_sources(files)
        settings = Settings(_env_file=files)
    except ValidationError as error:
        problems = [_problem(problem["loc"], problem["type"], problem["msg"]) for problem in error.errors()]
    except UnreadableSetting as error:
        # Its message names the field; its cause quotes the text, which may hold a secret.
        problems = [
            f"{PREFIX}{_quoted(str(error)).upper()} is not valid JSON: set its parts one by one, as docs/settings.md lists them"
        ]
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"{files[-1]} cannot be read ({_reason(error)}): make it a readable file in UTF-8, or move it away"
        ) from None
    else:
        problems = [_unknown(variable) for variable in sources if not _is_known(variable)]
        if not problems:
            return settings
    raise SettingsError(f"settings are wrong: {'; '.join(problems)}; correct them in the environment or in {files[-1]}")


def setting_files() -> list[Path]:
    """The files that settings are read from here; a later one goes before an earlier one."""
    dev = running_dev_file()
    return [*([dev] if dev is not None else []), Path(ENV_FILE)]


def variable_sources(files: Sequence[Path] | None = None) -> dict[str, str]:
    """The names, in upper case, of the variables with our prefix that are set, and where: `environment` or the file's name.

    Raises `OSError` or `UnicodeDecodeError` where a file cannot be read, `SettingsError` where one of its lines cannot.
    """
    found: dict[str, str] = {}
    for file in setting_files() if files is None else files:
        if file.exists():
            found.update(dict.fromkeys(map(str.upper, _names_in(file)), str(file)))
    found.update({name.upper(): "environment" for name in os.environ})
    return {name: source for name, source in sorted(found.items()) if name.startswith(PREFIX)}


def _names_in(file: Path) -> list[str]:
    from dotenv.parser import parse_stream

    with file.open(encoding="utf-8") as stream:
        bindings = list(parse_stream(stream))
    wrong = [str(binding.original.line) for binding in bindings if binding.error]
    if wrong:
        # Only where, never what: it may be half of a secret.
        raise SettingsError(
            f"{file} cannot be read in line {', '.join(wrong)}: write NAME=value there, with every quote closed, or make it a comment"
        )
    return [binding.key for binding in bindings if binding.key is not None]


def variable_name(location: tuple[str | int, ...]) -> str:
    """The environment variable of a setting: `("kafka", "client", "sasl.password")` is `EVENTSOURCE_KAFKA__CLIENT__SASL_PASSWORD`."""
    return PREFIX + _DELIMITER.join(str(part).replace(".", "_") for part in location).upper()


def setting_variables(
    model: type[BaseModel] = Settings, location: tuple[str, ...] = ()
) -> Mapping[str, tuple[str, ...]]:
    """Every setting there is: its variable's name, and where it stands in `Settings`."""
    found: dict[str, tuple[str, ...]] = {}
    for name, field in model.model_fields.items():
        here = (*location, name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found.update(setting_variables(field.annotation, here))
        else:
            found[variable_name(here)] = here
    return found


def _is_known(variable: str) -> bool:
    # What follows a section is checked by the section itself: it forbids what it does not know.
    return (
        variable in OTHER_VARIABLES
        or variable.removeprefix(PREFIX).split(_DELIMITER)[0].lower() in Settings.model_fields
    )


def _problem(location: tuple[str | int, ...], kind: str, message: str) -> str:
    variable = variable_name(location)
    if kind == "extra_forbidden":
        return _unknown(variable)
    if kind == "string_pattern_mismatch":
        message = "use lower-case letters, digits and single hyphens, beginning with a letter"
    return f"{variable}: {message.removeprefix('Value error, ')}"


def _unknown(variable: str) -> str:
    bare = variable.removeprefix(PREFIX)
    known = {name.removeprefix(PREFIX): name for name in setting_variables()}
    close = next((name for name in get_close_matches(bare, known, n=3, cutoff=0.7) if _is_like(bare, name)), None)
    return f"{variable} is not a setting{f' (did you mean {known[close]}?)' if close else ''}"


def _is_like(bare: str, name: str) -> bool:
    """Whether what stands behind the section is alike too: that of another setting of the section is no guess."""
    _, delimiter, setting = bare.partition(_DELIMITER)
    return not delimiter or bool(get_close_matches(setting, [name.partition(_DELIMITER)[2]], cutoff=0.5))


def _quoted(text: str) -> str:
    parts = text.split('"')
    return parts[1] if len(parts) > 2 else ""


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return error.strerror or type(error).__name__ if isinstance(error, OSError) else "it is not UTF-8"
