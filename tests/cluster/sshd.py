"""A node's ssh server: Debian's own, with the host key and the accounts that were baked in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nodebake.command import run
from tests.cluster.roots import carry, carry_libraries
from tests.need import need

if TYPE_CHECKING:
    from tests.cluster.machine import Machine

CONFIG = "Include /etc/ssh/sshd_config.d/*.conf\nUsePAM no\n"


def serve(machine: Machine) -> None:
    """Start the server in a machine with a Debian root; it ends with the machine.

    Before etcd is started: the C library that it runs with is written again.
    """
    sshd = Path(need("sshd", package="openssh-server"))
    root = machine.root
    carry(sshd, root)
    carry_libraries([sshd], root)
    with (root / "etc/passwd").open("a") as accounts:
        accounts.write("sshd:x:990:65534::/run/sshd:/usr/sbin/nologin\n")
    (root / "run/sshd").mkdir(mode=0o755)
    (root / "etc/ssh/sshd_config").write_text(CONFIG)
    machine.box.run(sshd, "-E", "/var/log/sshd.log")


def keypair(directory: Path) -> tuple[Path, str]:
    """Make a key for the operator; return its file and the public line."""
    key = directory / "id"
    run([need("ssh-keygen", package="openssh-client"), "-q", "-t", "ed25519", "-N", "", "-f", key])
    return key, key.with_suffix(".pub").read_text().strip()
