"""No personal data is left in a text, and what shoppers search by stays."""

from collections import Counter

import pytest

from dataset_builder.logs.personal_data import scrub


def barcode(digits: str) -> str:
    """Return twelve digits with the check digit that GS1 asks for."""
    return digits + str(-sum(int(digit) * (1, 3)[position % 2] for position, digit in enumerate(digits)) % 10)


def test_barcodes_stay_and_ids_of_as_many_digits_go() -> None:
    for country in ("893", "885", "899", "955", "896", "480", "690"):
        kept = sum(scrubbed(barcode(f"{country}{number:09d}"))[1] == {} for number in range(1_000_000, 1_000_100))
        assert kept >= 85  # the others have the check digit of a Thai id as well
    wrong = barcode("899276111111")[:-1] + "0"
    assert scrubbed(f"mug {wrong}") == ("mug", {"id": 1})
    assert scrubbed(barcode("880171234567"))[1] == {"phone": 1}
    assert scrubbed("order 5, isbn 9786020633176, order 123456")[0] == "order 5, isbn 9786020633176 , order"


def scrubbed(text: str) -> tuple[str, dict[str, int]]:
    removed: Counter[str] = Counter()
    return scrub(text, removed), dict(+removed)


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
        rest, removed = scrubbed(f"{before}{number}{after}")
        assert rest.replace(" ", "") == f"{before}{after}".replace(" ", "")
        assert removed == {"phone": 1}


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
        ("nik 32.01.23.456789.0001", "nik", "id"),
        ("32 01 23 456789 0001 mug", "mug", "id"),
        ("320123 456789 0001", "", "id"),
        ("บัตร 1 1037 02071 23 1", "บัตร", "id"),
        ("1.1037.02071.23.1", "", "id"),
        ("npwp 09.254.294.3-407.000", "npwp", "id"),
        ("35202 1234567 1", "", "id"),
        ("kad 880101 14 5678", "kad", "id"),
        ("34-1234567-8 mug", "mug", "id"),
        ("1234.5678.9101.1213", "", "id"),
        ("cccd 079 203 012 345 mug", "cccd mug", "id"),
        ("079 203 012 345 mug", "mug", "id"),
        ("nid 1234 5678 90", "nid", "id"),
        ("passport A1234567 cover", "passport cover", "id"),
        ("tracking LX3K9A mug", "tracking mug", "id"),
        ("resi JP-12K4589", "resi", "id"),
        ("budi[at]gmail.com mug", "mug", "email"),
        ("mug budi (at) gmail (dot) com", "mug", "email"),
        ("budi at gmail.com", "", "email"),
        ("budi at gmail dot com", "", "email"),
        ("budi.s@gmail", "", "email"),
        ("budi{at}toko.co.id", "", "email"),
        ("mug line id: somchai99", "mug line id:", "handle"),
        ("line id somchai99", "line id", "handle"),
        ("LINE ID : somchai", "LINE ID :", "handle"),
        ("ig: tokobudi mug", "ig: mug", "handle"),
        ("fb:siti.aminah", "fb:", "handle"),
        ("ไลน์: somchai99", "ไลน์:", "handle"),
        ("ফেসবুক: rahim.uddin", "ফেসবুক:", "handle"),
        ("wa.me/somchai", "", "link"),
        ("mug t.me/budi_s", "mug", "link"),
        ("-6.200000, 106.816666", "", "coordinates"),
        ("rumah -6.2000 106.8166", "rumah", "coordinates"),
        ("13°45'20\"N", "", "coordinates"),
        ("tgl lahir 12-05-1990", "tgl lahir", "birth date"),
        ("sinh ngày 3/4/1988", "sinh ngày", "birth date"),
        ("dob: 12 may 1990", "dob:", "birth date"),
        ("nopol B 1234 XYZ", "nopol", "plate"),
        ("biển số 51F-123.45", "biển số", "plate"),
        ("51F-123.45", "", "plate"),
        ("ทะเบียน 1กข 1234", "ทะเบียน", "plate"),
        ("kad 3782 822463 10005", "kad", "card"),
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
        "isbn 9786020633176", "978-602-06-3317-6", "978 602 06 3317 6", "0-306-40615-2", "isbn 0306406152",
        "8992761111113", "barcode 012345678905", "minyak @10rb", "@5000rp", "sabun @250ml", "order 10000 pcs",
        "order 12000 biji mug", "plat nomor akrilik", "plate 25 cm", "line: 5 m", "gps tracking GT06N", "born 2 shine",
        "case for iphone at 50k", "cat dinding 3.5/4.5 kg", "dispenser galon 19.5 l", "versace eros edt 100ml",
        "sinh nhật 2024", "quà sinh nhật 1 tuổi", "paspor 20 lembar", "resistor 10k ohm", "24V 10000 mAh",
        "ball point 0.5 1.0", "kabel usb 3.1/2.0", "size (a) mug", "shirt [at] home", "cable 3.5000 mm",
    ],
)  # fmt: skip
def test_what_shoppers_search_by_stays(text: str) -> None:
    assert scrubbed(text) == (text, {})


def test_everything_is_found_in_one_text() -> None:
    text = "mug a@b.co 0812-3456-7890, 0898 7654 321 order 12345 123456789"
    assert scrubbed(text) == ("mug , order", {"email": 1, "phone": 2, "id": 2})
