"""Straight-line functions from the plain data that fastavro reads to messages, for one writer's schema.

Nothing of today's class is validated, and none of its code is run but default factories.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, Final

import pydantic
from pydantic.fields import FieldInfo

from eventsource.domain.shapes import FieldShape, Kind, ModelShape
from eventsource.errors import DecodeError
from eventsource.schemas import conversions
from eventsource.schemas.fingerprint import NAMED, PRIMITIVES
from eventsource.schemas.location import FAILURES, locate
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
from eventsource.schemas.source import Source

Load = Callable[[Any], Any]

# What fastavro returns for a branch of a union that has no name of its own.
_READ_AS: Final[dict[str, type]] = {
    "null": type(None),
    "boolean": bool,
    "int": int,
    "long": int,
    "float": float,
    "double": float,
    "string": str,
    "bytes": bytes,
    "array": list,
    "map": dict,
}

_UNCHANGEABLE: Final = frozenset(kind.python_type for kind in Kind)

# Slot setters: an instance is built without its class's __init__, validators or frozen check.
_slots = vars(pydantic.BaseModel)
_SETTERS: Final[dict[str, Callable[[Any, Any], None]]] = {
    "set_dict": _slots["__dict__"].__set__,
    "set_fields_set": _slots["__pydantic_fields_set__"].__set__,
    "set_extra": _slots["__pydantic_extra__"].__set__,
    "set_private": _slots["__pydantic_private__"].__set__,
}


class Loading:
    """The compiled function that follows a plan."""

    def __init__(self, plan: RecordPlan) -> None:
        compiler = _Compiler(plan)
        root = compiler.model(plan)
        self.source = compiler.source
        self.load: Load = compiler.source.compile()[root]


class _Compiler:
    def __init__(self, plan: RecordPlan) -> None:
        self.source = Source(f"load {plan.written['name']}")
        self._models: dict[RecordPlan, str] = {}
        self._functions: dict[int, str] = {}
        self._variables = 0
        self.source.bind(FAILURES, "FAILURES")
        self.source.bind(locate, "locate")

    # --- models ---------------------------------------------------------------------------------------------------

    def model(self, plan: RecordPlan) -> str:
        """The name of the function that makes instances from dicts of the record that was written."""
        if plan not in self._models:
            name = self._models[plan] = self.source.reserve(f"load_{plan.shape.name}")
            if plan.refusal is not None:
                self.source.rebind(name, _Refusal(plan.refusal))
            else:
                self._write_model(name, plan)
        return self._models[plan]

    def _write_model(self, name: str, plan: RecordPlan) -> None:
        items: list[tuple[str, str]] = []
        for field in plan.fields:
            if field.plan is None:
                items.append((field.field.name, default_of(self.source, field.field, "fields.copy()")))
            else:
                items.append((field.field.name, self.expression(field.plan, f"record[{field.source!r}]")))
        line_of: dict[int, str] = {}
        lines = self.source.bind(line_of, f"LINES_OF_{plan.shape.name}")
        head = [f"def {name}(record):", "    fields = {}", "    try:"]
        values = [f"        fields[{field!r}] = {code}" for field, code in items]
        first = self.source.add(
            [
                *head,
                *(values or ["        pass"]),
                "    except FAILURES as error:",
                f"        raise locate({lines}, error) from error",
                *(f"    {line}" for line in construction(self.source, plan, "fields")),
                "    return message",
            ]
        )
        line_of.update({first + len(head) + index: field for index, (field, _) in enumerate(items)})

    # --- expressions ----------------------------------------------------------------------------------------------

    def expression(self, plan: Plan, v: str) -> str:
        """Code that loads `v`, which is itself code that is cheap to repeat."""
        match plan:
            case ScalarPlan(convert=None):
                return v
            case ScalarPlan(convert=convert):
                return f"{self.source.bind(convert, 'convert')}({v})"
            case DecimalPlan(precision=precision, scale=scale):
                convert = conversions.decimal_from_bytes(precision, scale)
                return f"{self.source.bind(convert, 'decimal')}({v})"
            case EnumPlan(members=members):
                return f"{self.source.bind(members, 'MEMBERS')}[{v}]"
            case RecordPlan():
                return f"{self.model(plan)}({v})"
            case TuplePlan():
                return f"{self._tuple(plan)}({v})"
            case UnionPlan():
                return self._union(plan, v)
            case RefusalPlan(text=text):
                return f"{self.source.bind(_Refusal(text), 'refuse')}({v})"
            case _:
                return self._container(plan, v)

    def _container(self, plan: ArrayPlan | MapPlan | EntriesPlan, v: str) -> str:
        item, key = self._variable("item"), self._variable("key")
        match plan:
            case ArrayPlan(item=inner, container=container):
                code = self.expression(inner, item)
                items = f"[{code} for {item} in {v}]" if code != item else v
                return items if container is list else f"{container.__name__}({items})"
            case MapPlan(value=value):
                return f"{{{key}: {self.expression(value, item)} for {key}, {item} in {v}.items()}}"
            case EntriesPlan(key=key_plan, value=value):
                entry = ": ".join(
                    self.expression(part, f"{item}['{name}']") for name, part in (("key", key_plan), ("value", value))
                )
                return f"{{{entry} for {item} in {v}}}"

    def _tuple(self, plan: TuplePlan) -> str:
        """The name of a function: many references may lead to one plan, which must not multiply in the code."""
        name = self._functions.get(id(plan))
        if name is None:
            name = self._functions[id(plan)] = self.source.reserve("load_tuple")
            parts = [self.expression(item, f"v['_{index}']") for index, item in enumerate(plan.items)]
            self.source.add([f"def {name}(v):", f"    return ({''.join(f'{part}, ' for part in parts)})"])
        return name

    def _union(self, plan: UnionPlan, v: str) -> str:
        """fastavro returns `(name, value)` for a branch with a name, and the bare value for any other."""
        branches = plan.branches
        plan_of_null = next((plan for branch, plan in branches if branch == "null"), None)
        others = [(branch, plan) for branch, plan in branches if branch != "null"]
        if plan_of_null is not None and len(others) == 1 and len(branches) == 2:
            branch, other = others[0]
            value = v if _name_of(branch) is None else f"{v}[1]"
            return f"({self.expression(plan_of_null, v)} if {v} is None else {self.expression(other, value)})"
        if id(plan) in self._functions:
            return f"{self._functions[id(plan)]}({v})"
        name = self._functions[id(plan)] = self.source.reserve("load_union")
        by_name, by_type = {}, {}
        lines = []
        for index, (branch, branch_plan) in enumerate(branches):
            load = self.source.reserve(f"{name}_branch_{index}")
            lines += [f"def {load}(v):", f"    return {self.expression(branch_plan, 'v')}", ""]
            full_name = _name_of(branch)
            if full_name is None:
                kind = branch if isinstance(branch, str) else branch["type"]
                by_type[self.source.bind(_READ_AS[kind], f"{_READ_AS[kind].__name__}_class")] = load
            else:
                by_name[full_name] = load
        self.source.add(
            [
                *lines,
                f"{name}_BY_NAME = {{{', '.join(f'{key!r}: {load}' for key, load in by_name.items())}}}",
                f"{name}_BY_TYPE = {{{', '.join(f'{key}: {load}' for key, load in by_type.items())}}}",
                "",
                f"def {name}(v):",
                "    if type(v) is tuple:",
                f"        return {name}_BY_NAME[v[0]](v[1])",
                f"    return {name}_BY_TYPE[type(v)](v)",
            ]
        )
        return f"{name}({v})"

    def _variable(self, hint: str) -> str:
        self._variables += 1
        return f"{hint}{self._variables}"


# --- what every reader does alike ------------------------------------------------------------------------------------


def default_of(source: Source, field: FieldShape, fields: str) -> str:
    """Code for a field that was not written; `fields` is code for a dict of those before it."""
    info = field.info
    if has_plain_default(info):
        return source.bind(info.default, f"DEFAULT_{field.name}")
    if info.default_factory is None:
        # `get_default` copies what could be changed.
        return f"{source.bind(info.get_default, f'default_{field.name}')}()"
    argument = fields if info.default_factory_takes_validated_data else ""
    return f"{source.bind(info.default_factory, f'default_{field.name}')}({argument})"


def has_plain_default(info: FieldInfo) -> bool:
    """Whether all instances may share the field's default: nothing makes it anew, and it cannot be changed."""
    return info.default_factory is None and (type(info.default) in _UNCHANGEABLE or isinstance(info.default, Enum))


def instance(source: Source, shape: ModelShape) -> str:
    """Code for a new instance without any field."""
    return f"{source.bind(object.__new__, 'new')}({source.bind(shape.model, f'{shape.name}_class')})"


def construction(source: Source, plan: RecordPlan, fields: str) -> list[str]:
    """Lines that bind `message` to an instance; `fields` is code for a dict of all of its fields, in order."""
    shape = plan.shape
    lines = [f"message = {instance(source, shape)}"]
    if shape.is_dataclass:
        set_attribute = source.bind(object.__setattr__, "set_attribute")
        return [*lines, f"for name, value in {fields}.items():", f"    {set_attribute}(message, name, value)"]
    for name, setter in _SETTERS.items():
        source.bind(setter, name)
    present = {field.field.name for field in plan.fields if field.source is not None}
    fields_set = source.bind(present, f"FIELDS_SET_OF_{shape.name}")
    return [
        *lines,
        f"set_dict(message, {fields})",
        f"set_fields_set(message, {fields_set}.copy())",
        "set_extra(message, None)",
        "set_private(message, None)",
    ]


class _Refusal:
    def __init__(self, text: str) -> None:
        self._text = text

    def __call__(self, _: object) -> object:
        raise DecodeError(self._text)


def _name_of(branch: Any) -> str | None:
    if isinstance(branch, str):
        return None if branch in PRIMITIVES else branch
    return branch["name"] if branch["type"] in NAMED else None
