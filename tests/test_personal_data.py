"""No personal data is left in a text, and what shoppers search by stays."""

from collections import Counter

import pytest

from dataset_builder.logs.personal_data import scrub


def scrubbed(text: str) -> tuple[str, dict[str, int]]:
    found: Counter[str] = Counter()
    return scrub(text, found), dict(+found)


@pytest.mark.parametrize(
    "number",
    [
        "0912 345 678", "0912.345.678", "+84 912 345 678", "(+84)912345678", "00 84 912 345 678", "84 912 345 678",
        "081-234-5678", "0812345678", "02-123-4567", "+66 81 234 5678",
        "0812-3456-7890", "(021) 555-1234", "+62 812-3456-7890", "62 812 3456 7890", "628123456789",
        "012-345 6789", "+60 12-345 6789", "0123456789",
        "0300-1234567", "+92 300 1234567", "۰۳۰۰-۱۲۳۴۵۶۷", "923001234567",
        "01712-345678", "০১৭১২-৩৪৫৬৭৮", "+8801712345678", "8801712345678",
        "0917 123 4567", "0917 123 45 67", "+63 917 123 4567", "＋63 917 123 4567",
        "+1 (212) 555-0123", "+44 20 7946 0958",
    ],
)  # fmt: skip
def test_telephone_numbers_of_seven_countries_and_abroad(number: str) -> None:
    for before, after in (("mug ", " 500ml"), ("โทร", "ค่ะ"), ("wa:", "."), ("", " 100 200 300 cm")):
        rest, found = scrubbed(f"{before}{number}{after}")
        assert rest.replace(" ", "") == f"{before}{after}".replace(" ", "")
        assert found == {"phone": 1}


@pytest.mark.parametrize(
    ("text", "rest", "kind"),
    [
        ("mug siti.aminah+shop@mail.co.id please", "mug please", "email"),
        ("mug siti @ mail.com", "mug", "email"),
        ("mug https://shop.example/u?id=12 red", "mug red", "link"),
        ("mug www.shop.example", "mug", "link"),
        ("ig @tokosari mug", "ig mug", "handle"),
        ("order 123e4567-e89b-12d3-a456-426614174000", "order", "uuid"),
        ("kad 4111 1111 1111 1111 mug", "kad mug", "card"),
        ("nik 3174012345678901", "nik", "id"),
        ("cnic 35202-1234567-1", "cnic", "id"),
        ("บัตร 1-1037-01234-56-7", "บัตร", "id"),
        ("ic 880101-14-5678", "ic", "id"),
        ("invoice INV20260131-889 mug", "invoice mug", "id"),
        ("INV/20240115/MPL/1234567890", "", "id"),
        ("order 123456 mug", "order mug", "id"),
        ("order id: SP-12345", "order id:", "id"),
        ("mã đơn #1234567 áo", "mã đơn # áo", "id"),
        ("คำสั่งซื้อ 1234567", "คำสั่งซื้อ", "id"),
        ("pelanggan no 88231", "pelanggan no", "id"),
    ],
)
def test_other_personal_data(text: str, rest: str, kind: str) -> None:
    assert scrubbed(text) == (rest, {kind: 1})


@pytest.mark.parametrize(
    "text",
    [
        "iphone 15 128gb", "susu 1.500.000", "kabel 100 x 200 x 300 cm", "SM-G991B case", "rice 5kg 2 pcs",
        "PH-4500 mAh 20000", "a4 80gsm 500 lembar", "12 24 36 bulan", "5@10000", "beras 5 @ 10.000",
        "case iphone 11 12 13 14 15", "kotak 30x60x100cm", "kalender 2024-2025", "Civic 2018 2019 2020 2021",
        "powerbank 5000-10000mAh", "60 80 100 120 140", "0.5 1.5 2.5 3.5 4.5", "size 36 37 38 39 40 41 42",
        "GA-B450M-DS3H", "WH-1000XM5", "áo size 0 2 4 6 8 10", "LEGO 75192", "kopi 3in1 2024-01-15", "+2 ream 500 1000",
    ],
)  # fmt: skip
def test_what_shoppers_search_by_stays(text: str) -> None:
    assert scrubbed(text) == (text, {})


def test_everything_is_found_in_one_text() -> None:
    text = "mug a@b.co 0812-3456-7890, 0898 7654 321 order 12345 123456789"
    assert scrubbed(text) == ("mug , order", {"email": 1, "phone": 2, "id": 2})
