"""The artefacts of the stand-in of W&B's server: created, uploaded, committed, found and used."""

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

ENTITY = "someone"
NOW = "2026-01-01T00:00:00Z"


@dataclass
class Artifact:
    """What the server holds of one version of an artefact."""

    id: str
    name: str
    type: str
    run: str | None  # the run that made it
    digest: str
    aliases: list[str]
    metadata: dict
    client: str  # the id by which wandb-core knows it before the server does
    state: str = "PENDING"
    manifest: dict = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    used_by: list[str] = field(default_factory=list)  # ids of runs


class Artifacts:
    """Answers to the GraphQL of artefacts; names of methods are those of wandb-core's queries."""

    def __init__(self) -> None:
        self.artifacts: dict[str, Artifact] = {}
        self._numbers = itertools.count(1)

    def _upload(self, take: Callable[[bytes], None]) -> str:
        """A new address; what is put there is handed to `take`."""
        raise NotImplementedError

    def _xxhash_digests_enabled(self, **_: Any) -> dict:
        return {"entity": {"xxhashDigestsEnabled": False}}

    def _fetch_artifact_digest_algorithm(self, **_: Any) -> dict:
        return {"project": {"artifactType": None}}

    def _artifact_type(self, **_: Any) -> dict:
        return {"project": None}

    def _artifact_membership_by_name(self, project: str, name: str, **_: Any) -> dict:
        """Of a committed version, by its alias (`name:latest`) or number (`name:v0`)."""
        collection, _, alias = name.partition(":")
        there = [each for each in self._versions(collection) if each.state == "COMMITTED"]
        named = [each for each in there if alias in (*each.aliases, f"v{there.index(each)}")]
        if not named:
            return {"project": {"artifactCollectionMembership": None}}
        found, owner = named[-1], {"name": ENTITY}
        index = there.index(found)
        where = {"id": project, "internalId": "1", "name": project, "entity": owner}
        sequence = {"__typename": "ArtifactSequence", "name": collection, "project": where}
        about = {
            "__typename": "Artifact", "id": found.id, "artifactSequence": sequence,
            "versionIndex": index, "artifactType": {"name": found.type}, "description": None,
            "metadata": json.dumps(found.metadata), "ttlDurationSeconds": -2,
            "ttlIsInherited": True, "tags": [], "historyStep": None, "state": found.state,
            "size": sum(map(len, found.files.values())), "digest": found.digest,
            "digestAlgorithm": "MANIFEST_MD5", "commitHash": None,
            "fileCount": len(found.files), "createdAt": NOW, "updatedAt": None, "aliases": [],
        }  # fmt: skip
        membership = {
            "__typename": "ArtifactCollectionMembership", "id": f"{found.id}-membership",
            "versionIndex": index, "createdAt": NOW, "aliases": [],
            "artifactCollection": sequence, "artifact": about,
        }  # fmt: skip
        return {"project": {"artifactCollectionMembership": membership}}

    def _create_artifact(self, input: dict) -> dict:
        made = Artifact(
            id=f"artifact-{next(self._numbers)}",
            name=input.get("artifactCollectionName") or input["artifactCollectionNames"][0],
            type=input["artifactTypeName"],
            run=input.get("runName"),
            digest=input["digest"],
            aliases=[each["alias"] for each in input.get("aliases") or []],
            metadata=json.loads(input.get("metadata") or "{}"),
            client=input.get("clientID", ""),
        )
        same = (made.name, made.type, made.digest)
        for old in self.artifacts.values():
            if same == (old.name, old.type, old.digest) and old.state == "COMMITTED":
                made = old
        self.artifacts[made.id] = made
        older = [each.id for each in self._versions(made.name) if each.state == "COMMITTED"]
        latest = {"id": older[-1]} if older else None
        about = {"id": made.id, "state": made.state, "artifactSequence": {"latestArtifact": latest}}
        return {"createArtifact": {"artifact": about}}

    def _versions(self, name: str) -> list[Artifact]:
        return [each for each in self.artifacts.values() if each.name == name]

    def _create_artifact_manifest(self, artifactID: str, **given: Any) -> dict:
        return {"createArtifactManifest": self._manifest(artifactID, given["includeUpload"])}

    def _update_artifact_manifest(self, artifactManifestID: str, **given: Any) -> dict:
        artifact = artifactManifestID.removesuffix("-manifest")
        return {"updateArtifactManifest": self._manifest(artifact, given["includeUpload"])}

    def _manifest(self, artifact: str, upload: bool) -> dict:
        def take(data: bytes) -> None:
            self.artifacts[artifact].manifest = json.loads(data)

        url = self._upload(take) if upload else None
        file = {"id": f"{artifact}-file", "uploadUrl": url, "uploadHeaders": []}
        return {"artifactManifest": {"id": f"{artifact}-manifest", "file": file}}

    def _create_artifact_files(self, input: dict) -> dict:
        edges = []
        for each in input["artifactFiles"]:
            artifact = self.artifacts[each["artifactID"]]

            def take(data: bytes, artifact: Artifact = artifact, name: str = each["name"]) -> None:
                artifact.files[name] = data

            node = {"storagePath": f"{artifact.id}/{each['name']}", "uploadUrl": self._upload(take)}
            node |= {
                "uploadHeaders": [],
                "uploadMultipartUrls": None,
                "artifact": {"id": artifact.id},
            }
            edges.append({"node": node})
        return {"createArtifactFiles": {"files": {"edges": edges}}}

    def _commit_artifact(self, artifactID: str) -> dict:
        artifact = self.artifacts[artifactID]
        artifact.state = "COMMITTED"
        return {"commitArtifact": {"artifact": {"id": artifact.id, "digest": artifact.digest}}}

    def _use_artifact(self, **given: Any) -> dict:
        given = given.get("input", given)  # wandb-core sends an input, the library its parts
        self.artifacts[given["artifactID"]].used_by.append(given["runName"])
        return {"useArtifact": {"artifact": {"id": given["artifactID"]}}}

    def _client_id_mapping(self, clientID: str) -> dict:
        [found] = [each.id for each in self.artifacts.values() if each.client == clientID]
        return {"clientIDMapping": {"serverID": found}}
