import numpy as np
import torch
from torch import Tensor

from siftvton.model.build import scheduler
from siftvton.sampling.pipeline import guided_sampling

GUIDANCE = 1.5


def test_plms_is_the_published_sampler(golden):
    values = {name: torch.from_numpy(array) for name, array in np.load(golden("plms.npz")).items()}
    checked = 0
    for name in [name for name in values if name.startswith("result_")]:
        calls: list[int] = []

        def predict(x: Tensor, t: Tensor, calls: list[int] = calls) -> tuple[Tensor, Tensor]:
            calls += [int(t), int(t)]  # conditional and unconditional
            noise = 0.3 * torch.tanh(x) * (1 + float(t) / 1000)
            return noise + values["shift_cond"], noise + values["shift_uncond"]

        steps = int(name.removeprefix("result_"))
        result = guided_sampling(scheduler(), predict, values["x_T"], steps, GUIDANCE)
        found = float((result - values[name]).abs().max() / values[name].std())
        print(name, found)
        assert found < 1e-4
        assert calls == values[f"calls_{steps}"].tolist()
        checked += 1
    assert checked
