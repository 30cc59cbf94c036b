"""Functions from Avro's bytes straight to instances, written out for one writer's schema and one class.

They take what is plainly right. At anything else (a number that is no writer's, a position that is not the end, whatever
raises) the reference codec does it all again, and gives the result or the error.

No position is checked before the end: a length cannot be negative, so a position never goes back, and one that has left
the bytes cannot be the end. A loop ends with the bytes, since every item reads one at least.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from eventsource.schemas import conversions, primitives
from eventsource.schemas.fingerprint import PRIMITIVES
from eventsource.schemas.limits import Limits
from eventsource.schemas.loading import construction, default_of, instance
from eventsource.schemas.plans import (
    ArrayPlan,
    DecimalPlan,
    EntriesPlan,
    EnumPlan,
    MapPlan,
    Plan,
    RecordPlan,
    RefusalPlan,
    ScalarPlan,
    TuplePlan,
    UnionPlan,
)
from eventsource.schemas.reference import Read
from eventsource.schemas.schema_check import named_schemas
from eventsource.schemas.source import Lines, Source, Unsupported

# Faster ones for the texts that writers write.
FASTER: Final[dict[Callable[[Any], Any], Callable[[Any], Any]]] = {
    conversions.uuid_from_str: primitives.uuid_from_text,
    conversions.datetime_from_iso: conversions.parse_datetime,
    conversions.time_from_iso: conversions.parse_time,
    conversions.decimal_from_text: conversions.create_decimal,
}
_MOST_BRANCHES: Final = 64  # of a union whose branches take one byte


def generated_reader(plan: RecordPlan, skip: int, limits: Limits, reference: Read) -> Read | None:
    """The function that follows `plan`, or None if there is something in it that only the reference codec does."""
    try:
        return _Compiler(plan, skip, limits, reference).compile()
    except Unsupported:
        return None


class _Compiler:
    def __init__(self, plan: RecordPlan, skip: int, limits: Limits, reference: Read) -> None:
        self._plan = plan
        self._skip = skip
        self._limits = limits
        self._source = Source(f"read {plan.written['name']}")
        self._named = named_schemas(plan.written)
        self._records: dict[RecordPlan, str | None] = {plan: None}
        self._skippers: dict[str, str | None] = {}
        self._variables = 0
        self._reference = self._source.bind(reference, "reference")
        for name in ("LONGS", "COUNTS", "long", "count", "Unfit"):
            self._source.bind(getattr(primitives, name), name)

    def compile(self) -> Read:
        name = self._source.reserve("read")
        lines = Lines()
        with lines.block(f"def {name}(value):"):
            with lines.block("try:"):
                with lines.block(f"if len(value) > {self._limits.body_bytes}:"):
                    lines.add("raise Unfit")
                lines.add(f"p = {self._skip}")
                self._record(self._plan, lines)
                with lines.block("if p == len(value):"):
                    lines.add("return message")
            with lines.block("except Exception:"):
                lines.add("pass")
            lines.add(f"return {self._reference}(value)")
        self._source.add(lines.written)
        read: Read = self._source.compile()[name]
        return read

    # --- records --------------------------------------------------------------------------------------------------

    def _function(self, plan: RecordPlan) -> str:
        """The name of the function from bytes and a position to a nested instance and the position behind it."""
        if plan in self._records:
            name = self._records[plan]
            if name is None:
                raise Unsupported("a model that refers to itself: how deep it nests must be measured")
            return name
        self._records[plan] = None
        lines = Lines()
        name = self._source.reserve(f"read_{plan.shape.name}")
        with lines.block(f"def {name}(value, p):"):
            self._record(plan, lines)
            lines.add("return message, p")
        self._source.add(lines.written)
        self._records[plan] = name
        return name

    def _record(self, plan: RecordPlan, lines: Lines) -> None:
        """Lines that bind `message`: fields are read in the writer's order, and taken in today's."""
        by_source = {field.source: field for field in plan.fields if field.source is not None}
        if len(by_source) != sum(field.source is not None for field in plan.fields):
            raise Unsupported("two fields of today that are read from the same one")
        values: dict[str, str] = {}
        for written in plan.written["fields"]:
            field = by_source.get(written["name"])
            if field is None or field.plan is None:
                self._pass_over(written["type"], lines)
            else:
                values[field.field.name] = self._value(field.plan, lines)
        items: list[str] = []
        for field in plan.fields:
            name = field.field.name
            if field.plan is None:
                values[name] = self._variable()
                known = f"{{{', '.join(items)}}}"
                lines.add(f"{values[name]} = {default_of(self._source, field.field, known)}")
            items.append(f"{name!r}: {values[name]}")
        self._construct(plan, values, lines)

    def _construct(self, plan: RecordPlan, values: dict[str, str], lines: Lines) -> None:
        names = [field.field.name for field in plan.fields]
        if not plan.shape.is_dataclass:
            items = ", ".join(f"{name!r}: {values[name]}" for name in names)
            for line in construction(self._source, plan, f"{{{items}}}"):
                lines.add(line)
            return
        lines.add(f"message = {instance(self._source, plan.shape)}")
        is_plain = vars(object)["__setattr__"] is inspect.getattr_static(plan.shape.model, "__setattr__")
        for name in names:
            if is_plain:
                lines.add(f"message.{name} = {values[name]}")
            else:
                set_attribute = self._source.bind(object.__setattr__, "set_attribute")
                lines.add(f"{set_attribute}(message, {name!r}, {values[name]})")

    # --- values: each adds lines, and gives code for the value ------------------------------------------------------

    def _value(self, plan: Plan, lines: Lines) -> str:
        match plan:
            case ScalarPlan(written=written, convert=convert):
                v = self._scalar(written, lines)
                if convert is None:
                    return v
                faster = FASTER.get(convert, convert)
                lines.add(f"{v} = {self._source.bind(faster, 'convert')}({v})")
                return v
            case DecimalPlan(precision=precision, scale=scale):
                return self._decimal(precision, scale, lines)
            case EnumPlan(symbols=symbols, members=members):
                return self._enum([members.get(symbol) for symbol in symbols], lines)
            case RecordPlan():
                v = self._variable()
                lines.add(f"{v}, p = {self._function(plan)}(value, p)")
                return v
            case TuplePlan(items=items):
                parts = [self._value(item, lines) for item in items]
                return f"({''.join(f'{part}, ' for part in parts)})"
            case UnionPlan(branches=branches):
                return self._union([branch_plan for _, branch_plan in branches], lines)
            case RefusalPlan():
                lines.add("raise Unfit")
                return "None"
            case _:
                return self._container(plan, lines)

    def _scalar(self, written: str, lines: Lines) -> str:
        if written == "null":
            v = self._variable()
            lines.add(f"{v} = None")
            return v
        if written in ("float", "double"):
            v = self._variable()
            unpack = primitives.unpack_double if written == "double" else primitives.unpack_float
            lines.add(f"({v},) = {self._source.bind(unpack, f'unpack_{written}')}(value, p)")
            lines.add(f"p += {8 if written == 'double' else 4}")
            return v
        if written in ("string", "bytes"):
            start = self._sized(lines)
            v = self._variable()
            lines.add(f"{v} = value[{start}:p]{'.decode()' if written == 'string' else ''}")
            return v
        if written != "boolean":
            return self._number("LONGS", "long", lines)
        v = self._byte(lines)
        with lines.block(f"if {v} > 1:"):
            lines.add("raise Unfit")
        lines.add(f"{v} = {v} == 1")
        return v

    def _byte(self, lines: Lines) -> str:
        v = self._variable()
        lines.add(f"{v} = value[p]")
        lines.add("p += 1")
        return v

    def _number(self, table: str, function: str, lines: Lines, v: str | None = None) -> str:
        """A number of one byte by its table, any other by the function of that name."""
        v = v or self._variable()
        lines.add(f"{v} = {table}[value[p]]")
        lines.add("p += 1")
        with lines.block(f"if {v} is None:"):
            lines.add(f"{v}, p = {function}(value, p - 1)")
        return v

    def _count(self, lines: Lines, v: str | None = None) -> str:
        return self._number("COUNTS", "count", lines, v)

    def _sized(self, lines: Lines) -> str:
        """Moves on behind as many bytes as are stated; gives the variable of where they begin."""
        size, start = self._count(lines), self._variable()
        lines.add(f"{start} = p")
        lines.add(f"p += {size}")
        return start

    def _decimal(self, precision: int, scale: int, lines: Lines) -> str:
        start, v = self._sized(lines), self._variable()
        longest = primitives.longest_decimal_bytes(precision)
        with lines.block(f"if not 0 < p - {start} <= {longest}:"):
            lines.add("raise Unfit")
        lines.add(f"{v} = {self._source.bind(primitives.from_bytes, 'from_bytes')}(value[{start}:p])")
        with lines.block(f"if value[{start}] > 127:"):
            lines.add(f"{v} -= 1 << (p - {start} << 3)")
        multiply = self._source.bind(primitives.multiply(precision), "multiply")
        lines.add(f"{v} = {multiply}({v}, {self._source.bind(primitives.unit(scale), 'UNIT')})")
        return v

    def _enum(self, members: list[Any], lines: Lines) -> str:
        index, v = self._count(lines), self._variable()
        lines.add(f"{v} = {self._source.bind(tuple(members), 'MEMBERS')}[{index}]")
        if None in members:
            with lines.block(f"if {v} is None:"):
                lines.add("raise Unfit")
        return v

    def _union(self, branches: list[Plan], lines: Lines) -> str:
        if len(branches) > _MOST_BRANCHES:
            raise Unsupported("a union whose branches take two bytes")
        branch, v = self._byte(lines), self._variable()
        for index, plan in enumerate(branches):
            with lines.block(f"{'elif' if index else 'if'} {branch} == {index * 2}:"):
                lines.add(f"{v} = {self._value(plan, lines)}")
        with lines.block("else:"):
            lines.add("raise Unfit")
        return v

    def _container(self, plan: ArrayPlan | MapPlan | EntriesPlan, lines: Lines) -> str:
        v = self._variable()
        lines.add(f"{v} = {'[]' if isinstance(plan, ArrayPlan) else '{}'}")
        with self._blocks(lines):
            match plan:
                case ArrayPlan(item=item):
                    lines.add(f"{v}.append({self._value(item, lines)})")
                case MapPlan(value=value):
                    key = self._scalar("string", lines)
                    lines.add(f"{v}[{key}] = {self._value(value, lines)}")
                case EntriesPlan(key=key_plan, value=value_plan, key_first=True):
                    key = self._value(key_plan, lines)
                    lines.add(f"{v}[{key}] = {self._value(value_plan, lines)}")
                case EntriesPlan(key=key_plan, value=value_plan):
                    entry = self._value(value_plan, lines)
                    lines.add(f"{v}[{self._value(key_plan, lines)}] = {entry}")
        if isinstance(plan, ArrayPlan) and plan.container is not list:
            lines.add(f"{v} = {plan.container.__name__}({v})")
        return v

    @contextmanager
    def _blocks(self, lines: Lines) -> Iterator[None]:
        """A loop over the items of an array or a map; what is added inside of the `with` statement reads one."""
        left = self._count(lines)
        with lines.block(f"while {left}:"):
            with lines.block(f"for _ in range({left}):"):
                yield
            self._count(lines, left)

    # --- what was written and is no more ----------------------------------------------------------------------------

    def _pass_over(self, written: Any, lines: Lines) -> None:
        """Reads what nobody wants, with all the checks: bytes are right or wrong whoever reads them."""
        schema = self._named[written] if isinstance(written, str) and written not in PRIMITIVES else written
        if isinstance(schema, list):
            self._pass_over_branch(schema, lines)
            return
        kind = schema if isinstance(schema, str) else schema["type"]
        match kind:
            case "record":
                lines.add(f"p = {self._skipper(schema)}(value, p)")
            case "enum":
                index = self._count(lines)
                with lines.block(f"if {index} >= {len(schema['symbols'])}:"):
                    lines.add("raise Unfit")
            case "array":
                with self._blocks(lines):
                    self._pass_over(schema["items"], lines)
            case "map":
                with self._blocks(lines):
                    self._scalar("string", lines)
                    self._pass_over(schema["values"], lines)
            case "fixed":
                raise Unsupported("a fixed: it would be passed over without being looked at")
            case _:
                self._scalar(kind, lines)

    def _skipper(self, record: dict[str, Any]) -> str:
        """The name of the function from bytes and a position to the position behind a record that nobody wants."""
        full_name = record["name"]
        if full_name not in self._skippers:
            self._skippers[full_name] = None
            lines = Lines()
            name = self._source.reserve(f"skip_{full_name}")
            with lines.block(f"def {name}(value, p):"):
                for field in record["fields"]:
                    self._pass_over(field["type"], lines)
                lines.add("return p")
            self._source.add(lines.written)
            self._skippers[full_name] = name
        found = self._skippers[full_name]
        if found is None:
            raise Unsupported("a record that refers to itself: how deep it nests must be measured")
        return found

    def _pass_over_branch(self, union: list[Any], lines: Lines) -> None:
        branch = self._byte(lines)
        for index, inner in enumerate(union[:_MOST_BRANCHES]):
            with lines.block(f"{'elif' if index else 'if'} {branch} == {index * 2}:"):
                self._pass_over(inner, lines)
                lines.add("pass")
        with lines.block("else:"):
            lines.add("raise Unfit")

    def _variable(self) -> str:
        self._variables += 1
        return f"v{self._variables}"
