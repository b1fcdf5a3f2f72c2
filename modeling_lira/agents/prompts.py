"""Few-shot examples and chat instructions for each language; their digest is part of the key of every stored result."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..data.languages import known_language, match_language
from ..data.languages import language_name as cldr_name

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LANGUAGE_NAMES = {
    "vi": "Vietnamese",
    "th": "Thai",
    "id": "Indonesian",
    "ms": "Malay",
    "ur": "Urdu",
    "bn": "Bengali",
    "fil": "Filipino",
}
"""The languages of the examples."""

# Mostly shopping queries, since those are what the corpus holds, and a few sentences, so that a sentence is not
# answered with keywords. The same items in every language: only the language differs between two prompts. The last ones
# are as people type: bare names, sloppy, romanised, mixed with English; a model repeats what it has read last.
ENGLISH_EXAMPLES = (
    "women's black leather handbag",
    "wireless bluetooth earphones",
    "cotton bed sheet set queen size",
    "Is this product still available?",
    "baby milk bottle 240ml",
    "men's running shoes size 42",
    "phone case for samsung a54",
    "The weather is very hot today.",
    "stainless steel water bottle 1 liter",
    "sunscreen for oily skin",
    "cheap gaming laptop 16gb ram",
    "I want to return this item because it is too small.",
    "waterproof school bag for kids",
    "rice cooker 1.8 liter",
    "hair dryer",
    "blue ceramic mug",
    "cheap men's sandals",
    "non-stick frying pan",
    "cat food 1kg",
    "matte red lipstick",
    "baby blanket",
    "chicken flavour instant noodles",
    "car phone holder",
    "prayer mat",
    "wooden chair free shipping",
    "gold necklace for women",
    "dried mango",
)

EXAMPLES = {
    "vi": (
        "túi xách da nữ màu đen",
        "tai nghe bluetooth không dây",
        "bộ ga trải giường cotton cỡ queen",
        "Sản phẩm này còn hàng không?",
        "bình sữa cho bé 240ml",
        "giày chạy bộ nam size 42",
        "ốp lưng điện thoại samsung a54",
        "Hôm nay trời rất nóng.",
        "bình nước inox 1 lít",
        "kem chống nắng cho da dầu",
        "laptop gaming giá rẻ ram 16gb",
        "Tôi muốn trả lại món hàng này vì nó quá nhỏ.",
        "balo đi học cho bé chống nước",
        "nồi cơm điện 1.8 lít",
        "máy sấy tóc",
        "cốc sứ màu xanh dương",
        "dep nam gia re",
        "chảo chống dính",
        "thức ăn cho mèo 1kg",
        "lipstick matte màu đỏ",
        "chăn cho em bé",
        "mì gói vị gà",
        "giá đỡ điện thoại trên xe hơi",
        "tham cau nguyen",
        "ghế gỗ freeship",
        "dây chuyền vàng nữ",
        "xoài sấy",
    ),
    "th": (
        "กระเป๋าหนังผู้หญิงสีดำ",
        "หูฟังบลูทูธไร้สาย",
        "ชุดผ้าปูที่นอนผ้าฝ้าย ขนาดควีนไซส์",
        "สินค้านี้ยังมีอยู่ไหม",
        "ขวดนมเด็ก 240ml",
        "รองเท้าวิ่งผู้ชาย ไซส์ 42",
        "เคสมือถือ samsung a54",
        "วันนี้อากาศร้อนมาก",
        "ขวดน้ำสแตนเลส 1 ลิตร",
        "ครีมกันแดดสำหรับผิวมัน",
        "โน้ตบุ๊กเล่นเกมราคาถูก แรม 16gb",
        "ฉันต้องการคืนสินค้านี้เพราะมันเล็กเกินไป",
        "กระเป๋านักเรียนเด็กกันน้ำ",
        "หม้อหุงข้าว 1.8 ลิตร",
        "ไดร์เป่าผม",
        "แก้วเซรามิกสีน้ำเงิน",
        "รองเท้าแตะ ผช ถูก",
        "กระทะเคลือบกันติด",
        "อาหารแมว 1 กก.",
        "lipstick แมตต์สีแดง",
        "ผ้าห่มเด็กทารก",
        "บะหมี่กึ่งสำเร็จรูปรสไก่",
        "ที่วางมือถือในรถ",
        "พรมละหมาด",
        "เก้าอี้ไม้ ส่งฟรี",
        "สร้อยคอทองผู้หญิง",
        "มะม่วงอบแห้ง",
    ),
    "id": (
        "tas kulit wanita warna hitam",
        "earphone bluetooth tanpa kabel",
        "set sprei katun ukuran queen",
        "Apakah produk ini masih tersedia?",
        "botol susu bayi 240ml",
        "sepatu lari pria ukuran 42",
        "casing hp samsung a54",
        "Cuaca hari ini sangat panas.",
        "botol minum stainless 1 liter",
        "sunscreen untuk kulit berminyak",
        "laptop gaming murah ram 16gb",
        "Saya ingin mengembalikan barang ini karena terlalu kecil.",
        "tas sekolah anak anti air",
        "penanak nasi 1.8 liter",
        "pengering rambut",
        "mug keramik biru",
        "sandal cowo mrh",
        "wajan anti lengket",
        "makanan kucing 1kg",
        "lipstick matte merah",
        "selimut bayi",
        "mie instan rasa ayam",
        "holder hp mobil",
        "sajadah",
        "kursi kayu gratis ongkir",
        "kalung emas wanita",
        "mangga kering",
    ),
    "ms": (
        "beg tangan kulit wanita warna hitam",
        "fon telinga bluetooth tanpa wayar",
        "set cadar kapas saiz queen",
        "Adakah produk ini masih ada?",
        "botol susu bayi 240ml",
        "kasut larian lelaki saiz 42",
        "sarung telefon samsung a54",
        "Cuaca hari ini sangat panas.",
        "botol air keluli tahan karat 1 liter",
        "pelindung matahari untuk kulit berminyak",
        "laptop gaming murah ram 16gb",
        "Saya mahu memulangkan barang ini kerana ia terlalu kecil.",
        "beg sekolah kanak-kanak kalis air",
        "periuk nasi 1.8 liter",
        "pengering rambut",
        "cawan seramik biru",
        "selipar llki murah",
        "kuali tak melekat",
        "makanan kucing 1kg",
        "lipstick matte merah",
        "selimut bayi",
        "mi segera perisa ayam",
        "pemegang telefon kereta",
        "sejadah",
        "kerusi kayu penghantaran percuma",
        "rantai leher emas wanita",
        "mangga kering",
    ),
    "ur": (
        "خواتین کا کالا چمڑے کا ہینڈ بیگ",
        "وائرلیس بلوٹوتھ ایئرفون",
        "کوئین سائز کاٹن بیڈ شیٹ سیٹ",
        "کیا یہ پروڈکٹ ابھی دستیاب ہے؟",
        "بچوں کے دودھ کی بوتل 240ml",
        "مردوں کے رننگ شوز سائز 42",
        "سام سنگ a54 کا موبائل کور",
        "آج موسم بہت گرم ہے۔",
        "سٹین لیس سٹیل پانی کی بوتل 1 لیٹر",
        "چکنی جلد کے لیے سن اسکرین",
        "سستا گیمنگ لیپ ٹاپ 16gb ریم",
        "میں یہ چیز واپس کرنا چاہتا ہوں کیونکہ یہ بہت چھوٹی ہے۔",
        "بچوں کا واٹر پروف سکول بیگ",
        "رائس ککر 1.8 لیٹر",
        "ہیئر ڈرائر",
        "نیلا سرامک مگ",
        "mardana sandal sasta",
        "نان اسٹک فرائی پین",
        "بلی کی خوراک 1 کلو",
        "matte laal lipstick",
        "بچے کا کمبل",
        "چکن فلیور انسٹنٹ نوڈلز",
        "گاڑی کا موبائل ہولڈر",
        "jaye namaz",
        "لکڑی کی کرسی فری ڈیلیوری",
        "خواتین کا سونے کا ہار",
        "خشک آم",
    ),
    "bn": (
        "মহিলাদের কালো চামড়ার হ্যান্ডব্যাগ",
        "ওয়্যারলেস ব্লুটুথ ইয়ারফোন",
        "সুতি বিছানার চাদর সেট কুইন সাইজ",
        "এই পণ্যটি কি এখনও পাওয়া যাচ্ছে?",
        "বাচ্চাদের দুধের বোতল 240ml",
        "পুরুষদের রানিং জুতা সাইজ ৪২",
        "স্যামসাং a54 মোবাইল কভার",
        "আজ আবহাওয়া খুব গরম।",
        "স্টেইনলেস স্টিলের পানির বোতল ১ লিটার",
        "তৈলাক্ত ত্বকের জন্য সানস্ক্রিন",
        "কম দামে গেমিং ল্যাপটপ 16gb র‍্যাম",
        "আমি এই জিনিসটি ফেরত দিতে চাই কারণ এটি খুব ছোট।",
        "বাচ্চাদের ওয়াটারপ্রুফ স্কুল ব্যাগ",
        "রাইস কুকার ১.৮ লিটার",
        "হেয়ার ড্রায়ার",
        "নীল সিরামিক মগ",
        "cheleder sandal kom dam",
        "নন-স্টিক ফ্রাইপ্যান",
        "বিড়ালের খাবার ১ কেজি",
        "matte lal lipstick",
        "বাচ্চার কম্বল",
        "চিকেন ফ্লেভার ইনস্ট্যান্ট নুডলস",
        "গাড়ির মোবাইল হোল্ডার",
        "jaynamaz",
        "কাঠের চেয়ার ফ্রি ডেলিভারি",
        "মহিলাদের সোনার হার",
        "শুকনো আম",
    ),
    "fil": (
        "itim na leather handbag pambabae",
        "wireless bluetooth earphones",
        "cotton na bedsheet set queen size",
        "Available pa ba ang produktong ito?",
        "bote ng gatas ng baby 240ml",
        "sapatos na pantakbo panlalaki size 42",
        "case ng cellphone samsung a54",
        "Napakainit ng panahon ngayon.",
        "stainless na lalagyan ng tubig 1 litro",
        "sunscreen para sa oily na balat",
        "murang gaming laptop 16gb ram",
        "Gusto kong isauli ang item na ito dahil masyadong maliit.",
        "bag pang-eskwela ng bata na hindi nababasa",
        "rice cooker 1.8 litro",
        "pampatuyo ng buhok",
        "asul na ceramic mug",
        "tsinelas panlalake mura",
        "kawaling non-stick",
        "pagkain ng pusa 1kg",
        "matte lipstick na pula",
        "kumot ng sanggol",
        "instant noodles na lasang manok",
        "lalagyan ng cellphone sa kotse",
        "banig na pandasal",
        "upuang kahoy libre shipping",
        "gintong kuwintas pambabae",
        "tuyong mangga",
    ),
}

LABEL = "English"
TEXT_MARK = "\ue000"
"""Stands for the text while a chat template is rendered: a private-use character that no template contains."""


def few_shot(language: str, *, to_english: bool) -> str:
    """Return the beginning of a few-shot prompt, up to and including the label of the text to come.

    Parameters
    ----------
    language : str
        Code of the language on the other side of English. One without examples is shown those of all the others in
        turn: they show the task.
    to_english : bool
        Direction of the examples.

    Raises
    ------
    LiraError
        If the code is that of no language.
    """
    name, code = language_name(language), match_language(language, EXAMPLES)
    codes = [code] if code else list(EXAMPLES)
    examples = [
        (name if code else LANGUAGE_NAMES[codes[row % len(codes)]], EXAMPLES[codes[row % len(codes)]][row], english)
        for row, english in enumerate(ENGLISH_EXAMPLES)
    ]
    if to_english:
        return "".join(f"{one}: {source}\n{LABEL}: {english}\n\n" for one, source, english in examples) + f"{name}:"
    return "".join(f"{LABEL}: {english}\n{one}: {source}\n\n" for one, source, english in examples) + f"{LABEL}:"


def language_name(language: str) -> str:
    """Return a language's English name.

    Raises
    ------
    LiraError
        If the code is that of no language.
    """
    return LANGUAGE_NAMES.get(language) or cldr_name(known_language(language))


@dataclass(frozen=True)
class Template:
    """The parts of a prompt: `before + lead + text + after`, of which `before` is read once for all texts."""

    before: str
    lead: str
    after: str


def translation_template(language: str, tokenizer: "PreTrainedTokenizerBase", *, chat: bool) -> Template:
    """Return the prompt that asks for an English translation of one text.

    Parameters
    ----------
    language : str
        Code of the text's language.
    tokenizer : PreTrainedTokenizerBase
        With a chat template if `chat`.
    chat : bool
        Ask in the model's chat format instead of showing few-shot examples.

    Raises
    ------
    LiraError
        If the code is that of no language.
    """
    if not chat:
        return Template(few_shot(language, to_english=True), " ", f"\n{LABEL}:")
    request = (
        f"Translate the {language_name(language)} text between the <text> tags into English. It comes from an online "
        f"shop's search box. Reply with the translation only, on one line.\n<text>\n{TEXT_MARK}\n</text>"
    )
    return chat_template(tokenizer, request)


def chat_template(tokenizer: "PreTrainedTokenizerBase", request: str) -> Template:
    """Render a chat of one user turn that contains `TEXT_MARK`, and split it there."""
    turn = [{"role": "user", "content": request}]
    rendered = tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True, enable_thinking=False)
    before, after = str(rendered).split(TEXT_MARK)
    return Template(before, "", after)
