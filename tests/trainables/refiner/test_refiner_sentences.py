"""Sentences in many scripts count as their English does; texts are equal as readers see them."""

# ruff: noqa: RUF001 - signs of other scripts are what is tested.

import pytest
from growth import check_growth
from hypothesis import given
from hypothesis import strategies as st

from trainables.tasks.refiner.answer import read_answer
from trainables.tasks.refiner.sentences import normalized, sentences_in, states_something

CITED = "<snippet id=S1>It was opened in 1887.</snippet>"


def uncited(text: str) -> list[str]:
    answer = read_answer(f"<answer>{CITED}{text}</answer>").answer
    assert answer is not None
    return [sentence.text for sentence in answer.uncited]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(
            "It was designed by a famous architect. ", "Many people visit it daily.", id="english"
        ),
        pytest.param("它由一位著名建筑师设计。", "每天都有很多人参观这座塔。", id="chinese"),
        pytest.param("它由一位著名建筑师设计!", "每天都有很多人参观这座塔!", id="ascii-marks"),
        pytest.param("它由一位著名建筑师设计.\n", "每天都有很多人参观这座塔", id="line-ends"),
        pytest.param("它很旧。", "它很高！", id="short-chinese"),
        pytest.param("他说：“它很旧。”", "然后他走了。", id="chinese-quotes"),
        pytest.param("「それは古い。」", "毎日多くの人が訪れます。", id="japanese-quotes"),
        pytest.param("有名な建築家が設計しました。", "毎日多くの人が訪れます。", id="japanese"),
        pytest.param("ｹﾝﾁｸｶｶﾞｾｯｹｲｼﾏｼﾀ｡", "ﾏｲﾆﾁｵｵｸﾉﾋﾄｶﾞｷﾏｽ｡", id="half-width"),
        pytest.param(
            "高さは３．５メートルです．", "幅は２．１メートルです．", id="full-width-points"
        ),
        pytest.param("유명한 건축가가 설계했다. ", "매일 많은 사람들이 방문한다.", id="korean"),
        pytest.param("그것은 오래되었다. ", "그것은 높다.", id="short-korean"),
        pytest.param("ออกแบบโดยสถาปนิกชื่อดัง ", "ผู้คนมากมายมาเยี่ยมชมทุกวัน", id="thai"),
        pytest.param("ອອກແບບໂດຍສະຖາປະນິກທີ່ມີຊື່ສຽງ ", "ຜູ້ຄົນຫຼາຍຄົນມາຢ້ຽມຢາມທຸກມື້", id="lao"),
        pytest.param("វាត្រូវបានរចនាដោយស្ថាបត្យករល្បីល្បាញ។", "មនុស្សជាច្រើនមកទស្សនារៀងរាល់ថ្ងៃ។", id="khmer"),
        pytest.param("ဗိသုကာပညာရှင်က ဒီဇိုင်းဆွဲခဲ့သည်။", "လူများစွာ နေ့တိုင်းလာရောက်ကြသည်။", id="burmese"),
        pytest.param("صممه مهندس معماري مشهور. ", "يزوره كثير من الناس كل يوم!", id="arabic"),
        pytest.param("إنه قديم. ", "إنه طويل.", id="short-arabic"),
        pytest.param("اسے ایک مشہور معمار نے بنایا۔", "ہر روز بہت سے لوگ آتے ہیں۔", id="urdu"),
        pytest.param("इसे एक प्रसिद्ध वास्तुकार ने बनाया था। ", "हर दिन बहुत लोग आते हैं॥", id="hindi"),
        pytest.param("Её построил архитектор. ", "Она старая.", id="russian"),
        pytest.param("אדריכל מפורסם תכנן אותו. ", "הוא ישן.", id="hebrew"),
        pytest.param("ታዋቂ አርክቴክት ነደፈው።", "በየቀኑ ብዙ ሰዎች ይጎበኙታል።", id="amharic"),
        pytest.param("Այն նախագծել է ճարտարապետը։ ", "Ամեն օր շատ մարդիկ են գալիս։", id="armenian"),
        pytest.param("It is old and tall。", "它由一位著名建筑师设计。", id="mixed"),
    ],
)
def test_two_uncited_sentences_count_as_two_in_any_script(first: str, second: str) -> None:
    assert uncited(first + second) == [first.strip(), second]
    assert uncited(f"{first}{first}") == [first.strip()]


@pytest.mark.parametrize(
    "text",
    [
        "Sure. ", "Of course.", "In addition to this,", "In short:", "Is it really so old?",
        "当然。", "此外，", "综上所述：", "它真的很旧吗？", "好的。。。",
        "はい。", "ちなみに、", "それは本当に古いですか？",
        "물론입니다.", "또한,", "นอกจากนี้", "แน่นอน", "بالطبع.", "بالإضافة إلى ذلك،", "هل هو قديم؟",
        "नमस्ते।", "इसके अलावा,", "Конечно.", "Кроме того,", "。", "！？", "😀。",
    ],
)  # fmt: skip
def test_what_connects_claims_or_asks_states_nothing(text: str) -> None:
    assert uncited(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "Built in 1887.",
        "建于1887年。",
        "1887年建造。",
        "1887년에 지어졌다.",
        "สร้างปี ๑๘๘๗",
        "عام ١٨٨٧.",
    ],
)
def test_a_number_makes_a_statement_of_few_words(text: str) -> None:
    assert uncited(text) == [text]


PAIRS = [
    ("Profit rose by +2 points.", "Profit rose by -2 points."),
    ("It rose by 5%.", "It rose by 5 points."),
    ("It rose by 5%.", "It rose by 5."),
    ("It costs $5.", "It costs €5."),
    ("a < b", "a > b"),
    ("x ≤ 3", "x ≥ 3"),
    ("about ~5", "about 5"),
    ("either/or", "either or"),
    ("x² is 4", "x2 is 4"),
    ("H₂O", "H2O"),
    ("½ litre", "1⁄2 litre"),
    ("It is 3.5 m.", "It is 35 m."),
    ("It is 1,5 m.", "It is 15 m."),
    ("pages 5-6", "pages 56"),
    ("pages 5 6", "pages 56"),
    ("re-sign", "resign"),
    ("It is ٣.", "It is ٤."),
    ('He said "no" twice.', "He said no twice."),
    ("It is (not) red.", "It is not red."),
    ("résumé", "resume"),
    ("schon", "schön"),
    ("In Maßen", "In Massen"),
    ("5 µm", "5 m"),
    ("20 °C", "20 C"),
    ("C++", "C"),
    ("C#", "C"),
    ("5'", '5"'),
    ("It is red?", "It is red."),
    ("它是红色的？", "它是红色的。"),
    ("Είναι παλιό;", "Είναι παλιό."),
    ("rated 👍", "rated 👎"),
    ("the flag 🇦🇹", "the flag 🇦🇺"),
    ("flag \U0001f3f4\U000e0067\U000e0062\U000e007f", "flag \U0001f3f4"),
    ("a❤b", "a b"),
    ("कल", "काल"),
    ("किताब", "कीताब"),
    ("عَلِمَ", "عُلِمَ"),
    ("ก่า", "ก้า"),
    ("はは", "ばば"),
    ("ハハ", "ばば"),
    ("+５", "-５"),
    ("利润上升+2点。", "利润上升-2点。"),
    ("Not A & B", "Not A B"),
    ("foo_bar", "foo bar"),
    ("∀x", "∃x"),
    ("→ up", "← up"),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_claims_that_differ_to_a_reader_are_two(one: str, other: str) -> None:
    body = f"<snippet id=A>{one}</snippet> <snippet id=B>{other}</snippet>"
    answer = read_answer(f"<answer>{body}</answer>").answer
    assert answer is not None
    assert [(claim.text, claim.ids) for claim in answer.claims] == [(one, ("A",)), (other, ("B",))]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("It is red.", "it  IS\n red"),
        ("It is red.", "It is red!"),
        ("It is red", "It is red ..."),
        ("It is red,", "It is red;"),
        ("It is red.", "It\u00a0is\u2009red."),
        ("It is red.", "It is\u200b red\ufeff."),
        ("Straße", "STRAẞE"),
        ("ΟΔΟΣ", "οδος"),
        ("caf\u00e9", "CAFE\u0301"),
        ("5 \u212b", "5 \u00c5"),
        ("它是红色的。", "它是红色的"),
        ("它于 1887 年开放。", "它于1887年开放！"),
        ("它于１８８７年开放，", "它于1887年开放。"),
        ("これはﾊﾞｽです｡", "これはバスです。"),
        ("यह लाल है।", "यह लाल है"),
        ("یہ سرخ ہے۔", "یہ سرخ ہے"),
        ("Այն կարմիր է։", "այն ԿԱՐՄԻՐ է"),
    ],
)
def test_claims_that_are_the_same_to_a_reader_are_one(one: str, other: str) -> None:
    body = f"<snippet id=A>{one}</snippet> <snippet id=B>{other}</snippet>"
    answer = read_answer(f"<answer>{body}</answer>").answer
    assert answer is not None
    assert [(claim.text, claim.ids) for claim in answer.claims] == [(one, ("A", "B"))]


def test_uncited_sentences_that_differ_in_a_sign_are_two() -> None:
    assert len(uncited("Profit rose by +2 points. Profit rose by -2 points.")) == 2


@given(st.text())
def test_what_is_normalized_stays_so(text: str) -> None:
    assert normalized(normalized(text)) == normalized(text)
    assert normalized(f"\n {text}\t") == normalized(text)


@given(st.text(alphabet=st.sampled_from("aB7.!?。．？\"' \n\u3000塔はกา।我")))
def test_sentences_hold_all_of_a_text_but_white_space(text: str) -> None:
    pieces = [text[start:end] for start, end in sentences_in(text)]
    assert "".join("".join(pieces).split()) == "".join(text.split())
    assert all(piece == piece.strip() for piece in pieces)


@pytest.mark.parametrize(
    "scrap", ["。", "”", "。”", "!", ". ", " ", "ก ", "塔", "塔 ", ";", "α;", "a,", "．1"]
)
def test_time_is_linear(scrap: str) -> None:
    def read(num_chars: int) -> None:
        text = scrap * (num_chars // len(scrap)) + "a"
        normalized(text)
        for start, end in sentences_in(text):
            states_something(text[start:end])

    check_growth(read, 20_000, factor=8, below=16)
