"""What of the generated tokens is scored."""

from tiny_llama import character_tokenizer

from trainables.rollouts.completion import decode_completion

TOKENIZER = character_tokenizer()
END = TOKENIZER.eos_token_id
START = TOKENIZER.convert_tokens_to_ids("<|im_start|>")


def ids(text: str) -> list[int]:
    return list(TOKENIZER(text)["input_ids"])


def test_text_ends_before_the_first_stop_token() -> None:
    found = decode_completion(TOKENIZER, [*ids("abc"), END, *ids("junk")], stop_ids={END})
    assert found == ("abc", 4, False, "abc", [*ids("abc"), END])


def test_without_a_stop_token_it_is_truncated() -> None:
    found = decode_completion(TOKENIZER, ids("abc"), stop_ids={END})
    assert found.is_truncated
    assert found.num_tokens == 3


def test_stray_special_tokens_stay_visible() -> None:
    found = decode_completion(TOKENIZER, [*ids("a"), START, *ids("b"), END], stop_ids={END})
    assert found.text == "a<|im_start|>b"
    assert found.plain == "ab"  # What TRL gives reward functions.
