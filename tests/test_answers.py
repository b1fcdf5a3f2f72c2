"""The number in an answer: written-out cases of every language and notation."""

from fractions import Fraction

import pytest

from eval.answers.numbers import extract_number

CASES = [
    # plain, and the words that mark the answer
    ("18", "en", 18),
    ("The answer is 18.", "en", 18),
    ("She sells 16 - 3 - 4 = 9 eggs. The answer is 9 * 2 = 18 dollars per day.", "en", 18),
    ("The answer is 18. There are 5 left over.", "en", 18),
    ("First I thought the answer is 7. No: the answer is 12 (3 boxes of 4).", "en", 12),
    ("Answer: **42**", "en", 42),
    ("So they walk 3 + 4 = 7 miles.\n#### 7", "en", 7),
    ("The answer is:\n18", "en", 18),
    ("There were 3 boxes with 4 pens each, 12 pens", "en", 12),
    # digits of other scripts
    ("คำตอบคือ ๑๘", "th", 18),
    ("๒,๕๐๐ บาท", "th", 2500),
    ("ดังนั้นเธอมีเงิน 9 * 2 = 18 ดอลลาร์ คำตอบคือ 18", "th", 18),
    ("উত্তর হল ১৮।", "bn", 18),
    ("উত্তর হলো ১,২৩,৪৫৬ টাকা।", "bn", 123456),
    ("মোট ২৫টি ডিম", "bn", 25),
    ("جواب: ۲۵", "ur", 25),
    ("کل ١٢٫٥ کلو", "ur", Fraction("12.5")),
    ("٣٬٠٠٠", "ur", 3000),
    ("１８個", "ja", 18),
    # separators
    ("The answer is 1,234.", "en", 1234),
    ("It costs 1,00,000 rupees", "hi", 100000),
    ("about 1,234,567.89", "en", Fraction("1234567.89")),
    ("10.000 dong", "vi", 10000),
    ("10.000 grams", "en", 10),
    ("1.234.567,5", "id", Fraction("1234567.5")),
    ("đáp án là 2,5", "vi", Fraction("2.5")),
    ("0.125", "vi", Fraction("0.125")),
    ("70\u00a0000 people", "en", 70000),
    ("the numbers 3,4", "vi", Fraction("3.4")),
    ("version 1.2.3", "en", 3),
    ("0,5 km", "id", Fraction(1, 2)),
    ("the rest is .5", "en", Fraction(1, 2)),
    # currency
    ("She makes $18 every day", "en", 18),
    ("$1,250.50", "en", Fraction("1250.5")),
    ("ราคา ฿๑๒๐", "th", 120),
    ("৳৫০০", "bn", 500),
    ("₹1,50,000", "hi", 150000),
    ("Jawabannya adalah Rp 10.000.", "id", 10000),
    ("Rp10.000", "ms", 10000),
    ("harganya RM25", "ms", 25),
    ("Rs. 500", "ur", 500),
    ("Trả lời: 25.000₫", "vi", 25000),
    ("25.000 đồng", "en", 25000),
    # fractions, percent, units, signs
    ("1/2", "en", Fraction(1, 2)),
    ("The answer is 1 1/2 cups.", "en", Fraction(3, 2)),
    ("2½ hours", "en", Fraction(5, 2)),
    ("½", "en", Fraction(1, 2)),
    ("2 / 4", "en", Fraction(1, 2)),
    ("25%", "en", 25),
    ("it is 18km away", "en", 18),
    ("12ชิ้น", "th", 12),
    ("The answer is -5.", "en", -5),
    ("The answer is −5 degrees", "en", -5),
    ("-$5", "en", -5),
    ("16-3", "en", 3),
    ("16 - 3", "en", 3),
    ("COVID-19", "en", 19),
    ("$-2.50", "en", Fraction("-2.5")),
    ("-1 1/2", "en", Fraction(-3, 2)),
    ("48/2 = 24 clips", "en", 24),
    ("3–5 apples", "en", 5),
    ("first 7 8", "en", 8),
    # words that mark it in other languages
    ("Ang sagot ay 14 sa 20 bata.", "fil", 14),
    ("Jawapannya ialah 30 orang, bukan 40.", "ms", 30),
    ("Đáp số: 45 quả", "vi", 45),
    # none
    ("", "en", None),
    ("I do not know.", "en", None),
    ("I have 3 apples, but the answer is unknown.", "en", None),
    ("The answer is eighteen.", "en", None),
    ("คำตอบคือ ไม่ทราบ", "th", None),
    ("5/0", "en", None),
    ("...", "en", None),
    ("9" * 6000, "en", None),
]


@pytest.mark.parametrize(("text", "language", "expected"), CASES)
def test_the_number_of(text: str, language: str, expected: Fraction | int | None) -> None:
    assert extract_number(text, language) == expected
