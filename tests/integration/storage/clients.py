"""The Python client of the guides, and what applications do with it."""
import io
import os
import sys
import urllib.request

import boto3
from botocore.client import Config
from botocore.exceptions import ClientError

BUCKET = os.environ["BUCKET"]
LARGE = bytes(range(256)) * (20 << 12)  # 20 MiB: boto3 uploads it in parts


def s3_client_for(endpoint: str, key_id: str, secret: str):
    session = boto3.session.Session(aws_access_key_id=key_id, aws_secret_access_key=secret)
    return session.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", config=Config(signature_version="s3v4")
    )


s3 = s3_client_for(os.environ["FB_S3_ENDPOINT"], os.environ["FB_KEY_ID"], os.environ["FB_KEY_SECRET"])


def write():
    s3.put_object(Bucket=BUCKET, Key="hello.txt", Body=b"hi", ContentType="text/plain", Metadata={"a": "b"})
    s3.upload_fileobj(io.BytesIO(LARGE), BUCKET, "large.bin")
    for name in ["a/1", "a/2", "b c+d/é"]:
        s3.put_object(Bucket=BUCKET, Key=name, Body=name.encode(), ChecksumAlgorithm="SHA256")


def read():
    got = s3.get_object(Bucket=BUCKET, Key="hello.txt")
    assert got["Body"].read() == b"hi"
    assert got["ContentType"] == "text/plain" and got["Metadata"] == {"a": "b"}
    into = io.BytesIO()
    s3.download_fileobj(BUCKET, "large.bin", into)
    assert into.getvalue() == LARGE
    url = s3.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "hello.txt"}, ExpiresIn=60)
    assert urllib.request.urlopen(url).read() == b"hi"


def rest():
    assert s3.list_buckets()["Buckets"][0]["Name"] == BUCKET
    s3.head_bucket(Bucket=BUCKET)
    listed = s3.list_objects_v2(Bucket=BUCKET, Delimiter="/")
    assert [it["Key"] for it in listed["Contents"]] == ["hello.txt", "large.bin"], listed
    assert [it["Prefix"] for it in listed["CommonPrefixes"]] == ["a/", "b c+d/"], listed
    pages = s3.get_paginator("list_objects").paginate(Bucket=BUCKET, PaginationConfig={"PageSize": 2})
    keys = [it["Key"] for page in pages for it in page["Contents"]]
    assert keys == ["a/1", "a/2", "b c+d/é", "hello.txt", "large.bin"], keys
    s3.copy({"Bucket": BUCKET, "Key": "large.bin"}, BUCKET, "copied.bin")
    assert s3.head_object(Bucket=BUCKET, Key="copied.bin")["ContentLength"] == len(LARGE)
    url = s3.generate_presigned_url("put_object", Params={"Bucket": BUCKET, "Key": "by-url"}, ExpiresIn=60)
    urllib.request.urlopen(urllib.request.Request(url, data=b"url", method="PUT"))
    assert s3.get_object(Bucket=BUCKET, Key="by-url")["Body"].read() == b"url"
    gone = {"Objects": [{"Key": key} for key in keys + ["copied.bin", "by-url", "never-there"]]}
    assert "Errors" not in s3.delete_objects(Bucket=BUCKET, Delete=gone)
    assert s3.list_objects_v2(Bucket=BUCKET)["KeyCount"] == 0
    try:
        s3.get_object(Bucket=BUCKET, Key="hello.txt")
        raise AssertionError("it is still there")
    except ClientError as error:
        assert error.response["Error"]["Code"] == "NoSuchKey", error


{"write": write, "read": read, "rest": rest}[sys.argv[1]]()
