"""`python -m simulator` serves; `python -m simulator --help` says how."""

from __future__ import annotations

import typer

from simulator.cli import serve

if __name__ == "__main__":
    typer.run(serve)
