"""What must be true of docker-compose.yml and deploy/, beyond being well-formed. See tests/deploy."""

import pathlib
import re
import sys

import yaml

# An abort gives what runs back within this, after the grace.
ABORT_S = 10
PASSING = {"demo"}  # runs until it is stopped, and answers to nobody

wrong = []


def check(holds, what):
    if not holds:
        wrong.append(what)


def text(path):
    return pathlib.Path(path).read_text()


def seconds(words):
    number, unit = re.fullmatch(r"(\d+)(s|m|min|h)?", str(words)).groups()
    return int(number) * {None: 1, "s": 1, "m": 60, "min": 60, "h": 3600}[unit]


def grace(path):
    return seconds(re.search(r'^grace = "(.*)"$', text(path), re.M)[1])


def pinned(image):
    """A tag that says a version, down to the last number; defaults of variables count."""
    image = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", image)
    return re.search(r":v?\d+\.\d+\.\d+(-[\w.]+)?$", image)


def compose():
    stack = yaml.safe_load(text("docker-compose.yml"))
    for name, service in stack["services"].items():
        where = f"docker-compose.yml, {name}"
        check(pinned(service["image"]), f"{where}: {service['image']} is not pinned")
        check(service.get("read_only"), f"{where}: its file system can be written to")
        check(service.get("cap_drop") == ["ALL"], f"{where}: it keeps capabilities")
        if service["image"].startswith("${HAUL_IMAGE"):
            check("ports" not in service, f"{where}: publishes a port, so it cannot be scaled")
        else:
            check(service.get("user", "0").split(":")[0] != "0", f"{where}: runs as root")
        check("container_name" not in service, f"{where}: has a name, so it cannot be scaled")
        if service.get("restart") != "no" and name not in PASSING:
            check("healthcheck" in service, f"{where}: has no health check")
        for other, how in service.get("depends_on", {}).items():
            healthy = how["condition"] == "service_healthy"
            check(healthy, f"{where}: does not wait until {other} is healthy")
            check(other in stack["services"], f"{where}: waits for {other}, which is not there")
        for secret in service.get("secrets", []):
            source = secret if isinstance(secret, str) else secret["source"]
            check(source in stack["secrets"], f"{where}: secret {source} is not there")
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("./dashboards"):
                continue  # of another part of this repository
            there = source in stack["volumes"] or pathlib.Path(source).exists()
            check(there, f"{where}: {source} is not there")
    drained = seconds(stack["services"]["worker"]["stop_grace_period"])
    needed = grace("deploy/compose/haul.toml") + ABORT_S
    check(drained > needed, "docker-compose.yml: a worker is killed while it drains")
    for secret in stack["secrets"].values():
        name = secret["file"].rsplit("/", 1)[1]
        check(name in text("deploy/secrets"), f"deploy/secrets does not make {name}")
    names = set(re.findall(r"\$\{(HAUL_\w+)", text("docker-compose.yml")))
    told = set(re.findall(r"^#(HAUL_\w+)=", text(".env.example"), re.M))
    check(names == told, f".env.example and docker-compose.yml differ in {sorted(names ^ told)}")
    return len(stack["services"])


def image():
    recipe = text("Dockerfile")
    versions = dict(re.findall(r"^ARG (\w+)=(.*)$", recipe, re.M))
    for line in re.findall(r"^FROM (\S+)", recipe, re.M):
        for name, value in versions.items():
            line = line.replace("${%s}" % name, value)
        check(re.search(r":\d+\.\d+", line), f"Dockerfile: {line} is not pinned")
    check(re.search(r"^USER [1-9]", recipe, re.M), "Dockerfile: runs as root")
    package = re.search(r'^version = "(.*)"$', text("Cargo.toml"), re.M)[1]
    for path in ["docker-compose.yml", ".env.example"]:
        check(f"haul:{package}" in text(path), f"{path}: the image is not of version {package}")
    check(f"newTag: {package}" in text("deploy/kubernetes/kustomization.yaml"), "another image tag")


def systemd():
    unit = text("deploy/systemd/haul-worker@.service")
    stop = seconds(re.search(r"^TimeoutStopSec=(.*)$", unit, re.M)[1])
    check(stop > 30 + ABORT_S, "haul-worker@.service: a worker is killed while it drains")


def kubernetes():
    folder = pathlib.Path("deploy/kubernetes")
    listed = yaml.safe_load(text(folder / "kustomization.yaml"))["resources"]
    objects = {}
    for path in sorted(folder.glob("*.yaml")):
        for thing in yaml.safe_load_all(path.read_text()):
            for key in ["apiVersion", "kind"]:
                check(key in thing, f"{path}: no {key}")
            if path.name in listed:
                objects[thing["kind"], thing["metadata"]["name"]] = thing
            if thing["kind"] == "ScaledObject":
                scaled(path, thing)
    check(objects, "kustomization.yaml lists nothing")
    for (kind, name), thing in objects.items():
        if kind == "Deployment":
            deployment(name, thing)
        elif kind in ("PodDisruptionBudget", "Service"):
            selector = thing["spec"]["selector"]
            wanted = selector.get("matchLabels", selector)
            fits = [
                other
                for (other_kind, other), it in objects.items()
                if other_kind == "Deployment"
                and wanted.items() <= it["spec"]["template"]["metadata"]["labels"].items()
            ]
            check(len(fits) == 1, f"{kind} {name} is for {fits}")
    return len(objects)


def deployment(name, thing):
    spec = thing["spec"]
    pod = spec["template"]["spec"]
    labels = spec["template"]["metadata"]["labels"]
    check(spec["selector"]["matchLabels"] == labels, f"{name}: its selector is not its labels")
    check(pod["securityContext"]["runAsNonRoot"], f"{name}: may run as root")
    volumes = {volume["name"] for volume in pod["volumes"]}
    for container in pod["containers"]:
        security = container["securityContext"]
        check(security["readOnlyRootFilesystem"], f"{name}: writes to its image")
        check(security["capabilities"]["drop"] == ["ALL"], f"{name}: keeps capabilities")
        check("limits" in container["resources"], f"{name}: has no limits")
        check({it["name"] for it in container["volumeMounts"]} == volumes, f"{name}: volumes")
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        listen = container["args"][container["args"].index("--listen") + 1]
        check(listen.endswith(f":{ports['metrics']}"), f"{name}: listens elsewhere")
        for probe in ["livenessProbe", "readinessProbe"]:
            port = container[probe]["httpGet"]["port"]
            check(port in ports, f"{name}: {probe} asks port {port}")
    if name == "haul-worker":
        pause = int(pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
        needed = grace("deploy/kubernetes/haul.toml") + pause + ABORT_S
        check(pod["terminationGracePeriodSeconds"] > needed, f"{name}: is killed while it drains")


def scaled(path, thing):
    check(thing["spec"]["scaleTargetRef"]["name"] == "haul-worker", f"{path}: scales another")
    for trigger in thing["spec"]["triggers"]:
        if trigger["type"] == "rabbitmq":
            pattern = trigger["metadata"]["queueName"]
            for lane in ["critical", "high", "normal", "low"]:
                check(re.search(pattern, f"haul.q.default.{lane}"), f"{path}: not lane {lane}")
            for other in ["haul.dead.default", "haul.delay.3", "haul.q.default2.low"]:
                check(not re.search(pattern, other), f"{path}: counts {other}")
        for metric in re.findall(r"haul_\w+", trigger["metadata"].get("query", "")):
            known = any(f'"{metric}"' in it.read_text() for it in metrics)
            check(known or not metrics, f"{path}: there is no metric {metric}")


metrics = sorted(pathlib.Path("common/src").glob("metrics/**/*.rs"))
services, things = compose(), kubernetes()
image()
systemd()
for what in wrong:
    print(what, file=sys.stderr)
if wrong:
    sys.exit(1)
print(f"docker-compose.yml: {services} services; deploy/kubernetes: {things} objects; all as they say")
