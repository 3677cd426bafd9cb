"""Documents are read by RFC 8259 within limits, and refusals are named and placed."""

import pytest

from trainables.tasks.strict_json.reading import MAX_DEPTH, MAX_DIGITS, read_document
from trainables.tasks.strict_json.salvage import salvage


@pytest.mark.parametrize(
    ("text", "document"),
    [
        pytest.param('{"a": 1, "a": 2}', {"a": 2}, id="of-equal-keys-the-last"),
        pytest.param("[1] and more", [1], id="what-follows-is-not-read"),
        pytest.param("1e5", 1e5, id="exponent"),
        pytest.param("-0", 0, id="minus-zero"),
        pytest.param(r'"\ud83d\ude00"', "\U0001f600", id="escaped-pair"),
        pytest.param(r'"\\ud800"', r"\ud800", id="escaped-backslash-is-no-surrogate"),
        pytest.param("[" * MAX_DEPTH + "]" * MAX_DEPTH, None, id="deepest"),
        pytest.param("9" * MAX_DIGITS, None, id="longest-integer"),
        pytest.param("[" + "[]," * 1000 + "[]]", None, id="many-brackets-not-deep"),
        pytest.param('"' + "[" * 1000 + '"', "[" * 1000, id="brackets-in-a-string"),
        pytest.param('"' + "9" * 5000 + '"', "9" * 5000, id="digits-in-a-string"),
    ],
)
def test_documents_within_the_limits_are_read(text: str, document: object) -> None:
    reading = read_document(text, 0)
    assert reading.error == ""
    assert document is None or reading.document == document


@pytest.mark.parametrize(
    ("text", "position"),
    [
        pytest.param("[" * 3000, MAX_DEPTH, id="3000-brackets"),
        pytest.param("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), MAX_DEPTH, id="one-too-deep"),
        pytest.param('{"a":' * 501 + "1" + "}" * 501, 2500, id="objects"),
        pytest.param("[1, " + "9" * 5000 + "]", 4, id="5000-digits"),
        pytest.param("-" + "9" * (MAX_DIGITS + 1), 0, id="one-digit-too-many"),
        pytest.param("[NaN]", 1, id="nan"),
        pytest.param("[-Infinity]", 1, id="minus-infinity"),
        pytest.param("[1e999]", 1, id="overflow"),
        pytest.param(r'["\ud800"]', 2, id="lone-high-surrogate"),
        pytest.param(r'["a\udc00"]', 3, id="lone-low-surrogate"),
        pytest.param(r'["\udc00\ud800"]', 2, id="surrogates-in-the-wrong-order"),
        pytest.param('["\ud800"]', 2, id="raw-surrogate"),
        pytest.param(r'{"\ud800": 1}', 2, id="surrogate-in-a-key"),
    ],
)
def test_documents_over_the_limits_are_refused_where_they_leave_them(
    text: str, position: int
) -> None:
    reading = read_document(text, 0)
    assert (reading.error, reading.end) == ("over_limits", position)


@pytest.mark.parametrize(
    ("text", "error", "position"),
    [
        pytest.param('{"a": 1,}', "parse_trailing_comma", 8, id="comma-in-object"),
        pytest.param("[1, 2,]", "parse_trailing_comma", 6, id="comma-in-array"),
        pytest.param("[1,, 2]", "parse_extra_comma", 3, id="two-commas"),
        pytest.param("{'a': 1}", "parse_single_quotes", 1, id="single-quoted-key"),
        pytest.param("{\"a\": 'b'}", "parse_single_quotes", 6, id="single-quoted-value"),
        pytest.param("{\u201ca\u201d: 1}", "parse_curly_quotes", 1, id="curly-quotes"),
        pytest.param("{a: 1}", "parse_unquoted_key", 1, id="unquoted-key"),
        pytest.param('{"a": True}', "parse_unquoted_value", 6, id="python-constant"),
        pytest.param('{"a": }', "parse_missing_value", 6, id="no-value"),
        pytest.param('{"a": 1 "b": 2}', "parse_missing_comma", 8, id="no-comma"),
        pytest.param('{"a" 1}', "parse_missing_colon", 5, id="no-colon"),
        pytest.param('{"a": 1]', "parse_mismatched_bracket", 7, id="wrong-bracket"),
        pytest.param("[1, // one\n2]", "parse_comment", 4, id="line-comment"),
        pytest.param("[1 /* one */]", "parse_comment", 3, id="comment-behind-a-value"),
        pytest.param("[1, ...]", "parse_ellipsis", 4, id="ellipsis"),
        pytest.param("[01]", "parse_bad_number", 2, id="leading-zero"),
        pytest.param("[1.]", "parse_bad_number", 2, id="trailing-dot"),
        pytest.param("[.5]", "parse_bad_number", 1, id="leading-dot"),
        pytest.param("[+1]", "parse_bad_number", 1, id="plus"),
        pytest.param('["a\nb"]', "parse_control_character", 3, id="line-break-in-a-string"),
        pytest.param(r'["\x"]', "parse_bad_escape", 2, id="unknown-escape"),
        pytest.param(r'["\u12"]', "parse_bad_escape", None, id="short-unicode-escape"),
        pytest.param('["abc', "parse_unterminated_string", 1, id="ends-in-a-string"),
        pytest.param("[1, 2", "parse_unexpected_end", 5, id="ends-in-an-array"),
        pytest.param('{"a":', "parse_unexpected_end", 5, id="ends-before-a-value"),
        pytest.param("[1,\n```", "parse_unexpected_end", 4, id="fence-ends-first"),
    ],
)
def test_parse_errors_are_named_and_placed(text: str, error: str, position: int | None) -> None:
    reading = read_document(text, 0)
    assert reading.error == error
    assert position is None or reading.end == position


@pytest.mark.parametrize(
    ("text", "document"),
    [
        pytest.param('{"a": 1, "b"', {"a": 1}, id="half-a-key"),
        pytest.param('{"a": {"b": [1, 2', {"a": {"b": [1]}}, id="nested"),
        pytest.param('{"a": [1, 2], "c": "x', {"a": [1, 2]}, id="half-a-string"),
        pytest.param('{"a, ]": "x]", "c": oops}', {"a, ]": "x]"}, id="brackets-in-strings"),
        pytest.param(r'{"a": "\"", "b": "\\", oops}', {"a": '"', "b": "\\"}, id="escapes"),
        pytest.param("[1, 2,]", [1, 2], id="trailing-comma"),
        pytest.param("[", [], id="one-bracket"),
        pytest.param('"abc', None, id="no-container"),
    ],
)
def test_salvage_keeps_what_was_completely_read(text: str, document: object) -> None:
    assert salvage(text, 0, read_document(text, 0).end) == document
