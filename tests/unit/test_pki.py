"""What an authority signs is judged by openssl, and every authority it cannot work with is refused."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from ipaddress import ip_network
from typing import TYPE_CHECKING, get_args

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from cryptography.x509.oid import NameOID

from nodebake.command import run
from nodebake.errors import BuildError, UsageError
from nodebake.pki import Algorithm, Authority, Leaf, LeafRequest, Subject, Terms, describe, new_host_key
from tests.need import need

if TYPE_CHECKING:
    from pathlib import Path

NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
DAY = 86400
TERMS = Terms(lifetime=365 * DAY, backdate=7 * DAY)
PEER = LeafRequest(
    holder="x-1",
    name="peer",
    common_name="x-1",
    dns=("x-1", "x-1.edge.example.com", "localhost", "x-1"),
    ips=("192.168.7.11", "127.0.0.1", "::1", "0:0:0:0:0:0:0:1"),
    usages=("server", "client"),
)
OPERATOR = LeafRequest(holder="operator", name="client", common_name="root", usages=("client",))


@dataclass(frozen=True, kw_only=True)
class Made:
    """An authority as somebody else would have made it."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        """Its certificate."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def key_pem(self, passphrase: bytes | None = None) -> bytes:
        """Its key in OpenSSL's older form, as many still have it."""
        encryption = serialization.BestAvailableEncryption(passphrase) if passphrase else None
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            encryption or serialization.NoEncryption(),
        )


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What to make an authority like."""

    ca: bool = True
    path_length: int | None = None
    signs: bool = True
    begins: int = -DAY
    ends: int = 1000 * DAY
    constraints: x509.NameConstraints | None = None


def make(name: str, issuer: Made | None = None, kind: Kind = Kind()) -> Made:
    """Return an authority's certificate and key, signed by `issuer` or by itself."""
    key = ec.generate_private_key(ec.SECP384R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer = issuer.key if issuer else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + dt.timedelta(seconds=kind.begins))
        .not_valid_after(NOW + dt.timedelta(seconds=kind.ends))
        .add_extension(x509.BasicConstraints(ca=kind.ca, path_length=kind.path_length), critical=True)
        .add_extension(usage(signs=kind.signs), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
    )
    if kind.constraints:
        builder = builder.add_extension(kind.constraints, critical=True)
    return Made(certificate=builder.sign(signer, hashes.SHA256()), key=key)


def usage(*, signs: bool) -> x509.KeyUsage:
    """Return an authority's key usage."""
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def verify(authority: Authority, leaf: Leaf, directory: Path, purpose: str, *flags: str) -> str:
    """Return what openssl says about a leaf, strictly."""
    (directory / "trust.pem").write_bytes(authority.trust)
    (directory / "leaf.pem").write_bytes(leaf.certificate)
    argv = [need("openssl", package="openssl"), "verify", "-x509_strict", "-purpose", purpose, *flags]
    argv += ["-CAfile", str(directory / "trust.pem"), str(directory / "leaf.pem")]
    return run(argv).decode().strip()


def says(leaf: Leaf, directory: Path) -> str:
    """Return openssl's reading of a leaf's extensions."""
    (directory / "leaf.pem").write_bytes(leaf.certificate)
    names = "basicConstraints,keyUsage,extendedKeyUsage,subjectAltName"
    argv = [need("openssl", package="openssl"), "x509", "-in", str(directory / "leaf.pem"), "-noout"]
    return run([*argv, "-ext", names]).decode()


@pytest.mark.parametrize("algorithm", get_args(Algorithm))
def test_openssl_accepts_every_leaf_of_every_algorithm(algorithm: Algorithm, tmp_path: Path) -> None:
    """Leafs of minted authorities pass x509_strict for what they are meant for."""
    terms = replace(TERMS, algorithm=algorithm, subject=Subject(country="DE", organization="Nähe"))
    authority = Authority.mint("edge etcd CA", terms, now=NOW)
    peer, operator = authority.issue(PEER, terms, now=NOW), authority.issue(OPERATOR, terms, now=NOW)
    assert describe(peer.certificate).algorithm == algorithm
    for leaf, purpose in ((peer, "sslserver"), (peer, "sslclient"), (operator, "sslclient")):
        assert verify(authority, leaf, tmp_path, purpose) == f"{tmp_path}/leaf.pem: OK"


@pytest.mark.parametrize(
    ("algorithm", "expected"),
    [
        ("ecdsa-p256", "Digital Signature"),
        ("ed25519", "Digital Signature"),
        ("rsa-2048", "Digital Signature, Key Encipherment"),
    ],
)
def test_a_peer_leaf_says_what_etcd_needs(algorithm: Algorithm, expected: str, tmp_path: Path) -> None:
    """Both usages, every name once and in order, and the key usage of its kind of key."""
    authority = Authority.mint("edge etcd CA", TERMS, now=NOW)
    leaf = authority.issue(PEER, replace(TERMS, algorithm=algorithm), now=NOW)
    names = "DNS:x-1, DNS:x-1.edge.example.com, DNS:localhost"
    told = [line.strip() for line in says(leaf, tmp_path).splitlines()]
    assert told == [
        "X509v3 Basic Constraints: critical",
        "CA:FALSE",
        "X509v3 Key Usage: critical",
        expected,
        "X509v3 Extended Key Usage:",
        "TLS Web Server Authentication, TLS Web Client Authentication",
        "X509v3 Subject Alternative Name:",
        f"{names}, IP Address:192.168.7.11, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1",
    ]


def test_a_namesake_is_not_who_it_says(tmp_path: Path) -> None:
    """Its leaves name the same issuer, down to the country, and openssl tells them from the issuer's own."""
    terms = replace(TERMS, subject=Subject(country="DE", organization="Nähe"))
    authority = Authority.mint("edge etcd CA", terms, now=NOW)
    other = Authority.namesake(authority.certificate, TERMS, now=NOW)
    leaf = other.issue(OPERATOR, TERMS, now=NOW)
    assert describe(other.certificate).subject == describe(authority.certificate).subject
    assert verify(other, leaf, tmp_path, "sslclient") == f"{tmp_path}/leaf.pem: OK"
    with pytest.raises(BuildError, match="verification failed"):
        verify(authority, leaf, tmp_path, "sslclient")


def test_a_client_leaf_is_no_server(tmp_path: Path) -> None:
    """The operator's certificate is for clients only."""
    leaf = Authority.mint("edge etcd CA", TERMS, now=NOW).issue(OPERATOR, TERMS, now=NOW)
    assert "Server" not in says(leaf, tmp_path)
    assert describe(leaf.certificate).usages == ("client",)
    assert describe(leaf.certificate).subject == "CN=root"


def test_validity_begins_early_and_never_outlives_the_authority() -> None:
    """Nodes boot with slow clocks; and a leaf is worth nothing after its authority."""
    authority = Authority.mint("edge etcd CA", replace(TERMS, lifetime=100 * DAY), now=NOW)
    facts = describe(authority.issue(PEER, TERMS, now=NOW).certificate)
    assert facts.not_before == NOW - dt.timedelta(days=7)
    assert facts.not_after == NOW + dt.timedelta(days=100)


def test_the_longest_lifetime_ends_in_the_year_9999() -> None:
    """A lifetime beyond what X.509 can say is cut, not a traceback."""
    authority = Authority.mint("edge etcd CA", replace(TERMS, lifetime=10**12, backdate=10**12), now=NOW)
    assert authority.not_after.year == 9999
    assert describe(authority.certificate).not_before.year == 1970


def test_a_minted_root_signs_leaves_only() -> None:
    """Path length 0: nobody can make another authority with it."""
    certificate = x509.load_pem_x509_certificate(Authority.mint("edge", TERMS, now=NOW).certificate)
    extension = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (extension.critical, extension.value) == (True, x509.BasicConstraints(ca=True, path_length=0))


@pytest.mark.parametrize("passphrase", [None, b"open sesame"])
def test_a_brought_root_signs_leaves_that_verify(passphrase: bytes | None, tmp_path: Path) -> None:
    """An authority of one's own works like a minted one, its key plain or encrypted."""
    root = make("our root")
    authority = Authority.load(root.pem, root.key_pem(passphrase), passphrase=passphrase, now=NOW)
    leaf = authority.issue(PEER, TERMS, now=NOW)
    assert authority.trust == root.pem
    assert verify(authority, leaf, tmp_path, "sslserver") == f"{tmp_path}/leaf.pem: OK"


def test_an_intermediate_brings_its_chain(tmp_path: Path) -> None:
    """Leafs carry the intermediates, so who trusts the root, or the authority alone, accepts them."""
    root = make("our root")
    upper = make("upper", root, Kind(path_length=1))
    lower = make("lower", upper, Kind(path_length=0, ends=30 * DAY))
    chain = root.pem + upper.pem
    authority = Authority.load(lower.pem, lower.key_pem(), chain_pem=chain, now=NOW)
    leaf = authority.issue(PEER, TERMS, now=NOW)
    assert leaf.certificate.endswith(lower.pem + upper.pem)
    assert authority.trust == lower.pem
    assert verify(authority, leaf, tmp_path, "sslclient", "-partial_chain") == f"{tmp_path}/leaf.pem: OK"
    (tmp_path / "root.pem").write_bytes(root.pem)
    openssl, bundle = need("openssl", package="openssl"), tmp_path / "leaf.pem"
    run([openssl, "verify", "-x509_strict", "-CAfile", tmp_path / "root.pem", "-untrusted", bundle, bundle])
    assert describe(leaf.certificate).not_after == NOW + dt.timedelta(days=30)


def test_nodes_do_not_trust_a_sibling_intermediate(tmp_path: Path) -> None:
    """What another department of the same root signs is not let in."""
    root = make("our root")
    ours, theirs = (make(name, root, Kind(path_length=0)) for name in ("ours", "theirs"))
    authorities = [
        Authority.load(one.pem, one.key_pem(), chain_pem=root.pem, now=NOW) for one in (ours, theirs)
    ]
    leaf = authorities[1].issue(PEER, TERMS, now=NOW)
    with pytest.raises(BuildError, match="unable to get local issuer certificate"):
        verify(authorities[0], leaf, tmp_path, "sslclient", "-partial_chain")


ROOT = make("our root")
MIDDLE = make("middle", ROOT)
OLD_KIND = Kind(begins=-20 * DAY, ends=-DAY)


@pytest.mark.parametrize(
    ("certificate", "key", "chain", "expected"),
    [
        (b"nonsense", ROOT.key_pem(), b"", "not a certificate in PEM"),
        (b"", ROOT.key_pem(), b"", "not a certificate in PEM"),
        (ROOT.pem, b"nonsense", b"", "not a private key in PEM"),
        (ROOT.pem, MIDDLE.key_pem(), b"", "does not belong to its certificate CN=our root"),
        (ROOT.pem, ROOT.key_pem(b"right"), b"", "wrong pass phrase"),
        (MIDDLE.pem, MIDDLE.key_pem(), b"", "does not lead on from CN=middle"),
        (MIDDLE.pem, MIDDLE.key_pem(), make("our root").pem, "does not lead on from CN=middle"),
        (MIDDLE.pem, MIDDLE.key_pem(), ROOT.pem + make("other").pem, "not above it: CN=other"),
        (MIDDLE.pem, MIDDLE.key_pem(), b"nonsense", "the authority's chain is not a certificate"),
    ],
)
def test_authorities_that_do_not_fit_are_refused(
    certificate: bytes, key: bytes, chain: bytes, expected: str
) -> None:
    """Each part that is broken or does not belong to the others is named."""
    with pytest.raises(UsageError, match=expected):
        Authority.load(certificate, key, chain_pem=chain, passphrase=b"wrong", now=NOW)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (OLD_KIND, "CN=made has expired on"),
        (Kind(begins=DAY), "CN=made is not valid before"),
        (Kind(ca=False), "not an authority's certificate"),
        (Kind(signs=False), "lacks keyCertSign"),
    ],
)
def test_certificates_that_cannot_sign_are_refused(kind: Kind, expected: str) -> None:
    """A root that is out of its time, or was not made for signing, is named with the reason."""
    made = make("made", None, kind)
    with pytest.raises(UsageError, match=expected):
        Authority.load(made.pem, made.key_pem(), now=NOW)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (OLD_KIND, "CN=top has expired on"),
        (Kind(path_length=0), "CN=top allows 0 authorities below it, here are 1"),
    ],
)
def test_the_whole_chain_must_be_good(kind: Kind, expected: str) -> None:
    """A root that has expired, or forbids intermediates, spoils a good intermediate."""
    top = make("top", None, kind)
    made = make("made", top)
    with pytest.raises(UsageError, match=expected):
        Authority.load(made.pem, made.key_pem(), chain_pem=top.pem, now=NOW)


def test_sha1_is_refused_in_an_intermediate_and_accepted_in_a_root(tmp_path: Path) -> None:
    """Go rejects it at the first handshake, except in a root, whose signature nobody checks."""
    openssl = need("openssl", package="openssl")
    root, key = tmp_path / "root.pem", tmp_path / "made.key"
    root.write_bytes(ROOT.pem + ROOT.key_pem())
    key.write_bytes(MIDDLE.key_pem())
    asked: list[str | Path] = [openssl, "req", "-new", "-x509", "-sha1", "-subj", "/CN=made", "-key", key]
    asked += ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]
    sha1 = run([*asked, "-CA", root, "-CAkey", root])
    with pytest.raises(UsageError, match="CN=made is signed with sha1"):
        Authority.load(sha1, MIDDLE.key_pem(), chain_pem=ROOT.pem, now=NOW)
    old = Authority.load(run(asked), MIDDLE.key_pem(), now=dt.datetime.now(dt.UTC))
    assert verify(old, old.issue(PEER, TERMS, now=NOW), tmp_path, "any") == f"{tmp_path}/leaf.pem: OK"


def test_an_encrypted_key_asks_for_its_pass_phrase() -> None:
    """Without one, the message names the setting."""
    with pytest.raises(UsageError, match=r"pki\.authority\.passphrase"):
        Authority.load(ROOT.pem, ROOT.key_pem(b"right"), now=NOW)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (ec.generate_private_key(ec.SECP256K1()), "curve secp256k1"),
        (ed448.Ed448PrivateKey.generate(), "Ed448"),
        (rsa.generate_private_key(65537, 1024), "RSA with 1024 bits"),  # noqa: S505 - that is what is refused
    ],
)
def test_kinds_of_keys_that_go_does_not_know_are_refused(
    key: ec.EllipticCurvePrivateKey | ed448.Ed448PrivateKey | rsa.RSAPrivateKey, expected: str
) -> None:
    """A member would start with them and never shake a hand."""
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(UsageError, match=expected):
        Authority.load(ROOT.pem, pem, now=NOW)


@pytest.mark.parametrize(
    ("permitted", "excluded", "expected"),
    [
        ([x509.DNSName("example.com")], None, "forbids the name x-1"),
        ([x509.IPAddress(ip_network("10.0.0.0/8"))], None, r"forbids the name 192\.168\.7\.11"),
        (None, [x509.DNSName("edge.example.com")], r"forbids the name x-1\.edge\.example\.com"),
        (None, [x509.IPAddress(ip_network("::/0"))], "forbids the name ::1"),
    ],
)
def test_names_that_the_authority_may_not_certify_are_refused(
    permitted: list[x509.GeneralName] | None, excluded: list[x509.GeneralName] | None, expected: str
) -> None:
    """One forbidden name would make the whole certificate worthless to every peer."""
    constraints = x509.NameConstraints(permitted_subtrees=permitted, excluded_subtrees=excluded)
    made = make("narrow", ROOT, Kind(constraints=constraints))
    authority = Authority.load(made.pem, made.key_pem(), chain_pem=ROOT.pem, now=NOW)
    with pytest.raises(UsageError, match=expected):
        authority.issue(PEER, TERMS, now=NOW)


def test_a_narrow_authority_certifies_what_it_may(tmp_path: Path) -> None:
    """Name constraints that cover the request are no hindrance, and openssl agrees."""
    permitted = [x509.DNSName(name) for name in ("x-1", "example.com", "localhost")]
    constraints = x509.NameConstraints(permitted_subtrees=permitted, excluded_subtrees=None)
    made = make("narrow", ROOT, Kind(path_length=0, constraints=constraints))
    authority = Authority.load(made.pem, made.key_pem(), chain_pem=ROOT.pem, now=NOW)
    leaf = authority.issue(PEER, TERMS, now=NOW)
    assert verify(authority, leaf, tmp_path, "sslserver", "-partial_chain") == f"{tmp_path}/leaf.pem: OK"


@pytest.mark.parametrize(
    ("request_", "terms", "days", "expected"),
    [
        (PEER, TERMS, 0, ""),
        (replace(PEER, dns=PEER.dns[::-1]), TERMS, 0, ""),
        (replace(PEER, dns=("x-1",)), TERMS, 0, "changed"),
        (replace(PEER, usages=("server",)), TERMS, 0, "changed"),
        (replace(PEER, common_name="x-2"), TERMS, 0, "changed"),
        (PEER, replace(TERMS, subject=Subject(organization="Acme")), 0, "changed"),
        (PEER, replace(TERMS, lifetime=DAY), 0, ""),
        (PEER, TERMS, 366, "expired"),
    ],
)
def test_a_certificate_is_good_until_something_it_says_changes(
    request_: LeafRequest, terms: Terms, days: int, expected: str
) -> None:
    """The order of names and a new lifetime are no reason; names, usages, subject and expiry are."""
    authority = Authority.mint("edge", replace(TERMS, lifetime=1000 * DAY), now=NOW)
    leaf = authority.issue(PEER, TERMS, now=NOW)
    later = NOW + dt.timedelta(days=days)
    assert authority.objection(leaf.certificate, request_, terms, key=leaf.key, now=later) == expected


def test_a_certificate_of_another_authority_or_key_is_not_good() -> None:
    """The name of the authority alone does not count, and the key must be the certificate's."""
    one, other = (Authority.mint("edge", TERMS, now=NOW) for _ in range(2))
    leaf, stranger = one.issue(PEER, TERMS, now=NOW), one.issue(PEER, TERMS, now=NOW)
    assert other.objection(leaf.certificate, PEER, TERMS, key=leaf.key, now=NOW) == "other authority"
    assert one.objection(leaf.certificate, PEER, TERMS, key=stranger.key, now=NOW) == "changed"


def test_ssh_reads_the_host_key_and_finds_the_same_public_half(tmp_path: Path) -> None:
    """`ssh-keygen -y` derives from the private file what known_hosts will hold."""
    keygen = need("ssh-keygen", package="openssh-client")
    key = new_host_key()
    path = tmp_path / "ssh_host_ed25519_key"
    path.touch(mode=0o600)
    path.write_bytes(key.private)
    assert run([keygen, "-y", "-f", path]).strip() == key.public


def test_no_key_shows_in_a_repr() -> None:
    """Tracebacks and logs print values; secrets must not be in them."""
    authority = Authority.mint("edge", TERMS, now=NOW)
    leaf = authority.issue(PEER, TERMS, now=NOW)
    for shown in (repr(authority), repr(leaf), repr(new_host_key())):
        assert "PRIVATE KEY" not in shown
        assert "key=" not in shown
