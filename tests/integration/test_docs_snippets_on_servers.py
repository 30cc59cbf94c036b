"""The pages whose snippets need servers, each run in a process, a folder and a namespace of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.snippets import Page, pages, run_page

PAGES = [page for page in pages() if page.runs and page.needs_servers]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_snippets_of_a_page_do_what_it_says(
    page: Page, tmp_path: Path, eventsource_stack: Any, eventsource_namespace: str
) -> None:
    run_page(
        page,
        tmp_path,
        **eventsource_stack.environment,
        EVENTSOURCE_NAMESPACE=eventsource_namespace,
        EVENTSOURCE_WORKER__HEALTH_PORT="0",
    )
