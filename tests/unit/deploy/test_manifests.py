"""The manifests: valid for the last Kubernetes versions, hardened, and in step with the settings and the image."""

from __future__ import annotations

import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from services.__main__ import SERVICES
from services.webhook_gateway.bodies import MAX_BODY
from shared.settings import PREFIX, Settings

REPOSITORY = Path(__file__).parents[3]
BASE = REPOSITORY / "deploy/k8s/base"
TEMPLATE = "secret.example.yaml"
VERSIONS = ("1.35.0", "1.36.0", "1.37.0")
FILES = sorted(path for path in BASE.glob("*.yaml") if path.name != "kustomization.yaml")

Manifest = dict[str, Any]


def load(path: Path) -> list[Manifest]:
    return list(yaml.safe_load_all(path.read_text()))


MANIFESTS = [manifest for path in FILES for manifest in load(path)]
KUSTOMIZATION = load(BASE / "kustomization.yaml")[0]
PODS = {m["metadata"]["name"]: m["spec"]["template"] for m in MANIFESTS if m["kind"] in ("Deployment", "Job")}


def of_kind(kind: str) -> list[Manifest]:
    return [manifest for manifest in MANIFESTS if manifest["kind"] == kind]


def container(pod: Manifest) -> Manifest:
    [only] = pod["spec"]["containers"]
    return only


every_pod = pytest.mark.parametrize("pod", PODS.values(), ids=PODS)
every_service = pytest.mark.parametrize("name", SERVICES)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_manifest_is_valid(path: Path, version: str) -> None:
    for manifest in load(path):
        kubernetes_validate.validate(manifest, version, strict=True)


def test_kustomization_lists_every_file_but_the_template_of_secrets() -> None:
    assert sorted(KUSTOMIZATION["resources"]) == [path.name for path in FILES if path.name != TEMPLATE]


def test_image_has_the_version_of_the_distribution() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    [image] = KUSTOMIZATION["images"]
    assert (image["name"], image["newTag"]) == (project["name"], project["version"])


def test_there_is_a_deployment_for_every_service_and_a_job_that_migrates() -> None:
    assert {m["metadata"]["name"] for m in of_kind("Deployment")} == set(SERVICES)
    assert container(PODS["migrate"])["args"] == ["migrate"]


@every_service
def test_service_is_chosen_by_its_argument(name: str) -> None:
    assert container(PODS[name])["args"] == [name]


@every_pod
def test_pod_is_restricted(pod: Manifest) -> None:
    spec = pod["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] >= 10_000
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container(pod)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not {"hostNetwork", "hostPID", "hostIPC", "volumes"} & spec.keys()


@every_pod
def test_names_of_kubernetes_services_become_no_settings(pod: Manifest) -> None:
    assert pod["spec"]["enableServiceLinks"] is False


@every_pod
def test_pod_states_what_it_needs(pod: Manifest) -> None:
    resources = container(pod)["resources"]
    assert resources["requests"].keys() == {"cpu", "memory"}
    assert "memory" in resources["limits"]


@every_service
def test_probes_ask_what_they_are_for(name: str) -> None:
    probes = {kind: container(PODS[name])[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
    assert {kind: probe["path"] for kind, probe in probes.items()} == {
        "startup": "/livez",
        "liveness": "/livez",
        "readiness": "/readyz",
    }
    [settings] = of_kind("ConfigMap")
    ports = {port["name"]: port["containerPort"] for port in container(PODS[name])["ports"]}
    assert {ports[probe["port"]] for probe in probes.values()} == {int(settings["data"]["TILLSTREAM_PROBE_PORT"])}


def test_no_service_leads_to_probes_or_metrics() -> None:
    assert {port["targetPort"] for service in of_kind("Service") for port in service["spec"]["ports"]} == {"http"}


def test_ingress_takes_no_body_that_the_gateway_would_refuse() -> None:
    [ingress] = of_kind("Ingress")
    limits = {name.rpartition("/")[2]: value for name, value in ingress["metadata"]["annotations"].items()}
    assert limits["proxy-body-size"] == f"{MAX_BODY // 2**20}m"
    assert int(limits["limit-connections"]) > 0


@every_service
def test_service_has_time_to_end_its_work(name: str) -> None:
    seconds = container(PODS[name])["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert PODS[name]["spec"]["terminationGracePeriodSeconds"] == 40
    assert 0 < seconds <= 10


@pytest.mark.parametrize("deployment", of_kind("Deployment"), ids=lambda m: m["metadata"]["name"])
def test_selectors_match_their_pods(deployment: Manifest) -> None:
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_services_lead_to_pods() -> None:
    labels = [pod["metadata"]["labels"] for pod in PODS.values()]
    for service in of_kind("Service"):
        assert any(service["spec"]["selector"].items() <= some.items() for some in labels)
        assert service["spec"].get("type", "ClusterIP") == "ClusterIP"


def test_only_webhooks_are_reached_from_outside() -> None:
    [ingress] = of_kind("Ingress")
    paths = [path for rule in ingress["spec"]["rules"] for path in rule["http"]["paths"]]
    assert "defaultBackend" not in ingress["spec"]
    assert [(path["path"], path["backend"]["service"]["name"]) for path in paths] == [
        ("/webhooks/stripe/", "webhook-gateway")
    ]


def test_settings_and_secrets_are_those_that_pods_read() -> None:
    names = {manifest["metadata"]["name"] for manifest in [*of_kind("ConfigMap"), *of_kind("Secret")]}
    for pod in PODS.values():
        assert "env" not in container(pod)
        sources = container(pod)["envFrom"]
        assert {reference["name"] for source in sources for reference in source.values()} == names


def model_of(service: str) -> type[Settings]:
    """The settings class of a service's package."""
    module = import_module(SERVICES[service].removesuffix(".app") + ".settings")
    [model] = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Settings) and value.__module__ == module.__name__
    ]
    return model


def variables() -> set[str]:
    """Names of all variables that the manifests set."""
    [settings], [secrets] = of_kind("ConfigMap"), of_kind("Secret")
    assert all(isinstance(value, str) for value in settings["data"].values())
    return settings["data"].keys() | secrets["stringData"].keys()


def test_every_variable_is_a_setting_of_some_service() -> None:
    known = {PREFIX + name.upper() for service in SERVICES for name in model_of(service).model_fields}
    assert variables() <= known


@every_service
def test_every_setting_that_is_required_is_given(name: str) -> None:
    fields = model_of(name).model_fields
    assert {PREFIX + field.upper() for field, info in fields.items() if info.is_required()} <= variables()


def test_secrets_are_not_among_the_settings() -> None:
    [settings] = of_kind("ConfigMap")
    secret = {
        PREFIX + name.upper()
        for service in SERVICES
        for name, info in model_of(service).model_fields.items()
        if "Secret" in str(info.annotation)
    }
    assert secret
    assert not secret & settings["data"].keys()
