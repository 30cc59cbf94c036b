"""Exact conversions between Python values and Avro's plain ones: each raises rather than lose anything."""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal, Inexact, InvalidOperation, Rounded
from typing import Any, Final, NoReturn
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from eventsource.errors import DecodeError, EncodeError
from eventsource.schemas import primitives

LONG_MIN: Final = -(1 << 63)
LONG_MAX: Final = (1 << 63) - 1

_UNIX_DAY: Final = date(1970, 1, 1).toordinal()
_UNIX_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001  # local-timestamp-micros is naive by definition
_DAY_SECONDS: Final = 86_400

# A context of its own: under the caller's, a bad text may silently be NaN.
create_decimal: Final = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[InvalidOperation]).create_decimal
_isoformat = datetime.isoformat
_time_isoformat = time.isoformat
parse_datetime: Final = datetime.fromisoformat
parse_time: Final = time.fromisoformat
_TWO: Final = tuple(f"{number:02}" for number in range(60))
_THREE: Final = tuple(f"{number:03}" for number in range(1000))
_SIGNS: Final = ("+", "-")
_FOLD: Final = "[fold=1]"


def wrong(value: object, wanted: str) -> NoReturn:
    """Says what was needed and what came, by type alone: values do not belong in errors."""
    raise EncodeError(f"{wanted} is needed, not {type(value).__name__}")


def wrong_integer(value: object) -> NoReturn:
    if type(value) is int:
        raise EncodeError(
            "the int does not fit into 64 bits: hold larger numbers in a str, or a Decimal without places"
        )
    wrong(value, "int")


def exact_float(value: Any) -> float:
    """An int where a float is declared, such as a default of 0."""
    if type(value) is int and float(value) == value:
        return float(value)
    wrong(value, "float")


def read_float(value: int) -> float:
    """An int written when the field was an int. Beyond 2**53 a float would silently be another number."""
    if float(value) != value:
        raise DecodeError("the int that was written is no exact float: declare the field int | float")
    return float(value)


def date_to_days(value: date) -> int:
    if isinstance(value, datetime):
        wrong(value, "date")
    return value.toordinal() - _UNIX_DAY


def date_from_days(days: int) -> date:
    return date.fromordinal(days + _UNIX_DAY)


def datetime_to_iso(value: datetime) -> str:
    """ISO 8601 with the offset, if there is one. The second reading of a naive time is marked, as by a suffix of RFC 9557."""
    if value.tzinfo is UTC and value.year > 999:  # written out, it takes half of isoformat's time
        day = f"{value.year}-{_TWO[value.month]}-{_TWO[value.day]}T"
        clock = f"{_TWO[value.hour]}:{_TWO[value.minute]}:{_TWO[value.second]}"
        micros = value.microsecond
        return (
            f"{day}{clock}.{_THREE[micros // 1000]}{_THREE[micros % 1000]}+00:00" if micros else f"{day}{clock}+00:00"
        )
    text = _isoformat(value)
    # An offset's sign stands sixth from the end, unless the offset has seconds.
    if text[-6] not in _SIGNS and (value.fold or value.tzinfo is not None):
        return text + _suffix(value)
    return text


def time_to_iso(value: time) -> str:
    text = _time_isoformat(value)
    return text + _suffix(value) if value.fold or value.tzinfo is not None else text


def _suffix(value: datetime | time) -> str:
    if value.tzinfo is not None:
        offset = value.utcoffset()
        if offset is None:
            raise EncodeError(
                f"a {type(value).__name__} whose time zone gives no UTC offset would come back naive: give it a fixed offset"
            )
        if offset.microseconds:  # datetime.fromisoformat takes an offset of less than a second for UTC
            raise EncodeError("a UTC offset with fractions of a second would not come back: give it whole seconds")
    return _FOLD if value.fold and value.tzinfo is None else ""


def datetime_from_iso(text: str) -> datetime:
    try:
        return parse_datetime(text)
    except ValueError:
        if text.endswith(_FOLD):
            return parse_datetime(text.removesuffix(_FOLD)).replace(fold=1)
        raise


def time_from_iso(text: str) -> time:
    try:
        return parse_time(text)
    except ValueError:
        if text.endswith(_FOLD):
            return parse_time(text.removesuffix(_FOLD)).replace(fold=1)
        raise


def zoned_datetime_to_text(value: datetime) -> str:
    """As `datetime_to_iso`, but with the zone's key in brackets in place of an offset where there is a `ZoneInfo`."""
    zone = value.tzinfo
    if zone is None or type(zone) is timezone:
        return datetime_to_iso(value)
    if type(zone) is ZoneInfo and zone.key is not None:
        return f"{_isoformat(value.replace(tzinfo=None))}[{zone.key}]{_FOLD if value.fold else ''}"
    if zone.utcoffset(None) is None:
        raise EncodeError(
            f"a datetime in a time zone of type {type(zone).__name__} cannot be written: use a fixed offset or ZoneInfo"
        )
    return datetime_to_iso(value)


def zoned_datetime_from_text(text: str) -> datetime:
    if not text.endswith("]"):
        return parse_datetime(text)
    fold = text.endswith(_FOLD)
    local, _, key = text.removesuffix(_FOLD).removesuffix("]").partition("[")
    try:
        zone = ZoneInfo(key) if key else None
    except (ZoneInfoNotFoundError, OSError) as error:  # OSError: the key names a folder
        raise DecodeError("the time zone of a datetime is not known here: install tzdata") from error
    return parse_datetime(local).replace(tzinfo=zone, fold=fold)


def naive_datetime_to_micros(value: datetime) -> int:
    if value.tzinfo is not None or value.fold:
        raise EncodeError("a naive datetime without fold is needed: convert it, or declare the field datetime")
    return duration_to_micros(value - _UNIX_EPOCH)


def naive_datetime_from_micros(micros: int) -> datetime:
    return _UNIX_EPOCH + timedelta(microseconds=micros)


def duration_to_micros(value: timedelta) -> int:
    micros = (value.days * _DAY_SECONDS + value.seconds) * 1_000_000 + value.microseconds
    if not LONG_MIN <= micros <= LONG_MAX:
        raise EncodeError("the timedelta does not fit into 64 bits of microseconds: hold it as an int of seconds")
    return micros


def duration_from_micros(micros: int) -> timedelta:
    return timedelta(microseconds=micros)


def decimal_to_text(value: Decimal) -> str:
    """Every digit and the exponent, as they are; the sign of a zero, infinities and NaN too."""
    if type(value) is not Decimal:
        wrong(value, "Decimal")
    return str(value)


def decimal_from_text(text: str) -> Decimal:
    try:
        return create_decimal(text)
    except InvalidOperation as error:
        raise DecodeError("the text is no Decimal: find out who wrote it") from error


def uuid_to_str(value: UUID) -> str:
    if not isinstance(value, UUID):
        wrong(value, "UUID")
    return str(value)


uuid_from_str = UUID


@functools.cache
def decimal_to_bytes(precision: int, scale: int) -> Callable[[Decimal], bytes]:
    """The big-endian two's complement of the unscaled value, as few bytes as hold it.

    The number is kept exactly; how it was written (5 or 5.00) and the sign of a zero are not.
    """
    # A context of its own: the caller's may round, or be changed at any time.
    quantize = Context(prec=precision, traps=[InvalidOperation, Inexact]).quantize
    scaleb = Context(prec=precision + scale, traps=[InvalidOperation, Inexact]).scaleb
    exponent = Decimal((0, (1,), -scale))

    def convert(value: Decimal) -> bytes:
        try:
            unscaled = int(scaleb(quantize(value, exponent), scale))
        except (InvalidOperation, Inexact, ValueError) as error:  # ValueError: not a number
            raise EncodeError(
                f"the Decimal is not finite, or has more than {precision} digits or more than {scale} behind the point: "
                "round it first, or raise max_digits and decimal_places"
            ) from error
        bits = unscaled.bit_length() if unscaled >= 0 else (~unscaled).bit_length()
        return unscaled.to_bytes((bits >> 3) + 1, "big", signed=True)

    return convert


@functools.cache
def decimal_from_bytes(precision: int, scale: int) -> Callable[[bytes], Decimal]:
    """The reverse, for the precision and scale of the writer. Raises `DecodeError` for more digits than those."""
    scaleb = Context(prec=precision, traps=[InvalidOperation, Inexact, Rounded]).scaleb
    exponent = -scale
    longest = primitives.longest_decimal_bytes(precision)
    from_bytes = int.from_bytes

    def convert(data: bytes) -> Decimal:
        if len(data) > longest:
            raise DecodeError(f"a Decimal of {len(data)} bytes is longer than {precision} digits take")
        try:
            return scaleb(from_bytes(data, "big", signed=True), exponent)
        except (Rounded, Inexact, InvalidOperation) as error:
            raise DecodeError(f"a Decimal has more than the {precision} digits that its schema states") from error

    return convert
