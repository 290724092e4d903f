#!/usr/bin/env python3
"""Puts a root folder as an image into the storage of an OCI registry (distribution's file-system driver).

Usage: registry.py STORAGE NAME:TAG ROOT CONFIG-JSON

The layout is distribution's own (docs: "Registry configuration", storage driver `filesystem`): blobs by digest, links
to them by repository.
"""

import gzip
import hashlib
import io
import json
import pathlib
import sys
import tarfile

LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
CONFIG = "application/vnd.oci.image.config.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def main() -> None:
    storage, reference, root, config = sys.argv[1:]
    name, tag = reference.split(":")
    base = pathlib.Path(storage) / "docker/registry/v2"
    repository = base / "repositories" / name

    def link(folder: pathlib.Path, digest: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "link").write_text(digest)

    def blob(data: bytes) -> str:
        value = hashlib.sha256(data).hexdigest()
        folder = base / "blobs/sha256" / value[:2] / value
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "data").write_bytes(data)
        return f"sha256:{value}"

    def layer_link(digest: str) -> None:
        link(repository / "_layers/sha256" / digest.removeprefix("sha256:"), digest)

    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        tar.add(root, arcname=".", recursive=True)
    packed = gzip.compress(plain.getvalue(), compresslevel=1, mtime=0)
    layer = blob(packed)
    layer_link(layer)

    description = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": json.loads(config),
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(plain.getvalue()).hexdigest()}"]},
            # Without a history of its base Podman finds no step of a build in its cache.
            "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "debian"}],
        }
    ).encode()
    settings = blob(description)
    layer_link(settings)

    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "size": len(description), "digest": settings},
            "layers": [{"mediaType": LAYER, "size": len(packed), "digest": layer}],
        }
    ).encode()
    digest = blob(manifest)
    link(repository / "_manifests/revisions/sha256" / digest.removeprefix("sha256:"), digest)
    link(repository / "_manifests/tags" / tag / "current", digest)
    link(repository / "_manifests/tags" / tag / "index/sha256" / digest.removeprefix("sha256:"), digest)


main()
