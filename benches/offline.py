#!/usr/bin/env python3
"""How long list, diff, lint and explain take on generated clusters, from a cold process and files on disk.

    cargo build --release && benches/offline.py [--binary FILE] [--runs N] [WORKLOADS ...]

Prints a Markdown table: the best of the runs' wall time, the processors' time, the peak of memory, the lines of the
answer, and the ratio to a limit that is measured in the same run: libyaml (PyYAML's CSafeLoader, one core) reading the
same files and nothing else. Without PyYAML (Debian: python3-yaml) the ratio is left out.

Each namespace has 25 workloads and 7 policies (10 workloads below 500): default-deny, DNS, its own namespace by a named
port, monitoring, to and from databases by labels of namespaces, and a block outside with an exception. In the second
set one namespace in ten has one more rule.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))


def policy(namespace, name, spec):
    return (f"apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: {name}\n"
            f"  namespace: {namespace}\nspec:\n{spec}")


def deployment(namespace, number):
    role = "db" if number % 4 == 0 else "web"
    return f"""apiVersion: apps/v1
kind: Deployment
metadata:
  name: w{number}
  namespace: {namespace}
spec:
  replicas: 2
  selector:
    matchLabels: {{app: w{number}}}
  template:
    metadata:
      labels: {{app: w{number}, role: {role}}}
    spec:
      containers:
      - name: main
        image: example
        ports:
        - {{name: http, containerPort: {8000 + number % 10}}}
        - {{name: metrics, containerPort: 9090}}"""


def peer(labels, pods=""):
    return f"    - namespaceSelector:\n        matchLabels: {labels}\n{pods}"


def policies(namespace, number, is_changed):
    name = "{kubernetes.io/metadata.name: %s}"
    ports = "    ports:\n    - {protocol: TCP, port: %s}"
    ranged = "    ports:\n    - {protocol: TCP, port: 8000, endPort: 8009}"
    own = "  - %s:\n    - podSelector: {}\n" + ports % "http"
    all_pods = "  podSelector: {}\n  policyTypes: [%s]\n"
    databases = "      podSelector:\n        matchLabels: {role: db}\n"
    net = f"{20 + number % 60}.{number % 200}"
    yield "default-deny", all_pods % "Ingress, Egress"
    yield "allow-dns", (all_pods % "Egress" + "  egress:\n  - to:\n" + peer(name % "ns-000")
                        + "    ports:\n    - {protocol: UDP, port: 53}\n    - {protocol: TCP, port: 53}")
    yield "allow-own", (all_pods % "Ingress, Egress" + "  ingress:\n" + own % "from" + "\n  egress:\n" + own % "to")
    yield "allow-metrics", (all_pods % "Ingress" + "  ingress:\n  - from:\n" + peer(name % "ns-001") + ports % "metrics")
    yield "to-databases", ("  podSelector:\n    matchLabels: {role: web}\n  policyTypes: [Egress]\n  egress:\n  - to:\n"
                           + peer("{tier: data}", databases) + ranged)
    yield "from-apps", ("  podSelector:\n    matchLabels: {role: db}\n  policyTypes: [Ingress]\n  ingress:\n  - from:\n"
                        "    - namespaceSelector:\n        matchExpressions:\n"
                        "        - {key: team, operator: In, values: [t0, t1, t2, t3]}\n" + ranged)
    yield "outside", ("  podSelector:\n    matchLabels: {role: web}\n  policyTypes: [Egress]\n  egress:\n  - to:\n"
                      f"    - ipBlock:\n        cidr: {net}.0.0/16\n        except: [{net}.7.0/24]\n" + ports % 443)
    if is_changed and number % 10 == 5:
        yield "one-more", ("  podSelector:\n    matchLabels: {app: w0}\n  policyTypes: [Ingress]\n  ingress:\n  - from:\n"
                           + peer(name % "ns-004") + ports % 8000)


def cluster(folder, workloads, is_changed):
    """Writes a cluster, one file for each namespace; returns how many namespaces it has."""
    each = 10 if workloads < 500 else 25
    os.makedirs(folder)
    for number in range(workloads // each):
        namespace = f"ns-{number:03d}"
        documents = [f"apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {namespace}\n  labels:\n"
                     f"    kubernetes.io/metadata.name: {namespace}\n    team: t{number % 7}\n"
                     f"    tier: {'data' if number % 5 == 0 else 'app'}"]
        documents += [deployment(namespace, index) for index in range(each)]
        documents += [policy(namespace, *one) for one in policies(namespace, number, is_changed)]
        with open(f"{folder}/{namespace}.yaml", "w", encoding="utf-8") as file:
            file.write("\n---\n".join(documents) + "\n")
    return workloads // each


def flows(path, workloads, namespaces):
    """Ten thousand flows, inside and between namespaces and to the world outside; the same each time."""
    draw, each = random.Random(1), workloads // namespaces
    with open(path, "w", encoding="utf-8") as file:
        for _ in range(10_000):
            a, b, kind = draw.randrange(namespaces), draw.randrange(namespaces), draw.random()
            port = 8000 + draw.randrange(10)
            to = f"ns-{(a if kind < 0.5 else b):03d}/Deployment/w{draw.randrange(each)}"
            to, port = (f"{20 + b % 60}.{b % 200}.3.4", 443) if kind < 0.1 else (to, port)
            file.write(f"ns-{a:03d}/Deployment/w{draw.randrange(each)} {to} {port}/TCP\n")


def measured(command, runs):
    """The best wall time, its processors' time, the peak of memory in MB, and the lines of the answer."""
    best, lines = None, 0
    for run in range(runs):
        with tempfile.TemporaryFile() as out:
            start = time.perf_counter()
            child = subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL)
            _, status, usage = os.wait4(child.pid, 0)
            took = time.perf_counter() - start
            child.returncode = os.waitstatus_to_exitcode(status)
            if child.returncode not in (0, 1):
                sys.exit(f"{' '.join(command)}: exit code {child.returncode}")
            if run == 0:
                out.seek(0)
                lines = sum(chunk.count(b"\n") for chunk in iter(lambda: out.read(1 << 20), b""))
        result = (took, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)
        best = min(best, result) if best else result
    return (*best, lines)


def limit(folders):
    try:
        from yaml import CSafeLoader, load_all
    except ImportError:
        return None
    start = time.perf_counter()
    for folder in folders:
        for name in os.listdir(folder):
            with open(f"{folder}/{name}", encoding="utf-8") as file:
                list(load_all(file, Loader=CSafeLoader))
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    target = os.environ.get("CARGO_TARGET_DIR", f"{HERE}/../target")
    parser.add_argument("--binary", default=f"{target}/release/netpol-verify")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("workloads", type=int, nargs="*", default=[100, 200, 500, 1000, 2000, 5000, 10_000])
    arguments = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="netpol-bench-")
    print("| Workloads | Policies | Command | Wall | Processors | Memory | Lines | × libyaml |")
    print("| ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: |")
    try:
        for workloads in arguments.workloads:
            before, after = f"{folder}/{workloads}", f"{folder}/{workloads}-changed"
            namespaces = cluster(before, workloads, False)
            cluster(after, workloads, True)
            flows(f"{folder}/flows", workloads, namespaces)
            unit = limit([before])
            for name, *command in [
                ("list", "list", "-f", before),
                ("list, JSON", "list", "-f", before, "-o", "json"),
                ("diff", "diff", before, after),
                ("lint", "lint", "-f", before),
                ("explain 10,000", "explain", "-f", before, "--flows", f"{folder}/flows", "-o", "jsonl"),
            ]:
                wall, cpu, memory, lines = measured([arguments.binary, *command], arguments.runs)
                ratio = f"{wall / unit:.2f}" if unit else "–"
                print(f"| {workloads} | {namespaces * 7} | {name} | {wall:.3f} s | {cpu:.3f} s | {memory:.0f} MB "
                      f"| {lines} | {ratio} |", flush=True)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
