"""Reading a bank's transactions from a `.csv` or `.csv.gz` file, one at a time.

Columns, in any order: transaction_id, account_id, date, kind, operation, purpose, amount, balance. The text is UTF-8, and quoted
as RFC 4180 says. Empty lines and further columns are passed over; every mistake is a `HistoryError`.
"""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, Final, Literal, NamedTuple, NoReturn, cast

from eventsource.errors import EventSourceError

COLUMNS: Final = ("transaction_id", "account_id", "date", "kind", "operation", "purpose", "amount", "balance")
_NUMBER: Final = re.compile(r"[0-9]{1,18}", re.ASCII)
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_DECIMAL: Final = re.compile(r"([+-]?)([0-9]+)(?:\.([0-9]+))?", re.ASCII)
_WHOLE_DIGITS: Final = 16
_DECIMALS: Final = 2
_TEXT_CHARACTERS: Final = 200
_SHOWN_CHARACTERS: Final = 40
_LONGEST_LINE_BYTES: Final = 1_000_000
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


class HistoryError(EventSourceError):
    """Raised when a file of transactions cannot be read. The text names file, line and column, as far as they are known, and the mend.

    `line` counts from 1, the header being line 1; `column` is the column's name.
    """

    def __init__(self, path: Path, problem: str, *, line: int | None = None, column: str | None = None) -> None:
        where = [str(path)]
        if line is not None:
            where.append(f"line {line}")
        if column is not None:
            where.append(f"column {column}")
        super().__init__(f"{', '.join(where)}: {problem}")
        self.path = path
        self.line = line
        self.column = column


class HistoryRow(NamedTuple):
    """One transaction as the bank wrote it down. Amounts are Czech crowns; `balance` is the one after the transaction."""

    line: int
    transaction_id: int
    account_id: str
    booked_on: date
    kind: Literal["credit", "debit"]
    operation: str
    purpose: str
    amount: Decimal
    balance: Decimal

    @property
    def change(self) -> Decimal:
        """What it adds to the balance: the amount, below zero for a debit."""
        return self.amount if self.kind == "credit" else -self.amount


def read_history(path: Path) -> Iterator[HistoryRow]:
    """The transactions of a file, in its order. Raises `HistoryError` at the first mistake, after the rows before it."""
    with _open(path) as raw:
        file = raw
        if path.suffix.lower() == ".gz":
            # A gzip file's checksum stands at its end, and what reaches the log stays there: it is read to the end first.
            file = cast("BinaryIO", gzip.GzipFile(fileobj=raw))
            _Lines(path, file).skip_all()
            file.seek(0)
        lines = _Lines(path, file)
        rows = _rows(path, lines)
        _, header = next(rows, (0, None))
        if header is None:
            raise HistoryError(
                path, f"the file is empty: its first line must name the columns {','.join(COLUMNS)}", line=1
            )
        parse = _RowParser(path, header)
        lines.names = parse.names
        found = False
        for line, fields in rows:
            found = True
            yield parse(line, fields)
        if not found:
            raise HistoryError(
                path, "there is no row below the header: give a file with at least one transaction", line=lines.count
            )


# --- from bytes to fields ----------------------------------------------------------------------------------------


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise HistoryError(path, "there is no such file: check the path") from None
    except IsADirectoryError:
        raise HistoryError(path, "this is a folder: give the path of a .csv or .csv.gz file in it") from None
    except PermissionError:
        raise HistoryError(path, "it may not be read: give yourself the permission, as in `chmod u+r`") from None
    except (OSError, ValueError) as error:
        raise HistoryError(path, f"it cannot be opened ({error}): check the path") from None


class _Lines:
    """The lines of a file as text, counted. `names` are those of the header's columns, once it is read."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path = path
        self._file = file
        self.count = 0
        self.newest = ""
        self.names: Sequence[str] = ()

    def __iter__(self) -> Iterator[str]:
        while True:
            line = self._read()
            if not line:
                return
            self.count += 1
            if self.count == 1:
                line = line.removeprefix(_BYTE_ORDER_MARK)
            try:
                self.newest = line.decode()
            except UnicodeDecodeError as error:
                raise HistoryError(
                    self._path,
                    f"the byte 0x{line[error.start]:02x} is not UTF-8: save the file as UTF-8",
                    line=self.count,
                    column=self.name_of(line.count(b",", 0, error.start)),
                ) from None
            yield self.newest

    def name_of(self, place: int) -> str:
        """What the column at `place`, from 0, is called; its number from 1 where the header does not say."""
        return self.names[place] if place < len(self.names) else str(place + 1)

    def skip_all(self) -> None:
        """Reads to the end, and checks nothing but that it can."""
        while self._read():
            self.count += 1

    def _read(self) -> bytes:
        try:
            line = self._file.readline(_LONGEST_LINE_BYTES)
        except EOFError:
            self._fail("the gzip file ends too early: copy or download it again")
        except gzip.BadGzipFile as error:
            if self.count == 0 and "Not a gzipped file" in str(error):
                self._fail("this is no gzip file although its name ends in .gz: compress it, or name it .csv")
            self._fail(f"the gzip file is damaged ({error}): copy or download it again")
        except zlib.error as error:
            self._fail(f"the gzip file is damaged ({error}): copy or download it again")
        except OSError as error:
            self._fail(f"it cannot be read any further ({error.strerror or error}): check the disk, then try again")
        if len(line) == _LONGEST_LINE_BYTES:
            self._fail(f"the line is longer than {_LONGEST_LINE_BYTES:,} bytes: check that this is a CSV file")
        return line

    def _fail(self, problem: str) -> NoReturn:
        raise HistoryError(self._path, problem, line=self.count + 1) from None


def _rows(path: Path, lines: _Lines) -> Iterator[tuple[int, list[str]]]:
    """The fields of each row, with the number of the row's first line."""
    reader = csv.reader(lines, strict=True)
    first = 1
    while True:
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if "new-line character" in str(error):
                problem = "a carriage return stands in the middle of it: end lines with LF or CR LF"
            else:
                problem = (
                    f"the quotes do not match ({error}): close each quote, and double one that belongs to the text"
                )
            place = _unmatched(lines.newest) if reader.line_num <= first else None
            raise HistoryError(
                path, problem, line=first, column=lines.name_of(place) if place is not None else None
            ) from None
        if fields:
            yield first, fields
        first = reader.line_num + 1


def _unmatched(line: str) -> int | None:
    """The number, from 0, of the field in which the quotes of a line go wrong."""
    number, quoted, place = 0, False, 0
    while place < len(line):
        character = line[place]
        if quoted:
            if character == '"' and line[place + 1 : place + 2] == '"':
                place += 1
            elif character == '"':
                quoted = False
                if line[place + 1 : place + 2] not in (",", "\r", "\n", ""):
                    return number
        elif character == ",":
            number += 1
        elif character == '"':
            quoted = True
        place += 1
    return number if quoted else None


# --- from fields to rows -----------------------------------------------------------------------------------------


class _RowParser:
    """Turns fields into a row, by the header of its file."""

    def __init__(self, path: Path, header: Sequence[str]) -> None:
        self._path = path
        names = [name.strip() for name in header]
        for column in COLUMNS:
            if column not in names:
                raise HistoryError(
                    path, f"the column is missing: the header must name {','.join(COLUMNS)}", line=1, column=column
                )
            if names.count(column) > 1:
                raise HistoryError(
                    path, "the header names the column twice: leave it there once", line=1, column=column
                )
        self.names = names
        self._places = [names.index(column) for column in COLUMNS]
        self._lines: dict[int, int] = {}

    def __call__(self, line: int, fields: Sequence[str]) -> HistoryRow:
        if len(fields) != len(self.names):
            self._fail_count(line, fields)
        transaction, account, day, kind, operation, purpose, amount, balance = [fields[place] for place in self._places]
        transaction_id = self._number(transaction, line, "transaction_id")
        first_line = self._lines.setdefault(transaction_id, line)
        if first_line != line:
            self._fail(
                line,
                "transaction_id",
                f"{transaction_id} stands on line {first_line} already: keep each transaction once",
            )
        if kind not in ("credit", "debit"):
            self._fail(line, "kind", f"{_shown(kind)} is no kind: write credit or debit")
        return HistoryRow(
            line,
            transaction_id,
            str(self._number(account, line, "account_id")),
            _date(day) or self._fail(line, "date", f"{_shown(day)} is no date: write it as in 1993-01-31"),
            kind,  # type: ignore[arg-type]  # checked above
            self._text(operation, line, "operation"),
            self._text(purpose, line, "purpose"),
            self._amount(amount, line),
            self._crowns(balance, line, "balance"),
        )

    def _number(self, text: str, line: int, column: str) -> int:
        if not _NUMBER.fullmatch(text):
            self._fail(line, column, f"{_shown(text)} is not a number: write digits alone, at most 18 of them")
        number = int(text)
        if number == 0:
            self._fail(line, column, "0 is no number of anything: count from 1")
        return number

    def _amount(self, text: str, line: int) -> Decimal:
        amount = self._crowns(text, line, "amount")
        if amount <= 0:
            what = "negative" if amount < 0 else "zero"
            self._fail(
                line, "amount", f"{_shown(text)} is {what}: an amount is positive, and the kind says which way it went"
            )
        return amount

    def _crowns(self, text: str, line: int, column: str) -> Decimal:
        parts = _DECIMAL.fullmatch(text)
        if parts is None:
            self._fail(line, column, f"{_shown(text)} is not an amount: write it as in 1234.50")
        _, whole, decimals = parts.groups()
        if decimals is not None and len(decimals) > _DECIMALS:
            self._fail(line, column, f"{_shown(text)} has more than two decimals: write it as in 1234.50")
        if len(whole) > _WHOLE_DIGITS:
            self._fail(
                line, column, f"{_shown(text)} is too large: at most {_WHOLE_DIGITS} digits may stand before the point"
            )
        return Decimal(text)

    def _text(self, text: str, line: int, column: str) -> str:
        if len(text) > _TEXT_CHARACTERS:
            self._fail(line, column, f"{_shown(text)} is longer than {_TEXT_CHARACTERS} characters: shorten it")
        if "\0" in text:
            self._fail(line, column, f"{_shown(text)} holds a NUL character: take it out")
        return text

    def _fail_count(self, line: int, fields: Sequence[str]) -> NoReturn:
        wanted = len(self.names)
        if len(fields) < wanted:
            problem = f"the line has {len(fields)} of {wanted} fields: complete it"
            self._fail(line, self.names[len(fields)], problem)
        self._fail(
            line,
            str(wanted + 1),
            f"{_shown(fields[wanted])} is one field too many, the header names {wanted}: put quotes around a field that holds a comma",
        )

    def _fail(self, line: int, column: str, problem: str) -> NoReturn:
        raise HistoryError(self._path, problem, line=line, column=column)


@lru_cache(maxsize=4096)
def _date(text: str) -> date | None:
    # fromisoformat also takes week dates and dates without hyphens.
    if not _DATE.fullmatch(text):
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…")
