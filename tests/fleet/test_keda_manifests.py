"""The manifests against the published schemas of Kubernetes, and against what they promise."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from quantum_control.config import Config
from quantum_control.config_file import read_config
from quantum_control.fleet.scaler_target import Target

kubernetes_validate = pytest.importorskip("kubernetes_validate")

PACKAGING = Path(__file__).parents[2] / "packaging"
FOLDERS = ("scaler", "daemon")
VERSIONS = ("1.30", "1.33")
FOREIGN = {"ServiceMonitor": {"selector", "endpoints"}, "ScaledObject": {"scaleTargetRef", "triggers"}}
"""Kinds of other projects, whose schemas no package carries: what their `spec` must have."""


def documents(*folders):
    for folder in folders:
        for path in sorted((PACKAGING / "kubernetes" / folder).glob("*.yaml")):
            for document in yaml.safe_load_all(path.read_text()):
                yield path, document


def of_kind(kind):
    return [each for _, each in documents(*FOLDERS, "example") if each["kind"] == kind]


def pods():
    return [
        each["spec"]["template"]["spec"] for kind in ("Deployment", "DaemonSet") for each in of_kind(kind)
    ]


@pytest.mark.parametrize("version", VERSIONS)
def test_every_manifest_fits_the_published_schema_strictly(version):
    checked = 0
    for path, document in documents(*FOLDERS, "example"):
        if document["kind"] == "Kustomization":
            continue
        if needed := FOREIGN.get(document["kind"]):
            assert needed <= set(document["spec"]), path
            continue
        kubernetes_validate.validate(document, version, strict=True)
        checked += 1
    assert checked == 10


def test_the_check_finds_what_is_wrong():
    (deployment,) = of_kind("Deployment")
    deployment["spec"]["template"]["spec"]["containers"][0]["readOnlyRoot"] = True
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, VERSIONS[0], strict=True)


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_kustomization_names_every_file_of_its_folder(folder):
    home = PACKAGING / "kubernetes" / folder
    listed = yaml.safe_load((home / "kustomization.yaml").read_text())["resources"]
    assert sorted([*listed, "kustomization.yaml"]) == sorted(path.name for path in home.iterdir())


def test_pods_have_the_least_privilege():
    for pod in pods():
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            security = container["securityContext"]
            assert security["readOnlyRootFilesystem"] is True
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"]["drop"] == ["ALL"]
            assert security["capabilities"].get("add", []) in ([], ["NET_ADMIN"])
            assert {"livenessProbe", "startupProbe", "resources"} <= set(container)
    scaler, _ = pods()
    assert scaler["securityContext"]["runAsNonRoot"] is True
    assert "add" not in scaler["containers"][0]["securityContext"]["capabilities"]


def test_selectors_meet_the_pods_and_ports():
    (deployment,), (service,) = of_kind("Deployment"), of_kind("Service")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    ports = {each["name"] for each in deployment["spec"]["template"]["spec"]["containers"][0]["ports"]}
    for selector in (
        service["spec"]["selector"],
        deployment["spec"]["selector"]["matchLabels"],
        of_kind("PodDisruptionBudget")[0]["spec"]["selector"]["matchLabels"],
        of_kind("NetworkPolicy")[0]["spec"]["podSelector"]["matchLabels"],
    ):
        assert selector.items() <= labels.items()
    assert {each["targetPort"] for each in service["spec"]["ports"]} <= ports
    (monitor,) = of_kind("ServiceMonitor")
    assert monitor["spec"]["endpoints"][0]["port"] in ports


def test_the_command_line_of_the_scaler_is_one():
    pytest.importorskip("grpc")
    from quantum_control.fleet.keda import command

    (deployment,) = of_kind("Deployment")
    name, *rest = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    assert name == "keda"
    command.make_context("keda", rest)


def test_the_trigger_of_the_example_is_one():
    (example,) = of_kind("ScaledObject")
    metadata = example["spec"]["triggers"][0]["metadata"]
    target = Target.of("default", "web", metadata, {"http://prometheus:9090": None})
    assert target.largest == example["spec"]["maxReplicaCount"]
    assert target.law.delay == 4


def test_the_configuration_of_the_daemon_is_one(tmp_path):
    (config,) = of_kind("ConfigMap")
    path = tmp_path / "config.toml"
    path.write_text(config["data"]["config.toml"])
    found = read_config(path)
    assert isinstance(found, Config)
    assert [each.mode for each in found.resources.values()] == ["shadow"]


def test_the_page_names_what_is_to_be_changed_before_they_are_applied():
    page = (PACKAGING.parent / "docs" / "keda.md").read_text()
    (deployment,), (policy,) = of_kind("Deployment"), of_kind("NetworkPolicy")
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    assert f"`image: {container['image']}`" in page
    (server,) = (each for each in container["args"] if each.startswith("--prometheus="))
    assert f"`{server.partition('://')[2]}`" in page
    for namespace in re.findall(r"'kubernetes.io/metadata.name': '(.+?)'", str(policy)):
        assert f"`{namespace}`" in page


def test_the_container_file_copies_what_is_there_and_runs_as_nobody():
    text = re.sub(r"\\\n", " ", (PACKAGING / "Containerfile").read_text())
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#")]
    known = {"FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "ENTRYPOINT", "CMD"}
    assert {word for word, _ in lines} <= known
    for word, rest in lines:
        if word == "COPY" and not rest.startswith("--from"):
            for source in shlex.split(rest)[:-1]:
                assert (PACKAGING.parent / source).exists(), source
    assert [rest for word, rest in lines if word == "USER"] == ["65532:65532"]
