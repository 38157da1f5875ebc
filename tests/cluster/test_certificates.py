"""Certificates of a cluster that runs: told, renewed and rotated while somebody writes all the time."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from nodebake.errors import BuildError
from nodebake.upkeep import APPLY
from tests.cluster.desk import LONGEST, SERVED, Tool, busy
from tests.patience import after

if TYPE_CHECKING:
    from tests.cluster.cluster import Cluster
    from tests.cluster.site import Site


def presented(tool: Tool) -> list[str]:
    """Return everything that `certs --live` complains about in the running cluster."""
    told = json.loads(tool.run("certs", "--live", "--json"))
    complaints = [what for row in told["certificates"] for what in row["complaints"]]
    return [*told["complaints"], *(what for what in complaints if what.startswith("port "))]


def test_certificates_are_renewed_with_no_failed_request(served: Site) -> None:
    """Same keys or new ones, pushed or laid over by hand: members use them at once, and nobody notices."""
    cluster, tool = served.cluster, served.tool
    assert presented(tool) == []
    with busy(cluster.desk, "renewed-") as writer:
        writer.mark("same keys, pushed")
        assert "pushed to 3 nodes" in tool.run("certs.renew", "--within", "10y", "--push")
        assert presented(tool) == []
        writer.mark("new keys, pushed")
        tool.run("certs.renew", "--within", "10y", "--new-keys", "--push")
        assert presented(tool) == []
        writer.mark("one node by hand")
        tool.run("certs.renew", "--within", "10y", "--node", "n2")
        assert len(presented(tool)) == 2
        archive = cluster.built.out / "n2/n2.renewal.tar.gz"
        cluster.machines["n2"].box.run("sh", "-c", APPLY, stdin=archive.read_bytes())
        assert presented(tool) == []
    assert cluster.desk.healthy()


def test_the_authority_is_rotated_without_downtime(served: Site, tmp_path: Path) -> None:
    """Three runs; the former operator's certificate opens the cluster until the last, and no longer.

    Restarts hand the leadership over.
    """
    cluster, tool = served.cluster, served.tool
    desk = cluster.desk
    former = Path(shutil.copytree(cluster.built.operator, tmp_path / "former"))
    with busy(desk, "rotated-", handed_over=True) as writer:
        for step in ("trust", "issue", "drop"):
            writer.mark(step)
            tool.run("certs.rotate", "--push")
            assert presented(tool) == []
            assert desk.healthy()
            assert admitted(cluster, former) is (step != "drop")
    assert "no change is under way" in tool.refused("certs.rotate", "--push")
    kept = {path.name for path in tool.vault.iterdir()}
    assert {"ca-2.crt", "ca-2.key"} <= kept
    assert not {"ca.crt", "ca.key"} & kept


def test_a_step_out_of_turn_is_refused_and_changes_nothing(served: Site) -> None:
    """No step before every node has the last one; who has it is seen, or said."""
    cluster, tool = served.cluster, served.tool
    assert "not known to be on n1, n2, n3" in tool.run("certs.rotate")
    before = state(tool)
    assert "step trust is not known to be on n1" in tool.refused("certs.rotate", "--step", "issue")
    assert "not the turn of step drop" in tool.refused("certs.rotate", "--step", "drop")
    assert "no step fly" in tool.refused("certs.rotate", "--step", "fly")
    assert state(tool) == before
    archive = (cluster.built.out / "n1/n1.renewal.tar.gz").read_bytes()
    cluster.machines["n1"].box.run("sh", "-c", APPLY, stdin=archive)
    assert "not known to be on n2, n3" in tool.run("certs.rotate", "--live")
    assert "every node has step trust" in tool.run(
        "certs.rotate", "--confirm", "n2", "--confirm", "n3", "--step", "trust"
    )


def test_a_rotation_that_is_killed_goes_on(served: Site) -> None:
    """Kill -9 after any time: the same command again, as often as need be, ends with the new authority."""
    cluster, tool = served.cluster, served.tool
    moments = (min(0.2 * 1.3**tries, LONGEST) for tries in itertools.count())
    kills = 0
    while "ca.crt" in {path.name for path in tool.vault.iterdir()}:
        kills += tool.killed(after(next(moments)), "certs.rotate", "--push")
    assert kills > 0
    cluster.formed()
    assert presented(tool) == []


def test_a_lost_key_is_revoked_at_every_member(served: Site, tmp_path: Path) -> None:
    """The operator's lost key opens nothing any more, the new one all; no member is restarted."""
    cluster, tool = served.cluster, served.tool
    lost = Path(shutil.copytree(cluster.built.operator, tmp_path / "lost"))
    tool.run("certs.operator", "--cn", "ada")
    assert admitted(cluster, cluster.built.operator, "ada") is True
    started = [machine.service.processes() for machine in cluster.machines.values()]
    assert "pushed to 3 members" in tool.run("certs.revoke", "--cn", "root", "--push")
    assert admitted(cluster, lost) is False
    assert admitted(cluster, cluster.built.operator) is True
    stolen = Path(shutil.copytree(cluster.built.operator, tmp_path / "stolen"))
    tool.run("certs.revoke", "--cn", "ada", "--push")
    assert admitted(cluster, stolen, "ada") is False
    assert not (cluster.built.operator / "ada.pem").exists()
    assert "nothing was ever issued" in tool.refused("certs.revoke", "--cn", "eve", "--push")
    assert [machine.service.processes() for machine in cluster.machines.values()] == started
    assert cluster.desk.healthy()


def state(tool: Tool) -> dict[str, bytes]:
    """Return the vault's files, but for the lock."""
    return {path.name: path.read_bytes() for path in tool.vault.iterdir() if path.name != "lock"}


def admitted(cluster: Cluster, operator: Path, name: str = "admin") -> bool:
    """Tell whether every member lets somebody in who has these operator's files."""
    words = ["--cert", f"{operator}/{name}.pem", "--max-time", "10"]
    answers = {_let_in(cluster, f"{cluster.desk.endpoint(name)}/health", words) for name in SERVED}
    assert len(answers) == 1
    return answers.pop()


def _let_in(cluster: Cluster, url: str, words: list[str]) -> bool:
    try:
        cluster.desk.box.run("curl", "--silent", "--insecure", *words, url)
    except BuildError:
        return False
    return True
