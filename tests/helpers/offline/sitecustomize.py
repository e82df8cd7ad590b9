"""Python imports this at its start in every process that a test starts: only this machine can be reached from it."""

import importlib.util
from pathlib import Path

_spec = importlib.util.spec_from_file_location("kit_no_network", Path(__file__).parents[1] / "no_network.py")
assert _spec is not None
assert _spec.loader is not None
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)
_module.block(setattr, _module.is_own, _module.refused_in_process)
