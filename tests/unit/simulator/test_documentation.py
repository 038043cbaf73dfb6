from __future__ import annotations

from dataclasses import fields
from importlib import resources

import pytest

from simulator.app import create_app
from simulator.config import Config, Faults

_README = resources.files("simulator").joinpath("README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [field.name for field in fields(Faults)])
def test_every_fault_is_documented(name: str) -> None:
    assert f"`{name}`" in _README


def test_every_control_address_is_documented() -> None:
    app = create_app(Config(objects=1))
    routes = {(route.method, route.resource.canonical) for route in app.router.routes() if route.resource}

    control = {(method, path) for method, path in routes if path.startswith("/_control/") and method != "HEAD"}
    assert len(control) > 10
    for method, path in control:
        name = path.removeprefix("/_control/").replace("{secret}", "{key}").replace("{event_id}", "{id}")
        assert f"`{method} {name}" in _README
