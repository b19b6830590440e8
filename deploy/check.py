#!/usr/bin/env python3
"""That what deploy/ says of the program is true of it, and what it says to Kubernetes, Compose and nginx is understood there.

    deploy/check.py target/debug/pointillist         checks; `make test` runs it
    deploy/check.py --write                          copies nginx-replicas.conf into the manifest that carries it

Flags and settings are looked for in the program's help and schema, paths and metrics are asked of a server that this starts, manifests are held against
Kubernetes' schemas and the Compose specification, and names, ports and times against each other. No cluster and no Docker is needed, and none is asked:
that a rollout fails no request is not shown here.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import urllib.request

DEPLOY = pathlib.Path(__file__).parent
ROOT = DEPLOY.parent
PACKAGES = ["kubernetes-validate==1.37.0", "compose-spec==0.2.1", "PyYAML==6.0.4"]
NGINX = ["/usr/sbin/nginx", "/usr/local/bin/nginx", "/opt/homebrew/bin/nginx"]
# Of other programs, in files that name ours.
FOREIGN = {"redis", "nginx", "store"}

try:
    import compose_spec
    import kubernetes_validate
    import yaml
except ImportError:
    found = subprocess.run([ROOT / "scripts" / "python-with", "deploy", *PACKAGES], capture_output=True, text=True)
    if found.returncode != 0:
        print(f"SKIPPED: deploy/check.py: its packages cannot be installed: {found.stderr.strip()}")
        sys.exit(0)
    os.execv(found.stdout.strip(), [found.stdout.strip(), *sys.argv])

faults = []


def expect(is_so, what):
    if not is_so:
        faults.append(what)


def run(program, *arguments, env=None):
    return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, env={**os.environ, **(env or {})})


def seconds(text):
    number, unit = re.fullmatch(r"(\d+)(ms|s|m)?", text).groups()
    return int(number) * {"ms": 0.001, "s": 1, "m": 60, None: 1}[unit]


def nginx_of_manifest(conf):
    """The configuration for Kubernetes: every address behind one name, asked for again every few seconds, and a port that needs no rights."""
    upstream = re.search(r"upstream pointillist \{.*?\n\}\n", conf, re.S).group()
    servers = re.findall(r"    server replica-\d:.*\n", upstream)
    one = "    server pointillist-replicas.default.svc.cluster.local:8080 resolve max_fails=2 fail_timeout=5s;\n"
    changed = upstream.replace("".join(servers), one).replace("upstream pointillist {\n", "upstream pointillist {\n    zone replicas 256k;\n")
    # A replica's name says nothing here.
    return conf.replace(upstream, "resolver kube-dns.kube-system.svc.cluster.local valid=5s;\n" + changed).replace("listen 80;", "listen 8080;")


def settings(schema, at=None, path=()):
    """The paths of all settings: {"cache.size", ...}, and those whose keys are anybody's."""
    node = at or schema
    while "$ref" in node or "anyOf" in node:
        node = schema["$defs"][node["$ref"].rsplit("/", 1)[1]] if "$ref" in node else next(one for one in node["anyOf"] if one.get("type") != "null")
    if "properties" not in node:
        return {".".join(path)}
    return set().union(*(settings(schema, child, (*path, name)) for name, child in node["properties"].items()))


class Program:
    def __init__(self, path):
        self.path = path
        self.helps = {}
        self.schema = json.loads(run(path, "config", "schema").stdout)
        self.variables = {f"POINTILLIST_{name.upper().replace('.', '_')}" for name in settings(self.schema)}

    def check_command(self, words, where):
        subcommand = words[0]
        if subcommand not in self.helps:
            said = run(self.path, subcommand, "--help")
            self.helps[subcommand] = said.stdout if said.returncode == 0 else None
        if self.helps[subcommand] is None:
            return expect(False, f"{where}: there is no 'pointillist {subcommand}'")
        known = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", self.helps[subcommand]))
        for flag in (word.split("=")[0] for word in words[1:] if word.startswith("-")):
            expect(flag in known, f"{where}: 'pointillist {subcommand}' has no {flag}")

    def check_variables(self, env, where):
        own = {name: str(value) for name, value in env.items() if name.startswith("POINTILLIST_")}
        for name in own:
            expect(name in self.variables, f"{where}: {name} is no setting")
        said = run(self.path, "config", "show", env=own)
        expect(said.returncode == 0, f"{where}: {said.stderr.strip()}")

    def check_config(self, text, where):
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            file.write(text)
            file.flush()
            said = run(self.path, "config", "show", file.name)
            expect(said.returncode == 0, f"{where}: {said.stderr.strip()}")


def check_kubernetes(program):
    documents = []
    for path in sorted((DEPLOY / "kubernetes").glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            where = f"{path.name}: {document['kind']} {document['metadata']['name']}"
            try:
                kubernetes_validate.validate(document, "1.34", strict=True)
            except Exception as wrong:  # whatever the schema's library calls it
                expect(False, f"{where}: {str(wrong).splitlines()[0]}")
            documents.append((where, document))

    def of(kind):
        return {document["metadata"]["name"]: document for _, document in documents if document["kind"] == kind}

    deployments, services, maps = of("Deployment"), of("Service"), of("ConfigMap")
    pods = {name: deployment["spec"]["template"] for name, deployment in deployments.items()}
    for name, deployment in deployments.items():
        labels = pods[name]["metadata"]["labels"]
        expect(deployment["spec"]["selector"]["matchLabels"].items() <= labels.items(), f"{name}: the selector selects other pods")
        spec = pods[name]["spec"]
        volumes = {volume["name"] for volume in spec.get("volumes", [])}
        for container in spec["containers"]:
            ports = {port["name"] for port in container["ports"]}
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                asked = container.get(probe, {})
                asked = asked.get("httpGet") or asked.get("tcpSocket")
                expect(asked is None or asked["port"] in ports, f"{name}: {probe} asks a port that is not there")
            for mount in container["volumeMounts"]:
                expect(mount["name"] in volumes, f"{name}: there is no volume {mount['name']}")
            for source in container.get("envFrom", []):
                expect(source["secretRef"].get("optional"), f"{name}: it needs a Secret that nothing makes")
        for volume in spec.get("volumes", []):
            expect("configMap" not in volume or volume["configMap"]["name"] in maps, f"{name}: there is no ConfigMap for volume {volume['name']}")
    for name, service in services.items():
        chosen = [pod for pod in pods.values() if service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()]
        expect(len(chosen) == 1, f"Service {name}: its selector chooses {len(chosen)} Deployments")
        named = {port["name"] for pod in chosen for container in pod["spec"]["containers"] for port in container["ports"]}
        expect({port["targetPort"] for port in service["spec"]["ports"]} <= named, f"Service {name}: no container has its port")
    for name, budget in of("PodDisruptionBudget").items():
        expect(any(budget["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items() for pod in pods.values()), f"PodDisruptionBudget {name} is for no pod")
    for name, scaler in of("HorizontalPodAutoscaler").items():
        expect(scaler["spec"]["scaleTargetRef"]["name"] in deployments, f"HorizontalPodAutoscaler {name}: there is no such Deployment")
        expect("replicas" not in deployments[scaler["spec"]["scaleTargetRef"]["name"]]["spec"], f"{name}: `replicas` and the autoscaler would fight")
    for name, ingress in of("Ingress").items():
        for path in ingress["spec"]["rules"][0]["http"]["paths"]:
            expect(path["backend"]["service"]["name"] in services, f"Ingress {name}: there is no such Service")

    replica = pods["pointillist"]["spec"]
    container = replica["containers"][0]
    program.check_command(container["args"], "kubernetes: pointillist")
    config_text = maps["pointillist"]["data"]["pointillist.yaml"]
    program.check_config(config_text, "kubernetes: the ConfigMap's pointillist.yaml")
    config = yaml.safe_load(config_text)
    expect(config["listen"].endswith(f":{container['ports'][0]['containerPort']}"), "kubernetes: the program listens at another port than its container has")
    expect(container["args"][-1] == f"{container['volumeMounts'][0]['mountPath']}/pointillist.yaml", "kubernetes: the configuration is mounted elsewhere")
    limits = config["limits"]
    stopping = container["lifecycle"]["preStop"]["sleep"]["seconds"] + seconds(limits["drain_notice"]) + seconds(limits["drain_timeout"])
    expect(replica["terminationGracePeriodSeconds"] > stopping, "kubernetes: a pod would be killed while it drains")
    rolling = deployments["pointillist"]["spec"]["strategy"]["rollingUpdate"]
    expect((rolling["maxUnavailable"], rolling["maxSurge"]) == (0, 1), "kubernetes: a rollout would take a replica before the next is ready")
    shared = re.fullmatch(r"redis://([\w-]+):(\d+)", config["cache"]["shared"])
    expect(shared and services.get(shared[1], {}).get("spec", {}).get("ports", [{}])[0].get("port") == int(shared[2]), "kubernetes: the shared cache is at no Service")
    hosts = {f"https://{rule['host']}" for ingress in of("Ingress").values() for rule in ingress["spec"]["rules"]}
    expect({config["public_url"]} == hosts, "kubernetes: public_url is not the Ingress's host")
    conf = maps["pointillist-nginx"]["data"]["default.conf"]
    expect(conf == nginx_of_manifest((DEPLOY / "nginx-replicas.conf").read_text()), "nginx.yaml carries another nginx-replicas.conf: deploy/check.py --write")
    expect("pointillist-replicas.default.svc" in conf and "pointillist-replicas" in services, "kubernetes: nginx asks a Service that is not there")
    paths = {container[probe]["httpGet"]["path"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")}
    paths.add(pods["pointillist"]["metadata"]["annotations"]["prometheus.io/path"])
    return paths


def check_compose(program):
    path = DEPLOY / "compose.yaml"
    compose = yaml.safe_load(path.read_text())
    try:
        compose_spec.ComposeSpecification.model_validate({name: value for name, value in compose.items() if not name.startswith("x-")})
    except ValueError as wrong:
        expect(False, f"compose.yaml: {wrong}")
    services = compose["services"]
    conf = (DEPLOY / "nginx-replicas.conf").read_text()
    for name, service in services.items():
        for needed in service.get("depends_on", []):
            expect(needed in services, f"compose.yaml: {name} waits for {needed}, which is not there")
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            expect(source.startswith(("/", "./load")) or source in compose["volumes"] or (DEPLOY / source).exists(), f"compose.yaml: {name}: there is no {source}")
        if name in FOREIGN:
            continue
        program.check_command(service["command"], f"compose.yaml: {name}")
        program.check_variables(service["environment"], f"compose.yaml: {name}")
        expect((DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).exists(), f"compose.yaml: {name}: there is no such Dockerfile")
    upstream = re.findall(r"server (replica-\d):(\d+)", conf)
    expect([name for name, _ in upstream] == [name for name in services if name.startswith("replica-")], "nginx-replicas.conf asks other replicas than compose.yaml has")
    replica = services["replica-1"]
    expect({port for _, port in upstream} == {replica["environment"]["POINTILLIST_LISTEN"].rsplit(":", 1)[1]}, "nginx-replicas.conf asks another port")
    expect(services["load"]["command"][-1] == replica["command"][-1], "compose.yaml: what is loaded is not what is served")
    store = re.fullmatch(r"http://(\w+):(\d+)", replica["environment"]["AWS_ENDPOINT"])
    expect(store[1] in services and f"-s3.port={store[2]}" in services[store[1]]["command"], "compose.yaml: the store is elsewhere")
    shared = re.fullmatch(r"redis://(\w+):6379", replica["environment"]["POINTILLIST_CACHE_SHARED"])
    expect(shared and shared[1] in services, "compose.yaml: the shared cache is elsewhere")
    drained = sum(seconds(limit) for limit in ("500ms", "10s"))
    expect(seconds(replica["stop_grace_period"]) > drained, "compose.yaml: a replica would be killed while it drains")


def check_nginx():
    nginx = next((path for path in NGINX if os.path.exists(path)), None)
    if nginx is None:
        print("SKIPPED: deploy/check.py: nginx is not installed, so its configurations are not parsed")
        return
    conf = (DEPLOY / "nginx-replicas.conf").read_text()
    # Names are looked up when nginx starts, `resolve` is too new for Debian's, and the cache lies where only a container may write.
    in_cluster = re.sub(r"server pointillist-replicas\S+ resolve", "server 127.0.0.1:8080", nginx_of_manifest(conf)).replace("kube-dns.kube-system.svc.cluster.local", "127.0.0.1")
    for name, text in (("nginx-replicas.conf", re.sub(r"server replica-(\d):8080", r"server 127.0.0.\1:8080", conf)), ("kubernetes/nginx.yaml", in_cluster)):
        with tempfile.TemporaryDirectory() as folder:
            site = text.replace("/var/cache/nginx/pointillist", f"{folder}/cache")
            temporary = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
            main = pathlib.Path(folder, "nginx.conf")
            main.write_text(f"pid {folder}/pid; error_log stderr; events {{}} http {{ access_log off; {temporary} {site} }}")
            said = run(nginx, "-t", "-c", main, "-e", "stderr")
            expect(said.returncode == 0, f"{name}: {said.stderr.strip()}")


def check_server(program, paths):
    """Paths and metrics, asked of a server over the sample."""
    texts = {path.name: path.read_text() for path in [*DEPLOY.glob("kubernetes/*.yaml"), DEPLOY / "grafana.json", DEPLOY / "compose.yaml"]}
    with tempfile.TemporaryDirectory() as folder:
        dataset = pathlib.Path(folder) / "towers"
        made = run(program.path, "ingest", ROOT / "fixtures" / "towers-1000.csv", "-o", dataset)
        assert made.returncode == 0, made.stderr
        server = subprocess.Popen([program.path, "serve", dataset, "--listen", "127.0.0.1:0", "--backend", "cpu"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            base = server.stdout.readline().strip().removeprefix("listening on ")
            urllib.request.urlopen(f"{base}/towers/0/0/0.png").read()
            for path in sorted(paths):
                try:
                    urllib.request.urlopen(base + path).read()
                except OSError as wrong:
                    expect(False, f"{path}: {wrong}")
            metrics = urllib.request.urlopen(f"{base}/metrics").read().decode()
        finally:
            server.terminate()
            server.wait()
            server.stdout.close()
    # A counter that never counted has no line; where the program has its name, in quotes and without its prefix, it would.
    source = "".join(path.read_text() for path in (ROOT / "src").rglob("*.rs"))
    for name, text in texts.items():
        for metric, labels in re.findall(r"(?<![\w./-])(pointillist_[a-z_]+)(\{[^}]*\})?", text):
            family = re.sub(r"_(bucket|sum|count)$", "", metric)
            there = f"\n# TYPE {family} " in metrics or re.search(rf'"{family.removeprefix("pointillist_")}"', source)
            expect(there, f"{name}: there is no metric {metric}")
            priority = re.search(r'priority="(\w+)"', labels or "")
            expect(not priority or f'pointillist_queue_depth{{priority="{priority[1]}"}}' in metrics, f"{name}: no queue has priority {priority and priority[1]}")


def check_units(program):
    """The unit and the Dockerfile, which name subcommands and variables too."""
    unit, docker = (DEPLOY / "pointillist.service").read_text(), (DEPLOY / "Dockerfile").read_text()
    for command in re.findall(r"^Exec\w+=/usr/local/bin/pointillist (.*)$", unit, re.M):
        program.check_command(command.split(), "pointillist.service")
    program.check_variables(dict(re.findall(r"(POINTILLIST_\w+)=(\S+)", docker)), "Dockerfile")
    program.check_config((DEPLOY / "pointillist.yaml").read_text(), "pointillist.yaml")


def write_manifest():
    path = DEPLOY / "kubernetes" / "nginx.yaml"
    text, conf = path.read_text(), nginx_of_manifest((DEPLOY / "nginx-replicas.conf").read_text())
    indented = "".join(f"    {line}" if line.strip() else line for line in conf.splitlines(keepends=True))
    path.write_text(re.sub(r"(  default\.conf: \|\n).*?(?=---\n)", lambda found: found[1] + indented, text, count=1, flags=re.S))


def main():
    if sys.argv[1:] == ["--write"]:
        return write_manifest()
    program = Program(pathlib.Path(sys.argv[1]).resolve())
    paths = check_kubernetes(program)
    check_compose(program)
    check_units(program)
    check_nginx()
    check_server(program, paths)
    if faults:
        sys.exit("deploy/check.py:\n" + "\n".join(f"  {fault}" for fault in faults))
    print("deploy/: every flag, setting, path, port and metric is the program's, and the manifests are valid")


if __name__ == "__main__":
    main()
