"""Several trainings, and what they differ in."""

from kview.eval.detection.spread import Mean


def test_a_mean_leaves_out_what_is_missing():
    assert Mean.of([None, 1.0, 3.0]) == Mean(mean=2.0, deviation=2**0.5, values=(None, 1.0, 3.0))
    assert Mean.of([1.0]) == Mean(mean=1.0, deviation=None, values=(1.0,))
    assert Mean.of([None]) == Mean(mean=None, deviation=None, values=(None,))
