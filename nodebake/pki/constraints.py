"""Name constraints of a brought authority (RFC 5280 4.2.1.10): a forbidden name kills the whole leaf."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509

from nodebake.errors import UsageError
from nodebake.pki import chain
from nodebake.pki.certificate import LeafRequest, alternative_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def check_permitted(path: Sequence[x509.Certificate], request: LeafRequest) -> None:
    """Check every name of `request` against every authority of `path`.

    Raises:
        UsageError: a name is excluded, or others are permitted and it is not.
    """
    for certificate in path:
        constraints = chain.extension(certificate, x509.NameConstraints)
        if constraints is None:
            continue
        for name in alternative_names(request):
            if not _permits(constraints, name):
                raise UsageError(
                    f"{chain.name(certificate)} forbids the name {name.value} by its name constraints; "
                    f"{request.holder} needs it in its {request.name} certificate",
                    hint="use an authority that permits the nodes' names and addresses, localhost, "
                    "127.0.0.1 and ::1",
                )


def _permits(constraints: x509.NameConstraints, name: x509.GeneralName) -> bool:
    permitted = _alike(constraints.permitted_subtrees, name)
    excluded = _alike(constraints.excluded_subtrees, name)
    inside = not permitted or any(_within(name, tree) for tree in permitted)
    return inside and not any(_within(name, tree) for tree in excluded)


def _alike(trees: Iterable[x509.GeneralName] | None, name: x509.GeneralName) -> list[x509.GeneralName]:
    return [tree for tree in trees or () if isinstance(tree, type(name))]


def _within(name: x509.GeneralName, tree: x509.GeneralName) -> bool:
    if isinstance(name, x509.IPAddress):
        return name.value in tree.value
    domain, of = str(name.value).lower(), str(tree.value).lower()
    return not of or domain == of or domain.endswith(f".{of.removeprefix('.')}")
