"""A forked child never destroys what it inherits: gunicorn's preload, `multiprocessing`, or a plain fork."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from eventsource.log.topics import apply
from eventsource.settings import KafkaSettings, Settings
from tests.integration.client.accounts import APP

CHILDREN = 50


def test_forked_children_that_collect_garbage_do_not_die(
    eventsource_stack: Any, eventsource_namespace: str, tmp_path: Path
) -> None:
    servers = eventsource_stack.bootstrap_servers
    settings = Settings(_env_file=None, namespace=eventsource_namespace, kafka=KafkaSettings(bootstrap_servers=servers))
    apply(APP, settings)
    program = [sys.executable, "-m", "tests.integration.forking_program", servers, eventsource_namespace, str(tmp_path)]
    done = subprocess.run([*program, str(CHILDREN)], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {"0": CHILDREN}, done.stderr
