"""boto3 as Debian ships it, unchanged."""

import hashlib
import os

import botocore.exceptions
import pytest


def code_of(call, **arguments):
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call(**arguments)
    return caught.value.response["Error"]["Code"]


@pytest.fixture(scope="module")
def s3(cluster, bucket):
    return cluster.boto()


def test_buckets(s3):
    s3.create_bucket(Bucket="boto-new")
    assert "boto-new" in [b["Name"] for b in s3.list_buckets()["Buckets"]]
    s3.head_bucket(Bucket="boto-new")
    s3.get_bucket_location(Bucket="boto-new")
    assert code_of(s3.create_bucket, Bucket="boto-new") == "BucketAlreadyOwnedByYou"
    s3.delete_bucket(Bucket="boto-new")
    assert code_of(s3.head_bucket, Bucket="boto-new") == "404"


def test_object_with_headers_and_metadata(s3, bucket):
    body = os.urandom(100000)
    put = s3.put_object(Bucket=bucket, Key="meta/ü +&.bin", Body=body, ContentType="text/x-mill",
                        CacheControl="no-cache", Metadata={"colour": "brown"})
    assert put["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
    got = s3.get_object(Bucket=bucket, Key="meta/ü +&.bin")
    assert got["Body"].read() == body
    assert (got["ContentType"], got["CacheControl"], got["Metadata"]) == \
        ("text/x-mill", "no-cache", {"colour": "brown"})
    head = s3.head_object(Bucket=bucket, Key="meta/ü +&.bin")
    assert head["ContentLength"] == len(body) and head["ETag"] == put["ETag"]


def test_ranges_and_conditions(s3, bucket):
    body = bytes(range(256)) * 1000
    etag = s3.put_object(Bucket=bucket, Key="range", Body=body)["ETag"]
    for text, expected in [("bytes=0-0", body[:1]), ("bytes=1000-1999", body[1000:2000]),
                           ("bytes=255990-", body[255990:]), ("bytes=-7", body[-7:])]:
        got = s3.get_object(Bucket=bucket, Key="range", Range=text)
        assert got["Body"].read() == expected and got["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert code_of(s3.get_object, Bucket=bucket, Key="range", Range="bytes=256000-") == "InvalidRange"
    assert code_of(s3.get_object, Bucket=bucket, Key="range", IfNoneMatch=etag) == "304"
    assert code_of(s3.get_object, Bucket=bucket, Key="range", IfMatch='"x"') == "PreconditionFailed"


def test_copy(s3, bucket):
    s3.put_object(Bucket=bucket, Key="from", Body=b"copied", Metadata={"a": "b"})
    s3.copy_object(Bucket=bucket, Key="to", CopySource={"Bucket": bucket, "Key": "from"})
    got = s3.get_object(Bucket=bucket, Key="to")
    assert got["Body"].read() == b"copied" and got["Metadata"] == {"a": "b"}


def test_listing_with_pages(s3, bucket):
    for i in range(25):
        s3.put_object(Bucket=bucket, Key=f"list/{i % 5}/{i:02}", Body=b"x")
    for operation in ("list_objects", "list_objects_v2"):
        pages = s3.get_paginator(operation).paginate(Bucket=bucket, Prefix="list/",
                                                     PaginationConfig={"PageSize": 7})
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        assert len(keys) == 25 and keys == sorted(keys)
        pages = s3.get_paginator(operation).paginate(Bucket=bucket, Prefix="list/", Delimiter="/",
                                                     PaginationConfig={"PageSize": 2})
        prefixes = [p["Prefix"] for page in pages for p in page.get("CommonPrefixes", [])]
        assert prefixes == [f"list/{i}/" for i in range(5)]
    after = s3.list_objects_v2(Bucket=bucket, Prefix="list/", StartAfter="list/4/19")
    assert [entry["Key"] for entry in after["Contents"]] == ["list/4/24"]


def test_multi_delete(s3, bucket):
    keys = [f"del/{i}" for i in range(10)]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    done = s3.delete_objects(Bucket=bucket, Delete={
        "Objects": [{"Key": key} for key in keys + ["del/absent"]]})
    assert len(done["Deleted"]) == 11 and "Errors" not in done
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket, Prefix="del/")


def test_multipart(s3, bucket, big):
    size = 5 << 20
    upload = s3.create_multipart_upload(Bucket=bucket, Key="parts", ContentType="a/b")["UploadId"]
    parts = []
    for number in (2, 1, 3):
        body = big[(number - 1) * size:number * size]
        etag = s3.upload_part(Bucket=bucket, Key="parts", UploadId=upload, PartNumber=number,
                              Body=body)["ETag"]
        parts.append({"PartNumber": number, "ETag": etag})
    listed = s3.list_parts(Bucket=bucket, Key="parts", UploadId=upload)["Parts"]
    assert [part["PartNumber"] for part in listed] == [1, 2, 3]
    uploads = s3.list_multipart_uploads(Bucket=bucket)["Uploads"]
    assert upload in [u["UploadId"] for u in uploads]
    assert code_of(s3.complete_multipart_upload, Bucket=bucket, Key="parts", UploadId=upload,
                   MultipartUpload={"Parts": parts}) == "InvalidPartOrder"
    parts.sort(key=lambda part: part["PartNumber"])
    s3.complete_multipart_upload(Bucket=bucket, Key="parts", UploadId=upload,
                                 MultipartUpload={"Parts": parts})
    got = s3.get_object(Bucket=bucket, Key="parts")
    assert got["Body"].read() == big[:3 * size] and got["ContentType"] == "a/b"


def test_aborted_upload_leaves_nothing(s3, bucket):
    upload = s3.create_multipart_upload(Bucket=bucket, Key="aborted")["UploadId"]
    s3.upload_part(Bucket=bucket, Key="aborted", UploadId=upload, PartNumber=1, Body=b"x")
    s3.abort_multipart_upload(Bucket=bucket, Key="aborted", UploadId=upload)
    assert code_of(s3.head_object, Bucket=bucket, Key="aborted") == "404"
    assert code_of(s3.list_parts, Bucket=bucket, Key="aborted", UploadId=upload) == "NoSuchUpload"


def test_managed_transfer(s3, bucket, big, tmp_path):
    source, target = tmp_path / "in", tmp_path / "out"
    source.write_bytes(big)
    s3.upload_file(str(source), bucket, "managed")
    s3.download_file(bucket, "managed", str(target))
    assert target.read_bytes() == big


def test_presigned(s3, bucket):
    import urllib.error
    import urllib.request
    s3.put_object(Bucket=bucket, Key="presigned", Body=b"for a while")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "presigned"})
    assert urllib.request.urlopen(url).read() == b"for a while"
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(url.replace("X-Amz-Signature=", "X-Amz-Signature=0"))
    assert caught.value.code in (400, 403)
    put = s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "presigned2"})
    urllib.request.urlopen(urllib.request.Request(put, data=b"put", method="PUT"))
    assert s3.get_object(Bucket=bucket, Key="presigned2")["Body"].read() == b"put"
