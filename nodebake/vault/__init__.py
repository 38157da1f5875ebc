"""A cluster's secrets on disk: its identity, authority, keys, and the ledger of what was issued.

    vault/<cluster>/      0700
      lock                held while a build runs; says whose process
      cluster.json        the identity; written first
      ca.key              the authority's key, encrypted if the profile gives a pass phrase
      ca.chain.crt        the certificates above a brought intermediate
      ca.brought          there if the authority was brought along, not minted
      ca.crt              the authority's certificate; written last, nothing is issued before it
      ca-2.key ...        the same of a second authority, once there is one
      founding.json       which cluster of this vault it is, and the nodes that may not found it
      rotation.json       which authority issues, and how far a change to another has come
      crl.der             the list of revoked certificates
      authorities.json    authorities for other things than etcd, with their keys, once there is one
      keys.json           every leaf's key and every node's SSH host key
      ledger.json         every certificate ever issued, itself and in words
      signing.key         who built, and signing.pub for who verifies, once a build was signed
      cards.json          every card ever written: for which node, with which image, and which failed

A batch is two files, keys before certificates, each written whole or not at all: whenever a build
dies, what it leaves opens, and the next build goes on with the same keys.
"""

from nodebake.vault.authorities import change_passphrase
from nodebake.vault.cards import Card, cards, record
from nodebake.vault.envelope import check_identity, check_recipients, seal, unseal
from nodebake.vault.ledger import LedgerRow
from nodebake.vault.looking import Look, look
from nodebake.vault.opening import check_first, open_vault, present_passphrase
from nodebake.vault.passphrase import Asker
from nodebake.vault.rotation import STEPS, Rotation, Step
from nodebake.vault.sealing import bring_back, export
from nodebake.vault.signing import public_key, signing_key
from nodebake.vault.vault import Vault

__all__ = [
    "STEPS",
    "Asker",
    "Card",
    "LedgerRow",
    "Look",
    "Rotation",
    "Step",
    "Vault",
    "bring_back",
    "cards",
    "change_passphrase",
    "check_first",
    "check_identity",
    "check_recipients",
    "export",
    "look",
    "open_vault",
    "present_passphrase",
    "public_key",
    "record",
    "seal",
    "signing_key",
    "unseal",
]
