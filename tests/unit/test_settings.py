from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from eventsource.errors import SettingsError
from eventsource.redaction import REDACTED
from eventsource.settings import Settings, load_settings, redacted, setting_variables, variable_name, variable_sources

SECRET = "hunter2"


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import os

    for name in [name for name in os.environ if name.upper().startswith("EVENTSOURCE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def error_with(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> str:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_defaults_name_servers_on_this_machine() -> None:
    settings = load_settings()
    assert settings.kafka.client_config() == {"bootstrap.servers": "127.0.0.1:9092"}
    assert settings.postgres.url == "postgresql://postgres@127.0.0.1:5432/postgres"


def test_two_underscores_reach_into_a_section(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENTSOURCE_WORKER__BATCH_SIZE", "7")
    assert load_settings().worker.batch_size == 7


def test_a_env_file_is_read_and_the_environment_goes_before_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("EVENTSOURCE_NAMESPACE=from-file\nEVENTSOURCE_WORKER__BATCH_SIZE=7\nOTHERS=1\n")
    monkeypatch.setenv("EVENTSOURCE_NAMESPACE", "from-environment")
    settings = load_settings()
    assert (settings.namespace, settings.worker.batch_size) == ("from-environment", 7)
    assert variable_sources() == {"EVENTSOURCE_NAMESPACE": "environment", "EVENTSOURCE_WORKER__BATCH_SIZE": ".env"}


def test_another_env_file_can_be_named(tmp_path: Path) -> None:
    (tmp_path / "staging.env").write_text("EVENTSOURCE_NAMESPACE=staging\n")
    assert load_settings(tmp_path / "staging.env").namespace == "staging"


def test_a_named_env_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"missing\.env is not there"):
        load_settings(tmp_path / "missing.env")


def test_an_env_file_that_is_no_text_is_an_error(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"EVENTSOURCE_NAMESPACE=\xff\xfe\n")
    with pytest.raises(SettingsError, match=r"\.env cannot be read \(it is not UTF-8\)"):
        load_settings()


def test_kafka_client_settings_pass_through_untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENTSOURCE_KAFKA__CLIENT__SASL_USERNAME", "me")
    monkeypatch.setenv("EVENTSOURCE_KAFKA__CLIENT__SSL_CA_LOCATION", "/etc/ca.pem")
    config = load_settings().kafka.client_config()
    assert config["sasl.username"] == "me"
    assert config["ssl.ca.location"] == "/etc/ca.pem"


@pytest.mark.parametrize("password", ["1.50", "007", "true", "null", '{"a": 1}', "[1]", " spaced "])
def test_a_password_that_looks_like_json_stays_as_it_is(monkeypatch: pytest.MonkeyPatch, password: str) -> None:
    monkeypatch.setenv("EVENTSOURCE_KAFKA__CLIENT__SASL_PASSWORD", password)
    assert load_settings().kafka.client_config()["sasl.password"] == password


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EVENTSOURCE_KAFKA__CLIENT__SASL_PASSWORD", SECRET),
        ("EVENTSOURCE_KAFKA__CLIENT__SSL_KEY_PEM", SECRET),
        ("EVENTSOURCE_KAFKA__CLIENT__SASL_OAUTHBEARER_CLIENT_SECRET", SECRET),
        ("EVENTSOURCE_KAFKA", f'{{"client": {{"sasl.password": "{SECRET}"}}}}'),
        ("EVENTSOURCE_POSTGRES__URL", f"postgresql://me:{SECRET}@host/db"),
        ("EVENTSOURCE_POSTGRES__URL", f"postgresql://me:%40{SECRET}@host/db"),
        ("EVENTSOURCE_POSTGRES__URL", f"postgresql:///db?user=me&password={SECRET}"),
    ],
)
def test_secrets_appear_in_no_repr_and_no_dump(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    settings = load_settings()
    shown = [
        repr(settings),
        str(settings),
        f"{settings.kafka} {settings.postgres!r}",
        repr(settings.model_dump()),
        settings.model_dump_json(),
        repr(redacted(settings)),
    ]
    assert not [text for text in shown if SECRET in text]
    assert all(REDACTED in text for text in shown)
    # … and are there where they are needed.
    assert SECRET in " ".join([*settings.kafka.client_config().values(), settings.postgres.url])


def test_settings_pass_to_another_process_with_their_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENTSOURCE_KAFKA__CLIENT__SASL_PASSWORD", SECRET)
    settings = load_settings()
    assert pickle.loads(pickle.dumps(settings)).kafka.client_config() == settings.kafka.client_config()
    assert settings.model_copy(update={"namespace": "x"}).kafka.client_config() == settings.kafka.client_config()


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("EVENTSOURCE_KAFKA__BOOTSTRAP", "EVENTSOURCE_KAFKA__BOOTSTRAP_SERVERS"),
        ("EVENTSOURCE_KAFKA_BOOTSTRAP_SERVERS", "EVENTSOURCE_KAFKA__BOOTSTRAP_SERVERS"),
        ("EVENTSOURCE_POSTGRES_URL", "EVENTSOURCE_POSTGRES__URL"),
        ("EVENTSOURCE_NAMESPCE", "EVENTSOURCE_NAMESPACE"),
        ("EVENTSOURCE_WORKR__BATCHSIZE", "EVENTSOURCE_WORKER__BATCH_SIZE"),
        ("EVENTSOURCE_CLIENT__TIMEOUT", "EVENTSOURCE_CLIENT__TIMEOUT_SECONDS"),
    ],
)
def test_a_misspelt_variable_is_refused_and_the_right_one_named(
    monkeypatch: pytest.MonkeyPatch, name: str, suggestion: str
) -> None:
    text = error_with(monkeypatch, name, SECRET)
    assert f"{name} is not a setting (did you mean {suggestion}?)" in text
    assert SECRET not in text


def test_a_misspelt_variable_in_the_env_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("EVENTSOURCE_POSTGRES_URL=x\n")
    with pytest.raises(SettingsError, match="EVENTSOURCE_POSTGRES_URL is not a setting"):
        load_settings()


@pytest.mark.parametrize(
    "name", ["EVENTSOURCE_ZZZ", "EVENTSOURCE_WORKR__X", "EVENTSOURCE_WORKER__X", "EVENTSOURCE_POSTGRES__PASSWORD"]
)
def test_a_variable_like_nothing_we_know_is_refused_without_a_guess(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    assert f"{name} is not a setting;" in error_with(monkeypatch, name, "1")


@pytest.mark.parametrize("line", ["hunter2 is no setting", "EVENTSOURCE_NAMESPACE='hunter2"])
def test_a_line_of_the_env_file_that_cannot_be_read_is_told_by_its_number_and_never_shown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, line: str
) -> None:
    (tmp_path / ".env").write_text(f"EVENTSOURCE_CLIENT__MAX_IN_FLIGHT=5\n# a comment\n{line}\n")
    with pytest.raises(SettingsError, match=r"^\.env cannot be read in line 3: write NAME=value there") as caught:
        load_settings()
    assert "hunter2" not in str(caught.value)
    assert caplog.text == ""


def test_an_env_file_may_have_all_that_dotenv_reads(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(
        "\n# comment\nexport EVENTSOURCE_NAMESPACE='staging' # why\nOTHER=\"two\nlines\"\nBARE\n\nEVENTSOURCE_WORKER__BATCH_SIZE = 5\n"
    )
    assert (load_settings().namespace, load_settings().worker.batch_size) == ("staging", 5)


@pytest.mark.parametrize("name", ["EVENTSOURCE_APP", "EVENTSOURCE_LOG_LEVEL"])
def test_variables_of_the_command_line_are_no_mistake(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "x")
    load_settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EVENTSOURCE_WORKER__HEALTH_PORT", "hunter2"),
        ("EVENTSOURCE_WORKER__HEALTH_PORT", "70000"),
        ("EVENTSOURCE_WORKER__BATCH_SIZE", "0"),
        ("EVENTSOURCE_WORKER__BATCH_SIZE", "10001"),
        ("EVENTSOURCE_KAFKA__SESSION_TIMEOUT_SECONDS", "nan"),
        ("EVENTSOURCE_KAFKA__REQUEST_TIMEOUT_SECONDS", "inf"),
        ("EVENTSOURCE_KAFKA__BOOTSTRAP_SERVERS", ""),
        ("EVENTSOURCE_NAMESPACE", "Hunter2"),
        ("EVENTSOURCE_POSTGRES__URL", "mysql://me:hunter2@host/db"),
        ("EVENTSOURCE_POSTGRES__URL", "postgresql://me:hunter2@[::1/db"),
        ("EVENTSOURCE_POSTGRES__URL", "postgresql://host/db?pass=hunter2"),
        ("EVENTSOURCE_KAFKA__CLIENT", '["hunter2"]'),
        ("EVENTSOURCE_KAFKA__CLIENT", "hunter2"),
        ("EVENTSOURCE_KAFKA", "hunter2"),
    ],
)
def test_a_wrong_value_is_told_by_its_variable_and_never_shown(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    text = error_with(monkeypatch, name, value)
    assert name.removesuffix("__CLIENT") in text
    assert "correct them in the environment or in .env" in text
    assert "hunter2" not in text.lower()


def test_several_mistakes_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENTSOURCE_WORKER__BATCH_SIZE", "0")
    text = error_with(monkeypatch, "EVENTSOURCE_WORKER__DRAIN_SECONDS", "x")
    assert "EVENTSOURCE_WORKER__BATCH_SIZE" in text
    assert "EVENTSOURCE_WORKER__DRAIN_SECONDS" in text


def test_a_sqlalchemy_url_is_taken_as_libpq_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENTSOURCE_POSTGRES__URL", "postgresql+psycopg://me@host/db")
    assert load_settings().postgres.url == "postgresql://me@host/db"


def test_every_setting_has_a_variable_that_sets_it() -> None:
    variables = setting_variables()
    assert variables["EVENTSOURCE_KAFKA__BOOTSTRAP_SERVERS"] == ("kafka", "bootstrap_servers")
    assert all(variable_name(location) == variable for variable, location in variables.items())
    sections = {location[0] for location in variables.values()}
    assert sections == set(Settings.model_fields)
