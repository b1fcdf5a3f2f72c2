"""Remove personal data from short shop texts: e-mail addresses, links, handles, phone and card numbers, ids.

Numbers are what shoppers search by as well: sizes, models, barcodes, year ranges and prices stay. Names and street
addresses have no pattern that finds them.

Every pattern takes time in proportion to the text: a run of characters is entered at its beginning only (the
lookbehinds), and repeats next to each other never match the same characters.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial

Span = tuple[int, int]
Finder = Callable[[str], Iterator[Span]]

_UNITS = (
    "rb|ribu|k|jt|juta|m|mil|rp|rm|rs|tk|taka|php|peso|baht|usd|vnd|đ|đồng|nghìn|ngàn|triệu|บาท|pcs?|pieces?|pack|box|"
    "set|pairs?|units?|buah|biji|helai|lembar|lusin|pasang|kotak|cái|chiếc|đôi|hộp|gói|bộ|ชิ้น|อัน|คู่|กล่อง|ใบ|piraso|"
    "kg|g|gr|gram|mg|l|ltr|liter|litre|ml|cm|mm|inch|w|watt|v|volt|mah|gb|tb|mb|টি|টা|টাকা|পিস|روپے|عدد"
)
_AT = r"(?:\s?[@＠]\s?|\s?[\[({]\s?(?:at|@|a)\s?[\])}]\s?)"
_DOT = r"(?:\.|\s?[\[({]\s?(?:dot|\.)\s?[\])}]\s?|\s(?:dot|titik|chấm)\s)"
_LOCAL_PART = r"(?<![\w.+%-])[\w.+%-]+"
_MAILERS = "gmail|googlemail|yahoo|ymail|rocketmail|hotmail|outlook|icloud|protonmail|proton|aol|zoho"
_LINK_ENDS = "com|net|org|info|shop|store|me|ly|io|co|app|link|gg|ee|id|my|th|vn|pk|bd|ph|sg"
_ACCOUNTS = (
    "line|ig|insta|instagram|fb|facebook|messenger|tiktok|telegram|tele|twitter|zalo|whatsapp|wa|wechat|viber|discord|"
    "snapchat|skype|ไลน์|ไอจี|เฟส|เฟซบุ๊ก|فیس بک|انسٹاگرام|واٹس ایپ|ফেসবুক|ইনস্টাগ্রাম|হোয়াটসঅ্যাপ"
)
_ORDERS = (
    "order|invoice|inv|resi|receipt|tracking|awb|customer|cust|member|user|account|acct|pesanan|pelanggan|faktur|invois|"
    "đơn hàng|mã đơn|khách hàng|mã vận đơn|คำสั่งซื้อ|ออเดอร์|ลูกค้า|เลขพัสดุ|آرڈر|کسٹمر|অর্ডার|গ্রাহক"
)
_PARCELS = "resi|tracking|awb|vận đơn|mã vận đơn|เลขพัสดุ|พัสดุ|ٹریکنگ|ট্র্যাকিং"
_DOCUMENTS = (
    "nik|ktp|npwp|cccd|cmnd|căn cước|cnic|nid|mykad|no ic|ic no|philsys|sss no|tin no|umid|passport|paspor|pasport|"
    "hộ chiếu|"
    "บัตรประชาชน|เลขบัตร|พาสปอร์ต|شناختی کارڈ|پاسپورٹ|জাতীয় পরিচয়পত্র|এনআইডি|পাসপোর্ট"
)
_BIRTHS = (
    "tgl lahir|tanggal lahir|tarikh lahir|lahir|ngày sinh|sinh ngày|date of birth|dob|born(?: on)?|วันเกิด|เกิดวันที่|เกิด|"
    "জন্ম তারিখ|জন্ম|تاریخ پیدائش|petsa ng kapanganakan|kapanganakan"
)
_PLATES = (
    "nopol|no pol|no polisi|plat nomor|plat no|no plat|plate no|plate number|number plate|licen[sc]e plate|biển số xe|"
    "biển số|ทะเบียนรถ|ทะเบียน|نمبر پلیٹ|নম্বর প্লেট"
)
_BETWEEN = r"[\s:#.]*(?:(?:id|no|number|nombor|nomor|code|kode|số)[\s:#.]*)?"


def _owned(owners: str, value: str, between: str = _BETWEEN) -> "re.Pattern[str]":
    """Return a pattern of a value that follows a word such as "order" or "passport"; only the value is removed."""
    return re.compile(rf"(?<!\w)(?:{owners}){between}(?P<value>{value})", re.IGNORECASE)


_MARKED_PATTERNS = (
    ("email", re.compile(rf"{_LOCAL_PART}{_AT}[\w-]+(?:{_DOT}[\w-]+)*{_DOT}[^\W\d_]{{2,}}", re.IGNORECASE)),
    (
        "email",
        re.compile(
            rf"{_LOCAL_PART}(?:{_AT}|\sat\s)(?:{_MAILERS})(?:{_DOT}(?:com|net|org|me|co|[a-z]{{2}}))*(?!\w)",
            re.IGNORECASE,
        ),
    ),
    ("link", re.compile(r"(?:https?://|www\.)\S+", re.IGNORECASE)),
    (
        "link",
        re.compile(
            rf"(?<![\w@.-])(?=[\w-]*[a-z])[\w-]{{1,63}}(?:\.[\w-]{{1,63}}){{0,4}}\.(?:{_LINK_ENDS})/\S+", re.IGNORECASE
        ),
    ),
    (
        "handle",
        re.compile(rf"(?<!\w)[@＠](?!\d+(?:[.,]\d+)?(?:{_UNITS})(?!\w))(?=\w*[^\W\d])\w[\w.]{{2,}}", re.IGNORECASE),
    ),
    (
        "handle",
        _owned(_ACCOUNTS, r"(?=[\d_.-]*[^\W\d_])\w[\w.-]{2,}", r"(?:\s?(?:id|ไอดี|user|username))?\s?[:=]\s?[@＠]?"),
    ),
    (
        "handle",
        _owned(r"line\s?id|id\s?line|ไลน์ไอดี|ไอดีไลน์|add line|แอดไลน์", r"(?=[^\W\d]+[\d_.-])\w[\w.-]{2,}", r"\s+"),
    ),
)
_NUMBERED_PATTERNS = (
    ("uuid", re.compile(r"(?<!\w)[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?!\w)", re.IGNORECASE)),
    ("coordinates", re.compile(r"(?<![\d.])-?\d{1,3}\.\d{4,12}\s?[,; ]\s?-?\d{1,3}\.\d{4,12}(?!\d)")),
    (
        "coordinates",
        re.compile(r"(?<!\d)\d{1,3}°\s?\d{1,2}['′’]\s?(?:\d{1,2}(?:[.,]\d{1,6})?[\"″”]?\s?)?[NSEWnsew](?!\w)"),
    ),
    ("coordinates", _owned("lat|latitude|lng|lon|longitude", r"-?\d{1,3}\.\d{1,12}", r"\s?[:=]?\s?")),
    (
        "birth date",
        _owned(_BIRTHS, r"\d{1,4}[ ./-]\d{1,2}[ ./-]\d{1,4}(?!\d)|\d{1,2} [^\W\d_]{3,15} \d{4}(?!\d)", r"[\s:#.]*"),
    ),
    (
        "plate",
        _owned(
            _PLATES,
            r"(?:[a-z]{1,3}[ -]?\d{1,4}(?:[ -]?[a-z]{1,3})?|\d{0,2}[a-zก-ฮ]{1,3}\d?[ -]?\d{1,5}(?:\.\d{2})?)(?!\w)",
            r"[\s:#.]*",
        ),
    ),
    ("plate", re.compile(r"(?<![\w-])\d{2}[A-Z]\d?[ -]\d{3}\.\d{2}(?![\w.])")),
)
_MARKS = re.compile(r"[@＠:=/\[({]|www\.|\sat\s|line|ไลน์", re.IGNORECASE)
"""A text without any of these cannot match `_MARKED_PATTERNS`: most titles have none and need not be searched."""
_CARD = re.compile(r"(?<![\dA-Za-z])(?:\d{4}(?:[ .-]?\d{4}){3}|3\d{3}[ .-]?\d{6}[ .-]?\d{5})(?![\dA-Za-z])")

_MOBILE_ABROAD = r"84 ?-?[35789]|66 ?-?[689]|62 ?-?8|60 ?-?1|92 ?-?3|880 ?-?1[3-9]|63 ?-?9"
"""Country code and first digit of mobile numbers in Vietnam, Thailand, Indonesia, Malaysia, Pakistan, Bangladesh and
the Philippines, for numbers without a plus sign."""
_PHONE_START = re.compile(
    rf"(?<![\dA-Za-z.,])(?:(?P<plus>\(?(?:[+＋]|00)\s?\(?[1-9])|\(?[0০٠۰]\d|(?P<abroad>{_MOBILE_ABROAD}))"
)
_PHONE_GROUP = re.compile(r"[\s().-]{0,2}[+＋]?\s?\(?(\d+)(?![\dA-Za-z])")
_PHONE_DIGITS = range(9, 16)
_USUAL_DIGITS, _USUAL_DIGITS_ABROAD = 10, 11

_ID_GROUPS = (
    ("[ .-]", (2, 2, 2, 6, 4)), ("[ .-]", (6, 6, 4)), ("[ .-]", (1, 4, 5, 2, 1)), ("[ .-]", (2, 3, 3, 1, 3, 3)),
    ("[ .-]", (5, 7, 1)), ("[ .-]", (6, 2, 4)), ("[ .-]", (2, 7, 1)), ("[ .-]", (2, 9, 1)), ("[ .-]", (4, 7, 1)),
    ("[.-]", (4, 4, 4, 4)),
)  # fmt: skip
"""Separators and digits a group of Indonesia's NIK (two forms) and Thailand's id, Indonesia's NPWP, Pakistan's CNIC,
Malaysia's MyKad, the Philippines' SSS, PhilHealth, UMID and PhilSys numbers."""
_GROUPED_ID = re.compile(
    r"(?<![\dA-Za-z.,-])(?:"
    + "|".join(separator.join(rf"\d{{{count}}}" for count in groups) for separator, groups in _ID_GROUPS)
    + r"|0\d{2}(?:[ .]\d{3}){3})(?![\dA-Za-z]|[.,-]\d)"  # Vietnam's CCCD begins with 0
)
_ID = re.compile(r"[A-Za-z\d_/-]{9,}")
_ID_RUN = re.compile(r"\d{6}")
_OWNED_ORDER = _owned(_ORDERS, rf"[a-z]{{0,4}}-?\d{{5,}}(?:-\d+)*(?![\da-z])(?!\s?(?:{_UNITS})(?!\w))")
_OWNED_PARCEL = _owned(_PARCELS, r"(?=[a-z-]*\d)[a-z\d-]{6,}(?!\w)")
_OWNED_DOCUMENT = _owned(_DOCUMENTS, r"[a-z]{0,2}\d(?:[ .-]?\d){5,}(?![\da-z])")

_BARCODE = re.compile(r"(?<![\dA-Za-z-])(?:\d{13}|97[89](?:[ -]?\d){9}[ -]?\d|\d{1,5}-\d{1,7}-\d{1,6}-[\dXx])(?![\w-])")
_OWNED_BARCODE = _owned(
    "isbn(?:-?1[03])?|barcode|ean|upc|gtin|mã vạch|บาร์โค้ด|kode batang|kod bar|بار کوڈ|বারকোড",
    r"\d(?:[ -]?\d){6,12}[\dx]?",
)
_BARCODE_COUNTRIES = re.compile(r"97[89]|893|885|899|955|896|480|888|890|69\d|49\d|45\d|471|489")
"""First digits of barcodes: of books, of the seven countries (Bangladesh has none), and of those exporting to them."""


def scrub(text: str, removed: Counter[str]) -> str:
    """Remove what looks like personal data.

    Parameters
    ----------
    text : str
    removed : Counter
        Gets the number of removed pieces added, by kind.
    """
    pieces, last = [], 0
    for start, end in _barcodes(text) if _digits(text) >= 8 else ():
        pieces += [_scrub(text[last:start], removed), text[start:end]]
        last = end
    pieces.append(_scrub(text[last:], removed))
    return " ".join(" ".join(pieces).split()) if last else pieces[0]


def _scrub(text: str, removed: Counter[str]) -> str:
    if _MARKS.search(text):
        for kind, spans in _MARKED:
            text = _without(text, spans, kind, removed)
    digits = _digits(text)
    for least, kind, spans in _NUMBERED:
        if digits >= least:
            text = _without(text, spans, kind, removed)
    return " ".join(text.split())


def _without(text: str, spans: Finder, kind: str, removed: Counter[str]) -> str:
    """Return the text with a space instead of each span."""
    kept, last = [], 0
    for start, end in spans(text):
        if start >= last:
            kept += [text[last:start], " "]
            last = end
            removed[kind] += 1
    return "".join([*kept, text[last:]])


def _matches(pattern: "re.Pattern[str]", text: str) -> Iterator[Span]:
    """Yield the spans of a pattern's matches, or of its group `value` if it has one."""
    group = "value" if "value" in pattern.groupindex else 0
    return (match.span(group) for match in pattern.finditer(text))


def _cards(text: str) -> Iterator[Span]:
    """Find groups of digits with the check digit of payment cards, which four years in a row seldom have."""
    for match in _CARD.finditer(text):
        digits = [int(char) for char in reversed(match[0]) if char.isdigit()]
        doubled = [sum(divmod(2 * digit, 10)) if position % 2 else digit for position, digit in enumerate(digits)]
        if sum(doubled) % 10 == 0:
            yield match.span()


def _phones(text: str) -> Iterator[Span]:
    """Find numbers that begin as telephone numbers do: +, 0, or a country code and the first digit of a mobile one."""
    position = 0
    while start := _PHONE_START.search(text, position):
        abroad = start["plus"] or start["abroad"]
        end = _phone_end(text, start.start(), _USUAL_DIGITS_ABROAD if abroad else _USUAL_DIGITS)
        if end and (not start["abroad"] or _digits(text[start.start() : end]) >= _USUAL_DIGITS_ABROAD):
            yield start.start(), end
        position = end or start.end()


def _phone_end(text: str, position: int, usual: int) -> int:
    """Return where a phone number ends: after the group that makes it usually long, else possibly long; 0 if neither.

    Some numbers of fixed lines have nine digits, the last group then being one of at least three.
    """
    digits, end = 0, 0
    while group := _PHONE_GROUP.match(text, position):
        digits, position = digits + len(group[1]), group.end()
        if digits in _PHONE_DIGITS:
            end = position
        if digits >= usual or (digits == usual - 1 == 9 and len(group[1]) >= 3):
            break
    return end


def _digits(text: str) -> int:
    return sum(map(str.isdigit, text))


def _long_ids(text: str) -> Iterator[Span]:
    """Find words of letters, digits and hyphens with six digits in a row, and long numbers cut by hyphens."""
    for match in _ID.finditer(text):
        word = match[0]
        cut_number = _digits(word) >= 10 and word.count("-") >= 2 and not re.search("[A-Za-z/]", word)
        if cut_number or _ID_RUN.search(word):
            yield match.span()


_MARKED: Sequence[tuple[str, Finder]] = [(kind, partial(_matches, pattern)) for kind, pattern in _MARKED_PATTERNS]
_NUMBERED: Sequence[tuple[int, str, Finder]] = (
    *((1, kind, partial(_matches, pattern)) for kind, pattern in _NUMBERED_PATTERNS),
    (15, "card", _cards),
    (6, "id", partial(_matches, _OWNED_DOCUMENT)),
    (10, "id", partial(_matches, _GROUPED_ID)),
    (9, "phone", _phones),
    (5, "id", partial(_matches, _OWNED_ORDER)),
    (1, "id", partial(_matches, _OWNED_PARCEL)),
    (6, "id", _long_ids),
)
"""The least digits of a text that can contain one, its kind, and the function that finds it."""


def _barcodes(text: str) -> Iterator[Span]:
    """Find barcodes and ISBNs, in order: numbers with a correct check digit that are not those of a person."""
    owned = [match.span("value") for match in _OWNED_BARCODE.finditer(text) if _checks(match["value"])]
    plain = [match.span() for match in _BARCODE.finditer(text) if _checks(match[0]) and not _is_personal(match[0])]
    last = 0
    for start, end in sorted({*owned, *plain}):
        if start >= last:
            yield start, end
            last = end


def _is_personal(number: str) -> bool:
    """Return whether a number of thirteen digits is more likely a Thai id or a Bangladeshi mobile number."""
    digits = [int(char) for char in number if char.isdigit()]
    if len(digits) != 13:
        return False
    if not _BARCODE_COUNTRIES.match(number):
        return True
    return 1 <= digits[0] <= 8 and (11 - _weighted(digits[:12], range(13, 1, -1)) % 11) % 10 == digits[12]


def _checks(number: str) -> bool:
    """Return whether a number's last digit is a correct check digit of a GS1 barcode or an ISBN-10."""
    digits = [10 if char in "Xx" else int(char) for char in number if char.isdigit() or char in "Xx"]
    if len(digits) == 10:
        return _weighted(digits, range(10, 0, -1)) % 11 == 0
    return len(digits) in (8, 12, 13) and _weighted(digits[::-1], [1, 3] * 7) % 10 == 0


def _weighted(digits: Sequence[int], weights: Sequence[int]) -> int:
    return sum(digit * weight for digit, weight in zip(digits, weights, strict=False))
