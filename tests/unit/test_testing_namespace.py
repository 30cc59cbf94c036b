"""Which topics, groups and schemas belong to a test's namespace."""

from __future__ import annotations

import pytest

from eventsource.errors import DefinitionError
from eventsource.names import Names
from eventsource.testing.namespace import belongs, new_namespace, owns_schema, remove_namespace


def test_a_new_namespace_is_a_valid_one() -> None:
    assert new_namespace("1a2b3c4d5e6f") == "t-1a2b3c4d"


def test_every_name_of_an_app_belongs_to_its_namespace() -> None:
    names = Names("bank", "t-1a2b3c4d")
    for name in (
        names.commands("account"),
        names.replies,
        names.schemas,
        names.meta,
        names.consumer("projection", "x"),
    ):
        assert belongs(name, "t-1a2b3c4d")
    assert owns_schema(names.database_schema, "t-1a2b3c4d")


@pytest.mark.parametrize("name", ["t-1a2b3c4dx.bank.meta", "t-1a2b3c4d-x.bank.meta", "bank.meta", "__consumer_offsets"])
def test_names_of_others_do_not_belong(name: str) -> None:
    assert not belongs(name, "t-1a2b3c4d")


@pytest.mark.parametrize("schema", ["t_1a2b3c4dx__bank", "t_1a2b3c4d_x__bank", "public", "pg_catalog"])
def test_schemas_of_others_do_not_belong(schema: str) -> None:
    assert not owns_schema(schema, "t-1a2b3c4d")


@pytest.mark.parametrize("namespace", ["", "T", "t_1"])
def test_nothing_is_removed_for_what_is_no_namespace(namespace: str) -> None:
    with pytest.raises(DefinitionError, match="not a valid name"):
        remove_namespace(namespace, bootstrap_servers="", postgres_url="")
