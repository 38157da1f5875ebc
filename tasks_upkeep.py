"""The tasks of a cluster's life after day one; `tasks.py` adds them to its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from invoke.collection import Collection
from invoke.tasks import task

from nodebake import console
from tasks_words import PHRASE, PLACES, PROFILE, PUSH, VAULT

if TYPE_CHECKING:
    from invoke.context import Context

# Rooms are imported in the tasks that need them: `./invoke --list` must not wait for them.
# ruff: noqa: PLC0415


@task(
    name="show",
    default=True,
    help={
        **PLACES,
        "live": "ask the running members which certificates they present",
        "json": "as JSON, for programs",
        "fail_under": "exit with 1 if a certificate has less than this left, such as 60d, or is not where "
        "the ledger says",
    },
)
def certs(
    _: Context,
    profile: str = "",
    out: str = "",
    vault: str = "",
    live: bool = False,  # noqa: FBT001, FBT002 - a flag
    json: bool = False,  # noqa: FBT001, FBT002 - a flag
    fail_under: str = "",
) -> None:
    """Show every certificate: whose, for what, how long still, and where it is; the worst first."""
    with console.session():
        from nodebake import upkeep

        under = console.duration("--fail-under", fail_under)
        plan, options = console.Flags(profile=profile, out=out, vault=vault).resolved()
        rows, wrong = upkeep.certificates(plan, options, live=live)
        show = console.certificates_as_json if json else console.certificates_as_text
        console.say(show(rows, wrong))
        if under is not None:
            upkeep.check(rows, wrong, under=under)


@task(
    name="renew",
    help={
        **PLACES,
        **PUSH,
        "node": "only this node's certificates",
        "within": "renew what has less than this left, such as 90d",
        "new_keys": "make new keys, too",
    },
)
def renew(  # noqa: PLR0913, PLR0917 - the arguments are the command's flags
    _: Context,
    profile: str = "",
    node: str = "",
    out: str = "",
    vault: str = "",
    within: str = "90d",
    new_keys: bool = False,  # noqa: FBT001, FBT002 - a flag
    push: bool = False,  # noqa: FBT001, FBT002 - a flag
    identity: str = "",
) -> None:
    """Renew certificates that end soon, and write or push a small archive for every node."""
    with console.session() as progress:
        from nodebake import upkeep

        plan, options = console.Flags(profile=profile, node=node, out=out, vault=vault).resolved()
        wanted = upkeep.Renewal(
            within=console.duration("--within", within) or 0,
            new_keys=new_keys,
            push=console.ssh(options, identity, push=push),
        )
        done = upkeep.renew(plan, options, wanted, progress=progress, ask=console.ask())
    console.say(console.renewed_as_text(plan, options.out, done))


@task(
    name="rotate",
    iterable=["confirm"],
    help={
        **PLACES,
        **PUSH,
        "step": "trust, issue or drop; without it, what is next",
        "live": "ask the running members whether they have the step",
        "confirm": "a node that has the step, on your word; as often as need be",
    },
)
def rotate(  # noqa: PLR0913, PLR0917 - the arguments are the command's flags
    _: Context,
    confirm: list[str],
    profile: str = "",
    out: str = "",
    vault: str = "",
    step: str = "",
    live: bool = False,  # noqa: FBT001, FBT002 - a flag
    push: bool = False,  # noqa: FBT001, FBT002 - a flag
    identity: str = "",
) -> None:
    """Change to a new authority without downtime, in three steps: run it until it says that it is over."""
    with console.session() as progress:
        from nodebake import upkeep

        plan, options = console.Flags(profile=profile, out=out, vault=vault).resolved()
        ssh = console.ssh(options, identity, push=push)
        wanted = upkeep.Wanted(step=step, confirm=tuple(confirm), live=live, push=ssh)
        done = upkeep.rotate(plan, options, wanted, progress=progress, ask=console.ask())
    console.say(console.rotated_as_text(plan, options.out, done))


@task(
    name="revoke",
    help={
        **PLACES,
        **PUSH,
        "cn": "the operator's certificate of this common name (root: the one of every build)",
        "node": "all certificates of this node",
    },
)
def revoke(  # noqa: PLR0913, PLR0917 - the arguments are the command's flags
    _: Context,
    profile: str = "",
    cn: str = "",
    node: str = "",
    out: str = "",
    vault: str = "",
    push: bool = False,  # noqa: FBT001, FBT002 - a flag
    identity: str = "",
) -> None:
    """Revoke certificates whose key is lost; without --cn and --node, only bring the list to the members."""
    with console.session() as progress:
        from nodebake import upkeep

        plan, options = console.Flags(profile=profile, out=out, vault=vault).resolved()
        wanted = upkeep.Revocation(cn=cn, node=node, push=console.ssh(options, identity, push=push))
        done = upkeep.revoke(plan, options, wanted, progress=progress, ask=console.ask())
    console.say(console.revoked_as_text(plan, options.out, done))


@task(name="operator", help={**PLACES, "cn": "the operator's name: etcd's user, if it has users"})
def operator(_: Context, profile: str = "", cn: str = "", out: str = "", vault: str = "") -> None:
    """Issue a certificate for an operator with a name of their own; builds write it from now on."""
    with console.session():
        from nodebake import upkeep

        plan, options = console.Flags(profile=profile, out=out, vault=vault).resolved()
        file = upkeep.add_operator(plan, options, cn, ask=console.ask())
    console.say(str(options.out / file))


@task(
    name="export",
    help={
        **PROFILE,
        **VAULT,
        "file": "the file to write; it must not be there",
        **PHRASE,
    },
)
def export(
    _: Context,
    profile: str = "",
    file: str = "",
    vault: str = "",
    phrase_env: str = "",
    phrase_file: str = "",
) -> None:
    """Write the whole vault to one encrypted file (age), for a backup or to hand it over."""
    with console.session():
        from nodebake import vault as vaults

        plan, options = console.Flags(profile=profile, vault=vault).resolved()
        place, cluster = options.vault, plan.profile.cluster.name
        target = console.path("--file", file)
        phrase = console.phrase(target.name, phrase_env, phrase_file, twice=True)
        vaults.export(place, target, cluster=cluster, passphrase=phrase)
    console.say(f"{target}: open it with ./invoke vault.import, or: age -d {target.name} | tar -x")


@task(
    name="import",
    help={
        **PROFILE,
        **VAULT,
        "file": "what vault.export wrote",
        **PHRASE,
    },
)
def import_(
    _: Context,
    profile: str = "",
    file: str = "",
    vault: str = "",
    phrase_env: str = "",
    phrase_file: str = "",
) -> None:
    """Make the vault from the file that vault.export wrote; one that is there is never overwritten."""
    with console.session():
        from nodebake import vault as vaults

        plan, options = console.Flags(profile=profile, vault=vault).resolved()
        place, cluster = options.vault, plan.profile.cluster.name
        sealed = console.path("--file", file)
        phrase = console.phrase(sealed.name, phrase_env, phrase_file, twice=False)
        vaults.bring_back(place, sealed, cluster=cluster, passphrase=phrase)
    console.say(f"the vault is back in {place}")


@task(name="passphrase", help={**PROFILE, **VAULT, **PHRASE})
def passphrase(
    _: Context, profile: str = "", vault: str = "", phrase_env: str = "", phrase_file: str = ""
) -> None:
    """Encrypt the authority's key with a new pass phrase; the profile says where the present one is."""
    with console.session():
        from nodebake import vault as vaults

        plan, options = console.Flags(profile=profile, vault=vault).resolved()
        cluster = plan.profile.cluster.name
        old = vaults.present_passphrase(
            plan.profile.pki,
            cluster=cluster,
            profile_dir=plan.directory,
            ask=console.ask(),
            environ=options.environ,
        )
        new = console.phrase("the authority, the new one", phrase_env, phrase_file, twice=True).encode()
        vaults.change_passphrase(options.vault, cluster=cluster, old=old, new=new)
    console.say("the authority's key has the new pass phrase; have the profile's place for it give that one")


CERTS = Collection("certs", certs, renew, rotate, revoke, operator)
SECRETS = Collection("vault", export, import_, passphrase)
TASKS = (CERTS, SECRETS)
