"""Take personal data out of short shop texts: addresses, links, handles, phone and card numbers, ids.

Numbers are what shoppers search by as well: sizes, models, year ranges and prices stay.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator

_PATTERNS = (
    ("email", re.compile(r"[\w.+%-]+\s?@\s?[\w-]+(?:\.[\w-]+)*\.[^\W\d_]{2,}")),
    ("link", re.compile(r"(?:https?://|www\.)\S+", re.IGNORECASE)),
    ("handle", re.compile(r"(?<!\w)@(?=\w*[^\W\d])\w{3,}")),
    ("uuid", re.compile(r"(?<!\w)[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?!\w)", re.IGNORECASE)),
)
_CARD = re.compile(r"(?<![\dA-Za-z])\d{4}(?:[ -]?\d{4}){3}(?![\dA-Za-z])")

_MOBILE_ABROAD = r"84 ?-?[35789]|66 ?-?[689]|62 ?-?8|60 ?-?1|92 ?-?3|880 ?-?1[3-9]|63 ?-?9"
"""Country code and first digit of mobile numbers in Vietnam, Thailand, Indonesia, Malaysia, Pakistan, Bangladesh and
the Philippines, for numbers without a plus sign."""
_PHONE_START = re.compile(
    rf"(?<![\dA-Za-z.,])(?:(?P<plus>\(?(?:[+＋]|00)\s?\(?[1-9])|\(?[0০٠۰]\d|(?P<abroad>{_MOBILE_ABROAD}))"
)
_PHONE_GROUP = re.compile(r"[\s().-]{0,2}[+＋]?\s?\(?(\d+)(?![\dA-Za-z])")
_PHONE_DIGITS = range(9, 16)
_USUAL_DIGITS, _USUAL_DIGITS_ABROAD = 10, 11

_ID = re.compile(r"[A-Za-z\d_/-]{9,}")
_ID_RUN = re.compile(r"\d{6}")
_OWNERS = (
    "order|invoice|inv|resi|receipt|tracking|awb|customer|cust|member|user|account|acct|pesanan|pelanggan|faktur|invois|"
    "đơn hàng|mã đơn|khách hàng|mã vận đơn|คำสั่งซื้อ|ออเดอร์|ลูกค้า|เลขพัสดุ|آرڈر|کسٹمر|অর্ডার|গ্রাহক"
)
_OWNED_ID = re.compile(rf"(?<!\w)(?:{_OWNERS})[\s:#.]*(?:id|no|number|nombor|nomor|số)?[\s:#.]*", re.IGNORECASE)
_OWNED_NUMBER = re.compile(r"[A-Za-z]{0,4}-?\d{5,}(?:-\d+)*(?![\dA-Za-z])")


def scrub(text: str, found: Counter[str]) -> str:
    """Remove what looks like personal data.

    Parameters
    ----------
    text : str
    found : Counter
        Is told what was removed, by kind.

    Source: ours.
    """
    for kind, pattern in _PATTERNS:
        text, count = pattern.subn(" ", text)
        found[kind] += count
    for kind, spans in (("card", _cards), ("phone", _phones), ("id", _owned_ids), ("id", _long_ids)):
        text = _without(text, spans, kind, found)
    return " ".join(text.split())


def _without(text: str, spans: Callable[[str], Iterator[tuple[int, int]]], kind: str, found: Counter[str]) -> str:
    """Return the text with a space in each span's place."""
    kept, last = [], 0
    for start, end in spans(text):
        if start >= last:
            kept += [text[last:start], " "]
            last = end
            found[kind] += 1
    return "".join([*kept, text[last:]])


def _cards(text: str) -> Iterator[tuple[int, int]]:
    """Find four groups of four digits with the check digit of payment cards; four years in a row seldom have it."""
    for match in _CARD.finditer(text):
        digits = [int(char) for char in match[0] if char.isdigit()]
        doubled = [sum(divmod(2 * digit, 10)) if place % 2 == 0 else digit for place, digit in enumerate(digits)]
        if sum(doubled) % 10 == 0:
            yield match.span()


def _phones(text: str) -> Iterator[tuple[int, int]]:
    """Find numbers that begin as telephone numbers do: +, 0, or a country code and the first digit of a mobile one."""
    place = 0
    while start := _PHONE_START.search(text, place):
        abroad = start["plus"] or start["abroad"]
        end = _phone_end(text, start.start(), _USUAL_DIGITS_ABROAD if abroad else _USUAL_DIGITS)
        if end and (not start["abroad"] or _digits(text[start.start() : end]) >= _USUAL_DIGITS_ABROAD):
            yield start.start(), end
        place = end or start.end()


def _phone_end(text: str, place: int, usual: int) -> int:
    """Return where a phone number ends: after the first group with a usual number of digits, else a possible one.

    Some numbers of fixed lines have nine digits, the last group then being one of at least three.
    """
    digits, end = 0, 0
    while group := _PHONE_GROUP.match(text, place):
        digits, place = digits + len(group[1]), group.end()
        if digits in _PHONE_DIGITS:
            end = place
        if digits >= usual or (digits == usual - 1 == 9 and len(group[1]) >= 3):
            break
    return end


def _digits(text: str) -> int:
    return sum(char.isdigit() for char in text)


def _owned_ids(text: str) -> Iterator[tuple[int, int]]:
    """Find the numbers that are said to be an order's, a customer's or a parcel's."""
    for match in _OWNED_ID.finditer(text):
        if number := _OWNED_NUMBER.match(text, match.end()):
            yield number.span()


def _long_ids(text: str) -> Iterator[tuple[int, int]]:
    """Find words of letters, digits and hyphens with six digits in a row, and long numbers cut by hyphens."""
    for match in _ID.finditer(text):
        word = match[0]
        cut_number = _digits(word) >= 10 and word.count("-") >= 2 and not re.search("[A-Za-z/]", word)
        if cut_number or _ID_RUN.search(word):
            yield match.span()
