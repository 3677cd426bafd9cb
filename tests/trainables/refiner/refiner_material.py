"""Rows, answers and judges that several tests share."""

from collections.abc import Callable, Mapping, Sequence

from trainables.tasks.refiner.judge import Judgement, Question, RubricQuestion, SupportQuestion
from trainables.tasks.refiner.rows import RefinerRow, Rubric

ROW = RefinerRow(
    id="r1",
    question="What is the colour of the Marel bridge?",
    evidence={
        "S1": "The colour of the Marel bridge is red.",
        "S2": "The colour of the Tudis bridge is blue.",
        "S3": "The height of the Marel bridge is 40 metres.",
    },
    rubrics=(
        Rubric("Right colour", 'Says that the colour is "red".'),
        Rubric("Wrong colour", 'Says that the colour is "blue".', is_negative=True),
    ),
    source="bridges",
)
GOOD = "<answer><snippet id=S1>The colour of the Marel bridge is red.</snippet></answer>"
WRONG = "<answer><snippet id=S2>The colour of the Marel bridge is blue.</snippet></answer>"

Reply = Callable[[Question], tuple[float, ...] | None]


class ScriptedJudge:
    """Answers by a function and remembers what it was asked."""

    def __init__(self, reply: Reply, health: Mapping[str, float] | None = None) -> None:
        self.reply = reply
        self.health = health or {}
        self.asked: list[Question] = []

    def judge(
        self, questions: Sequence[Question], *, on_progress: Callable[[], None] | None = None
    ) -> Judgement:
        assert len(set(questions)) == len(questions)
        self.asked += questions
        return Judgement([self.reply(question) for question in questions], self.health)


def always(value: float) -> Reply:
    return lambda question: (value,) * question.num_scores


def by_title(scores: Mapping[str, float | None], *, support: float | None = 1.0) -> Reply:
    """Score rubrics by their titles, and every claim alike; None is missing."""

    def reply(question: Question) -> tuple[float, ...] | None:
        if isinstance(question, SupportQuestion):
            return None if support is None else (support,) * question.num_scores
        assert isinstance(question, RubricQuestion)
        values = [scores[rubric.title] for rubric in question.rubrics]
        known = tuple(value for value in values if value is not None)
        return known if len(known) == len(values) else None

    return reply
