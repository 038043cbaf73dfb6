"""What the forms of the dashboard say, read into values."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from multidict import MultiDict, MultiDictProxy

from services.connection_api.account_filter import AccountFilter
from services.connection_api.dashboard import choice_forms, start_moments
from services.connection_api.dashboard.stripe_links import create_key_address
from shared.catalogue import BY_NAME, RESOURCES
from shared.destinations import Destination, PostgresAddress
from shared.errors import PayloadError

NOW = datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC)


def destination(destination_id: str, name: str) -> Destination:
    address = PostgresAddress("db.internal.example", 5432, "analytics", "tillstream", destination_id)
    return Destination(destination_id, name, address, 1, NOW)


class TestStart:
    @pytest.mark.parametrize(
        ("form", "at"),
        [
            ({"start": "all"}, None),
            ({"start": "2026-03-04T00:00:00Z"}, datetime(2026, 3, 4, tzinfo=UTC)),
            ({"start": "2026-03-04T01:00:00+01:00"}, datetime(2026, 3, 4, tzinfo=UTC)),
            ({"start": "custom", "custom": "2026-03-04T05:06"}, datetime(2026, 3, 4, 5, 6, tzinfo=UTC)),
            ({"start": "custom", "custom": "2026-03-04T05:06:07"}, datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)),
        ],
    )
    def test_a_form_tells_the_moment(self, form: dict[str, str], at: datetime | None) -> None:
        assert start_moments.read_start(form) == at

    @pytest.mark.parametrize("form", [{}, {"start": "custom"}, {"start": "soon"}, {"start": "0001-01-01T00:00+14:00"}])
    def test_what_is_no_moment_is_refused(self, form: dict[str, str]) -> None:
        with pytest.raises(PayloadError, match="Choose when to start"):
            start_moments.read_start(form)

    @pytest.mark.parametrize(
        ("zone", "today"),
        [
            ("UTC", "2026-03-04T00:00:00Z"),
            ("Europe/Berlin", "2026-03-03T23:00:00Z"),
            ("Asia/Tokyo", "2026-03-03T15:00:00Z"),
        ],
    )
    def test_presets_begin_with_a_day_of_the_viewer(self, zone: str, today: str) -> None:
        evening_before = datetime(2026, 3, 3, 22, 0, tzinfo=timezone(timedelta(hours=-5)))

        offered = start_moments.presets(evening_before, ZoneInfo(zone))

        assert [preset.label for preset in offered] == ["All time", "2 years", "1 year", "90 days", "Today"]
        assert offered[-1].value == today
        assert offered[-1].day == f"4 Mar 2026, 00:00 {zone}"

    def test_a_date_that_is_offered_is_chosen_and_another_is_written_out(self) -> None:
        offered = start_moments.form_values(NOW, datetime(2026, 3, 4, tzinfo=UTC))
        other = start_moments.form_values(NOW, datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC))

        assert offered["chosen"] == "2026-03-04T00:00:00Z"
        assert (other["chosen"], other["custom"]) == ("custom", "2025-01-02T03:04:05")


class TestOmitted:
    def test_lines_are_read_by_resource(self) -> None:
        text = "customer: email, name\n\ncharge:billing_details.address receipt_email\ncustomer: phone"

        assert choice_forms.read_omitted(text) == {
            "charge": ["billing_details.address", "receipt_email"],
            "customer": ["email", "name", "phone"],
        }

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("customer", "“customer” can't be read"),
            ("customer: email\ncharge: Not A Path", "“charge: Not A Path” can't be read"),
            ("nothing: email", "no resource"),
            ("customer: id", "can't be left out"),
            ("x" * 30_000, "too long"),
        ],
    )
    def test_what_can_not_be_read_is_named(self, text: str, message: str) -> None:
        with pytest.raises(PayloadError, match=message) as refused:
            choice_forms.read_omitted(text)
        assert refused.value.field == "omitted"

    def test_what_is_ticked_and_what_is_typed_is_left_out(self) -> None:
        picked = ["customer:email", "charge:billing_details.address", "customer:email"]

        assert choice_forms.read_omitted("customer: metadata.vat", picked) == {
            "charge": ["billing_details.address"],
            "customer": ["email", "metadata.vat"],
        }

    @pytest.mark.parametrize(
        "value", ["customer", "customer:", "customer:Not A Path", "customer:email\n", "nothing:email", "customer:id"]
    )
    def test_what_no_box_of_ours_says_is_refused(self, value: str) -> None:
        with pytest.raises(PayloadError) as refused:
            choice_forms.read_omitted("", [value])
        assert refused.value.field == "omitted"

    def test_what_was_sent_is_shown_again_with_what_is_suggested(self) -> None:
        sent = MultiDict({"resources": "customer", "omit": "customer:metadata.vat", "omitted": "no line"})
        sent.extend({"omit": "nothing", "suggest": "customer"})
        shown = choice_forms.sent_values(MultiDictProxy(sent))
        tree = choice_forms.asked_fields(MultiDictProxy(sent))

        assert (shown["selected"], shown["omitted"]) == ({"customer"}, "no line")
        assert set(tree.chosen) == {"metadata.vat", *choice_forms.PERSONAL["customer"]}
        assert tree.others == ("metadata.vat",)

    def test_fields_of_no_resource_are_refused(self) -> None:
        with pytest.raises(PayloadError):
            choice_forms.asked_fields(MultiDictProxy(MultiDict({"fields_of": "nothing"})))


class TestDestinations:
    def test_each_is_read_once(self) -> None:
        assert choice_forms.read_destinations(["dst_2", "dst_1", "dst_2"]) == ["dst_2", "dst_1"]

    @pytest.mark.parametrize("values", [[], ["dst_1", "no id"], ["dst_1\x00"]])
    def test_none_or_what_is_no_id_is_refused(self, values: list[str]) -> None:
        with pytest.raises(PayloadError) as refused:
            choice_forms.read_destinations(values)
        assert refused.value.field == "destination_ids"

    def test_what_follows_is_said_of_what_changes_alone(self) -> None:
        offered = [destination("dst_1", "Warehouse"), destination("dst_2", "Analytics"), destination("dst_3", "Lake")]

        assert choice_forms.moves(offered, ["dst_1", "dst_3"], ["dst_2", "dst_3"]) == [
            "Analytics gets all history.",
            "Rows in Warehouse stay as they are and are not updated any more.",
        ]


class TestKeyLink:
    def test_every_certain_permission_is_ticked_once(self) -> None:
        address = create_key_address(RESOURCES, livemode=True)
        slugs = [part.partition("=")[2] for part in address.split("&")[1:]]

        assert address.startswith("https://dashboard.stripe.com/apikeys/create?name=Tillstream&permissions[0]=")
        assert len(slugs) == len(set(slugs))
        assert {"rak_charge_read", "rak_event_read", "rak_webhook_write"} <= set(slugs)
        certain = {row.read_permission for row in RESOURCES if row.is_default and row.permission_is_certain}
        assert certain <= set(slugs)

    def test_a_test_mode_key_is_made_in_test_mode(self) -> None:
        address = create_key_address([BY_NAME["charge"]], livemode=False)

        assert address.startswith("https://dashboard.stripe.com/test/apikeys/create?")


class TestAccountFilter:
    def test_an_address_leaves_out_what_is_not_chosen(self) -> None:
        assert AccountFilter().address() == "/"
        assert AccountFilter(q="a b").address(cursor="x") == "/?q=a+b&cursor=x"
        assert AccountFilter(q="a", cursor="x").address(cursor=None) == "/?q=a"

    def test_a_cursor_of_another_list_is_refused(self) -> None:
        with pytest.raises(PayloadError, match="cursor"):
            _ = AccountFilter(cursor="abc").place
