"""The device of these tests, the data of the training tests, and measurements that are only reported."""

import pytest
import torch
from training.conftest import autoencoder, configuration, fresh_accelerate, root

__all__ = ["autoencoder", "configuration", "fresh_accelerate", "root"]


@pytest.fixture
def device(request: pytest.FixtureRequest) -> torch.device:
    """The device that ``--device`` names; a GPU computes as PyTorch does by default."""
    device = torch.device(request.config.getoption("--device"))
    if device.type == "cuda":
        torch.backends.cuda.enable_cudnn_sdp(True)
        torch.set_float32_matmul_precision("highest")
    return device


@pytest.fixture
def cuda(device: torch.device) -> torch.device:
    if device.type != "cuda":
        pytest.skip("makes sense on a GPU alone")
    return device


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what the tests have recorded by ``record_property``."""
    lines = [
        f"{report.nodeid.rpartition('::')[2]}: {name}: {value}"
        for report in terminalreporter.stats.get("passed", [])
        for name, value in report.user_properties
    ]
    if lines:
        terminalreporter.write_sep("-", "measured")
        terminalreporter.write_line("\n".join(lines))
