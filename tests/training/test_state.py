import pytest

from siftvton.training.state import StreamSampler, learning_rate_factor


def test_every_epoch_holds_every_pair_once_in_another_order():
    stream = list(StreamSampler(5, seed=0, start=0, stop=15))
    epochs = [[index for epoch, index in stream if epoch == n] for n in range(3)]
    assert all(sorted(indices) == [0, 1, 2, 3, 4] for indices in epochs)
    assert len({tuple(indices) for indices in epochs}) > 1
    assert stream != list(StreamSampler(5, seed=1, start=0, stop=15))


def test_a_later_start_continues_in_the_middle_of_an_epoch():
    whole = list(StreamSampler(5, seed=0, start=0, stop=15))
    assert list(StreamSampler(5, seed=0, start=7, stop=15)) == whole[7:]
    assert len(StreamSampler(5, seed=0, start=7, stop=15)) == 8


def test_warm_up_is_linear_from_one_percent():
    factors = [learning_rate_factor(update, 100) for update in (0, 50, 100, 1000)]
    assert factors == pytest.approx([0.01, 0.505, 1, 1])
    assert learning_rate_factor(0, 0) == 1


def test_the_cosine_falls_from_the_end_of_the_warm_up_to_zero():
    factors = [learning_rate_factor(update, 100, 300) for update in (50, 100, 150, 200, 300)]
    assert factors == pytest.approx([0.505, 1, 0.5 + 0.5**1.5, 0.5, 0], abs=1e-12)
