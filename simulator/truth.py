"""The judge's view: the current state of every object, as a retrieve gives it that asks for what is left out else.

Lists and references stay as they are without `expand`.
"""

from __future__ import annotations

from collections.abc import Iterator

from simulator.resources import INLINE
from simulator.shapes import State
from simulator.world import World

OWN = ("account", "balance", "balance_settings")


def count_objects(world: World) -> dict[str, State]:
    """Give how many objects of each resource are live and how many were deleted."""
    tables = world.store.tables.items()
    counts = {name: {"live": table.live, "deleted": len(table.ids) - table.live} for name, table in tables if table.ids}
    for parent, inline in INLINE.items():
        table = world.store.tables[parent]
        states = (table.at(position) for position in range(len(table.ids)))
        live = sum(len(state.get("_children", ())) for state in states if state is not None)
        counts[inline.child] = {"live": live, "deleted": 0}
    return counts


def iter_truth(world: World, resource: str, *, start: int = 0) -> Iterator[tuple[int, State]]:
    """Give (next position, {id, deleted, object}) of every object that ever was, oldest first."""
    table = world.store.tables[resource]
    for position in range(start, len(table.ids)):
        state = table.at(position)
        rendered = None if state is None else world.renderer.render_whole(resource, state)
        yield position + 1, {"id": table.ids[position], "deleted": state is None, "object": rendered}


def iter_children(world: World, parent: str, *, start: int = 0) -> Iterator[tuple[int, State]]:
    """Give (next position, {id, children}) of every live parent: all its children, however many."""
    table = world.store.tables[parent]
    for position in range(start, len(table.ids)):
        state = table.at(position)
        if state is not None:
            yield position + 1, {"id": state["id"], "children": world.renderer.children(parent, state)}


def own_truth(world: World) -> Iterator[tuple[int, State]]:
    """Give the objects that an account has only one of."""
    for position, name in enumerate(OWN, start=1):
        rendered = world.render_own(name)
        yield position, {"id": rendered.get("id", world.account_id), "deleted": False, "object": rendered}
