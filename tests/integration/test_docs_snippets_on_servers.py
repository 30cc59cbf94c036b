"""The pages whose snippets need servers, each run in a process, a folder and a namespace of its own."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from eventsource.testing.namespace import new_namespace, remove_namespace
from tests.snippets import Page, pages, run_page

PAGES = [page for page in pages() if page.runs and page.needs_servers]
# Most of a page is waiting: for programs to start, groups to form, answers to come.
AT_A_TIME = 3


@pytest.fixture(scope="module")
def runs(
    request: pytest.FixtureRequest, eventsource_stack: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, Future[None]]]:
    """Those pages that are to be tested, under way, several at a time."""

    def run(page: Page) -> None:
        namespace = new_namespace(uuid.uuid4().hex)
        settings = {"EVENTSOURCE_NAMESPACE": namespace, "EVENTSOURCE_WORKER__HEALTH_PORT": "0"}
        try:
            run_page(page, tmp_path_factory.mktemp("page"), **eventsource_stack.environment, **settings)
        finally:
            servers = {
                "bootstrap_servers": eventsource_stack.bootstrap_servers,
                "postgres_url": eventsource_stack.postgres_url,
            }
            remove_namespace(namespace, **servers)

    wanted = [item.callspec.params["page"] for item in request.session.items if item.path == request.path]
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        yield {page.name: pool.submit(run, page) for page in wanted}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_snippets_of_a_page_do_what_it_says(page: Page, runs: Mapping[str, Future[None]]) -> None:
    runs[page.name].result()
