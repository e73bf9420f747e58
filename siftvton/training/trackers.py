"""Whether a tracker can be used; accelerate leaves out one that is not installed, without a word."""

from accelerate.tracking import get_available_trackers
from accelerate.utils import LoggerType

from siftvton.errors import UsageError


def require_tracker(name: str | None) -> None:
    """Raise UsageError unless accelerate knows the tracker and its package is installed; None is no tracker."""
    known = [str(kind) for kind in LoggerType]
    installed = [str(kind) for kind in get_available_trackers()]
    if name is not None and name not in known:
        raise UsageError(f"train.tracker={name}: allowed are {', '.join(known)}")
    if name is not None and name not in installed and not (name == "all" and installed):
        raise UsageError(
            f"train.tracker={name}: its package is not installed; pip install {name}, or use train.tracker=null"
        )
