"""The snippets of the Markdown pages: finding them, and running those of one page in a process of its own.

CONTRIBUTING.md says how pages are written. `python tests/snippets.py PAGE` runs a page in the current folder.
"""

from __future__ import annotations
import __future__

import ast
import contextlib
import importlib.metadata
import io
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Final

ROOT: Final = Path(__file__).parents[1]
RUN: Final = frozenset({"python", "console", "bash"})
SHOWN: Final = frozenset({"text", "toml", "ini", "sql", "json", "mermaid"})
NEEDS_SERVERS: Final = "<!-- snippets: servers -->"
_NOT_OURS: Final = frozenset({".venv", ".git", ".eventsource", "build", "dist", "node_modules"})
_FENCE: Final = re.compile(r"^( *)(`{3,}|~{3,})\s*(.*?)\s*$")
_COMMAND_SECONDS: Final = 60.0
_READY_SECONDS: Final = 60.0
_READY: Final = ("worker_is_ready", "Uvicorn running on http")
# uvicorn, ended by SIGTERM or when its standard input closes
_UVICORN: Final = (
    "import os, signal, sys, threading, uvicorn\n"
    "threading.Thread(target=lambda: (sys.stdin.read(), os.kill(os.getpid(), signal.SIGTERM)), daemon=True).start()\n"
    "uvicorn.main()"
)
_STOP_SECONDS: Final = 40.0
_PAGE_SECONDS: Final = 240.0


@dataclass(frozen=True, slots=True)
class Snippet:
    """A fenced block. `line` is that of its fence, from 1; `words` are the rest of its info string, such as `file=shop.py`."""

    line: int
    language: str
    words: tuple[str, ...]
    text: str

    @property
    def file(self) -> str | None:
        """The file that the snippet is the content of."""
        return self._word("file=")

    @property
    def source(self) -> str | None:
        """The file of the project, from its root, that the snippet is taken from, word for word."""
        return self._word("from=")

    def _word(self, prefix: str) -> str | None:
        return next((word.removeprefix(prefix) for word in self.words if word.startswith(prefix)), None)

    @property
    def is_python(self) -> bool:
        """Whether it is Python, to be executed or the content of a file."""
        return self.language == "python"

    @property
    def is_output(self) -> bool:
        """Whether it shows what the snippet before it printed."""
        return self.language == "text" and self.words == ("output",)


@dataclass(frozen=True, slots=True)
class Page:
    """A Markdown page and its snippets, in order."""

    path: Path
    text: str
    snippets: tuple[Snippet, ...]

    @property
    def name(self) -> str:
        """The path below the project's root."""
        return self.path.relative_to(ROOT).as_posix()

    @property
    def needs_servers(self) -> bool:
        """Whether its snippets are for the integration tests."""
        return NEEDS_SERVERS in self.text.splitlines()

    @property
    def runs(self) -> bool:
        """Whether there is anything to run."""
        return any(snippet.language in RUN for snippet in self.snippets)

    def imports(self) -> Iterator[tuple[int, str, tuple[str, ...]]]:
        """Line, module and names of every import in its Python snippets."""
        for snippet in self.snippets:
            if not snippet.is_python:
                continue
            for node in ast.walk(ast.parse("\n" * snippet.line + snippet.text)):
                if isinstance(node, ast.ImportFrom) and node.module:
                    yield node.lineno, node.module, tuple(alias.name for alias in node.names)
                elif isinstance(node, ast.Import):
                    yield from ((node.lineno, alias.name, ()) for alias in node.names)

    def modules(self) -> dict[Path, str]:
        """Its Python as a package of modules, for type checkers: the snippets that are executed in one, each file in its own.

        Lines of `page.py` are those of the page. What the page imports from its own files comes from that package.
        """
        package = "page_" + re.sub(r"\W", "_", self.name.removesuffix(".md").lower())
        own = {Path(snippet.file).parts[0].removesuffix(".py") for snippet in self.snippets if snippet.file}
        lines: list[str] = []
        found: dict[Path, str] = {}
        imported: set[str] = set()
        if any("$ eventsource init\n" in snippet.text for snippet in self.snippets):
            own.add("shop")
            found[Path(package, "shop.py")] = (ROOT / "eventsource/cli/templates/app.py.txt").read_text(
                encoding="utf-8"
            )
        for snippet in self.snippets:
            if not snippet.is_python:
                continue
            text = _as_import(snippet, imported) if snippet.source else _imports_from(package, own, snippet.text)
            if snippet.file:
                path = Path(package, snippet.file)
                found[path] = f"{found[path]}\n\n{text}" if path in found else text
            else:
                lines += [""] * (snippet.line - len(lines)) + text.splitlines()
        if lines:
            found[Path(package, "page.py")] = "\n".join([*lines, ""])
        return found

    @classmethod
    def read(cls, path: Path) -> Page:
        """Reads a page. Raises `ValueError` at a block that is not closed."""
        text = path.read_text(encoding="utf-8")
        return cls(path, text, tuple(_snippets(text)))

    def problems(self) -> list[str]:
        """What would keep a snippet from being run, or from being run as it is shown; a sentence each."""
        return [f"{self.name}:{line}: {problem}" for line, problem in self._problems()]

    def _problems(self) -> Iterator[tuple[int, str]]:
        before: Snippet | None = None
        for snippet in self.snippets:
            if snippet.language not in RUN | SHOWN:
                yield (
                    snippet.line,
                    f"no test runs {snippet.language or 'a block without language'!r}: use {sorted(RUN | SHOWN)}",
                )
            if snippet.language == "text" and snippet.words and not (snippet.is_output or snippet.file):
                yield snippet.line, f"{snippet.words} means nothing: write `text output`, `text file=NAME` or `text`"
            if snippet.is_output and (before is None or before.language != "python" or before.file):
                yield snippet.line, "there is no python snippet before it that could have printed it"
            if snippet.language in RUN and snippet.words and not (snippet.file or snippet.source):
                yield (
                    snippet.line,
                    f"{snippet.words} means nothing: a snippet that is run may only say file=NAME or from=PATH",
                )
            if snippet.source:
                yield from ((snippet.line, text) for text in _not_in_source(snippet, ROOT / snippet.source))
            if snippet.language == "console" and not snippet.text.startswith("$ "):
                yield snippet.line, "a console snippet begins with a command: `$ …`"
            before = snippet


def _not_in_source(snippet: Snippet, source: Path) -> Iterator[str]:
    """Each top-level piece of the snippet must stand in the source as it is; what lies between them may be left out."""
    if not source.is_file():
        yield f"there is no {snippet.source}"
        return
    text = source.read_text(encoding="utf-8")
    for piece in snippet.text.split("\n\n\n"):
        if piece.strip("\n") not in text:
            yield f"{snippet.source} does not say: {piece.strip().splitlines()[0]} …"


def _as_import(snippet: Snippet, imported: set[str]) -> str:
    """A part of a file of the project as what other code gets of it: its own imports, and its public names imported from that file.

    Each name is imported once; `imported` has those that were.
    """
    tree = ast.parse(snippet.text)
    imports: list[str] = []
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            node.names = [alias for alias in node.names if alias.name not in imported]
            imported.update(alias.name for alias in node.names)
            imports += [ast.unparse(node)] if node.names else []
    names = [node.name for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)]
    for node in tree.body:
        if isinstance(node, ast.Assign):
            names += [target.id for target in node.targets if isinstance(target, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.append(node.target.id)
    names = [name for name in names if not name.startswith("_") and name not in imported]
    imported.update(names)
    module = (snippet.source or "").removesuffix(".py").replace("/", ".")
    return "; ".join([*imports, *([f"from {module} import {', '.join(names)}"] if names else [])]) + "\n"


def _imports_from(package: str, own: set[str], text: str) -> str:
    """The snippet with its imports of the page's own modules made imports of the page's package."""
    lines = text.splitlines(keepends=True)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] in own:
            line = lines[node.lineno - 1]
            lines[node.lineno - 1] = line.replace(f"from {node.module} ", f"from {package}.{node.module} ", 1)
    return "".join(lines)


def pages() -> list[Page]:
    """Every Markdown page of the project."""
    found = []
    for folder, folders, files in os.walk(ROOT):
        folders[:] = sorted(name for name in folders if name not in _NOT_OURS and not name.startswith("."))
        found += [Page.read(Path(folder, name)) for name in sorted(files) if name.endswith(".md")]
    return found


def _snippets(text: str) -> Iterator[Snippet]:
    opened: tuple[int, str, str, int] | None = None
    lines: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        fence = _FENCE.match(line)
        if opened is None:
            if fence:
                opened, lines = (number, fence[2], fence[3], len(fence[1])), []
        elif fence and fence[2].startswith(opened[1]) and not fence[3]:
            language, *words = opened[2].split() or [""]
            yield Snippet(opened[0], language, tuple(words), "\n".join(lines) + "\n")
            opened = None
        else:
            lines.append(line[opened[3] :])
    if opened is not None:
        raise ValueError(f"the block that begins in line {opened[0]} is not closed")


# --- running -----------------------------------------------------------------------------------------------------


class SnippetFailed(AssertionError):
    """A snippet did not do what its page says. The text names page and line."""


@dataclass(slots=True)
class PageRun:
    """Runs a page's snippets in the current folder, from top to bottom, and ends what they started."""

    page: Page
    module: ModuleType = field(default_factory=lambda: ModuleType("page"))
    _futures: int = 0
    _printed: str = ""
    _background: list[subprocess.Popen[str]] = field(default_factory=list)
    _files: set[str] = field(default_factory=set)

    def run(self) -> None:
        """Raises `SnippetFailed` at the first snippet that fails, or whatever a python snippet raises."""
        folder = str(Path.cwd())
        sys.path.insert(0, folder)
        sys.modules[self.module.__name__] = self.module
        try:
            for snippet in self.page.snippets:
                self._run(snippet)
        finally:
            self._stop_background()
            sys.path.remove(folder)
            del sys.modules[self.module.__name__]

    def _run(self, snippet: Snippet) -> None:
        if snippet.file is not None:
            path = Path(snippet.file)
            path.parent.mkdir(parents=True, exist_ok=True)
            before = f"{path.read_text(encoding='utf-8')}\n\n" if snippet.file in self._files else ""
            self._files.add(snippet.file)
            path.write_text(before + snippet.text, encoding="utf-8")
            if path.suffix == ".py":
                compile(snippet.text, str(path), "exec")
        elif snippet.language == "python":
            self._python(snippet)
        elif snippet.language == "console":
            for line, command, output in _commands(snippet):
                self._command(line, command, output)
        elif snippet.language == "bash":
            self._command(snippet.line, f"set -eu\n{snippet.text}", "")
        elif snippet.is_output:
            self._compare(snippet.line, snippet.text, self._printed)

    def _python(self, snippet: Snippet) -> None:
        # Padded, so that a traceback shows the page's own lines.
        tree = ast.parse("\n" * snippet.line + snippet.text, str(self.page.path))
        code = compile(tree, str(self.page.path), "exec", self._futures, dont_inherit=True)
        self._futures |= code.co_flags & __future__.annotations.compiler_flag
        printed = io.StringIO()
        try:
            with contextlib.redirect_stdout(printed):
                exec(code, vars(self.module))
        except Exception as error:
            error.add_note(f"it had printed: {printed.getvalue()}")
            raise
        self._printed = printed.getvalue()

    def _command(self, line: int, command: str, output: str) -> None:
        stand_in = _stand_in(command)
        if isinstance(stand_in, list):
            for words in stand_in[:-1]:
                self._shell(line, shlex.join(words))
            self._start(line, stand_in[-1])
        else:
            self._compare(line, output, self._shell(line, stand_in))

    def _shell(self, line: int, command: str) -> str:
        done = subprocess.run(
            ["bash", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_COMMAND_SECONDS,
            check=False,
        )
        if done.returncode:
            self._fail(line, f"`{command}` ended with exit code {done.returncode}:\n{done.stdout}")
        return done.stdout

    def _start(self, line: int, words: list[str]) -> None:
        # Its standard input closes when this process ends, however that ends.
        process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._background.append(process)
        assert process.stderr is not None
        too_late = threading.Timer(_READY_SECONDS, process.kill)
        too_late.daemon = True
        too_late.start()
        log = []
        for text in process.stderr:
            log.append(text)
            if any(ready in text for ready in _READY):
                # Read on, or the process waits for a reader for ever.
                threading.Thread(target=process.stderr.read, daemon=True).start()
                break
        else:
            self._fail(line, f"`{shlex.join(words)}` ended before it was ready:\n{''.join(log)}")
        too_late.cancel()

    def _stop_background(self) -> None:
        for process in self._background:
            process.send_signal(signal.SIGTERM)
        for process in self._background:
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()

    def _compare(self, line: int, expected: str, printed: str) -> None:
        if expected.strip() and not matches(expected, printed):
            self._fail(line, f"expected\n{expected}\nfound\n{printed}")

    def _fail(self, line: int, problem: str) -> None:
        raise SnippetFailed(f"{self.page.name}:{line}: {problem}")


def matches(expected: str, printed: str) -> bool:
    """Whether the output is what the page shows. `...` stands for anything, and where lines break does not matter."""
    pattern = re.escape(_plain(expected)).replace(re.escape("..."), ".*?")
    return re.fullmatch(pattern, _plain(printed), re.DOTALL) is not None


def _plain(text: str) -> str:
    namespace = os.environ.get("EVENTSOURCE_NAMESPACE")
    if namespace:
        text = text.replace(f"{namespace}.", "")
    text = re.sub(r"([━─])[━─┳┻╇┴┬┼]*", r"\1", text)
    return " ".join(text.split())


def _commands(snippet: Snippet) -> Iterator[tuple[int, str, str]]:
    """Line, command and expected output of each `$ …`; a command goes on after a backslash at the end of its line."""
    lines = snippet.text.splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith("$ ")]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        command = [lines[start][2:]]
        while command[-1].endswith("\\"):
            command.append(lines[start + len(command)])
        yield snippet.line + start + 1, "\n".join(command), "\n".join(lines[start + len(command) : end])


def _stand_in(command: str) -> str | list[list[str]]:
    """What is run for a command: itself, but for those that a test cannot run as they are (CONTRIBUTING.md lists them).

    A list of commands is to be run one after the other, and the last of them goes on until the page ends.
    """
    words = shlex.split(command)
    match words:
        case ["eventsource", "dev", *options]:
            # The servers are there: what is left of `dev` is what it does with an app once they answer.
            apps = [word for word in options if ":" in word]
            return (
                [["eventsource", "topics", "apply", *apps], ["eventsource", "run", *apps, "--until-stdin-closes"]]
                if apps
                else "true"
            )
        case ["eventsource", "run", *_]:
            return [[*words, "--until-stdin-closes"]]
        case ["uvicorn", *_]:
            return [[sys.executable, "-c", _UVICORN, *words[1:], "--port", "0"]]
        case ["make", *_]:
            return f"make --directory {shlex.quote(str(ROOT))} --dry-run {shlex.join(words[1:])} > /dev/null"
        case ["pip", "install", requirement]:
            _check_installed(requirement)
            return "true"
    return command


def _check_installed(requirement: str) -> None:
    found = re.fullmatch(r"([\w-]+)(?:\[([\w,]+)\])?", requirement)
    if found is None:
        raise SnippetFailed(f"`pip install {requirement}`: only NAME or NAME[EXTRA] can be checked")
    extras = importlib.metadata.metadata(found[1]).get_all("Provides-Extra") or []
    missing = set(filter(None, (found[2] or "").split(","))) - set(extras)
    if missing:
        raise SnippetFailed(f"`pip install {requirement}`: there is no extra {missing}, only {extras}")


def environment(**additions: str) -> dict[str, str]:
    """The environment of the process that runs a page: this one's programs and modules, and no settings but `additions`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("EVENTSOURCE_")}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {
        **kept,
        "PATH": path,
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "EVENTSOURCE_LOG_FORMAT": "text",
        **additions,
    }


def run_page(page: Page, folder: Path, **settings: str) -> None:
    """Runs a page in a folder, in a process of its own. Raises `SnippetFailed` with what that process said."""
    words = [sys.executable, str(Path(__file__)), str(page.path)]
    try:
        done = subprocess.run(
            words,
            cwd=folder,
            env=environment(**settings),
            capture_output=True,
            text=True,
            timeout=_PAGE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise SnippetFailed(f"{page.name} was not done within {_PAGE_SECONDS:g} s: {error.stderr!r}") from error
    if done.returncode:
        raise SnippetFailed(done.stderr)


if __name__ == "__main__":
    PageRun(Page.read(Path(sys.argv[1]).absolute())).run()
