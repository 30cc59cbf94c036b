"""Projections: classes that fold events into the rows of a read model."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import FunctionType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NoReturn, TypeVar, get_args, get_origin

from typing_extensions import get_original_bases

from eventsource.domain.annotations import resolve, scope_of
from eventsource.errors import DefinitionError
from eventsource.names import check_name
from projections.definition import ProjectionDefinition, define
from projections.handlers import Handler, marked, read_handler
from projections.memory import MemoryProjection
from projections.plan import Plan
from projections.read_model import ReadModel

if TYPE_CHECKING:
    from eventsource.app import App
    from eventsource.consuming.definition import ConsumerContext
    from eventsource.settings import Settings
    from projections.reader import ProjectionReader
    from projections.runner import ProjectionRunner

M = TypeVar("M", bound=ReadModel)


class Projection(Generic[M]):
    """Base of all projections: `class Balances(Projection[Balance], name="balances")`.

    Methods marked with `@projects` fold events into rows of the read model; each is dispatched on its annotation. They are
    pure: no clock, no I/O, no state in `self`, since the rows are thrown away and folded again at any time. Events of
    several aggregates whose ids are equal meet in one row, in no particular order among the aggregates; such rows are locked
    as shared ones are.

    `revision` (from 1) is raised when the handlers change so that the rows must be folded anew; until that is done with
    `eventsource projections rebuild`, the worker refuses to mix the two. `abstract=True` instead of a name makes a base that
    others inherit handlers from. Mistakes are found while the class is defined: `DefinitionError`.
    """

    __definition__: ClassVar[ProjectionDefinition[Any]]
    consumer_name: ClassVar[str]
    consumer_kind: ClassVar[str] = "projection"
    __read_model__: ClassVar[type[ReadModel]]
    """The class of its rows, by which a caller that names it in place of the projection is helped."""

    def __init_subclass__(
        cls, *, name: str | None = None, revision: int = 1, abstract: bool = False, **arguments: Any
    ) -> None:
        super().__init_subclass__(**arguments)
        where = f"projection {cls.__qualname__}"
        if abstract:
            if name is not None:
                raise DefinitionError(f"{where} is abstract and builds nothing: leave out its name")
            return
        if name is None:
            raise DefinitionError(
                f'{where} has no name: write class {cls.__name__}(…, name="…"), under which its position is kept'
            )
        check_name(name, f"the name of {where},")
        if not isinstance(revision, int) or isinstance(revision, bool) or revision < 1:
            raise DefinitionError(f"{where} has revision={revision!r}: give a whole number from 1 upwards")
        scope = scope_of(cls, sys._getframe(1))
        model = _model_of(cls, scope, where)
        cls.consumer_name = name
        cls.__read_model__ = model
        cls.__definition__ = define(cls, name, revision, model, _handlers(cls, model, scope.locals))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(
            f"{type(self).__name__} cannot keep {name!r} in self: a projection has no state but its rows, and a restart "
            "finds nothing else"
        )

    @classmethod
    def check(cls, app: App) -> None:
        """Raises `DefinitionError` if it folds what no aggregate of the app records, or shares its table with another."""
        Plan(cls.__definition__, app)

    @classmethod
    def runner(cls, context: ConsumerContext) -> ProjectionRunner:
        """The projection on real servers."""
        from projections.runner import ProjectionRunner

        return ProjectionRunner(Plan(cls.__definition__, context.app, context.settings.namespace), context)

    @classmethod
    def in_memory(cls, app: App) -> MemoryProjection[M]:
        """The projection in one process, in memory."""
        return MemoryProjection(Plan(cls.__definition__, app))

    @classmethod
    def reader(cls, app: App, settings: Settings) -> ProjectionReader:
        """What waits for the read model and reads it. The caller closes it."""
        from projections.reader import ProjectionReader

        return ProjectionReader(Plan(cls.__definition__, app, settings.namespace), settings)

    @classmethod
    def rebuild_if_changed(cls, app: App, settings: Settings) -> str | None:
        """Rebuilds the read model if revision or table are not those of the class. Returns what was done, None if nothing was."""
        from projections.rebuild import rebuild_if_changed

        report = rebuild_if_changed(app, cls.consumer_name, settings)
        return (
            None if report is None else f"rebuilt {report.projection}: {report.rows} rows from {report.events} events"
        )


def _model_of(cls: type, scope: Any, where: str) -> type[ReadModel]:
    for owner in cls.__mro__:
        for base in get_original_bases(owner) if owner not in (object, Projection) else ():
            if get_origin(base) is Projection:
                (model,) = get_args(base)
                if isinstance(model, TypeVar):
                    continue
                model = resolve(model, scope, where)
                if not (isinstance(model, type) and issubclass(model, ReadModel) and "__table__" in vars(model)):
                    raise DefinitionError(
                        f"{where} builds {model!r}, which is no read model: name a subclass of ReadModel that has a table"
                    )
                return model
    raise DefinitionError(f"{where} does not say what it builds: write class {cls.__name__}(Projection[Model], …)")


_OWN = frozenset(
    name for name in ("check", "runner", "in_memory", "reader", "rebuild_if_changed", "consumer_name", "consumer_kind")
)


def _handlers(cls: type, model: type[ReadModel], locals_: Mapping[str, Any]) -> list[Handler]:
    found: dict[str, object] = {}
    for owner in reversed(cls.__mro__):
        if owner in (object, Projection, Generic):
            continue
        for name, attribute in vars(owner).items():
            if name in _OWN and not _inherited_constant(name):
                raise DefinitionError(
                    f"{owner.__qualname__}.{name} hides what every projection has under that name: rename it"
                )
            if isinstance(attribute, FunctionType | classmethod | staticmethod) or name in found:
                found[name] = attribute
    return [
        read_handler(cls, name, attribute, model, locals_) for name, attribute in found.items() if marked(attribute)
    ]


def _inherited_constant(name: str) -> bool:
    return name in ("consumer_name", "consumer_kind")
