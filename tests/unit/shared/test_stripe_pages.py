"""A list is split into its objects, and what nobody can read is set apart from the rest."""

from __future__ import annotations

import json

import pytest

from shared.errors import ObjectUnreadableError, StripeAnswerError
from shared.stripe_pages import GROW_AFTER, PAGE_LIMIT, Page, PageSize, parse_object, parse_page

GOOD = b'{"id":"ch_1","object":"charge","created":3}'
LAST = b'{"id":"ch_3","object":"charge","created":1}'
ODD = {
    "half of a surrogate pair": b'{"id":"ch_2","created":2,"text":"\\ud83d"}',
    "a number that is none": b'{"id":"ch_2","created":2,"amount":NaN}',
    "lists within lists": b'{"id":"ch_2","created":2,"x":' + b"[" * 2_000 + b"]" * 2_000 + b"}",
    "a control character": b'{"id":"ch_2","created":2,"text":"\x01"}',
    "bytes that are no text": b'{"id":"ch_2","created":2,"text":"\xff"}',
    "brackets within a text": b'{"id":"ch_2","created":2,"text":"]},\\"[{","n":NaN}',
    "an id that is a number": b'{"id":2,"created":2}',
    "no object at all": b"17",
}


def listing(*objects: bytes, more: bool = False) -> bytes:
    has_more = b"true" if more else b"false"
    return b'{"object": "list", "has_more": ' + has_more + b', "data": [' + b" , ".join(objects) + b'], "url": "/v1/x"}'


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_what_cannot_be_read_leaves_the_others_as_they_are(odd: bytes) -> None:
    page = parse_page(listing(GOOD, odd, LAST, more=True), 7)
    assert page.objects == (GOOD, LAST)
    assert [item.id for item in page.items] == ["ch_1", "ch_3"]
    [one] = page.unreadable
    assert one.body == odd
    assert one.reason.startswith("Stripe's object can't be read: ")
    assert (page.has_more, page.stamp) == (True, 7)


def test_the_next_page_begins_behind_an_object_that_cannot_be_read() -> None:
    page = parse_page(listing(GOOD, ODD["a number that is none"], more=True), 7)
    assert page.last is not None
    assert (page.last.id, page.last.created_at) == ("ch_2", 2)


def test_a_list_of_one_that_cannot_be_read_has_no_objects() -> None:
    page = parse_page(listing(ODD["lists within lists"]), 7)
    assert (page.objects, len(page.unreadable), page.has_more) == ((), 1, False)


def test_an_empty_list_is_a_page() -> None:
    assert parse_page(listing(), 7) == Page((), False, 7)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "empty"),
        (b"<html>Sign in</html>", "a page instead of data"),
        (b'{"object":"list","data":null,"has_more":false}', "no `data`"),
        (b'{"object":"list","data":{},"has_more":false}', "no `data`"),
        (GOOD, "one charge where a list was asked for"),
        (listing(more=True), "goes on, and shows nothing"),
        (listing(GOOD, LAST)[:-30], "cut off"),
        (listing(GOOD, LAST)[:60], "cut off"),
        (listing(GOOD, ODD["a number that is none"])[:-9], "cut off"),
    ],
)
def test_what_is_no_page_is_told_in_its_own_words(body: bytes, says: str) -> None:
    with pytest.raises(StripeAnswerError, match=says):
        parse_page(body, 7)


@pytest.mark.parametrize("odd", [one for one in ODD.values() if one != b"17"])
def test_one_object_that_cannot_be_read_comes_with_its_bytes(odd: bytes) -> None:
    with pytest.raises(ObjectUnreadableError) as caught:
        parse_object(odd, 7)
    assert caught.value.body == odd


@pytest.mark.parametrize("body", [b"", b"<html>", GOOD[:-4], ODD["a number that is none"][:-1], b"[]"])
def test_what_is_no_whole_object_is_asked_for_again(body: bytes) -> None:
    with pytest.raises(StripeAnswerError):
        parse_object(body, 7)


def test_every_valid_list_is_split_as_a_parser_would() -> None:
    objects = [{"id": f"ch_{n}", "text": text, "x": [[{}], {"data": [1]}]} for n, text in enumerate('"\\[]{},\n é')]
    bodies = [json.dumps(one).encode() for one in objects]
    page = parse_page(listing(*bodies, b'{"id":"odd","n":NaN}'), 7)
    assert [json.loads(body) for body in page.objects] == objects


def test_a_page_is_halved_down_to_one_object_and_grows_again() -> None:
    size = PageSize()
    for expected in (50, 25, 12, 6, 3, 1, 1):
        size.shrink()
        assert size.limit == expected
    for _ in range(GROW_AFTER):
        assert size.limit == 1
        size.grow()
    seen = [size.limit]
    while not size.is_full:
        size.grow()
        seen.append(size.limit)
    assert seen == [2, 4, 8, 16, 32, 64, PAGE_LIMIT]


def test_a_page_that_grew_too_soon_waits_longer_the_next_time() -> None:
    size = PageSize()
    size.shrink()
    for _ in range(GROW_AFTER):
        size.grow()
    assert size.limit == PAGE_LIMIT
    size.shrink()
    for _ in range(GROW_AFTER - 1):
        size.grow()
    assert size.limit == PAGE_LIMIT // 2
