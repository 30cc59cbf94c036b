"""Makes `kafka_jars.json` anew, after `KAFKA_VERSION` changed: `python -m eventsource.embedded.pin`.

For maintainers. It resolves the broker's class path with jgo's pure-Python resolver and writes down each jar's digest.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path

from eventsource.embedded.jars import KAFKA_VERSION, default_repository_url

# slf4j 1.7 is what the broker's own API jar is built for; the 2.x bindings do not fit it.
_ROOTS = (f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}", "org.slf4j:slf4j-simple:1.7.36")
_SCOPES = ("compile", "runtime", None)


def resolve(folder: Path, *, repository_url: str | None = None) -> list[dict[str, object]]:
    """Downloads the class path into `folder` (a Maven repository's layout) and returns the entries of the list."""
    from jgo.maven import MavenContext, PythonResolver

    context = MavenContext(
        resolver=PythonResolver(),
        repo_cache=folder,
        remote_repos={"repository": repository_url or default_repository_url()},
        timeout=60,
    )
    inputs, transitive = context.resolver.resolve([context.create_dependency(root) for root in _ROOTS])
    entries: list[dict[str, object]] = []
    for dependency in [*inputs, *(each for each in transitive if each.scope in _SCOPES)]:
        data = dependency.artifact.resolve().read_bytes()
        entries.append(
            {
                "coordinate": f"{dependency.groupId}:{dependency.artifactId}:{dependency.version}",
                "size_bytes": len(data),
                "sha256": hashlib.sha256(data).hexdigest(),
            }
        )
    return sorted(entries, key=lambda entry: str(entry["coordinate"]))


def main() -> None:
    """Writes the list beside this file."""
    with tempfile.TemporaryDirectory(prefix="kafka-jars-") as folder:
        content = {"kafka": KAFKA_VERSION, "jars": resolve(Path(folder))}
    target = Path(__file__).with_name("kafka_jars.json")
    target.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
