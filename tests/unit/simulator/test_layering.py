from __future__ import annotations

import ast
from pathlib import Path

import simulator

_FOLDER = Path(simulator.__path__[0])


def test_the_judge_imports_nothing_that_it_judges() -> None:
    foreign = {
        (path.name, name)
        for path in _FOLDER.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for name in _imported(node)
        if name.partition(".")[0] in ("services", "shared", "local_stack", "stripe", "tests")
    }

    assert foreign == set()


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [node.module or ""]
    return []
