"""Patterns mean what ECMA-262 says, whichever engine runs them; formats what their RFCs say."""

import re
import unicodedata
from typing import Any

import pytest

from strictune.errors import SpecError
from trainables.tasks.strict_json.validation import compile_schema, refusal

DRAFTS = (
    "http://json-schema.org/draft-04/schema#",
    "http://json-schema.org/draft-06/schema#",
    "http://json-schema.org/draft-07/schema#",
    "https://json-schema.org/draft/2019-09/schema",
    "https://json-schema.org/draft/2020-12/schema",
)
SPACES = {*"\t\n\v\f\r\ufeff\u2028\u2029"} | {
    sign for sign in map(chr, range(0x10000)) if unicodedata.category(sign) == "Zs"
}
SIGNS = sorted(
    {
        *map(chr, range(0x180)),
        *SPACES,
        *"\u0663\u017f\u180e\u200b\u212a\u2027\u202a\u3001\U0001f600",
    }
)
WORDS = set(filter(re.compile(r"[A-Za-z0-9_]").match, SIGNS))
DIGITS = set("0123456789")
LINE_ENDS = set("\n\r\u2028\u2029")


@pytest.mark.parametrize("before", ["", "(?=[^])", "(?<!x)", "(?:(z)\\1)?"], ids=repr)
@pytest.mark.parametrize(
    ("piece", "matched"),
    [
        pytest.param(r"\d", DIGITS, id="digit"),
        pytest.param(r"\D", {*SIGNS} - DIGITS, id="no-digit"),
        pytest.param(r"\w", WORDS, id="word"),
        pytest.param(r"\W", {*SIGNS} - WORDS, id="no-word"),
        pytest.param(r"\s", SPACES, id="space"),
        pytest.param(r"\S", {*SIGNS} - SPACES, id="no-space"),
        pytest.param(".", {*SIGNS} - LINE_ENDS, id="dot"),
        pytest.param(r"[\d.]", {*DIGITS, "."}, id="digit-in-a-class"),
        pytest.param(r"[^\w-]", {*SIGNS} - WORDS - {"-"}, id="no-word-in-a-class"),
        pytest.param(r"[^\s\d]", {*SIGNS} - SPACES - DIGITS, id="neither"),
        pytest.param(r"[\W\d]", ({*SIGNS} - WORDS) | DIGITS, id="complement-in-a-class"),
        pytest.param(r"[^\W_]", WORDS - {"_"}, id="word-without-low-line"),
        pytest.param("[^]", {*SIGNS}, id="any"),
        pytest.param("[]", set(), id="none"),
        pytest.param("[[a&&b~~]", {*"[a&b~"}, id="signs-of-other-dialects"),
        pytest.param(r"\cJ", {"\n"}, id="control"),
        pytest.param(r"[\b\0\x41\u0042\/\-]", {*"\b\0AB/-"}, id="escapes"),
        pytest.param(r"(?:\uD83D\uDE00|\u{41})", {"\U0001f600", "A"}, id="code-points"),
        pytest.param(r"[\u{1F5FF}-\u{1F601}]", {"\U0001f600"}, id="range-of-code-points"),
        pytest.param(r"[\uD800-\uDFFF]", set(), id="surrogates"),
        pytest.param(r"(?!\d)\w", WORDS - DIGITS, id="looked-ahead"),
        pytest.param(r"\<", {"<"}, id="escaped-sign"),
    ],
)
def test_a_piece_means_the_same_in_every_pattern(
    piece: str, matched: set[str], before: str
) -> None:
    is_valid = compile_schema({"pattern": f"^{before}{piece}$"})
    assert {sign for sign in SIGNS if is_valid(sign)} == matched
    by_name = compile_schema(
        {"patternProperties": {f"^{before}{piece}$": True}, "additionalProperties": False}
    )
    assert {sign for sign in SIGNS if by_name({sign: 1})} == matched


@pytest.mark.parametrize("draft", DRAFTS)
@pytest.mark.parametrize(
    ("pattern", "right", "wrong"),
    [
        pytest.param(r"^\p{L}+$", "\u00c4", "1", id="property"),
        pytest.param(r"^(?<y>\d{4})$", "2024", "\u0662\u0660\u0662\u0664", id="named-group"),
        pytest.param(r"^(?<a>.)(?<b>.)\k<a>$", "xyx", "xyy", id="named-reference"),
        pytest.param(r"^(a|b)(?:\1)\d$", "aa1", "aa\u0661", id="reference"),
        pytest.param(r"^\u{1F600}$", "\U0001f600", "u", id="code-point"),
        pytest.param(r"^\cA$", "\x01", "cA", id="control"),
        pytest.param(r"^(?=\cA)", "\x01", "cA", id="control-looked-at"),
        pytest.param(r"(?<=a+)b", "aab", "b", id="look-behind"),
        pytest.param(r"\bfoo\b", "\u00e9foo\u00e9", "foo_", id="boundary"),
        pytest.param(r"^x\B\w", "xy", "x-", id="no-boundary"),
        pytest.param(r"a$", "a", "a\n", id="end"),
        pytest.param(r"(?=a)a$", "a", "a\n", id="end-looked-at"),
        pytest.param(r"(?=b)^b", "b", "a\nb", id="start"),
        pytest.param(r"^a.{2}$", "a\U0001f600b", "a\u2028b", id="counted-dots"),
        pytest.param(r"^a{2,3}?$", "aa", "a", id="lazy"),
        pytest.param("^x-", "x-a", "ax-", id="literal"),
    ],
)
def test_patterns_of_ecma_262_are_taken(draft: str, pattern: str, right: str, wrong: str) -> None:
    is_valid = compile_schema({"$schema": draft, "pattern": pattern})
    assert is_valid(right)
    assert not is_valid(wrong)


@pytest.mark.parametrize("draft", DRAFTS)
@pytest.mark.parametrize(
    "pattern",
    [
        r"\Z", r"(?=a)\Z", r"\h", r"(?=a)\h", r"\a", "(?>a)", "(?=b)(?>a)", "(?(1)b|c)",
        "(a)?(?(1)b|c)", "(?#note)a", "(?=a)a++", "a**", "(", "(?=a)(", "a)", "[a", "a{2,1}",
        "a{", "*a", r"[\w-.]", r"[a-\d]", "[z-a]", r"\u{110000}", r"\u12", r"\x4", r"\c1",
        r"\1", r"\k<n>", "(?<n>a)(?<n>b)", "(?<1>a)", r"\p{Foo}", "a\\", r"(?R)", "\ud800",
    ],
)  # fmt: skip
def test_other_patterns_are_refused_on_one_line(draft: str, pattern: str) -> None:
    schema = {"$schema": draft, "properties": {"a\n": {"pattern": pattern}}}
    with pytest.raises(SpecError) as caught:
        compile_schema(schema)
    message = str(caught.value)
    assert len(message.encode().splitlines()) == 1
    if pattern != "\ud800":
        assert f"schema: {pattern!r} is not a regular expression of ECMA-262" in message
        assert r"/properties/a\n/pattern. Expected a JSON Schema" in message


def test_what_only_looks_like_a_pattern_stays_as_it_is() -> None:
    odd = {"pattern": r"\d\Z", "patternProperties": {r"\d": 1}}
    is_valid = compile_schema(
        {
            "const": odd,
            "default": odd,
            "x-unknown": odd,
            "properties": dict.fromkeys(odd, True) | {"enum": {"pattern": "^a"}},
        }
    )
    assert is_valid(odd)


def test_two_spellings_of_a_pattern_both_hold_and_pointers_still_lead_to_them() -> None:
    is_valid = compile_schema(
        {
            "patternProperties": {r"^\d~/$": {"type": "string"}, "^[0-9]~/$": {"maxLength": 1}},
            "properties": {"a": {"$ref": r"#/patternProperties/%5E%5Cd~0~1$"}},
        }
    )
    assert is_valid({"1~/": "x", "a": "xx"})
    for wrong in ({"1~/": "xx"}, {"1~/": 1}, {"a": 1}):
        assert not is_valid(wrong)


@pytest.mark.parametrize("draft", DRAFTS)
@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("email", "help@example.org", "Support <help@example.org>"),
        ("email", '"a<b> c"@example.org', '"Support" <help@example.org>'),
        ("email", "a@[127.0.0.1]", "<help@example.org>"),
        ("email", "a@[IPv6:::1]", "a@example.org (home)"),
        ("email", "o'neil+x@example.org", "a@b.org, c@d.org"),
        ("regex", r"^\p{L}[^]$", r"\Z"),
        ("regex", r"(?<y>a)\k<y>", "(?>a)"),
    ],
)
def test_formats_assert_what_their_documents_say(
    draft: str, name: str, right: str, wrong: str
) -> None:
    is_valid = compile_schema({"$schema": draft, "format": name})
    assert is_valid(right)
    assert not is_valid(wrong)


def test_an_international_address_has_no_name_before_it_either() -> None:
    is_valid = compile_schema({"format": "idn-email"})
    assert is_valid("\u00e4@\u00e4.org")
    assert not is_valid("Support <\u00e4@\u00e4.org>")


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        pytest.param({"$ref": "a.json#/b"}, "'a.json#/b' is not present", id="another-file"),
        pytest.param({"$ref": "http://x.org/a"}, "cannot fetch http://x.org/a", id="remote"),
        pytest.param({"$ref": "#/$defs/a"}, "'/$defs/a' does not exist", id="dangling"),
        pytest.param({"$schema": "http://x.org/a"}, "Unknown meta-schema", id="unknown-draft"),
        pytest.param(
            {"$schema": "http://json-schema.org/draft-03/schema#"},
            "draft-03/schema#'",
            id="draft-03",
        ),
        pytest.param({"properties": {"\ud800": {}}}, "surrogates not allowed", id="half-in-a-key"),
        pytest.param({"const": "\ud800"}, "surrogates not allowed", id="half-in-a-value"),
        pytest.param({"required": "a"}, 'of type "array" at /required', id="wrong-type"),
        pytest.param({"minimum": float("nan")}, "at /minimum", id="not-a-number"),
        pytest.param(
            {"$ref": "#/$defs/n", "$defs": {"n": {"items": {"items": {"$ref": "#/$defs/m"}}}}},
            "'/$defs/m' does not exist",
            id="dangling-in-a-recursion",
        ),
    ],
)
def test_refusals_say_why_on_one_line(schema: dict[str, Any], reason: str) -> None:
    with pytest.raises(SpecError, match=r"^schema: .* Expected a JSON Schema") as caught:
        compile_schema(schema)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert refusal(schema) is not None


def test_a_schema_nested_too_deeply_is_refused() -> None:
    schema: dict[str, Any] = {}
    for _ in range(3_000):
        schema = {"not": schema}
    with pytest.raises(SpecError, match="nested too deeply"):
        compile_schema(schema)
