"""Texts as numbers."""

import numpy as np

from kview.data.text_fields import line_fields, numbered, rows_shared


def test_equal_texts_have_one_number_and_missing_ones_none():
    assert numbered(["b", "a", "b", None, "", 3, "a"]).tolist() == [0, 1, 0, -1, -1, -1, 1]


def test_fields_are_those_that_hold_a_text_somewhere():
    fields = line_fields([{"q": "x", "n": 1}, {"q": None}, {"q": "x", "late": "y"}])
    assert {name: numbers.tolist() for name, numbers in fields.items()} == {
        "q": [0, -1, 0],
        "late": [-1, -1, 0],
    }


def test_rows_share_a_text_but_never_a_missing_one():
    numbers = np.array([0, 1, 0, -1, -1, 2])
    assert rows_shared(numbers, np.array([0, 1, 3]), np.array([2, 4, 5])) == 1
    assert rows_shared(numbers, np.array([1, 3]), np.array([2, 4, 5])) == 0
