"""Who a vault belongs to, and what time it is."""

from __future__ import annotations

import datetime as dt
import hashlib
import uuid
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from nodebake.errors import UsageError
from nodebake.vault.files import broken

if TYPE_CHECKING:
    from nodebake.vault.files import Files

IDENTITY = "cluster.json"
_SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A cluster, told from every other that has its name.

    Attributes:
        id: a random UUID.
        cluster: the name in the profile.
        created: seconds since 1970.
    """

    id: str
    cluster: str
    created: int

    def token(self, generation: int) -> str:
        """Return the etcd cluster token: it tells clusters apart and opens nothing."""
        purpose = f"etcd token {generation}" if generation else "etcd token"
        return f"{self.cluster}-{self.secret(purpose)[:16]}"

    def secret(self, purpose: str) -> str:
        """Return 64 hexadecimal digits for a purpose: as random as the id, and no way back to it."""
        return hashlib.sha256(f"{purpose} {self.id}".encode()).hexdigest()


def now(epoch: int | None = None) -> dt.datetime:
    """Return the present: the only look at the clock that what is written depends on.

    Args:
        epoch: SOURCE_DATE_EPOCH, which stands for the present where something is only told.
    """
    return dt.datetime.now(dt.UTC) if epoch is None else dt.datetime.fromtimestamp(epoch, dt.UTC)


def check_clock(clock: int | None, begin: dt.datetime) -> None:
    """Check that nodes whose clocks start at `clock` accept certificates that begin at `begin`.

    Raises:
        UsageError: they would not.
    """
    if clock is not None and clock < begin.timestamp():
        raise UsageError(
            f"SOURCE_DATE_EPOCH {clock} is before the newest certificate begins, {int(begin.timestamp())}",
            hint="nodes start with their clocks there and would refuse each other; set a later one, or none",
        )


def identify(files: Files, cluster: str) -> Identity:
    """Return the vault's identity; a vault with nothing in it is given one.

    Raises:
        UsageError: it is another cluster's, damaged, or the identity of a used vault is gone.
    """
    if not files.has(IDENTITY):
        if files.has("ca.crt") or files.has("keys.json") or files.has("ledger.json"):
            raise broken(files.directory, f"it has secrets, but {IDENTITY} is missing")
        identity = Identity(id=str(uuid.uuid4()), cluster=cluster, created=int(now().timestamp()))
        files.write_json(IDENTITY, {"schema": _SCHEMA} | asdict(identity))
        return identity
    identity = _read(files)
    if identity.cluster != cluster:
        raise UsageError(
            f"the vault {files.directory} belongs to the cluster {identity.cluster}, not to {cluster}",
            hint=f"name {cluster}'s own vault with --vault, or an empty place for a new one; if you renamed "
            f"the cluster, put the old name back as cluster.name",
            path="cluster.name",
        )
    return identity


def _read(files: Files) -> Identity:
    path = files.directory / IDENTITY
    match files.read_json(IDENTITY):
        case {"schema": 1, "id": str(id_), "cluster": str(cluster), "created": int(created)}:
            return Identity(id=id_, cluster=cluster, created=created)
        case {"schema": int(schema)} if schema > _SCHEMA:
            raise UsageError(f"{path} was written by a newer nodebake (schema {schema})", hint="use that one")
    raise broken(path, "it does not say whose vault this is")
