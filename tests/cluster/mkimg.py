#!/usr/bin/env python3
"""Makes an OCI archive that `ctr images import` takes, from files of this machine: no registry, no Docker.

    mkimg.py OUT.tar NAME:TAG [--dockerfile FILE] [--config JSON] [/PATH=FILE | /PATH->TARGET] ...

/PATH=FILE puts a file into the image, /PATH->TARGET a symbolic link. --config gives the image's settings (Entrypoint,
Cmd, Env, User) as JSON. With --dockerfile they are read from the last stage of that file (ENV, USER, WORKDIR, LABEL,
ENTRYPOINT, CMD), and the files given must be exactly those that its COPY lines name, so that the image tested is the
image shipped.
"""
import argparse
import hashlib
import io
import json
import os
import shlex
import sys
import tarfile

FOLDERS = {"tmp": 0o1777, "proc": 0o555, "sys": 0o555, "dev": 0o755, "run": 0o755}


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def last_stage(path):
    """The settings of a Dockerfile's last stage, and the destinations of its COPY lines."""
    config, copied, unknown = {}, [], []
    with open(path, encoding="utf-8") as file:
        text = file.read().replace("\\\n", " ")
    for line in text.splitlines():
        word, _, rest = line.strip().partition(" ")
        rest = rest.strip()
        if word == "FROM":
            config, copied, unknown = {}, [], []
        elif word == "COPY":
            copied.append(rest.split()[-1])
        elif word == "ENV":
            config.setdefault("Env", []).extend(shlex.split(rest))
        elif word == "LABEL":
            config.setdefault("Labels", {}).update(pair.split("=", 1) for pair in shlex.split(rest))
        elif word in ("ENTRYPOINT", "CMD"):
            config[word.capitalize()] = json.loads(rest)
        elif word == "USER":
            config["User"] = rest
        elif word == "WORKDIR":
            config["WorkingDir"] = rest
        elif word and not word.startswith("#"):
            unknown.append(word)
    if unknown:
        sys.exit(f"{path}: the last stage has {unknown}, which mkimg.py does not know")
    return config, copied


def add(layer, name, kind=tarfile.REGTYPE, data=b"", mode=0o755, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.size, info.mode, info.linkname = kind, len(data), mode, target
    layer.addfile(info, io.BytesIO(data))


def make_layer(files, empty_folders):
    """A tar of the files and the folders above them."""
    buffer, known = io.BytesIO(), set()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as layer:
        for folder, mode in empty_folders.items():
            known.add(folder)
            add(layer, folder, tarfile.DIRTYPE, mode=mode)
        for name, (source, target) in files.items():
            parts = name.split("/")[:-1]
            for depth in range(1, len(parts) + 1):
                folder = "/".join(parts[:depth])
                if folder not in known:
                    known.add(folder)
                    add(layer, folder, tarfile.DIRTYPE)
            if source is None:
                add(layer, name, tarfile.SYMTYPE, target=target)
            else:
                with open(source, "rb") as file:
                    add(layer, name, data=file.read(), mode=0o755 if os.access(source, os.X_OK) else 0o644)
    return buffer.getvalue()


def parse_files(specs):
    files = {}
    for spec in specs:
        name, arrow, target = spec.partition("->")
        if arrow:
            files.setdefault(name.lstrip("/"), (None, target))
        else:
            name, _, source = spec.partition("=")
            files.setdefault(name.lstrip("/"), (source, ""))
    return files


def write_archive(out, image, config, layer):
    kind = "application/vnd.oci.image"
    settings = {
        "architecture": "amd64",
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [digest(layer)]},
        "history": [{"created_by": "mkimg"}],
    }
    settings = json.dumps(settings).encode()

    def descriptor(media, data, **more):
        return {"mediaType": media, "digest": digest(data), "size": len(data), **more}

    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{kind}.manifest.v1+json",
        "config": descriptor(f"{kind}.config.v1+json", settings),
        "layers": [descriptor(f"{kind}.layer.v1.tar", layer)],
    }
    manifest = json.dumps(manifest).encode()
    names = {"io.containerd.image.name": image, "org.opencontainers.image.ref.name": image.rsplit(":", 1)[-1]}
    platform = {"architecture": "amd64", "os": "linux"}
    entry = descriptor(f"{kind}.manifest.v1+json", manifest, platform=platform, annotations=names)
    index = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
    with tarfile.open(out, "w") as archive:
        add(archive, "oci-layout", data=b'{"imageLayoutVersion":"1.0.0"}', mode=0o644)
        add(archive, "index.json", data=index, mode=0o644)
        for blob in (layer, settings, manifest):
            add(archive, "blobs/sha256/" + digest(blob)[7:], data=blob, mode=0o644)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("image")
    parser.add_argument("files", nargs="*")
    parser.add_argument("--dockerfile")
    parser.add_argument("--config", type=json.loads, default={})
    arguments = parser.parse_intermixed_args()
    files, config, folders = parse_files(arguments.files), arguments.config, FOLDERS
    if arguments.dockerfile:
        config, copied = last_stage(arguments.dockerfile)
        folders = {}
        if sorted(copied) != sorted("/" + name for name in files):
            sys.exit(f"{arguments.dockerfile} copies {sorted(copied)}, given were {sorted(files)}")
    write_archive(arguments.out, arguments.image, config, make_layer(files, folders))


main()
