"""A bucket of S3 or of what speaks like it, `s3://BUCKET/PREFIX`; the owner of boto3.

The objects are the files of an OCI image layout. Endpoint, region and credentials are found as for the aws
command: in the environment (AWS_ENDPOINT_URL, AWS_PROFILE, ...), ~/.aws, or the machine's role.
"""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, SSLError

from nodebake.publish.folder import INDEX, LAYOUT, VERSION, key
from nodebake.publish.place import Blob, Content, PlaceError, chunks

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

PART = 8 << 20
"""Bytes of a part of what is too large for one request; S3 wants 5 MiB at least."""
_PIECE = 1 << 20
_MISSING = {"404", "NoSuchKey", "NotFound"}
_CONFIG = Config(
    connect_timeout=10,
    read_timeout=60,
    retries={"mode": "standard", "total_max_attempts": 4},
    # Not every server that speaks S3 knows the checksums that boto3 adds by itself.
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
)


class Bucket:
    """A publication in a bucket, under a prefix."""

    def __init__(self, bucket: str, prefix: str, *, ca: Path | None) -> None:
        """Take where it is, and the authority of the server's certificate, if it is none of the system's.

        Raises:
            PlaceError: the configuration cannot be used.
        """
        self.name = "s3://" + "/".join(filter(None, (bucket, prefix)))
        self._bucket, self._prefix = bucket, f"{prefix}/" if prefix else ""
        with self._told():
            # A session of its own: the package's would keep the credentials of the first bucket.
            session = boto3.session.Session()
            self._client: Any = session.client("s3", config=_CONFIG, verify=str(ca) if ca else None)

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()

    def index(self) -> bytes | None:
        """Return the index; None where nothing is published."""
        with self._told():
            try:
                return b"".join(self._get(INDEX))
            except ClientError as error:
                if _code(error) in _MISSING:
                    return None
                raise

    def has(self, blob: Blob) -> bool:
        """Return whether the blob is there, whole: an object is, or it is not there."""
        with self._told():
            try:
                found = self._client.head_object(**self._at(key(blob)))
            except ClientError as error:
                if _code(error) in _MISSING:
                    return False
                raise
        return bool(found["ContentLength"] == blob.size)

    def put(self, blob: Blob, content: Content) -> None:
        """Store a blob; a large one in parts, and those that are there already are not sent again."""
        with self._told():
            if isinstance(content, bytes) or blob.size <= PART:
                self._client.put_object(**self._at(key(blob)), Body=b"".join(chunks(content)))
            else:
                self._put_parts(self._at(key(blob)), content)

    def read(self, blob: Blob) -> Iterator[bytes]:
        """Yield what a blob holds."""
        with self._told():
            yield from self._get(key(blob))

    def finish(self, index: bytes) -> None:
        """Publish: the index last."""
        with self._told():
            self._client.put_object(**self._at(LAYOUT), Body=VERSION)
            self._client.put_object(**self._at(INDEX), Body=index)

    def clean(self, blobs: Collection[Blob]) -> None:
        """Remove every blob but these."""
        keep = {self._at(key(blob))["Key"] for blob in blobs}
        with self._told():
            pages = self._client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self._bucket, Prefix=f"{self._prefix}blobs/sha256/"):
                for found in page.get("Contents", ()):
                    if found["Key"] not in keep:
                        self._client.delete_object(Bucket=self._bucket, Key=found["Key"])

    def _at(self, name: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": f"{self._prefix}{name}"}

    def _get(self, name: str) -> Iterator[bytes]:
        body = self._client.get_object(**self._at(name))["Body"]
        with body:
            yield from body.iter_chunks(_PIECE)

    def _put_parts(self, at: dict[str, str], path: Path) -> None:
        upload = self._begun(at) or self._client.create_multipart_upload(**at)["UploadId"]
        pages = self._client.get_paginator("list_parts").paginate(**at, UploadId=upload)
        there = {one["PartNumber"]: one["ETag"] for page in pages for one in page.get("Parts", ())}
        parts: list[dict[str, object]] = []
        with path.open("rb") as file:
            while data := file.read(PART):
                number = len(parts) + 1
                # Of a part that was not encrypted there, the tag is its MD5.
                tag = f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'
                if there.get(number) != tag:
                    told = {"UploadId": upload, "PartNumber": number, "Body": data}
                    tag = self._client.upload_part(**at, **told)["ETag"]
                parts.append({"PartNumber": number, "ETag": tag})
        self._client.complete_multipart_upload(**at, UploadId=upload, MultipartUpload={"Parts": parts})

    def _begun(self, at: dict[str, str]) -> str:
        """Return the upload of this object that an earlier try left; empty if there is none."""
        found = self._client.list_multipart_uploads(Bucket=self._bucket, Prefix=at["Key"])
        return next((str(one["UploadId"]) for one in found.get("Uploads", ()) if one["Key"] == at["Key"]), "")

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except NoCredentialsError as error:
            hint = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run aws configure"
            raise PlaceError(f"{self.name}: there are no credentials for it", hint=hint) from error
        except SSLError as error:
            hint = "name the authority of its certificate with --ca FILE"
            raise PlaceError(f"{self.name}: the server is not trusted: {error}", hint=hint) from error
        except ClientError as error:
            raise PlaceError(f"{self.name}: the server answers: {_code(error)}, {_message(error)}") from error
        except (BotoCoreError, OSError) as error:
            raise PlaceError(f"{self.name}: {error}") from error


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", "unknown"))


def _message(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Message", error))
