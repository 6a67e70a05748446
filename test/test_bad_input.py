"""Whatever is sent, the exact S3 error comes back, nothing is stored, and the server stays up."""

import base64
import hashlib
import os
import time

import pytest

from lib.raw import Connection, ask, signed

GET = b"GET / HTTP/1.1\r\nHost: quern\r\n"


@pytest.fixture(autouse=True)
def still_up(cluster, bucket):
    yield
    cluster.assert_alive()
    assert ask(cluster.port(), signed("GET", "/")).status == 200


def expect(cluster, request, status, code):
    answer = ask(cluster.port(), request)
    assert answer is not None, "closed without an answer"
    assert (answer.status, answer.code) == (status, code), answer.body
    return answer


def assert_nothing_stored(cluster, bucket, key):
    answer = ask(cluster.port(), signed("GET", f"/{bucket}/{key}"))
    assert (answer.status, answer.code) == (404, "NoSuchKey")


# ---- HTTP ----

@pytest.mark.parametrize("request_bytes", [
    b"nonsense\r\n\r\n",
    b"GET /\r\n\r\n",
    b"GET / HTTP/2.0\r\nHost: quern\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",                                      # no Host
    GET + b"Host: other\r\n\r\n",
    GET + b"Folded: a\r\n b\r\n\r\n",
    GET + b"Space : a\r\n\r\n",
    GET + b"Nul: a\0b\r\n\r\n",
    GET + b"Bare: a\rb\r\n\r\n",
    b"GET / HTTP/1.1\nHost: quern\n\n",
    GET + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nx",
    GET + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    GET + b"Content-Length: -1\r\n\r\n",
    GET + b"Content-Length: 1x\r\n\r\n",
    GET + b"Content-Length: 99999999999999999999999\r\n\r\n",
])
def test_malformed_requests_are_refused_and_the_connection_ends(cluster, request_bytes):
    with Connection(cluster.port()) as connection:
        connection.send(request_bytes)
        answer = connection.answer()
        assert answer is not None and answer.status == 400, answer and answer.status
        assert connection.is_closed()


def test_unknown_methods_and_encodings(cluster):
    with Connection(cluster.port()) as connection:
        connection.send(b"BREW / HTTP/1.1\r\nHost: quern\r\n\r\n")
        assert connection.answer().status in (400, 405)
    with Connection(cluster.port()) as connection:
        connection.send(GET + b"Transfer-Encoding: gzip\r\n\r\n")
        assert connection.answer().status == 501
        assert connection.is_closed()


@pytest.mark.parametrize("header", [b"Big: " + b"x" * 70000, b"\r\n".join([b"A: b"] * 5000)])
def test_oversized_headers_and_header_counts(cluster, header):
    with Connection(cluster.port()) as connection:
        try:
            connection.send(GET + header + b"\r\n\r\n")
        except (BrokenPipeError, ConnectionResetError):
            pass  # it need not read to the end
        answer = connection.answer()
        assert answer.status == 431
        assert connection.is_closed()


def test_noise_is_survived(cluster):
    for size in (1, 100, 10000):
        with Connection(cluster.port()) as connection:
            try:
                connection.send(os.urandom(size))
                connection.end()
                connection.answer()
            except (BrokenPipeError, ConnectionResetError, ValueError):
                pass  # any answer will do, as will none


def test_pipelined_requests_are_answered_in_order(cluster, bucket):
    with Connection(cluster.port()) as connection:
        connection.send(signed("PUT", f"/{bucket}/pipelined", b"first") +
                        signed("GET", f"/{bucket}/pipelined") + signed("GET", f"/{bucket}/absent") +
                        signed("DELETE", f"/{bucket}/pipelined"))
        assert [connection.answer().status for _ in range(4)] == [200, 200, 404, 204]


def test_expect_continue(cluster, bucket):
    body = b"x" * 100000
    request = signed("PUT", f"/{bucket}/continued", body).replace(
        b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n", 1)
    head, _ = request.split(b"\r\n\r\n", 1)
    with Connection(cluster.port()) as connection:
        connection.send(head + b"\r\n\r\n")
        assert connection.answer().status == 100
        connection.send(body)
        assert connection.answer().status == 200
    with Connection(cluster.port()) as connection:  # refused before the body is sent
        connection.send(head.replace(f"/{bucket}/".encode(), b"/no-such-bucket/") + b"\r\n\r\n")
        assert connection.answer().status in (403, 404)


# ---- signatures ----

def test_wrong_keys_and_signatures(cluster):
    expect(cluster, signed("GET", "/", access="nobodyatall"), 403, "InvalidAccessKeyId")
    expect(cluster, signed("GET", "/", secret="wrong"), 403, "SignatureDoesNotMatch")
    expect(cluster, signed("GET", "/").replace(b"GET /", b"GET /other", 1), 403,
           "SignatureDoesNotMatch")
    expect(cluster, GET + b"\r\n", 403, "AccessDenied")


@pytest.mark.parametrize("value", [b"", b"AWS4-HMAC-SHA256", b"AWS4-HMAC-SHA256 Credential=a",
                                   b"AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=x"])
def test_malformed_authorization(cluster, value):
    answer = ask(cluster.port(), GET + b"x-amz-date: 20260101T000000Z\r\nAuthorization: " + value + b"\r\n\r\n")
    assert answer.status in (400, 403)
    assert answer.code in ("AuthorizationHeaderMalformed", "AccessDenied")


def test_skewed_clock(cluster):
    for offset in (-3600, 3600):
        expect(cluster, signed("GET", "/", when=time.gmtime(time.time() + offset)), 403,
               "RequestTimeTooSkewed")


def test_payload_that_does_not_match_its_hash(cluster, bucket):
    expect(cluster, signed("PUT", f"/{bucket}/hash", b"body", payload="0" * 64), 400,
           "XAmzContentSHA256Mismatch")
    assert_nothing_stored(cluster, bucket, "hash")


# ---- objects ----

def test_content_md5(cluster, bucket):
    wrong = base64.b64encode(hashlib.md5(b"other").digest()).decode()
    right = base64.b64encode(hashlib.md5(b"body").digest()).decode()
    expect(cluster, signed("PUT", f"/{bucket}/md5", b"body", headers={"Content-MD5": wrong}), 400,
           "BadDigest")
    for malformed in ("nonsense", "AAAA", right[:-1]):
        expect(cluster, signed("PUT", f"/{bucket}/md5", b"body", headers={"Content-MD5": malformed}),
               400, "InvalidDigest")
    assert_nothing_stored(cluster, bucket, "md5")
    assert ask(cluster.port(), signed("PUT", f"/{bucket}/md5", b"body",
                                      headers={"Content-MD5": right})).status == 200


def test_keys(cluster, bucket):
    expect(cluster, signed("PUT", f"/{bucket}/" + "k" * 1025, b"x"), 400, "KeyTooLongError")
    assert ask(cluster.port(), signed("PUT", f"/{bucket}/" + "k" * 1024, b"x")).status == 200
    answer = ask(cluster.port(), signed("PUT", f"/{bucket}/".encode() + b"\xff\xfe", b"x"))
    assert answer.status == 400
    for target in (b"/%zz", b"/%", b"/a%00b"):
        answer = ask(cluster.port(), signed("GET", "/").replace(b"GET / ", b"GET " + target + b" ", 1))
        assert answer.status == 400, target


def test_unknown_buckets_and_bucket_names(cluster):
    expect(cluster, signed("GET", "/no-such-bucket"), 404, "NoSuchBucket")
    expect(cluster, signed("PUT", "/no-such-bucket/x", b"x"), 404, "NoSuchBucket")
    expect(cluster, signed("DELETE", "/no-such-bucket"), 404, "NoSuchBucket")
    for name in ("UPPER", "ab", "a" * 64, "-dash", "dot..dot"):
        expect(cluster, signed("PUT", f"/{name}"), 400, "InvalidBucketName")


def test_ranges(cluster, bucket):
    ask(cluster.port(), signed("PUT", f"/{bucket}/range", b"0123456789"))
    for text in ("bytes=10-", "bytes=10-20", "bytes=-0"):
        expect(cluster, signed("GET", f"/{bucket}/range", headers={"Range": text}), 416, "InvalidRange")
    for text in ("bytes=5-2", "bytes=x-", "lines=1-2", "bytes=", "bytes"):  # ignored (RFC 9110, 14.2)
        answer = ask(cluster.port(), signed("GET", f"/{bucket}/range", headers={"Range": text}))
        assert (answer.status, answer.body) == (200, b"0123456789"), text


def test_truncated_body(cluster, bucket):
    for size in (10, 100000, 20 << 20):
        request = signed("PUT", f"/{bucket}/cut", b"x" * (size // 2), length=size,
                         payload="UNSIGNED-PAYLOAD")
        with Connection(cluster.port()) as connection:
            connection.send(request)
            connection.end()
            answer = connection.answer()
            assert answer is None or (answer.status, answer.code) == (400, "IncompleteBody")
        assert_nothing_stored(cluster, bucket, "cut")


def test_missing_length(cluster, bucket):
    request = signed("PUT", f"/{bucket}/lengthless").replace(b"content-length: 0\r\n", b"")
    request = b"\r\n".join(line for line in request.split(b"\r\n")
                           if not line.startswith(b"content-length"))
    expect(cluster, request, 411, "MissingContentLength")
    assert_nothing_stored(cluster, bucket, "lengthless")


def test_metadata_too_large(cluster, bucket):
    expect(cluster, signed("PUT", f"/{bucket}/meta", b"x", headers={"x-amz-meta-a": "y" * 3000}), 400,
           "MetadataTooLarge")
    assert_nothing_stored(cluster, bucket, "meta")


# ---- XML and multipart ----

@pytest.mark.parametrize("body", [
    b"", b"nonsense", b"<Delete>", b"<Delete></Other>", b"<Delete/>",
    b"<!DOCTYPE x [<!ENTITY e 'x'>]><Delete><Object><Key>&e;</Key></Object></Delete>",
    b"<Delete>" + b"<a>" * 10000, b"<Other><Object><Key>x</Key></Object></Other>"])
def test_malformed_xml(cluster, bucket, body):
    digest = base64.b64encode(hashlib.md5(body).digest()).decode()
    expect(cluster, signed("POST", f"/{bucket}", body, query={"delete": ""},
                           headers={"Content-MD5": digest}), 400, "MalformedXML")


def complete(parts):
    return ("<CompleteMultipartUpload>" +
            "".join(f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"
                    for number, etag in parts) + "</CompleteMultipartUpload>").encode()


def test_parts(cluster, bucket):
    s3 = cluster.boto()
    upload = s3.create_multipart_upload(Bucket=bucket, Key="parts")["UploadId"]
    etags = [s3.upload_part(Bucket=bucket, Key="parts", UploadId=upload, PartNumber=n,
                            Body=b"small")["ETag"] for n in (1, 2)]
    target, query = f"/{bucket}/parts", {"uploadId": upload}
    for parts, code in [([(2, etags[1]), (1, etags[0])], "InvalidPartOrder"),
                        ([(1, etags[0]), (1, etags[0])], "InvalidPartOrder"),
                        ([(1, '"0123"')], "InvalidPart"),
                        ([(3, etags[1])], "InvalidPart"),
                        ([(1, etags[0]), (2, etags[1])], "EntityTooSmall"),
                        ([], "MalformedXML")]:
        expect(cluster, signed("POST", target, complete(parts), query=query), 400, code)
    for number in ("0", "10001", "x"):
        expect(cluster, signed("PUT", target, b"x", query={"partNumber": number, **query}), 400,
               "InvalidArgument")
    unknown = {"uploadId": "00" * 16}
    expect(cluster, signed("POST", target, complete([(1, etags[0])]), query=unknown), 404,
           "NoSuchUpload")
    expect(cluster, signed("PUT", target, b"x", query={"partNumber": "1", **unknown}), 404,
           "NoSuchUpload")
    assert_nothing_stored(cluster, bucket, "parts")
    assert ask(cluster.port(), signed("DELETE", target, query=query)).status == 204


@pytest.mark.parametrize("query", [{"list-type": "2", "max-keys": "x"}, {"max-keys": "-1"},
                                   {"list-type": "2", "encoding-type": "x"},
                                   {"list-type": "2", "continuation-token": "nonsense"}])
def test_listing_arguments(cluster, bucket, query):
    expect(cluster, signed("GET", f"/{bucket}", query=query), 400, "InvalidArgument")


def test_many_connections_are_survived(cluster):
    idle = [Connection(cluster.port()) for _ in range(300)]
    assert ask(cluster.port(), signed("GET", "/")).status == 200
    for connection in idle:
        connection.send(b"GET / HT")
    assert ask(cluster.port(), signed("GET", "/")).status == 200
    for connection in idle:
        connection.socket.close()
