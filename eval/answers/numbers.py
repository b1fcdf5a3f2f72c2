"""Find the number that a written-out answer ends with, in the digits and the notation of its language."""

import re
import unicodedata
from fractions import Fraction

DOT_GROUPS = frozenset({"vi", "id", "de", "es", "it", "nl", "pt", "tr"})
"""Languages that write 10.000 for ten thousand and 2,5 for two and a half."""
_MARKERS = (
    r"answer\s*(?:is|:|=)", r"####",
    r"đáp (?:án|số)\s*(?:là|:)", r"(?:câu )?trả lời\s*(?:là|:)",
    r"คำตอบ\s*(?:คือ|:)", r"ตอบ\s*:",
    r"jawab(?:an)?(?:nya)?\s*(?:adalah|ialah|:)", r"jawapan(?:nya)?\s*(?:adalah|ialah|:)",
    r"جواب\s*(?:ہے|:|یہ ہے)", r"উত্তর\s*(?:হলো|হল|হচ্ছে|:)", r"sagot\s*(?:ay|:)",
)  # fmt: skip
"""What says that the answer follows; the last one in a text counts."""
_MARKER = re.compile("|".join(_MARKERS), re.IGNORECASE)
_SENTENCE = re.compile(r"\n|[.!?](?=\s|$)|।|۔")
_CURRENCY = r"(?:\$|€|£|¥|฿|৳|₹|₱|₫|rp|rm|rs)"
_NUMERAL = r"(?:\d+(?:[.,]\d+)*|(?<![\w.])\.\d+)"
_NUMBER = re.compile(
    rf"(?P<minus>(?<![\w).%])-(?={_CURRENCY}|\d|\.\d))?(?:(?P<before>{_CURRENCY}\.?\s?)(?P<minus_after>-)?)?"
    rf"(?:(?P<whole>\d+) (?=\d+\s?/\s?\d))?(?P<top>{_NUMERAL})(?:\s?/\s?(?P<bottom>\d+)(?![\d/]))?"
    rf"(?P<after>\s?(?:₫|đồng|vnđ|vnd))?",
    re.IGNORECASE,
)
_LONGEST = 200
"""Characters of a number: a language model may repeat a digit for ever."""
_SLASH = "\N{FRACTION SLASH}"


def extract_number(text: str, language: str = "en") -> Fraction | None:
    """Return the number that a text answers with, or None where it names none.

    After the last "the answer is", in English or in one of the seven languages, the first number of that sentence, or
    what follows its last "="; no number there is a refusal. Without such words the last number of the text. Digits may
    be of any script; commas may group by thousands or by lakh; 1/2 and 1 1/2 are fractions; signs, currency, percent
    and units are not part of a number, the minus is. Number words are not read.

    Parameters
    ----------
    text : str
    language : str
        Decides whether a dot before three digits groups, as in Vietnamese and Indonesian, or is a decimal point.

    Source: exact match on the number, as in Shi et al. (2023, MGSM).
    """
    plain = _plain(text)
    marked = list(_MARKER.finditer(plain))
    if marked:
        rest = plain[marked[-1].end() :].lstrip(" \n:*=")
        sentence = _SENTENCE.split(rest, maxsplit=1)[0]
        numbers = _numbers(sentence.rpartition("=")[2], language) or _numbers(sentence, language)
        return numbers[0] if numbers else None
    numbers = _numbers(plain, language)
    return numbers[-1] if numbers else None


def _plain(text: str) -> str:
    """Write digits, signs and separators of all scripts as those of ASCII."""
    text = re.sub(r"(?<=\d)[\u00a0\u2009\u202f](?=\d{3}(?!\d))", "", text)  # spaces that group
    text = re.sub(r"(?<=\d)(?=[¼-¾⅐-⅞])", " ", text)
    text = unicodedata.normalize("NFKC", text).replace(_SLASH, "/").replace("−", "-")
    text = text.replace("٫", ".").replace("٬", ",")
    return "".join(str(unicodedata.decimal(letter)) if letter.isdecimal() else letter for letter in text)


def _numbers(text: str, language: str) -> list[Fraction]:
    numbers = []
    for match in _NUMBER.finditer(text):
        if len(match[0]) > _LONGEST:
            continue
        money = f"{match['before'] or ''}{match['after'] or ''}".casefold()
        dots = language in DOT_GROUPS or any(name in money for name in ("rp", "₫", "đồng", "vn"))
        values = _numerals(match["top"], dots)
        if (bottom := match["bottom"]) is not None:
            if not int(bottom):
                continue
            values[-1] = values[-1] / int(bottom) + int(match["whole"] or 0)
        if match["minus"] or match["minus_after"]:
            values[0] = -values[0]
        numbers += values
    return numbers


def _numerals(numeral: str, dots_group: bool) -> list[Fraction]:
    """Return what digits with separators mean: one number, or several where the separators make no sense in one."""
    comma, dot = numeral.rfind(","), numeral.rfind(".")
    if comma >= 0 and dot >= 0:  # the later one is the decimal point
        point = "," if comma > dot else "."
    elif comma >= 0:
        point = "" if _groups(numeral, ",") else ","
    else:
        point = "" if dot < 0 or (_groups(numeral, ".") and (dots_group or numeral.count(".") > 1)) else "."
    whole, _, rest = numeral.rpartition(point) if point else (numeral, "", "")
    if any(sign in whole for sign in ",.") and not any(_groups(whole, sign) for sign in ",."):
        return [Fraction(part) for part in re.split("[.,]", numeral) if part]
    return [Fraction(f"{re.sub('[.,]', '', whole) or '0'}.{rest or '0'}")]


def _groups(numeral: str, separator: str) -> bool:
    """Say whether separators stand where they group: before every three digits, or by lakh: 1,00,000."""
    return re.fullmatch(rf"[1-9]\d{{0,2}}({re.escape(separator)}\d\d\d)+|[1-9]\d?(,\d\d)+,\d\d\d", numeral) is not None
