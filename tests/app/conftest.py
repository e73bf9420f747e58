from collections.abc import Iterator

import pytest
from served_page import Server, started


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A page with the toy network; once it has ended, nothing of its visitors is left."""
    with started(tmp_path_factory.mktemp("page")) as running:
        yield running
        assert running.stop() == {"app.yaml", "gallery"}
