"""What may be shown of a setting: secrets are told by the name of the setting, and passwords are cut out of URLs."""

from __future__ import annotations

import re
from typing import Final, Self, SupportsIndex

REDACTED: Final = "**********"

# librdkafka's own list of sensitive properties (`_RK_SENSITIVE`), and whatever else is named like one.
_SECRET_NAME: Final = re.compile(
    r"(?!.*(location|url)$).*"  # a file's place or an address; a password in a URL is cut out of it
    r"(password|passphrase|passwd|secret|jaas|token|credential|private|\bkey\b|ssl[._]key|oauthbearer[._]config|assertion)",
    re.I | re.S,
)
_AUTHORITY: Final = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<rest>.*)", re.I | re.S)
_URL_IN_TEXT: Final = re.compile(r"[a-z][a-z0-9+.-]*://[^\s'\"]+", re.I)
# What stands before an @ that belongs to the query, as in `host:5432/db?user=me@example`.
_HOST: Final = r"(?:\[[^\]@]*\]|[^@/?#:,\[\]]*)(?::\d*)?"
_HOST_AND_QUERY: Final = re.compile(rf"{_HOST}(?:,{_HOST})*(?:/[^@?#]*)?\?\w+=[^@]*")
_QUERY_VALUE: Final = re.compile(r"([?&])([^=&?]*)=([^&]*)")


class RedactedText(str):
    """A text that only its `repr` hides: what shows locals, such as a traceback of pytest, rich or an error reporter, shows none of it.

    It is the text itself for everything that uses it, and stays one in every dict that it is copied into.
    """

    __slots__ = ("_shown",)
    _shown: str

    def __new__(cls, text: str, shown: str = REDACTED) -> Self:
        made = super().__new__(cls, text)
        made._shown = shown
        return made

    def __repr__(self) -> str:
        return repr(self._shown)

    def __getitem__(self, key: SupportsIndex | slice) -> str:
        return RedactedText(super().__getitem__(key))  # what shows texts cuts long ones

    def __reduce__(self) -> tuple[type[RedactedText], tuple[str, str]]:
        return RedactedText, (str(self), self._shown)


def redacted_setting(name: str, value: str) -> str:
    """The value of a setting, with a `repr` that may be shown."""
    shown = redact_value(name, value)
    return value if shown == value else RedactedText(value, shown)


def is_secret_name(name: str) -> bool:
    """Whether a setting of that name holds a secret."""
    return _SECRET_NAME.match(name) is not None


def redact_url(url: str) -> str:
    """The URL without its passwords: neither the one before the host nor any in the query.

    An @, / or ? that somebody forgot to encode in the password must not bring the rest of it to light, so whatever stands
    between the first colon and the last @ counts as password, unless it can only be host and query.
    """
    match = _AUTHORITY.fullmatch(url)
    if match is None:
        return url
    scheme, rest = match["scheme"], match["rest"]
    before, at, after = rest.rpartition("@")
    if at and not _HOST_AND_QUERY.fullmatch(before):
        user, colon, _ = before.partition(":")
        rest = f"{user}:{REDACTED}@{after}" if colon else rest
    return f"{scheme}://{_QUERY_VALUE.sub(_redact_query_value, rest)}"


def redact_value(name: str, value: str) -> str:
    """A setting's value as it may be shown."""
    return REDACTED if is_secret_name(name) else redact_url(value)


def redact_text(text: str) -> str:
    """A text for people, with the passwords of the URLs in it cut out."""
    return _URL_IN_TEXT.sub(lambda match: redact_url(match[0]), text) if "://" in text else text


def _redact_query_value(match: re.Match[str]) -> str:
    separator, name, value = match.groups()
    return f"{separator}{name}={REDACTED if is_secret_name(name) else value}"
