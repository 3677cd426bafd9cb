"""The written report: its numbers are those of the tables, and no text can act in it."""

import base64
import gzip
import html
import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from reported_sweep import Drawing, write_control, write_reported_sweep

from analysis.figures import theme
from analysis.report import Report, write_report
from analysis.report.catalogue import FIGURES
from analysis.report.writing import script_json
from analysis.wording import verdict_rows

HOSTILE = (
    "</script><img src=x onerror=\"document.title='owned'\"><!-- {{x}} [[blocks]] \u2028 & 'q'"
)
TWO_CELLS = ("matrix.curriculum=[standard]", "contrasts=[]")
BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


@pytest.fixture(scope="module", autouse=True)
def pictures_drawn_once() -> Iterator[None]:
    """Draw the picture of each figure once: they are most of a report's time."""
    drawn: dict[str, str] = {}
    draw = theme.to_svg

    def to_svg(document: Mapping[str, Any]) -> str:
        key = json.dumps(document)
        if key not in drawn:
            drawn[key] = draw(document)
        return drawn[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(theme, "to_svg", to_svg)
        yield


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    folder = tmp_path_factory.mktemp("page") / "demo"
    trials = write_reported_sweep(folder, Drawing(text=HOSTILE), unfinished=[3])
    write_control(folder, trials[0], Drawing(text=HOSTILE))
    return write_report(folder)


@pytest.fixture(scope="module")
def page(report: Report) -> str:
    return report.html.read_text(encoding="utf-8")


class Elements(HTMLParser):
    """Collects what a browser would see."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def element(page: str, name: str) -> str:
    found = re.search(rf'<script type="[a-z/]+" id="{re.escape(name)}">(.*?)</script>', page, re.S)
    assert found is not None
    return found[1]


def block(page: str, name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(element(page, name))))
    return document


def test_the_verdict_table_is_that_of_the_analysis(report: Report, page: str) -> None:
    table = page[page.index("<tbody>") : page.index("</tbody>")]
    shown = [
        [html.unescape(re.sub(r"<[^>]+>", "", cell)) for cell in re.findall(r"<td>(.*?)</td>", row)]
        for row in re.findall(r"<tr>(.*?)</tr>", table)
    ]
    assert shown == [list(row.values()) for row in verdict_rows(report.sweep.verdicts)]


def test_a_figure_holds_the_numbers_of_its_table(report: Report, page: str) -> None:
    documents = json.loads(element(page, "documents"))
    text = json.dumps(documents["differences"])
    for row in report.sweep.tables["differences"]:
        assert json.dumps(row["delta_pp"]) in text


def test_every_cell_of_a_finished_trial_leads_to_its_completions(report: Report, page: str) -> None:
    table = page[page.index("<tbody>") : page.index("</tbody>")]
    links = re.findall(r'href="#browse\?([^"]+)"', table)
    queries = [parse_qs(html.unescape(link)) for link in links]
    finished = [trial for trial in report.sweep.verdicts.trials if trial.result is not None]
    columns = len(verdict_rows(report.sweep.verdicts)[0])
    assert len(queries) == columns * len(finished)
    index = {trial["id"]: trial for trial in json.loads(element(page, "sweep"))["trials"]}
    assert all(index[query["trial"][0]]["block"] for query in queries)
    assert {"change": ["flips"], "trial": [finished[0].plan.trial_id]} in queries


def test_the_browser_holds_what_the_tables_count(report: Report, page: str) -> None:
    trial = report.sweep.verdicts.trials[0].plan.trial_id
    document = block(page, f"trial-{trial}")
    counted = {
        (row["difficulty"], row["change"]): row["num_prompts"]
        for row in report.sweep.tables["changes"]
        if row["trial_id"] == trial
    }
    prompts = block(page, "prompts")
    found = dict.fromkeys(counted, 0)
    for name, answer in document["answers"].items():
        for difficulty in ("all", prompts[name]["difficulty"]):
            found[difficulty, answer["change"]] += 1
    assert found == counted


def test_the_tables_of_a_trial_lead_to_its_completions(report: Report, page: str) -> None:
    trial = report.sweep.verdicts.trials[0].plan.trial_id
    tables = {table["title"]: table for table in block(page, f"trial-{trial}")["tables"]}
    changes = tables["What became of the prompts"]
    assert changes["headings"] == ["difficulty", "rescued", "regressed", "both pass", "both fail"]
    counted = {
        (row["difficulty"], row["change"]): str(row["num_prompts"])
        for row in report.sweep.tables["changes"]
        if row["trial_id"] == trial
    }
    for (difficulty, _), *line in changes["lines"]:
        of_tier = {} if difficulty == "all" else {"difficulty": difficulty}
        for change, (text, filters) in zip(changes["headings"][1:], line, strict=True):
            assert text.partition(" ")[0] == counted[difficulty, change]
            assert filters == {"trial": trial, **of_tier, "change": change}
    assert all(
        filters is None
        for line in tables["Primary criterion after each stage"]["lines"]
        for _, filters in line
    )


def test_it_opens_with_one_picture_and_folds_the_sentences(report: Report, page: str) -> None:
    opening = page.partition('<section id="verdicts">')[2].partition("</section>")[0]
    assert 0 < opening.index('<figure id="figure-differences"') < opening.index("<table>")
    sentences = page.partition('<section id="sentences">')[2].partition("</section>")[0]
    assert re.findall(r"<details>\s*<summary>(\w+)", sentences) == ["Trials", "Cells", "Contrasts"]
    markdown = report.markdown.read_text(encoding="utf-8")
    assert markdown.index("(report_figures/differences.svg)") < markdown.index("| trial |")
    assert markdown.count("(report_figures/differences.svg)") == 1


def test_criteria_and_error_classes_stand_beside_each_completion(report: Report, page: str) -> None:
    trial = report.sweep.verdicts.trials[0]
    assert trial.result is not None
    answers = block(page, f"trial-{trial.plan.trial_id}")["answers"].values()
    samples = [sample for answer in answers for sample in answer["samples"]]
    for criterion, rate in trial.result.rates.items():
        share = sum(criterion in sample["criteria"] for sample in samples) / len(samples)
        assert share == pytest.approx(rate.estimate)
    assert all((sample["error"] == "ok") == ("strict" in sample["criteria"]) for sample in samples)


def test_a_completion_cannot_act(report: Report, page: str) -> None:
    assert HOSTILE not in page
    assert "onerror" not in page.replace(report_scripts(page), "")
    trial = report.sweep.verdicts.trials[0].plan.trial_id
    answers = block(page, f"trial-{trial}")["answers"].values()
    assert {sample["text"] for answer in answers for sample in answer["samples"]} == {HOSTILE}


def test_nothing_is_loaded_from_anywhere(page: str) -> None:
    tags = Elements(page).tags
    assert not [tag for tag, _ in tags if tag in ("link", "img", "iframe", "object", "embed")]
    assert not [attrs for tag, attrs in tags if tag == "script" and "src" in attrs]
    policy = next(attrs for tag, attrs in tags if tag == "meta" and "http-equiv" in attrs)
    assert str(policy["content"]).startswith("default-src 'none';")


@pytest.mark.usefixtures("one_figure")
def test_names_are_escaped(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    write_reported_sweep(folder, Drawing(num_prompts=12), overrides=TWO_CELLS)
    plan = json.loads((folder / "plan.json").read_text())
    plan["sweep"] = "<script>alert(1)</script>"
    plan["trials"][0]["name"] = "<b>[[program]]</b>"
    (folder / "plan.json").write_text(json.dumps(plan))
    written = write_report(folder)
    page = written.html.read_text(encoding="utf-8")
    assert "alert(1)</script>" not in page
    assert "<b>[[program]]" not in page
    assert "&lt;b&gt;[[program]]&lt;/b&gt;" in page
    assert "<b>" not in written.markdown.read_text(encoding="utf-8")


def test_json_in_a_page_means_the_same() -> None:
    text = script_json({"a": [HOSTILE, 1.5, None]})
    assert json.loads(text) == {"a": [HOSTILE, 1.5, None]}
    assert not set("<>&\u2028") & set(text)


def test_the_markdown_shows_the_table_and_the_pictures(report: Report) -> None:
    text = report.markdown.read_text(encoding="utf-8")
    for row in verdict_rows(report.sweep.verdicts):
        assert f"| {' | '.join(row.values())} |" in text
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", text)
    assert len(pictures) == report.num_figures == len(FIGURES)
    for name in pictures:
        assert (report.markdown.parent / name).read_text(encoding="utf-8").startswith("<svg")


def test_a_second_report_replaces_the_first(report: Report) -> None:
    stale = report.html.parent / "report_figures" / "gone.svg"
    stale.write_text("<svg/>")
    again = write_report(report.html.parent)
    assert again.html_bytes == report.html.stat().st_size
    assert not stale.exists()
    assert not list(report.html.parent.glob(".report*"))


@pytest.mark.usefixtures("one_figure")
def test_the_limit_holds_and_what_is_left_out_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    drawing = Drawing(num_prompts=120, text_chars=2000)
    write_reported_sweep(folder, drawing, overrides=TWO_CELLS)
    whole = write_report(folder)
    for limit in (whole.html_bytes - 40_000, whole.html_bytes - 302_000):
        report = write_report(folder, max_bytes=limit)
        assert report.html_bytes <= limit
        assert report.html_bytes > 0.93 * limit
    assert report.num_flips_left_out > 0


@pytest.mark.usefixtures("one_figure")
def test_a_sweep_in_which_nothing_has_finished(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    write_reported_sweep(folder, Drawing(num_prompts=12), overrides=TWO_CELLS, unfinished=[0, 1])
    report = write_report(folder)
    assert report.sweep.verdicts.trials[0].result is None
    assert "2 trials" in report.steps[0].text
    assert block(report.html.read_text(encoding="utf-8"), "prompts") == {}


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
@pytest.mark.slow
def test_a_browser_shows_the_filtered_completions(report: Report, tmp_path: Path) -> None:
    trial = report.sweep.verdicts.trials[0].plan.trial_id
    (rescued,) = [
        row["num_prompts"]
        for row in report.sweep.tables["changes"]
        if (row["trial_id"], row["change"], row["difficulty"]) == (trial, "rescued", "hard")
    ]
    address = f"{report.html.as_uri()}#browse?trial={trial}&change=rescued&difficulty=hard"
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}"]
    dom = subprocess.run(
        [str(BROWSER), *options, "--virtual-time-budget=60000", "--dump-dom", address],
        capture_output=True,
        text=True,
        check=True,
        timeout=180,
    ).stdout
    assert 'data-ready="yes"' in dom
    assert 'data-figures="drawn"' in dom
    assert f'data-shown="{rescued}"' in dom
    assert "<title>quickstart</title>" in dom
    assert html.escape("</script><img src=x", quote=False) in dom


def report_scripts(page: str) -> str:
    """The figures' library, which may name any attribute."""
    start = page.index("<script>")
    return page[start : page.index("</script>", start)]
