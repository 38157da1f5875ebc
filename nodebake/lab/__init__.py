"""Cold machines in QEMU on a private network that boot our artefacts, and are judged."""

from nodebake.lab.options import Options
from nodebake.lab.running import boot
from nodebake.lab.scenarios import SCENARIOS

__all__ = ["SCENARIOS", "Options", "boot"]
