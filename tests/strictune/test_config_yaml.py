import pytest
import yaml

from strictune.config.base import Spec
from strictune.config.yaml_text import dump_yaml, parse_yaml
from strictune.errors import SpecError


class Words(Spec):
    words: tuple[str, ...]
    numbers: tuple[float, ...] = ()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param("1e-4", 1e-4, id="exponent-without-point"),
        pytest.param("5.0e-6", 5e-6, id="exponent"),
        pytest.param(".5", 0.5, id="leading-point"),
        pytest.param("010", 10, id="leading-zero-is-decimal"),
        pytest.param("0x1f", 31, id="hexadecimal"),
        pytest.param("-3", -3, id="negative"),
        pytest.param("true", True, id="true"),
        pytest.param("no", "no", id="no-is-text"),
        pytest.param("on", "on", id="on-is-text"),
        pytest.param("12:30", "12:30", id="no-sexagesimal"),
        pytest.param("2024-01-01", "2024-01-01", id="no-dates"),
        pytest.param("1_000", "1_000", id="no-underscores"),
        pytest.param(".nan", ".nan", id="no-nan"),
        pytest.param("~", None, id="null"),
        pytest.param("", None, id="empty"),
        pytest.param("'1'", "1", id="quoted"),
    ],
)
def test_scalars_follow_the_core_schema_of_yaml_1_2(text: str, value: object) -> None:
    parsed = parse_yaml(text, where="x")
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("a: 1\nb: 2\na: 3", "f.yaml:3: not valid YAML: the key a", id="key-twice"),
        pytest.param("a: {b: 1, b: 2}", "f.yaml:1: .* b appears twice", id="nested-key-twice"),
        pytest.param("1: x", "keys must be text", id="number-as-key"),
        pytest.param("? [a]\n: x", "keys must be text", id="list-as-key"),
        pytest.param("a:\n  - [1, 2", "f.yaml:2: not valid YAML", id="open-list"),
        pytest.param("a: !!python/name:os.system x", "f.yaml:1: .*tag", id="python-tag"),
        pytest.param("a: !!int x", "f.yaml: not valid YAML", id="wrong-tag"),
        pytest.param("a: !!binary aGk=", "f.yaml:1: .*tag", id="binary"),
        pytest.param("a: !!map [1]", "f.yaml:1", id="list-tagged-as-mapping"),
        pytest.param("--- 1\n--- 2", "f.yaml:2: .*document", id="two-documents"),
        pytest.param("a: \x00", "f.yaml: not valid YAML", id="control-character"),
        pytest.param("[" * 5000, "f.yaml: not valid YAML", id="nested-too-deeply"),
    ],
)
def test_unreadable_yaml_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        parse_yaml(text, where="f.yaml")


def test_merge_keys_stay_plain_keys() -> None:
    assert parse_yaml("<<: {a: 1}", where="x") == {"<<": {"a": 1}}


def test_dumped_texts_stay_texts_in_both_versions_of_yaml() -> None:
    words = ("1e4", "no", "010", "true", "12:30", "2024-01-01", "~", "", "smollm2 \u00b7 think")
    text = dump_yaml(Words(words=words, numbers=(1e-7, 5e-6, 0.1, 3.0)))
    expected = {"words": list(words), "numbers": [1e-7, 5e-6, 0.1, 3.0]}
    assert parse_yaml(text, where="x") == expected
    assert yaml.safe_load(text) == expected
