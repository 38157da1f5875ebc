"""The packet filter on running nodes: who is let in is served, who is not gets no answer at all."""

from __future__ import annotations

from ipaddress import ip_interface
from pathlib import Path
from typing import TYPE_CHECKING

from tests.cluster.built import Built, bake, write_profile
from tests.cluster.cluster import desk_address
from tests.cluster.namespace import Namespace, plug
from tests.cluster.roots import carry, carry_libraries
from tests.need import need

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from tests.cluster.cluster import Cluster

    Bench = Callable[[Built], AbstractContextManager[Cluster]]

KNOCK = 'timeout 3 bash -c "exec 3<>/dev/tcp/$1/$2" 2>&1; echo $?'


def _knock(box: Namespace, host: str, port: int) -> str:
    """Return what becomes of a TCP connection: `open`, `refused` or `silence`."""
    said = box.run("bash", "-c", KNOCK, "bash", host, str(port)).split()
    return {b"0": "open", b"1": "refused", b"124": "silence"}[said[-1]]


def test_cluster_forms_behind_its_filter_and_strangers_get_silence(bench: Bench, tmp_path: Path) -> None:
    """Members reach each other, named clients the client port; a stranger on the same switch reaches ssh."""
    desk = desk_address("10.77.0.11/24").ip
    document = {
        "schema": 1,
        "extends": "vm",
        "cluster": {"name": "walled"},
        "firewall": {"clients": [str(desk)]},
    }
    built = bake(write_profile(tmp_path, "walled", document), tmp_path)
    with bench(built) as cluster, Namespace("stranger").open() as stranger:
        plug(cluster.bridge, stranger, "eth0", [ip_interface("10.77.0.200/24")])
        for node in built.plan.members:
            machine = cluster.add(node.name)
            machine.also("nodebake-firewall").start()
            machine.service.start()
        cluster.formed()
        assert cluster.writes(*cluster.machines)
        for node in built.plan.members:
            for box, port in ((stranger, 2379), (stranger, 2380), (cluster.desk.box, 2380)):
                assert "silence" == _knock(box, node.ip, port)
            assert "open" == _knock(cluster.desk.box, node.ip, 2379)
            assert "refused" == _knock(stranger, node.ip, 22)  # let in, and no sshd there
            stranger.run("busybox", "ping", "-c", "1", "-W", "2", node.ip)


def test_alpine_loads_its_filter_by_its_init_script(bench: Bench, tmp_path: Path) -> None:
    """Started it lets in what is named, reloaded what is named now; stopped by hand it lets in all again."""
    document = {"schema": 1, "extends": "pi3", "cluster": {"name": "walled-pi"}, "firewall": {}}
    built = bake(write_profile(tmp_path, "walled-pi", document), tmp_path)
    with bench(built) as cluster:
        machine = cluster.add(built.plan.members[0].name)
        carry(Path(need("nft", package="nftables")), machine.root)
        carry_libraries([Path(need("nft", package="nftables"))], machine.root)
        firewall, ip = machine.also("nodebake-firewall"), machine.node.ip
        firewall.start()
        assert ["refused", "silence"] == [_knock(cluster.desk.box, ip, port) for port in (2379, 2380)]
        rules = machine.root / "etc/nodebake/firewall.nft"
        rules.write_text(rules.read_text().replace("dport 2379", "dport 2378"))
        machine.box.run("/etc/init.d/nodebake-firewall", "--nocolor", "reload")
        assert "silence" == _knock(cluster.desk.box, ip, 2379)
        firewall.stop()
        assert "refused" == _knock(cluster.desk.box, ip, 2380)
