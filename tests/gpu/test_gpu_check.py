"""The script of ``make gpu-check``, as far as it goes without a GPU."""

import json
import os
import runpy
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import check_gpu
import gpu_packing
import gpu_parts
import made_models
import pytest
from check_gpu import Result
from packaging.requirements import Requirement
from transformers import AutoConfig, AutoModelForCausalLM

from strictune.config import expand, load_sweep
from trainables.memory.architecture import PUBLISHED, Architecture, parse_architecture
from trainables.models import load_tokenizer, resolve_model
from trainables.prompting import render_prompt

GPU = "NVIDIA GPU, 580.1, 24576 MiB"
CARRIED = ("torch", "transformers", "peft", "accelerate", "trl", "datasets", "pydantic")
BARE = (*CARRIED, "bitsandbytes")
"""What a machine has on which all parts but packing must run, beside what these need."""


def check(*arguments: str, out: Path) -> int:
    return check_gpu.main([*arguments, "--out", str(out / "figures.json")])


def figures(out: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((out / "figures.json").read_text())
    return document


@pytest.fixture
def part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that stands for the parts' own process, on a machine with a GPU."""
    monkeypatch.setattr(check_gpu, "first_gpu", lambda: GPU)
    path = tmp_path / "part.py"
    monkeypatch.setattr(check_gpu, "PARTS_FILE", path)
    return path


SAYS = """
import json, os, sys
part, model, device, work = sys.argv[1:]
def say(status, found, **more):
    print("a library's remark")
    said = dict(part=part, name=model, status=status, found=found) | more
    print("result: " + json.dumps(said), flush=True)
"""


# Which parts run, and what becomes of them.


def test_without_a_gpu_it_says_so_and_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(check_gpu, "first_gpu", lambda: None)
    assert check(out=tmp_path) == 0
    assert capsys.readouterr().out.startswith("skipped: nvidia-smi shows no GPU")
    assert list(tmp_path.iterdir()) == []


def test_each_model_has_a_process_and_all_figures_are_in_one_file(
    part: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    part.write_text(SAYS + "say('ok', device, figures={'pid': os.getpid()})")
    assert check("one", "two", "--only", "memory,nf4", out=tmp_path) == 0
    document = figures(tmp_path)
    assert document["device"] == GPU
    assert [(r["part"], r["name"]) for r in document["results"]] == [
        ("nf4", "nf4"),
        ("memory", "one"),
        ("memory", "two"),
    ]
    assert len({result["figures"]["pid"] for result in document["results"]}) == 3
    assert "ok: memory, two: cuda" in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    "name", sorted({name for part in check_gpu.NEEDS.values() for name in part})
)
def test_a_part_says_what_it_lacks_and_the_others_go_on(
    part: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    part.write_text(SAYS + "say('ok', 'fine')")
    monkeypatch.setitem(sys.modules, name, None)
    code = check("--only", "nf4,packing", out=tmp_path)
    found = {
        result["part"]: (result["status"], result["found"])
        for result in figures(tmp_path)["results"]
    }
    lacking = {key for key, needs in check_gpu.NEEDS.items() if name in needs} & found.keys()
    assert found == {
        key: ("lacks", name) if key in lacking else ("ok", "fine") for key in ("nf4", "packing")
    }
    assert lacking
    assert code == (1 if len(lacking) == 2 else 0)


def test_the_cure_names_packages() -> None:
    assert check_gpu.lacks("nf4", "nf4", ["torch", "yaml"]).cure == "pip install torch pyyaml"


def test_what_a_library_lacks_is_found_when_it_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    def imports(job: gpu_parts.Job) -> Iterator[Result]:
        yield Result("memory", "one", "ok", "before")
        raise ModuleNotFoundError("No module named 'xxhash'", name="xxhash")

    monkeypatch.setattr(gpu_parts, "RUN", {"memory": imports})
    first, second = gpu_parts.run("memory", gpu_parts.Job("one", "cpu", Path()))
    assert first.status == "ok"
    assert second == Result("memory", "one", "lacks", "xxhash", "pip install xxhash")


@pytest.mark.parametrize(
    ("end", "found"),
    [
        pytest.param("os.kill(os.getpid(), 9)", "ended with code -9", id="killed"),
        pytest.param("raise RuntimeError('no such kernel')", "no such kernel", id="error"),
        pytest.param("import time; time.sleep(60)", "gave no answer within", id="hangs"),
    ],
)
def test_a_part_that_dies_is_broken_and_what_it_said_stays(
    part: Path, tmp_path: Path, end: str, found: str
) -> None:
    part.write_text(SAYS + f"say('ok', 'first')\n{end}")
    assert check("--only", "nf4", "--minutes", "0.05", out=tmp_path) == 1
    first, last = figures(tmp_path)["results"]
    assert (first["status"], last["status"]) == ("ok", "broken")
    assert found in last["found"]


def test_what_has_no_time_left_is_skipped(part: Path, tmp_path: Path) -> None:
    part.write_text(SAYS + "say('ok', 'fine')")
    assert check("one", "--only", "memory", "--minutes", "0", out=tmp_path) == 1
    (result,) = figures(tmp_path)["results"]
    assert (result["status"], result["found"]) == ("skipped", "no time was left")


def test_a_part_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        check_gpu.main(["--only", "nf4,mmory"])
    assert refused.value.code == 2
    assert "expected some of nf4, speed, packing, memory" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("device", "visible", "expected"),
    [("cuda", None, "0"), ("cuda", "2,3", "2"), ("cuda", "GPU-1a", "GPU-1a"), ("cpu", "2", "")],
)
def test_a_part_sees_one_gpu_or_none(
    monkeypatch: pytest.MonkeyPatch, device: str, visible: str | None, expected: str
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert check_gpu.environment(device)["CUDA_VISIBLE_DEVICES"] == expected


@pytest.mark.parametrize(
    ("visible", "asked", "expected"),
    [(None, ["--id=0"], GPU), ("1", ["--id=1"], GPU), ("GPU-1a", [], GPU), ("", None, None)],
)
def test_the_gpu_that_is_named_is_the_one_that_is_seen(
    monkeypatch: pytest.MonkeyPatch,
    visible: str | None,
    asked: list[str] | None,
    expected: str | None,
) -> None:
    commands = []

    def run(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        commands.append([word for word in command if word.startswith("--id")])
        return subprocess.CompletedProcess(command, 0, stdout=f"{GPU}\nanother\n")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert check_gpu.first_gpu() == expected
    assert commands == ([] if asked is None else [asked])


# Models and prompts that are made on the spot.

SMALL = Architecture(
    hidden=32,
    intermediate=64,
    num_layers=2,
    num_heads=4,
    num_kv_heads=2,
    head_dim=16,
    vocab=1500,
    ties_embeddings=True,
)


@pytest.mark.parametrize("model_type", sorted(set(made_models.MODEL_TYPES.values())))
def test_a_made_model_has_its_sizes_and_a_tokenizer(tmp_path: Path, model_type: str) -> None:
    folder = tmp_path / "made"
    made_models.make_model(SMALL, model_type, folder, device="cpu")
    expected = replace(SMALL, has_sdpa=model_type != "gemma2")
    assert parse_architecture(json.loads((folder / "config.json").read_text())) == expected
    assert AutoConfig.from_pretrained(folder).model_type == model_type
    assert AutoModelForCausalLM.from_pretrained(folder).get_input_embeddings().weight.shape == (
        1500,
        32,
    )
    tokenizer = load_tokenizer(resolve_model(str(folder)))
    assert all(tokenizer.decode([index]) for index in range(3, SMALL.vocab))
    text = "Answer with {}."
    assert (
        tokenizer(text)["input_ids"]
        == load_tokenizer(resolve_model("builtin:tiny"))(text)["input_ids"]
    )


def test_every_published_model_can_be_made(tmp_path: Path) -> None:
    folders = {made_models.published_folder(name, tmp_path) for name in PUBLISHED}
    assert {folder.parent for folder in folders if folder} == {tmp_path}
    assert len(folders) == len(PUBLISHED)
    assert made_models.published_folder("builtin:tiny", tmp_path) is None


def test_a_model_is_made_once_and_by_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def run(command: list[str], **options: object) -> None:
        made.append(command[2:])
        Path(command[3]).mkdir()

    monkeypatch.setattr(subprocess, "run", run)
    job = gpu_parts.Job("Qwen/Qwen2.5-0.5B-Instruct", "cuda", tmp_path)
    assert job.folder == job.folder == str(tmp_path / "Qwen--Qwen2.5-0.5B-Instruct")
    assert made == [[job.model, job.folder, "cuda"]]


def test_the_maker_is_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr(AutoConfig, "for_model", lambda kind, **sizes: made.append((kind, sizes)))
    monkeypatch.setattr(AutoModelForCausalLM, "from_config", lambda *_, **__: FakeModel())
    arguments = ["google/gemma-2-2b-it", str(tmp_path / "gemma"), "cpu"]
    monkeypatch.setattr(sys, "argv", ["made_models.py", *arguments])
    runpy.run_path(str(gpu_parts.MAKER), run_name="__main__")
    assert (tmp_path / "gemma" / "tokenizer.json").is_file()
    [(kind, sizes)] = made
    assert (kind, sizes["hidden_size"], sizes["vocab_size"]) == ("gemma2", 2304, 256000)


class FakeModel:
    def save_pretrained(self, folder: Path) -> None:
        folder.mkdir()


def test_stand_in_prompts_are_as_long_as_they_may_be() -> None:
    tokenizer = load_tokenizer(resolve_model("builtin:tiny"))
    task = made_models.StandInTask(
        tokenizer, components=("format",), difficulties=("simple", "hard"), max_prompt_tokens=64
    )
    prompt = task.prompts("train")[1]
    text = render_prompt(tokenizer, task.messages(prompt, thinking=False), thinking=False).text
    assert len(tokenizer(text)["input_ids"]) == 64
    assert prompt.difficulty == "hard"


# The parts.


@pytest.mark.parametrize(
    ("failed_gib", "share"), [(None, "kept within its share"), (2.2, "too much for 2.20")]
)
def test_the_first_guess_stands_beside_what_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failed_gib: float | None, share: str
) -> None:
    probe = {
        "memory_gib": 3.0,
        "gpu_gib": 2.0,
        "gpu_reserved_gib": 2.6,
        "gpu_failed_gib": failed_gib,
        "step_s": 4.0,
    }
    monkeypatch.setattr(gpu_parts, "run_probe", lambda spec, job: probe)
    monkeypatch.setattr(gpu_parts, "first_guess_gib", lambda spec, device: 2.5)
    (result,) = gpu_parts.measure_memory(gpu_parts.Job("builtin:tiny", "cuda", tmp_path))
    assert result.found == (
        f"measured 2.00 GiB, first guess 2.50 (1.25 times); reserved 2.60, {share}; main "
        "memory 3.00; 4.0 s a step of 512 tokens"
    )
    assert result.figures == {"first_guess_gib": 2.5, **probe}


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_first_guess_is_made_for_either_device(device: str) -> None:
    guess = gpu_parts.first_guess_gib(expand(load_sweep(gpu_parts.SHAPE))[0], device=device)
    assert guess is not None and guess > 0


def test_an_engine_that_fails_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gpu_engines

    def fail(spec: Any, prompts: Any) -> gpu_engines.Timed:
        raise TypeError("no such option")

    engines = {"bad": fail, "good": lambda spec, prompts: gpu_engines.Timed(64, 0.5)}
    monkeypatch.setattr(gpu_engines, "ENGINES", engines)
    monkeypatch.setattr(gpu_parts, "run_probe", lambda spec, job: {"step_s": 1.5})
    job = gpu_parts.Job("builtin:tiny", "cpu", tmp_path)
    bad, good, step = gpu_parts.measure_speed(job)
    assert (bad.status, bad.found) == ("broken", "TypeError: no such option")
    assert good.figures == {"tokens_per_s": 128.0, "token_ms": 15.625}
    assert step.figures == {"step_s": 1.5}


def test_a_trials_span_and_peak_are_read_from_its_records(tmp_path: Path) -> None:
    (tmp_path / "attempts.jsonl").write_text('{"time": 10.0}\n{"time": 20.0}\n')
    lines = [{"metrics": {"gpu/peak_gib": 1.5}}, {"metrics": {}}, {"metrics": {"gpu/peak_gib": 2}}]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "outcome.json").write_text('{"ended": 30.0}')
    expected = gpu_packing.Trial(began=10.0, ended=30.0, peak_gib=2)
    assert gpu_packing.read_trial(tmp_path) == expected


# A machine that has nothing else.


@pytest.fixture(scope="module")
def bare_machine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of links to ``BARE`` and what it needs: the only packages that are found."""
    # dill saves modules of other folders by their content.
    folder = tmp_path_factory.mktemp("bare") / "site-packages"
    folder.mkdir()
    todo, done = list(BARE), set[str]()
    while todo:
        name = todo.pop()
        if name in done:
            continue
        done.add(name)
        for top in {file.parts[0] for file in metadata.files(name) or ()} - {"..", "__pycache__"}:
            if not (folder / top).exists():
                (folder / top).symlink_to(Path(str(metadata.distribution(name).locate_file(top))))
        needs = map(Requirement, metadata.requires(name) or ())
        todo += [r.name for r in needs if r.marker is None or r.marker.evaluate({"extra": ""})]
    return folder


def run_bare(
    bare_machine: Path, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-S", *arguments],  # -S: without this environment's own packages.
        env=os.environ | {"PYTHONPATH": str(bare_machine), "OMP_NUM_THREADS": "1"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_the_parts_import_needs_no_more(bare_machine: Path) -> None:
    code = (
        "import sys; sys.path[:0] = sys.argv[1:]; "
        "import strictune.doctor.try_device, trainables.memory.probe, gpu_engines, made_models; "
        "print(*{'ray', 'mlflow', 'optuna', 'jsonschema_rs', 'platformdirs'} & sys.modules.keys())"
    )
    paths = [str(check_gpu.ROOT / name) for name in (".", "platform", "tests/gpu")]
    done = run_bare(bare_machine, "-c", code, *paths)
    assert (done.returncode, done.stdout.split()) == (0, []), done.stderr


def test_a_bare_machine_lacks_what_packing_needs(bare_machine: Path, tmp_path: Path) -> None:
    script = str(check_gpu.ROOT / "tests" / "gpu" / "check_gpu.py")
    out = str(tmp_path / "figures.json")
    done = run_bare(bare_machine, script, "--device", "cpu", "--only", "packing", "--out", out)
    assert done.returncode == 1, done.stderr
    (result,) = figures(tmp_path)["results"]
    assert result["status"] == "lacks"
    assert {"ray", "mlflow", "optuna", "jsonschema_rs"} <= set(result["found"].split(", "))


@pytest.mark.slow
def test_nf4_memory_and_speed_run_on_a_bare_machine(bare_machine: Path, tmp_path: Path) -> None:
    script = str(check_gpu.ROOT / "tests" / "gpu" / "check_gpu.py")
    out = str(tmp_path / "figures.json")
    done = run_bare(
        bare_machine, script, "--device", "cpu", "--only", "nf4,memory,speed", "--out", out
    )
    results = figures(tmp_path)["results"]
    assert {r["status"] for r in results} - {"warning"} == {"ok"}, done.stdout
    names = {result["name"] for result in results}
    assert {"nf4", "builtin:tiny", "merged copy, builtin:tiny"} <= names
    (memory,) = (result["figures"] for result in results if result["part"] == "memory")
    assert memory["first_guess_gib"] > 0 and memory["memory_gib"] > 0
    assert done.returncode == 0
