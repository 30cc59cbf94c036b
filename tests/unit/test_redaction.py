from __future__ import annotations

import pytest

from eventsource.redaction import REDACTED, is_secret_name, redact_text, redact_url, redact_value

# rdkafka_conf.c: the properties flagged _RK_SENSITIVE, and Java's name for the JAAS line that people paste.
SENSITIVE_IN_LIBRDKAFKA = [
    "ssl.key.password",
    "ssl.key.pem",
    "ssl_key",
    "ssl.keystore.password",
    "sasl.password",
    "sasl.jaas.config",
    "sasl.oauthbearer.config",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.client.credentials.client.secret",
    "sasl.oauthbearer.assertion.private.key.passphrase",
    "sasl.oauthbearer.assertion.private.key.pem",
]


@pytest.mark.parametrize("name", SENSITIVE_IN_LIBRDKAFKA)
def test_every_property_that_librdkafka_calls_sensitive_is_secret(name: str) -> None:
    assert is_secret_name(name)
    assert is_secret_name(name.upper())
    assert is_secret_name(name.replace(".", "_"))
    assert redact_value(name, "hunter2") == REDACTED


@pytest.mark.parametrize(
    "name", ["sasl.username", "ssl.ca.location", "ssl.key.location", "security.protocol", "client.id", "group.id"]
)
def test_what_is_no_secret_is_shown(name: str) -> None:
    assert redact_value(name, "plain") == "plain"


def test_the_address_of_a_token_endpoint_is_shown_without_its_password() -> None:
    shown = redact_value("sasl.oauthbearer.token.endpoint.url", "https://me:hunter2@idp.example/token")
    assert shown == f"https://me:{REDACTED}@idp.example/token"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://host/db", "postgresql://host/db"),
        ("postgresql://me@host:5432/db", "postgresql://me@host:5432/db"),
        ("postgresql://me:hunter2@host:5432/db", f"postgresql://me:{REDACTED}@host:5432/db"),
        ("postgresql://me:hunter2@[::1]:5432/db", f"postgresql://me:{REDACTED}@[::1]:5432/db"),
        ("postgresql://me:hunter2@one:1,two:2/db", f"postgresql://me:{REDACTED}@one:1,two:2/db"),
        ("postgresql://me:hunter%402@host/db", f"postgresql://me:{REDACTED}@host/db"),
        ("postgresql:///db?user=me&password=hunter2", f"postgresql:///db?user=me&password={REDACTED}"),
        ("postgresql://host:1/db?password=hunter@2&x=1", f"postgresql://host:1/db?password={REDACTED}&x=1"),
        (
            "postgresql://h/db?sslpassword=hunter2&sslkey=/k.pem",
            f"postgresql://h/db?sslpassword={REDACTED}&sslkey=/k.pem",
        ),
        ("postgresql://host:5432/db?user=me@example", "postgresql://host:5432/db?user=me@example"),
        # Written wrongly, with reserved characters that are not encoded: none of it may come to light.
        ("postgresql://me:hunter2@part@host/db", f"postgresql://me:{REDACTED}@host/db"),
        ("postgresql://me:hunter2/part@host/db", f"postgresql://me:{REDACTED}@host/db"),
        ("postgresql://me:hunter2?part@host/db", f"postgresql://me:{REDACTED}@host/db"),
        ("postgresql://me:hunter2#part@host/db", f"postgresql://me:{REDACTED}@host/db"),
        ("no url at all", "no url at all"),
    ],
)
def test_passwords_are_cut_out_of_urls(url: str, shown: str) -> None:
    assert redact_url(url) == shown


def test_urls_inside_a_text_lose_their_passwords() -> None:
    text = 'connecting to "postgresql://me:hunter2@host/db" failed, https://docs.example/x helps'
    assert (
        redact_text(text) == f'connecting to "postgresql://me:{REDACTED}@host/db" failed, https://docs.example/x helps'
    )
