"""Looks at rendered manifests beyond what a schema can: what one of them names, another has.

    kubectl kustomize deploy/kubernetes/base | python3 deploy/kubernetes/check.py

Needs PyYAML. Prints what is wrong, a line each, and ends with 1; else with 0.
"""

import sys

import yaml

# What the user makes: docs/containers.md says how.
GIVEN = {("Secret", "srnas-token")}
RUNNING = {"StatefulSet", "Deployment", "Job"}


def matches(selector, labels):
    return bool(selector) and all(labels.get(key) == value for key, value in selector.items())


def check(documents):
    """Sentences that say what does not fit."""
    named = GIVEN | {(d["kind"], d["metadata"]["name"]) for d in documents}
    pods = {
        (d["kind"], d["metadata"]["name"]): d["spec"]["template"] for d in documents if d["kind"] in RUNNING
    }
    if not any(name == "srnas-learner" for _, name in pods) or not any(name == "srnas-actor" for _, name in pods):
        yield "there is no learner, or there are no actors"

    def ports(labels):
        """Names and numbers of the ports of the pods that have all of these labels."""
        found = {}
        for template in pods.values():
            if matches(labels, template["metadata"]["labels"]):
                for container in template["spec"]["containers"]:
                    found |= {port["name"]: port["containerPort"] for port in container.get("ports", [])}
        return found

    for (kind, name), template in pods.items():
        where, spec = f"{kind} {name}", template["spec"]
        secure = spec.get("securityContext", {})
        if not secure.get("runAsNonRoot") or secure.get("seccompProfile", {}).get("type") != "RuntimeDefault":
            yield f"{where}: its pods may run as root, or without a seccomp profile"
        claims = {claim["metadata"]["name"] for d in documents if d["metadata"]["name"] == name
                  for claim in d["spec"].get("volumeClaimTemplates", [])}
        volumes = claims | {volume["name"] for volume in spec.get("volumes", [])}
        for volume in spec.get("volumes", []):
            if "secret" in volume:
                if ("Secret", volume["secret"]["secretName"]) not in named:
                    yield f"{where}: there is no Secret {volume['secret']['secretName']}"
                if volume["secret"].get("defaultMode") not in (0o400, 0o440):
                    yield f"{where}: others may read {volume['secret']['secretName']}"
            if "persistentVolumeClaim" in volume:
                claim = volume["persistentVolumeClaim"]["claimName"]
                if ("PersistentVolumeClaim", claim) not in named:
                    yield f"{where}: there is no claim {claim}"
        for container in spec["containers"]:
            where = f"{kind} {name}, container {container['name']}"
            secure = container.get("securityContext", {})
            if (secure.get("allowPrivilegeEscalation") is not False or not secure.get("readOnlyRootFilesystem")
                    or secure.get("capabilities", {}).get("drop") != ["ALL"]):
                yield f"{where}: it may do more than it needs"
            resources = container.get("resources", {})
            if "memory" not in resources.get("limits", {}) or "cpu" not in resources.get("requests", {}):
                yield f"{where}: it has no limit of memory, or asks for no processor"
            for mount in container.get("volumeMounts", []):
                if mount["name"] not in volumes:
                    yield f"{where}: there is no volume {mount['name']}"
            variables = {variable["name"] for variable in container.get("env", [])}
            for source in container.get("envFrom", []):
                reference = ("ConfigMap", source["configMapRef"]["name"])
                if reference not in named:
                    yield f"{where}: there is no ConfigMap {reference[1]}"
                variables |= {key for d in documents if (d["kind"], d["metadata"]["name"]) == reference
                              for key in d["data"]}
            for argument in container.get("args", []):
                # Kubernetes puts these in; `$(…)` of the script would be the shell's.
                for part in argument.split("$(")[1:]:
                    if part.split(")")[0] not in variables:
                        yield f"{where}: nothing says what $({part.split(')')[0]}) is"
            own = {port["name"] for port in container.get("ports", [])}
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                if probe in container and container[probe]["httpGet"]["port"] not in own:
                    yield f"{where}: {probe} asks at a port that it does not have"

    for document in documents:
        kind, name, spec = document["kind"], document["metadata"]["name"], document.get("spec", {})
        where = f"{kind} {name}"
        if kind in ("StatefulSet", "Deployment"):
            if not matches(spec["selector"]["matchLabels"], spec["template"]["metadata"]["labels"]):
                yield f"{where}: its selector does not fit its own pods"
            if kind == "StatefulSet" and ("Service", spec["serviceName"]) not in named:
                yield f"{where}: there is no Service {spec['serviceName']}"
        if kind == "Service":
            there = ports(spec["selector"])
            for port in spec["ports"]:
                if there.get(port["name"]) != port["port"]:
                    yield f"{where}: no pod of it has the port {port['name']} {port['port']}"
        if kind == "PodDisruptionBudget" and not any(
                matches(spec["selector"]["matchLabels"], t["metadata"]["labels"]) for t in pods.values()):
            yield f"{where}: it fits no pods"
        if kind == "HorizontalPodAutoscaler":
            target = (spec["scaleTargetRef"]["kind"], spec["scaleTargetRef"]["name"])
            if target not in named:
                yield f"{where}: there is no {' '.join(target)}"
            for d in documents:
                if (d["kind"], d["metadata"]["name"]) == target and "replicas" in d["spec"]:
                    yield f"{where}: each apply would set the number of {' '.join(target)} anew"
            for metric in spec["metrics"]:
                described = metric["object"]["describedObject"]
                if (described["kind"], described["name"]) not in named:
                    yield f"{where}: there is no {described['kind']} {described['name']}"
        if kind == "NetworkPolicy":
            mine = ports(spec["podSelector"]["matchLabels"])
            for rule in spec.get("ingress", []):
                for port in rule["ports"]:
                    if port["port"] not in mine:
                        yield f"{where}: its pods have no port {port['port']}"
            for rule in spec.get("egress", []):
                for peer in rule.get("to", []):
                    for port in rule["ports"]:
                        if port["port"] not in ports(peer["podSelector"]["matchLabels"]):
                            yield f"{where}: who is gone to has no port {port['port']}"


def main():
    wrong = list(check([d for d in yaml.safe_load_all(sys.stdin) if d]))
    for sentence in wrong:
        print(sentence)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
