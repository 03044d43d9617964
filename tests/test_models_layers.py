import pytest
import torch

from kilnet.models.layers import Dropout

NUM_VALUES = 400_000


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_values_are_dropped_at_the_rate_and_the_rest_is_scaled(p):
    torch.manual_seed(0)
    y = Dropout(p)(torch.ones(NUM_VALUES))
    kept = y[y != 0]
    deviation = (p * (1 - p) / NUM_VALUES) ** 0.5
    assert len(kept) / NUM_VALUES == pytest.approx(1 - p, abs=5 * deviation)
    assert len(kept.unique()) == 1
    # The probability in use is a multiple of 1/65536, and the scale belongs to it.
    assert float(kept[0]) == pytest.approx(65536 / (65536 - round(p * 65536)), rel=1e-6)
    assert float(y.mean()) == pytest.approx(1, abs=5 * deviation / (1 - p))


def test_neighbours_are_dropped_independently():
    torch.manual_seed(0)
    kept = (Dropout(0.5)(torch.ones(NUM_VALUES)) != 0).float() - 0.5
    for distance in (1, 2, 3, 4, 8, 64):  # four values share a random word of 64 bits
        correlation = float((kept[:-distance] * kept[distance:]).mean() * 4)
        assert abs(correlation) < 5 / NUM_VALUES**0.5


def test_gradient_is_the_mask_times_the_scale():
    torch.manual_seed(0)
    x = torch.rand(50, 40).add(0.5).requires_grad_()
    y = Dropout(0.3)(x)
    upstream = torch.randn_like(y)
    y.backward(upstream)
    torch.testing.assert_close(x.grad, upstream * (y / x).detach())
    assert (x.grad == 0).any()


@pytest.mark.parametrize(
    "x",
    [
        torch.rand(6, 5, 4, 3) + 1,
        (torch.rand(6, 5, 4, 3) + 1).contiguous(memory_format=torch.channels_last),
        (torch.rand(6, 10, 4, 3) + 1)[:, ::2],
        (torch.rand(5, 6) + 1).t(),
        torch.full((1, 1), 2.0).expand(30, 20),
        torch.ones(1, 7, 1, 9).contiguous(memory_format=torch.channels_last),
        torch.ones(13),
        torch.ones(()),
        torch.ones(0, 4),
    ],
    ids=[
        "dense",
        "channels_last",
        "every_second",
        "transposed",
        "expanded",
        "ones",
        "odd",
        "scalar",
        "empty",
    ],
)
def test_any_order_in_memory(x):
    before = x.clone()
    torch.manual_seed(0)
    y = Dropout(0.5)(x)
    assert y.shape == x.shape
    assert torch.equal(x, before), "the input is left alone"
    assert bool(((y == 0) | (y == 2 * x)).all())
    if x.numel() > 100:
        assert 0.3 < float((y == 0).float().mean()) < 0.7
    if x.is_contiguous(memory_format=torch.channels_last) and x.dim() == 4:
        assert y.stride() == x.stride()


def test_torchs_seed_decides_the_mask():
    dropout, x = Dropout(0.5), torch.ones(1000)

    def masks(seed):
        torch.manual_seed(seed)
        return dropout(x), dropout(x)

    first, second = masks(1)
    assert torch.equal(torch.stack(masks(1)), torch.stack([first, second]))
    assert not torch.equal(first, second)
    assert not torch.equal(first, masks(2)[0])


def test_identity_in_evaluation_and_at_zero():
    x = torch.randn(100)
    assert Dropout(0.5).eval()(x) is x
    assert Dropout(0.0)(x) is x


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_dtype_stays(dtype):
    x = torch.ones(1000, dtype=dtype, requires_grad=True)
    y = Dropout(0.5)(x)
    y.sum().backward()
    assert y.dtype == x.grad.dtype == dtype
    assert set(y.tolist()) == {0.0, 2.0}


@pytest.mark.parametrize("p", [-0.1, 1.0, 1.5, float("nan")])
def test_impossible_probabilities_are_refused(p):
    with pytest.raises(ValueError, match="dropout probability"):
        Dropout(p)


def test_probability_next_to_one_still_works():
    y = Dropout(0.9999999)(torch.ones(100_000))
    assert set(y.tolist()) <= {0.0, 65536.0}
