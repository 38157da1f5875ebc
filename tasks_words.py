"""What the tasks share: where the checkout is, and the words of their help."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).resolve().parent
LOCK = HERE / "sources.lock"

PROFILE = {"profile": "a name in profiles/, or the path of a profile"}
OUT = {"out": "directory of the build (default: build/<profile>)"}
VAULT = {"vault": "the cluster's vault (default: NODEBAKE_VAULT, or vault/<cluster>)"}
PLACES = PROFILE | OUT | VAULT

MIRROR = {"mirror": "directory or URL that has the inputs, asked first"}
OFFLINE = {"offline": "never ask the network: the cache, and what ./invoke vendor put into --mirror DIR"}
BASE = {"base": "the operating system's release, a file (default: the pinned one)"}
JOBS = {"jobs": "nodes worked on at once (default: one per processor)"}
CONTAINER = {"in_container": "in the builder's container, through a Docker engine"}
CA = {"ca": "the authority of a server's certificate, if it is none of the system's"}

PUSH = {
    "push": "lay it over the running nodes through ssh, as root",
    "identity": "the private key for ssh (default: what ssh finds by itself)",
}
PHRASE = {
    "phrase_env": "the environment variable that has the pass phrase (default: ask for it)",
    "phrase_file": "the file whose first line is the pass phrase",
}
