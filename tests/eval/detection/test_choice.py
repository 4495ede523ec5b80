"""The detector to rely on."""

import numpy as np

from kview.eval.detection.choice import choose

LABELS = np.array([0, 0, 1, 1])
GOOD, BAD = np.array([0.0, 1, 2, 3]), np.array([3.0, 2, 1, 0])


def test_the_best_on_validation_rows_is_chosen():
    found = choose({"a": (BAD, LABELS), "b": (GOOD, LABELS), "c": None}, "a")
    assert (found.name, found.validated) == ("b", True)
    assert found.val_auroc == {"a": 0.0, "b": 1.0}
    assert found.reason == "b has the highest AUROC on 4 validation rows, 1.000"


def test_the_first_of_equals_is_chosen():
    assert choose({"b": (GOOD, LABELS), "a": (2 * GOOD, LABELS)}, "a").name == "b"


def test_with_nothing_to_choose_by_it_is_the_default_or_the_first():
    assert choose({"cosine": None, "knn": None}, "knn").name == "knn"
    found = choose({"mine": None}, "knn")
    assert (found.name, found.validated, found.val_auroc) == ("mine", False, {})
