import math
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.autograd import forward_ad

from helpers.oracles import supcon_by_loops
from kview.contracts import ConfigError, ContractError, checks
from kview.train.loss import supcon_kernel
from kview.train.loss.supcon import SupConLoss, supcon_loss


class Case(NamedTuple):
    z_views: Tensor
    labels: Tensor | None
    settings: dict[str, Any]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Any batch that has a positive pair, and any settings."""
    B = draw(st.integers(1, 6))
    K = draw(st.integers(2, 4))
    D = draw(st.integers(2, 5))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    z = draw(st.sampled_from([1e-3, 1.0, 3.0])) * torch.randn(
        B, K, D, dtype=torch.float64, generator=generator
    )
    settings: dict[str, Any] = {
        "temperature": draw(st.sampled_from([0.005, 0.025, 0.07, 0.5, 3.0])),
        "base_temperature": draw(st.sampled_from([None, 0.07, 1.0])),
        "same_sample_weight": draw(st.sampled_from([1.0, 1.0, 0.3, 0.0])),
        "same_class_weight": draw(st.sampled_from([1.0, 2.5, 0.0])),
        "normalize": draw(st.booleans()),
        "sample_ids": None,
    }
    rows = torch.arange(B)
    if draw(st.booleans()):  # ids that repeat, far apart and negative
        rows = torch.tensor(draw(st.lists(st.integers(0, 3), min_size=B, max_size=B)))
        settings["sample_ids"] = rows * 2**61 - 2**62
    labels = None
    if draw(st.booleans()):  # a label a sample
        classes = draw(st.lists(st.sampled_from([-1, 0, 1, 5]), min_size=6, max_size=6))
        labels = torch.tensor(classes)[rows]
        labels = labels.double() if draw(st.booleans()) else labels
    if settings["same_sample_weight"] == 0:
        settings["same_class_weight"] = 1.0
        labels = torch.zeros(B)  # one class, and two samples at least, so that anchors are left
        if settings["sample_ids"] is not None or B == 1:
            settings["same_sample_weight"] = 0.5
    return Case(z * draw(st.sampled_from([1e-3, 1.0, 3.0])), labels, settings)


def value_and_gradient(function: Any, case: Case, dtype: torch.dtype = torch.float64) -> Any:
    z = case.z_views.to(dtype).detach().requires_grad_()
    loss = function(z, case.labels, **case.settings)
    loss.backward()
    return loss.detach(), z.grad


@given(case=cases())
@settings(max_examples=100, deadline=None)
def test_value_and_gradient_are_those_of_the_loops(case: Case):
    loss, grad = value_and_gradient(supcon_loss, case)
    expected_loss, expected_grad = value_and_gradient(supcon_by_loops, case)
    torch.testing.assert_close(loss, expected_loss, rtol=1e-10, atol=1e-10)
    shortest = case.z_views.norm(dim=-1).min() if case.settings["normalize"] else 1
    scale = expected_grad.abs().max() + 1 / case.settings["temperature"] / shortest  # may cancel
    torch.testing.assert_close(grad / scale, expected_grad / scale, rtol=0, atol=1e-11)


@given(case=cases(), tile=st.integers(1, 8))
@settings(max_examples=40, deadline=None)
def test_tile_size_changes_nothing(case: Case, tile: int):
    loss, grad = value_and_gradient(supcon_loss, case)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(supcon_kernel, "_TILE", tile)
        tiled_loss, tiled_grad = value_and_gradient(supcon_loss, case)
    torch.testing.assert_close(tiled_loss, loss, rtol=1e-11, atol=1e-11)
    rounding = 1e-9 / min(1.0, case.z_views.norm(dim=-1).min().item())  # gradients go as 1 / |z|
    torch.testing.assert_close(tiled_grad, grad, rtol=1e-9, atol=rounding)


@given(case=cases(), seed=st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_order_of_samples_and_of_views_changes_nothing(case: Case, seed: int):
    generator = torch.Generator().manual_seed(seed)
    B, K, _ = case.z_views.shape
    samples, views = (torch.randperm(n, generator=generator) for n in (B, K))
    ids = case.settings["sample_ids"]
    shuffled = Case(
        case.z_views[samples][:, views],
        None if case.labels is None else case.labels[samples],
        case.settings | {"sample_ids": None if ids is None else ids[samples]},
    )
    loss, grad = value_and_gradient(supcon_loss, case)
    shuffled_loss, shuffled_grad = value_and_gradient(supcon_loss, shuffled)
    torch.testing.assert_close(shuffled_loss, loss, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(shuffled_grad, grad[samples][:, views], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("temperature", [0.005, 0.025, 0.07, 1.0])
def test_lower_precisions_compute_in_float32(
    dtype: torch.dtype, autocast: bool, temperature: float
):
    torch.manual_seed(0)
    z = torch.randn(40, 4, 16).to(dtype)
    labels = torch.arange(40) % 3 - 1
    case = Case(z.double(), labels, {"temperature": temperature})
    expected_loss, expected_grad = value_and_gradient(supcon_loss, case)
    amp_dtype = torch.bfloat16 if dtype is torch.float32 else dtype
    with torch.autocast("cpu", amp_dtype, enabled=autocast):
        loss, grad = value_and_gradient(supcon_loss, case, dtype)
    assert loss.dtype == torch.float32
    assert grad.dtype == dtype
    torch.testing.assert_close(loss.double(), expected_loss, rtol=1e-5, atol=0)
    error = (grad.double() - expected_grad).norm() / expected_grad.norm()
    assert error < {torch.float32: 2e-5, torch.bfloat16: 4e-3, torch.float16: 5e-4}[dtype]


@pytest.mark.parametrize("normalize", [True, False])
def test_gradcheck(normalize: bool):
    torch.manual_seed(0)
    z = torch.randn(5, 3, 4, dtype=torch.float64, requires_grad=True)
    labels, ids = torch.tensor([0, 1, 0, -1, 1]), torch.tensor([4, 2, 4, 9, 1])

    def loss(z: Tensor) -> Tensor:
        return supcon_loss(
            z, labels, sample_ids=ids, temperature=0.3, same_class_weight=0.4, normalize=normalize
        )

    assert torch.autograd.gradcheck(loss, (z,))


class TestKnownGeometries:
    K, B, t = 3, 4, 0.5

    def test_collapsed_views_tell_nothing_apart(self):
        z = torch.ones(self.B, self.K, 6, dtype=torch.float64, requires_grad=True)
        for labels in (None, torch.arange(self.B) % 2):
            loss = supcon_loss(z, labels, temperature=self.t)
            loss.backward()
            assert loss.item() == pytest.approx(math.log(self.B * self.K - 1), rel=1e-12)
            assert z.grad is not None
            assert z.grad.abs().max() < 1e-12

    def test_orthogonal_samples_with_equal_views(self):
        z = torch.eye(self.B, dtype=torch.float64)[:, None].expand(-1, self.K, -1)
        pairs = (self.K - 1) * math.exp(1 / self.t) + (self.B - 1) * self.K
        expected = math.log(pairs) - 1 / self.t
        assert supcon_loss(z, temperature=self.t).item() == pytest.approx(expected, rel=1e-12)

    def test_all_views_orthogonal(self):
        z = torch.eye(self.B * self.K, dtype=torch.float64).reshape(self.B, self.K, -1)
        expected = math.log(self.B * self.K - 1)
        assert supcon_loss(z, temperature=self.t).item() == pytest.approx(expected, rel=1e-12)

    def test_two_opposite_classes(self):
        labels = torch.tensor([0, 0, 1, 1])
        z = torch.where(labels == 0, 1.0, -1.0).double()[:, None, None].expand(-1, self.K, 2)
        near = (2 * self.K - 1) * math.exp(1 / self.t)
        far = 2 * self.K * math.exp(-1 / self.t)
        expected = math.log(near + far) - 1 / self.t
        loss = supcon_loss(z, labels, temperature=self.t)
        assert loss.item() == pytest.approx(expected, rel=1e-12)

    def test_one_sample_of_two_views_has_no_loss(self):
        z = torch.randn(1, 2, 8, dtype=torch.float64)
        assert supcon_loss(z, torch.tensor([1])).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.filterwarnings("ignore:.torch.jit.script")  # torch's own, at its first jvp
@pytest.mark.parametrize(
    "derivative",
    [
        lambda loss, z: torch.func.jvp(loss, (z,), (z,)),
        lambda loss, z: torch.func.jacfwd(loss)(z),
        lambda loss, z: torch.func.vmap(lambda t: torch.func.jvp(loss, (z,), (t,)))(z[None]),
    ],
    ids=["jvp", "jacfwd", "vmap of jvp"],
)
def test_forward_mode_is_refused_and_not_zero(derivative: Any):
    with pytest.raises(ContractError, match=r"forward-mode tangent.*only a backward"):
        derivative(SupConLoss(), torch.randn(3, 2, 4))


# torch's own, when forward mode is used for the first time in a process
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
def test_a_dual_tensor_is_refused_and_one_without_a_tangent_is_not():
    z = torch.randn(3, 2, 4)
    with forward_ad.dual_level():
        assert supcon_loss(z).isfinite()
        with pytest.raises(ContractError, match="forward-mode tangent"):
            supcon_loss(forward_ad.make_dual(z, z))


def test_rows_with_one_id_are_one_sample():
    z = torch.randn(2, 3, 5, dtype=torch.float64)
    merged = z.reshape(1, 6, 5)
    others = torch.randn(2, 6, 5, dtype=torch.float64)
    rows = torch.cat([merged, others]).reshape(6, 3, 5)
    ids = torch.tensor([7, 7, 3, 3, 9, 9])
    expected = supcon_loss(torch.cat([merged, others]))
    torch.testing.assert_close(supcon_loss(rows, sample_ids=ids), expected)


def test_all_ignored_and_all_unlike_are_as_good_as_unlabelled():
    z = torch.randn(5, 3, 8)
    expected = supcon_loss(z)
    torch.testing.assert_close(supcon_loss(z, torch.full((5,), -1)), expected)
    torch.testing.assert_close(supcon_loss(z, torch.arange(5)), expected)
    torch.testing.assert_close(supcon_loss(z, torch.full((5,), 8.0), ignore_label=8), expected)


def test_base_temperature_scales_the_loss():
    z = torch.randn(5, 3, 8)
    scaled = supcon_loss(z, temperature=0.1, base_temperature=0.4)
    torch.testing.assert_close(scaled, supcon_loss(z, temperature=0.1) / 4)


@pytest.mark.parametrize(
    ("labels", "weights"),
    [
        (None, {"same_sample_weight": 0.0}),
        ([-1, -1, -1], {"same_sample_weight": 0.0}),
        ([0, 1, 2], {"same_sample_weight": 0.0}),
        ([0, 0, 0], {"same_sample_weight": 0.0, "same_class_weight": 0.0}),
    ],
)
def test_a_batch_without_a_positive_pair_is_refused(
    labels: list[int] | None, weights: dict[str, Any]
):
    with pytest.raises(ContractError, match="no positive pair"):
        supcon_loss(
            torch.randn(3, 2, 4), None if labels is None else torch.tensor(labels), **weights
        )


@pytest.mark.parametrize("level", ["off", "shape", "full"])
def test_unlike_labels_under_one_id_are_refused_at_every_level(level: Any):
    with checks(level), pytest.raises(ContractError, match=r"1 ids, among them \[8\]"):
        supcon_loss(
            torch.randn(3, 2, 4),
            torch.tensor([0.0, 1.0, -1.0]),
            sample_ids=torch.tensor([8, 2, 8]),
        )


def test_a_zero_vector_is_refused_where_it_has_to_have_a_direction():
    z = torch.randn(3, 2, 4)
    z[1, 1] = 0
    with pytest.raises(ContractError, match="flattened view 3"):
        supcon_loss(z)
    assert supcon_loss(z, normalize=False).isfinite()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("normalize", [True, False])
def test_values_that_are_not_finite_come_out_as_nan(value: float, normalize: bool):
    z = torch.randn(3, 2, 4)
    z[1, 1, 2] = value
    assert not supcon_loss(z, normalize=normalize).isfinite()


def test_lengths_near_the_ends_of_float32_do_not_matter():
    z = torch.randn(6, 3, 4)
    expected = supcon_loss(z)
    for scale in (1e-30, 1e30):
        torch.testing.assert_close(supcon_loss(z * scale), expected)


@pytest.mark.parametrize(
    ("shape", "labels", "ids"),
    [
        ((3, 4), None, None),
        ((3, 1, 4), None, None),
        ((0, 2, 4), None, None),
        ((3, 2, 4), torch.zeros(2), None),
        ((3, 2, 4), torch.zeros(3, 1), None),
        ((3, 2, 4), None, torch.zeros(4, dtype=torch.int64)),
        ((3, 2, 4), None, torch.zeros(3)),
    ],
)
def test_wrong_shapes_are_refused(
    shape: tuple[int, ...], labels: Tensor | None, ids: Tensor | None
):
    for loss in (supcon_loss, SupConLoss()):
        with pytest.raises(ContractError):
            loss(torch.randn(shape), labels, sample_ids=ids)


@pytest.mark.parametrize(
    "setting",
    [
        {"temperature": 0.0},
        {"temperature": math.nan},
        {"base_temperature": -1.0},
        {"same_sample_weight": -0.1},
        {"same_class_weight": math.inf},
    ],
)
def test_settings_out_of_range_are_refused(setting: dict[str, Any]):
    with pytest.raises(ConfigError, match=next(iter(setting))):
        supcon_loss(torch.randn(3, 2, 4), **setting)
    with pytest.raises(ConfigError, match=next(iter(setting))):
        SupConLoss(**setting)


def test_the_module_keeps_the_settings():
    z, labels, ids = torch.randn(4, 2, 3), torch.tensor([0, 0, 3, 1]), torch.tensor([1, 2, 3, 4])
    settings: dict[str, Any] = {
        "temperature": 0.2,
        "base_temperature": 0.1,
        "same_sample_weight": 0.5,
        "same_class_weight": 2.0,
        "ignore_label": 3,
        "normalize": False,
    }
    expected = supcon_loss(z, labels, sample_ids=ids, **settings)
    torch.testing.assert_close(SupConLoss(**settings)(z, labels, sample_ids=ids), expected)


def test_ints_will_do_as_floats():
    z, labels = torch.randn(4, 2, 3), torch.tensor([0, 0, 1, 1])
    expected = supcon_loss(z, labels, temperature=1.0, base_temperature=2.0, same_class_weight=2.0)
    settings: dict[str, Any] = {"base_temperature": 2, "same_class_weight": 2}
    for found in (
        supcon_loss(z, labels, temperature=1, **settings),
        SupConLoss(1, **settings)(z, labels),
    ):
        torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_a_compiled_step_holds_the_loss_in_one_graph():
    torch.manual_seed(0)
    encoder, loss_fn = nn.Linear(6, 4), SupConLoss()
    x, labels = torch.randn(5, 3, 6), torch.tensor([0.0, 1, 0, -1, 1])

    def step(x: Tensor) -> Tensor:
        return loss_fn(encoder(x), labels)

    gradients = []
    for function in (step, torch.compile(step, fullgraph=True, backend="aot_eager")):
        encoder.zero_grad()
        function(x).backward()
        gradients.append(encoder.weight.grad)
    torch.testing.assert_close(gradients[0], gradients[1])


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads Linux's /proc")
def test_peak_memory_stays_far_below_one_similarity_matrix():
    # 12288 views: one (M, M) matrix of float32 is 576 MiB, and the dense form keeps several
    code = """
import re, torch
from pathlib import Path
from kview.train.loss.supcon import supcon_loss
def step(B):
    z = torch.randn(B, 4, 8, requires_grad=True)
    supcon_loss(z, torch.arange(B) % 2).backward()
def mib(name):
    return int(re.search(name + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
step(8)
Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
before = mib("VmRSS")
step(3072)
print(mib("VmHWM") - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 0 < float(done.stdout) < 100
