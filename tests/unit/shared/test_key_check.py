"""What a key check finds out, by the answers that Stripe gives."""

from __future__ import annotations

import pytest

from services.connection_api.life.key_report import make_report
from shared.api_keys import parse_api_key
from shared.catalogue import BY_NAME, DEFAULT_RESOURCES, RESOURCES, permissions
from shared.errors import KeyRefusedError, PayloadError, StripeUnavailableError
from shared.key_check import SPACING, Grant, KeyCheck, check_key
from tests.unit.shared.fake_stripe import KEY, FakeStripe, calling, no_wait, refusal

CHARGE = [BY_NAME["charge"]]


async def check(stripe: FakeStripe, resources=DEFAULT_RESOURCES, **options: str) -> KeyCheck:
    async with calling(stripe) as api:
        return await check_key(api, resources, sleep=no_wait, **options)


async def refused(stripe: FakeStripe, resources=DEFAULT_RESOURCES, **options: str) -> KeyRefusedError:
    with pytest.raises(KeyRefusedError) as caught:
        await check(stripe, resources, **options)
    assert caught.value.status == 422
    assert caught.value.field == "api_key"
    return caught.value


async def test_good_key_tells_the_account_and_every_permission():
    found = await check(FakeStripe())

    assert (found.account_id, found.account_name) == ("acct_1", "Corner Shop")
    assert {one.grant for one in found.checked} == {Grant.GRANTED}
    assert {one.slug for one in found.checked} == {p.slug for p in permissions(DEFAULT_RESOURCES)} - {
        "rak_webhook_write"
    }


async def test_each_permission_costs_one_call():
    stripe = FakeStripe()

    await check(stripe, [row for row in RESOURCES if row.name != "account"])

    assert max(stripe.calls.values()) == 1


async def test_account_without_a_display_name_is_called_by_its_business():
    found = await check(FakeStripe(account={"id": "acct_1", "business_profile": {"name": "Corner Shop Ltd"}}), CHARGE)

    assert found.account_name == "Corner Shop Ltd"


async def test_account_without_any_name_is_called_by_its_id():
    found = await check(FakeStripe(account={"id": "acct_1", "business_profile": None, "settings": None}), CHARGE)

    assert found.account_name == "acct_1"


async def test_key_that_may_not_read_its_account_is_good():
    """Stripe often refuses it to a key with "all read", and names the account in the refusal."""
    found = await check(FakeStripe({"/v1/account": refusal("rak_accounts_kyc_basic_read")}))

    assert found.account_id == "acct_1"
    assert found.unreadable == {"account"}
    assert [one.slug for one in found.missing] == ["rak_accounts_kyc_basic_read"]


async def test_account_that_stripe_does_not_tell_is_asked_for():
    nameless = FakeStripe({"/v1/account": (403, "This key may not do that.")})

    with pytest.raises(PayloadError, match="Give the account's id") as caught:
        await check(nameless, CHARGE)

    assert caught.value.field == "account_id"
    assert (await check(nameless, CHARGE, account_id="acct_given")).account_id == "acct_given"


async def test_key_of_another_account_is_refused():
    error = await refused(FakeStripe(), CHARGE, account_id="acct_other")

    assert error.code == "api_key_other_account"
    assert "acct_1" in error.message
    assert "acct_other" in error.message


async def test_every_missing_permission_is_named_with_its_row_and_slug():
    error = await refused(
        FakeStripe({"/v1/charges": refusal("rak_charge_read"), "/v1/invoices": refusal("rak_invoice_read")})
    )

    assert error.code == "missing_permissions"
    assert error.message.startswith("Missing permissions: ")
    assert "Charges and Refunds (rak_charge_read)" in error.message
    assert "Invoices (rak_invoice_read)" in error.message
    assert "Double-check your restricted key in the Stripe Dashboard" in error.message


async def test_missing_optional_permission_does_not_refuse_the_key():
    found = await check(FakeStripe({"/v1/quotes": refusal("rak_quote_read")}), RESOURCES)

    assert "quote" in found.unreadable


async def test_permission_that_nobody_can_grant_is_no_fault_of_the_key():
    ungrantable = (
        403,
        ("This is a restricted API key, but the required permissions are not available for use by restricted keys."),
    )

    found = await check(FakeStripe({"/v1/charges": ungrantable}), CHARGE)

    assert {one.slug: one.grant for one in found.checked}["rak_charge_read"] is Grant.UNAVAILABLE


@pytest.mark.parametrize(
    "answer",
    [(400, "Your account is not set up to use Issuing."), (404, "Unrecognized request URL (GET: /v1/topups).")],
)
async def test_product_that_the_account_does_not_have_is_no_fault_of_the_key(answer: tuple[int, str]):
    found = await check(FakeStripe({"/v1/topups": answer}), [BY_NAME["topup"]])

    assert {one.slug: one.grant for one in found.checked}["rak_top_up_read"] is Grant.UNAVAILABLE


@pytest.mark.parametrize(
    ("message", "code", "advice"),
    [
        ("Invalid API Key provided: rk_live_***aaaa", "api_key_invalid", "Make sure you copied the full key"),
        ("Expired API Key provided: rk_live_***aaaa", "api_key_expired", "the old one is already invalidated"),
        (
            "The API key provided does not allow requests from your IP address.",
            "api_key_ip_restricted",
            "allowed IP addresses",
        ),
    ],
)
async def test_key_that_stripe_refuses_costs_one_call_and_says_why(message: str, code: str, advice: str):
    stripe = FakeStripe(everything=(401, message))

    error = await refused(stripe)

    assert error.code == code
    assert advice in error.message
    assert stripe.calls.total() == 1


async def test_refused_key_is_not_called_bad_for_its_address():
    error = await refused(FakeStripe(everything=(401, "It does not allow requests from your IP address.")))

    assert "API Key is invalid" not in error.message


async def test_key_that_dies_during_the_check_is_refused():
    error = await refused(FakeStripe({"/v1/charges": (401, "Invalid API Key provided: rk_live_***aaaa")}))

    assert error.code == "api_key_invalid"


async def test_stripe_that_is_down_is_no_fault_of_the_key():
    with pytest.raises(StripeUnavailableError):
        await check(FakeStripe(everything=(500, "An unknown error occurred")))


async def test_calls_start_no_faster_than_stripe_takes_them():
    starts: list[float] = []

    async def note(seconds: float) -> None:
        starts.append(seconds)

    async with calling(FakeStripe()) as api:
        await check_key(api, RESOURCES, sleep=note)

    assert sorted(starts) == pytest.approx([number * SPACING for number in range(len(starts))])
    assert 1 / SPACING <= 25
    assert max(starts) <= 2.5


async def test_account_that_is_no_platform_lacks_nothing():
    stripe = FakeStripe({"/v1/accounts": (403, "Only Stripe Connect platforms can work with other accounts.")})

    found = await check(stripe, RESOURCES)

    assert stripe.calls["/v1/accounts"] == 1
    assert {one.slug: one.grant for one in found.checked}["rak_connected_account_read"] is Grant.GRANTED


async def test_key_that_may_not_list_accounts_is_told_so():
    found = await check(FakeStripe({"/v1/accounts": refusal("rak_connected_account_read")}), RESOURCES)

    assert [one.slug for one in found.missing] == ["rak_connected_account_read"]
    assert found.unreadable == {"connected_account"}


async def test_address_that_is_not_allowed_is_one_cause_and_no_missing_permission():
    words = "The API key provided does not allow requests from your IP address."

    error = await refused(FakeStripe(everything=(403, words)), RESOURCES)

    assert error.code == "api_key_ip_restricted"


async def test_refusal_in_unknown_words_is_told_as_it_is():
    found = await check(FakeStripe({"/v1/charges": (400, "Charges rest today.")}), CHARGE)

    [charges] = [one for one in found.checked if one.grant is Grant.REFUSED]
    assert (charges.permission.slug, charges.words) == ("rak_charge_read", "Charges rest today.")
    report = make_report(
        parse_api_key(KEY.get_secret_value(), allow_test=False), found, webhooks=None, wanted=["charge"]
    )
    assert "The key has every permission" not in report.sentence
    assert report.sentence.endswith("Stripe refuses Charges and Refunds, and says: Charges rest today.")
