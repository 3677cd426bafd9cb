"""A model's special tokens, whichever of its files names them and whatever its tokenizer adds."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from tiny_llama import CHATML, GEMMA, character_tokenizer, save_random_llama
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizer, PreTrainedTokenizerFast

from strictune.errors import TrialError
from trainables.models import ModelSource, load_base_model, load_tokenizer, resolve_model
from trainables.prompting import render_prompt
from trainables.rollouts.transformers_engine import Decoding, TransformersEngine
from trainables.special_tokens import append_nothing, neutral_generation_config
from trainables.tasks.task import Message

MESSAGES: list[Message] = [{"role": "user", "content": "Write JSON."}]
PAD, BOS, END = range(3)
LIMIT = 8


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_random_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def untouched(model: Path) -> list[object]:
    return completions(model)


@pytest.fixture
def copy(model: Path, tmp_path: Path) -> Path:
    return shutil.copytree(model, tmp_path / "copy")


def edit(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def completions(folder: Path) -> list[object]:
    source = resolve_model(str(folder))
    base = load_base_model(source, quantization="none", dtype="float32")
    engine = TransformersEngine(base, load_tokenizer(source), batch_size=2)
    decodings = [
        Decoding(temperature=temperature, top_p=0.9, max_new_tokens=LIMIT) for temperature in (0, 1)
    ]
    prompts = ["a", "another prompt", "b"]
    return [engine.generate(prompts, decoding, seed=0) for decoding in decodings]


DEFAULTS: list[Mapping[str, Any]] = [
    {"min_p": 1.0, "temperature": 0.1, "top_k": 2, "top_p": 0.1, "do_sample": True},
    {"typical_p": 0.2, "epsilon_cutoff": 0.3, "eta_cutoff": 0.3, "top_h": 0.2, "do_sample": True},
    {"min_new_tokens": LIMIT, "suppress_tokens": list(range(4, 60))},
    {"min_length": 500},
    {"max_length": 3, "max_time": 1e-9},
    {"max_new_tokens": -1},
    {"stop_strings": ["e", "}"]},
    {"num_return_sequences": 2, "do_sample": True},
    {"num_beams": 3, "num_beam_groups": 3, "diversity_penalty": 0.5},
    {"repetition_penalty": 1.9, "no_repeat_ngram_size": 1},
    {"bad_words_ids": [[token] for token in range(4, 50)], "sequence_bias": [[[60], 9.0]]},
    {"begin_suppress_tokens": list(range(4, 60))},
    {"forced_bos_token_id": 70, "forced_eos_token_id": END},
    {"exponential_decay_length_penalty": [1, 3.0], "guidance_scale": 3.0},
    {"watermarking_config": {"bias": 5.0}},
    {"prompt_lookup_num_tokens": 3, "cache_implementation": "static"},
    {"return_dict_in_generate": True, "output_scores": True},
    {"penalty_alpha": 0.6, "dola_layers": "low"},
]


@pytest.mark.parametrize("defaults", DEFAULTS, ids=lambda defaults: "-".join(defaults))
def test_generation_defaults_of_a_model_change_nothing(
    copy: Path, untouched: list[object], defaults: Mapping[str, Any]
) -> None:
    edit(copy / "generation_config.json", lambda own: own.pop("_from_model_config", None))
    edit(copy / "generation_config.json", lambda own: own.update(defaults))
    assert completions(copy) == untouched


def test_generation_settings_in_the_config_change_nothing(
    copy: Path, untouched: list[object]
) -> None:
    (copy / "generation_config.json").unlink()
    edit(copy / "config.json", lambda own: own.update(temperature=0.1, num_beams=2, min_length=99))
    assert completions(copy) == untouched


def test_of_generation_defaults_the_special_tokens_stay(copy: Path) -> None:
    path = copy / "generation_config.json"
    edit(path, lambda own: own.update(eos_token_id=[END, BOS], temperature=0.5))
    kept = neutral_generation_config(str(copy)).to_diff_dict()
    kept.pop("transformers_version", None)
    assert kept == {"bos_token_id": BOS, "eos_token_id": [END, BOS], "pad_token_id": PAD}


def test_a_file_that_is_not_json_is_named(copy: Path) -> None:
    (copy / "generation_config.json").write_text("{")
    with pytest.raises(TrialError, match=r"generation_config\.json is not JSON"):
        load_tokenizer(resolve_model(str(copy)))


@pytest.mark.parametrize(
    ("tokenizer", "generation", "config", "pad"),
    [
        pytest.param({}, {"eos_token_id": END, "pad_token_id": PAD}, {}, PAD, id="in-generation"),
        pytest.param({}, {}, {"eos_token_id": END, "pad_token_id": PAD}, PAD, id="in-config"),
        pytest.param({}, {"eos_token_id": [9999, END]}, {}, END, id="the-known-one-of-a-list"),
        pytest.param({}, {"eos_token_id": END, "pad_token_id": -1}, {}, END, id="negative-pad"),
        pytest.param(
            {"eos_token": "<|im_end|>", "pad_token": "[NEW]"}, {}, {}, END, id="pad-not-embedded"
        ),
        pytest.param(
            {"eos_token": "[NEW]", "pad_token": "<pad>"}, {"eos_token_id": END}, {}, PAD,
            id="end-not-embedded",
        ),
        pytest.param(
            {"eos_token": "<|im_end|>", "pad_token": "<|im_end|>"}, {"pad_token_id": PAD}, {}, END,
            id="its-own-first",
        ),
    ],
)  # fmt: skip
def test_end_and_padding_come_from_whichever_file_names_them(
    copy: Path,
    tokenizer: Mapping[str, Any],
    generation: Mapping[str, Any],
    config: Mapping[str, Any],
    pad: int,
) -> None:
    replace_tokens(copy, tokenizer, generation, config)
    loaded = load_tokenizer(resolve_model(str(copy)))
    assert (loaded.eos_token_id, loaded.pad_token_id) == (END, pad)
    assert len(completions(copy)) == 2


@pytest.mark.parametrize("known", [{}, {"pad_token_id": PAD}, {"eos_token_id": 9999}])
def test_a_model_whose_completions_cannot_end_is_refused(
    copy: Path, known: Mapping[str, Any]
) -> None:
    replace_tokens(copy, {}, known, known)
    with pytest.raises(TrialError, match=r"names no end-of-sequence token.*no eos_token_id"):
        load_tokenizer(resolve_model(str(copy)))


def test_a_padding_token_outside_the_embedding_is_refused(copy: Path) -> None:
    edit(copy / "config.json", lambda own: own.update(pad_token_id=9999))
    with pytest.raises(TrialError, match=r"pad_token_id = 9999, expected below vocab_size = "):
        load_tokenizer(resolve_model(str(copy)))


def replace_tokens(folder: Path, *named: Mapping[str, Any]) -> None:
    """Let the three files name the given special tokens, and no others."""
    files = ("tokenizer_config.json", "generation_config.json", "config.json")
    fields = ("eos_token", "pad_token", "eos_token_id", "pad_token_id")
    for name, tokens in zip(files, named, strict=True):
        edit(folder / name, lambda own: [own.pop(field, None) for field in fields])
        edit(folder / name, lambda own, tokens=tokens: own.update(tokens))


@pytest.mark.parametrize(
    ("adds", "before"),
    [
        pytest.param("$A", [], id="nothing"),
        pytest.param("$A <|im_end|>", [], id="an-end"),
        pytest.param("$A <|im_end|> <|im_end|>", [], id="two-ends"),
        pytest.param("$A <pad>", [], id="another-token"),
        pytest.param("<bos> $A", [BOS], id="a-beginning"),
        pytest.param("<bos> $A <|im_end|>", [BOS], id="both"),
        pytest.param("<bos> <bos> $A", [BOS], id="two-beginnings"),
        pytest.param("<pad> <bos> $A <|im_end|>", [PAD, BOS], id="a-prefix-of-two"),
    ],
)
@pytest.mark.parametrize(
    "template",
    [
        pytest.param(CHATML, id="plain"),
        pytest.param(GEMMA, id="writes-bos"),
        pytest.param("{{ '<pad><bos>' }}" + CHATML, id="writes-the-prefix"),
    ],
)
def test_a_prompt_begins_once_and_stays_open(
    tmp_path: Path, template: str, adds: str, before: list[int]
) -> None:
    tokenizer = saved(tmp_path, template, adds)
    text = render_prompt(tokenizer, MESSAGES, thinking=False).text
    written = tokenizer.apply_chat_template(
        MESSAGES, tokenize=True, add_generation_prompt=True, return_dict=False
    )
    expected = written if written[: len(before)] == before else before + written
    assert tokenizer(text)["input_ids"] == expected
    assert tokenizer([text])["input_ids"] == [expected]


def test_what_a_tokenizer_adds_stays_off_when_it_is_saved(tmp_path: Path) -> None:
    saved(tmp_path, CHATML, "<bos> $A <|im_end|>").save_pretrained(tmp_path / "again")
    again = PreTrainedTokenizerFast.from_pretrained(tmp_path / "again")
    assert again("ab")["input_ids"] == [BOS, *again("ab", add_special_tokens=False)["input_ids"]]


def saved(folder: Path, template: str, adds: str) -> PreTrainedTokenizerFast:
    """Return a tokenizer as it is loaded from a folder whose own one adds tokens."""
    tokenizer = character_tokenizer(template)
    tokens = [token for token in dict.fromkeys(adds.split()) if token != "$A"]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=adds,
        special_tokens=[(token, tokenizer.convert_tokens_to_ids(token)) for token in tokens],
    )
    tokenizer.save_pretrained(folder)
    return load_tokenizer(ModelSource(str(folder), str(folder), "revision"))


class SlowTokenizer(PreTrainedTokenizer):  # type: ignore[misc]
    """One token a character, in Python, that ends every text."""

    def __init__(self, **options: Any) -> None:
        self._vocabulary = {chr(code): code for code in range(128)}
        super().__init__(special_tokens_pattern="eos", eos_token="}", **options)

    @property
    def vocab_size(self) -> int:
        return len(self._vocabulary)

    def get_vocab(self) -> dict[str, int]:
        return self._vocabulary

    def _tokenize(self, text: str, **options: Any) -> list[str]:
        return list(text)

    def _convert_token_to_id(self, token: str) -> int:
        return self._vocabulary[token]

    def _convert_id_to_token(self, index: int) -> str:
        return chr(index)


def test_a_tokenizer_in_python_that_appends_is_refused() -> None:
    tokenizer = SlowTokenizer()
    assert tokenizer("ab")["input_ids"][-1] == ord("}")
    with pytest.raises(TrialError, match=r"puts \[\] in front of every text and \['}'\] behind"):
        append_nothing(tokenizer)
