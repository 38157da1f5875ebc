"""The templates for others' CI: accepted by their own linters, and calling commands that are there."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from nodebake import command
from nodebake.errors import BuildError
from nodebake.sources import golang
from tests.need import CACHE, ROOT, missing, need_go
from tests.unit.test_docs import flags, shown

CI = ROOT / "docs/ci"
TEMPLATES = ("github.yml", "gitlab-ci.yml", "Jenkinsfile")
ACTIONLINT = "github.com/rhysd/actionlint@v1.7.7"
ACTIONLINT_SUM = "h1:0KgkoNTrYY7vmOCs9BW2AHxLvvpoY9nEUzgBHiPUr0k="


def check_jsonschema(template: str, schema: str) -> None:
    """Have a template checked against the schema that its makers publish, which the linter brings along."""
    program = Path(sys.executable).with_name("check-jsonschema")
    command.run([program, "--builtin-schema", schema, CI / template])


def test_github_accepts_its_template() -> None:
    """Its workflow schema."""
    check_jsonschema("github.yml", "vendor.github-workflows")


def test_gitlab_accepts_its_template() -> None:
    """Its CI schema."""
    check_jsonschema("gitlab-ci.yml", "vendor.gitlab-ci")


def test_a_wrong_template_would_be_noticed(tmp_path: Path) -> None:
    """A misspelt key is not overlooked."""
    wrong = tmp_path / "wrong.yml"
    wrong.write_text((CI / "github.yml").read_text().replace("runs-on:", "run-on:"))
    with pytest.raises(BuildError, match="runs-on"):
        check_jsonschema(str(wrong), "vendor.github-workflows")


def actionlint() -> Path:
    """Return actionlint, built once into the cache from the pinned module."""
    go = need_go()
    home = CACHE / "tools"
    program = home / f"actionlint-{ACTIONLINT.rpartition('@')[2]}"
    if not program.exists():
        home.mkdir(parents=True, exist_ok=True)
        env = {"GOBIN": str(home), "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"}
        try:
            said = command.run([go, "mod", "download", "-json", ACTIONLINT], cwd=home, env=env)
            assert golang.h1(Path(json.loads(said)["Zip"]).read_bytes()) == ACTIONLINT_SUM
            module, _, version = ACTIONLINT.partition("@")
            command.run([go, "install", f"{module}/cmd/actionlint@{version}"], cwd=home, env=env)
        except BuildError as error:
            missing(f"actionlint could not be built: {error}")
        (home / "actionlint").replace(program)
    return program


def test_actionlint_has_nothing_to_say() -> None:
    """Expressions, contexts, and the shell scripts in it by shellcheck."""
    shellcheck = shutil.which("shellcheck") or ""
    command.run([actionlint(), "-no-color", "-shellcheck", shellcheck, CI / "github.yml"])


@pytest.mark.parametrize("template", TEMPLATES)
def test_every_command_in_a_template_is_there(template: str) -> None:
    """Each is a task and has the flags; all three call the same ones."""
    lines = [line for line in (CI / template).read_text().splitlines() if line.strip()[:1] not in {"#", "/"}]
    known, calls = flags(), shown("\n".join(lines))
    assert {"vault.import", "build", "certs", "boot", "sign", "verify", "publish"} == {
        task for task, _ in calls
    }
    assert [(task, flag) for task, used in calls for flag in used if flag not in known[task]] == []


def test_no_template_shows_a_secret() -> None:
    """Secrets come by name only, into the step that imports the vault, and the vault goes in the end."""
    steps = yaml.safe_load((CI / "github.yml").read_text())["jobs"]["bake"]["steps"]
    using = [step["name"] for step in steps if "secrets." in json.dumps(step)]
    assert ["Vault"] == using
    for template in TEMPLATES:
        assert "rm -rf secret" in (CI / template).read_text()
