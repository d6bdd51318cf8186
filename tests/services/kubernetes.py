"""A real Kubernetes API server with etcd: objects, RBAC and CustomResourceDefinitions; no nodes, no pods.

The server is built once from its published Go modules into `.cache/kubernetes` (about six minutes on two
cores): `python -m tests.services.kubernetes --fetch`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.services.process import Process, Server, ServiceError, free_port

VERSION = "1.33.4"
ROOT = Path(__file__).parents[2]
BINARY = ROOT / ".cache" / "kubernetes" / f"kube-apiserver-{VERSION}"
ADMIN = "admin-token"
OPERATOR = "0.85.0"
"""Of Prometheus, whose definitions of objects its module brings."""


def fetch() -> Path:
    """The server's binary, built if it is not there."""
    if BINARY.exists():
        return BINARY
    go = shutil.which("go")
    if go is None:
        raise ServiceError("no Go of at least 1.24: the API server is built from source")
    BINARY.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="observer-kubernetes-") as name:
        folder = Path(name)
        module = _run(go, ["mod", "download", "-json", f"k8s.io/kubernetes@v{VERSION}"], folder)
        source = Path(json.loads(module)["Dir"])
        staged = "v0" + VERSION.removeprefix("1")
        requirements = (source / "go.mod").read_text()
        requirements = re.sub(
            r"^module .*$", "module observer.test/kubernetes", requirements, flags=re.MULTILINE
        )
        requirements = re.sub(r"=> \./staging/src/(\S+)", rf"=> \1 {staged}", requirements)
        (folder / "go.mod").write_text(requirements + f"\nrequire k8s.io/kubernetes v{VERSION}\n")
        (folder / "go.sum").write_text((source / "go.sum").read_text())
        made = folder / "kube-apiserver"
        arguments = [
            "build",
            "-mod=mod",
            "-trimpath",
            "-buildvcs=false",
            "-ldflags",
            "-s -w",
            "-o",
            str(made),
        ]
        _run(go, [*arguments, "k8s.io/kubernetes/cmd/kube-apiserver"], folder)
        shutil.move(made, BINARY)
    return BINARY


def operator_definitions() -> list[dict[str, Any]]:
    """CustomResourceDefinitions of the Prometheus operator: monitors, rules, Alertmanager's configuration."""
    folder = BINARY.parent / f"prometheus-operator-{OPERATOR}"
    if not folder.exists():
        go = shutil.which("go")
        if go is None:
            raise ServiceError("no Go: the operator's definitions come in its module")
        module = f"github.com/prometheus-operator/prometheus-operator@v{OPERATOR}"
        with tempfile.TemporaryDirectory(prefix="observer-operator-") as name:
            found = json.loads(_run(go, ["mod", "download", "-json", module], Path(name)))
            shutil.copytree(Path(found["Dir"]) / "example" / "prometheus-operator-crd", Path(name) / "crd")
            folder.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(Path(name) / "crd", folder)
    wanted = ("servicemonitors", "podmonitors", "prometheusrules", "alertmanagerconfigs")
    paths = [folder / f"monitoring.coreos.com_{plural}.yaml" for plural in wanted]
    # A bare `=` in a list is a text of YAML 1.2, which PyYAML takes for something of its own.
    texts = [path.read_text().replace("- =\n", '- "="\n') for path in paths]
    return [yaml.load(text, yaml.CSafeLoader) for text in texts]


def _run(go: str, arguments: Sequence[str], folder: Path) -> str:
    done = subprocess.run([go, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ServiceError(f"go {arguments[0]} failed:\n{done.stderr[-2000:]}")
    return done.stdout


class Kubernetes(Server):
    """An API server of its own data; tokens are users: `admin-token` may do everything.

    Parameters
    ----------
    users : mapping
        Token -> user name, who may do what RBAC gives them.
    audit : bool
        Keep what everybody asked for, for `audited`.
    """

    def __init__(self, users: Mapping[str, str] | None = None, *, audit: bool = False) -> None:
        self._users = dict(users or {})
        self._audit = audit
        self._port = free_port()
        self.url = f"https://127.0.0.1:{self._port}"
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._processes: list[Process] = []
        self.client = httpx.Client(
            base_url=self.url,
            verify=False,  # noqa: S501 - on loopback, with a certificate made a moment ago
            timeout=30,
            trust_env=False,
            headers={"Authorization": f"Bearer {ADMIN}"},
        )

    def start(self) -> None:
        """Start with no objects; return once it is ready."""
        etcd = shutil.which("etcd")
        if etcd is None:
            raise ServiceError("no etcd on PATH (Debian: etcd-server)")
        binary = fetch()
        self._folder = tempfile.TemporaryDirectory(prefix="observer-kubernetes-")
        folder = Path(self._folder.name)
        client, peer = f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}"
        command = [etcd, f"--data-dir={folder / 'etcd'}", f"--listen-client-urls={client}"]
        command += [f"--advertise-client-urls={client}", f"--listen-peer-urls={peer}"]
        command += [f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=default={peer}"]
        self._processes.append(Process([*command, "--unsafe-no-fsync"], folder / "etcd.log"))
        self._processes[-1].wait_until(lambda: _well(f"{client}/health"), 60)
        key = folder / "key.pem"
        openssl = ["openssl", "genpkey", "-algorithm", "RSA", "-out", str(key)]
        subprocess.run(openssl, check=True, capture_output=True)
        tokens = folder / "tokens.csv"
        rows = [f'{ADMIN},admin,admin,"system:masters"', *(f"{t},{u},{u}" for t, u in self._users.items())]
        tokens.write_text("\n".join(rows) + "\n")
        command = [str(binary), f"--etcd-servers={client}", f"--secure-port={self._port}"]
        command += ["--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--authorization-mode=RBAC"]
        command += [f"--token-auth-file={tokens}", f"--cert-dir={folder / 'certificates'}"]
        command += ["--service-account-issuer=https://observer.test", f"--service-account-key-file={key}"]
        command += [f"--service-account-signing-key-file={key}", "--service-cluster-ip-range=10.0.0.0/24"]
        command += ["--disable-admission-plugins=ServiceAccount", "--endpoint-reconciler-type=none"]
        if self._audit:
            policy = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"]}
            (folder / "audit.yaml").write_text(yaml.safe_dump({**policy, "rules": [{"level": "Metadata"}]}))
            command += [
                f"--audit-policy-file={folder / 'audit.yaml'}",
                f"--audit-log-path={folder / 'audit'}",
            ]
        self._processes.append(Process(command, folder / "apiserver.log"))
        self._processes[-1].wait_until(self._ready, 120)

    def stop(self) -> None:
        """End it and forget everything."""
        for process in reversed(self._processes):
            process.stop()
        self._processes.clear()
        self.client.close()
        if self._folder is not None:
            self._folder.cleanup()

    def _ready(self) -> bool:
        try:
            return self.client.get("/readyz").status_code == 200
        except httpx.HTTPError:
            return False

    # Objects

    def define(self, definition: Mapping[str, Any]) -> None:
        """Create a CustomResourceDefinition; return once it is served."""
        self.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)
        spec = definition["spec"]
        served = [one["name"] for one in spec["versions"] if one["served"]]
        group = f"/apis/{spec['group']}/{served[0]}"
        paths = (group, f"{group}/{spec['names']['plural']}")  # the list of the group's kinds comes later
        deadline = time.monotonic() + 60
        while any(self.client.get(path).status_code != 200 for path in paths):
            if time.monotonic() > deadline:
                raise ServiceError(f"{paths[1]} is not served")
            time.sleep(0.1)

    def create(self, path: str, thing: Mapping[str, Any]) -> dict[str, Any]:
        """POST an object to a collection."""
        return self._answer(self.client.post(path, json=thing))

    def read(self, path: str) -> dict[str, Any]:
        """GET an object."""
        return self._answer(self.client.get(path))

    def merge(self, path: str, change: Mapping[str, Any], manager: str = "test") -> dict[str, Any]:
        """PATCH an object, or its `/status`."""
        headers = {"Content-Type": "application/merge-patch+json"}
        params = {"fieldManager": manager}
        return self._answer(
            self.client.patch(path, content=json.dumps(change), headers=headers, params=params)
        )

    def apply(self, thing: Mapping[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        """Server-side apply an object, unknown keys refused; raises `ServiceError` for a warning, too."""
        group, _, version = thing["apiVersion"].rpartition("/")
        root = f"/apis/{group}/{version}" if group else f"/api/{version}"
        kinds = {one["kind"]: one for one in self.read(root)["resources"] if "/" not in one["name"]}
        place = f"/namespaces/{thing['metadata']['namespace']}" if kinds[thing["kind"]]["namespaced"] else ""
        answer = self.client.patch(
            f"{root}{place}/{kinds[thing['kind']]['name']}/{thing['metadata']['name']}",
            content=json.dumps(thing),
            headers={"Content-Type": "application/apply-patch+yaml"},
            params={
                "fieldManager": "helm",
                "fieldValidation": "Strict",
                **({"dryRun": "All"} if dry_run else {}),
            },
        )
        if "warning" in answer.headers:
            raise ServiceError(f"{thing['kind']}: {answer.headers['warning']}")
        return self._answer(answer)

    def account_token(self, namespace: str, name: str) -> str:
        """A token of a service account, as a pod would get it."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        made = self.create(
            path, {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        )
        return str(made["status"]["token"])

    def audited(self, user: str) -> list[dict[str, Any]]:
        """What a user has asked for so far, as the audit log has it."""
        assert self._folder is not None
        lines = (Path(self._folder.name) / "audit").read_text().splitlines()
        return [one for one in map(json.loads, lines) if one["user"]["username"] == user]

    def kubeconfig(self, token: str, folder: Path) -> Path:
        """A file with which the bearer of a token speaks to the server."""
        path = folder / f"{hashlib.sha256(token.encode()).hexdigest()[:16]}.yaml"
        path.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "test",
                    "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
                    "clusters": [
                        {"name": "test", "cluster": {"server": self.url, "insecure-skip-tls-verify": True}}
                    ],
                    "users": [{"name": "test", "user": {"token": token}}],
                }
            )
        )
        return path

    def _answer(self, answer: httpx.Response) -> dict[str, Any]:
        if answer.status_code >= 300:
            raise ServiceError(f"{answer.request.method} {answer.request.url}: {answer.text[:1000]}")
        found: dict[str, Any] = answer.json()
        return found


def _well(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


if __name__ == "__main__" and "--fetch" in sys.argv:
    os.umask(0o022)
    operator_definitions()
    print(fetch())
