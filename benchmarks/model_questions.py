"""What models are given: statements that are true or false, and questions with their rule.

Statements come in fours: two subjects, each with its own value and with the other's. So neither a
subject nor a value tells by itself whether a statement is true, and the four are one group.
"""

import random
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from model_facts import RELATIONS, Relation

_SMALL = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen"),
    "nineteen",
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_NAMES = (
    *("Anna", "Ben", "Carla", "David", "Emma", "Frank", "Greta", "Henry"),
    *("Ida", "Jonas", "Karin", "Leo", "Maria", "Nils", "Olga", "Paul"),
)
_THINGS = ("apples", "books", "coins", "stamps", "marbles", "pencils", "shells", "stickers")


@dataclass(frozen=True, kw_only=True)
class Statement:
    """Something that is true or false.

    Attributes:
        question: that it answers.
        text: the statement, with its full stop.
        false: whether it is.
        group: the statements that share its parts.
    """

    question: str
    text: str
    false: bool
    group: str


@dataclass(frozen=True, kw_only=True)
class Question:
    """Something that a model answers in its own words.

    Attributes:
        text: the question.
        lead: how the answer begins, up to what is asked.
        accepted: answers that are right.
        others: answers that are not; all that the rule looks for beside the accepted.
        rule: see `is_right`.
        group: the questions that share its subject.
    """

    text: str
    lead: str
    accepted: tuple[str, ...]
    others: frozenset[str]
    rule: Literal["names", "number"]
    group: str


RULES = {
    "names": "right if an accepted answer stands in it as a word, and no other answer does",
    "number": "right if the first number in it is the accepted one",
}


def is_right(question: Question, answer: str) -> bool:
    """Whether an answer is right, by its question's rule; neither case nor accents count."""
    if question.rule == "number":
        number = re.search(r"-?\d+", answer)
        return number is not None and number.group() in question.accepted
    return _names(answer, question.accepted) and not _names(answer, question.others)


def _names(answer: str, values: Iterable[str]) -> bool:
    """Whether one of the values stands in the answer as a word, in the singular or the plural."""
    return any(re.search(rf"\b{re.escape(_plain(v))}s?\b", _plain(answer)) for v in values)


def _plain(text: str) -> str:
    letters = unicodedata.normalize("NFKD", text)
    return "".join(c for c in letters if not unicodedata.combining(c)).casefold()


def fact_statements(names: Sequence[str], seed: int) -> list[Statement]:
    """Statements of the relations named, in fours."""
    rng = random.Random(seed)
    return [s for name in names for s in _of_relation(name, RELATIONS[name], rng)]


def _of_relation(name: str, relation: Relation, rng: random.Random) -> list[Statement]:
    statements: list[Statement] = []
    for subjects in _partners(relation.values, rng):
        values = [relation.values[subject][0] for subject in subjects]
        for i, subject in enumerate(subjects):
            for j, value in enumerate(values):
                text = relation.statement.format(subject, value)
                statements.append(
                    Statement(
                        question=relation.question.format(subject),
                        text=_capitalised(text),
                        false=i != j,
                        group=f"{name}: {', '.join(subjects)}",
                    )
                )
    return statements


def _capitalised(text: str) -> str:
    return text[0].upper() + text[1:]


def _partners(values: Mapping[str, tuple[str, ...]], rng: random.Random) -> list[tuple[str, str]]:
    """Subjects two by two, so that what is right of one is wrong of the other."""
    waiting = rng.sample(list(values), len(values))
    pairs: list[tuple[str, str]] = []
    while waiting:
        subject = waiting.pop()
        partner = next((w for w in waiting if not set(values[w]) & set(values[subject])), None)
        if partner is not None:
            waiting.remove(partner)
            pairs.append((subject, partner))
    return pairs


def number_statements(pairs: int, seed: int) -> list[Statement]:
    """Comparisons of numbers in words: two orders and two relations of each pair."""
    rng = random.Random(seed)
    chosen = rng.sample([(a, b) for a in range(1, 100) for b in range(1, a)], pairs)
    return [
        Statement(
            question=f"Is {_words(a)} {relation} than {_words(b)}?",
            text=f"{_words(a).capitalize()} is {relation} than {_words(b)}.",
            false=(a > b) != (relation == "larger"),
            group=f"{high} and {low}",
        )
        for high, low in chosen
        for a, b in ((high, low), (low, high))
        for relation in ("larger", "smaller")
    ]


def _words(number: int) -> str:
    if number < len(_SMALL):
        return _SMALL[number]
    tens, ones = divmod(number, 10)
    return _TENS[tens - 2] + (f"-{_SMALL[ones]}" if ones else "")


def fact_questions(names: Sequence[str]) -> list[Question]:
    """A question of every subject of the relations named."""
    return [
        Question(
            text=relation.question.format(subject),
            lead=_capitalised(relation.statement.format(subject, "")).rstrip(" ."),
            accepted=accepted,
            others=frozenset(v for values in relation.values.values() for v in values)
            - {*accepted},
            rule="names",
            group=subject,
        )
        for relation in (RELATIONS[name] for name in names)
        for subject, accepted in relation.values.items()
    ]


def sum_questions(pairs: int, seed: int) -> list[Question]:
    """The sum, in both orders, and the difference of two numbers up to 20."""
    rng = random.Random(seed)
    chosen = rng.sample([(a, b) for a in range(3, 21) for b in range(2, a)], pairs)
    return [
        Question(
            text=f"What is {term}?",
            lead=f"{term} =",
            accepted=(str(result),),
            others=frozenset(),
            rule="number",
            group=f"{a} and {b}",
        )
        for a, b in chosen
        for term, result in ((f"{a} + {b}", a + b), (f"{b} + {a}", a + b), (f"{a} - {b}", a - b))
    ]


def order_questions(passages: int, seed: int) -> list[Question]:
    """Who has the most and who the fewest, of three people in a passage."""
    rng = random.Random(seed)
    questions: list[Question] = []
    for number in range(passages):
        names, thing = rng.sample(_NAMES, 3), rng.choice(_THINGS)
        counts = rng.sample(range(2, 100), 3)
        has = [f"{name} has {count} {thing}" for name, count in zip(names, counts, strict=True)]
        for word, extreme in (("most", max(counts)), ("fewest", min(counts))):
            accepted = names[counts.index(extreme)]
            questions.append(
                Question(
                    text=f"{has[0]}, {has[1]} and {has[2]}. Who has the {word} {thing}?",
                    lead=f"The one who has the {word} {thing} is",
                    accepted=(accepted,),
                    others=frozenset(names) - {accepted},
                    rule="names",
                    group=f"passage {number}",
                )
            )
    return questions
